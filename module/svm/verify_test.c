// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does svm_verify=1 see each change that a processor with clean bits may not
 * (APM vol. 2 §15.15.3)? Places by hand, from appendix B; the VMCB is made up:
 * nothing here needs SVM.
 */
#include <kunit/test.h>

#include "svm.h"
#include "svm_test.h"

#define SAVE	0x400		/* where the state save area begins */

static const struct {
	const char *name;
	u16 offset;
	u8 bit;
} fields[] = {
	{ "control.intercepts", 0x000, 0 },
	{ "control.intercepts", 0x010, 0 },
	{ "control.pause_filter_thresh", 0x03c, 0 },
	{ "control.pause_filter_count", 0x03e, 0 },
	{ "control.tsc_offset", 0x050, 0 },
	{ "control.iopm_base_pa", 0x040, 1 },
	{ "control.msrpm_base_pa", 0x048, 1 },
	{ "control.asid", 0x058, 2 },
	{ "control.int_ctl", 0x060, 3 },
	{ "control.int_vector", 0x064, 3 },
	{ "control.nested_ctl", 0x090, 4 },
	{ "control.nested_cr3", 0x0b0, 4 },
	{ "save.g_pat", SAVE + 0x268, 4 },
	{ "save.efer", SAVE + 0x0d0, 5 },
	{ "save.cr4", SAVE + 0x148, 5 },
	{ "save.cr3", SAVE + 0x150, 5 },
	{ "save.cr0", SAVE + 0x158, 5 },
	{ "save.dr7", SAVE + 0x160, 6 },
	{ "save.dr6", SAVE + 0x168, 6 },
	{ "save.gdtr", SAVE + 0x060, 7 },
	{ "save.idtr", SAVE + 0x088, 7 },
	{ "save.es", SAVE + 0x000, 8 },
	{ "save.cs", SAVE + 0x012, 8 },
	{ "save.ss", SAVE + 0x024, 8 },
	{ "save.ds", SAVE + 0x038, 8 },
	{ "save.cpl", SAVE + 0x0cb, 8 },
	{ "save.cr2", SAVE + 0x240, 9 },
	{ "save.dbgctl", SAVE + 0x270, 10 },
	{ "control.avic_vapic_bar", 0x098, 11 },
	{ "control.avic_backing_page", 0x0e0, 11 },
	{ "control.avic_logical_id", 0x0f0, 11 },
	{ "control.avic_physical_id", 0x0f8, 11 },
};

struct verify_test {
	struct vmcb *now;
	struct vmcb *seen;
};

static int verify_init(struct kunit *test)
{
	struct verify_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	t->now = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	t->seen = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	test->priv = t;
	return t->now && t->seen ? 0 : -ENOMEM;
}

static void a_change_under_its_clean_bit_is_named(struct kunit *test)
{
	struct verify_test *t = test->priv;
	const char *changed;
	unsigned int i, bit;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		u8 *byte = (u8 *)t->now + fields[i].offset;

		*byte ^= 1;
		for (bit = 0; bit < 32; bit++) {
			t->now->control.clean = BIT(bit);
			changed = svm_verify_changed(t->now, t->seen);
			if (bit == fields[i].bit)
				KUNIT_EXPECT_STREQ(test, changed,
						   fields[i].name);
			else
				KUNIT_EXPECT_NULL_MSG(test, changed,
						      "%s with bit %u",
						      fields[i].name, bit);
		}
		*byte ^= 1;
	}
}

static void a_change_under_any_other_is_none(struct kunit *test)
{
	struct verify_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		u8 *byte = (u8 *)t->now + fields[i].offset;

		*byte ^= 1;
		t->now->control.clean = SVM_CLEAN_ALL & ~BIT(fields[i].bit);
		KUNIT_EXPECT_NULL(test, svm_verify_changed(t->now, t->seen));
		t->now->control.clean = 0;
		KUNIT_EXPECT_NULL(test, svm_verify_changed(t->now, t->seen));
		*byte ^= 1;
	}
}

/* General registers, RIP, the event: the processor looks at them each time. */
static void what_no_clean_bit_covers_may_change(struct kunit *test)
{
	struct verify_test *t = test->priv;

	t->now->save.rax = 1;
	t->now->save.rip = 1;
	t->now->save.rsp = 1;
	t->now->save.rflags = 2;
	t->now->control.event_inj = SVM_EVTINJ_VALID;
	t->now->control.int_state = SVM_INTERRUPT_SHADOW_MASK;
	t->now->control.tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
	t->now->control.clean = SVM_CLEAN_ALL;
	KUNIT_EXPECT_NULL(test, svm_verify_changed(t->now, t->seen));
}

static struct kunit_case verify_cases[] = {
	KUNIT_CASE(a_change_under_its_clean_bit_is_named),
	KUNIT_CASE(a_change_under_any_other_is_none),
	KUNIT_CASE(what_no_clean_bit_covers_may_change),
	{}
};

struct kunit_suite svm_verify_suite = {
	.name = "kiln_svm_verify",
	.init = verify_init,
	.test_cases = verify_cases,
};
