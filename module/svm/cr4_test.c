// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is in the VMCB where the guest's own value would not do. The vCPU is
 * made up: nothing here needs SVM.
 */
#include <kunit/test.h>
#include <asm/processor-flags.h>
#include <asm/tlbflush.h>

#include "svm.h"
#include "svm_test.h"

#define GUEST	(X86_CR4_PAE | X86_CR4_PGE)

static int state_init(struct kunit *test)
{
	struct svm_vcpu *svm = kunit_kzalloc(test, sizeof(*svm), GFP_KERNEL);

	if (!svm)
		return -ENOMEM;
	svm->vmcb = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	if (!svm->vmcb)
		return -ENOMEM;
	svm->vmcb->control.clean = SVM_CLEAN_ALL;
	test->priv = svm;
	return 0;
}

static bool reads_exit(struct svm_vcpu *svm)
{
	return svm->vmcb->control.intercepts[INTERCEPT_CR4_READ / 32] &
	       BIT(INTERCEPT_CR4_READ % 32);
}

static void a_guest_cannot_switch_off_the_hosts_machine_checks(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	if (!(cr4_read_shadow() & X86_CR4_MCE))
		kunit_skip(test, "the host has CR4.MCE clear");
	svm_set_cr4(&svm->vcpu, GUEST);
	KUNIT_EXPECT_EQ(test, svm->vmcb->save.cr4, (u64)(GUEST | X86_CR4_MCE));
	KUNIT_EXPECT_TRUE(test, reads_exit(svm));
	KUNIT_EXPECT_FALSE(test, svm->vmcb->control.clean & BIT(SVM_CLEAN_CR));
	KUNIT_EXPECT_FALSE(test, svm->vmcb->control.clean &
			   BIT(SVM_CLEAN_INTERCEPTS));
}

static void a_guest_that_has_them_on_reads_cr4_without_an_exit(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	svm_set_cr4(&svm->vcpu, GUEST);
	svm_set_cr4(&svm->vcpu, GUEST | X86_CR4_MCE);
	KUNIT_EXPECT_EQ(test, svm->vmcb->save.cr4, (u64)(GUEST | X86_CR4_MCE));
	KUNIT_EXPECT_FALSE(test, reads_exit(svm));
}

static struct kunit_case state_cases[] = {
	KUNIT_CASE(a_guest_cannot_switch_off_the_hosts_machine_checks),
	KUNIT_CASE(a_guest_that_has_them_on_reads_cr4_without_an_exit),
	{}
};

struct kunit_suite svm_cr4_suite = {
	.name = "kiln_svm_cr4",
	.init = state_init,
	.test_cases = state_cases,
};
