// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of coverage.h.
 */
#include <fcntl.h>
#include <linux/kcov.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "coverage.h"

#define COVER_SIZE	(1UL << 16)

static int kcov = -1;
static uint64_t *cover;		/* a count, then so many addresses; NULL: none */
static uint64_t module_base, module_size;
static uint8_t *reached;	/* a byte per byte of the module */
static unsigned int n_reached;

static void find_module(const char *module)
{
	FILE *f = fopen("/proc/modules", "r");
	char line[512], name[64];
	unsigned long size, base;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lu %*s %*s %*s %lx", name, &size, &base) == 3 && !strcmp(name, module)) {
			module_base = base;
			module_size = size;
		}
	if (f)
		fclose(f);
}

bool coverage_open(const char *module)
{
	void *area;

	find_module(module);
	kcov = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (kcov < 0 || !module_base || ioctl(kcov, KCOV_INIT_TRACE, COVER_SIZE))
		return false;
	area = mmap(NULL, COVER_SIZE * sizeof(*cover), PROT_READ | PROT_WRITE, MAP_SHARED, kcov, 0);
	reached = calloc(1, module_size);
	if (area == MAP_FAILED || !reached) {
		if (area != MAP_FAILED)
			munmap(area, COVER_SIZE * sizeof(*cover));
		free(reached);
		reached = NULL;
		return false;
	}
	cover = area;
	return true;
}

void coverage_restart(void)
{
	if (cover)
		cover[0] = 0;
}

bool coverage_of_this_thread(void)
{
	return !cover || !ioctl(kcov, KCOV_ENABLE, KCOV_TRACE_PC);
}

unsigned int coverage_new_places(void)
{
	unsigned int before = n_reached;

	for (uint64_t i = 1; cover && i <= cover[0] && i < COVER_SIZE; i++) {
		uint64_t at = cover[i] - module_base;

		if (at < module_size && !reached[at]) {
			reached[at] = 1;
			n_reached++;
		}
	}
	return n_reached - before;
}

unsigned int coverage_places(void)
{
	return n_reached;
}
