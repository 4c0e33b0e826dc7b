// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "cmd.h"
#include "error.h"
#include "status.h"

static void overview(FILE *out)
{
	fprintf(out, "Usage: kiln COMMAND [OPTION...]\n\n"
		     "Runs virtual machines on the kiln hypervisor.\n\n"
		     "Commands:\n");
	for (const struct verb *verb = verbs; verb->name; verb++)
		fprintf(out, "  %-9s %s\n", verb->name, verb->summary);
	fprintf(out, "\n`kiln help COMMAND` explains one; `kiln --version` says the version.\n");
}

void cmd_help_help(FILE *out)
{
	fprintf(out, "Usage: kiln help [COMMAND]\n\nExplains COMMAND, or lists the commands.\n");
}

int cmd_help(int argc, char **argv)
{
	const struct verb *verb;

	if (argc < 2) {
		overview(stdout);
		return STATUS_OFF;
	}
	if (argc > 2)
		return error_set("%s: one word too many; `kiln help` explains one command at a time", argv[2]);
	verb = find_verb(argv[1]);
	if (!verb && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		verb = find_verb(argv[0]);
	if (!verb)
		return error_set("%s: no such command; `kiln --help` lists them", argv[1]);
	verb->help(stdout);
	return STATUS_OFF;
}
