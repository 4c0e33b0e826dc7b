// SPDX-License-Identifier: GPL-2.0-only
/*
 * What module/hw.h asks of a backend, as it shows through the ABI: the same suite for every vendor. Here: state that is
 * set, kept over exits, and kept apart from that of the host and of other guests. contract_event_test.c has events,
 * contract_mode_test.c modes and translations.
 *
 * Parts of the contract that other suites show:
 *   state_test	general and special registers, FPU, XSAVE, XCR0, MSRs, events, CPUID come back and reach the guest
 *   cpu_test	control registers, DR4/5, MSRs and their checks; MOV to CR3 and INVLPG flush; RDTSCP
 *   event_test	each exception with its error code; NMI masking, one kept; delivery that exits
 *   clock_test	TSC offset, TSC_ADJUST; fpu_test: vector registers of guest, host and other guests
 *   lapic_test, irqchip_test	interrupts wait for IF, TPR and EOI; HLT wakes; STI's shadow
 *   memory_test, memslot_test	translations go with slots, mprotect() and madvise()
 *   death_test	triple faults and failed entries; run_test: immediate_exit, signals, the window user space asks for
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "machine.h"
#include "rule.h"

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))

/* ---- Segments and descriptor tables ---- */

static const struct kvm_segment segments[] = {
	{ .base = 0x12340, .limit = 0xffff, .selector = 0x1234, .type = 3, .present = 1, .s = 1 },
	{ .base = 0xfffffff0, .limit = 0x5ffff, .selector = 0x33, .type = 3, .present = 1, .s = 1, .dpl = 3, .db = 1 },
	{ .base = 0, .limit = 0xffffffff, .selector = 0x10, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1, .avl = 1 },
	{ .base = 0x1000, .limit = 0xabcfff, .selector = 0x48, .type = 7, .present = 1, .s = 1, .db = 1, .g = 1 },
	{ .base = 0, .limit = 0xffffffff, .selector = 0x18, .type = 1, .present = 1, .s = 1, .g = 1 },
};

static bool same_segment(const struct kvm_segment *a, const struct kvm_segment *b)
{
	return a->base == b->base && a->limit == b->limit && a->selector == b->selector && a->type == b->type &&
	       a->present == b->present && a->dpl == b->dpl && a->db == b->db && a->s == b->s && a->l == b->l &&
	       a->g == b->g && a->avl == b->avl && a->unusable == b->unusable;
}

static __guest void lives(void)
{
	for (;;)
		guest_done();
}

TEST(data_segments_come_back_with_every_attribute)
{
	struct vcpu *vcpu = vm_create_one(0, lives);

	for (size_t i = 0; i < ARRAY_LEN(segments); i++) {
		struct kvm_sregs set = vcpu_sregs(vcpu), got;

		set.ds = set.es = set.fs = set.gs = segments[i];
		set.es.base ^= 0x100;
		set.fs.base ^= 0x200;
		set.gs.base ^= 0x400;
		vcpu_set_sregs(vcpu, &set);
		got = vcpu_sregs(vcpu);
		EXPECT_TRUE(same_segment(&set.ds, &got.ds));
		EXPECT_TRUE(same_segment(&set.es, &got.es));
		EXPECT_TRUE(same_segment(&set.fs, &got.fs));
		EXPECT_TRUE(same_segment(&set.gs, &got.gs));
	}
}

TEST(segments_are_the_same_after_a_run)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	struct kvm_sregs before = vcpu_sregs(vcpu), after;
	struct kvm_segment *was = &before.cs, *is = &after.cs;

	before.fs = segments[0];
	before.gs = segments[1];
	before.ldt = (struct kvm_segment){ .base = 0x7000, .limit = 0x2f, .selector = 0x28, .type = 2, .present = 1 };
	before.gdt.base = 0xffff800000007000;
	before.idt.limit = 0x1ff;
	vcpu_set_sregs(vcpu, &before);
	before = vcpu_sregs(vcpu);
	ASSERT_DONE(vcpu);
	after = vcpu_sregs(vcpu);
	for (int i = 0; i < 8; i++) {
		EXPECT_TRUE(same_segment(was + i, is + i)) {
			TH_LOG("segment %d, in the order of struct kvm_sregs", i);
		}
	}
	EXPECT_EQ(0xffff800000007000, after.gdt.base);
	EXPECT_EQ(before.gdt.limit, after.gdt.limit);
	EXPECT_EQ(before.idt.base, after.idt.base);
	EXPECT_EQ(0x1ff, after.idt.limit);
}

TEST(an_unusable_segment_stays_one)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	struct kvm_sregs s = vcpu_sregs(vcpu);

	s.fs = s.ldt = (struct kvm_segment){ .unusable = 1 };
	vcpu_set_sregs(vcpu, &s);
	ASSERT_DONE(vcpu);
	s = vcpu_sregs(vcpu);
	EXPECT_EQ(1, s.fs.unusable);
	EXPECT_EQ(1, s.ldt.unusable);
	EXPECT_EQ(0, s.tr.unusable);
}

static struct { uint16_t limit; uint64_t base; } __attribute__((packed)) gdtr __guest_data = { 0 }, idtr __guest_data = { 0 };
static uint64_t selectors[4] __guest_data = { 0 }, at_fs __guest_data = 0, at_gs __guest_data = 0;

static __guest void looks_at_its_segments(void)
{
	asm volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
	asm volatile("mov %%fs, %0; mov %%gs, %1; str %2; sldt %3"
		     : "=r"(selectors[0]), "=r"(selectors[1]), "=r"(selectors[2]), "=r"(selectors[3]));
	asm volatile("mov %%fs:0, %0; mov %%gs:8, %1" : "=r"(at_fs), "=r"(at_gs));
	guest_done();
}

TEST(the_guest_sees_the_segments_and_tables_that_were_set)
{
	struct vcpu *vcpu = vm_create_one(0, looks_at_its_segments);
	struct vm *vm = vcpu->vm;
	struct kvm_sregs s = vcpu_sregs(vcpu);

	s.fs.selector = 0x1230;
	s.fs.base = VM_FREE;
	s.gs.selector = 0x2340;
	s.gs.base = VM_FREE + 0x100;
	s.tr.selector = 0x50;
	s.ldt = (struct kvm_segment){ .base = 0x7000, .limit = 0x2f, .selector = 0x58, .type = 2, .present = 1 };
	s.gdt = (struct kvm_dtable){ .base = 0x123000, .limit = 0x1237 };
	s.idt = (struct kvm_dtable){ .base = 0x456000, .limit = 0x4567 };
	vcpu_set_sregs(vcpu, &s);
	*(uint64_t *)(vm->ram + VM_FREE) = 0x1111;
	*(uint64_t *)(vm->ram + VM_FREE + 0x108) = 0x2222;
	ASSERT_DONE(vcpu);
	EXPECT_EQ(0x123000, GUEST(vm, gdtr).base);
	EXPECT_EQ(0x1237, GUEST(vm, gdtr).limit);
	EXPECT_EQ(0x456000, GUEST(vm, idtr).base);
	EXPECT_EQ(0x4567, GUEST(vm, idtr).limit);
	EXPECT_EQ(0x1230, GUEST(vm, selectors[0]));
	EXPECT_EQ(0x2340, GUEST(vm, selectors[1]));
	EXPECT_EQ(0x50, GUEST(vm, selectors[2]));
	EXPECT_EQ(0x58, GUEST(vm, selectors[3]));
	EXPECT_EQ(0x1111, GUEST(vm, at_fs));
	EXPECT_EQ(0x2222, GUEST(vm, at_gs));
}

/* ---- What an exit leaves alone: everything ---- */

enum { RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP, N_REGS = 16 };
#define CHANGES(reg)	(1 << (reg))

/* CF, PF, AF, ZF, SF, DF, OF and bit 1: all of user mode's. */
#define ALL_FLAGS	0xcd7

/*
 * An instruction, the registers it needs, and those it may change. BYTES are followed by an OUT, so that whatever was
 * lost on the way back into the guest shows in the registers as of that.
 */
struct exit_row {
	const char *name, *bytes;
	size_t size;
	uint64_t rax, rcx, rdx;
	uint32_t changes;
};

#define ROW(name, bytes, ...) { name, bytes "\xe6\xe1", sizeof(bytes "\xe6\xe1") - 1, __VA_ARGS__ }
#define A	CHANGES(RAX)
#define AD	(A | CHANGES(RDX))
#define ABCD	(AD | CHANGES(RBX) | CHANGES(RCX))

static const struct exit_row exit_rows[] = {
	ROW("cpuid", "\x0f\xa2", 0, 0, 0, ABCD),
	ROW("in al, user space's port", "\xec", 0x5500, 0, 0x510, A),
	ROW("in eax, the kernel's port", "\xed", 0, 0, 0x4d0, A),
	ROW("out, user space's port", "\xef", 7, 0, 0x510, 0),
	ROW("out, the kernel's port", "\xee", 0, 0, 0x4d0, 0),
	ROW("rdmsr, the APIC base", "\x0f\x32", 0, 0x1b, 0, AD),
	ROW("rdmsr, KVM's clock", "\x0f\x32", 0, 0x4b564d01, 0, AD),
	ROW("wrmsr, LSTAR", "\x0f\x30", 0x1000, 0xc0000082, 0x7fff, 0),
	ROW("wrmsr, PAT", "\x0f\x30", 0x07040600, 0x277, 0x07040600, 0),
	ROW("wbinvd", "\x0f\x09", 0, 0, 0, 0),
	ROW("invlpg", "\x0f\x01\x38", 0x400000, 0, 0, 0),
	ROW("pause", "\xf3\x90", 0, 0, 0, 0),
	ROW("rdtsc", "\x0f\x31", 0, 0, 0, AD),
	ROW("mov from cr0", "\x0f\x20\xc0", 0, 0, 0, A),
	ROW("mov to cr0", "\x0f\x22\xc0", 0x8001003b, 0, 0, 0),		/* TS on */
	ROW("clts", "\x0f\x06", 0, 0, 0, 0),
	ROW("mov from cr3", "\x0f\x20\xd8", 0, 0, 0, A),
	ROW("mov to cr3", "\x0f\x22\xd8", 0x1000, 0, 0, 0),
	ROW("mov to cr4", "\x0f\x22\xe0", 0x6a0, 0, 0, 0),		/* PGE on */
	ROW("mov to cr8", "\x44\x0f\x22\xc0", 5, 0, 0, 0),
	ROW("mov to dr0", "\x0f\x23\xc0", 0x123456, 0, 0, 0),
	ROW("mov to dr7", "\x0f\x23\xf8", 0x400, 0, 0, 0),
	ROW("mov from dr6", "\x0f\x21\xf0", 0, 0, 0, A),
	ROW("mov to user space's device", "\x48\x89\x18", 0xd0000000, 0, 0, 0),
	ROW("mov from user space's device", "\x48\x8b\x10", 0xd0000000, 0, 0, CHANGES(RDX)),
	ROW("mov from the local APIC", "\x8b\x08", 0xfee00030, 0, 0, CHANGES(RCX)),
	ROW("mov to the local APIC", "\x89\x08", 0xfee00080, 0x10, 0, 0),
	ROW("mov to untouched memory", "\x48\x89\x18", 0x700000, 0, 0, 0),
	ROW("fninit", "\xdb\xe3", 0, 0, 0, 0),
	ROW("vmcall for nothing", "\x0f\x01\xc1", 1000, 0, 0, A),
	ROW("vmmcall for nothing", "\x0f\x01\xd9", 1000, 0, 0, A),
};

static void set_pattern(struct kvm_regs *regs)
{
	uint64_t *r = (uint64_t *)regs;

	for (int i = 0; i < N_REGS; i++)
		r[i] = 0xf0e1d2c3b4a50000 | i << 8 | (0x11 * i);
}

/* Through whatever user space has to do with it to the OUT to port 0xe1. */
static const char *run_to_marker(struct vcpu *vcpu)
{
	for (int i = 0; i < 4; i++) {
		if (vcpu_run(vcpu))
			return "KVM_RUN failed";
		if (vcpu->run->exit_reason == KVM_EXIT_IO && vcpu->run->io.port == 0xe1)
			return "the marker";
		if (vcpu->run->exit_reason != KVM_EXIT_IO && vcpu->run->exit_reason != KVM_EXIT_MMIO)
			break;
	}
	return exit_name(vcpu->run->exit_reason);
}

static void expect_nothing_else_changed(struct __test_metadata *_metadata, struct vcpu *vcpu, const struct exit_row *row)
{
	struct kvm_regs before = vcpu_regs(vcpu), after;
	const uint64_t *was = (uint64_t *)&before, *is = (uint64_t *)&after;

	set_pattern(&before);
	before.rflags = ALL_FLAGS;
	before.rip = VM_FREE;
	before.rax = row->rax;
	before.rcx = row->rcx ?: before.rcx;
	before.rdx = row->rdx ?: before.rdx;
	vm_load(vcpu->vm, VM_FREE, row->bytes, row->size);
	vcpu_set_regs(vcpu, &before);
	EXPECT_STREQ("the marker", run_to_marker(vcpu)) {
		TH_LOG("%s", row->name);
	}
	vcpu->run->immediate_exit = 1;		/* finish the OUT */
	vcpu_run(vcpu);
	vcpu->run->immediate_exit = 0;
	after = vcpu_regs(vcpu);
	for (int i = 0; i < N_REGS; i++) {
		if (row->changes & 1 << i)
			continue;
		EXPECT_EQ(was[i], is[i]) {
			TH_LOG("%s: register %d, in the order of struct kvm_regs", row->name, i);
		}
	}
	EXPECT_EQ(before.rflags, after.rflags) {
		TH_LOG("%s", row->name);
	}
	EXPECT_EQ(VM_FREE + row->size, after.rip) {
		TH_LOG("%s", row->name);
	}
}

TEST(an_exit_of_any_kind_changes_no_other_register_and_no_flag)
{
	const char *other_vendors = host_cpu_is_intel() ? "vmmcall for nothing" : "vmcall for nothing";

	for (size_t i = 0; i < ARRAY_LEN(exit_rows); i++) {
		struct vcpu *vcpu;

		if (!strcmp(exit_rows[i].name, other_vendors))
			continue;
		vcpu = vm_create_one(VM_IRQCHIP, lives);
		expect_nothing_else_changed(_metadata, vcpu, &exit_rows[i]);
		vm_destroy(vcpu->vm);
	}
}

/* In 32-bit code the upper registers are out of reach, but not gone. */
TEST(exits_of_32_bit_code_leave_the_upper_registers_alone)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(VM_IRQCHIP));
	struct kvm_regs regs, after;
	static const uint8_t code[] = { 0x0f, 0xa2, 0xec, 0x0f, 0xa2, 0xe6, 0xe1 };	/* cpuid; in; cpuid; out */

	vcpu_protected_mode(vcpu, VM_FREE);
	regs = vcpu_regs(vcpu);
	set_pattern(&regs);
	regs.rax = 0;
	vm_load(vcpu->vm, VM_FREE, code, sizeof(code));
	vcpu_set_regs(vcpu, &regs);
	ASSERT_STREQ("the marker", run_to_marker(vcpu));
	after = vcpu_regs(vcpu);
	EXPECT_EQ(0, memcmp(&regs.r8, &after.r8, 8 * sizeof(uint64_t)));
	EXPECT_EQ((uint32_t)regs.rsi, (uint32_t)after.rsi);
	EXPECT_EQ((uint32_t)regs.rdi, (uint32_t)after.rdi);
	EXPECT_EQ((uint32_t)regs.rbp, (uint32_t)after.rbp);
	EXPECT_EQ((uint32_t)regs.rsp, (uint32_t)after.rsp);
}

TEST(interrupts_of_the_host_change_no_register_of_the_guest)
{
	static const uint8_t code[] = { 0xe2, 0xfe, 0xe6, 0xe1 };			/* 1: loop 1b; out */
	struct vcpu *vcpu = vm_create_one(0, lives);
	struct kvm_regs before = vcpu_regs(vcpu), after;

	set_pattern(&before);
	before.rflags = ALL_FLAGS | 0x200;
	before.rip = VM_FREE;
	before.rcx = 3000000;
	vm_load(vcpu->vm, VM_FREE, code, sizeof(code));
	vcpu_set_regs(vcpu, &before);
	ASSERT_STREQ("the marker", run_to_marker(vcpu));
	after = vcpu_regs(vcpu);
	before.rcx = 0;
	before.rip = after.rip;
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
}

/* ---- State that is one guest's and neither another's nor the host's ---- */

/* The value of slot N of a guest is WORD(its salt, N): canonical, and free of reserved bits where it matters. */
#define WORD(salt, n)	((salt) * 0x10000UL + (n) * 0x100 + 0x10)

enum { HAS_XSAVE = 1, HAS_PKU = 2, HAS_RDTSCP = 4, HAS_CR2 = 8 };
static uint64_t salt __guest_data = 0, has __guest_data = 0;

static struct {
	uint32_t index, mask;
} own_msrs[] __guest_data = {
	{ 0xc0000081, ~0 }, { 0xc0000082, ~0 }, { 0xc0000083, ~0 }, { 0xc0000084, 0xffff }, { 0xc0000100, ~0 },
	{ 0xc0000101, ~0 }, { 0xc0000102, ~0 }, { 0x174, 0xffff }, { 0x175, ~0 }, { 0x176, ~0 },
};

__always void xsetbv(uint64_t v)
{
	asm volatile("xsetbv" : : "c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

__always uint64_t xgetbv(void)
{
	uint32_t lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (uint64_t)hi << 32;
}

__always uint32_t rdpkru(void)
{
	uint32_t v;

	asm volatile(".byte 0x0f, 0x01, 0xee" : "=a"(v) : "c"(0) : "rdx");
	return v;
}

__always uint32_t rdtscp(void)
{
	uint32_t aux;

	asm volatile("rdtscp" : "=c"(aux) : : "rax", "rdx");
	return aux;
}

#define CR4_OSXSAVE	(1UL << 18)
#define CR4_PKE		(1UL << 22)

/* The lowest bit of the salt chooses between the values of registers with few of them. */
static __guest void sets_its_own(void)
{
	for (unsigned int i = 0; i < ARRAY_LEN(own_msrs); i++)
		wrmsr(own_msrs[i].index, WORD(salt, i) & own_msrs[i].mask);
	write_dr0(WORD(salt, 20));
	write_dr1(WORD(salt, 21));
	write_dr2(WORD(salt, 22));
	write_dr3(WORD(salt, 23));
	write_dr6(0xffff0ff0 | (salt & 1));
	write_cr2(WORD(salt, 24));
	write_cr8(salt & 15);
	wrmsr(0x277, salt & 1 ? 0x0006060606060606 : 0x0007040600070406);
	if (has & HAS_RDTSCP)
		wrmsr(0xc0000103, WORD(salt, 25) & ~0U);
	if (has & HAS_XSAVE) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		xsetbv(salt & 1 ? 1 : 3);
	}
	if (has & HAS_PKU) {
		write_cr4(read_cr4() | CR4_PKE);
		asm volatile(".byte 0x0f, 0x01, 0xef" : : "a"((uint32_t)salt << 4), "c"(0), "d"(0));
	}
}

static __guest void checks_its_own(void)
{
	for (unsigned int i = 0; i < ARRAY_LEN(own_msrs); i++)
		guest_expect(WORD(salt, i) & own_msrs[i].mask, rdmsr(own_msrs[i].index));
	guest_expect(WORD(salt, 20), read_dr0());
	guest_expect(WORD(salt, 21), read_dr1());
	guest_expect(WORD(salt, 22), read_dr2());
	guest_expect(WORD(salt, 23), read_dr3());
	guest_expect(0xffff0ff0 | (salt & 1), read_dr6());
	if (has & HAS_CR2)
		guest_expect(WORD(salt, 24), read_cr2());
	guest_expect(salt & 15, read_cr8());
	guest_expect(salt & 1 ? 0x0006060606060606 : 0x0007040600070406, rdmsr(0x277));
	if (has & HAS_RDTSCP)
		guest_expect(WORD(salt, 25) & ~0U, rdtscp());
	if (has & HAS_XSAVE)
		guest_expect(salt & 1 ? 1 : 3, xgetbv());
	if (has & HAS_PKU)
		guest_expect((uint32_t)salt << 4, rdpkru());
}

static __guest void keeps_its_own(void)
{
	sets_its_own();
	for (uint64_t turn = 0;; turn++) {
		guest_sync(turn);
		checks_its_own();
	}
}

/* QEMU's TCG intercepts no XSETBV, so KVM gives its guests an older XCR0 back; kiln is to notice. */
static bool xcr0_is_kept(void)
{
	return device_cpuid_has(1, 2, 26) && (device_is_kiln() || !host_is_tcg());
}

static struct vcpu *create_with_salt(uint64_t value)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, keeps_its_own);

	GUEST(vcpu->vm, salt) = value;
	GUEST(vcpu->vm, has) = (xcr0_is_kept() ? HAS_XSAVE : 0) | (device_cpuid_has(7, 2, 3) ? HAS_PKU : 0) |
			       (device_cpuid_has(0x80000001, 3, 27) ? HAS_RDTSCP : 0) | (host_is_bochs_svm() ? 0 : HAS_CR2);
	return vcpu;
}

/* The host's registers that a guest could leave behind, as far as user mode sees them. */
struct own {
	uint64_t fs, gs, xcr0;
	uint32_t pkru, aux;
};

static bool host_has(uint32_t leaf, int reg, int bit)
{
	uint32_t r[4];

	cpuid(leaf, 0, r);
	return r[reg] >> bit & 1;
}

static struct own look(void)
{
	struct own own = { 0 };

	syscall(SYS_arch_prctl, ARCH_GET_FS, &own.fs);
	asm volatile("mov %%gs:0, %0" : "=r"(own.gs));
	if (host_has(1, 2, 27))
		own.xcr0 = xgetbv();
	if (host_has(7, 2, 4))
		own.pkru = rdpkru();
	if (host_has(0x80000001, 3, 27))
		own.aux = rdtscp();
	return own;
}

static uint64_t gs_area[2] = { 0x676f776e };

TEST(two_guests_on_one_thread_and_the_host_keep_what_is_theirs)
{
	struct vcpu *a = create_with_salt(0x123), *b = create_with_salt(0x456);
	char expected[16];

	ASSERT_EQ(0, syscall(SYS_arch_prctl, ARCH_SET_GS, gs_area));
	for (int turn = 0; turn < 24; turn++) {
		struct own before, after;

		pin_to_cpu(turn / 3 % 2);		/* stays where there is but one */
		before = look();
		snprintf(expected, sizeof(expected), "sync %d", turn);
		ASSERT_OUTCOME(expected, a);
		after = look();
		EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
		ASSERT_OUTCOME(expected, b);
		after = look();
		EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
		EXPECT_EQ(gs_area[0], after.gs);
	}
}

/*
 * kiln offers no protection keys. Where XSETBV does not exit, as in QEMU's TCG, a guest has them all the same for a while,
 * and XCR0 tells nothing of it afterwards.
 */
#define XCR0_PKRU	(1 << 9)
#define ALL_KEYS_BUT_0	0xfffffff0

static __guest void loads_protection_keys(void)
{
	write_cr4(read_cr4() | CR4_OSXSAVE);
	for (uint64_t turn = 0;; turn++) {
		/* An exit in between takes XCR0 back: have the area mapped. */
		(void)*(volatile uint64_t *)VM_FREE;
		if (guest_catch("xsetbv", , "c"(0), "a"(7 | XCR0_PKRU), "d"(0)) == NO_TRAP) {
			guest_catch("xrstor (%%rbx)", , "b"(VM_FREE), "a"(XCR0_PKRU), "d"(0));
			xsetbv(1);
		}
		guest_sync(turn);
	}
}

TEST(protection_keys_that_a_guest_loads_are_not_left_to_the_host)
{
	struct vcpu *vcpu = vm_create_one(0, loads_protection_keys);
	uint8_t *area = vcpu->vm->ram + VM_FREE;
	char expected[16];
	uint32_t r[4];

	if (!host_has(7, 2, 4))
		SKIP(return, "the host has no protection keys (CPUID 7, ECX bit 4)");
	if (!xcr0_is_kept())
		SKIP(return, "the guest has no XSAVE, or QEMU TCG's XSETBV goes past stock KVM");
	cpuid(0xd, 9, r);
	*(uint64_t *)(area + 512) = XCR0_PKRU;
	*(uint32_t *)(area + r[1]) = ALL_KEYS_BUT_0;
	for (int turn = 0; turn < 3; turn++) {
		uint64_t before = rdpkru(), xcr0 = xgetbv();

		snprintf(expected, sizeof(expected), "sync %d", turn);
		ASSERT_OUTCOME(expected, vcpu);
		EXPECT_EQ(before, rdpkru());
		EXPECT_EQ(xcr0, xgetbv());
	}
}

static void *keep_busy(void *arg)
{
	struct vcpu *vcpu = arg;

	for (int i = 0; i < 200; i++) {
		const char *outcome = vcpu_outcome(vcpu);

		if (strncmp(outcome, "sync ", 5))
			break;
		sched_yield();
	}
	return NULL;
}

TEST(guests_of_several_threads_keep_what_is_theirs)
{
	struct vcpu *vcpu[4];
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		vcpu[i] = create_with_salt(0x111 * (i + 1));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, keep_busy, vcpu[i]));
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_STREQ("sync 199", vcpu[i]->outcome);
	}
}

/* A write breakpoint on a variable of the test's at its address: it must be the guest's alone. */
static volatile uint64_t trapped_by_none;
static bool dr6_is_kept __guest_data = true;

static __guest void arms_breakpoints(void)
{
	static volatile uint64_t hit __guest_data = 0;

	guest_handlers[DB_VECTOR] = count_trap;
	for (;;) {
		write_dr0(rdmsr(0xc0000102));
		write_dr1((uint64_t)&hit);
		write_dr6(0xffff0ff0);
		write_dr7(0x40a | 0x99UL << 16);		/* G0, L1: writes of 4 and 8 bytes */
		guest_sync(1);
		guest_count[DB_VECTOR] = 0;
		hit = 1;
		guest_expect(1, guest_count[DB_VECTOR]);
		if (dr6_is_kept)
			guest_expect(2, read_dr6() & 15);
	}
}

TEST(breakpoints_of_the_guest_are_none_of_the_host)
{
	struct vcpu *vcpu = vm_create_one(0, arms_breakpoints);

	GUEST(vcpu->vm, dr6_is_kept) = !host_is_bochs_svm();
	ASSERT_EQ(1, vcpu_set_msr(vcpu, 0xc0000102, (uintptr_t)&trapped_by_none));
	for (int i = 0; i < 5; i++) {
		ASSERT_OUTCOME("sync 1", vcpu);
		trapped_by_none = i;		/* SIGTRAP, if it were */
	}
}

/* What SYSCALL does with its MSRs, after exits and turns of others. */
static uint64_t syscalls __guest_data = 0;

BLOB(syscall_entry, "64", "incq (%rdi); jmp *%rcx");

static __guest void uses_syscall(void)
{
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
	wrmsr(0xc0000081, 0x8UL << 32);
	wrmsr(0xc0000082, VM_FREE);
	wrmsr(0xc0000084, 0x200);
	for (uint64_t i = 1;; i++) {
		uint64_t rflags;

		asm volatile("sti; syscall; pushf; pop %0" : "=r"(rflags) : "D"(&syscalls) : "rcx", "r11", "memory");
		guest_expect(0, rflags & 0x200);
		guest_expect(i, syscalls);
		guest_sync(i);
	}
}

TEST(syscall_goes_where_the_guest_said_whatever_the_host_did_meanwhile)
{
	struct vcpu *vcpu = vm_create_one(0, uses_syscall), *other = create_with_salt(0x777);
	char expected[16];

	vm_load_blob(vcpu->vm, VM_FREE, syscall_entry);
	for (int i = 1; i < 10; i++) {
		snprintf(expected, sizeof(expected), "sync %d", i);
		ASSERT_OUTCOME(expected, vcpu);
		vcpu_outcome(other);
		usleep(100);
	}
}

TEST_HARNESS_MAIN
