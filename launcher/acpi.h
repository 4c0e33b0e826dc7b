/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ACPI tables: compiled by iasl from acpi/ at build time, completed here
 * with what only the run knows, which is where they lie and how many CPUs
 * there are.
 */
#ifndef KILN_ACPI_H
#define KILN_ACPI_H

#include <stdint.h>

#define ACPI_CPUS_MAX 255	/* APIC IDs 0 to 254; 255 is the broadcast */

/*
 * Writes the tables to @area, which the guest sees at @gpa (16-byte aligned),
 * with the root pointer first, where a scan of the firmware area finds it.
 * Returns the bytes used, or -1 with a sentence where @size is too small.
 */
int64_t acpi_build(uint8_t *area, uint64_t size, uint64_t gpa, unsigned int cpus);

#endif
