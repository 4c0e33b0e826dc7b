// SPDX-License-Identifier: GPL-2.0-only
/*
 * When AVIC is on, what the VMCB and the MSR map then say, and that no
 * interrupt is lost where hardware and software take turns at the register
 * page (APM vol. 2 §15.29). The vCPU is made up: nothing here needs SVM.
 */
#include <kunit/test.h>
#include <linux/rcuwait.h>
#include <asm/apicdef.h>

#include "irqchip/irqchip.h"
#include "svm.h"
#include "svm_test.h"

#define TABLES		0x12345000ull
#define VECTOR		0x71
#define AVIC_ON		(AVIC_ENABLE_MASK | X2APIC_MODE_MASK)

static int avic_init(struct kunit *test)
{
	struct svm_vcpu *svm = kunit_kzalloc(test, sizeof(*svm), GFP_KERNEL);
	int r;

	if (!svm)
		return -ENOMEM;
	svm->vmcb = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	svm->msrpm = kunit_kzalloc(test, 2 * PAGE_SIZE, GFP_KERNEL);
	if (!svm->vmcb || !svm->msrpm)
		return -ENOMEM;
	memset(svm->msrpm, 0xff, 2 * PAGE_SIZE);
	svm->vcpu.cpu = -1;
	svm->vcpu.maxphyaddr = 40;
	svm->vcpu.clock.hw_khz = tsc_khz;
	rcuwait_init(&svm->vcpu.wait);
	r = lapic_create(&svm->vcpu);
	if (r)
		return r;
	svm_avic_init(svm, TABLES);
	svm->vmcb->control.clean = SVM_CLEAN_ALL;
	test->priv = svm;
	return 0;
}

static void avic_exit(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	if (svm)
		lapic_free(&svm->vcpu);
}

static void set_base(struct svm_vcpu *svm, u64 mode)
{
	lapic_set_base(&svm->vcpu, KILN_APIC_BASE_DEFAULT | mode, true);
	svm_avic_update(&svm->vcpu);
}

static void switch_on(struct svm_vcpu *svm)
{
	set_base(svm, KILN_APIC_BASE_EN | KILN_APIC_BASE_EXTD);
}

static bool is_on(struct svm_vcpu *svm)
{
	u32 bits = svm->vmcb->control.int_ctl & AVIC_ON;

	return bits == AVIC_ON && svm->vcpu.lapic->hw_vid;
}

static bool is_off(struct svm_vcpu *svm)
{
	return !(svm->vmcb->control.int_ctl & AVIC_ON) &&
	       !svm->vcpu.lapic->hw_vid;
}

static bool reads(struct svm_vcpu *svm, u32 reg)
{
	return !test_bit((APIC_BASE_MSR + (reg >> 4)) * 2,
			 (unsigned long *)svm->msrpm);
}

static bool writes(struct svm_vcpu *svm, u32 reg)
{
	return !test_bit((APIC_BASE_MSR + (reg >> 4)) * 2 + 1,
			 (unsigned long *)svm->msrpm);
}

/* As hardware does. */
static void set_vector(struct svm_vcpu *svm, u32 array, u8 vector)
{
	u32 *word = svm->vcpu.lapic->page + array + vector / 32 * 16;

	*word |= BIT(vector % 32);
}

static u32 vector_word(struct svm_vcpu *svm, u32 array, u8 vector)
{
	return *(u32 *)(svm->vcpu.lapic->page + array + vector / 32 * 16);
}

static void the_vmcb_has_the_register_page(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	KUNIT_EXPECT_EQ(test, ctl->avic_backing_page & AVIC_HPA_MASK,
			(u64)__pa(svm->vcpu.lapic->page));
	KUNIT_EXPECT_EQ(test, ctl->avic_logical_id, TABLES);
	KUNIT_EXPECT_EQ(test, ctl->avic_physical_id, TABLES);
	switch_on(svm);
	KUNIT_EXPECT_EQ(test, ctl->avic_vapic_bar, KILN_APIC_BASE_DEFAULT);
	KUNIT_EXPECT_FALSE(test, ctl->clean & BIT(SVM_CLEAN_AVIC));
	KUNIT_EXPECT_FALSE(test, ctl->clean & BIT(SVM_CLEAN_INTR));
	KUNIT_EXPECT_FALSE(test, ctl->clean & BIT(SVM_CLEAN_PERM));
}

static void it_is_on_in_x2apic_mode_only(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	svm_avic_update(&svm->vcpu);
	KUNIT_EXPECT_TRUE(test, is_off(svm));
	switch_on(svm);
	KUNIT_EXPECT_TRUE(test, is_on(svm));
	set_base(svm, 0);
	KUNIT_EXPECT_TRUE(test, is_off(svm));
	set_base(svm, KILN_APIC_BASE_EN);
	KUNIT_EXPECT_TRUE(test, is_off(svm));
}

static void a_vcpu_that_was_not_made_for_it_has_none(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	svm->avic_ready = false;
	switch_on(svm);
	KUNIT_EXPECT_TRUE(test, is_off(svm));
	KUNIT_EXPECT_EQ(test, svm->vmcb->control.clean, SVM_CLEAN_ALL);
}

static void only_what_the_page_can_do_does_not_exit(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	switch_on(svm);
	KUNIT_EXPECT_TRUE(test, reads(svm, APIC_TASKPRI));
	KUNIT_EXPECT_TRUE(test, writes(svm, APIC_TASKPRI));
	KUNIT_EXPECT_TRUE(test, reads(svm, APIC_ID));
	KUNIT_EXPECT_FALSE(test, reads(svm, APIC_EOI));
	KUNIT_EXPECT_TRUE(test, writes(svm, APIC_EOI));
	KUNIT_EXPECT_FALSE(test, reads(svm, APIC_ICR));
	KUNIT_EXPECT_FALSE(test, writes(svm, APIC_ICR));
	KUNIT_EXPECT_FALSE(test, writes(svm, APIC_SELF_IPI));
	KUNIT_EXPECT_FALSE(test, writes(svm, APIC_SPIV));
	KUNIT_EXPECT_FALSE(test, writes(svm, APIC_TMICT));
	KUNIT_EXPECT_FALSE(test, reads(svm, APIC_TMCCT));
	KUNIT_EXPECT_FALSE(test, reads(svm, APIC_DFR));
	set_base(svm, 0);
	KUNIT_EXPECT_FALSE(test, reads(svm, APIC_TASKPRI));
	KUNIT_EXPECT_FALSE(test, writes(svm, APIC_TASKPRI));
	KUNIT_EXPECT_FALSE(test, reads(svm, APIC_ID));
	KUNIT_EXPECT_FALSE(test, writes(svm, APIC_EOI));
}

static void a_window_for_interrupts_ends_it_while_it_lasts(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	switch_on(svm);
	svm_window(&svm->vcpu, false);
	KUNIT_EXPECT_TRUE(test, is_off(svm));
	KUNIT_EXPECT_TRUE(test, svm->vmcb->control.int_ctl & V_IRQ_MASK);
	svm_avic_update(&svm->vcpu);
	KUNIT_EXPECT_TRUE(test, is_off(svm));
	svm->irq_window = false;
	svm_avic_update(&svm->vcpu);
	KUNIT_EXPECT_TRUE(test, is_on(svm));
}

static void what_it_left_of_a_virtual_interrupt_goes_with_it(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	switch_on(svm);
	svm->vmcb->control.int_ctl |= V_IRQ_MASK | V_INTR_PRIO_MASK;
	set_base(svm, 0);
	KUNIT_EXPECT_FALSE(test, svm->vmcb->control.int_ctl &
			   (V_IRQ_MASK | V_INTR_PRIO_MASK));
}

static void an_edge_whose_eoi_is_waited_for_ends_it(struct kunit *test)
{
	static const u64 map[4];
	struct svm_vcpu *svm = test->priv;

	switch_on(svm);
	svm->vcpu.requests = 0;
	svm_eoi_map(&svm->vcpu, map);
	KUNIT_EXPECT_EQ(test, svm->vcpu.requests, 0UL);
	svm->vcpu.lapic->eoi_edge = true;
	svm_eoi_map(&svm->vcpu, map);
	KUNIT_EXPECT_TRUE(test, is_off(svm));
	/* What waits in the IRR is software's to deliver from here. */
	KUNIT_EXPECT_EQ(test, svm->vcpu.requests, BIT(KILN_REQ_EVENT));
	svm->vcpu.lapic->eoi_edge = false;
	svm_eoi_map(&svm->vcpu, map);
	KUNIT_EXPECT_TRUE(test, is_on(svm));
}

static void what_hardware_left_in_the_page_is_seen(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	switch_on(svm);
	KUNIT_EXPECT_EQ(test, lapic_sync(&svm->vcpu), -1);
	KUNIT_EXPECT_EQ(test, lapic_max_isr(&svm->vcpu), -1);
	set_vector(svm, APIC_IRR, VECTOR);
	KUNIT_EXPECT_EQ(test, lapic_sync(&svm->vcpu), VECTOR);
	KUNIT_EXPECT_EQ(test, lapic_pending(&svm->vcpu), VECTOR);
	set_vector(svm, APIC_ISR, VECTOR + 16);
	KUNIT_EXPECT_EQ(test, lapic_max_isr(&svm->vcpu), VECTOR + 16);
	KUNIT_EXPECT_EQ(test, lapic_pending(&svm->vcpu), -1);
}

static void nor_is_it_lost_when_software_takes_over(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	switch_on(svm);
	KUNIT_EXPECT_EQ(test, lapic_sync(&svm->vcpu), -1);
	set_vector(svm, APIC_IRR, VECTOR);
	svm_window(&svm->vcpu, false);
	KUNIT_EXPECT_EQ(test, lapic_pending(&svm->vcpu), VECTOR);
	lapic_accept(&svm->vcpu, VECTOR);
	KUNIT_EXPECT_EQ(test, lapic_pending(&svm->vcpu), -1);
	KUNIT_EXPECT_EQ(test, lapic_max_isr(&svm->vcpu), VECTOR);
}

static void an_eoi_that_exits_ends_the_service(struct kunit *test)
{
	struct svm_vcpu *svm = test->priv;

	switch_on(svm);
	set_vector(svm, APIC_ISR, VECTOR);
	set_vector(svm, APIC_ISR, VECTOR - 32);
	svm->vmcb->control.exit_info_1 = BIT_ULL(32) | APIC_EOI;
	svm->vmcb->control.exit_info_2 = VECTOR;
	KUNIT_EXPECT_EQ(test, svm_avic_noaccel(&svm->vcpu), KILN_RESUME);
	KUNIT_EXPECT_EQ(test, vector_word(svm, APIC_ISR, VECTOR), 0U);
	KUNIT_EXPECT_EQ(test, lapic_max_isr(&svm->vcpu), VECTOR - 32);
	/* The same where the processor has taken it out by itself. */
	KUNIT_EXPECT_EQ(test, svm_avic_noaccel(&svm->vcpu), KILN_RESUME);
	KUNIT_EXPECT_EQ(test, lapic_max_isr(&svm->vcpu), VECTOR - 32);
	KUNIT_EXPECT_EQ(test, svm->vcpu.stats.apic_access, 2ULL);
}

static struct kunit_case avic_cases[] = {
	KUNIT_CASE(the_vmcb_has_the_register_page),
	KUNIT_CASE(it_is_on_in_x2apic_mode_only),
	KUNIT_CASE(a_vcpu_that_was_not_made_for_it_has_none),
	KUNIT_CASE(only_what_the_page_can_do_does_not_exit),
	KUNIT_CASE(a_window_for_interrupts_ends_it_while_it_lasts),
	KUNIT_CASE(what_it_left_of_a_virtual_interrupt_goes_with_it),
	KUNIT_CASE(an_edge_whose_eoi_is_waited_for_ends_it),
	KUNIT_CASE(what_hardware_left_in_the_page_is_seen),
	KUNIT_CASE(nor_is_it_lost_when_software_takes_over),
	KUNIT_CASE(an_eoi_that_exits_ends_the_service),
	{}
};

struct kunit_suite svm_avic_suite = {
	.name = "kiln_svm_avic",
	.init = avic_init,
	.exit = avic_exit,
	.test_cases = avic_cases,
};
