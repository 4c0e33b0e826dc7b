// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which processors are refused, and that the reason is the one to be told. The
 * processors are made up: nothing here needs SVM.
 */
#include <kunit/test.h>
#include <asm/msr-index.h>

#include "svm.h"
#include "svm_test.h"

#define SVMDIS	BIT_ULL(4)	/* of VM_CR (APM vol. 2 §15.30.1) */
#define LOCK	BIT_ULL(3)

static void expect_word(struct kunit *test, const char *refusal,
			const char *word)
{
	KUNIT_ASSERT_NOT_NULL(test, refusal);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(refusal, word), "%s", refusal);
}

static void a_processor_with_all_of_it_is_taken(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, svm_refusal(0, true, true, 2));
	KUNIT_EXPECT_NULL(test, svm_refusal(LOCK, true, true, 0x8000));
}

/* As kernels before 6.7 show it, and as those since then do. */
static void the_firmwares_switch_is_named_whatever_the_kernel_shows(struct kunit *test)
{
	expect_word(test, svm_refusal(SVMDIS, true, true, 16), "firmware");
	expect_word(test, svm_refusal(SVMDIS, false, true, 16), "firmware");
	expect_word(test, svm_refusal(SVMDIS | LOCK, false, false, 0),
		    "firmware");
}

static void what_is_missing_is_named(struct kunit *test)
{
	expect_word(test, svm_refusal(0, false, true, 16), "kernel");
	expect_word(test, svm_refusal(0, true, false, 16), "NPT");
	expect_word(test, svm_refusal(0, true, true, 1), "ASID");
	expect_word(test, svm_refusal(0, true, true, 0), "ASID");
}

static struct kunit_case cpu_cases[] = {
	KUNIT_CASE(a_processor_with_all_of_it_is_taken),
	KUNIT_CASE(the_firmwares_switch_is_named_whatever_the_kernel_shows),
	KUNIT_CASE(what_is_missing_is_named),
	{}
};

struct kunit_suite svm_cpu_suite = {
	.name = "kiln_svm_cpu",
	.test_cases = cpu_cases,
};
