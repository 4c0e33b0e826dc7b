// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: which processors the errata are for. Signatures are those of CPUID
 * leaf 1, as the specification updates print them.
 */
#include <kunit/test.h>

#include "kunit.h"
#include "vmx.h"

/* SDM vol. 2 CPUID, "Version Information Returned by CPUID in EAX" */
static u32 errata_of(u32 signature)
{
	u32 family = (signature >> 8) & 0xf;
	u32 model = (signature >> 4) & 0xf;

	if (family == 0xf)
		family += (signature >> 20) & 0xff;
	if (family >= 6)
		model |= (signature >> 12) & 0xf0;
	return vmx_errata(family, model, signature & 0xf);
}

static void the_listed_processors_are_affected(struct kunit *test)
{
	static const struct {
		u32 signature, errata;
	} listed[] = {
		{ 0x106a0, VMX_ERRATUM_TIMER | VMX_ERRATUM_PERF },
		{ 0x106a1, VMX_ERRATUM_TIMER | VMX_ERRATUM_PERF },
		{ 0x106a4, VMX_ERRATUM_TIMER | VMX_ERRATUM_PERF },
		{ 0x106a5, VMX_ERRATUM_TIMER | VMX_ERRATUM_PERF },
		{ 0x106e5, VMX_ERRATUM_TIMER | VMX_ERRATUM_PERF },
		{ 0x20652, VMX_ERRATUM_TIMER | VMX_ERRATUM_PERF },
		{ 0x20655, VMX_ERRATUM_TIMER | VMX_ERRATUM_PERF },
		{ 0x206c2, VMX_ERRATUM_PERF },
		{ 0x206e6, VMX_ERRATUM_TIMER | VMX_ERRATUM_PERF },
		{ 0x306a8, VMX_ERRATUM_TIMER },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(listed); i++)
		KUNIT_EXPECT_EQ_MSG(test, listed[i].errata,
				    errata_of(listed[i].signature), "%x",
				    listed[i].signature);
}

static void their_neighbours_are_not(struct kunit *test)
{
	/* Other steppings, the next model, other families. */
	static const u32 sound[] = {
		0x306a9, 0x306a7, 0x206a7, 0x206d7, 0x306c3, 0x306d4, 0x506e3,
		0x50654, 0x806f8, 0x00f4a, 0x006fb, 0x1067a,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(sound); i++)
		KUNIT_EXPECT_EQ_MSG(test, 0, errata_of(sound[i]), "%x",
				    sound[i]);
	KUNIT_EXPECT_EQ(test, VMX_ERRATUM_PERF, errata_of(0x106a2));
	KUNIT_EXPECT_EQ(test, VMX_ERRATUM_PERF, errata_of(0x106e4));
}

static struct kunit_case cases[] = {
	KUNIT_CASE(the_listed_processors_are_affected),
	KUNIT_CASE(their_neighbours_are_not),
	{}
};

struct kunit_suite vmx_errata_suite = {
	.name = "kiln-vmx-errata",
	.test_cases = cases,
};
