/* SPDX-License-Identifier: GPL-2.0-only */
/* Command-line options as a table: one row per option, parsed and printed from it. */
#ifndef KILN_OPTS_H
#define KILN_OPTS_H

#include <stdbool.h>
#include <stdio.h>

struct opt {
	const char *name;	/* without the dashes; NULL ends the table */
	const char *arg;	/* what the value is called in the help, NULL for a flag */
	const char *help;
	/* Takes the value ("" for a flag); -1 with a sentence where it is bad. */
	int (*set)(void *config, const char *value);
};

#define OPTS_MAX 32

/*
 * Parses all of argv after argv[0] into @config. Operands are refused.
 * Returns 0, or -1 with a sentence; also where --help or -h stands in the
 * place of an option, which opts_help_wanted() tells.
 */
int opts_parse(const struct opt *table, void *config, int argc, char **argv);

/*
 * The same with up to @max operands, before, after and between options. They
 * go to @operands, which holds @max times NULL before.
 */
int opts_parse_operands(const struct opt *table, void *config, int argc, char **argv,
			const char **operands, int max);

/* Whether the last of them ended because of --help or -h. */
bool opts_help_wanted(void);

/* The table as help text. */
void opts_print(const struct opt *table, FILE *out);

#endif
