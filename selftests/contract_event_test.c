// SPDX-License-Identifier: GPL-2.0-only
/*
 * What module/hw.h asks of a backend about events: shadows, windows, single steps, and deliveries that are cut short
 * and taken up again. Part of what contract_test.c describes.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rule.h"

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define PORT		0x510

static volatile uint64_t seen __guest_data = 0, seen_rip __guest_data = 0, seen_error __guest_data = 0;
static volatile uint64_t seen_dr6 __guest_data = 0, seen_vectors __guest_data = 0;

static __guest void note(struct trap *t)
{
	seen++;
	seen_rip = t->rip;
	seen_error = t->error;
	seen_vectors = seen_vectors << 8 | t->vector;
	if (t->vector == 0x61)
		apic_write(APIC_EOI, 0);
	if (t->vector == DB_VECTOR) {
		seen_dr6 = read_dr6();
		write_dr6(0xffff0ff0);
		t->rflags &= ~0x100UL;
	}
}

/* ---- Single steps over instructions that exit: #DB comes after each, with the next instruction's address ---- */

#define STEP(insn, a, c, d) do {								\
	register uint64_t after__ asm("r15");							\
	uint64_t a__ = a, c__ = c, d__ = d;							\
	seen = seen_dr6 = 0;									\
	guest_handlers[DB_VECTOR] = note;							\
	asm volatile("pushf; orl $0x100, (%%rsp); popf; " insn "; 771: lea 771b(%%rip), %0"	\
		     : "=&r"(after__), "+a"(a__), "+c"(c__), "+d"(d__) : : "rbx", "memory", "cc");	\
	guest_expect(1, seen);									\
	guest_expect(after__, seen_rip);							\
	guest_expect(1 << 14, seen_dr6 & 1 << 14);						\
} while (0)

RULE(a_step_over_cpuid_ends_behind_it, STEP("cpuid", 0UL, 0UL, 0UL);)
RULE(a_step_over_rdmsr_ends_behind_it, STEP("rdmsr", 0UL, 0x1bUL, 0UL);)
RULE(a_step_over_wrmsr_ends_behind_it, STEP("wrmsr", 0x1000UL, 0xc0000102UL, 0UL);)
RULE(a_step_over_rdtsc_ends_behind_it, STEP("rdtsc", 0UL, 0UL, 0UL);)
RULE(a_step_over_wbinvd_ends_behind_it, STEP("wbinvd", 0UL, 0UL, 0UL);)
RULE(a_step_over_invlpg_ends_behind_it, STEP("invlpg (%%rax)", 0x400000UL, 0UL, 0UL);)
RULE(a_step_over_mov_to_cr0_ends_behind_it, STEP("mov %%rax, %%cr0", 0x8001003bUL, 0UL, 0UL);)
RULE(a_step_over_mov_to_cr3_ends_behind_it, STEP("mov %%rax, %%cr3", 0x1000UL, 0UL, 0UL);)
RULE(a_step_over_mov_to_cr4_ends_behind_it, STEP("mov %%rax, %%cr4", 0x6a0UL, 0UL, 0UL);)
RULE(a_step_over_mov_to_cr8_ends_behind_it, STEP("mov %%rax, %%cr8", 3UL, 0UL, 0UL);)
RULE(a_step_over_mov_to_a_debug_register_ends_behind_it, STEP("mov %%rax, %%dr2", 0x1234UL, 0UL, 0UL);)
RULE(a_step_over_the_kernels_port_ends_behind_it, STEP("inb %%dx, %%al", 0UL, 0UL, 0x4d0UL);)

/* Bochs 2.7 takes a step for done when the instruction leaves for its second-stage translation. */
#define STEP_MEMORY(name, ...) RULE_WHERE(name, !host_is_bochs(), "Bochs steps before the access", __VA_ARGS__)
STEP_MEMORY(a_step_over_a_read_of_the_apic_ends_behind_it, STEP("mov (%%rax), %%ecx", APIC_PHYS + APIC_VERSION, 0UL, 0UL);)
STEP_MEMORY(a_step_over_a_write_of_the_apic_ends_behind_it, STEP("mov %%ecx, (%%rax)", APIC_PHYS + APIC_TPR, 0x10UL, 0UL);)
STEP_MEMORY(a_step_over_untouched_memory_ends_behind_it, STEP("mov %%ecx, (%%rax)", 0x700000UL, 0UL, 0UL);)

static __guest void steps_over_ports(void)
{
	STEP("inb %%dx, %%al", 0UL, 0UL, (uint64_t)PORT);
	STEP("outl %%eax, %%dx", 0UL, 0UL, (uint64_t)PORT);
	guest_done();
}

static __guest void steps_over_a_device(void)
{
	STEP("mov %%ecx, (%%rax)", 0xd0000000UL, 0UL, 0UL);
	STEP("mov (%%rax), %%ecx", 0xd0000000UL, 0UL, 0UL);
	guest_done();
}

TEST(a_step_over_user_spaces_port_ends_behind_it)
{
	struct vcpu *vcpu = vm_create_one(0, steps_over_ports);

	ASSERT_EXIT(IO, vcpu);
	ASSERT_EXIT(IO, vcpu);
	ASSERT_DONE(vcpu);
}

TEST(a_step_over_user_spaces_device_ends_behind_it)
{
	struct vcpu *vcpu = vm_create_one(0, steps_over_a_device);

	if (host_is_bochs() || !device_is_kiln())
		SKIP(return, "Bochs steps before the access, stock KVM one instruction late");
	ASSERT_EXIT(MMIO, vcpu);
	ASSERT_EXIT(MMIO, vcpu);
	ASSERT_DONE(vcpu);
}

/* ---- Memory that user space has not got yet ---- */

#define ABSENT	0x40000000UL

static void *absent_slot(struct vm *vm)
{
	void *p = vm_map(vm, 1, ABSENT, 0x10000);

	munmap(p, 0x10000);
	return p;
}

static void make_present(void *p)
{
	if (mmap(p, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != p)
		die("mmap at the absent slot");
}

static struct kvm_vcpu_events get_events(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	if (xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events))
		die("GET_VCPU_EVENTS");
	return events;
}

/* ---- The interrupt shadow ---- */

static const struct kvm_msi message = { .address_lo = APIC_PHYS, .data = 0x61 };
static uint64_t behind __guest_data = 0;

#define SHADOWED(name, before)										\
static __guest void name(void)										\
{													\
	apic_enable();											\
	guest_handlers[0x61] = note;									\
	asm volatile(before "; mov (%1), %%rax; 771: nop; nop; cli; lea 771b(%%rip), %0"		\
		     : "=r"(behind) : "r"(ABSENT), "d"(0x10) : "rax", "memory");				\
	guest_expect(1, seen);										\
	guest_expect(behind, seen_rip);									\
	guest_done();											\
}
SHADOWED(loads_in_the_shadow_of_sti, "cli; sti")
SHADOWED(loads_in_the_shadow_of_mov_ss, "sti; nop; mov %%edx, %%ss")

/* The exit falls into the shadow; what arrives meanwhile waits for the end of the instruction. */
static void expect_shadow_kept(struct __test_metadata *_metadata, void (*guest)(void))
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, guest);
	void *absent = absent_slot(vcpu->vm);

	if (host_is_tcg())
		SKIP(return, "QEMU TCG loses the shadow at VMRUN and at #VMEXIT");
	ASSERT_OUTCOME("run: Bad address", vcpu);
	EXPECT_NE(0, get_events(vcpu).interrupt.shadow);
	ASSERT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &message);
	make_present(absent);
	ASSERT_DONE(vcpu);
	EXPECT_EQ(0, get_events(vcpu).interrupt.shadow);
}

TEST(an_exit_in_the_shadow_of_sti_does_not_end_it)
{
	expect_shadow_kept(_metadata, loads_in_the_shadow_of_sti);
}

TEST(an_exit_in_the_shadow_of_mov_ss_does_not_end_it)
{
	expect_shadow_kept(_metadata, loads_in_the_shadow_of_mov_ss);
}

static uint64_t rips[3] __guest_data = { 0 };

static __guest void stops_between_nops(void)
{
	apic_enable();
	guest_handlers[0x61] = note;
	asm volatile("lea 771f(%%rip), %%rcx; mov %%rcx, %0; lea 772f(%%rip), %%rcx; mov %%rcx, %1;"
		     "sti; nop; mov $2, %%eax; out %%eax, $0xe0; 771: nop; 772: nop; nop; cli"
		     : "=m"(rips[0]), "=m"(rips[1]) : "b"(1UL) : "rax", "rcx", "memory");
	guest_done();
}

static void expect_interrupted_at(struct __test_metadata *_metadata, int shadow, int rip)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, stops_between_nops);
	struct kvm_vcpu_events events;

	if (shadow && host_is_tcg())
		SKIP(return, "QEMU TCG loses the shadow at VMRUN and at #VMEXIT");
	ASSERT_OUTCOME("sync 1", vcpu);
	vcpu->run->immediate_exit = 1;			/* finish the OUT, and its shadow if it had one */
	ASSERT_EQ(-EINTR, vcpu_run(vcpu));
	vcpu->run->immediate_exit = 0;
	events = get_events(vcpu);
	ASSERT_EQ(0, events.interrupt.shadow);
	events.interrupt.shadow = shadow;
	events.flags = KVM_VCPUEVENT_VALID_SHADOW;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	EXPECT_EQ(!!shadow, !!get_events(vcpu).interrupt.shadow);
	ASSERT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &message);
	ASSERT_DONE(vcpu);
	EXPECT_EQ(1, GUEST(vcpu->vm, seen));
	EXPECT_EQ(GUEST(vcpu->vm, rips[rip]), GUEST(vcpu->vm, seen_rip));
}

TEST(without_a_shadow_an_interrupt_comes_before_the_next_instruction)
{
	expect_interrupted_at(_metadata, 0, 0);
}

TEST(the_shadow_of_sti_set_by_user_space_lasts_one_instruction)
{
	expect_interrupted_at(_metadata, KVM_X86_SHADOW_INT_STI, 1);
}

TEST(the_shadow_of_mov_ss_set_by_user_space_lasts_one_instruction)
{
	expect_interrupted_at(_metadata, KVM_X86_SHADOW_INT_MOV_SS, 1);
}

/* What waits for the end of a shadow may have been stepped to; the instruction there exits, the one behind it would tell. */
static __guest void pushes_its_flags_behind_an_exit(void)
{
	uint64_t flags, rip;

	guest_handlers[NMI_VECTOR] = note;
	asm volatile("mov $2, %%eax; out %%eax, $0xe0; cpuid; 771: pushf; pop %0; lea 771b(%%rip), %1"
		     : "=&S"(flags), "=&D"(rip) : "b"(1UL) : "rax", "rcx", "rdx", "memory");
	guest_expect(1, seen);
	guest_expect(rip, seen_rip);
	guest_expect(0, flags & 0x100);
	guest_done();
}

TEST(an_nmi_that_waited_for_a_shadow_leaves_no_trap_flag_behind_it)
{
	struct vcpu *vcpu = vm_create_one(0, pushes_its_flags_behind_an_exit);
	struct kvm_vcpu_events events;

	if (host_is_bochs_svm() || !device_is_kiln())
		SKIP(return, "Bochs' host takes a guest's step; stock KVM steps one instruction more");
	ASSERT_OUTCOME("sync 1", vcpu);
	vcpu->run->immediate_exit = 1;
	ASSERT_EQ(-EINTR, vcpu_run(vcpu));
	vcpu->run->immediate_exit = 0;
	events = get_events(vcpu);
	events.interrupt.shadow = KVM_X86_SHADOW_INT_MOV_SS;
	events.flags = KVM_VCPUEVENT_VALID_SHADOW;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_DONE(vcpu);
}

/* ---- Events against each other ---- */

static __guest void takes_both(void)
{
	apic_enable();
	guest_handlers[0x61] = guest_handlers[NMI_VECTOR] = note;
	sti();
	guest_sync(1);
	asm volatile("nop; nop; cli");
	guest_expect(2, seen);
	guest_expect(0x0261, seen_vectors);
	guest_done();
}

TEST(of_an_nmi_and_an_interrupt_the_nmi_comes_first_and_none_is_lost)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, takes_both);

	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &message);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_DONE(vcpu);
}

static uint64_t stacked_flags __guest_data = 0;

static __guest void note_flags(struct trap *t)
{
	stacked_flags |= t->rflags;
	note(t);
}

static __guest void takes_an_exception_and_an_nmi(void)
{
	guest_handlers[UD_VECTOR] = guest_handlers[NMI_VECTOR] = note_flags;
	guest_sync(1);
	guest_expect(2, seen);
	guest_expect(0, stacked_flags & 0x100);
	guest_done();
}

/* The NMI waits for the exception's delivery, and what the backend waits with is not seen on the guest's stack. */
TEST(an_exception_and_an_nmi_at_once_both_arrive_and_leave_no_flag_behind)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, takes_an_exception_and_an_nmi);
	struct kvm_vcpu_events events;

	ASSERT_OUTCOME("sync 1", vcpu);
	events = get_events(vcpu);
	events.exception.injected = 1;
	events.exception.nr = UD_VECTOR;
	events.exception.has_error_code = 0;
	events.nmi.pending = 1;
	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_DONE(vcpu);
}

/*
 * These tests see to it that the guest's last NMI handler returns: after one that did not, Bochs 2.7 has NMIs blocked
 * in whatever guest is entered next.
 */
static __guest void syncs_in_nmi(struct trap *t)
{
	guest_sync(100 + ++seen);
}

static __guest void takes_nmis(void)
{
	guest_handlers[NMI_VECTOR] = syncs_in_nmi;
	guest_sync(1);
	for (;;)
		guest_done();
}

TEST(nmis_unblocked_by_user_space_may_nest)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, takes_nmis);
	struct kvm_vcpu_events events;

	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("sync 101", vcpu);
	events = get_events(vcpu);
	ASSERT_EQ(1, events.nmi.masked);
	events.nmi.masked = 0;
	events.nmi.pending = 1;
	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_OUTCOME("sync 102", vcpu);
	ASSERT_DONE(vcpu);
}

TEST(nmis_blocked_by_user_space_wait)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, takes_nmis);
	struct kvm_vcpu_events events;

	ASSERT_OUTCOME("sync 1", vcpu);
	events = get_events(vcpu);
	events.nmi.masked = 1;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_DONE(vcpu);
	EXPECT_EQ(1, get_events(vcpu).nmi.masked);
	events = get_events(vcpu);
	events.nmi.masked = 0;
	events.flags = 0;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_OUTCOME("sync 101", vcpu);
	ASSERT_DONE(vcpu);
}

/* The window opens in the guest, at IRET; nothing else makes it leave in between. */
static __guest void returns_slowly(struct trap *t)
{
	seen_vectors = seen_vectors << 8 | t->vector;
	if (seen_vectors == NMI_VECTOR)
		guest_sync(2);
}

static __guest void take_nmi_after_nmi(trap_handler_t handler)
{
	guest_handlers[NMI_VECTOR] = handler;
	guest_sync(1);
	guest_expect(0x0202, seen_vectors);
	guest_done();
}

static __guest void takes_nmi_after_nmi(void)
{
	take_nmi_after_nmi(returns_slowly);
}

static void nmi_after_nmi(struct __test_metadata *_metadata, struct vcpu *vcpu)
{
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("sync 2", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_DONE(vcpu);
}

TEST(an_nmi_that_waits_comes_with_the_iret_of_the_one_before)
{
	nmi_after_nmi(_metadata, vm_create_one(0, takes_nmi_after_nmi));
}

/* What DR0 names is met right behind that IRET, where a back end may step: it is not switched on, and nobody's affair. */
static __guest void returns_to_dr0(struct trap *t)
{
	asm volatile("mov %0, %%dr0" : : "r"(t->rip));
	returns_slowly(t);
}

static __guest void takes_nmi_after_nmi_at_dr0(void)
{
	take_nmi_after_nmi(returns_to_dr0);
}

TEST(a_breakpoint_that_is_off_is_not_met_at_the_end_of_an_nmi)
{
	nmi_after_nmi(_metadata, vm_create_one(0, takes_nmi_after_nmi_at_dr0));
}

/* ---- What user space injects ---- */

static __guest void takes_anything(void)
{
	for (int i = 0; i < 256; i++)
		guest_handlers[i] = note;
	sti();
	guest_sync(1);
	asm volatile("nop");
	guest_sync(seen);
	guest_done();
}

static struct vcpu *create_at_sync(void)
{
	struct vcpu *vcpu = vm_create_one(0, takes_anything);

	if (strcmp(vcpu_outcome(vcpu), "sync 1"))
		die("%s", vcpu->outcome);
	vcpu->run->immediate_exit = 1;
	vcpu_run(vcpu);
	vcpu->run->immediate_exit = 0;
	return vcpu;
}

TEST(an_exception_of_user_spaces_carries_its_error_code)
{
	struct vcpu *vcpu = create_at_sync();
	struct kvm_vcpu_events events = get_events(vcpu);

	events.exception.injected = 1;
	events.exception.nr = GP_VECTOR;
	events.exception.has_error_code = 1;
	events.exception.error_code = 0x1238;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(GP_VECTOR, GUEST(vcpu->vm, seen_vectors));
	EXPECT_EQ(0x1238, GUEST(vcpu->vm, seen_error));
}

TEST(an_event_on_its_way_survives_a_run_that_does_not_enter)
{
	struct vcpu *vcpu = create_at_sync();
	struct kvm_vcpu_events events = get_events(vcpu);
	uint64_t rip = vcpu_regs(vcpu).rip;

	events.interrupt.injected = 1;
	events.interrupt.nr = 0x77;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	vcpu->run->immediate_exit = 1;
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(-EINTR, vcpu_run(vcpu));
	vcpu->run->immediate_exit = 0;
	events = get_events(vcpu);
	EXPECT_EQ(1, events.interrupt.injected);
	EXPECT_EQ(0x77, events.interrupt.nr);
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(0x77, GUEST(vcpu->vm, seen_vectors));
	EXPECT_EQ(rip, GUEST(vcpu->vm, seen_rip));
}

/* ---- Deliveries cut short: the IDT is in memory that comes later ---- */

struct delivery {
	const char *name;
	void (*guest)(void);
	uint8_t vector;
	uint32_t error;
	bool after;		/* the saved RIP is behind the instruction */
	bool repeated;		/* or may be, by its instruction: then there is nothing to be seen or saved */
};

/* Each leaves the address of the instruction in rips[0] and that after it in rips[1]. */
#define RAISES(name, insn, ...)										\
static __guest void name(void)										\
{													\
	asm volatile("lea 771f(%%rip), %%r14; mov %%r14, %0; lea 772f(%%rip), %%r14; mov %%r14, %1;"	\
		     "771: " insn "; 772: mov $2, %%eax; mov $1, %%ebx; out %%eax, $0xe0"		\
		     : "=m"(rips[0]), "=m"(rips[1]) : __VA_ARGS__ : "rbx", "r14", "memory", "cc");	\
}
RAISES(raises_ud, "ud2")
RAISES(raises_de, "div %%ecx", "a"(1), "d"(0), "c"(0))
RAISES(raises_gp, "mov %%eax, %%ds", "a"(0x1238))
RAISES(raises_pf, "mov %%ecx, (%%rax)", "a"(1UL << 40), "c"(0))
RAISES(raises_bp, "int3")
RAISES(raises_db, ".byte 0xf1")
RAISES(raises_int, "int $0x81")

static const struct delivery deliveries[] = {
	{ "#UD", raises_ud, UD_VECTOR },
	{ "#DE", raises_de, DE_VECTOR },
	{ "#GP", raises_gp, GP_VECTOR, 0x1238 },
	{ "#PF", raises_pf, PF_VECTOR, 2 },
	{ "INT3", raises_bp, BP_VECTOR, .after = true, .repeated = true },
	{ "INT n", raises_int, 0x81, .after = true, .repeated = true },
	{ "INT1", raises_db, DB_VECTOR, .after = true, .repeated = true },	/* the last: works() ends the loop */
};

/* A fault returns to its instruction, which would raise it again, so the handler's arrival is all that is looked at. */
static __guest void ends_at_once(struct trap *t)
{
	note(t);
	guest_done();
}

static void expect_arrival(struct __test_metadata *_metadata, struct vcpu *vcpu, const struct delivery *d)
{
	struct vm *vm = vcpu->vm;

	EXPECT_STREQ("done", vcpu_outcome(vcpu)) {
		TH_LOG("%s", d->name);
	}
	EXPECT_EQ(1, GUEST(vm, seen)) {
		TH_LOG("%s", d->name);
	}
	EXPECT_EQ(d->vector, GUEST(vm, seen_vectors)) {
		TH_LOG("%s", d->name);
	}
	EXPECT_EQ(d->error, GUEST(vm, seen_error)) {
		TH_LOG("%s", d->name);
	}
	if (GUEST(vm, rips[d->after])) {
		EXPECT_EQ(GUEST(vm, rips[d->after]), GUEST(vm, seen_rip)) {
			TH_LOG("%s", d->name);
		}
	}
}

/* QEMU's TCG raises #UD for it where SVM is about. */
static bool works(const struct delivery *d)
{
	return d->guest != raises_db || !host_is_tcg();
}

static struct vcpu *create_raising(const struct delivery *d, uint64_t idt)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, d->guest);
	struct kvm_sregs s = vcpu_sregs(vcpu);

	s.idt.base = idt;
	vcpu_set_sregs(vcpu, &s);
	GUEST(vcpu->vm, guest_handlers[d->vector]) = ends_at_once;
	return vcpu;
}

TEST(a_delivery_that_finds_no_memory_is_taken_up_when_there_is_some)
{
	for (size_t i = 0; i < ARRAY_LEN(deliveries) && works(&deliveries[i]); i++) {
		const struct delivery *d = &deliveries[i];
		struct vcpu *vcpu = create_raising(d, ABSENT);
		void *idt = absent_slot(vcpu->vm);
		struct kvm_vcpu_events events;

		EXPECT_STREQ("run: Bad address", vcpu_outcome(vcpu)) {
			TH_LOG("%s", d->name);
		}
		events = get_events(vcpu);
		if (!d->repeated || events.exception.injected || events.interrupt.injected) {
			EXPECT_EQ(d->vector, events.exception.injected ? events.exception.nr : events.interrupt.nr) {
				TH_LOG("%s", d->name);
			}
		}
		make_present(idt);
		memcpy(idt, vcpu->vm->ram + 0x8000, 0x1000);
		expect_arrival(_metadata, vcpu, d);
		munmap(idt, 0x10000);
		vm_destroy(vcpu->vm);
	}
}

/* The slot is there and backed, but its page not yet mapped for the guest: no exit to user space at all. */
TEST(a_delivery_through_an_untouched_page_arrives_once)
{
	for (size_t i = 0; i < ARRAY_LEN(deliveries) && works(&deliveries[i]); i++) {
		const struct delivery *d = &deliveries[i];
		struct vcpu *vcpu = create_raising(d, 0x700000);

		memcpy(vcpu->vm->ram + 0x700000, vcpu->vm->ram + 0x8000, 0x1000);
		expect_arrival(_metadata, vcpu, d);
		vm_destroy(vcpu->vm);
	}
}

static __guest void waits_with_interrupts_on(void)
{
	apic_enable_untouched();
	sti();
	guest_sync(1);
	asm volatile("nop; nop; cli");
	guest_done();
}

static const struct delivery interrupt = { "interrupt", waits_with_interrupts_on, 0x61 };
static const struct delivery nmi = { "NMI", waits_with_interrupts_on, NMI_VECTOR };

TEST(an_interrupt_that_finds_no_memory_is_taken_up_when_there_is_some)
{
	struct vcpu *vcpu = create_raising(&interrupt, ABSENT);
	void *idt = absent_slot(vcpu->vm);
	struct kvm_vcpu_events events;

	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_IOCTL(1, vcpu->vm->fd, KVM_SIGNAL_MSI, &message);
	ASSERT_OUTCOME("run: Bad address", vcpu);
	events = get_events(vcpu);
	EXPECT_EQ(1, events.interrupt.injected);
	EXPECT_EQ(0x61, events.interrupt.nr);
	EXPECT_EQ(0, events.interrupt.soft);
	make_present(idt);
	memcpy(idt, vcpu->vm->ram + 0x8000, 0x1000);
	expect_arrival(_metadata, vcpu, &interrupt);
}

TEST(an_nmi_that_finds_no_memory_is_taken_up_when_there_is_some)
{
	struct vcpu *vcpu = create_raising(&nmi, ABSENT);
	void *idt = absent_slot(vcpu->vm);

	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_NMI, NULL);
	ASSERT_OUTCOME("run: Bad address", vcpu);
	EXPECT_EQ(1, get_events(vcpu).nmi.injected);
	make_present(idt);
	memcpy(idt, vcpu->vm->ram + 0x8000, 0x1000);
	expect_arrival(_metadata, vcpu, &nmi);
	EXPECT_EQ(1, get_events(vcpu).nmi.masked);
	ASSERT_DONE(vcpu);
	EXPECT_EQ(0, get_events(vcpu).nmi.masked);
}

/* With a device where the IDT should be there is nothing to go on with until the device is memory. */
TEST(a_delivery_that_meets_a_device_is_an_error_and_is_taken_up_when_that_is_memory)
{
	if (!device_is_kiln())
		SKIP(return, "stock KVM tries no second time, or for ever");
	for (size_t i = 0; i < ARRAY_LEN(deliveries) && works(&deliveries[i]); i++) {
		const struct delivery *d = &deliveries[i];
		struct vcpu *vcpu = create_raising(d, 0x50000000);

		EXPECT_STREQ("exit INTERNAL_ERROR", vcpu_outcome(vcpu)) {
			TH_LOG("%s", d->name);
		}
		memcpy(vm_map(vcpu->vm, 1, 0x50000000, 0x1000), vcpu->vm->ram + 0x8000, 0x1000);
		expect_arrival(_metadata, vcpu, d);
		vm_destroy(vcpu->vm);
	}
}

/* ---- The same outside of 64-bit mode ---- */

#define CODE32	0x18UL

static void set_gate32(struct vm *vm, int vector, uint32_t eip)
{
	((uint64_t *)(vm->ram + 0x8000))[vector] = (eip & 0xffff) | CODE32 << 16 | 0x8e0000000000 |
						   (uint64_t)(eip & 0xffff0000) << 32;
}

/* The handler says where it was to return to, relative to the start of the code, and which flags it found. */
#define HANDLER	VM_FREE
BLOB(handler32, "32", "mov (%esp), %ebx; sub $0xa000, %ebx; mov $2, %eax; out %eax, $0xe0; iret");

static const struct {
	const char *name, *code, *outcome;
	int vector;
} traps32[] = {
	{ "INT3", "\xcc", "sync 1", 3 },
	{ "INT n", "\xcd\x81", "sync 2", 0x81 },
	{ "INTO", "\xce", "sync 1", 4 },
	{ "UD2", "\x0f\x0b", "sync 0", 6 },
	{ "INT1", "\xf1", "sync 1", 1 },
};

static size_t n_traps32(void)
{
	return ARRAY_LEN(traps32) - host_is_tcg();
}

static struct vcpu *create_32(const char *code, uint32_t rsp)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(0));
	struct kvm_regs regs;

	vm_load(vcpu->vm, VM_SCRATCH, code, strlen(code));
	vm_load_blob(vcpu->vm, HANDLER, handler32);
	vcpu_protected_mode(vcpu, VM_SCRATCH);
	regs = vcpu_regs(vcpu);
	regs.rsp = rsp;
	regs.rflags |= 0x800;				/* OF, for INTO */
	vcpu_set_regs(vcpu, &regs);
	return vcpu;
}

TEST(traps_of_32_bit_code_on_an_untouched_stack_return_where_they_should)
{
	for (size_t i = 0; i < n_traps32(); i++) {
		struct vcpu *vcpu = create_32(traps32[i].code, 0x710000);

		set_gate32(vcpu->vm, traps32[i].vector, HANDLER);
		EXPECT_STREQ(traps32[i].outcome, vcpu_outcome(vcpu)) {
			TH_LOG("%s", traps32[i].name);
		}
		vm_destroy(vcpu->vm);
	}
}

TEST(traps_of_32_bit_code_that_find_no_stack_are_taken_up_when_there_is_one)
{
	for (size_t i = 0; i < n_traps32(); i++) {
		struct vcpu *vcpu = create_32(traps32[i].code, ABSENT + 0x8000);
		void *stack = absent_slot(vcpu->vm);

		set_gate32(vcpu->vm, traps32[i].vector, HANDLER);
		EXPECT_STREQ("run: Bad address", vcpu_outcome(vcpu)) {
			TH_LOG("%s", traps32[i].name);
		}
		make_present(stack);
		EXPECT_STREQ(traps32[i].outcome, vcpu_outcome(vcpu)) {
			TH_LOG("%s", traps32[i].name);
		}
		munmap(stack, 0x10000);
		vm_destroy(vcpu->vm);
	}
}

BLOB(real_int, "16", "int $0x21; mov $1, %eax; out %eax, $0xe0");
BLOB(real_handler, "16", "mov %sp, %bp; movzwl (%bp), %ebx; sub $0xa000, %ebx; mov $2, %eax; out %eax, $0xe0; iret");

TEST(a_real_mode_interrupt_on_an_untouched_stack_returns_behind_itself)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(0));
	struct kvm_sregs s;
	struct kvm_regs regs;

	vm_load_blob(vcpu->vm, VM_SCRATCH, real_int);
	vm_load_blob(vcpu->vm, 0xb000, real_handler);
	*(uint32_t *)(vcpu->vm->ram + 4 * 0x21) = 0xb000;
	vcpu_real_mode(vcpu, VM_SCRATCH);
	s = vcpu_sregs(vcpu);
	s.ss.base = 0x70000;
	s.ss.selector = 0x7000;
	vcpu_set_sregs(vcpu, &s);
	regs = vcpu_regs(vcpu);
	regs.rsp = 0x8000;
	vcpu_set_regs(vcpu, &regs);
	ASSERT_OUTCOME("sync 2", vcpu);
	ASSERT_DONE(vcpu);
}

TEST_HARNESS_MAIN
