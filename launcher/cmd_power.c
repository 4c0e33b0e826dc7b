// SPDX-License-Identifier: GPL-2.0-only
/* What starts, stops and ends guests: virsh's words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "clock.h"
#include "cmd.h"
#include "error.h"
#include "opts.h"
#include "parse.h"
#include "status.h"

#define SHUTDOWN_SECONDS	60
#define DESTROY_MS		10000
#define LOOK_MS			100

struct config {
	uint64_t timeout;
};

static int set_timeout(void *config, const char *value)
{
	return parse_number("--timeout", value, 0, 86400, &((struct config *)config)->timeout);
}

static const struct opt wait_options[] = {
	{ "timeout", "SECONDS", "how long to wait for the guest (default 60); 0: do not", set_timeout },
	{ NULL, NULL, NULL, NULL },
};

static const struct opt no_options[] = {
	{ NULL, NULL, NULL, NULL },
};

static void help(FILE *out, const struct opt *options, const char *verb, const char *text)
{
	fprintf(out, "Usage: kiln %s NAME%s\n\n%s%s", verb, options->name ? " [OPTION...]" : "",
		text, options->name ? "\n" : "");
	opts_print(options, out);
	fprintf(out, "\nExit status: %d; %d for bad input or a guest that is not there, %d where it was\n"
		     "not done.\n", STATUS_OFF, STATUS_USAGE, STATUS_NOT_DONE);
}

/* ---- shutdown ---- */

void cmd_shutdown_help(FILE *out)
{
	help(out, wait_options, "shutdown",
	     "Presses a guest's power button (ACPI) and waits until it has powered off. Where it\n"
	     "does not, says why as far as that is known, and what can be done.\n");
}

/* What the guest did with its button, and whether its CPUs do anything. */
static int explain_silence(struct client *client, uint64_t waited, double cpu_before)
{
	json_t *info = client_ask(client, "info");
	const json_t *button = json_object_get(info, "button");
	double cpu = info ? client_real(info, "cpu_seconds") - cpu_before : 0;

	if (!info)
		return -1;
	error_set("%s has not powered off in %llu s: %s (its CPUs ran %.1f s of these); `kiln destroy %s` ends it at once, `kiln console %s` shows what it does",
		  client->name, (unsigned long long)waited, client_text(button, "why"), cpu,
		  client->name, client->name);
	json_decref(info);
	return -1;
}

static int report_end(const struct client *client)
{
	if (client->status == STATUS_OFF) {
		printf("%s has powered off\n", client->name);
		return STATUS_OFF;
	}
	error_set("%s has ended, but did not power off: %s", client->name, client_end_text(client));
	return VERB_NOT_DONE;
}

static int do_shutdown(struct client *client, const struct config *config)
{
	json_t *info = client_ask(client, "info");
	double cpu = client_real(info, "cpu_seconds");
	json_t *reply = info ? client_ask(client, "shutdown") : NULL;

	json_decref(info);
	json_decref(reply);
	if (!reply && !client->gone)
		return VERB_NOT_DONE;
	if (!config->timeout) {
		printf("%s: power button pressed\n", client->name);
		return STATUS_OFF;
	}
	if (client_wait_end(client, (int64_t)config->timeout * 1000))
		return report_end(client);
	explain_silence(client, config->timeout, cpu);
	return client->gone ? report_end(client) : VERB_NOT_DONE;
}

/* ---- reboot ---- */

void cmd_reboot_help(FILE *out)
{
	help(out, wait_options, "reboot",
	     "Presses a guest's power button (ACPI), waits until it has powered off, and starts it\n"
	     "again as it was started. Where it does not power off, it runs on.\n");
}

/* The same name, with another launcher behind it. */
static int wait_for_next(const char *name, int64_t until)
{
	static const struct timespec look = { .tv_nsec = LOOK_MS * 1000000 };
	json_t *info = NULL;

	while (!info && clock_monotonic() < until) {
		struct client next;

		nanosleep(&look, NULL);
		if (client_open(&next, name))
			continue;
		info = client_ask(&next, "info");
		client_close(&next);
	}
	if (!info) {
		error_set("%s has powered off, and does not run again; its launcher's stderr says why",
			  name);
		return VERB_NOT_DONE;
	}
	json_decref(info);
	printf("%s runs again\n", name);
	return STATUS_OFF;
}

static int do_reboot(struct client *client, const struct config *config)
{
	int64_t until = clock_monotonic() + (int64_t)config->timeout * NS_PER_SECOND;
	json_t *info, *reply;
	double cpu;

	if (!config->timeout)
		return error_set("--timeout 0: a reboot has to be waited for; give some seconds");
	info = client_ask(client, "info");
	cpu = client_real(info, "cpu_seconds");
	reply = info ? client_ask(client, "reboot") : NULL;
	json_decref(info);
	json_decref(reply);
	if (!reply && !client->gone)
		return VERB_NOT_DONE;
	if (!client_wait_end(client, (int64_t)config->timeout * 1000)) {
		explain_silence(client, config->timeout, cpu);
		if (!client->gone)
			return VERB_NOT_DONE;
	}
	if (client->again)
		return wait_for_next(client->name, until);
	error_set("%s has ended and is not started again: %s", client->name,
		  client_end_text(client));
	return VERB_NOT_DONE;
}

/* ---- those that are done when they are answered ---- */

void cmd_suspend_help(FILE *out)
{
	help(out, no_options, "suspend",
	     "Stops a guest's CPUs, and its devices once the requests they have are done, until\n"
	     "`kiln resume`. Its memory stays.\n");
}

void cmd_resume_help(FILE *out)
{
	help(out, no_options, "resume", "Lets a suspended guest go on.\n");
}

static int ask(struct client *client, const char *line, const char *done)
{
	json_t *reply = client_ask(client, line);

	if (!reply)
		return VERB_NOT_DONE;
	json_decref(reply);
	printf("%s %s\n", client->name, done);
	return STATUS_OFF;
}

static int do_suspend(struct client *client, const struct config *config)
{
	(void)config;
	return ask(client, "suspend", "is suspended");
}

static int do_resume(struct client *client, const struct config *config)
{
	(void)config;
	return ask(client, "resume", "goes on");
}

/* ---- destroy ---- */

void cmd_destroy_help(FILE *out)
{
	help(out, no_options, "destroy",
	     "Ends a guest at once, as if its power were cut. What it has not written to its\n"
	     "disks is lost.\n");
}

static int do_destroy(struct client *client, const struct config *config)
{
	json_t *reply = client_ask(client, "destroy");

	(void)config;
	if (!reply && !client->gone)
		return VERB_NOT_DONE;
	json_decref(reply);
	if (!client_wait_end(client, DESTROY_MS)) {
		error_set("%s has not ended in %d s; `kill -KILL %d` ends its launcher",
			  client->name, DESTROY_MS / 1000, client->pid);
		return VERB_NOT_DONE;
	}
	printf("%s is no more\n", client->name);
	return STATUS_OFF;
}

/* ---- all ---- */

static int run(const struct opt *options, int argc, char **argv,
	       int (*act)(struct client *client, const struct config *config))
{
	struct config config = { .timeout = SHUTDOWN_SECONDS };
	const char *name = client_parse(options, &config, argc, argv);
	struct client client;
	int status;

	if (!name || client_open(&client, name))
		return -1;
	status = act(&client, &config);
	client_close(&client);
	return status;
}

int cmd_shutdown(int argc, char **argv)
{
	return run(wait_options, argc, argv, do_shutdown);
}

int cmd_reboot(int argc, char **argv)
{
	return run(wait_options, argc, argv, do_reboot);
}

int cmd_suspend(int argc, char **argv)
{
	return run(no_options, argc, argv, do_suspend);
}

int cmd_resume(int argc, char **argv)
{
	return run(no_options, argc, argv, do_resume);
}

int cmd_destroy(int argc, char **argv)
{
	return run(no_options, argc, argv, do_destroy);
}
