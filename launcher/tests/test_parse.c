// SPDX-License-Identifier: GPL-2.0-only
#include "../error.h"
#include "../parse.h"
#include "../status.h"
#include "../util.h"
#include "tap.h"

static void sizes_take_units_of_1024(void)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {
		{ "0", 0 },	       { "4096", 4096 },	{ "1K", KIB },
		{ "512M", 512 * MIB }, { "512m", 512 * MIB },	{ "1G", GIB },
		{ "2T", 2048 * GIB },  { "0001G", GIB },
		{ "18446744073709551615", UINT64_MAX },
		{ "16777215T", 16777215 * (1024 * GIB) },
	};
	uint64_t bytes;

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK(!parse_size("--memory", rows[i].text, &bytes));
		CHECK(bytes == rows[i].bytes);
	}
}

static void what_is_no_size_is_refused(void)
{
	static const char *const rows[] = { "", "M", "-1M", "+1", " 1M", "1M ", "1MB", "1.5G", "0x10",
					    "1P", "1GG", "M1", "1\n", "1 ", "1@" };
	uint64_t bytes;

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK(parse_size("--memory", rows[i], &bytes));
		CHECK_ERROR("--memory");
		CHECK_ERROR("not a size");
	}
}

static void sizes_that_overflow_are_refused(void)
{
	static const char *const rows[] = { "18446744073709551616", "99999999999999999999999G",
					    "16777216T", "18014398509481984K" };
	uint64_t bytes;

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK(parse_size("--memory", rows[i], &bytes));
		CHECK_ERROR("too large");
	}
}

static void numbers_keep_their_range(void)
{
	uint64_t value;

	CHECK(!parse_number("--cpus", "1", 1, 255, &value) && value == 1);
	CHECK(!parse_number("--cpus", "255", 1, 255, &value) && value == 255);
	CHECK(parse_number("--cpus", "0", 1, 255, &value));
	CHECK_ERROR("out of range");
	CHECK(parse_number("--cpus", "256", 1, 255, &value));
	CHECK(parse_number("--cpus", "18446744073709551617", 1, 255, &value));
	CHECK_ERROR("out of range");
	CHECK(parse_number("--cpus", "two", 1, 255, &value));
	CHECK_ERROR("not a number");
	CHECK(parse_number("--cpus", "", 1, 255, &value));
	CHECK(parse_number("--cpus", "2x", 1, 255, &value));
}

static void debug_exit_statuses_are_odd_and_ours_even(void)
{
	static const int ours[] = { STATUS_OFF, STATUS_USAGE, STATUS_RESET, STATUS_DEATH,
				    STATUS_FAILED, STATUS_ENDED };

	for (unsigned int n = 0; n < 256; n++) {
		CHECK(status_of_debug_exit(n) % 2 == 1);
		CHECK(status_of_debug_exit(n) == (int)((2 * n + 1) & 0xff));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(ours); i++)
		CHECK(ours[i] % 2 == 0);
}

static const struct test tests[] = {
	TEST(sizes_take_units_of_1024),
	TEST(what_is_no_size_is_refused),
	TEST(sizes_that_overflow_are_refused),
	TEST(numbers_keep_their_range),
	TEST(debug_exit_statuses_are_odd_and_ours_even),
	TESTS_END
};

const struct suite suite_parse = { "parse", tests };
