// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: which processors are refused, and that the log names what they lack;
 * what is made of those that are not. Numbers of MSRs and bits by hand, from the
 * SDM vol. 3 §25.6 to §25.8 and appendix A. The processors are made up: nothing
 * here needs VMX.
 */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/string.h>

#include "kunit.h"
#include "vmx.h"

#define BASIC		0x480
#define PIN		0x481
#define CPU		0x482
#define EXIT		0x483
#define ENTRY		0x484
#define MISC		0x485
#define CPU2		0x48b
#define EPT_VPID	0x48c
#define TRUE_PIN	0x48d
#define TRUE_CPU	0x48e
#define TRUE_EXIT	0x48f
#define TRUE_ENTRY	0x490
#define LAST		0x491

/* Of BASIC: VMCSs are write-back, the true control MSRs are there. */
#define WRITE_BACK	(6ULL << 50)
#define HAS_TRUE	BIT_ULL(55)

/* In a control MSR: these must be 1, and all may be. */
#define CONTROLS(must)	(GENMASK_ULL(63, 32) | (must))

/* As rdmsr of a made-up processor finds them. */
static u64 msrs[LAST - BASIC];
static bool absent[LAST - BASIC];

static int fake_rdmsr(u32 msr, u64 *val)
{
	if (msr < BASIC || msr >= LAST || absent[msr - BASIC])
		return -EIO;
	*val = msrs[msr - BASIC];
	return 0;
}

static u64 *msr_of(u32 msr)
{
	return &msrs[msr - BASIC];
}

/* All there is; what must be 1 is what has been so on every processor. */
static void make_all(void)
{
	memset(absent, 0, sizeof(absent));
	memset(msrs, 0, sizeof(msrs));
	*msr_of(BASIC) = 0x12345 | 0x400ULL << 32 | WRITE_BACK | HAS_TRUE;
	*msr_of(PIN) = CONTROLS(0x16);
	*msr_of(TRUE_PIN) = CONTROLS(0x16);
	*msr_of(CPU) = CONTROLS(0x0401e172);
	*msr_of(TRUE_CPU) = CONTROLS(0x04006172);
	*msr_of(CPU2) = CONTROLS(0);
	*msr_of(EXIT) = CONTROLS(0x36dff);
	*msr_of(TRUE_EXIT) = CONTROLS(0x36dfb);
	*msr_of(ENTRY) = CONTROLS(0x11ff);
	*msr_of(TRUE_ENTRY) = CONTROLS(0x11fb);
	*msr_of(MISC) = 5;
	/* walks of 4, WB, 2M, 1G, INVEPT, A/D, both INVEPTs, all INVVPIDs */
	*msr_of(EPT_VPID) = BIT_ULL(6) | BIT_ULL(14) | BIT_ULL(16) |
			    BIT_ULL(17) | BIT_ULL(20) | BIT_ULL(21) |
			    BIT_ULL(25) | BIT_ULL(26) | BIT_ULL(32) |
			    GENMASK_ULL(43, 40);
}

static int caps_test_init(struct kunit *test)
{
	make_all();
	return 0;
}

/* A control that may not be 1; or must. */
static void take_away(u32 msr, int bit)
{
	*msr_of(msr) &= ~(BIT_ULL(32 + bit) | BIT_ULL(bit));
}

static void force(u32 msr, int bit)
{
	*msr_of(msr) |= BIT_ULL(32 + bit) | BIT_ULL(bit);
}

struct control {
	u32 msr;
	int bit;
	const char *name;
};

static const struct control required[] = {
	{ TRUE_PIN, 0, "external-interrupt exiting" },
	{ TRUE_PIN, 3, "NMI exiting" },
	{ TRUE_CPU, 2, "interrupt-window exiting" },
	{ TRUE_CPU, 3, "use TSC offsetting" },
	{ TRUE_CPU, 7, "HLT exiting" },
	{ TRUE_CPU, 10, "MWAIT exiting" },
	{ TRUE_CPU, 11, "RDPMC exiting" },
	{ TRUE_CPU, 19, "CR8-load exiting" },
	{ TRUE_CPU, 20, "CR8-store exiting" },
	{ TRUE_CPU, 23, "MOV-DR exiting" },
	{ TRUE_CPU, 24, "unconditional I/O exiting" },
	{ TRUE_CPU, 28, "use MSR bitmaps" },
	{ TRUE_CPU, 29, "MONITOR exiting" },
	{ TRUE_CPU, 31, "secondary controls" },
	{ CPU2, 1, "EPT" },
	{ CPU2, 7, "unrestricted guest" },
	{ TRUE_EXIT, 2, "save debug controls" },
	{ TRUE_EXIT, 9, "host address-space size" },
	{ TRUE_EXIT, 18, "save IA32_PAT" },
	{ TRUE_EXIT, 19, "load IA32_PAT" },
	{ TRUE_EXIT, 20, "save IA32_EFER" },
	{ TRUE_EXIT, 21, "load IA32_EFER" },
	{ TRUE_ENTRY, 2, "load debug controls" },
	{ TRUE_ENTRY, 9, "IA-32e mode guest" },
	{ TRUE_ENTRY, 14, "load IA32_PAT" },
	{ TRUE_ENTRY, 15, "load IA32_EFER" },
};

static const struct control wanted[] = {
	{ TRUE_PIN, 5, "virtual NMIs" },
	{ TRUE_PIN, 6, "VMX-preemption timer" },
	{ TRUE_CPU, 21, "use TPR shadow" },
	{ TRUE_CPU, 22, "NMI-window exiting" },
	{ CPU2, 3, "RDTSCP" },
	{ CPU2, 4, "virtualize x2APIC mode" },
	{ CPU2, 5, "VPID" },
	{ CPU2, 6, "WBINVD exiting" },
	{ CPU2, 8, "APIC-register virtualization" },
	{ CPU2, 9, "virtual-interrupt delivery" },
	{ CPU2, 10, "PAUSE-loop exiting" },
	{ CPU2, 12, "INVPCID" },
	{ CPU2, 15, "ENCLS exiting" },
	{ CPU2, 20, "XSAVES" },
	{ CPU2, 25, "TSC scaling" },
	{ TRUE_EXIT, 12, "load IA32_PERF_GLOBAL_CTRL" },
	{ TRUE_ENTRY, 13, "load IA32_PERF_GLOBAL_CTRL" },
};

static const struct control unwanted[] = {
	{ TRUE_CPU, 9, "INVLPG exiting" },
	{ TRUE_CPU, 15, "CR3-load exiting" },
	{ TRUE_CPU, 16, "CR3-store exiting" },
	{ TRUE_EXIT, 15, "acknowledge interrupt on exit" },
};

static u32 word_of(const struct vmx_caps *c, u32 msr)
{
	return msr == TRUE_PIN ? c->pin : msr == TRUE_CPU ? c->cpu :
	       msr == CPU2 ? c->cpu2 : msr == TRUE_EXIT ? c->exit : c->entry;
}

static void expect_refused(struct kunit *test, const char *expected)
{
	struct vmx_caps caps = { };
	char why[VMX_WHY] = "";

	KUNIT_EXPECT_EQ_MSG(test, -EOPNOTSUPP,
			    vmx_caps_read(&caps, fake_rdmsr, why), "%s",
			    expected);
	KUNIT_EXPECT_STREQ(test, expected, (const char *)why);
}

static void expect_lacks(struct kunit *test, const char *name)
{
	char expected[VMX_WHY];

	snprintf(expected, sizeof(expected),
		 "this CPU's VMX lacks '%s', which kiln needs", name);
	expect_refused(test, expected);
}

static struct vmx_caps expect_taken(struct kunit *test)
{
	struct vmx_caps caps = { };
	char why[VMX_WHY] = "";

	KUNIT_EXPECT_EQ_MSG(test, 0, vmx_caps_read(&caps, fake_rdmsr, why),
			    "%s", why);
	return caps;
}

/* As a VMCS gets them: what must be 1, and what kiln wants. */
static void a_processor_with_all_of_it_is_taken(struct kunit *test)
{
	struct vmx_caps caps = expect_taken(test);

	KUNIT_EXPECT_EQ(test, 0x12345U, caps.revision);
	KUNIT_EXPECT_EQ(test, 0x400U, caps.vmcs_size);
	KUNIT_EXPECT_EQ(test, 0x7fU, caps.pin);
	KUNIT_EXPECT_EQ(test, 0xb5f86dfeU, caps.cpu);
	KUNIT_EXPECT_EQ(test, 0x021097faU, caps.cpu2);
	KUNIT_EXPECT_EQ(test, 0x3f7fffU, caps.exit);
	KUNIT_EXPECT_EQ(test, 0xf3ffU, caps.entry);
	KUNIT_EXPECT_EQ(test, 5, caps.timer_shift);
	KUNIT_EXPECT_TRUE(test, caps.ept_ad && caps.ept_2m && caps.ept_1g);
}

static void what_is_required_is_named_where_it_is_missing(struct kunit *test)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(required); i++) {
		make_all();
		take_away(required[i].msr, required[i].bit);
		expect_lacks(test, required[i].name);
	}
}

static void what_is_wanted_may_be_missing(struct kunit *test)
{
	struct vmx_caps caps;
	int i;

	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		make_all();
		caps = expect_taken(test);
		KUNIT_EXPECT_TRUE_MSG(test, word_of(&caps, wanted[i].msr) &
				      BIT(wanted[i].bit), "%s", wanted[i].name);
		take_away(wanted[i].msr, wanted[i].bit);
		caps = expect_taken(test);
		KUNIT_EXPECT_FALSE_MSG(test, word_of(&caps, wanted[i].msr) &
				       BIT(wanted[i].bit), "%s",
				       wanted[i].name);
	}
}

static void what_is_in_the_way_is_named_where_it_is_forced(struct kunit *test)
{
	char expected[VMX_WHY];
	int i;

	for (i = 0; i < ARRAY_SIZE(unwanted); i++) {
		make_all();
		force(unwanted[i].msr, unwanted[i].bit);
		snprintf(expected, sizeof(expected),
			 "this CPU's VMX forces '%s'", unwanted[i].name);
		expect_refused(test, expected);
	}
}

/* Then CR3 cannot be left to the guest: the first processors with VMX. */
static void without_true_controls_the_others_count(struct kunit *test)
{
	*msr_of(BASIC) &= ~HAS_TRUE;
	expect_refused(test, "this CPU's VMX forces 'CR3-load exiting'");
	*msr_of(CPU) = CONTROLS(0x04006172);
	expect_taken(test);
	take_away(PIN, 3);
	expect_lacks(test, "NMI exiting");
}

static void what_ept_has_to_have_is_named(struct kunit *test)
{
	static const struct {
		int bit;
		const char *name;
	} rows[] = {
		{ 6, "EPT page-walk length 4" },
		{ 14, "EPT paging-structure memory type write-back" },
		{ 20, "INVEPT single-context" },
		{ 25, "INVEPT single-context" },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		make_all();
		*msr_of(EPT_VPID) &= ~BIT_ULL(rows[i].bit);
		expect_lacks(test, rows[i].name);
	}
}

static void large_pages_and_flags_of_ept_may_be_missing(struct kunit *test)
{
	struct vmx_caps caps;

	*msr_of(EPT_VPID) &= ~(BIT_ULL(16) | BIT_ULL(17) | BIT_ULL(21));
	caps = expect_taken(test);
	KUNIT_EXPECT_FALSE(test, caps.ept_ad || caps.ept_2m || caps.ept_1g);
	*msr_of(EPT_VPID) |= BIT_ULL(16);
	caps = expect_taken(test);
	KUNIT_EXPECT_TRUE(test, caps.ept_2m && !caps.ept_1g && !caps.ept_ad);
}

static void a_vmcs_has_to_be_write_back(struct kunit *test)
{
	*msr_of(BASIC) &= ~WRITE_BACK;
	expect_lacks(test, "write-back VMCS");
}

static void a_capability_msr_that_is_not_there_is_named(struct kunit *test)
{
	absent[0] = true;
	expect_lacks(test, "VMX capability MSRs");
	make_all();
	absent[TRUE_ENTRY - BASIC] = true;
	expect_refused(test,
		       "cannot read VMX capability MSR 0x490 (VM-entry controls)");
	make_all();
	absent[EPT_VPID - BASIC] = true;
	expect_lacks(test, "EPT");
	make_all();
	absent[MISC - BASIC] = true;
	expect_lacks(test, "VMX capability MSRs");
}

/* Of two that are of use only together, one alone is left off. */
static void half_of_a_pair_is_not_used(struct kunit *test)
{
	struct vmx_caps caps = expect_taken(test);

	vmx_caps_combine(&caps);
	KUNIT_EXPECT_TRUE(test, caps.vnmi && caps.vpid && caps.perf);

	take_away(TRUE_CPU, 22);
	caps = expect_taken(test);
	vmx_caps_combine(&caps);
	KUNIT_EXPECT_FALSE(test, caps.vnmi || caps.pin & BIT(5));

	/* INVVPID of one VPID, without which none can be flushed */
	*msr_of(EPT_VPID) &= ~BIT_ULL(41);
	caps = expect_taken(test);
	vmx_caps_combine(&caps);
	KUNIT_EXPECT_FALSE(test, caps.vpid || caps.cpu2 & BIT(5));

	take_away(TRUE_EXIT, 12);
	caps = expect_taken(test);
	vmx_caps_combine(&caps);
	KUNIT_EXPECT_FALSE(test, caps.perf || caps.entry & BIT(13));
}

static void interrupts_need_all_of_apicv(struct kunit *test)
{
	static const struct control parts[] = {
		{ TRUE_CPU, 21, "use TPR shadow" },
		{ CPU2, 4, "virtualize x2APIC mode" },
		{ CPU2, 8, "APIC-register virtualization" },
		{ CPU2, 9, "virtual-interrupt delivery" },
	};
	struct vmx_caps caps;
	int i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		make_all();
		take_away(parts[i].msr, parts[i].bit);
		caps = expect_taken(test);
		vmx_caps_combine(&caps);
		KUNIT_EXPECT_FALSE_MSG(test, caps.vid, "%s", parts[i].name);
		/* Each vCPU switches them on for itself. */
		KUNIT_EXPECT_EQ(test, 0U, caps.cpu2 & 0x310);
	}
}

/* SDM vol. 4 IA32_FEATURE_CONTROL: lock, VMX inside SMX and outside. */
static void the_firmwares_switch_is_named_whatever_the_kernel_shows(struct kunit *test)
{
	static const u64 off[] = { BIT(0), BIT(0) | BIT(1) };
	const char *refusal;
	int i, feature;

	for (i = 0; i < ARRAY_SIZE(off); i++) {
		for (feature = 0; feature < 2; feature++) {
			refusal = vmx_refusal(off[i], feature);
			KUNIT_ASSERT_NOT_NULL(test, refusal);
			KUNIT_EXPECT_NOT_NULL_MSG(test,
						  strstr(refusal, "firmware"),
						  "%s", refusal);
		}
	}
	refusal = vmx_refusal(BIT(0) | BIT(2), false);
	KUNIT_ASSERT_NOT_NULL(test, refusal);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(refusal, "kernel"), "%s",
				  refusal);
}

/* Unlocked, it is for the kernel to switch on. */
static void vmx_that_is_on_or_can_be_is_not_refused(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, vmx_refusal(BIT(0) | BIT(2), true));
	KUNIT_EXPECT_NULL(test, vmx_refusal(BIT(2), true));
	KUNIT_EXPECT_NULL(test, vmx_refusal(0, true));
}

static struct kunit_case caps_cases[] = {
	KUNIT_CASE(a_processor_with_all_of_it_is_taken),
	KUNIT_CASE(what_is_required_is_named_where_it_is_missing),
	KUNIT_CASE(what_is_wanted_may_be_missing),
	KUNIT_CASE(what_is_in_the_way_is_named_where_it_is_forced),
	KUNIT_CASE(without_true_controls_the_others_count),
	KUNIT_CASE(what_ept_has_to_have_is_named),
	KUNIT_CASE(large_pages_and_flags_of_ept_may_be_missing),
	KUNIT_CASE(a_vmcs_has_to_be_write_back),
	KUNIT_CASE(a_capability_msr_that_is_not_there_is_named),
	KUNIT_CASE(half_of_a_pair_is_not_used),
	KUNIT_CASE(interrupts_need_all_of_apicv),
	KUNIT_CASE(the_firmwares_switch_is_named_whatever_the_kernel_shows),
	KUNIT_CASE(vmx_that_is_on_or_can_be_is_not_refused),
	{}
};

struct kunit_suite vmx_caps_suite = {
	.name = "kiln-vmx-caps",
	.init = caps_test_init,
	.test_cases = caps_cases,
};
