// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt controllers outside the processors: 8259A pair, I/O APIC, message-signalled interrupts, and the
 * routing between a GSI and them (8259A and 82093AA datasheets; api.rst §4.24, §4.25, §4.52, §4.70).
 *
 * The tests go in lockstep: the guest reports a step with interrupts off, the host moves a line, and the guest opens a
 * window of one instruction and counts what came.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define PIC	0x20	/* vectors of IRQ 0 to 15 behind the PIC */
#define ELCR	0x4d0

static uint32_t order[4] __guest_data = { 0 };
static uint32_t n_order __guest_data = 0;

static __guest void on_pic(struct trap *t)
{
	if (n_order < 4)
		order[n_order++] = t->vector;
	guest_count[t->vector]++;
	if (t->vector >= PIC + 8)
		outb(0xa0, 0x20);
	outb(0x20, 0x20);
}

static __guest void pic_setup(void)
{
	for (int i = 0; i < 16; i++)
		guest_handlers[PIC + i] = on_pic;
	pic_init(PIC, PIC + 8);
	apic_enable();
	apic_write(APIC_LVT0, 0x700);	/* the PIC comes in at LINT0 */
}

/* Every step: report it, let the host act, take what is pending. */
#define STEP(n) do { guest_sync(n); irq_window(); } while (0)

static __guest void counts_irq_3(void)
{
	pic_setup();
	for (;;)
		STEP(guest_count[PIC + 3]);
}

TEST(an_edge_at_the_pic_is_one_interrupt)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_irq_3);

	ASSERT_OUTCOME("sync 0", vcpu);
	vm_irq_line(vcpu->vm, 3, 1);
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);		/* high is no edge */
	vm_irq_line(vcpu->vm, 3, 0);
	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 3, 1);
	ASSERT_OUTCOME("sync 2", vcpu);
}

/* The third time, the device behind the line is served: the host lowers it. */
static __guest void on_level(struct trap *t)
{
	if (++guest_count[t->vector] == 3)
		guest_sync(50);
	outb(0x20, 0x20);
}

static __guest void counts_level_irq_5(void)
{
	pic_setup();
	guest_handlers[PIC + 5] = on_level;
	outb(ELCR, 1 << 5);
	guest_expect(1 << 5, inb(ELCR));
	for (;;)
		STEP(guest_count[PIC + 5]);
}

TEST(a_level_at_the_pic_interrupts_until_it_falls)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_level_irq_5);

	ASSERT_OUTCOME("sync 0", vcpu);
	vm_irq_line(vcpu->vm, 5, 1);
	ASSERT_OUTCOME("sync 50", vcpu);
	vm_irq_line(vcpu->vm, 5, 0);
	ASSERT_OUTCOME("sync 3", vcpu);
	ASSERT_OUTCOME("sync 3", vcpu);
}

static __guest void masks_irq_4(void)
{
	pic_setup();
	outb(0x21, 1 << 4);
	guest_expect(1 << 4, inb(0x21));
	STEP(1);
	guest_expect(0, guest_count[PIC + 4]);
	outb(0x20, 0x0a);
	guest_expect(1 << 4, inb(0x20));	/* requested all the same */
	outb(0x21, 0);
	irq_window();
	guest_expect(1, guest_count[PIC + 4]);
	guest_done();
}

TEST(a_masked_pic_line_waits_for_the_mask_to_go)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, masks_irq_4);

	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 4, 1);
	ASSERT_DONE(vcpu);
}

static __guest void takes_two(void)
{
	pic_setup();
	STEP(1);
	irq_window();
	irq_window();
	guest_expect(2, n_order);
	guest_expect(PIC + 1, order[0]);
	guest_expect(PIC + 6, order[1]);
	guest_done();
}

TEST(of_two_pic_lines_the_lower_comes_first)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, takes_two);

	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 6, 1);
	vm_irq_line(vcpu->vm, 1, 1);
	ASSERT_DONE(vcpu);
}

static __guest void takes_irq_10(void)
{
	pic_setup();
	STEP(1);
	guest_expect(1, guest_count[PIC + 10]);
	outb(0x20, 0x0b);
	guest_expect(0, inb(0x20));		/* nothing in service at the master */
	outb(0xa0, 0x0b);
	guest_expect(0, inb(0xa0));
	guest_done();
}

TEST(a_line_of_the_second_pic_comes_through_the_first)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, takes_irq_10);

	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 10, 1);
	ASSERT_DONE(vcpu);
}

/* ---- I/O APIC ---- */

#define LEVEL	(1 << 15)
#define MASK	(1 << 16)
#define RIRR	(1 << 14)

static __guest void ioapic_registers(void)
{
	guest_expect(23, ioapic_read(1) >> 16 & 0xff);
	for (int pin = 0; pin < 24; pin++)
		guest_expect(MASK, ioapic_read(0x10 + 2 * pin) & MASK);
	ioapic_route(7, 0x0300000000000000 | LEVEL | MASK | 0x41);
	guest_expect(LEVEL | MASK | 0x41, ioapic_read(0x10 + 2 * 7));
	guest_expect(0x03000000, ioapic_read(0x11 + 2 * 7));
	ioapic_write(0x10 + 2 * 7, 0xffffffff);
	guest_expect(0, ioapic_read(0x10 + 2 * 7) & (RIRR | 1 << 12));		/* not to be written */
	ioapic_write(0, 5 << 24);
	guest_expect(5 << 24, ioapic_read(0) & 0x0f000000);
	guest_done();
}

TEST(the_ioapic_has_24_masked_pins_and_keeps_what_is_written)
{
	ASSERT_DONE(vm_create_one(VM_IRQCHIP, ioapic_registers));
}

static __guest void counts_ioapic_edge(void)
{
	apic_enable();
	guest_handlers[0x51] = count_trap_eoi;
	ioapic_route(4, 0x51);
	for (;;)
		STEP(guest_count[0x51]);
}

TEST(an_edge_at_the_ioapic_is_one_interrupt)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_ioapic_edge);

	ASSERT_OUTCOME("sync 0", vcpu);
	vm_irq_line(vcpu->vm, 4, 1);
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 4, 0);
	vm_irq_line(vcpu->vm, 4, 1);
	ASSERT_OUTCOME("sync 2", vcpu);
}

static __guest void takes_level_interrupts(void)
{
	apic_enable();
	guest_handlers[0x52] = count_trap;		/* no EOI yet */
	ioapic_route(9, LEVEL | 0x52);
	STEP(1);					/* the host raises the line */
	guest_expect(1, guest_count[0x52]);
	guest_expect(RIRR, ioapic_read(0x10 + 2 * 9) & RIRR);
	guest_expect(1 << 18, apic_read(APIC_TMR + 0x20) & 1 << 18);
	irq_window();
	guest_expect(1, guest_count[0x52]);		/* in service: no second one */
	apic_write(APIC_EOI, 0);
	irq_window();
	guest_expect(2, guest_count[0x52]);		/* the line was still high */
	STEP(2);					/* the host lowers it */
	apic_write(APIC_EOI, 0);
	irq_window();
	guest_expect(2, guest_count[0x52]);
	guest_expect(0, ioapic_read(0x10 + 2 * 9) & RIRR);
	guest_done();
}

TEST(a_level_at_the_ioapic_comes_again_after_eoi_while_it_is_high)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, takes_level_interrupts);

	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 9, 1);
	ASSERT_OUTCOME("sync 2", vcpu);
	vm_irq_line(vcpu->vm, 9, 0);
	ASSERT_DONE(vcpu);
}

static __guest void unmasks_a_high_level(void)
{
	apic_enable();
	guest_handlers[0x53] = count_trap;
	ioapic_route(11, LEVEL | MASK | 0x53);
	STEP(1);
	guest_expect(0, guest_count[0x53]);
	ioapic_route(11, LEVEL | 0x53);
	irq_window();
	guest_expect(1, guest_count[0x53]);
	guest_done();
}

TEST(a_level_that_is_high_when_unmasked_interrupts)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, unmasks_a_high_level);

	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 11, 1);
	ASSERT_DONE(vcpu);
}

static __guest void counts_pin_0(void)
{
	apic_enable();
	guest_handlers[0x54] = count_trap_eoi;
	ioapic_route(0, 0x54);
	for (;;)
		STEP(guest_count[0x54]);
}

/* PCs have IRQ 0 at pin 2, but that is for user space to route. */
TEST(by_default_a_gsi_is_the_ioapic_pin_of_its_number)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_pin_0);

	ASSERT_OUTCOME("sync 0", vcpu);
	vm_irq_line(vcpu->vm, 0, 1);
	ASSERT_OUTCOME("sync 1", vcpu);
}

static __guest void counts_pin_20(void)
{
	apic_enable();
	guest_handlers[0x55] = count_trap_eoi;
	ioapic_route(20, 0x55);
	for (;;)
		STEP(guest_count[0x55]);
}

TEST(irq_line_status_tells_delivered_from_coalesced)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_pin_20);
	struct kvm_irq_level line = { .irq = 20, .level = 1 };

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_IRQ_LINE_STATUS, &line);
	EXPECT_EQ(1, line.status);
	line = (struct kvm_irq_level){ .irq = 20, .level = 1 };
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_IRQ_LINE_STATUS, &line);
	EXPECT_EQ(0, line.status);
	ASSERT_OUTCOME("sync 1", vcpu);
}

/* ---- Messages and routing ---- */

static __guest void counts_messages(void)
{
	apic_enable();
	guest_handlers[0x61] = count_trap_eoi;
	guest_handlers[0x62] = count_trap_eoi;
	for (;;)
		STEP(guest_count[0x61] + 100 * guest_count[0x62]);
}

TEST(a_message_interrupts_the_processor_it_names)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_messages);
	struct kvm_msi msi = { .address_lo = APIC_PHYS, .data = 0x61 };

	ASSERT_OUTCOME("sync 0", vcpu);
	EXPECT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &msi);
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
}

TEST(a_message_to_nobody_is_not_delivered)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_messages);
	struct kvm_msi msi = { .address_lo = APIC_PHYS | 9 << 12, .data = 0x61 };

	ASSERT_OUTCOME("sync 0", vcpu);
	EXPECT_LE(xioctl(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi), 0);
	ASSERT_OUTCOME("sync 0", vcpu);
}

TEST(a_gsi_goes_where_the_routing_table_says)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_messages);
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[2];
	} table = {
		.head.nr = 2,
		.entry[0] = { .gsi = 40, .type = KVM_IRQ_ROUTING_MSI,
			      .u.msi = { .address_lo = APIC_PHYS, .data = 0x61 } },
		.entry[1] = { .gsi = 41, .type = KVM_IRQ_ROUTING_MSI,
			      .u.msi = { .address_lo = APIC_PHYS, .data = 0x62 } },
	};

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_SET_GSI_ROUTING, &table);
	vm_irq_line(vcpu->vm, 40, 1);
	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 41, 1);
	ASSERT_OUTCOME("sync 101", vcpu);
	/* The table is replaced whole. */
	table.head.nr = 1;
	table.entry[0].u.msi.data = 0x62;
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_SET_GSI_ROUTING, &table);
	vm_irq_line(vcpu->vm, 40, 1);
	ASSERT_OUTCOME("sync 201", vcpu);
	vm_irq_line(vcpu->vm, 41, 1);
	ASSERT_OUTCOME("sync 201", vcpu);
}

TEST(routing_can_move_a_gsi_to_another_pin)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_ioapic_edge);
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} table = {
		.head.nr = 1,
		.entry = { .gsi = 15, .type = KVM_IRQ_ROUTING_IRQCHIP,
			   .u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = 4 } },
	};

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_SET_GSI_ROUTING, &table);
	vm_irq_line(vcpu->vm, 15, 1);
	ASSERT_OUTCOME("sync 1", vcpu);
	vm_irq_line(vcpu->vm, 4, 1);
	ASSERT_OUTCOME("sync 1", vcpu);
}

/* ---- Waiting ---- */

static __guest void halts_for_a_message(void)
{
	apic_enable();
	guest_handlers[0x61] = count_trap_eoi;
	guest_sync(1);
	while (!guest_count[0x61])
		sti_hlt();
	guest_done();
}

TEST(a_halted_guest_blocks_in_the_kernel_until_an_interrupt)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, halts_for_a_message);
	struct kvm_msi msi = { .address_lo = APIC_PHYS, .data = 0x61 };

	ASSERT_OUTCOME("sync 1", vcpu);
	vcpu_start(vcpu);
	usleep(100000);
	EXPECT_EQ(0, GUEST(vcpu->vm, guest_count[0x61]));
	EXPECT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &msi);
	ASSERT_STREQ("done", vcpu_join(vcpu));
}

static __guest void halts_for_the_pic(void)
{
	pic_setup();
	guest_sync(1);
	while (!guest_count[PIC + 3])
		sti_hlt();
	guest_done();
}

TEST(a_pic_line_wakes_a_halted_guest)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, halts_for_the_pic);

	ASSERT_OUTCOME("sync 1", vcpu);
	vcpu_start(vcpu);
	usleep(50000);
	vm_irq_line(vcpu->vm, 3, 1);
	ASSERT_STREQ("done", vcpu_join(vcpu));
}

static __guest void spins_for_a_message(void)
{
	apic_enable();
	guest_handlers[0x61] = count_trap_eoi;
	guest_sync(1);
	sti();
	while (!guest_count[0x61])
		;
	guest_done();
}

TEST(a_message_reaches_a_running_guest)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, spins_for_a_message);
	struct kvm_msi msi = { .address_lo = APIC_PHYS, .data = 0x61 };

	ASSERT_OUTCOME("sync 1", vcpu);
	vcpu_start(vcpu);
	usleep(50000);
	EXPECT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &msi);
	ASSERT_STREQ("done", vcpu_join(vcpu));
}

/* The instruction after STI, and after MOV SS, is not interrupted. */
static uint64_t interrupted_at __guest_data = 0;

static __guest void note_rip(struct trap *t)
{
	interrupted_at = t->rip;
	apic_write(APIC_EOI, 0);
}

static __guest void shadows(void)
{
	uint64_t after;

	apic_enable();
	guest_handlers[0x61] = note_rip;
	guest_sync(1);
	asm volatile("sti; nop; 1: nop; cli; lea 1b(%%rip), %0" : "=r"(after) : : "memory");
	guest_expect(after, interrupted_at);
	guest_done();
}

TEST(the_instruction_after_sti_is_not_interrupted)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, shadows);
	struct kvm_msi msi = { .address_lo = APIC_PHYS, .data = 0x61 };

	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &msi);
	ASSERT_DONE(vcpu);
}

TEST_HARNESS_MAIN
