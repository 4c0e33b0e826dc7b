// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who gets which ASID, with what flushed (APM vol. 2 §15.16). The vCPUs and
 * CPUs are made up: nothing here needs SVM.
 */
#include <kunit/test.h>

#include "svm.h"
#include "svm_test.h"

#define NR_ASIDS	4

struct asid_test {
	struct svm_caps caps;
	struct svm_asids cpu[2];
	struct svm_vcpu *vcpu[6];
};

static struct svm_vcpu *make_vcpu(struct kunit *test)
{
	struct svm_vcpu *svm = kunit_kzalloc(test, sizeof(*svm), GFP_KERNEL);

	if (!svm)
		return NULL;
	svm->vmcb = kunit_kzalloc(test, sizeof(*svm->vmcb), GFP_KERNEL);
	svm->asid_cpu = -1;
	return svm->vmcb ? svm : NULL;
}

/* CPUs as svm_cpu_enable() leaves them. */
static int asid_init(struct kunit *test)
{
	struct asid_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	int i;

	if (!t)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(t->vcpu); i++) {
		t->vcpu[i] = make_vcpu(test);
		if (!t->vcpu[i])
			return -ENOMEM;
	}
	t->caps.nr_asids = NR_ASIDS;
	t->caps.flush_by_asid = true;
	for (i = 0; i < ARRAY_SIZE(t->cpu); i++) {
		t->cpu[i].generation = 1;
		t->cpu[i].next = NR_ASIDS;
	}
	test->priv = t;
	return 0;
}

/* A vCPU enters on a CPU. Returns what is flushed; all is clean afterwards. */
static u8 enter(struct kunit *test, int vcpu, int cpu)
{
	struct asid_test *t = test->priv;
	struct vmcb_control_area *ctl = &t->vcpu[vcpu]->vmcb->control;

	svm_asid_prepare_on(t->vcpu[vcpu], &t->cpu[cpu], cpu, &t->caps);
	KUNIT_EXPECT_NE(test, ctl->asid, 0);
	KUNIT_EXPECT_LT(test, ctl->asid, t->caps.nr_asids);
	KUNIT_EXPECT_EQ(test, t->vcpu[vcpu]->asid_cpu, cpu);
	KUNIT_EXPECT_FALSE(test, t->vcpu[vcpu]->flush);
	return ctl->tlb_ctl;
}

static u32 asid(struct kunit *test, int vcpu)
{
	struct asid_test *t = test->priv;

	return t->vcpu[vcpu]->vmcb->control.asid;
}

static void set_clean(struct kunit *test, int vcpu)
{
	struct asid_test *t = test->priv;

	t->vcpu[vcpu]->vmcb->control.clean = SVM_CLEAN_ALL;
}

static u32 dirty(struct kunit *test, int vcpu)
{
	struct asid_test *t = test->priv;

	return SVM_CLEAN_ALL & ~t->vcpu[vcpu]->vmcb->control.clean;
}

static void the_first_entry_on_a_cpu_flushes_it(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_FLUSH_ALL_ASID);
	KUNIT_EXPECT_EQ(test, enter(test, 1, 0), TLB_CONTROL_DO_NOTHING);
	KUNIT_EXPECT_EQ(test, enter(test, 2, 1), TLB_CONTROL_FLUSH_ALL_ASID);
}

static void on_the_same_cpu_a_vcpu_keeps_its_asid(struct kunit *test)
{
	u32 before;

	enter(test, 0, 0);
	enter(test, 1, 0);
	before = asid(test, 0);
	set_clean(test, 0);
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_DO_NOTHING);
	KUNIT_EXPECT_EQ(test, asid(test, 0), before);
	KUNIT_EXPECT_EQ(test, dirty(test, 0), 0);
}

static void vcpus_of_a_cpu_have_different_asids(struct kunit *test)
{
	int i, j;

	for (i = 0; i < NR_ASIDS - 1; i++)
		enter(test, i, 0);
	for (i = 0; i < NR_ASIDS - 1; i++)
		for (j = 0; j < i; j++)
			KUNIT_EXPECT_NE(test, asid(test, i), asid(test, j));
}

static void another_cpu_means_another_asid_and_nothing_clean(struct kunit *test)
{
	struct asid_test *t = test->priv;

	enter(test, 0, 0);
	enter(test, 1, 1);
	set_clean(test, 0);
	KUNIT_EXPECT_EQ(test, enter(test, 0, 1), TLB_CONTROL_DO_NOTHING);
	KUNIT_EXPECT_NE(test, asid(test, 0), asid(test, 1));
	KUNIT_EXPECT_EQ(test, t->vcpu[0]->vmcb->control.clean, 0);
}

/* Its old one may be tagged with what it has changed since. */
static void back_on_a_cpu_a_vcpu_has_an_asid_not_used_before(struct kunit *test)
{
	u32 before;

	enter(test, 0, 0);
	before = asid(test, 0);
	enter(test, 0, 1);
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_DO_NOTHING);
	KUNIT_EXPECT_NE(test, asid(test, 0), before);
}

static void running_out_of_asids_flushes_all_of_them(struct kunit *test)
{
	struct asid_test *t = test->priv;
	int i;

	for (i = 0; i < NR_ASIDS - 1; i++)
		enter(test, i, 0);
	KUNIT_EXPECT_EQ(test, enter(test, i, 0), TLB_CONTROL_FLUSH_ALL_ASID);
	KUNIT_EXPECT_EQ(test, t->cpu[0].generation, 3);
	KUNIT_EXPECT_EQ(test, t->cpu[1].generation, 1);
}

static void an_asid_of_an_old_generation_is_not_used(struct kunit *test)
{
	int i;

	for (i = 0; i < NR_ASIDS; i++)
		enter(test, i, 0);
	set_clean(test, 0);
	/* the one that ended the generation has what was vCPU 0's */
	KUNIT_EXPECT_EQ(test, asid(test, i - 1), asid(test, 0));
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_DO_NOTHING);
	KUNIT_EXPECT_NE(test, asid(test, 0), asid(test, i - 1));
	KUNIT_EXPECT_EQ(test, dirty(test, 0), BIT(SVM_CLEAN_ASID));
}

static void a_flush_is_of_the_own_asid_where_that_can_be(struct kunit *test)
{
	struct asid_test *t = test->priv;
	u32 before;

	enter(test, 0, 0);
	before = asid(test, 0);
	set_clean(test, 0);
	t->vcpu[0]->flush = true;
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_FLUSH_ASID);
	KUNIT_EXPECT_EQ(test, asid(test, 0), before);
	KUNIT_EXPECT_EQ(test, dirty(test, 0), 0);
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_DO_NOTHING);
}

static void a_flush_is_a_new_asid_where_it_can_not(struct kunit *test)
{
	struct asid_test *t = test->priv;
	u32 before;

	t->caps.flush_by_asid = false;
	enter(test, 0, 0);
	before = asid(test, 0);
	set_clean(test, 0);
	t->vcpu[0]->flush = true;
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_DO_NOTHING);
	KUNIT_EXPECT_NE(test, asid(test, 0), before);
	KUNIT_EXPECT_EQ(test, dirty(test, 0), BIT(SVM_CLEAN_ASID));
}

static void a_flush_needs_no_second_one_on_another_cpu(struct kunit *test)
{
	struct asid_test *t = test->priv;

	enter(test, 0, 0);
	enter(test, 1, 1);
	t->vcpu[0]->flush = true;
	KUNIT_EXPECT_EQ(test, enter(test, 0, 1), TLB_CONTROL_DO_NOTHING);
	KUNIT_EXPECT_EQ(test, enter(test, 0, 1), TLB_CONTROL_DO_NOTHING);
}

/* The least that svm_setup() takes: one for the host, one for guests. */
static void with_one_asid_each_change_of_guests_flushes(struct kunit *test)
{
	struct asid_test *t = test->priv;
	int i;

	t->caps.nr_asids = 2;
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, enter(test, i & 1, 0),
				TLB_CONTROL_FLUSH_ALL_ASID);
	KUNIT_EXPECT_EQ(test, enter(test, 1, 0), TLB_CONTROL_DO_NOTHING);
}

/* As after SVM was switched off: kiln unloaded, the CPU offline. */
static void a_cpu_that_was_away_flushes_again(struct kunit *test)
{
	struct asid_test *t = test->priv;

	enter(test, 0, 0);
	t->cpu[0].generation++;
	t->cpu[0].next = NR_ASIDS;
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_FLUSH_ALL_ASID);
}

/* The processor may have looked at what it refuses before it flushed. */
static void a_refused_entry_has_flushed_nothing(struct kunit *test)
{
	struct asid_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_FLUSH_ALL_ASID);
	svm_asid_refused_on(t->vcpu[0], &t->cpu[0], &t->caps);
	KUNIT_EXPECT_EQ(test, enter(test, 1, 0), TLB_CONTROL_FLUSH_ALL_ASID);
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_DO_NOTHING);
	KUNIT_EXPECT_NE(test, asid(test, 0), asid(test, 1));
}

static void neither_has_one_for_its_own_vcpu(struct kunit *test)
{
	struct asid_test *t = test->priv;

	enter(test, 0, 0);
	t->vcpu[0]->flush = true;
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_FLUSH_ASID);
	svm_asid_refused_on(t->vcpu[0], &t->cpu[0], &t->caps);
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_FLUSH_ALL_ASID);
	KUNIT_EXPECT_EQ(test, enter(test, 0, 0), TLB_CONTROL_DO_NOTHING);
}

static struct kunit_case svm_asid_cases[] = {
	KUNIT_CASE(the_first_entry_on_a_cpu_flushes_it),
	KUNIT_CASE(on_the_same_cpu_a_vcpu_keeps_its_asid),
	KUNIT_CASE(vcpus_of_a_cpu_have_different_asids),
	KUNIT_CASE(another_cpu_means_another_asid_and_nothing_clean),
	KUNIT_CASE(back_on_a_cpu_a_vcpu_has_an_asid_not_used_before),
	KUNIT_CASE(running_out_of_asids_flushes_all_of_them),
	KUNIT_CASE(an_asid_of_an_old_generation_is_not_used),
	KUNIT_CASE(a_flush_is_of_the_own_asid_where_that_can_be),
	KUNIT_CASE(a_flush_is_a_new_asid_where_it_can_not),
	KUNIT_CASE(a_flush_needs_no_second_one_on_another_cpu),
	KUNIT_CASE(with_one_asid_each_change_of_guests_flushes),
	KUNIT_CASE(a_cpu_that_was_away_flushes_again),
	KUNIT_CASE(a_refused_entry_has_flushed_nothing),
	KUNIT_CASE(neither_has_one_for_its_own_vcpu),
	{ }
};

struct kunit_suite svm_asid_suite = {
	.name = "kiln_svm_asid",
	.init = asid_init,
	.test_cases = svm_asid_cases,
};
