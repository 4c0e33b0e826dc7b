/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which places of a module are reached, by KCOV (lab/vm --kernel debug). A place counts once in a test's time.
 */
#ifndef KILN_SELFTESTS_COVERAGE_H
#define KILN_SELFTESTS_COVERAGE_H

#include <stdbool.h>

/* False: no KCOV in this kernel, or no such module. Then the others do nothing, and say 0 and true. */
bool coverage_open(const char *module);

/* Forget what was recorded; record what the calling thread does in the kernel from now on. */
void coverage_restart(void);
bool coverage_of_this_thread(void);

/* How many places were recorded that had not been reached before, and how many there are in all. */
unsigned int coverage_new_places(void);
unsigned int coverage_places(void);

#endif
