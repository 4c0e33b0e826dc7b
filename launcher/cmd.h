/* SPDX-License-Identifier: GPL-2.0-only */
/* The verbs of the command line: one row here and one file each. */
#ifndef KILN_CMD_H
#define KILN_CMD_H

#include <stdio.h>

#define KILN_VERSION "0.1"

struct verb {
	const char *name;
	const char *summary;
	/* argv[0] is the verb. Returns an exit status; -1 with a sentence for bad input. */
	int (*run)(int argc, char **argv);
	void (*help)(FILE *out);
};

/* Ends with a NULL name. */
extern const struct verb verbs[];

const struct verb *find_verb(const char *name);

int cmd_run(int argc, char **argv);
void cmd_run_help(FILE *out);
int cmd_check(int argc, char **argv);
void cmd_check_help(FILE *out);
int cmd_help(int argc, char **argv);
void cmd_help_help(FILE *out);

#endif
