// SPDX-License-Identifier: GPL-2.0-only
#include "../error.h"
#include "../memory.h"
#include "tap.h"

/* Layout without a mapping: what is computed does not depend on the bytes. */
static struct guest_memory layout(uint64_t size)
{
	uint64_t low = min_u64(size, LOW_RAM_MAX);

	return (struct guest_memory){ .base = (uint8_t *)0x10000000, .low_size = low,
				      .high_size = size - low };
}

static void pointers_stay_in_one_part_of_ram(void)
{
	struct guest_memory memory = layout(4 * GIB);

	CHECK(guest_ptr(&memory, 0, LOW_RAM_MAX) == memory.base);
	CHECK(!guest_ptr(&memory, 0, LOW_RAM_MAX + 1));
	CHECK(!guest_ptr(&memory, LOW_RAM_MAX, 1));
	CHECK(!guest_ptr(&memory, HIGH_RAM_BASE - 1, 1));
	CHECK(!guest_ptr(&memory, HIGH_RAM_BASE - 1, 2));
	CHECK(guest_ptr(&memory, HIGH_RAM_BASE, GIB) == memory.base + LOW_RAM_MAX);
	CHECK(!guest_ptr(&memory, HIGH_RAM_BASE, GIB + 1));
	CHECK(!guest_ptr(&memory, HIGH_RAM_BASE + GIB, 1));
	CHECK(!guest_ptr(&memory, UINT64_MAX, 2));
	CHECK(!guest_ptr(&memory, 0x1000, UINT64_MAX));
	CHECK(!guest_ptr(&memory, HIGH_RAM_BASE, UINT64_MAX));
}

static void the_map_leaves_out_firmware_and_the_hole(void)
{
	struct guest_memory small = layout(512 * MIB), large = layout(4 * GIB);
	struct map_entry map[MAP_ENTRIES];

	CHECK(guest_memory_map(&small, map) == 4);
	CHECK(map[0].base == 0 && map[0].size == EBDA_BASE && map[0].type == MAP_RAM);
	CHECK(map[1].base == EBDA_BASE && map[1].type == MAP_RESERVED);
	CHECK(map[1].base + map[1].size == BIOS_END);
	CHECK(map[2].base == BIOS_END && map[2].base + map[2].size == 512 * MIB);
	CHECK(map[3].base == PCI_MMCONFIG && map[3].size == PCI_MMCONFIG_SIZE);
	CHECK(map[3].type == MAP_RESERVED);
	CHECK(guest_memory_map(&large, map) == 5);
	CHECK(map[2].base + map[2].size == LOW_RAM_MAX);
	CHECK(map[4].base == HIGH_RAM_BASE && map[4].size == GIB && map[4].type == MAP_RAM);
}

static void claims_do_not_overlap(void)
{
	struct guest_memory memory = layout(16 * MIB);

	CHECK(!guest_claim(&memory, 0x100000, 0x1000, "one", NULL));
	CHECK(guest_claim(&memory, 0x100fff, 1, "two", "file"));
	CHECK_ERROR("file");
	CHECK_ERROR("overlap one");
	CHECK(guest_claim(&memory, 0xff000, 0x1001, "two", "file"));
	CHECK(!guest_claim(&memory, 0x101000, 0x1000, "two", "file"));
	CHECK(!guest_claim(&memory, 0xff000, 0x1000, "three", "file"));
}

static void claims_beyond_ram_ask_for_more(void)
{
	struct guest_memory memory = layout(16 * MIB);

	CHECK(guest_claim(&memory, 16 * MIB, 1, "kernel", "vmlinux"));
	CHECK_ERROR("more --memory");
	CHECK(guest_claim(&memory, 0, UINT64_MAX, "kernel", "vmlinux"));
	CHECK(guest_claim(&memory, UINT64_MAX, 2, "kernel", "vmlinux"));
	CHECK_ERROR("beyond any address");
	CHECK(!memory.nr_claims);
}

static void places_are_high_aligned_and_free(void)
{
	struct guest_memory memory = layout(16 * MIB);
	uint64_t gpa;

	CHECK(!guest_place(&memory, 5000, UINT64_MAX, "initrd", "file", &gpa));
	CHECK(gpa == 16 * MIB - 2 * GUEST_PAGE);
	CHECK(!guest_place(&memory, 1, UINT64_MAX, "initrd", "file", &gpa));
	CHECK(gpa == 16 * MIB - 3 * GUEST_PAGE);
	CHECK(!guest_place(&memory, GUEST_PAGE, 8 * MIB, "initrd", "file", &gpa));
	CHECK(gpa == 8 * MIB - GUEST_PAGE);
	CHECK(!guest_claim(&memory, 2 * MIB, 5 * MIB, "kernel", "file"));
	CHECK(!guest_place(&memory, MIB, 8 * MIB, "initrd", "file", &gpa));
	CHECK(gpa == MIB);
}

static void what_does_not_fit_is_refused(void)
{
	struct guest_memory memory = layout(16 * MIB);
	uint64_t gpa;

	CHECK(guest_place(&memory, 16 * MIB, UINT64_MAX, "initrd", "ramdisk.img", &gpa));
	CHECK_ERROR("ramdisk.img");
	CHECK_ERROR("more --memory");
	CHECK(guest_place(&memory, UINT64_MAX, UINT64_MAX, "initrd", "file", &gpa));
	CHECK(guest_place(&memory, 1, BIOS_END, "initrd", "file", &gpa));
	CHECK(guest_place(&memory, 1, 0, "initrd", "file", &gpa));
	CHECK(!guest_place(&memory, 15 * MIB, UINT64_MAX, "initrd", "file", &gpa));
	CHECK(gpa == MIB);
}

static void claims_are_bounded(void)
{
	struct guest_memory memory = layout(16 * MIB);

	for (unsigned int i = 0; i < CLAIMS_MAX; i++)
		CHECK(!guest_claim(&memory, i * GUEST_PAGE, 1, "piece", "file"));
	CHECK(guest_claim(&memory, 8 * MIB, 1, "piece", "file"));
	CHECK_ERROR("more than");
}

static void sizes_that_no_guest_can_have_are_refused(void)
{
	CHECK(guest_memory_check(0));
	CHECK_ERROR("at least 2M");
	CHECK(guest_memory_check(MIB));
	CHECK(guest_memory_check(4 * MIB + 1));
	CHECK_ERROR("whole pages");
	CHECK(guest_memory_check((uint64_t)1 << 50));
	CHECK_ERROR("more than this machine's");
	CHECK(!guest_memory_check(4 * MIB));
}

static void memory_is_zero_and_aligned_for_huge_pages(void)
{
	struct guest_memory memory;

	CHECK(!guest_memory_create(&memory, 4 * MIB));
	CHECK((uintptr_t)memory.base % (2 * MIB) == 0);
	CHECK(!memory.base[0] && !memory.base[4 * MIB - 1]);
	memory.base[4 * MIB - 1] = 1;
	guest_memory_destroy(&memory);
	CHECK(!memory.base);
}

static const struct test tests[] = {
	TEST(pointers_stay_in_one_part_of_ram),
	TEST(the_map_leaves_out_firmware_and_the_hole),
	TEST(claims_do_not_overlap),
	TEST(claims_beyond_ram_ask_for_more),
	TEST(places_are_high_aligned_and_free),
	TEST(what_does_not_fit_is_refused),
	TEST(claims_are_bounded),
	TEST(sizes_that_no_guest_can_have_are_refused),
	TEST(memory_is_zero_and_aligned_for_huge_pages),
	TESTS_END
};

const struct suite suite_memory = { "memory", tests };
