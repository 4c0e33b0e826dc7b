// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: when a CPU has to forget the branch predictions of the vCPU before.
 * CPUs and vCPUs are made up, so no barrier is executed.
 */
#include <kunit/test.h>
#include <linux/string.h>

#include "kunit.h"
#include "spec.h"

#define DUE	true

struct spec_test {
	struct kiln_vcpu a;
	struct kiln_vcpu b;
	u64 cpu0, cpu1;		/* whom they ran last: nobody yet */
};

static int spec_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct spec_test), GFP_KERNEL);
	return test->priv ? 0 : -ENOMEM;
}

static void another_vcpu_may_not_meet_the_predictions_of_the_last(struct kunit *test)
{
	struct spec_test *t = test->priv;
	int i;

	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->a, &t->cpu0));
		KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->b, &t->cpu0));
	}
}

/* Sleep, preemption by tasks of the host, ioctls: it comes back to its own. */
static void the_same_vcpu_meets_its_own(struct kunit *test)
{
	struct spec_test *t = test->priv;
	int i;

	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->a, &t->cpu0));
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, !DUE, kiln_spec_comes(&t->a, &t->cpu0));
}

/* A guest may keep what does not trust each other on vCPUs of its own. */
static void vcpus_of_one_vm_are_different_ones(struct kunit *test)
{
	struct spec_test *t = test->priv;
	struct kiln_vm *vm = kunit_kzalloc(test, sizeof(*vm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vm);
	t->a.vm = vm;
	t->b.vm = vm;
	t->b.id = 1;
	t->b.index = 1;
	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->a, &t->cpu0));
	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->b, &t->cpu0));
	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->a, &t->cpu0));
}

static void each_cpu_has_its_own_last_one(struct kunit *test)
{
	struct spec_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->a, &t->cpu0));
	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->b, &t->cpu1));
	/* Nobody else has been there meanwhile. */
	KUNIT_EXPECT_EQ(test, !DUE, kiln_spec_comes(&t->a, &t->cpu0));
	KUNIT_EXPECT_EQ(test, !DUE, kiln_spec_comes(&t->b, &t->cpu1));
	/* They change places, and back. */
	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->a, &t->cpu1));
	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->b, &t->cpu0));
	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->a, &t->cpu0));
	KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->b, &t->cpu1));
}

/* Its memory, and with that its address, is that of one that is gone. */
static void a_new_vcpu_in_the_place_of_an_old_one_is_another(struct kunit *test)
{
	struct spec_test *t = test->priv;
	int i;

	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, DUE, kiln_spec_comes(&t->a, &t->cpu0));
		memset(&t->a, 0, sizeof(t->a));
	}
}

static struct kunit_case spec_cases[] = {
	KUNIT_CASE(another_vcpu_may_not_meet_the_predictions_of_the_last),
	KUNIT_CASE(the_same_vcpu_meets_its_own),
	KUNIT_CASE(vcpus_of_one_vm_are_different_ones),
	KUNIT_CASE(each_cpu_has_its_own_last_one),
	KUNIT_CASE(a_new_vcpu_in_the_place_of_an_old_one_is_another),
	{}
};

struct kunit_suite spec_suite = {
	.name = "kiln_spec",
	.init = spec_init,
	.test_cases = spec_cases,
};
