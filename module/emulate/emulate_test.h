/* SPDX-License-Identifier: GPL-2.0-only */
/* The room's KUnit suites, for whoever runs them. */
#ifndef KILN_EMULATE_TEST_H
#define KILN_EMULATE_TEST_H

struct kunit_suite;

extern struct kunit_suite emulate_decode_suite;
extern struct kunit_suite emulate_execute_suite;
extern struct kunit_suite emulate_linear_suite;

#endif /* KILN_EMULATE_TEST_H */
