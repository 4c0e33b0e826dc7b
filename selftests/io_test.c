// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_EXIT_IO: port reads and writes of every size, plain and string, reach user space with their operands and
 * complete as the manual says (SDM vol. 2, IN, OUT, INS, OUTS; api.rst §5, KVM_EXIT_IO).
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

#define PORT	0x510
#define BUF	0x3ffff0UL	/* 16 bytes before the end of a 2M page */

static void *io_data(struct vcpu *vcpu)
{
	return (uint8_t *)vcpu->run + vcpu->run->io.data_offset;
}

/* Serve PORT with a byte stream until the guest does anything else: reads take from it, writes append to it. */
struct stream {
	uint8_t bytes[256];
	size_t used, exits;
};

static const char *serve(struct vcpu *vcpu, struct stream *s)
{
	for (;;) {
		const char *outcome = vcpu_outcome(vcpu);
		size_t n = (size_t)vcpu->run->io.size * vcpu->run->io.count;

		if (strcmp(outcome, "exit IO") || vcpu->run->io.port != PORT || s->used + n > sizeof(s->bytes))
			return outcome;
		if (vcpu->run->io.direction == KVM_EXIT_IO_IN)
			memcpy(io_data(vcpu), s->bytes + s->used, n);
		else
			memcpy(s->bytes + s->used, io_data(vcpu), n);
		s->used += n;
		s->exits++;
	}
}

static void fill(struct stream *s)
{
	for (size_t i = 0; i < sizeof(s->bytes); i++)
		s->bytes[i] = i ^ 0x5a;
}

static __guest void writes_each_size(void)
{
	outb(PORT, 0x11);
	outw(PORT + 1, 0x2233);
	outl(PORT + 2, 0x44556677);
	guest_done();
}

TEST(out_reports_port_size_and_value)
{
	struct vcpu *vcpu = vm_create_one(0, writes_each_size);
	struct kvm_run *run = vcpu->run;
	static const uint32_t value[] = { 0x11, 0x2233, 0x44556677 };

	for (int i = 0; i < 3; i++) {
		ASSERT_EXIT(IO, vcpu);
		EXPECT_EQ(KVM_EXIT_IO_OUT, run->io.direction);
		EXPECT_EQ(PORT + i, run->io.port);
		EXPECT_EQ(1 << i, run->io.size);
		EXPECT_EQ(1, run->io.count);
		EXPECT_EQ(0, memcmp(&value[i], io_data(vcpu), 1 << i));
	}
	ASSERT_DONE(vcpu);
}

static __guest void reads_each_size(void)
{
	uint64_t a = 0x1111111111111111, b = a, c = a;

	asm volatile("inb %%dx, %%al" : "+a"(a) : "d"(PORT));
	asm volatile("inw %%dx, %%ax" : "+a"(b) : "d"(PORT));
	asm volatile("inl %%dx, %%eax" : "+a"(c) : "d"(PORT));
	guest_expect(0x1111111111111180, a);
	guest_expect(0x1111111111119281, b);
	guest_expect(0x00000000b6a59483, c);
	guest_done();
}

TEST(in_writes_only_its_part_of_the_register_and_a_long_one_clears_the_rest)
{
	struct vcpu *vcpu = vm_create_one(0, reads_each_size);
	struct stream s = { .bytes = { 0x80, 0x81, 0x92, 0x83, 0x94, 0xa5, 0xb6 } };

	ASSERT_STREQ("done", serve(vcpu, &s));
	EXPECT_EQ(7, s.used);
	EXPECT_EQ(3, s.exits);
}

static __guest void writes_immediate_port(void)
{
	asm volatile("mov $0x5a, %%al; out %%al, $0x99; in $0x99, %%al; cmp $0xa5, %%al; je 1f; ud2; 1:" : : : "rax");
	guest_done();
}

TEST(the_port_may_be_an_immediate)
{
	struct vcpu *vcpu = vm_create_one(0, writes_immediate_port);

	ASSERT_EXIT(IO, vcpu);
	EXPECT_EQ(0x99, vcpu->run->io.port);
	EXPECT_EQ(0x5a, *(uint8_t *)io_data(vcpu));
	ASSERT_EXIT(IO, vcpu);
	EXPECT_EQ(KVM_EXIT_IO_IN, vcpu->run->io.direction);
	*(uint8_t *)io_data(vcpu) = 0xa5;
	ASSERT_DONE(vcpu);
}

/* RCX, RSI and RDI after a string instruction on PORT. */
#define STRING_IO(insn, dir, count, where) ({								\
	uint64_t c__ = (count), d__ = (where), s__ = (where);						\
	asm volatile(dir "; " insn "; cld" : "+c"(c__), "+D"(d__), "+S"(s__) : "d"(PORT) : "memory");	\
	struct { uint64_t rcx, rdi, rsi; } r__ = { c__, d__, s__ }; r__; })

static __guest void rep_outs_each_size(void)
{
	guest_expect(BUF + 5, STRING_IO("rep outsb", "cld", 5, BUF).rsi);
	guest_expect(BUF + 6, STRING_IO("rep outsw", "cld", 3, BUF).rsi);
	guest_expect(0, STRING_IO("rep outsl", "cld", 2, BUF).rcx);
	guest_done();
}

TEST(rep_outs_sends_every_element_in_order)
{
	struct vcpu *vcpu = vm_create_one(0, rep_outs_each_size);
	struct stream in, s = { .used = 0 };

	fill(&in);
	memcpy(vcpu->vm->ram + BUF, in.bytes, 16);
	ASSERT_STREQ("done", serve(vcpu, &s));
	ASSERT_EQ(5 + 6 + 8, s.used);
	EXPECT_EQ(0, memcmp(in.bytes, s.bytes, 5));
	EXPECT_EQ(0, memcmp(in.bytes, s.bytes + 5, 6));
	EXPECT_EQ(0, memcmp(in.bytes, s.bytes + 11, 8));
}

static __guest void rep_ins_each_size(void)
{
	guest_expect(BUF + 5, STRING_IO("rep insb", "cld", 5, BUF).rdi);
	guest_expect(BUF + 5 + 6, STRING_IO("rep insw", "cld", 3, BUF + 5).rdi);
	guest_expect(0, STRING_IO("rep insl", "cld", 2, BUF + 11).rcx);
	guest_done();
}

TEST(rep_ins_stores_every_element_in_order_across_a_page_boundary)
{
	struct vcpu *vcpu = vm_create_one(0, rep_ins_each_size);
	struct stream s = { .used = 0 };

	fill(&s);
	ASSERT_STREQ("done", serve(vcpu, &s));
	ASSERT_EQ(19, s.used);
	EXPECT_EQ(0, memcmp(s.bytes, vcpu->vm->ram + BUF, 19));
}

static __guest void rep_backwards(void)
{
	guest_expect(BUF - 4, STRING_IO("rep insw", "std", 4, BUF + 4).rdi);
	guest_expect(BUF - 4, STRING_IO("rep outsw", "std", 4, BUF + 4).rsi);
	guest_done();
}

TEST(with_the_direction_flag_string_io_goes_down)
{
	struct vcpu *vcpu = vm_create_one(0, rep_backwards);
	struct stream s = { .used = 0 };

	fill(&s);
	ASSERT_STREQ("done", serve(vcpu, &s));
	ASSERT_EQ(16, s.used);
	EXPECT_EQ(0, memcmp(s.bytes, s.bytes + 8, 8));
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(0, memcmp(s.bytes + 2 * i, vcpu->vm->ram + BUF + 4 - 2 * i, 2));
}

static __guest void rep_of_none(void)
{
	guest_expect(BUF, STRING_IO("rep insb", "cld", 0, BUF).rdi);
	guest_expect(BUF, STRING_IO("rep outsb", "cld", 0, BUF).rsi);
	guest_done();
}

TEST(rep_with_a_count_of_zero_does_nothing)
{
	struct vcpu *vcpu = vm_create_one(0, rep_of_none);

	ASSERT_DONE(vcpu);
}

static __guest void single_string(void)
{
	guest_expect(BUF + 1, STRING_IO("insb", "cld", 7, BUF).rdi);
	guest_expect(7, STRING_IO("outsb", "cld", 7, BUF).rcx);
	guest_done();
}

TEST(string_io_without_rep_moves_one_element_and_leaves_rcx)
{
	struct vcpu *vcpu = vm_create_one(0, single_string);
	struct stream s = { .bytes = { 0xc3 } };

	ASSERT_STREQ("done", serve(vcpu, &s));
	EXPECT_EQ(2, s.used);
	EXPECT_EQ(0xc3, s.bytes[1]);
}

static uint64_t fault_rcx __guest_data, fault_rdi __guest_data, fault_error __guest_data;

static __guest void on_fault(struct trap *t)
{
	fault_rcx = t->rcx;
	fault_rdi = t->rdi;
	fault_error = t->error;
	t->rip += 2;	/* f3 6c: rep insb */
}

static __guest void rep_ins_into_a_hole(void)
{
	((volatile uint64_t *)0x3000)[2] = 0;	/* no page at 4 MiB */
	write_cr3(read_cr3());
	guest_handlers[PF_VECTOR] = on_fault;
	STRING_IO("rep insb", "cld", 20, BUF);
	guest_expect(0x400000, read_cr2());
	guest_expect(0x400000, fault_rdi);
	guest_expect(4, fault_rcx);
	guest_expect(2, fault_error);		/* a write to a page that is not there */
	guest_done();
}

TEST(rep_ins_that_meets_a_page_fault_has_done_what_came_before)
{
	struct vcpu *vcpu;
	struct stream s = { .used = 0 };

	if (host_is_bochs_svm())
		SKIP(return, "Bochs's VMRUN does not load CR2");
	vcpu = vm_create_one(0, rep_ins_into_a_hole);
	fill(&s);
	ASSERT_STREQ("done", serve(vcpu, &s));
	EXPECT_EQ(0, memcmp(s.bytes, vcpu->vm->ram + BUF, 16));
}

BLOB(real_string, "16",
	"cld; mov $0x1000, %ax; mov %ax, %ds; mov %ax, %es; mov $0x2000, %ax; mov %ax, %fs\n"
	"mov $0x510, %dx\n"
	"mov $0x20, %di; mov $4, %cx; rep insb\n"
	"mov $0x20, %si; mov $4, %cx; rep outsb\n"
	"mov $0x20, %si; mov $2, %cx; rep outsw %fs:(%si), %dx\n"
	"mov $1, %eax; out %eax, $0xe0");

TEST(in_real_mode_string_io_uses_its_segments)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vm_add_vcpu(vm);
	struct stream s = { .bytes = { 1, 2, 3, 4 } };

	vm_load_blob(vm, VM_SCRATCH, real_string);
	memcpy(vm->ram + 0x20020, "wxyz", 4);
	vcpu_real_mode(vcpu, VM_SCRATCH);
	ASSERT_STREQ("done", serve(vcpu, &s));
	EXPECT_EQ(12, s.used);
	EXPECT_EQ(0, memcmp("\1\2\3\4", vm->ram + 0x10020, 4));
	EXPECT_EQ(0, memcmp("\1\2\3\4\1\2\3\4wxyz", s.bytes, 12));
}

BLOB(protected_io, "32",
	"mov $0x510, %dx; mov $0xffffffff, %eax; in %dx, %al; cmp $0xffffff42, %eax; jne 1f\n"
	"in %dx, %eax; cmp $0x44332211, %eax; jne 1f\n"
	"out %eax, %dx; mov $1, %eax; out %eax, $0xe0\n"
	"1: ud2");

TEST(ports_work_in_32_bit_protected_mode)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vm_add_vcpu(vm);
	struct stream s = { .bytes = { 0x42, 0x11, 0x22, 0x33, 0x44 } };

	vm_load_blob(vm, VM_SCRATCH, protected_io);
	vcpu_protected_mode(vcpu, VM_SCRATCH);
	ASSERT_STREQ("done", serve(vcpu, &s));
	EXPECT_EQ(0, memcmp(s.bytes + 1, s.bytes + 5, 4));
}

TEST_HARNESS_MAIN
