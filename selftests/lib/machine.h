/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine under the tests: its memory, its CPUs, the module that is loaded.
 */
#ifndef KILN_SELFTESTS_MACHINE_H
#define KILN_SELFTESTS_MACHINE_H

#include <stdbool.h>

#define CPU1	"/sys/devices/system/cpu/cpu1/online"

bool write_file(const char *path, const char *text);

/*
 * Keep the calling thread on a CPU: the @nth, from 0 on, of those the process might use when it was first asked. False if
 * there are not so many.
 */
bool pin_to_cpu(unsigned int nth);

long meminfo(const char *name);		/* a line of /proc/meminfo, in KiB */
long used_kib(void);			/* what is in use once caches are dropped and what was freed late is free */

/* To tell what is left of something, which part of it is the slab's, and of that, which is no cache. */
struct in_use {
	long used, slab, unreclaimable;
};

struct in_use in_use(void);

/* KiB that are left since then. What is freed late takes its time on a busy machine: more than @enough is looked at again. */
long left_kib(const struct in_use *before, long enough);

/*
 * The module's file to load again is KILN_MODULE, or /lab/kiln.ko, with the parameters in the file of the same name that
 * ends in .args. Calls return 0 or -errno.
 */
bool module_file_exists(void);
int module_unload(const char *name);
int module_load(void);
int module_users(void);			/* -1: not loaded */

#endif
