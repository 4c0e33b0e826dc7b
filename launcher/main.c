// SPDX-License-Identifier: GPL-2.0-only
/*
 * The `kiln` command. A verb's file parses its options and does its work;
 * machine.c is where a run is put together. Errors come back here as -1 with
 * a sentence (error.h) and leave as status 2, or 1 for what did not happen.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "error.h"
#include "opts.h"
#include "status.h"

const struct verb verbs[] = {
	{ "run", "run a guest", cmd_run, cmd_run_help },
	{ "list", "list the guests that run", cmd_list, cmd_list_help },
	{ "info", "say what a running guest is", cmd_info, cmd_info_help },
	{ "stats", "say what a running guest costs", cmd_stats, cmd_stats_help },
	{ "console", "attach to a running guest's console", cmd_console, cmd_console_help },
	{ "balloon", "change how much memory a running guest has", cmd_balloon, cmd_balloon_help },
	{ "shutdown", "press a guest's power button and wait", cmd_shutdown, cmd_shutdown_help },
	{ "reboot", "shut a guest down and start it again", cmd_reboot, cmd_reboot_help },
	{ "suspend", "stop a guest where it is", cmd_suspend, cmd_suspend_help },
	{ "resume", "let a suspended guest go on", cmd_resume, cmd_resume_help },
	{ "destroy", "end a guest at once", cmd_destroy, cmd_destroy_help },
	{ "net", "make, list or delete networks for guests", cmd_net, cmd_net_help },
	{ "unpack", "unpack a kernel, for its first run", cmd_unpack, cmd_unpack_help },
	{ "check", "say whether this machine can run guests", cmd_check, cmd_check_help },
	{ "help", "explain a command", cmd_help, cmd_help_help },
	{ NULL, NULL, NULL, NULL },
};

const struct verb *find_verb(const char *name)
{
	for (const struct verb *verb = verbs; verb->name; verb++)
		if (!strcmp(verb->name, name))
			return verb;
	return NULL;
}

static int version(void)
{
	printf("kiln %s\n", KILN_VERSION);
	return STATUS_OFF;
}

static int dispatch(int argc, char **argv)
{
	const struct verb *verb;
	int status;

	if (argc < 2)
		return error_set("no command given; `kiln --help` lists them");
	if (!strcmp(argv[1], "--version"))
		return argc > 2 ? error_set("%s: one word too many after --version; leave it out", argv[2]) : version();
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return cmd_help(1, argv);
	verb = find_verb(argv[1]);
	if (!verb)
		return error_set("%s: no such command; `kiln --help` lists them", argv[1]);
	status = verb->run(argc - 1, argv + 1);
	if (status >= 0 || !opts_help_wanted())
		return status;
	verb->help(stdout);
	return STATUS_OFF;
}

int main(int argc, char **argv)
{
	int status;

	/* To grow and shrink a thread's own heap glibc opens files, which sandbox.c forbids. */
	mallopt(M_ARENA_MAX, 1);
	status = dispatch(argc, argv);
	if (status >= 0)
		return status;
	fprintf(stderr, "kiln: %s\n", error_text());
	return status == VERB_NOT_DONE ? STATUS_NOT_DONE : STATUS_USAGE;
}
