// SPDX-License-Identifier: GPL-2.0-only
#include "opts.h"

#include <getopt.h>
#include <string.h>

#include "error.h"

#define OPTION	2	/* getopt_long() itself says 1 for an operand */
#define HELP	'h'

static bool help_wanted;

bool opts_help_wanted(void)
{
	return help_wanted;
}

static int complain(const struct opt *table, const char *verb, int result, const char *word)
{
	int len = (int)strcspn(word, "=");

	if (result == ':')
		return error_set("%s: a value is missing; `kiln help %s` lists the options", word,
				 verb);
	for (const struct opt *opt = table; opt->name; opt++)
		if (!opt->arg && len > 2 && !strncmp(word + 2, opt->name, (size_t)len - 2) &&
		    word[len] == '=')
			return error_set("%.*s takes no value; leave out %s", len, word, word + len);
	return error_set("%.*s: unknown option; `kiln help %s` lists the options", len, word, verb);
}

/* One more of @operands, which has @max and holds NULL where there is none. */
static int take_operand(const char **operands, int max, char *word, const char *verb)
{
	for (int i = 0; i < max; i++) {
		if (operands[i])
			continue;
		operands[i] = word;
		return 0;
	}
	if (max)
		return error_set("%s: one word too many; `kiln help %s` says what it takes", word,
				 verb);
	return error_set("%s: not an option; `kiln help %s` lists the options", word, verb);
}

int opts_parse_operands(const struct opt *table, void *config, int argc, char **argv,
			const char **operands, int max)
{
	struct option longopts[OPTS_MAX + 2] = { 0 };
	int count = 0, result, index;

	for (; count < OPTS_MAX && table[count].name; count++) {
		longopts[count].name = table[count].name;
		longopts[count].has_arg = table[count].arg ? required_argument : no_argument;
		longopts[count].val = OPTION;
	}
	longopts[count] = (struct option){ "help", no_argument, NULL, HELP };
	help_wanted = false;
	opterr = 0;
	optind = 0;	/* glibc: start afresh, for callers that parse twice */
	for (;;) {
		int at = optind ? optind : 1;

		result = getopt_long(argc, argv, "-:h", longopts, &index);
		if (result == -1)
			break;
		if (result == 1 && take_operand(operands, max, optarg, argv[0]))
			return -1;
		if (result == 1)
			continue;
		if (result == HELP) {
			help_wanted = true;
			return error_set("%s: help is wanted", argv[0]);
		}
		if (result != OPTION)
			return complain(table, argv[0], result, argv[at]);
		if (table[index].set(config, optarg ? optarg : ""))
			return -1;
	}
	for (; optind < argc; optind++)		/* after "--" */
		if (take_operand(operands, max, argv[optind], argv[0]))
			return -1;
	return 0;
}

int opts_parse(const struct opt *table, void *config, int argc, char **argv)
{
	return opts_parse_operands(table, config, argc, argv, NULL, 0);
}

void opts_print(const struct opt *table, FILE *out)
{
	char left[64];

	for (const struct opt *opt = table; opt->name; opt++) {
		snprintf(left, sizeof(left), "--%s%s%s", opt->name, opt->arg ? " " : "",
			 opt->arg ? opt->arg : "");
		fprintf(out, "  %-26s %s\n", left, opt->help);
	}
}
