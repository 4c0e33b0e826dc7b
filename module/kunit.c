// SPDX-License-Identifier: GPL-2.0-only
/*
 * kiln-kunit.ko: the KUnit suites that stand beside the code they test.
 */
#include <linux/module.h>
#include <kunit/test.h>

MODULE_DESCRIPTION("KUnit suites of kiln");
MODULE_LICENSE("GPL");
