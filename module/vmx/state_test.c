// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: what is in the VMCS where the guest's own value would not do. Nothing
 * here needs VMX.
 */
#include <kunit/test.h>
#include <asm/processor-flags.h>

#include "kunit.h"
#include "vmx.h"

#define GUEST	(X86_CR4_PAE | X86_CR4_PGE)

static const struct vmx_caps caps = {
	.cr4_fixed0 = X86_CR4_VMXE,
	.cr4_fixed1 = X86_CR4_VMXE | X86_CR4_MCE | GUEST,
};

static void a_guest_cannot_switch_off_the_hosts_machine_checks(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, vmx_hw_cr4(&caps, GUEST, X86_CR4_MCE),
			(u64)(GUEST | X86_CR4_MCE | X86_CR4_VMXE));
	KUNIT_EXPECT_EQ(test, vmx_hw_cr4(&caps, GUEST | X86_CR4_MCE,
					 X86_CR4_MCE),
			(u64)(GUEST | X86_CR4_MCE | X86_CR4_VMXE));
}

static void it_has_its_own_where_the_host_has_none(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, vmx_hw_cr4(&caps, GUEST, 0),
			(u64)(GUEST | X86_CR4_VMXE));
	KUNIT_EXPECT_EQ(test, vmx_hw_cr4(&caps, GUEST | X86_CR4_MCE, 0),
			(u64)(GUEST | X86_CR4_MCE | X86_CR4_VMXE));
}

static void nothing_else_of_the_hosts_is_in_its_cr4(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, vmx_hw_cr4(&caps, 0, ~0ull),
			(u64)(X86_CR4_MCE | X86_CR4_VMXE));
}

static struct kunit_case cases[] = {
	KUNIT_CASE(a_guest_cannot_switch_off_the_hosts_machine_checks),
	KUNIT_CASE(it_has_its_own_where_the_host_has_none),
	KUNIT_CASE(nothing_else_of_the_hosts_is_in_its_cr4),
	{}
};

struct kunit_suite vmx_state_suite = {
	.name = "kiln-vmx-state",
	.test_cases = cases,
};
