// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exceptions stay the guest's: each arrives through the guest's IDT with its error code and address, once, even where
 * its delivery itself needs the hypervisor; NMIs arrive and are blocked until IRET (SDM vol. 3 §6, AMD APM vol. 2 §8).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "machine.h"
#include "rule.h"

static volatile uint64_t seen_rip __guest_data = 0, seen_error __guest_data = 0, seen_dr6 __guest_data = 0;
static volatile uint64_t seen __guest_data = 0;

static __guest void note(struct trap *t)
{
	seen++;
	seen_rip = t->rip;
	seen_error = t->error;
	if (t->vector == DB_VECTOR) {
		seen_dr6 = read_dr6();
		write_dr6(0xffff0ff0);
		t->rflags = (t->rflags & ~0x100UL) | 0x10000;	/* no more steps; past an instruction breakpoint */
	}
}

RULE(int3_arrives_with_the_address_after_it,
	uint64_t after;
	guest_handlers[BP_VECTOR] = note;
	asm volatile("int3; 1: lea 1b(%%rip), %0" : "=r"(after));
	guest_expect(1, seen);
	guest_expect(after, seen_rip);
)

RULE(int_n_arrives_with_the_address_after_it,
	uint64_t after;
	guest_handlers[0x80] = note;
	asm volatile("int $0x80; 1: lea 1b(%%rip), %0" : "=r"(after));
	guest_expect(1, seen);
	guest_expect(after, seen_rip);
)

RULE(division_by_zero_arrives,
	guest_expect(DE_VECTOR, guest_catch("div %%ecx", , "a"(1), "d"(0), "c"(0)));
)

RULE(an_undefined_instruction_arrives,
	guest_expect(UD_VECTOR, guest_catch("ud2",,));
)

RULE(a_general_protection_fault_arrives_with_its_selector,
	guest_expect(GP_VECTOR, guest_catch("mov %%ax, %%ds", , "a"(0x1238)));
	guest_expect(0x1238, guest_error_code);
)

RULE(a_missing_segment_arrives,
	((volatile uint64_t *)0x7000)[6] = 0x00cf13000000ffff;		/* data, not present */
	guest_expect(NP_VECTOR, guest_catch("mov %%ax, %%ds", , "a"(0x30)));
	guest_expect(0x30, guest_error_code);
)

RULE(a_page_fault_arrives_with_address_and_cause,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	pd[2] = 0;
	write_cr3(read_cr3());
	guest_expect(PF_VECTOR, guest_catch("mov 0x10(%%rax), %%r11", , "a"(0x400000UL)));
	guest_expect(0, guest_error_code);
	guest_expect(0x400010, read_cr2());
	guest_expect(PF_VECTOR, guest_catch("mov %%rcx, 0x18(%%rax)", , "a"(0x400000UL)));
	guest_expect(2, guest_error_code);
	guest_expect(0x400018, read_cr2());
	pd[2] = 0x400085;						/* there, but not to write */
	write_cr3(read_cr3());
	guest_expect(PF_VECTOR, guest_catch("mov %%rcx, 0x20(%%rax)", , "a"(0x400000UL)));
	guest_expect(3, guest_error_code);
)

RULE(a_page_without_execute_permission_faults_on_fetch,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
	pd[2] |= 1UL << 63;
	write_cr3(read_cr3());
	guest_expect(PF_VECTOR, guest_catch("call *%%rax", , "a"(0x400000UL)));
	guest_expect(0x11, guest_error_code & ~4UL);
)

RULE_NOT_TCG(a_reserved_bit_in_a_page_table_faults_as_such, "leaves out P in the error code",
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	pd[2] = 0x402087;						/* a 2M page must be aligned */
	write_cr3(read_cr3());
	guest_expect(PF_VECTOR, guest_catch("mov (%%rax), %%r11", , "a"(0x400000UL)));
	guest_expect(9, guest_error_code);
)

/* Intercepted, that is: kiln intercepts #DB and gives it to the guest itself. */
#define BOCHS_SVM_DR6	"Bochs's SVM leaves no trace of a #DB in DR6"

RULE_WHERE(a_single_step_arrives_after_one_instruction, !host_is_bochs_svm(), BOCHS_SVM_DR6,
	uint64_t after;
	guest_handlers[DB_VECTOR] = note;
	asm volatile("pushf; orl $0x100, (%%rsp); popf; nop; 1: lea 1b(%%rip), %0" : "=r"(after) : : "cc", "memory");
	guest_expect(1, seen);
	guest_expect(after, seen_rip);
	guest_expect(1 << 14, seen_dr6 & 1 << 14);
)

RULE_WHERE(an_instruction_breakpoint_arrives_before_the_instruction, !host_is_bochs_svm(), BOCHS_SVM_DR6,
	uint64_t at;
	guest_handlers[DB_VECTOR] = note;
	asm volatile("lea 1f(%%rip), %0; mov %0, %%dr0; mov $0x402, %%eax; mov %%rax, %%dr7; 1: nop"
		     : "=&r"(at) : : "rax");
	guest_expect(1, seen);
	guest_expect(at, seen_rip);
	guest_expect(1, seen_dr6 & 0xf);
	write_dr7(0x400);		/* in QEMU TCG it would outlive the guest, and be met by others */
)

RULE_WHERE(a_data_breakpoint_arrives_after_the_write, !host_is_tcg() && !host_is_bochs_svm(),
	   "QEMU TCG crashes on a watchpoint that outlives an exit, " BOCHS_SVM_DR6,
	static volatile uint64_t watched __guest_data = 0;
	guest_handlers[DB_VECTOR] = note;
	write_dr1((uint64_t)&watched);
	write_dr7(0x408 | 0x9UL << 20);					/* L1, write, 8 bytes */
	watched = 7;
	guest_expect(1, seen);
	guest_expect(2, seen_dr6 & 0xf);
	write_dr7(0x400);
)

RULE_WHERE(general_detect_guards_the_debug_registers, !host_is_tcg() && !host_is_bochs_svm(),
	   "QEMU TCG has no general detect, " BOCHS_SVM_DR6,
	guest_handlers[DB_VECTOR] = 0;
	write_dr7(0x400 | 1 << 13);
	guest_expect(DB_VECTOR, guest_catch("mov %%dr0, %%r11", ,));
	guest_expect(1 << 13, read_dr6() & 1 << 13);
	guest_expect(0, read_dr7() & 1 << 13);
)

RULE_NOT_TCG(a_fault_while_a_page_fault_is_delivered_is_a_double_fault, "makes no double fault of an intercepted one",
	((volatile uint64_t *)0x8000)[2 * PF_VECTOR] &= ~(1UL << 47);	/* its gate is not there */
	((volatile uint64_t *)0x3000)[2] = 0;
	write_cr3(read_cr3());
	guest_expect(DF_VECTOR, guest_catch("mov (%%rax), %%r11", , "a"(0x400000UL)));
	guest_expect(0, guest_error_code);
)

/*
 * The stack of the handler lies in memory that the hypervisor has not mapped yet, so the delivery itself exits and
 * must be taken up again: same vector, same error code, same RIP, once.
 */
#define ON_A_FRESH_STACK(n, insn) do {							\
	uint64_t top__ = 0x600000UL + (n) * 0x2000;					\
	asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; " insn "; mov %%rbx, %%rsp"	\
		     : : "r"(top__) : "rbx", "rax", "rcx", "r9", "r10", "memory", "cc");	\
} while (0)

#define CATCH_AT "lea 772f(%%rip), %%r9; mov $0x6b636174, %%r10d; "

RULE(an_exception_whose_delivery_exits_arrives_once,
	guest_handlers[BP_VECTOR] = note;
	guest_handlers[0x81] = note;
	ON_A_FRESH_STACK(1, "int3");
	guest_expect(1, seen);
	ON_A_FRESH_STACK(2, "int $0x81");
	guest_expect(2, seen);
	ON_A_FRESH_STACK(3, CATCH_AT "mov $0x4568, %%eax; mov %%ax, %%ds; 772: xor %%r10d, %%r10d");
	guest_expect(0x4568, guest_error_code);
	((volatile uint64_t *)0x3000)[2] = 0;
	write_cr3(read_cr3());
	write_cr2(0);
	ON_A_FRESH_STACK(4, CATCH_AT "mov $0x400008, %%eax; mov %%eax, (%%rax); 772: xor %%r10d, %%r10d");
	guest_expect(2, guest_error_code);
	guest_expect(0x400008, read_cr2());
	guest_expect(2, seen);
)

RULE_WHERE(a_software_interrupt_whose_delivery_exits_returns_after_itself, !host_is_bochs_svm(),
	   "Bochs's EXITINTINFO names the event before it",
	uint64_t after;
	guest_handlers[0x81] = note;
	asm volatile("mov %%rsp, %%rbx; mov $0x620000, %%rsp; int $0x81; 1: mov %%rbx, %%rsp; lea 1b(%%rip), %0"
		     : "=r"(after) : : "rbx", "memory");
	guest_expect(1, seen);
	guest_expect(after, seen_rip);
)

/*
 * The same for interrupts, which the hardware may take from the virtual APIC by itself. What event was delivered before
 * must not matter: Bochs 2.7 leaves its type and vector in the IDT-vectoring information.
 */
static __guest void takes_an_ipi_on_a_fresh_stack(uint64_t top)
{
	uint32_t before = guest_count[0x71];

	apic_write(APIC_ICR, APIC_SELF | 0x71);
	asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; sti; nop; nop; cli; mov %%rbx, %%rsp"
		     : : "r"(top) : "rbx", "memory");
	guest_expect(before + 1, guest_count[0x71]);
}

static __guest void interrupts_after_each_kind(void)
{
	apic_enable_untouched();
	guest_handlers[0x71] = count_trap_eoi;
	guest_handlers[0x82] = count_trap;
	guest_handlers[BP_VECTOR] = count_trap;
	guest_handlers[NMI_VECTOR] = count_trap;
	takes_an_ipi_on_a_fresh_stack(0x620000);
	guest_expect(UD_VECTOR, guest_catch("ud2",,));
	takes_an_ipi_on_a_fresh_stack(0x624000);
	guest_expect(GP_VECTOR, guest_catch("mov %%ax, %%ds", , "a"(0x1238)));
	takes_an_ipi_on_a_fresh_stack(0x628000);
	asm volatile("int $0x82" : : : "memory");
	takes_an_ipi_on_a_fresh_stack(0x62c000);
	asm volatile("int3" : : : "memory");
	takes_an_ipi_on_a_fresh_stack(0x630000);
	guest_sync(1);			/* the host sends an NMI */
	guest_expect(1, guest_count[NMI_VECTOR]);
	takes_an_ipi_on_a_fresh_stack(0x634000);
	guest_expect(1, guest_count[NMI_VECTOR]);
	guest_expect(1, guest_count[0x82]);
	guest_expect(1, guest_count[BP_VECTOR]);
	guest_done();
}

TEST(an_interrupt_whose_delivery_exits_arrives_once_whatever_came_before)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, interrupts_after_each_kind);

	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_DONE(vcpu);
}

/* The second VM has not used its IDT yet, and the event the CPU delivered last was the first VM's. */
static __guest void halts_for_a_message(void)
{
	apic_enable_untouched();
	guest_handlers[0x71] = count_trap_eoi;
	guest_handlers[NMI_VECTOR] = count_trap;
	guest_sync(1);
	while (!guest_count[0x71] && !guest_count[NMI_VECTOR])
		sti_hlt();
	guest_expect(0, guest_count[NMI_VECTOR]);
	guest_expect(1, guest_count[0x71]);
	guest_done();
}

static __guest void takes_an_nmi(void)
{
	guest_handlers[NMI_VECTOR] = count_trap;
	guest_sync(1);
	guest_expect(1, guest_count[NMI_VECTOR]);
	guest_done();
}

TEST(an_interrupt_that_ends_hlt_arrives_as_itself_after_an_nmi_of_another_vm)
{
	struct vcpu *other = vm_create_one(VM_IRQCHIP, takes_an_nmi);
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, halts_for_a_message);
	struct kvm_msi msi = { .address_lo = APIC_PHYS, .data = 0x71 };

	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_OUTCOME("sync 1", other);
	ASSERT_IOCTL(0, other->fd, KVM_NMI, NULL);
	ASSERT_DONE(other);
	vcpu_start(vcpu);
	usleep(20000);
	ASSERT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &msi);
	ASSERT_STREQ("done", vcpu_join(vcpu));
}

/* ---- NMI ---- */

static __guest void on_nmi(struct trap *t)
{
	seen++;
	guest_sync(100 + seen);
}

static __guest void waits_for_nmis(void)
{
	guest_handlers[NMI_VECTOR] = on_nmi;
	for (;;)
		guest_sync(seen);
}

TEST(an_nmi_arrives_at_vector_2)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, waits_for_nmis);

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("sync 101", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
}

TEST(an_nmi_works_without_an_irqchip)
{
	struct vcpu *vcpu = vm_create_one(0, waits_for_nmis);

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("sync 101", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
}

TEST(nmis_are_blocked_until_iret_and_one_is_kept)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, waits_for_nmis);

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("sync 101", vcpu);
	/* In the handler: these wait, and the second is lost in the first, as on hardware. */
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("sync 102", vcpu);
	ASSERT_OUTCOME("sync 2", vcpu);
	ASSERT_OUTCOME("sync 2", vcpu);
}

static __guest void halts_for_an_nmi(void)
{
	guest_handlers[NMI_VECTOR] = note;
	apic_enable();
	cli();
	guest_sync(1);
	hlt();
	guest_expect(1, seen != 0);
	guest_done();
}

TEST(an_nmi_wakes_a_halted_processor_with_interrupts_off)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, halts_for_an_nmi);
	struct kvm_msi nmi = { .address_lo = APIC_PHYS, .data = 0x400 };

	ASSERT_OUTCOME("sync 1", vcpu);
	/*
	 * NMI is an ioctl of the vCPU, which RUN holds: it comes before the HLT or, by a message, after. How long it
	 * takes the guest to get there nobody knows: the first to come after that wakes it.
	 */
	vcpu_start(vcpu);
	for (int i = 0; i < 10; i++) {
		usleep(40000);
		ASSERT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &nmi);
	}
	ASSERT_STREQ("done", vcpu_join(vcpu));
}

static __guest void nmi_on_a_fresh_stack(void)
{
	guest_handlers[NMI_VECTOR] = on_nmi;
	guest_sync(0);
	asm volatile("mov %%rsp, %%rbx; mov $0x700000, %%rsp; nop; nop; mov %%rbx, %%rsp" : : : "rbx", "memory");
	for (;;)
		guest_sync(seen);
}

TEST(an_nmi_whose_delivery_exits_arrives_once_and_blocks_others)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, nmi_on_a_fresh_stack);
	struct kvm_regs regs;

	ASSERT_OUTCOME("sync 0", vcpu);
	regs = vcpu_regs(vcpu);
	regs.rsp = 0x710000;
	vcpu->run->immediate_exit = 1;
	vcpu_run(vcpu);
	vcpu->run->immediate_exit = 0;
	regs = vcpu_regs(vcpu);
	regs.rsp = 0x710000;
	vcpu_set_regs(vcpu, &regs);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("sync 101", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("sync 102", vcpu);
}

/* ---- What the guest leaves in the debug registers ---- */

static volatile sig_atomic_t traps;
static volatile int watched;

static void count_sigtrap(int nr)
{
	traps++;
}

static __guest void leaves_a_step_in_dr6(void)
{
	write_dr6(0xffff4ff0);
	for (int i = 0; i < 3; i++)
		guest_sync(i);
	guest_expect(0xffff4ff0, read_dr6());
	guest_done();
}

/* With that in DR6 the kernel takes the launcher's next breakpoint for a step, which it did not ask for. */
TEST(what_the_guest_has_in_dr6_does_not_come_to_the_launcher)
{
	struct vcpu *vcpu = vm_create_one(0, leaves_a_step_in_dr6);
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr), .bp_type = HW_BREAKPOINT_W,
		.bp_addr = (uintptr_t)&watched, .bp_len = sizeof(watched), .exclude_kernel = 1, .exclude_hv = 1,
	};
	uint64_t hits;
	int fd;

	/* It restores DR6 itself besides. Bochs runs this. */
	if (host_is_tcg())
		SKIP(return, "QEMU TCG crashes on a watchpoint that outlives an exit");
	signal(SIGTRAP, count_sigtrap);
	ASSERT_TRUE(pin_to_cpu(0));
	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_OUTCOME("sync 2", vcpu);
	fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd < 0)
		SKIP(return, "no breakpoints by perf_event_open(): %s", strerror(errno));
	watched = 1;
	ASSERT_EQ(sizeof(hits), read(fd, &hits, sizeof(hits)));
	close(fd);
	EXPECT_EQ(1, hits);
	EXPECT_EQ(0, traps);
	ASSERT_DONE(vcpu);
}

TEST_HARNESS_MAIN
