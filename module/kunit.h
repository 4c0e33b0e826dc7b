/* SPDX-License-Identifier: GPL-2.0-only */
/* The suites beside module/'s own files, for kunit.c. */
#ifndef KILN_KUNIT_H
#define KILN_KUNIT_H

struct kunit_suite;

extern struct kunit_suite clock_suite;
extern struct kunit_suite cpuid_suite;
extern struct kunit_suite msr_suite;
extern struct kunit_suite spec_suite;
extern struct kunit_suite state_suite;
extern struct kunit_suite vmx_caps_suite;
extern struct kunit_suite vmx_errata_suite;
extern struct kunit_suite vmx_state_suite;

#endif /* KILN_KUNIT_H */
