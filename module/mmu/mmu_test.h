/* SPDX-License-Identifier: GPL-2.0-only */
/* The room's KUnit suites, for whoever runs them. */
#ifndef KILN_MMU_TEST_H
#define KILN_MMU_TEST_H

struct kunit_suite;

extern struct kunit_suite pgtable_suite;
extern struct kunit_suite pgtable_model_suite;
extern struct kunit_suite slots_suite;
extern struct kunit_suite guest_memory_suite;
extern struct kunit_suite ept_format_suite;
extern struct kunit_suite npt_format_suite;

#endif /* KILN_MMU_TEST_H */
