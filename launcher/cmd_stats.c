// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters as the launcher sends them, as JSON or as a table: one row for each
 * that has counted, with the guest's sum and, for a few vCPUs, each one's.
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "cmd.h"
#include "error.h"
#include "opts.h"
#include "parse.h"
#include "status.h"

#define COLUMNS_MAX 8

struct config {
	bool json, watch;
	uint64_t interval;
};

static int set_json(void *config, const char *value)
{
	(void)value;
	((struct config *)config)->json = true;
	return 0;
}

static int set_watch(void *config, const char *value)
{
	(void)value;
	((struct config *)config)->watch = true;
	return 0;
}

static int set_interval(void *config, const char *value)
{
	return parse_number("--interval", value, 1, 86400, &((struct config *)config)->interval);
}

static const struct opt options[] = {
	{ "json", NULL, "one line of JSON (Documentation/control.rst)", set_json },
	{ "watch", NULL, "again and again, with rates, until the guest ends or Ctrl-C", set_watch },
	{ "interval", "SECONDS", "how often --watch looks (default 1)", set_interval },
	{ NULL, NULL, NULL, NULL },
};

void cmd_stats_help(FILE *out)
{
	fprintf(out, "Usage: kiln stats NAME [OPTION...]\n\n"
		     "Says what a guest costs: memory, CPU time, and what the kernel counts of its exits,\n"
		     "its interrupts and its devices.\n\n");
	opts_print(options, out);
	fprintf(out, "\nExit status: %d; %d for bad input or a guest that is not there, %d for one\n"
		     "that does not answer.\n", STATUS_OFF, STATUS_USAGE, STATUS_NOT_DONE);
}

static void print_head(const json_t *stats)
{
	char memory[CLIENT_SIZE], resident[CLIENT_SIZE], uptime[CLIENT_SIZE];
	const json_t *vcpus = json_object_get(stats, "vcpus");
	double cpu = 0;

	for (size_t i = 0; i < json_array_size(vcpus); i++)
		cpu += client_real(json_array_get(vcpus, i), "cpu_seconds");
	printf("%s: %s, up %s, %zu vCPU%s ran %.2f s, memory %s", client_text(stats, "name"),
	       client_text(stats, "state"), client_duration(uptime, client_real(stats, "uptime")),
	       json_array_size(vcpus), json_array_size(vcpus) > 1 ? "s" : "", cpu,
	       client_size(memory, client_number(stats, "memory")));
	if (json_object_get(stats, "resident"))
		printf(", launcher and guest hold %s",
		       client_size(resident, client_number(stats, "resident")));
	printf("\n");
}

/* How much more per second than @before, NULL: nothing to compare with. */
static void print_rate(const json_t *counters, const json_t *before, const char *name,
		       double seconds)
{
	if (before && seconds > 0)
		printf(" %12.0f/s", (double)(client_number(counters, name) -
					     client_number(before, name)) / seconds);
}

/* What each of a few vCPUs has of the guest's sum, if it is one of theirs. */
static void print_shares(const json_t *vcpus, const char *name)
{
	size_t count = json_array_size(vcpus);

	for (size_t i = 0; count > 1 && i < count && i < COLUMNS_MAX; i++) {
		const json_t *own = json_object_get(json_array_get(vcpus, i), "counters");

		if (json_object_get(own, name))
			printf(" %12lld", (long long)client_number(own, name));
	}
}

/* Those that have counted. @before and @vcpus may be NULL. */
static void print_counters(json_t *counters, const json_t *before, double seconds,
			   const json_t *vcpus)
{
	for (void *at = json_object_iter(counters); at; at = json_object_iter_next(counters, at)) {
		const char *name = json_object_iter_key(at);
		long long value = json_integer_value(json_object_iter_value(at));

		if (!value)
			continue;
		printf("  %-24s %14lld", name, value);
		print_rate(counters, before, name, seconds);
		print_shares(vcpus, name);
		printf("\n");
	}
}

static void print_guest(const json_t *stats, const json_t *before, double seconds)
{
	json_t *counters = json_object_get(stats, "counters");

	if (!counters)
		printf("  the device has no counters for us (stock KVM)\n");
	print_counters(counters, json_object_get(before, "counters"), seconds,
		       json_object_get(stats, "vcpus"));
}

static void print(const struct config *config, json_t *stats, const json_t *before)
{
	double seconds = client_real(stats, "uptime") - client_real(before, "uptime");

	if (config->json) {
		client_print_json(stats);
	} else {
		if (config->watch && isatty(STDOUT_FILENO))
			printf("\033[H\033[J");
		print_head(stats);
		print_guest(stats, before, seconds);
	}
	fflush(stdout);
}

/* Until the guest ends, which is no failure, or nobody reads any more. */
static int watch(struct client *client, const struct config *config, json_t *stats)
{
	json_t *before = NULL;

	while (stats) {
		print(config, stats, before);
		json_decref(before);
		before = stats;
		stats = NULL;
		if (ferror(stdout) || client_wait_end(client, (int64_t)config->interval * 1000))
			break;
		stats = client_ask(client, "stats");
	}
	json_decref(before);
	return client->gone || ferror(stdout) ? STATUS_OFF : VERB_NOT_DONE;
}

static int once(const struct config *config, json_t *stats)
{
	if (!stats)
		return VERB_NOT_DONE;
	print(config, stats, NULL);
	json_decref(stats);
	return STATUS_OFF;
}

int cmd_stats(int argc, char **argv)
{
	struct config config = { 0 };
	const char *name = client_parse(options, &config, argc, argv);
	struct client client;
	json_t *stats;
	int status;

	if (!name)
		return -1;
	if (config.interval && !config.watch)
		return error_set("--interval: only --watch looks more than once; add it");
	if (!config.interval)
		config.interval = 1;
	if (client_open(&client, name))
		return -1;
	stats = client_ask(&client, "stats");
	status = config.watch ? watch(&client, &config, stats) : once(&config, stats);
	client_close(&client);
	return status;
}
