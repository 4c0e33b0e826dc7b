// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows for NMIs, also on processors that no emulator is (APM vol. 2
 * §15.21.10: virtual NMIs). The vCPU is made up: nothing here needs SVM.
 */
#include <kunit/test.h>
#include <linux/kvm.h>

#include "svm.h"
#include "svm_test.h"

#define RIP	0x1000

struct events_test {
	struct svm_vcpu svm;
	bool vnmi;		/* of this machine */
};

static int events_init(struct kunit *test)
{
	struct events_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	t->svm.vmcb = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	if (!t->svm.vmcb)
		return -ENOMEM;
	t->svm.vcpu.regs[KILN_RIP] = RIP;
	t->svm.vcpu.regs_avail = BIT(KILN_RIP);
	t->vnmi = svm_caps.vnmi;
	test->priv = t;
	return 0;
}

static void events_exit(struct kunit *test)
{
	struct events_test *t = test->priv;

	if (t)
		svm_caps.vnmi = t->vnmi;
}

static struct svm_vcpu *vcpu_of(struct kunit *test, bool vnmi)
{
	struct events_test *t = test->priv;

	svm_caps.vnmi = vnmi;
	return &t->svm;
}

static bool waits_for_iret(struct svm_vcpu *svm)
{
	return svm->vmcb->control.intercepts[INTERCEPT_IRET / 32] &
	       BIT(INTERCEPT_IRET % 32);
}

static void masked_nmis_are_masked(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_of(test, false);

	svm_set_blocking(&svm->vcpu, KILN_BLOCK_NMI);
	KUNIT_EXPECT_EQ(test, svm_get_blocking(&svm->vcpu), KILN_BLOCK_NMI);
	KUNIT_EXPECT_TRUE(test, waits_for_iret(svm));
	svm_set_blocking(&svm->vcpu, 0);
	KUNIT_EXPECT_EQ(test, svm_get_blocking(&svm->vcpu), 0U);
	KUNIT_EXPECT_FALSE(test, waits_for_iret(svm));
}

static void vnmi_masks_them_without_an_exit(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_of(test, true);

	svm_set_blocking(&svm->vcpu, KILN_BLOCK_NMI);
	KUNIT_EXPECT_EQ(test, svm_get_blocking(&svm->vcpu), KILN_BLOCK_NMI);
	KUNIT_EXPECT_TRUE(test, svm->vmcb->control.int_ctl &
			  SVM_INT_CTL_VNMI_MASK);
	KUNIT_EXPECT_FALSE(test, waits_for_iret(svm));
}

static void a_second_nmi_waits_for_the_iret(struct kunit *test)
{
	struct svm_vcpu *svm;
	int vnmi;

	for (vnmi = 0; vnmi < 2; vnmi++) {
		svm = vcpu_of(test, vnmi);
		svm_set_blocking(&svm->vcpu, KILN_BLOCK_NMI);
		svm_window(&svm->vcpu, true);
		KUNIT_EXPECT_TRUE(test, waits_for_iret(svm));
		KUNIT_EXPECT_FALSE(test, svm->step);
		/* The IRET is about to be executed. */
		svm->nmi_iret = true;
		svm->step_rip = RIP;
		svm_window(&svm->vcpu, true);
		KUNIT_EXPECT_TRUE(test, svm->step);
		svm->step = false;
		svm_set_blocking(&svm->vcpu, 0);
		KUNIT_EXPECT_FALSE(test, svm->nmi_iret);
		svm_intercept(svm, INTERCEPT_IRET, false);
	}
}

/* The interrupt's handler comes first, so the IRET is met once more. */
static void it_goes_on_waiting_if_another_event_goes_first(struct kunit *test)
{
	struct svm_vcpu *svm;
	int vnmi;

	for (vnmi = 0; vnmi < 2; vnmi++) {
		svm = vcpu_of(test, vnmi);
		svm_set_blocking(&svm->vcpu, KILN_BLOCK_NMI);
		/* As handle_iret() leaves it. */
		svm_intercept(svm, INTERCEPT_IRET, false);
		svm->nmi_iret = true;
		svm->step_rip = RIP;
		svm_window(&svm->vcpu, true);
		KUNIT_EXPECT_TRUE(test, svm->step);
		svm_inject(&svm->vcpu, KILN_INJECT_IRQ);
		KUNIT_EXPECT_FALSE(test, svm->step);
		KUNIT_EXPECT_FALSE(test, svm->nmi_iret);
		KUNIT_EXPECT_EQ(test, svm_get_blocking(&svm->vcpu),
				KILN_BLOCK_NMI);
		KUNIT_EXPECT_TRUE(test, waits_for_iret(svm));
		svm->injected = false;
		svm_intercept(svm, INTERCEPT_IRET, false);
	}
}

static void a_shadow_is_stepped_through(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_of(test, false);

	svm_set_blocking(&svm->vcpu, KILN_BLOCK_STI);
	svm_window(&svm->vcpu, true);
	KUNIT_EXPECT_TRUE(test, svm->step);
	KUNIT_EXPECT_EQ(test, svm->step_rip, (u64)RIP);
}

static void the_delivery_of_another_event_is_not(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_of(test, false);

	svm->injected = true;
	svm->vmcb->control.event_inj = SVM_EVTINJ_VALID;
	svm_window(&svm->vcpu, true);
	KUNIT_EXPECT_FALSE(test, svm->step);
	KUNIT_EXPECT_TRUE(test, svm->look_again);
	svm->vcpu.requests = 0;
	svm_complete_events(svm);
	KUNIT_EXPECT_FALSE(test, svm->look_again);
	KUNIT_EXPECT_EQ(test, svm->vcpu.requests, BIT(KILN_REQ_EVENT));
}

/* The next instruction may push the flags. */
static void a_step_is_over_where_its_instruction_was_carried_out_here(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_of(test, false);

	svm_set_blocking(&svm->vcpu, KILN_BLOCK_STI);
	svm_window(&svm->vcpu, true);
	svm->vmcb->save.rip = RIP;
	svm->exit_rip = RIP;
	svm->exit_code = SVM_EXIT_CPUID;
	svm_complete_events(svm);
	KUNIT_EXPECT_TRUE(test, svm->step);
	svm->vcpu.requests = 0;
	svm->next_rip = RIP + 2;
	svm->vcpu.regs_avail |= BIT(KILN_RFLAGS);
	svm_hw.skip_insn(&svm->vcpu);
	KUNIT_EXPECT_FALSE(test, svm->step);
	KUNIT_EXPECT_EQ(test, svm_get_blocking(&svm->vcpu), 0U);
	KUNIT_EXPECT_EQ(test, svm->vcpu.requests, BIT(KILN_REQ_EVENT));
}

/* As the emulator does behind a device access. */
static void or_where_the_shadow_was_taken_away(struct kunit *test)
{
	struct svm_vcpu *svm = vcpu_of(test, false);

	svm_set_blocking(&svm->vcpu, KILN_BLOCK_STI);
	svm_window(&svm->vcpu, true);
	svm->vcpu.requests = 0;
	svm_set_blocking(&svm->vcpu, 0);
	KUNIT_EXPECT_FALSE(test, svm->step);
	KUNIT_EXPECT_EQ(test, svm->vcpu.requests, BIT(KILN_REQ_EVENT));
}

static struct kunit_case events_cases[] = {
	KUNIT_CASE(masked_nmis_are_masked),
	KUNIT_CASE(vnmi_masks_them_without_an_exit),
	KUNIT_CASE(a_second_nmi_waits_for_the_iret),
	KUNIT_CASE(it_goes_on_waiting_if_another_event_goes_first),
	KUNIT_CASE(a_shadow_is_stepped_through),
	KUNIT_CASE(the_delivery_of_another_event_is_not),
	KUNIT_CASE(a_step_is_over_where_its_instruction_was_carried_out_here),
	KUNIT_CASE(or_where_the_shadow_was_taken_away),
	{}
};

struct kunit_suite svm_events_suite = {
	.name = "kiln_svm_events",
	.init = events_init,
	.exit = events_exit,
	.test_cases = events_cases,
};
