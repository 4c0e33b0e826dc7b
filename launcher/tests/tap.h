/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unit tests of the launcher: each is a function whose name says the rule.
 * CHECK() stops the test at the first thing that is not so.
 */
#ifndef KILN_TESTS_TAP_H
#define KILN_TESTS_TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct test {
	const char *name;
	void (*run)(void);
};

struct suite {
	const char *name;
	const struct test *tests;	/* ends with a NULL name */
};

#define TEST(function) { #function, function }
#define TESTS_END { NULL, NULL }

extern bool test_failed;

#define CHECK(condition)                                                               \
	do {                                                                           \
		if (!(condition)) {                                                    \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);       \
			test_failed = true;                                            \
			return;                                                        \
		}                                                                      \
	} while (0)

/* That the latest sentence (error.h) names @word. */
#define CHECK_ERROR(word)                                                              \
	do {                                                                           \
		if (!strstr(error_text(), word)) {                                     \
			printf("# %s:%d: \"%s\" does not say \"%s\"\n", __FILE__,      \
			       __LINE__, error_text(), word);                          \
			test_failed = true;                                            \
			return;                                                        \
		}                                                                      \
	} while (0)

extern const struct suite suite_parse, suite_acpi, suite_boot, suite_bus, suite_console, suite_control,
	suite_cpuid, suite_death, suite_disk, suite_host, suite_memory, suite_mmio, suite_net, suite_opts,
	suite_pci, suite_pm, suite_reserve, suite_rtc, suite_runtime, suite_sandbox, suite_signals, suite_uart, suite_unpack, suite_vconsole, suite_vhost_ctrl, suite_virtio_pci;

/* The path of a new file with these bytes, which goes when the tests end. */
const char *test_file(const void *bytes, size_t size);

/* A path in the tests' own directory. */
const char *test_path(const char *name);

#endif
