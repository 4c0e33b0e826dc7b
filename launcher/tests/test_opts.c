// SPDX-License-Identifier: GPL-2.0-only
#include "../error.h"
#include "../opts.h"
#include "../util.h"
#include "tap.h"

struct config {
	const char *file;
	int loud;
};

static int set_file(void *config, const char *value)
{
	if (!strcmp(value, "bad"))
		return error_set("--file bad: refused");
	((struct config *)config)->file = value;
	return 0;
}

static int set_loud(void *config, const char *value)
{
	(void)value;
	((struct config *)config)->loud++;
	return 0;
}

static const struct opt table[] = {
	{ "file", "FILE", "a file", set_file },
	{ "loud", NULL, "be loud", set_loud },
	{ NULL, NULL, NULL, NULL },
};

static int parse(struct config *config, int argc, const char *const *argv)
{
	*config = (struct config){ 0 };
	return opts_parse(table, config, argc, (char **)(uintptr_t)argv);
}

static void values_come_after_blank_or_equals(void)
{
	const char *const blank[] = { "run", "--file", "x", "--loud", NULL };
	const char *const equals[] = { "run", "--file=y=z", NULL };
	const char *const dashes[] = { "run", "--file", "--loud", NULL };
	struct config config;

	CHECK(!parse(&config, 4, blank) && !strcmp(config.file, "x") && config.loud == 1);
	CHECK(!parse(&config, 2, equals) && !strcmp(config.file, "y=z") && !config.loud);
	CHECK(!parse(&config, 3, dashes) && !strcmp(config.file, "--loud"));
}

static void what_is_wrong_is_named(void)
{
	static const struct {
		const char *argv[3];
		int argc;
		const char *names;
	} rows[] = {
		{ { "run", "--nonsense" }, 2, "--nonsense: unknown option" },
		{ { "run", "--nonsense=1" }, 2, "--nonsense: unknown option" },
		{ { "run", "-x" }, 2, "-x: unknown option" },
		{ { "run", "--file" }, 2, "--file: a value is missing" },
		{ { "run", "--loud=1" }, 2, "--loud takes no value; leave out =1" },
		{ { "run", "operand" }, 2, "operand: not an option" },
		{ { "run", "--loud", "operand" }, 3, "operand: not an option" },
		{ { "run", "--file", "bad" }, 3, "refused" },
	};
	struct config config;

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK(parse(&config, rows[i].argc, rows[i].argv) == -1);
		CHECK_ERROR(rows[i].names);
	}
}

static void operands_stand_anywhere_and_are_counted(void)
{
	const char *const among[] = { "stats", "one", "--loud", "two", "--file=x", NULL };
	const char *const after[] = { "stats", "--loud", "--", "--loud", "two", NULL };
	const char *const many[] = { "stats", "one", "two", "three", NULL };
	const char *operands[2] = { NULL, NULL };
	struct config config = { 0 };

	CHECK(!opts_parse_operands(table, &config, 5, (char **)(uintptr_t)among, operands, 2));
	CHECK(!strcmp(operands[0], "one") && !strcmp(operands[1], "two"));
	CHECK(config.loud == 1 && !strcmp(config.file, "x"));
	operands[0] = operands[1] = NULL;
	CHECK(!opts_parse_operands(table, &config, 5, (char **)(uintptr_t)after, operands, 2));
	CHECK(!strcmp(operands[0], "--loud") && !strcmp(operands[1], "two") && config.loud == 2);
	operands[0] = operands[1] = NULL;
	CHECK(opts_parse_operands(table, &config, 4, (char **)(uintptr_t)many, operands, 2) == -1);
	CHECK_ERROR("three: one word too many; `kiln help stats`");
}

static void help_is_wanted_where_an_option_may_stand(void)
{
	const char *const word[] = { "run", "--loud", "--help", NULL };
	const char *const letter[] = { "run", "-h", "--nonsense", NULL };
	const char *const value[] = { "run", "--file", "--help", "--file", "-h", NULL };
	const char *const behind[] = { "run", "--nonsense", "--help", NULL };
	struct config config;

	CHECK(parse(&config, 3, word) == -1 && opts_help_wanted());
	CHECK(parse(&config, 3, letter) == -1 && opts_help_wanted());
	CHECK(!parse(&config, 5, value) && !opts_help_wanted() && !strcmp(config.file, "-h"));
	CHECK(parse(&config, 3, behind) == -1 && !opts_help_wanted());
	CHECK_ERROR("--nonsense: unknown option");
}

static void sentences_stay_one_line(void)
{
	CHECK(error_set("%s: odd", "a\nb\tc") == -1);
	CHECK(!strcmp(error_text(), "a?b?c: odd"));
}

static const struct test tests[] = {
	TEST(values_come_after_blank_or_equals),
	TEST(what_is_wrong_is_named),
	TEST(operands_stand_anywhere_and_are_counted),
	TEST(help_is_wanted_where_an_option_may_stand),
	TEST(sentences_stay_one_line),
	TESTS_END
};

const struct suite suite_opts = { "opts", tests };
