// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_EXIT_MMIO: accesses to guest-physical addresses that no slot covers reach user space, and every instruction form
 * that kernels use on device memory has the effect there that it has on RAM.
 *
 * The device of these tests is a page of memory that user space keeps. Each form runs twice, on RAM and on the device,
 * from the same registers; registers, flags and memory must come out the same.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define DEVICE	0xd0000000UL
#define RAM	0x300000UL
#define SIZE	0x2000UL

struct device {
	uint8_t mem[SIZE];
	uint64_t base;
	unsigned int reads, writes, longest;
};

/* Serve the device until the guest does anything else. */
static const char *serve(struct vcpu *vcpu, struct device *dev)
{
	for (;;) {
		const char *outcome = vcpu_outcome(vcpu);
		struct kvm_run *run = vcpu->run;
		uint64_t at = run->mmio.phys_addr - dev->base;

		if (strcmp(outcome, "exit MMIO"))
			return outcome;
		if (at + run->mmio.len > SIZE)
			return "exit MMIO outside the device";
		if (run->mmio.is_write)
			memcpy(dev->mem + at, run->mmio.data, run->mmio.len);
		else
			memcpy(run->mmio.data, dev->mem + at, run->mmio.len);
		dev->reads += !run->mmio.is_write;
		dev->writes += run->mmio.is_write;
		if (run->mmio.len > dev->longest)
			dev->longest = run->mmio.len;
	}
}

/* What an instruction starts from and leaves. RBX points at the operand, RSI and RDI are set per form. */
struct machine {
	uint64_t rax, rcx, rdx, rsi, rdi, flags;
};

#define FLAGS_CMP 0x8d5		/* CF PF AF ZF SF OF */

/*
 * FORM(name, "instruction", changed flags) makes the rule "name": the instruction behaves on the device as on RAM.
 * "src" and "dst" pointers for string instructions: RSI = RDI = the operand unless MEM_TO/FROM forms set them.
 */
#define RUN_FORM(insn, mem, m)									\
	asm volatile("push %%r8; popf; " insn "; pushf; pop %%r8; cld"				\
		     : "+a"((m)->rax), "+c"((m)->rcx), "+d"((m)->rdx), "+S"((m)->rsi),		\
		       "+D"((m)->rdi), "+r"(flags)						\
		     : "b"(mem) : "memory", "cc")

#define FORM_FULL(name, insn, to, from, count)							\
static __guest void name##_on(uint64_t mem, struct machine *m)					\
{												\
	register uint64_t flags asm("r8") = 2;							\
												\
	m->rax = 0x8899aabbccddeeff;								\
	m->rcx = count;										\
	m->rdx = 0x0102030405060708;								\
	m->rsi = from;										\
	m->rdi = to;										\
	RUN_FORM(insn, mem, m);									\
	m->flags = flags;									\
	m->rsi -= from;										\
	m->rdi -= to;										\
}												\
static __guest void name##_guest(void)								\
{												\
	struct machine ram, device;								\
												\
	name##_on(RAM, &ram);									\
	name##_on(DEVICE, &device);								\
	guest_expect(ram.rax, device.rax);							\
	guest_expect(ram.rcx, device.rcx);							\
	guest_expect(ram.rdx, device.rdx);							\
	guest_expect(ram.rsi, device.rsi);							\
	guest_expect(ram.rdi, device.rdi);							\
	guest_expect(ram.flags & FLAGS_CMP, device.flags & FLAGS_CMP);				\
	guest_done();										\
}												\
TEST(name)											\
{												\
	struct vcpu *vcpu = vm_create_one(0, name##_guest);					\
	struct device dev = { .base = DEVICE };							\
												\
	for (unsigned int i = 0; i < SIZE; i++)							\
		dev.mem[i] = i * 37 + 11;							\
	memcpy(vcpu->vm->ram + RAM, dev.mem, SIZE);						\
	ASSERT_STREQ("done", serve(vcpu, &dev));						\
	EXPECT_NE(0, dev.reads + dev.writes);							\
	EXPECT_LE(dev.longest, 8);								\
	EXPECT_EQ(0, memcmp(vcpu->vm->ram + RAM, dev.mem, SIZE));				\
}

#define FORM(name, insn)	FORM_FULL(name, insn, mem, mem, 0x1234567890abcde5)
#define FORM_TO(name, insn, n)	FORM_FULL(name, insn, mem, 0x400000, n)
#define FORM_FROM(name, insn, n) FORM_FULL(name, insn, 0x400000, mem, n)

FORM(mov_load_8, "movb (%%rbx), %%al")
FORM(mov_load_8_high, "movb (%%rbx), %%ah")
FORM(mov_load_16, "movw (%%rbx), %%ax")
FORM(mov_load_32_clears_the_upper_half, "movl (%%rbx), %%eax")
FORM(mov_load_64, "movq (%%rbx), %%rax")
FORM(mov_load_r9, "push %%r9; movq (%%rbx), %%r9; mov %%r9, %%rax; pop %%r9")
/* The address is the device's in both runs: what comes from there is compared with what is in RAM, what goes, too. */
FORM(mov_load_moffs_8, "movabsb 0xd0000013, %%al; cmpb 0x13(%%rbx), %%al; je 7f; ud2; 7:")
FORM(mov_load_moffs_32, "movabsl 0xd0000010, %%eax; cmpl 0x10(%%rbx), %%eax; je 7f; ud2; 7:")
FORM(mov_store_moffs_8, "movb %%al, 0x13(%%rbx); movabsb %%al, 0xd0000013")
FORM(mov_store_moffs_32, "movl %%eax, 0x10(%%rbx); movabsl %%eax, 0xd0000010")
FORM(mov_store_8, "movb %%al, (%%rbx)")
FORM(mov_store_8_high, "movb %%ah, (%%rbx)")
FORM(mov_store_8_sil, "movb %%sil, (%%rbx)")
FORM(mov_store_16, "movw %%ax, (%%rbx)")
FORM(mov_store_32, "movl %%eax, (%%rbx)")
FORM(mov_store_64, "movq %%rax, (%%rbx)")
FORM(mov_store_imm_8, "movb $0x5a, (%%rbx)")
FORM(mov_store_imm_16, "movw $0x5aa5, (%%rbx)")
FORM(mov_store_imm_32, "movl $0x5aa5c33c, (%%rbx)")
FORM(mov_store_imm_64_extends_the_sign, "movq $-2, (%%rbx)")
FORM(mov_disp8, "movl -8+16(%%rbx), %%eax")
FORM(mov_disp32, "movl 0x1ff0(%%rbx), %%eax")
FORM(mov_index_scaled, "mov $3, %%ecx; movl 8(%%rbx,%%rcx,8), %%eax")
FORM(mov_address_size_32, "movl (%%ebx), %%eax")
FORM(mov_across_a_page, "movq 0xffd(%%rbx), %%rax; movq %%rdx, 0xffb(%%rbx)")
FORM(mov_unaligned, "movl 3(%%rbx), %%eax; movl %%edx, 0x11(%%rbx)")
FORM(movzx_8_to_16, "movzbw (%%rbx), %%ax")
FORM(movzx_8_to_32, "movzbl (%%rbx), %%eax")
FORM(movzx_8_to_64, "movzbq (%%rbx), %%rax")
FORM(movzx_16_to_32, "movzwl (%%rbx), %%eax")
FORM(movzx_16_to_64, "movzwq (%%rbx), %%rax")
FORM(movsx_8_to_16, "movsbw 5(%%rbx), %%ax")
FORM(movsx_8_to_32, "movsbl 5(%%rbx), %%eax")
FORM(movsx_8_to_64, "movsbq 5(%%rbx), %%rax")
FORM(movsx_16_to_32, "movswl 4(%%rbx), %%eax")
FORM(movsx_16_to_64, "movswq 4(%%rbx), %%rax")
FORM(movsxd_32_to_64, "movslq 2(%%rbx), %%rax")
FORM(and_to_memory, "andl %%eax, (%%rbx)")
FORM(and_to_register, "andl (%%rbx), %%eax")
FORM(and_imm, "andl $0x0ff00ff0, (%%rbx); andb $0x3c, 9(%%rbx)")
FORM(or_to_memory, "orw %%ax, (%%rbx)")
FORM(or_to_register, "orb (%%rbx), %%al")
FORM(or_imm, "orq $0x40, (%%rbx); lock orl $1, 8(%%rbx)")
FORM(xor_to_memory, "xorq %%rax, (%%rbx)")
FORM(xor_to_register, "xorw (%%rbx), %%ax")
FORM(xor_imm, "xorl $-1, (%%rbx)")
FORM(add_to_memory, "addl %%eax, (%%rbx)")
FORM(add_to_register, "addq (%%rbx), %%rax")
FORM(add_imm, "addb $0x7f, (%%rbx)")
FORM(sub_to_memory, "subw %%ax, (%%rbx)")
FORM(sub_to_register, "subl (%%rbx), %%eax")
FORM(sub_imm, "subq $0x7f, (%%rbx)")
FORM(cmp_with_memory_first, "cmpl %%eax, (%%rbx)")
FORM(cmp_with_register_first, "cmpb (%%rbx), %%al")
FORM(cmp_imm, "cmpw $0x300, (%%rbx)")
FORM(test_register, "testl %%eax, (%%rbx)")
FORM(test_imm, "testb $0x80, 6(%%rbx)")
FORM(bt_imm, "btl $5, (%%rbx)")
FORM(bts_imm, "btsl $9, (%%rbx)")
FORM(btr_imm, "btrl $1, (%%rbx)")
FORM(btc_imm, "lock btcq $33, (%%rbx)")
FORM(bts_register_reaches_beyond_the_operand, "mov $100, %%eax; btsl %%eax, (%%rbx)")
FORM(xchg_8, "xchgb %%al, (%%rbx)")
FORM(xchg_16, "xchgw %%ax, (%%rbx)")
FORM(xchg_32, "xchgl %%eax, (%%rbx)")
FORM(xchg_64, "xchgq %%rax, (%%rbx)")
FORM(cmpxchg_equal, "movl (%%rbx), %%eax; lock cmpxchgl %%edx, (%%rbx)")
FORM(cmpxchg_different, "lock cmpxchgl %%edx, (%%rbx)")
FORM(cmpxchg_64, "movq 8(%%rbx), %%rax; lock cmpxchgq %%rdx, 8(%%rbx)")
FORM_FROM(movs_8_from_device, "movsb", 9)
FORM_FROM(movs_16_from_device, "movsw", 9)
FORM_FROM(movs_64_from_device, "movsq", 9)
FORM_TO(movs_32_to_device, "movsl", 9)
FORM_FROM(rep_movs_8_from_device, "rep movsb", 19)
FORM_FROM(rep_movs_32_from_device, "rep movsl", 5)
FORM_TO(rep_movs_8_to_device, "rep movsb", 19)
FORM_TO(rep_movs_16_to_device, "rep movsw", 7)
FORM_TO(rep_movs_32_to_device, "rep movsl", 5)
FORM_TO(rep_movs_64_to_device, "rep movsq", 3)
FORM_FULL(rep_movs_within_device, "rep movsl", mem + 0x100, mem, 4)
FORM_FULL(rep_movs_backwards, "std; rep movsl", mem + 0x100, mem + 0x80, 4)
FORM_TO(rep_movs_of_none, "movb %%al, (%%rbx); rep movsl", 0)
FORM_TO(stos_8, "stosb", 9)
FORM_TO(stos_32, "stosl", 9)
FORM_TO(rep_stos_8, "rep stosb", 7)
FORM_TO(rep_stos_64, "rep stosq", 4)
FORM_FULL(rep_stos_across_a_page, "rep stosl", mem + 0xff8, mem, 4)

static __guest void reads_and_writes(void)
{
	volatile uint32_t *reg = (volatile uint32_t *)(DEVICE + 0x18);

	*reg = 0x12345678;
	guest_expect(0xcafef00d, *reg);
	guest_done();
}

TEST(an_mmio_exit_carries_address_length_direction_and_data)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_writes);
	struct kvm_run *run = vcpu->run;
	uint32_t value = 0x12345678;

	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(DEVICE + 0x18, run->mmio.phys_addr);
	EXPECT_EQ(4, run->mmio.len);
	EXPECT_EQ(1, run->mmio.is_write);
	EXPECT_EQ(0, memcmp(run->mmio.data, &value, 4));
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(DEVICE + 0x18, run->mmio.phys_addr);
	EXPECT_EQ(4, run->mmio.len);
	EXPECT_EQ(0, run->mmio.is_write);
	value = 0xcafef00d;
	memcpy(run->mmio.data, &value, 4);
	ASSERT_DONE(vcpu);
}

TEST(an_address_becomes_memory_when_a_slot_is_put_there)
{
	struct vcpu *vcpu = vm_create_one(0, reads_and_writes);
	uint32_t *page;

	ASSERT_EXIT(MMIO, vcpu);
	page = vm_map(vcpu->vm, 1, DEVICE, 0x1000);
	page[6] = 0xcafef00d;
	ASSERT_DONE(vcpu);
}

static __guest void touches_above_4g(void)
{
	volatile uint64_t *pdpt = (volatile uint64_t *)0x2000, *pd = (volatile uint64_t *)0x200000;

	pd[0] = 0x3800000083;		/* gpa 224 GiB */
	pdpt[4] = 0x200003;
	*(volatile uint32_t *)0x100000040 = 7;
	guest_done();
}

TEST(device_addresses_above_4g_are_reported_whole)
{
	struct vcpu *vcpu = vm_create_one(0, touches_above_4g);

	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(0x3800000040, vcpu->run->mmio.phys_addr);
	ASSERT_DONE(vcpu);
}

/* 16-bit code: a hole where the video memory is, and the 16-bit addressing forms. */
BLOB(real_mmio, "16",
	"mov $0xb800, %ax; mov %ax, %es; mov %ax, %ds; mov $0x10, %bx; mov $0x20, %si; mov $0x30, %di\n"
	"mov $0x30, %bp; mov $0, %ax; mov %ax, %ss\n"
	"movb $0x11, (%bx); movw $0x2233, (%bx,%si); movl $0x44556677, 4(%bx,%di)\n"
	"movb $0x88, %ds:(%bp,%si); movw $0x99aa, %es:0x80(%bp,%di); movb $0xbb, 0x100\n"
	"movb (%bx), %al; cmp $0x11, %al; jne 1f\n"
	"movl 4(%bx,%di), %eax; cmp $0x44556677, %eax; jne 1f\n"
	"cld; xor %di, %di; mov $3, %cx; mov $0x0741, %ax; rep stosw\n"
	"mov $1, %eax; out %eax, $0xe0\n"
	"1: ud2");

TEST(the_16_bit_addressing_forms_reach_the_device)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vm_add_vcpu(vm);
	struct device dev = { .base = 0xb8000 };
	const uint8_t expected[] = { 0x41, 7, 0x41, 7, 0x41, 7 };

	ASSERT_EQ(0, vm_set_slot(vm, 0, 0, 0, 0, NULL));
	ASSERT_EQ(0, vm_set_slot(vm, 0, 0, 0, 0xa0000, vm->ram));
	vm_load_blob(vm, VM_SCRATCH, real_mmio);
	vcpu_real_mode(vcpu, VM_SCRATCH);
	ASSERT_STREQ("done", serve(vcpu, &dev));
	EXPECT_EQ(0, memcmp(expected, dev.mem, 6));
	EXPECT_EQ(0x11, dev.mem[0x10]);
	EXPECT_EQ(0, memcmp("\x33\x22", dev.mem + 0x30, 2));
	EXPECT_EQ(0, memcmp("\x77\x66\x55\x44", dev.mem + 0x44, 4));
	EXPECT_EQ(0x88, dev.mem[0x50]);
	EXPECT_EQ(0, memcmp("\xaa\x99", dev.mem + 0xe0, 2));
	EXPECT_EQ(0xbb, dev.mem[0x100]);
}

BLOB(protected_mmio, "32",
	"mov $0xd0000000, %ebx; mov $2, %esi; mov $0x20, %ebp\n"
	"movl $0x01020304, (%ebx); movb $0x55, 7(%ebx); movw $0x6677, 0x400(%ebx)\n"
	"movl %esi, (%ebx,%esi,4); movl $0x18, %ecx; movl %ebx, (%ebx,%ecx); movl $9, 0xd0000100(,%esi,8)\n"
	"movl $0x31, %ds:(%ebx,%ebp); movl $0x32, 0xd0000030\n"
	"mov 0xd0000000, %eax; cmp $0x01020304, %eax; jne 1f\n"
	"movzbl 7(%ebx), %eax; cmp $0x55, %eax; jne 1f\n"
	"mov $1, %eax; out %eax, $0xe0\n"
	"1: ud2");

TEST(the_32_bit_addressing_forms_reach_the_device)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vm_add_vcpu(vm);
	struct device dev = { .base = DEVICE };

	vm_load_blob(vm, VM_SCRATCH, protected_mmio);
	vcpu_protected_mode(vcpu, VM_SCRATCH);
	ASSERT_STREQ("done", serve(vcpu, &dev));
	EXPECT_EQ(0x55, dev.mem[7]);
	EXPECT_EQ(2, dev.mem[8]);
	EXPECT_EQ(0xd0, dev.mem[0x1b]);
	EXPECT_EQ(0x31, dev.mem[0x20]);
	EXPECT_EQ(0x32, dev.mem[0x30]);
	EXPECT_EQ(9, dev.mem[0x110]);
	EXPECT_EQ(0x77, dev.mem[0x400]);
}

/* The operand's segment base counts in 64-bit mode for FS and GS only. */
static __guest void through_gs(void)
{
	wrmsr(0xc0000101, DEVICE - 0x1000);
	asm volatile("movl $0x77, %gs:0x1008; movl %gs:0x1008, %eax; cmp $0x77, %eax; je 1f; ud2; 1:");
	guest_done();
}

TEST(a_gs_prefix_adds_its_base)
{
	struct vcpu *vcpu = vm_create_one(0, through_gs);
	struct device dev = { .base = DEVICE };

	ASSERT_STREQ("done", serve(vcpu, &dev));
	EXPECT_EQ(0x77, dev.mem[8]);
}

/* Mapped within reach of RIP: the displacement counts from the end of the instruction, its immediate included. */
static __guest void rip_relative(void)
{
	asm volatile("movl $0x5a5a5a5a, 0x40200010(%rip)\n1: lea 1b(%rip), %rbx\n"
		     "mov $1, %eax; out %eax, $0xe0");
}

TEST(rip_relative_counts_from_the_end_of_the_instruction)
{
	struct vcpu *vcpu = vm_create_one(0, rip_relative);
	struct device dev = { .base = DEVICE };
	uint64_t *pds = (uint64_t *)(vcpu->vm->ram + 0x3000);

	/* The 2M page that RIP + 0x40200000 falls into, whichever function RIP is in, is the device. */
	pds[(0x40200000 + 0x100000) >> 21] = DEVICE | 0x83;
	ASSERT_EXIT(MMIO, vcpu);
	ASSERT_TRUE(vcpu->run->mmio.is_write);
	memcpy(dev.mem, vcpu->run->mmio.data, 4);
	EXPECT_EQ(0, memcmp("ZZZZ", dev.mem, 4));
	dev.base = vcpu->run->mmio.phys_addr;
	ASSERT_DONE(vcpu);
	EXPECT_EQ((vcpu_regs(vcpu).rbx + 0x40200010) & 0x1fffff, dev.base & 0x1fffff);
}

static __guest void push_and_pop(void)
{
	asm volatile("mov %0, %%rbx; pushq (%%rbx); popq 8(%%rbx)" : : "r"(DEVICE) : "rbx", "memory");
	guest_done();
}

TEST(what_the_emulator_knows_not_is_an_error_and_not_a_wrong_result)
{
	struct vcpu *vcpu = vm_create_one(0, push_and_pop);
	struct device dev = { .base = DEVICE, .mem = { 1, 2, 3, 4, 5, 6, 7, 8 } };
	const char *outcome = serve(vcpu, &dev);

	/* KVM has PUSH and POP of memory, kiln need not: then it says so. */
	if (strcmp(outcome, "exit INTERNAL_ERROR")) {
		ASSERT_STREQ("done", outcome);
		EXPECT_EQ(0, memcmp(dev.mem, dev.mem + 8, 8));
	}
}

TEST_HARNESS_MAIN
