// SPDX-License-Identifier: GPL-2.0-only
/*
 * What module/hw.h asks of a backend about modes: the way from one to another by CR0, CR4 and EFER, what each write does
 * to translations, where the instruction pointer wraps, how each mode ends. Part of what contract_test.c describes.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rule.h"
#include "mode.h"

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define CR0_WP		(1UL << 16)
#define CR4_PGE		(1UL << 7)
#define EFER		0xc0000080
#define EFER_NXE	(1UL << 11)

/* ---- Translations ---- */

RULE(toggling_global_pages_flushes_even_those,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	volatile uint64_t *a = (volatile uint64_t *)0x400000;
	volatile uint64_t *b = (volatile uint64_t *)0x600000;
	*a = 1;
	*b = 2;
	pd[2] |= 1 << 8;
	write_cr4(read_cr4() | CR4_PGE);
	guest_expect(1, *a);
	pd[2] = 0x600187;
	write_cr4(read_cr4() & ~CR4_PGE);
	guest_expect(2, *a);
	pd[2] = 0x400187;
	write_cr4(read_cr4() | CR4_PGE);
	guest_expect(1, *a);
)

RULE(write_protection_follows_cr0_at_once,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	volatile uint64_t *a = (volatile uint64_t *)0x400000;
	*a = 1;
	pd[2] = 0x400085;
	write_cr3(read_cr3());
	for (int i = 0; i < 3; i++) {
		guest_expect(PF_VECTOR, guest_catch("mov %%rcx, (%%rax)", , "a"(a), "c"(5UL)));
		guest_expect(3, guest_error_code);
		write_cr0(read_cr0() & ~CR0_WP);
		guest_expect(NO_TRAP, guest_catch("mov %%rcx, (%%rax)", , "a"(a), "c"(6UL)));
		write_cr0(read_cr0() | CR0_WP);
	}
	guest_expect(6, *a);
)

RULE(no_execute_follows_efer_at_once,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	*(volatile uint8_t *)0x400000 = 0xc3;				/* ret */
	for (int i = 0; i < 3; i++) {
		wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
		pd[2] = 0x400087 | 1UL << 63;
		write_cr3(read_cr3());
		guest_expect(PF_VECTOR, guest_catch("call *%%rax", , "a"(0x400000UL)));
		guest_expect(NO_TRAP, guest_catch("mov (%%rax), %%r11", , "a"(0x400000UL)));
		wrmsr(EFER, rdmsr(EFER) & ~EFER_NXE);
		guest_expect(PF_VECTOR, guest_catch("mov (%%rax), %%r11", , "a"(0x400000UL)));
		guest_expect(8, guest_error_code & 8);			/* the bit is reserved now */
		pd[2] = 0x400087;
		write_cr3(read_cr3());
		guest_expect(NO_TRAP, guest_catch("call *%%rax", , "a"(0x400000UL)));
	}
)

/* Two sets of page tables, switched often: what each maps at one address must not show in the other. */
RULE(two_address_spaces_do_not_mix,
	volatile uint64_t *pml4 = (volatile uint64_t *)0x700000;
	volatile uint64_t *pdpt = (volatile uint64_t *)0x701000;
	volatile uint64_t *pd = (volatile uint64_t *)0x702000;
	uint64_t one = read_cr3();
	pml4[0] = 0x701007;
	for (int i = 0; i < 4; i++)
		pdpt[i] = (0x3000 + i * 0x1000) | 7;
	pdpt[0] = 0x702007;
	for (int i = 0; i < 512; i++)
		pd[i] = ((volatile uint64_t *)0x3000)[i];
	pd[2] = 0x600087;
	*(volatile uint64_t *)0x400000 = 1;
	*(volatile uint64_t *)0x600000 = 2;
	for (int i = 0; i < 50; i++) {
		uint32_t r[4];

		guest_expect(1, *(volatile uint64_t *)0x400000);
		write_cr3(0x700000);
		cpuid(0, 0, r);
		guest_expect(2, *(volatile uint64_t *)0x400000);
		write_cr3(one);
	}
)

/* Set by user space, the tables count at the next instruction, not at the next write of CR3. */
static __guest void reads_one_address(void)
{
	for (;;)
		guest_sync(*(volatile uint64_t *)0x400000);
}

TEST(page_tables_set_by_user_space_count_at_once)
{
	struct vcpu *vcpu = vm_create_one(0, reads_one_address);
	uint64_t *ram = (uint64_t *)vcpu->vm->ram;
	struct kvm_sregs s = vcpu_sregs(vcpu);

	ram[0x400000 / 8] = 1;
	ram[0x600000 / 8] = 2;
	memcpy(ram + 0x700000 / 8, ram + 0x1000 / 8, 0x3000);
	ram[0x700000 / 8] = 0x701007;
	ram[0x701000 / 8] = 0x702007;
	ram[0x702000 / 8 + 2] = 0x600087;
	for (int i = 0; i < 6; i++) {
		s.cr3 = i & 1 ? 0x700000 : 0x1000;
		vcpu_set_sregs(vcpu, &s);
		ASSERT_OUTCOME(i & 1 ? "sync 2" : "sync 1", vcpu);
	}
}

/* ---- Paging on and off, in 32-bit code that is mapped one to one ---- */

#define TABLES	MODE_TABLES
#define TABLES2	0x704000UL

#define SAY(reg)	"mov " reg ", %ebx; mov $2, %eax; out %eax, $0xe0;"
#define READ		"mov 0x400000, %ecx; " SAY("%ecx")

BLOB(paging_on_and_off, "32",
     "mov %cr4, %eax; or $0x10, %eax; mov %eax, %cr4; mov $0x700000, %eax; mov %eax, %cr3;" READ
     "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0;" READ
     "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0;" READ
     "mov $0x704000, %eax; mov %eax, %cr3; mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0;" READ
     "mov $0x700000, %eax; mov %eax, %cr3;" READ);

static struct vcpu *create_32(const uint8_t *code, const uint8_t *end)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(0));
	uint8_t *ram = vcpu->vm->ram;

	*(uint32_t *)(ram + 0x400000) = 10;
	vm_load(vcpu->vm, VM_SCRATCH, code, end - code);
	vcpu_protected_mode(vcpu, VM_SCRATCH);
	return vcpu;
}
#define CREATE_32(blob)	create_32(blob, blob##_end)

/* In the 32-bit format pages have 4 MiB, more than lies between one and the next below 8 MiB. */
#define HIGH	0x10000000UL

TEST(paging_goes_on_and_off_with_cr0)
{
	struct vcpu *vcpu = CREATE_32(paging_on_and_off);
	uint8_t *high = vm_map(vcpu->vm, 1, HIGH, 0x800000);

	build_legacy(vcpu->vm, TABLES, HIGH);
	build_legacy(vcpu->vm, TABLES2, HIGH + 0x400000);
	*(uint32_t *)high = 20;
	*(uint32_t *)(high + 0x400000) = 30;
	ASSERT_OUTCOME("sync 10", vcpu);
	ASSERT_OUTCOME("sync 20", vcpu);
	ASSERT_OUTCOME("sync 10", vcpu);
	ASSERT_OUTCOME("sync 30", vcpu);
	ASSERT_OUTCOME("sync 20", vcpu);
}

BLOB(pae_on_and_off, "32",
     "mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4; mov $0x700000, %eax; mov %eax, %cr3;"
     "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0;" READ
     "mov $0x704000, %eax; mov %eax, %cr3;" READ
     "mov %cr4, %eax; or $0x80, %eax; mov %eax, %cr4;" READ
     "mov $0x700000, %eax; mov %eax, %cr3;" READ
     "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0;" READ
     "mov $0x704000, %eax; mov %eax, %cr3; mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0;" READ);

TEST(pae_tables_are_those_of_the_last_write_to_cr3)
{
	struct vcpu *vcpu = CREATE_32(pae_on_and_off);
	uint8_t *high = vm_map(vcpu->vm, 1, HIGH, 0x800000);

	if (host_is_tcg() && !device_is_kiln())
		SKIP(return, "stock KVM's guest shuts down at MOV to CR3 in QEMU TCG");
	build_pae(vcpu->vm, TABLES, HIGH);
	build_pae(vcpu->vm, TABLES2, HIGH + 0x400000);
	*(uint32_t *)high = 20;
	*(uint32_t *)(high + 0x400000) = 30;
	ASSERT_OUTCOME("sync 20", vcpu);
	ASSERT_OUTCOME("sync 30", vcpu);
	ASSERT_OUTCOME("sync 30", vcpu);
	ASSERT_OUTCOME("sync 20", vcpu);
	ASSERT_OUTCOME("sync 10", vcpu);
	ASSERT_OUTCOME("sync 30", vcpu);
}

BLOB(reads_32, "32", "1:" READ "jmp 1b");

TEST(pae_tables_set_by_user_space_count_at_once)
{
	struct vcpu *vcpu = CREATE_32(reads_32);
	uint8_t *high = vm_map(vcpu->vm, 1, HIGH, 0x800000);
	struct kvm_sregs s = vcpu_sregs(vcpu);

	build_pae(vcpu->vm, TABLES, HIGH);
	build_pae(vcpu->vm, TABLES2, HIGH + 0x400000);
	*(uint32_t *)high = 20;
	*(uint32_t *)(high + 0x400000) = 30;
	s.cr4 |= 0x20;
	s.cr0 |= 1UL << 31;
	for (int i = 0; i < 6; i++) {
		s.cr3 = i & 1 ? TABLES2 : TABLES;
		vcpu_set_sregs(vcpu, &s);
		ASSERT_OUTCOME(i & 1 ? "sync 30" : "sync 20", vcpu);
	}
	s.cr0 &= ~(1UL << 31);
	vcpu_set_sregs(vcpu, &s);
	ASSERT_OUTCOME("sync 10", vcpu);
}

/* Protected mode, long mode, 64-bit code, 32-bit code under it, back to protected mode; each says EFER. */
#define SAY_EFER "mov $0xc0000080, %ecx; rdmsr; " SAY("%eax")
BLOB(to_long_and_back, "32",
     "mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4; mov $0x1000, %eax; mov %eax, %cr3;"
     "mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr;" SAY_EFER
     "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0;" SAY_EFER
     "ljmp $0x08, $(0xa000 + 1f - to_long_and_back)\n"
     ".code64\n1: mov $0x123456789abcdef0, %rax; shr $56, %rax; mov %rax, %rbx; mov $2, %eax; out %eax, $0xe0\n"
     "push $0x18; lea 2f(%rip), %rax; push %rax; lretq\n"
     ".code32\n2: " SAY_EFER
     "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0;" SAY_EFER
     "mov $0xc0000080, %ecx; rdmsr; and $~0x100, %eax; wrmsr;" SAY_EFER);

TEST(long_mode_comes_and_goes_with_efer_and_paging)
{
	struct vcpu *vcpu = CREATE_32(to_long_and_back);

	ASSERT_OUTCOME("sync 256", vcpu);		/* LME */
	EXPECT_EQ(0x100, vcpu_sregs(vcpu).efer);
	ASSERT_OUTCOME("sync 1280", vcpu);		/* LME, LMA */
	EXPECT_EQ(0x500, vcpu_sregs(vcpu).efer);
	ASSERT_OUTCOME("sync 18", vcpu);
	EXPECT_EQ(1, vcpu_sregs(vcpu).cs.l);
	ASSERT_OUTCOME("sync 1280", vcpu);
	EXPECT_EQ(0, vcpu_sregs(vcpu).cs.l);
	EXPECT_EQ(1, vcpu_sregs(vcpu).cs.db);
	ASSERT_OUTCOME("sync 256", vcpu);
	EXPECT_EQ(0x100, vcpu_sregs(vcpu).efer);
	ASSERT_OUTCOME("sync 0", vcpu);
	EXPECT_EQ(0, vcpu_sregs(vcpu).efer);
}

/* ---- The end of the address space: behind the last byte comes address 0, in 32-bit code ---- */

BLOB(at_zero, "32", "mov $1, %eax; out %eax, $0xe0");

/* The instruction's last byte is the last below 4 GiB. */
static struct vcpu *create_at_the_end(const char *insn)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(VM_IRQCHIP));
	uint8_t *top = vm_map(vcpu->vm, 1, 0xfffff000, 0x1000);
	struct kvm_regs regs;

	memcpy(top + 0x1000 - strlen(insn), insn, strlen(insn));
	vm_load_blob(vcpu->vm, 0, at_zero);
	vcpu_protected_mode(vcpu, 0x100000000 - strlen(insn));
	regs = vcpu_regs(vcpu);
	regs.rbx = APIC_PHYS + APIC_VERSION;
	regs.rcx = 0x1b;
	regs.rdx = 0x4d0;
	vcpu_set_regs(vcpu, &regs);
	return vcpu;
}

static const struct {
	const char *name, *insn, *exit;
} last_insns[] = {
	{ "cpuid", "\x0f\xa2" },
	{ "rdmsr", "\x0f\x32" },
	{ "in, the kernel's port", "\xec" },
	{ "out, user space's port", "\xe6\x51", "exit IO" },
	{ "in, user space's port", "\xe4\x51", "exit IO" },
	{ "mov from the local APIC", "\x8b\x03" },
	{ "mov to user space's device", "\xa3\x01\x01\x01\xd0", "exit MMIO" },
	{ "mov from user space's device", "\xa1\x01\x01\x01\xd0", "exit MMIO" },
};

TEST(after_the_last_byte_below_4g_comes_address_0)
{
	for (size_t i = 0; i < ARRAY_LEN(last_insns); i++) {
		struct vcpu *vcpu = create_at_the_end(last_insns[i].insn);

		if (last_insns[i].exit) {
			EXPECT_STREQ(last_insns[i].exit, vcpu_outcome(vcpu)) {
				TH_LOG("%s", last_insns[i].name);
			}
		}
		EXPECT_STREQ("done", vcpu_outcome(vcpu)) {
			TH_LOG("%s: RIP %#llx", last_insns[i].name, vcpu_regs(vcpu).rip);
		}
		EXPECT_EQ(0, vcpu_regs(vcpu).rip >> 32) {
			TH_LOG("%s: RIP %#llx", last_insns[i].name, vcpu_regs(vcpu).rip);
		}
		vm_destroy(vcpu->vm);
	}
}

/* ---- A triple fault is a shutdown, whatever the mode ---- */

static struct vcpu *create_in_mode(int mode, const char *code, size_t size)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(0));

	vm_load(vcpu->vm, VM_SCRATCH, code, size);
	vcpu_set_mode(vcpu, mode);
	return vcpu;
}

TEST(a_triple_fault_is_a_shutdown_in_every_mode)
{
	for (int i = 0; i < N_MODES; i++) {
		struct vcpu *vcpu = create_in_mode(i, "\x0f\x0b", 2);
		struct kvm_sregs s = vcpu_sregs(vcpu);

		s.idt.limit = 0;
		vcpu_set_sregs(vcpu, &s);
		EXPECT_STREQ("exit SHUTDOWN", vcpu_outcome(vcpu)) {
			TH_LOG("%s", mode_names[i]);
		}
		vm_destroy(vcpu->vm);
	}
}

/* CPUID in each mode, which tells that RIP moves by the length of the instruction, prefixes included. */
TEST(an_instruction_that_exits_is_skipped_by_its_length_in_every_mode)
{
	static const char code[] = "\x66\x2e\x0f\xa2\x90\x0f\xa2\x90\xe6\x51";		/* cpuid; nop; cpuid; nop; out */

	for (int i = 0; i < N_MODES; i++) {
		struct vcpu *vcpu = create_in_mode(i, code, sizeof(code) - 1);
		struct kvm_regs regs = vcpu_regs(vcpu);

		/* In virtual 8086 mode OUT looks at the TSS, and QEMU's TCG aborts over one that is busy. */
		if (i == MODE_VIRTUAL_8086 && host_is_tcg())
			continue;
		regs.rflags |= 0x3000;			/* IOPL 3, for virtual 8086 mode */
		vcpu_set_regs(vcpu, &regs);
		EXPECT_STREQ("exit IO", vcpu_outcome(vcpu)) {
			TH_LOG("%s", mode_names[i]);
		}
		vcpu->run->immediate_exit = 1;
		vcpu_run(vcpu);
		EXPECT_EQ(VM_SCRATCH + sizeof(code) - 1, vcpu_regs(vcpu).rip) {
			TH_LOG("%s", mode_names[i]);
		}
		vm_destroy(vcpu->vm);
	}
}

TEST_HARNESS_MAIN
