// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processors whose VMX does not keep what its capability MSRs promise, by the
 * errata of Intel's specification updates. Only what kiln can do without is
 * here: a control that is broken is left off as if it were not there.
 */
#include <linux/bits.h>
#include <linux/kernel.h>

#include "compat.h"
#include "vmx.h"

/* All of family 6. */
static const struct {
	u8 model;
	u16 steppings;		/* a bit for each that is affected */
	u32 errata;
} affected[] = {
	/*
	 * The VMX-preemption timer does not count down at the rate that
	 * IA32_VMX_MISC says, so a deadline may be missed.
	 */
	{ 0x1a, BIT(0) | BIT(1) | BIT(4) | BIT(5), VMX_ERRATUM_TIMER },
	{ 0x1e, BIT(5), VMX_ERRATUM_TIMER },
	{ 0x25, BIT(2) | BIT(5), VMX_ERRATUM_TIMER },
	{ 0x2e, BIT(6), VMX_ERRATUM_TIMER },
	{ 0x3a, BIT(8), VMX_ERRATUM_TIMER },
	/*
	 * VM entry and VM exit may load IA32_PERF_GLOBAL_CTRL wrongly (AAK155,
	 * AAP115, AAT100, BC86, BA97); no stepping is free of it.
	 */
	{ 0x1a, U16_MAX, VMX_ERRATUM_PERF },
	{ 0x1e, U16_MAX, VMX_ERRATUM_PERF },
	{ 0x25, U16_MAX, VMX_ERRATUM_PERF },
	{ 0x2c, U16_MAX, VMX_ERRATUM_PERF },
	{ 0x2e, U16_MAX, VMX_ERRATUM_PERF },
};

/**
 * vmx_errata() - what is broken on a processor
 * @family: display family, of CPUID leaf 1
 * @model: display model
 * @stepping: 0 to 15
 *
 * Return: VMX_ERRATUM_* bits. For Intel's processors; others have their own.
 */
u32 vmx_errata(unsigned int family, unsigned int model, unsigned int stepping)
{
	u32 errata = 0;
	int i;

	if (family != 6)
		return 0;
	for (i = 0; i < ARRAY_SIZE(affected); i++)
		if (affected[i].model == model &&
		    affected[i].steppings & BIT(stepping))
			errata |= affected[i].errata;
	return errata;
}

KILN_EXPORT_FOR_KUNIT(vmx_errata);
