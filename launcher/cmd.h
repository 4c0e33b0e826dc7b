/* SPDX-License-Identifier: GPL-2.0-only */
/* The verbs of the command line: one row here and one file each. */
#ifndef KILN_CMD_H
#define KILN_CMD_H

#include <stdio.h>

#define KILN_VERSION "0.1"

#define VERB_NOT_DONE (-2)

struct verb {
	const char *name;
	const char *summary;
	/*
	 * argv[0] is the verb. Returns an exit status; with a sentence -1 for
	 * bad input, VERB_NOT_DONE for what was understood and did not happen.
	 */
	int (*run)(int argc, char **argv);
	void (*help)(FILE *out);
};

/* Ends with a NULL name. */
extern const struct verb verbs[];

const struct verb *find_verb(const char *name);

int cmd_run(int argc, char **argv);
void cmd_run_help(FILE *out);
int cmd_list(int argc, char **argv);
void cmd_list_help(FILE *out);
int cmd_info(int argc, char **argv);
void cmd_info_help(FILE *out);
int cmd_stats(int argc, char **argv);
void cmd_stats_help(FILE *out);
int cmd_console(int argc, char **argv);
void cmd_console_help(FILE *out);
int cmd_balloon(int argc, char **argv);
void cmd_balloon_help(FILE *out);
int cmd_shutdown(int argc, char **argv);
void cmd_shutdown_help(FILE *out);
int cmd_reboot(int argc, char **argv);
void cmd_reboot_help(FILE *out);
int cmd_suspend(int argc, char **argv);
void cmd_suspend_help(FILE *out);
int cmd_resume(int argc, char **argv);
void cmd_resume_help(FILE *out);
int cmd_destroy(int argc, char **argv);
void cmd_destroy_help(FILE *out);
int cmd_net(int argc, char **argv);
void cmd_net_help(FILE *out);
int cmd_unpack(int argc, char **argv);
void cmd_unpack_help(FILE *out);
int cmd_check(int argc, char **argv);
void cmd_check_help(FILE *out);
int cmd_help(int argc, char **argv);
void cmd_help_help(FILE *out);

#endif
