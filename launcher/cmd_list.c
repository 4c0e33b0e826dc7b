// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "client.h"
#include "cmd.h"
#include "error.h"
#include "opts.h"
#include "runtime.h"
#include "status.h"

struct config {
	bool json;
};

static int set_json(void *config, const char *value)
{
	(void)value;
	((struct config *)config)->json = true;
	return 0;
}

static const struct opt options[] = {
	{ "json", NULL, "one line of JSON for each guest, as `kiln info --json` prints it",
	  set_json },
	{ NULL, NULL, NULL, NULL },
};

void cmd_list_help(FILE *out)
{
	fprintf(out, "Usage: kiln list [OPTION...]\n\n"
		     "Lists the guests of this user that run, and clears away what killed ones left.\n\n");
	opts_print(options, out);
	fprintf(out, "\nExit status: %d, or %d for bad input.\n", STATUS_OFF, STATUS_USAGE);
}

static void print_row(const struct client *client, const json_t *info)
{
	char memory[CLIENT_SIZE] = "-", uptime[CLIENT_SIZE] = "-";

	if (info) {
		client_size(memory, client_number(info, "memory"));
		client_duration(uptime, client_real(info, "uptime"));
	}
	printf("%-20s %-14s %8d %5lld %8s %12s  %s\n", client->name,
	       info ? client_text(info, "state") : "not answering", client->pid,
	       (long long)client_number(info, "cpus"), memory, uptime, client_text(info, "device"));
}

static void print_json(const struct client *client, json_t *info)
{
	if (!info)
		info = json_pack("{s:s, s:s, s:i}", "name", client->name, "state",
				 "not answering", "pid", client->pid);
	else
		json_incref(info);
	client_print_json(info);
	json_decref(info);
}

/* One that ends while it is asked is left out. */
static void print_guest(const struct config *config, const char *name)
{
	struct client client;
	json_t *info;

	if (client_open(&client, name))
		return;
	info = client_ask(&client, "info");
	if (!client.gone && config->json)
		print_json(&client, info);
	else if (!client.gone)
		print_row(&client, info);
	json_decref(info);
	client_close(&client);
}

int cmd_list(int argc, char **argv)
{
	struct config config = { 0 };
	struct runtime runtime;
	char **names;

	if (opts_parse(options, &config, argc, argv) || runtime_open(&runtime, false))
		return -1;
	names = runtime_names(&runtime);
	runtime_close(&runtime);
	if (!names)
		return -1;
	if (!config.json)
		printf("%-20s %-14s %8s %5s %8s %12s  %s\n", "NAME", "STATE", "PID", "CPUS",
		       "MEMORY", "UP", "DEVICE");
	for (char **name = names; *name; name++)
		print_guest(&config, *name);
	runtime_free_names(names);
	return STATUS_OFF;
}
