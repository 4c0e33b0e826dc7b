/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One allocation after the other that fails: /proc/self/fail-nth, Documentation/fault-injection/fault-injection.rst.
 * Included after the harness. The fixture has an int fail_nth, set by fault_open(), an int result, and a macro
 * EXPECT_ALIVE() says whether what there was before works as ever.
 */
#ifndef KILN_SELFTESTS_FAULT_H
#define KILN_SELFTESTS_FAULT_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "vm.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"
#define MOST_FAULTS	2000

/* All allocations are to fail, those that may wait too; page allocations from order 0 on. */
static const struct {
	const char *file, *value;
} fault_settings[] = {
	{ DEBUGFS "failslab/ignore-gfp-wait", "N" },
	{ DEBUGFS "failslab/verbose", "0" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ DEBUGFS "fail_page_alloc/min-order", "0" },
	{ DEBUGFS "fail_page_alloc/verbose", "0" },
	{ DEBUGFS "fail_usercopy/verbose", "0" },
};

/* Returns the file that arms a fault, or -1 and in *@why what is missing. */
static inline int fault_open(const char **why)
{
	int fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);

	*why = "no " FAIL_NTH ": this kernel injects no faults (lab/vm --kernel debug does)";
	for (size_t i = 0; fd >= 0 && i < sizeof(fault_settings) / sizeof(*fault_settings); i++) {
		if (write_file(fault_settings[i].file, fault_settings[i].value) ||
		    strstr(fault_settings[i].file, "usercopy"))
			continue;
		*why = fault_settings[i].file;
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Copies from and to user space count as well and fail, those of these calls too. */
static inline void arm(int fd, int n)
{
	char text[16];
	int size = snprintf(text, sizeof(text), "%d", n);

	while (pwrite(fd, text, size, 0) < 0)
		if (errno != EFAULT)
			die("fail-nth: %s", strerror(errno));
}

/* Disarms; true if the fault was injected before. */
static inline bool was_injected(int fd)
{
	char text[16] = "";
	bool injected;

	if (pread(fd, text, sizeof(text) - 1, 0) >= 0)
		injected = atoi(text) == 0;
	else if (errno == EFAULT)
		injected = false;
	else
		die("fail-nth: %s", strerror(errno));
	arm(fd, 0);
	return injected;
}

/*
 * OPERATION is an expression of type int, -errno if it fails; UNDO is run after it succeeded. Goes on until it succeeds
 * with no fault injected. Injected faults that do not make it fail are fine: the kernel tries again, or does without.
 */
#define EACH_ALLOCATION_FAILS(operation, undo) do {							\
	int n__, failures__ = 0;									\
	bool injected__ = true;										\
													\
	for (n__ = 1; injected__ && n__ < MOST_FAULTS; n__++) {						\
		arm(self->fail_nth, n__);								\
		self->result = operation;									\
		injected__ = was_injected(self->fail_nth);						\
		if (self->result < 0) {										\
			failures__++;									\
			ASSERT_TRUE(injected__) {							\
				TH_LOG("allocation %d: %s without a fault", n__, strerror(-self->result));	\
			}										\
			EXPECT_TRUE(self->result == -ENOMEM || self->result == -EFAULT) {					\
				TH_LOG("allocation %d: %s", n__, strerror(-self->result));			\
			}										\
			EXPECT_ALIVE();									\
			self->result = operation;								\
			ASSERT_LE(0, self->result) {								\
				TH_LOG("after allocation %d failed: %s", n__, strerror(-self->result));		\
			}										\
		}											\
		undo;											\
	}												\
	ASSERT_FALSE(injected__);									\
	EXPECT_ALIVE();											\
	printf("# " #operation ": %d faults, %d failures\n", n__ - 2, failures__);			\
	fflush(stdout);											\
} while (0)

#endif
