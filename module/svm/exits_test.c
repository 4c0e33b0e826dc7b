// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which instruction exited, and what of it: as processors with decode assists
 * and next-RIP saving tell it (APM vol. 2 §15.7.1, §15.33.1), and as it is found
 * out without. Numbers of exit codes and bits by hand. The vCPU is made up, what
 * it executes is taken as already known: nothing here needs SVM, but where it is
 * said.
 */
#include <kunit/test.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "emulate/emulate.h"
#include "svm.h"
#include "svm_test.h"

#define EXIT_READ_CR(n)		(n)
#define EXIT_WRITE_CR(n)	(0x10 + (n))
#define IS_MOV			BIT_ULL(63)

#define RIP		0xffffffff81000000ull
#define CR0		(X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_PG)
#define CR3		0x5000ull

struct exits_test {
	struct svm_vcpu svm;
	struct kiln_vm vm;
	struct svm_caps caps;	/* of this machine */
};

static int exits_init(struct kunit *test)
{
	struct exits_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct kiln_vcpu *vcpu;

	if (!t)
		return -ENOMEM;
	t->svm.vmcb = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	if (!t->svm.vmcb)
		return -ENOMEM;
	t->vm.mmu.mm = current->mm;
	vcpu = &t->svm.vcpu;
	vcpu->vm = &t->vm;
	vcpu->maxphyaddr = 40;
	vcpu->regs_avail = ~0U;
	vcpu->cr0 = CR0;
	vcpu->cr3 = CR3;
	vcpu->cr4 = X86_CR4_PAE;
	vcpu->efer = EFER_LME | EFER_LMA;
	vcpu->regs[KILN_CR3] = CR3;
	vcpu->regs[KILN_RFLAGS] = X86_EFLAGS_FIXED;
	t->svm.vmcb->save.cs.attrib = SVM_SELECTOR_L_MASK;
	t->caps = svm_caps;
	test->priv = t;
	return 0;
}

static void exits_exit(struct kunit *test)
{
	struct exits_test *t = test->priv;

	if (t)
		svm_caps = t->caps;
}

/* What handlers do to the vCPU goes through the backend that was picked. */
static struct svm_vcpu *vcpu_with(struct kunit *test, bool decode, bool nrips)
{
	struct exits_test *t = test->priv;

	if (!svm_hw.supported())
		kunit_skip(test, "the backend in use is another");
	svm_caps.decode = decode;
	svm_caps.nrips = nrips;
	return &t->svm;
}

/* The bytes at RIP have been decoded before, and are the same still. */
static void executes(struct kunit *test, struct svm_vcpu *svm, const u8 *bytes,
		     unsigned int len)
{
	struct kiln_vcpu *vcpu = &svm->vcpu;
	u8 code[EMU_INSN_MAX] = { };
	struct kiln_insn_memo memo = {
		.linear = RIP,
		.cr0 = vcpu->cr0,
		.cr3 = vcpu->regs[KILN_CR3],
		.cr4 = vcpu->cr4,
		.efer = vcpu->efer,
	};
	int i;

	memcpy(code, bytes, len);
	KUNIT_ASSERT_EQ(test, 0, emulate_decode(&memo.insn, code, sizeof(code),
						EMU_MODE_LONG64));
	KUNIT_ASSERT_EQ(test, len, (unsigned int)memo.insn.length);
	for (i = 0; i < KILN_INSN_MEMOS; i++)
		vcpu->memo[i] = memo;
}

/* As the run loop finds it after VMRUN. */
static int exits_with(struct svm_vcpu *svm, u32 code, u64 info, u64 next)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	ctl->exit_code = code;
	ctl->exit_info_1 = info;
	ctl->next_rip = next;
	svm->vcpu.regs[KILN_RIP] = RIP;
	svm->exit_rip = RIP;
	svm->exit_code = code;
	svm->next_rip = 0;
	return svm_hw.handle_exit(&svm->vcpu);
}

static void a_move_takes_the_register_that_the_exit_names(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_with(test, true, true);
	struct kiln_vcpu *vcpu = &svm->vcpu;
	u64 val;
	int reg;

	for (reg = 0; reg < 16; reg++)
		vcpu->regs[reg] = 0x100000 + reg * 0x1000;
	for (reg = 0; reg < 16; reg++) {
		val = 0x100000 + reg * 0x1000;
		KUNIT_EXPECT_EQ(test, KILN_RESUME,
				exits_with(svm, EXIT_WRITE_CR(3), IS_MOV | reg,
					   RIP + 4));
		KUNIT_EXPECT_EQ_MSG(test, val, vcpu->cr3, "register %d", reg);
		KUNIT_EXPECT_EQ(test, val, svm->vmcb->save.cr3);
		KUNIT_EXPECT_EQ(test, RIP + 4, vcpu->regs[KILN_RIP]);
	}
}

static void a_move_fills_the_register_that_the_exit_names(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_with(test, true, true);
	struct kiln_vcpu *vcpu = &svm->vcpu;
	int reg, i;

	for (reg = 0; reg < 16; reg++) {
		for (i = 0; i < 16; i++)
			vcpu->regs[i] = 1;
		KUNIT_EXPECT_EQ(test, KILN_RESUME,
				exits_with(svm, EXIT_READ_CR(3), IS_MOV | reg,
					   RIP + 3));
		for (i = 0; i < 16; i++)
			KUNIT_EXPECT_EQ_MSG(test, i == reg ? CR3 : 1,
					    vcpu->regs[i], "register %d of %d",
					    i, reg);
		KUNIT_EXPECT_TRUE(test, vcpu->regs_dirty & BIT(reg));
		KUNIT_EXPECT_EQ(test, RIP + 3, vcpu->regs[KILN_RIP]);
	}
}

static void the_code_names_the_control_register(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_with(test, true, true);
	struct kiln_vcpu *vcpu = &svm->vcpu;
	const struct {
		int cr;
		u64 val;
		const u64 *kept;
	} rows[] = {
		{ 0, CR0 | X86_CR0_WP, &vcpu->cr0 },
		{ 3, 0x7000, &vcpu->cr3 },
		{ 4, X86_CR4_PAE | X86_CR4_PGE, &vcpu->cr4 },
		{ 8, 9, &vcpu->cr8 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		vcpu->regs[KILN_RBX] = rows[i].val;
		KUNIT_EXPECT_EQ(test, KILN_RESUME,
				exits_with(svm, EXIT_WRITE_CR(rows[i].cr),
					   IS_MOV | KILN_RBX, RIP + 3));
		KUNIT_EXPECT_EQ_MSG(test, rows[i].val, *rows[i].kept, "CR%d",
				    rows[i].cr);
		vcpu->regs[KILN_RSI] = 0;
		KUNIT_EXPECT_EQ(test, KILN_RESUME,
				exits_with(svm, EXIT_READ_CR(rows[i].cr),
					   IS_MOV | KILN_RSI, RIP + 3));
		KUNIT_EXPECT_EQ_MSG(test, rows[i].val, vcpu->regs[KILN_RSI],
				    "CR%d", rows[i].cr);
	}
}

/* CLTS, LMSW and SMSW exit as accesses to CR0, without a register. */
static void what_is_no_move_is_decoded(struct kunit *test)
{
	static const u8 clts[] = { 0x0f, 0x06 };
	static const u8 lmsw_cx[] = { 0x0f, 0x01, 0xf1 };
	static const u8 smsw_edx[] = { 0x0f, 0x01, 0xe2 };
	struct svm_vcpu *svm = vcpu_with(test, true, true);
	struct kiln_vcpu *vcpu = &svm->vcpu;

	/* What a move from RAX would write. */
	vcpu->regs[KILN_RAX] = CR0 | X86_CR0_WP;
	vcpu->regs[KILN_RCX] = X86_CR0_PE | X86_CR0_MP | X86_CR0_TS;
	executes(test, svm, lmsw_cx, sizeof(lmsw_cx));
	KUNIT_EXPECT_EQ(test, KILN_RESUME,
			exits_with(svm, EXIT_WRITE_CR(0), 0, RIP + 3));
	KUNIT_EXPECT_EQ(test, (u64)(CR0 | X86_CR0_TS), vcpu->cr0);

	executes(test, svm, smsw_edx, sizeof(smsw_edx));
	KUNIT_EXPECT_EQ(test, KILN_RESUME,
			exits_with(svm, EXIT_READ_CR(0), 0, RIP + 3));
	KUNIT_EXPECT_EQ(test, (u64)(u32)(CR0 | X86_CR0_TS),
			vcpu->regs[KILN_RDX]);

	executes(test, svm, clts, sizeof(clts));
	KUNIT_EXPECT_EQ(test, KILN_RESUME,
			exits_with(svm, EXIT_WRITE_CR(0), 0, RIP + 2));
	KUNIT_EXPECT_EQ(test, (u64)CR0, vcpu->cr0);
	KUNIT_EXPECT_EQ(test, RIP + 2, vcpu->regs[KILN_RIP]);
}

/* What is in exit_info_1 then is not defined. */
static void without_decode_assists_each_move_is_decoded(struct kunit *test)
{
	static const u8 mov_cr3_rbx[] = { 0x0f, 0x22, 0xdb };
	static const u8 mov_r9_cr3[] = { 0x41, 0x0f, 0x20, 0xd9 };
	struct svm_vcpu *svm = vcpu_with(test, false, false);
	struct kiln_vcpu *vcpu = &svm->vcpu;

	vcpu->regs[KILN_RBX] = 0x8000;
	vcpu->regs[KILN_RBP] = 0x9000;
	executes(test, svm, mov_cr3_rbx, sizeof(mov_cr3_rbx));
	KUNIT_EXPECT_EQ(test, KILN_RESUME,
			exits_with(svm, EXIT_WRITE_CR(3), IS_MOV | KILN_RBP,
				   0));
	KUNIT_EXPECT_EQ(test, 0x8000ull, vcpu->cr3);
	KUNIT_EXPECT_EQ(test, RIP + 3, vcpu->regs[KILN_RIP]);

	executes(test, svm, mov_r9_cr3, sizeof(mov_r9_cr3));
	KUNIT_EXPECT_EQ(test, KILN_RESUME,
			exits_with(svm, EXIT_READ_CR(3), IS_MOV | KILN_RBP, 0));
	KUNIT_EXPECT_EQ(test, 0x8000ull, vcpu->regs[9]);
	KUNIT_EXPECT_EQ(test, 0x9000ull, vcpu->regs[KILN_RBP]);
	KUNIT_EXPECT_EQ(test, RIP + 4, vcpu->regs[KILN_RIP]);
}

static u64 rip_after(struct svm_vcpu *svm, u64 next)
{
	svm->vmcb->control.next_rip = next;
	svm->vcpu.regs[KILN_RIP] = RIP;
	svm->exit_rip = RIP;
	svm->next_rip = 0;
	svm_hw.skip_insn(&svm->vcpu);
	return svm->vcpu.regs[KILN_RIP];
}

/* The processor has counted prefixes, too. */
static void rip_moves_to_where_the_vmcb_says(struct kunit *test)
{
	static const u8 cpuid[] = { 0x0f, 0xa2 };
	struct svm_vcpu *svm = vcpu_with(test, true, true);

	executes(test, svm, cpuid, sizeof(cpuid));
	KUNIT_EXPECT_EQ(test, RIP + 5, rip_after(svm, RIP + 5));
	KUNIT_EXPECT_EQ(test, RIP + 2, rip_after(svm, RIP + 2));
	/* It leaves 0 for exits that are no instruction's. */
	KUNIT_EXPECT_EQ(test, RIP + 2, rip_after(svm, 0));
}

static void rip_moves_by_the_bytes_where_the_vmcb_does_not_say(struct kunit *test)
{
	static const u8 cpuid[] = { 0x66, 0x0f, 0xa2 };
	struct svm_vcpu *svm = vcpu_with(test, false, false);

	executes(test, svm, cpuid, sizeof(cpuid));
	KUNIT_EXPECT_EQ(test, RIP + 3, rip_after(svm, 0));
	/* left from somebody else */
	KUNIT_EXPECT_EQ(test, RIP + 3, rip_after(svm, RIP + 5));
}

static void the_shadow_of_sti_ends_with_the_instruction(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_with(test, true, true);

	svm->vmcb->control.int_state = SVM_INTERRUPT_SHADOW_MASK;
	rip_after(svm, RIP + 2);
	KUNIT_EXPECT_EQ(test, 0U, svm->vmcb->control.int_state &
			SVM_INTERRUPT_SHADOW_MASK);
}

static struct kunit_case exits_cases[] = {
	KUNIT_CASE(a_move_takes_the_register_that_the_exit_names),
	KUNIT_CASE(a_move_fills_the_register_that_the_exit_names),
	KUNIT_CASE(the_code_names_the_control_register),
	KUNIT_CASE(what_is_no_move_is_decoded),
	KUNIT_CASE(without_decode_assists_each_move_is_decoded),
	KUNIT_CASE(rip_moves_to_where_the_vmcb_says),
	KUNIT_CASE(rip_moves_by_the_bytes_where_the_vmcb_does_not_say),
	KUNIT_CASE(the_shadow_of_sti_ends_with_the_instruction),
	{}
};

struct kunit_suite svm_exits_suite = {
	.name = "kiln_svm_exits",
	.init = exits_init,
	.exit = exits_exit,
	.test_cases = exits_cases,
};
