/* SPDX-License-Identifier: GPL-2.0-only */
/* The KUnit suite of gwalk.c, for whoever runs it. */
#ifndef KILN_GWALK_TEST_H
#define KILN_GWALK_TEST_H

struct kunit_suite;

extern struct kunit_suite gwalk_suite;

#endif /* KILN_GWALK_TEST_H */
