// SPDX-License-Identifier: GPL-2.0-only
/*
 * What svm_hw's operations leave in the VMCB. The vCPU is made up: nothing
 * here needs SVM, but where it is said.
 */
#include <kunit/test.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "msr.h"
#include "svm.h"
#include "svm_test.h"

#define HOST	true

struct state_test {
	struct svm_vcpu svm;
	bool v_spec_ctrl;	/* of this machine */
};

static void set_v_spec_ctrl(bool on)
{
	svm_caps.v_spec_ctrl = on;
	svm_hw.has_spec_ctrl = on;
}

static int state_init(struct kunit *test)
{
	struct state_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	t->svm.vmcb = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	if (!t->svm.vmcb)
		return -ENOMEM;
	t->v_spec_ctrl = svm_caps.v_spec_ctrl;
	test->priv = t;
	return 0;
}

static void state_exit(struct kunit *test)
{
	struct state_test *t = test->priv;

	if (t)
		set_v_spec_ctrl(t->v_spec_ctrl);
}

/* At 0x2e0 of the save area (APM vol. 2 table B-2). */
static u32 spec_ctrl_of(struct svm_vcpu *svm)
{
	return *(u32 *)((void *)svm->vmcb + 0x400 + 0x2e0);
}

static void spec_ctrl_is_in_the_vmcb_where_that_has_it(struct kunit *test)
{
	struct state_test *t = test->priv;
	struct svm_vcpu *svm = &t->svm;
	u64 val = ~0ULL;

	set_v_spec_ctrl(true);
	KUNIT_EXPECT_EQ(test, 0, svm_hw.set_msr(&svm->vcpu, MSR_IA32_SPEC_CTRL,
						SPEC_CTRL_SSBD));
	KUNIT_EXPECT_EQ(test, spec_ctrl_of(svm), (u32)SPEC_CTRL_SSBD);
	/* as the guest writes it without an exit */
	svm->vmcb->save.spec_ctrl = SPEC_CTRL_STIBP;
	KUNIT_EXPECT_EQ(test, 0, svm_hw.get_msr(&svm->vcpu, MSR_IA32_SPEC_CTRL,
						&val));
	KUNIT_EXPECT_EQ(test, val, (u64)SPEC_CTRL_STIBP);
}

static void spec_ctrl_is_not_the_backends_elsewhere(struct kunit *test)
{
	struct state_test *t = test->priv;
	u64 val;

	set_v_spec_ctrl(false);
	KUNIT_EXPECT_EQ(test, 1, svm_hw.set_msr(&t->svm.vcpu,
						MSR_IA32_SPEC_CTRL, 0));
	KUNIT_EXPECT_EQ(test, 1, svm_hw.get_msr(&t->svm.vcpu,
						MSR_IA32_SPEC_CTRL, &val));
}

/* The row of the MSR table asks the backend that was picked. */
static void user_space_gets_and_sets_what_the_vmcb_has(struct kunit *test)
{
	struct state_test *t = test->priv;
	struct svm_vcpu *svm = &t->svm;
	u64 val = ~0ULL;

	if (!svm_hw.supported())
		kunit_skip(test, "the backend in use is another");
	set_v_spec_ctrl(true);
	svm->vmcb->save.spec_ctrl = SPEC_CTRL_STIBP;
	svm->vcpu.spec_ctrl = SPEC_CTRL_SSBD;
	KUNIT_EXPECT_EQ(test, 0, kiln_msr_get(&svm->vcpu, MSR_IA32_SPEC_CTRL,
					      &val, HOST));
	KUNIT_EXPECT_EQ(test, val, (u64)SPEC_CTRL_STIBP);
	KUNIT_EXPECT_EQ(test, 0, kiln_msr_set(&svm->vcpu, MSR_IA32_SPEC_CTRL, 0,
					      HOST));
	KUNIT_EXPECT_EQ(test, spec_ctrl_of(svm), 0U);
}

static void writes_cr0(struct kiln_vcpu *vcpu)
{
	svm_hw.set_cr0(vcpu, X86_CR0_PE | X86_CR0_PG | X86_CR0_ET);
}

static void writes_cr3(struct kiln_vcpu *vcpu)
{
	svm_hw.set_cr3(vcpu, 0x1000);
}

/* With MCE, as the host's: no intercept changes with it. */
static void writes_cr4(struct kiln_vcpu *vcpu)
{
	svm_hw.set_cr4(vcpu, X86_CR4_PAE | X86_CR4_MCE);
}

static void writes_efer(struct kiln_vcpu *vcpu)
{
	svm_hw.set_efer(vcpu, EFER_NX);
}

static void flushes_all(struct kiln_vcpu *vcpu)
{
	svm_hw.flush_tlb(vcpu, false);
}

static void flushes_the_guests(struct kiln_vcpu *vcpu)
{
	svm_hw.flush_tlb(vcpu, true);
}

static void takes_an_init(struct kiln_vcpu *vcpu)
{
	svm_hw.vcpu_reset(vcpu, true);
}

/* What the processor keeps, which of it is dropped, and what may stay. */
static void changes_of_translations_flush_before_the_next_entry(struct kunit *test)
{
	static const struct {
		const char *name;
		void (*change)(struct kiln_vcpu *vcpu);
		u32 dirty;
	} rows[] = {
		{ "CR0", writes_cr0, BIT(SVM_CLEAN_CR) },
		{ "CR3", writes_cr3, BIT(SVM_CLEAN_CR) },
		{ "CR4", writes_cr4, BIT(SVM_CLEAN_CR) },
		{ "EFER", writes_efer, BIT(SVM_CLEAN_CR) },
		{ "flush", flushes_all, 0 },
		{ "flush of the guest's", flushes_the_guests, 0 },
		{ "INIT", takes_an_init, SVM_CLEAN_ALL },
	};
	struct state_test *t = test->priv;
	struct svm_vcpu *svm = &t->svm;
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		svm->flush = false;
		svm->vmcb->control.clean = SVM_CLEAN_ALL;
		rows[i].change(&svm->vcpu);
		KUNIT_EXPECT_TRUE_MSG(test, svm->flush, "%s", rows[i].name);
		KUNIT_EXPECT_EQ_MSG(test, rows[i].dirty,
				    SVM_CLEAN_ALL & ~svm->vmcb->control.clean,
				    "%s", rows[i].name);
	}
}

static struct kunit_case state_cases[] = {
	KUNIT_CASE(changes_of_translations_flush_before_the_next_entry),
	KUNIT_CASE(spec_ctrl_is_in_the_vmcb_where_that_has_it),
	KUNIT_CASE(spec_ctrl_is_not_the_backends_elsewhere),
	KUNIT_CASE(user_space_gets_and_sets_what_the_vmcb_has),
	{}
};

struct kunit_suite svm_state_suite = {
	.name = "kiln_svm_state",
	.init = state_init,
	.exit = state_exit,
	.test_cases = state_cases,
};
