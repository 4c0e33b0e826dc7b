/* SPDX-License-Identifier: GPL-2.0-only */
/* The machine of one run: everything put together, run to its end, taken apart in reverse. */
#ifndef KILN_MACHINE_H
#define KILN_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "boot.h"
#include "devices.h"
#include "sandbox.h"

struct run_config {
	const char *name;	/* NULL: one is found */
	struct boot_request boot;
	unsigned int cpus;
	uint64_t memory;
	const char *console;
	struct devices_config devices;
	const char *device;
	struct sandbox_config sandbox;
	bool debug_exit;
	bool verbose;
};

/*
 * Runs a guest to its end. Returns its exit status (status.h); or -1 with a
 * sentence where it could not be started, and nothing is left behind.
 */
int machine_run(const struct run_config *config);

#endif
