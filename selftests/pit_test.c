// SPDX-License-Identifier: GPL-2.0-only
/*
 * The in-kernel 8254 timer: channel 0 as an interrupt source at GSI 0, channel 2 behind port 0x61, as boot code
 * calibrates the TSC with it (8254 datasheet).
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define PIC 0x20

static __guest void on_pic(struct trap *t)
{
	guest_count[t->vector]++;
	outb(0x20, 0x20);
}

static __guest void setup(void)
{
	guest_handlers[PIC] = on_pic;
	pic_init(PIC, PIC + 8);
	apic_enable();
	apic_write(APIC_LVT0, 0x700);
}

static __guest void program(uint8_t channel, uint8_t mode, uint16_t count)
{
	outb(0x43, channel << 6 | 0x30 | mode << 1);
	outb(0x40 + channel, count & 0xff);
	outb(0x40 + channel, count >> 8);
}

static __guest uint16_t latched(uint8_t channel)
{
	uint8_t lo;

	outb(0x43, channel << 6);
	lo = inb(0x40 + channel);
	return lo | inb(0x40 + channel) << 8;
}

#define PIT_RULE(name, ...)						\
static __guest void name##_guest(void)					\
{									\
	setup();							\
	__VA_ARGS__							\
	guest_done();							\
}									\
TEST(name)								\
{									\
	ASSERT_DONE(vm_create_one(VM_IRQCHIP | VM_PIT | VM_PIT_SPEAKER, name##_guest));	\
}

PIT_RULE(the_rate_generator_ticks_through_the_pic,
	program(0, 2, 5000);
	while (guest_count[PIC] < 5)
		sti_hlt();
	cli();
)

PIT_RULE(a_one_shot_fires_once,
	program(0, 0, 3000);
	while (guest_count[PIC] < 1)
		sti_hlt();
	cli();
	for (int i = 0; i < 500; i++) {
		latched(0);
		irq_window();
	}
	guest_expect(1, guest_count[PIC]);
)

PIT_RULE(the_count_goes_down_and_is_latched_whole,
	program(0, 0, 0xffff);
	uint16_t last = latched(0);
	for (int i = 0; i < 50; i++) {
		uint16_t now = latched(0);
		guest_assert(now <= last);
		last = now;
	}
	guest_assert(last < 0xffff);
)

PIT_RULE(channel_2_shows_its_end_at_port_61,
	outb(0x61, (inb(0x61) & ~2) | 1);
	program(2, 0, 2000);
	guest_expect(0, inb(0x61) & 0x20);
	while (!(inb(0x61) & 0x20))
		;
	guest_assert(rdtsc() != 0);
)

PIT_RULE(read_back_shows_mode_and_count,
	program(0, 2, 0x8000);
	outb(0x43, 0xc2);				/* latch count and status of channel 0 */
	guest_expect(0x34, inb(0x40) & 0x3f);
	guest_assert(inb(0x40) <= 0xff);
	guest_assert(inb(0x40) <= 0x80);
)

PIT_RULE(the_ticks_come_through_the_ioapic_too,
	apic_write(APIC_LVT0, APIC_MASKED);
	guest_handlers[0x61] = count_trap_eoi;
	ioapic_route(0, 0x61);
	program(0, 2, 5000);
	while (guest_count[0x61] < 5)
		sti_hlt();
	cli();
)

static __guest void reads_the_pit_port(void)
{
	inb(0x40);
	guest_done();
}

TEST(without_a_pit_its_ports_go_to_user_space)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, reads_the_pit_port);

	ASSERT_EXIT(IO, vcpu);
	EXPECT_EQ(0x40, vcpu->run->io.port);
}

static __guest void reads_port_61(void)
{
	inb(0x61);
	guest_done();
}

TEST(port_61_goes_to_user_space_unless_asked_for)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP | VM_PIT, reads_port_61);

	ASSERT_EXIT(IO, vcpu);
	EXPECT_EQ(0x61, vcpu->run->io.port);
}

TEST_HARNESS_MAIN
