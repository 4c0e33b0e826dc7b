/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests that are guest code and nothing else: RULE(name, code) is a test of that name, passed when the code, run in
 * 64-bit mode with an irqchip, comes to its end. Include after kselftest_harness.h.
 */
#ifndef KILN_SELFTESTS_RULE_H
#define KILN_SELFTESTS_RULE_H

#include "guest.h"
#include "vm.h"

#define RULE_WHERE(name, condition, reason, ...)			\
static __guest void name##_guest(void)					\
{									\
	__VA_ARGS__							\
	guest_done();							\
}									\
TEST(name)								\
{									\
	if (!(condition))						\
		SKIP(return, "%s", reason);				\
	ASSERT_DONE(vm_create_one(VM_IRQCHIP, name##_guest));		\
}

#define RULE(name, ...)	RULE_WHERE(name, true, "", __VA_ARGS__)

/* A rule about a feature: bit "bit" of register "reg" (0 to 3: EAX to EDX) of a CPUID leaf. */
#define RULE_IF(name, leaf, reg, bit, ...)				\
	RULE_WHERE(name, device_cpuid_has(leaf, reg, bit), "the guest's CPUID has no " #leaf " bit " #bit, __VA_ARGS__)

/* QEMU's TCG, as an emulator of SVM, does not do everything the manual says; the reason says what. */
#define RULE_NOT_TCG(name, reason, ...)					\
	RULE_WHERE(name, !host_is_tcg(), "QEMU TCG " reason, __VA_ARGS__)

#endif
