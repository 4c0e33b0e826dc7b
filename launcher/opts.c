// SPDX-License-Identifier: GPL-2.0-only
#include "opts.h"

#include <getopt.h>
#include <string.h>

#include "error.h"

static int complain(const struct opt *table, int result, const char *word)
{
	int len = (int)strcspn(word, "=");

	if (result == ':')
		return error_set("%s: a value is missing; `kiln help run` lists the options", word);
	for (const struct opt *opt = table; opt->name; opt++)
		if (!opt->arg && len > 2 && !strncmp(word + 2, opt->name, (size_t)len - 2) &&
		    word[len] == '=')
			return error_set("%.*s takes no value; leave out %s", len, word, word + len);
	return error_set("%.*s: unknown option; `kiln help run` lists the options", len, word);
}

int opts_parse(const struct opt *table, void *config, int argc, char **argv)
{
	struct option longopts[OPTS_MAX + 1] = { 0 };
	int count = 0, result, index;

	for (; count < OPTS_MAX && table[count].name; count++) {
		longopts[count].name = table[count].name;
		longopts[count].has_arg = table[count].arg ? required_argument : no_argument;
		longopts[count].val = 1;
	}
	opterr = 0;
	optind = 0;	/* glibc: start afresh, for callers that parse twice */
	for (;;) {
		int at = optind ? optind : 1;

		result = getopt_long(argc, argv, "+:", longopts, &index);
		if (result == -1)
			break;
		if (result != 1)
			return complain(table, result, argv[at]);
		if (table[index].set(config, optarg ? optarg : ""))
			return -1;
	}
	if (optind < argc)
		return error_set("%s: not an option; `kiln help run` lists the options",
				 argv[optind]);
	return 0;
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
