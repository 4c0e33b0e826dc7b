// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables come as C arrays out of iasl (-tc). Each is copied behind the one
 * before; then addresses are filled in, leaves before roots, and the changed
 * tables get their checksums (ACPI 6.4 §5.2: all bytes sum to zero).
 */
#include "acpi.h"

#include <stddef.h>
#include <string.h>

#include "error.h"
#include "util.h"

#include "dsdt.hex"
#include "facs.hex"
#include "fadt.hex"
#include "madt.hex"
#include "mcfg.hex"
#include "rsdp.hex"
#include "xsdt.hex"

/* Offsets of what is filled in: ACPI 6.4 §5.2.5 (RSDP), 5.2.6, 5.2.8 (XSDT), 5.2.9 (FADT), 5.2.12. */
#define TABLE_LENGTH		4
#define TABLE_CHECKSUM		9
#define RSDP_CHECKSUM		8
#define RSDP_CHECKSUM_LEN	20
#define RSDP_XSDT		24
#define RSDP_EXT_CHECKSUM	32
#define XSDT_ENTRIES		36
#define FADT_FACS		36
#define FADT_DSDT		40
#define FADT_X_DSDT		140

/* A processor in the MADT, the prototype at the end of madt.asl (§5.2.12.2). */
struct madt_cpu {
	uint8_t type, length;
	uint8_t processor_id, apic_id;
	uint32_t flags;
};

_Static_assert(sizeof(struct madt_cpu) == 8, "as in the MADT");

struct builder {
	uint8_t *area;
	uint64_t size, used, gpa;
};

struct table {
	uint8_t *bytes;
	uint64_t gpa;
};

static int reserve(struct builder *b, uint64_t len, struct table *table)
{
	/* FACS wants 64 bytes (§5.2.10), the RSDP 16. */
	uint64_t at = align_up(b->used, 64);

	if (at > b->size || len > b->size - at)
		return error_set("the ACPI tables need more than %llu KiB",
				 (unsigned long long)(b->size / KIB));
	b->used = at + len;
	table->bytes = b->area + at;
	table->gpa = b->gpa + at;
	return 0;
}

static int add(struct builder *b, const uint8_t *code, uint64_t len, struct table *table)
{
	if (reserve(b, len, table))
		return -1;
	memcpy(table->bytes, code, len);
	return 0;
}

static void put32(struct table *table, unsigned int at, uint64_t value)
{
	uint32_t v = (uint32_t)value;

	memcpy(table->bytes + at, &v, sizeof(v));
}

static void put64(struct table *table, unsigned int at, uint64_t value)
{
	memcpy(table->bytes + at, &value, sizeof(value));
}

static void set_checksum(uint8_t *bytes, uint64_t len, unsigned int at)
{
	uint8_t sum = 0;

	bytes[at] = 0;
	for (uint64_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + bytes[i]);
	bytes[at] = (uint8_t)-sum;
}

static int add_madt(struct builder *b, unsigned int cpus, struct table *table)
{
	uint64_t fixed = sizeof(madt_aml_code) - sizeof(struct madt_cpu);
	uint64_t len = fixed + cpus * sizeof(struct madt_cpu);
	struct madt_cpu cpu;

	if (reserve(b, len, table))
		return -1;
	memcpy(table->bytes, madt_aml_code, fixed);
	memcpy(&cpu, madt_aml_code + fixed, sizeof(cpu));
	for (unsigned int i = 0; i < cpus; i++) {
		cpu.processor_id = (uint8_t)i;
		cpu.apic_id = (uint8_t)i;
		memcpy(table->bytes + fixed + i * sizeof(cpu), &cpu, sizeof(cpu));
	}
	put32(table, TABLE_LENGTH, len);
	set_checksum(table->bytes, len, TABLE_CHECKSUM);
	return 0;
}

static int add_fadt(struct builder *b, const struct table *facs, const struct table *dsdt,
		    struct table *table)
{
	if (add(b, fadt_aml_code, sizeof(fadt_aml_code), table))
		return -1;
	put32(table, FADT_FACS, facs->gpa);
	put32(table, FADT_DSDT, dsdt->gpa);
	put64(table, FADT_X_DSDT, dsdt->gpa);
	set_checksum(table->bytes, sizeof(fadt_aml_code), TABLE_CHECKSUM);
	return 0;
}

int64_t acpi_build(uint8_t *area, uint64_t size, uint64_t gpa, unsigned int cpus)
{
	struct builder b = { area, size, 0, gpa };
	struct table rsdp, xsdt, fadt = { 0 }, madt = { 0 }, mcfg, facs, dsdt;

	if (add(&b, rsdp_aml_code, sizeof(rsdp_aml_code), &rsdp) ||
	    add(&b, xsdt_aml_code, sizeof(xsdt_aml_code), &xsdt) ||
	    add(&b, facs_aml_code, sizeof(facs_aml_code), &facs) ||
	    add(&b, dsdt_aml_code, sizeof(dsdt_aml_code), &dsdt) ||
	    add_fadt(&b, &facs, &dsdt, &fadt) || add_madt(&b, cpus, &madt) ||
	    add(&b, mcfg_aml_code, sizeof(mcfg_aml_code), &mcfg))
		return -1;
	put64(&xsdt, XSDT_ENTRIES, fadt.gpa);
	put64(&xsdt, XSDT_ENTRIES + 8, madt.gpa);
	put64(&xsdt, XSDT_ENTRIES + 16, mcfg.gpa);
	set_checksum(xsdt.bytes, sizeof(xsdt_aml_code), TABLE_CHECKSUM);
	put64(&rsdp, RSDP_XSDT, xsdt.gpa);
	/* Two checksums, the second over everything: §5.2.5.3. */
	set_checksum(rsdp.bytes, RSDP_CHECKSUM_LEN, RSDP_CHECKSUM);
	set_checksum(rsdp.bytes, sizeof(rsdp_aml_code), RSDP_EXT_CHECKSUM);
	return (int64_t)b.used;
}
