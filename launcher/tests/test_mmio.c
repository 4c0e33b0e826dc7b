// SPDX-License-Identifier: GPL-2.0-only
#include "../mmio.h"
#include "../util.h"
#include "tap.h"

struct probe {
	struct mmio_region region;
	unsigned int accesses;
	uint64_t offset, value;
	uint8_t size;
};

static uint64_t probe_read(struct mmio_region *region, uint64_t offset, uint8_t size)
{
	struct probe *probe = container_of(region, struct probe, region);

	probe->accesses++;
	probe->offset = offset;
	probe->size = size;
	return 0x1122334455667700ULL + offset;
}

static void probe_write(struct mmio_region *region, uint64_t offset, uint8_t size, uint64_t value)
{
	struct probe *probe = container_of(region, struct probe, region);

	probe->accesses++;
	probe->offset = offset;
	probe->size = size;
	probe->value = value;
}

static struct mmio mmio;
static struct probe one, two;

static void set_up(void)
{
	mmio_init(&mmio);
	one = (struct probe){ .region = { .name = "one", .len = 0x100, .read = probe_read,
					  .write = probe_write } };
	two = (struct probe){ .region = { .name = "two", .len = 0x1000, .read = probe_read,
					  .write = probe_write } };
	mmio_add(&mmio, &one.region);
	mmio_add(&mmio, &two.region);
}

static void what_is_not_mapped_reads_as_ones(void)
{
	uint8_t data[8] = { 0 };

	set_up();
	mmio_read(&mmio, 0, 8, data);
	CHECK(!memcmp(data, "\xff\xff\xff\xff\xff\xff\xff\xff", 8));
	mmio_write(&mmio, 0, 8, data);
	CHECK(!one.accesses && !two.accesses);
}

static void regions_answer_where_they_were_mapped_last(void)
{
	uint8_t data[8];

	set_up();
	mmio_map(&mmio, &one.region, 0x10000);
	mmio_read(&mmio, 0x10004, 4, data);
	CHECK(one.accesses == 1 && one.offset == 4 && one.size == 4 && data[0] == 4);
	mmio_map(&mmio, &one.region, 0x20000);
	mmio_read(&mmio, 0x10004, 4, data);
	CHECK(one.accesses == 1 && data[0] == 0xff);
	mmio_write(&mmio, 0x200f8, 8, (const uint8_t *)"\1\2\3\4\5\6\7\10");
	CHECK(one.accesses == 2 && one.value == 0x0807060504030201ULL);
	mmio_unmap(&mmio, &one.region);
	mmio_write(&mmio, 0x200f8, 8, data);
	CHECK(one.accesses == 2);
}

static void accesses_over_an_end_are_nobodys(void)
{
	uint8_t data[8];

	set_up();
	mmio_map(&mmio, &one.region, 0x10000);
	mmio_read(&mmio, 0x100fe, 4, data);
	CHECK(!one.accesses && data[0] == 0xff && data[3] == 0xff);
	mmio_read(&mmio, 0xfffe, 4, data);
	CHECK(!one.accesses);
	mmio_read(&mmio, UINT64_MAX, 8, data);
	CHECK(!one.accesses);
}

static void of_two_that_overlap_the_first_answers(void)
{
	uint8_t data[1];

	set_up();
	mmio_map(&mmio, &two.region, 0x10000);
	mmio_map(&mmio, &one.region, 0x10000);
	mmio_read(&mmio, 0x10000, 1, data);
	CHECK(one.accesses == 1 && !two.accesses);
	mmio_read(&mmio, 0x10100, 1, data);
	CHECK(one.accesses == 1 && two.accesses == 1);
}

static void odd_sizes_come_in_pieces(void)
{
	uint8_t data[8];

	set_up();
	mmio_map(&mmio, &one.region, 0x10000);
	mmio_read(&mmio, 0x10000, 7, data);
	CHECK(one.accesses == 3 && one.offset == 6 && one.size == 1);
	mmio_write(&mmio, 0x10000, 3, (const uint8_t *)"\1\2\3");
	CHECK(one.accesses == 5 && one.offset == 2 && one.value == 3);
}

static const struct test tests[] = {
	TEST(what_is_not_mapped_reads_as_ones),
	TEST(regions_answer_where_they_were_mapped_last),
	TEST(accesses_over_an_end_are_nobodys),
	TEST(of_two_that_overlap_the_first_answers),
	TEST(odd_sizes_come_in_pieces),
	TESTS_END
};

const struct suite suite_mmio = { "mmio", tests };
