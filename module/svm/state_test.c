// SPDX-License-Identifier: GPL-2.0-only
/*
 * What svm_hw's operations leave in the VMCB. The vCPU is made up: nothing
 * here needs SVM, but where it is said.
 */
#include <kunit/test.h>
#include <asm/msr-index.h>

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

static struct kunit_case state_cases[] = {
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
