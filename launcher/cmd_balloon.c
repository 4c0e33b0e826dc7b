// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
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

#define WAIT_SECONDS	10
#define LOOK_NS		100000000

struct config {
	uint64_t timeout;
	bool hint;
	bool json;
};

static int set_timeout(void *config, const char *value)
{
	return parse_number("--timeout", value, 0, 86400, &((struct config *)config)->timeout);
}

static int set_hint(void *config, const char *value)
{
	(void)value;
	((struct config *)config)->hint = true;
	return 0;
}

static int set_json(void *config, const char *value)
{
	(void)value;
	((struct config *)config)->json = true;
	return 0;
}

static const struct opt options[] = {
	{ "hint", NULL, "have the guest name its free memory once; what of it is empty goes back", set_hint },
	{ "timeout", "SECONDS", "how long the guest may make no progress (default 10); 0: do not wait",
	  set_timeout },
	{ "json", NULL, "one line of JSON (Documentation/control.rst)", set_json },
	{ NULL, NULL, NULL, NULL },
};

void cmd_balloon_help(FILE *out)
{
	fprintf(out, "Usage: kiln balloon NAME [SIZE | --hint] [OPTION...]\n\n"
		     "Asks a guest started with --balloon to make do with SIZE of its memory, like 256M,\n"
		     "and waits until it does. With --hint it keeps its memory, but what is free and holds\n"
		     "nothing goes back to the host. Without either says how much it has.\n\n");
	opts_print(options, out);
	fprintf(out, "\nExit status: %d; %d for bad input or a guest that is not there, %d where it has\n"
		     "no balloon or the guest did not do it.\n", STATUS_OFF, STATUS_USAGE, STATUS_NOT_DONE);
}

static void print(const struct client *client, json_t *balloon, const struct config *config)
{
	char now[CLIENT_SIZE], memory[CLIENT_SIZE], reported[CLIENT_SIZE];

	if (config->json) {
		client_print_json(balloon);
		return;
	}
	printf("%s has %s of %s; %s of it reported free so far\n", client->name,
	       client_size(now, client_number(balloon, "now")),
	       client_size(memory, client_number(balloon, "memory")),
	       client_size(reported, client_number(balloon, "reported")));
}

/* What is asked of a guest that stands still it hears when it goes on. */
static bool is_suspended(const json_t *balloon)
{
	return !strcmp(client_text(balloon, "state"), "suspended");
}

static int explain(const struct client *client, const json_t *balloon)
{
	char now[CLIENT_SIZE], target[CLIENT_SIZE];

	if (!json_is_true(json_object_get(json_object_get(balloon, "device"), "at_work")))
		error_set("%s was asked, but has no balloon driver at work (virtio_balloon); load it in the guest",
			  client->name);
	else if (is_suspended(balloon))
		error_set("%s is suspended at %s and hears that it is asked for %s when it goes on; `kiln resume %s`",
			  client->name, client_size(now, client_number(balloon, "now")),
			  client_size(target, client_number(balloon, "target")), client->name);
	else
		error_set("%s stays at %s, asked for %s: it has no more to give, or its driver is stuck; ask for less",
			  client->name, client_size(now, client_number(balloon, "now")),
			  client_size(target, client_number(balloon, "target")));
	return VERB_NOT_DONE;
}

/* ---- hints ---- */

static const json_t *hints_of(const json_t *balloon)
{
	return json_object_get(balloon, "hints");
}

static bool is_over(const json_t *balloon)
{
	const char *state = client_text(hints_of(balloon), "state");

	return strcmp(state, "asked") && strcmp(state, "begun");
}

static int hints_end(const struct client *client, json_t *balloon, const struct config *config)
{
	const json_t *hints = hints_of(balloon);
	char hinted[CLIENT_SIZE], returned[CLIENT_SIZE];

	if (config->json) {
		client_print_json(balloon);
		return STATUS_OFF;
	}
	printf("%s named %s as free; %s of it held nothing and went back%s\n", client->name,
	       client_size(hinted, client_number(hints, "hinted")),
	       client_size(returned, client_number(hints, "returned")),
	       is_over(balloon) ? "" : " so far");
	return STATUS_OFF;
}

/* The guest is to have its memory back, whoever waits no more. */
static int hints_give_up(struct client *client)
{
	json_t *balloon = client_ask(client, "balloon hint end");

	if (!balloon)
		return VERB_NOT_DONE;
	json_decref(balloon);
	error_set("%s was asked for its free memory and does not come to an end: its driver is stuck, or waits for a CPU; give it longer with --timeout",
		  client->name);
	return VERB_NOT_DONE;
}

static int ask_for_hints(struct client *client, const struct config *config)
{
	static const struct timespec look = { .tv_nsec = LOOK_NS };
	json_t *balloon = client_ask(client, "balloon hint");
	int64_t since = clock_monotonic(), hinted = 0;
	int status;

	while (balloon && config->timeout && !is_over(balloon)) {
		if (client_number(hints_of(balloon), "hinted") != hinted) {
			hinted = client_number(hints_of(balloon), "hinted");
			since = clock_monotonic();
		}
		if (clock_monotonic() - since > (int64_t)config->timeout * NS_PER_SECOND) {
			json_decref(balloon);
			return hints_give_up(client);
		}
		nanosleep(&look, NULL);
		json_decref(balloon);
		balloon = client_ask(client, "balloon");
	}
	if (!balloon)
		return VERB_NOT_DONE;
	status = hints_end(client, balloon, config);
	json_decref(balloon);
	return status;
}

/* ---- a size ---- */

static int64_t distance(const json_t *balloon)
{
	return llabs(client_number(balloon, "now") - client_number(balloon, "target"));
}

/*
 * Looks at the balloon until it is where it should be or comes no nearer; it
 * may go to and fro where the guest runs out of memory.
 */
static int wait_for(struct client *client, json_t *balloon, const struct config *config)
{
	static const struct timespec look = { .tv_nsec = LOOK_NS };
	int64_t nearest = INT64_MAX, since = 0;
	int status = STATUS_OFF;

	while (balloon && config->timeout && distance(balloon)) {
		if (distance(balloon) < nearest) {
			nearest = distance(balloon);
			since = clock_monotonic();
		}
		if (is_suspended(balloon) ||
		    clock_monotonic() - since > (int64_t)config->timeout * NS_PER_SECOND) {
			status = explain(client, balloon);
			break;
		}
		nanosleep(&look, NULL);
		json_decref(balloon);
		balloon = client_ask(client, "balloon");
	}
	if (!balloon)
		return VERB_NOT_DONE;
	if (status == STATUS_OFF)
		print(client, balloon, config);
	json_decref(balloon);
	return status;
}

static int check_size(struct client *client, uint64_t size)
{
	json_t *balloon = client_ask(client, "balloon");
	uint64_t memory = (uint64_t)client_number(balloon, "memory");
	char text[CLIENT_SIZE];

	if (!balloon)
		return VERB_NOT_DONE;
	json_decref(balloon);
	if (size <= memory)
		return 0;
	return error_set("SIZE: %s was started with %s; give that or less", client->name,
			 client_size(text, (int64_t)memory));
}

static int act(struct client *client, const char *size_text, const struct config *config)
{
	struct config once = *config;
	char line[64] = "balloon";
	uint64_t size;
	int status;

	if (config->hint)
		return ask_for_hints(client, config);
	if (!size_text) {
		once.timeout = 0;
		return wait_for(client, client_ask(client, line), &once);
	}
	if (parse_size("SIZE", size_text, &size))
		return -1;
	status = check_size(client, size);
	if (status)
		return status;
	snprintf(line, sizeof(line), "balloon %" PRIu64, size);
	return wait_for(client, client_ask(client, line), config);
}

int cmd_balloon(int argc, char **argv)
{
	struct config config = { .timeout = WAIT_SECONDS };
	const char *operands[2] = { NULL, NULL };
	struct client client;
	int status;

	if (opts_parse_operands(options, &config, argc, argv, operands, 2))
		return -1;
	if (!operands[0])
		return error_set("balloon: the guest's name is missing; `kiln list` shows those that run");
	if (operands[1] && config.hint)
		return error_set("balloon: SIZE and --hint are two requests; make one after the other");
	if (client_open(&client, operands[0]))
		return -1;
	status = act(&client, operands[1], &config);
	client_close(&client);
	return status;
}
