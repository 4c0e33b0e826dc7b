// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>

#include "../acpi.h"
#include "../error.h"
#include "../pci.h"
#include "../pm.h"
#include "../util.h"
#include "tap.h"

#define GPA 0xe0000ULL
#define SIZE 0x20000ULL

static uint8_t area[SIZE] __attribute__((aligned(64)));

static uint8_t sum(const uint8_t *bytes, uint64_t len)
{
	uint8_t total = 0;

	for (uint64_t i = 0; i < len; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* The table at @gpa, NULL unless its signature and checksum are right. */
static const uint8_t *table(uint64_t gpa, const char *signature)
{
	const uint8_t *at = area + (gpa - GPA);

	if (gpa < GPA || gpa >= GPA + SIZE || memcmp(at, signature, 4) ||
	    get32(at + 4) > SIZE - (gpa - GPA))
		return NULL;
	return sum(at, get32(at + 4)) ? NULL : at;
}

static const uint8_t *find(unsigned int cpus, unsigned int entry, const char *signature)
{
	const uint8_t *xsdt;

	memset(area, 0xaa, sizeof(area));
	if (acpi_build(area, SIZE, GPA, cpus) < 0)
		return NULL;
	xsdt = table(get64(area + 24), "XSDT");
	return xsdt ? table(get64(xsdt + 36 + 8 * entry), signature) : NULL;
}

static void the_root_pointer_has_both_checksums(void)
{
	CHECK(acpi_build(area, SIZE, GPA, 1) > 0);
	CHECK(!memcmp(area, "RSD PTR ", 8));
	CHECK(!sum(area, 20) && !sum(area, 36));
	CHECK(table(get64(area + 24), "XSDT"));
}

static void the_fadt_leads_to_dsdt_and_facs(void)
{
	const uint8_t *fadt = find(1, 0, "FACP");

	CHECK(fadt);
	CHECK(table(get32(fadt + 40), "DSDT"));
	CHECK(get64(fadt + 140) == get32(fadt + 40));
	CHECK(!memcmp(area + (get32(fadt + 36) - GPA), "FACS", 4));
	CHECK(get32(fadt + 36) % 64 == 0);
}

static void the_fadt_has_the_ports_of_the_devices(void)
{
	const uint8_t *fadt = find(1, 0, "FACP");

	CHECK(fadt);
	CHECK(get32(fadt + 56) == PM_PORT && get32(fadt + 64) == PM_PORT + 4);
	CHECK(get32(fadt + 76) == PM_PORT + 8);
	CHECK(get64(fadt + 116 + 4) == PM_RESET_PORT && fadt[128] & 4);
	CHECK(fadt[46] == PM_GSI);
}

static void the_madt_has_each_cpu_once(void)
{
	static const unsigned int counts[] = { 1, 2, 7, 64, ACPI_CPUS_MAX };

	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		const uint8_t *madt = find(counts[i], 1, "APIC");
		unsigned int cpus = 0;

		CHECK(madt);
		for (uint32_t at = 44; at < get32(madt + 4); at += madt[at + 1]) {
			CHECK(madt[at + 1] >= 2);
			if (madt[at] != 0)
				continue;
			CHECK(madt[at + 2] == cpus && madt[at + 3] == cpus);
			CHECK(get32(madt + at + 4) == 1);
			cpus++;
		}
		CHECK(cpus == counts[i]);
	}
}

static void the_mcfg_has_the_configuration_space(void)
{
	const uint8_t *mcfg = find(1, 2, "MCFG");

	CHECK(mcfg);
	CHECK(get32(mcfg + 4) == 60 && get64(mcfg + 44) == PCI_MMCONFIG);
	CHECK(!mcfg[54] && ((uint64_t)mcfg[55] + 1) << 20 == PCI_MMCONFIG_SIZE);
}

/* The DSDT has the numbers of pci.h: each route of the _PRT, window, configuration space. */
static void the_dsdt_routes_each_device(void)
{
	const uint8_t *fadt = find(1, 0, "FACP"), *dsdt;
	uint32_t len;

	CHECK(fadt);
	dsdt = table(get32(fadt + 40), "DSDT");
	CHECK(dsdt);
	len = get32(dsdt + 4);
	for (unsigned int slot = 1; slot < PCI_SLOTS; slot++) {
		/* DWord address, pin 0, no link, a byte with the GSI (ACPI 6.4 §20.2.3). */
		uint8_t route[] = { 0x0c, 0xff, 0xff, (uint8_t)slot, 0, 0, 0, 0x0a,
				    (uint8_t)(PCI_GSI + slot % PCI_GSIS) };

		CHECK(memmem(dsdt, len, route, sizeof(route)));
	}
	CHECK(memmem(dsdt, len, &(uint32_t[]){ PCI_WINDOW, PCI_WINDOW_END - 1 }, 8));
	CHECK(memmem(dsdt, len, &(uint32_t[]){ PCI_MMCONFIG, PCI_MMCONFIG_SIZE }, 8));
}

static void too_small_an_area_is_refused(void)
{
	for (uint64_t size = 0; size < 0x300; size += 16) {
		CHECK(acpi_build(area, size, GPA, 1) == -1);
		CHECK_ERROR("ACPI");
	}
}

/* iasl -d takes the table apart again; returns whether what it wrote has @text. */
static bool round_trip(const uint8_t *bytes, const char *name, const char *text)
{
	char path[256], command[4096];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), "%s", test_path(name));
	file = fopen(path, "w");
	if (!file)
		return false;
	ok = fwrite(bytes, get32(bytes + 4), 1, file) == 1;
	fclose(file);
	snprintf(command, sizeof(command),
		 "iasl -d -p %s-out %s >%s-log 2>&1 && ! grep -qi 'invalid\\|incorrect checksum' %s-log %s-out.dsl && grep -q '%s' %s-out.dsl",
		 path, path, path, path, path, text, path);
	return ok && !system(command);
}

static void iasl_reads_the_tables_back(void)
{
	const uint8_t *fadt = find(3, 0, "FACP"), *madt = find(3, 1, "APIC");

	CHECK(fadt && madt);
	CHECK(round_trip(area + (get32(fadt + 40) - GPA), "dsdt", "PNP0501"));
	CHECK(round_trip(fadt, "facp", "KILNFADT"));
	CHECK(round_trip(madt, "apic", "Local Apic ID : 02"));
}

static const struct test tests[] = {
	TEST(the_root_pointer_has_both_checksums),
	TEST(the_fadt_leads_to_dsdt_and_facs),
	TEST(the_fadt_has_the_ports_of_the_devices),
	TEST(the_madt_has_each_cpu_once),
	TEST(the_mcfg_has_the_configuration_space),
	TEST(the_dsdt_routes_each_device),
	TEST(too_small_an_area_is_refused),
	TEST(iasl_reads_the_tables_back),
	TESTS_END
};

const struct suite suite_acpi = { "acpi", tests };
