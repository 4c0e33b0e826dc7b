/* SPDX-License-Identifier: GPL-2.0-only */
/* The other end of a control socket (control.h): what the commands on running guests share. */
#ifndef KILN_CLIENT_H
#define KILN_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a launcher that is alive needs for an answer. */
#define CLIENT_ANSWER_MS 5000

struct client {
	int fd;
	const char *name;
	pid_t pid;		/* of the launcher, 0: unknown */
	char *buffer;		/* what came and is no whole line yet */
	size_t used, size;
	bool gone;		/* the guest has ended */
	int status;		/* then: its exit status, -1: it did not say */
	bool again;		/* then: it is started again */
	char *why;		/* then: its sentence, NULL or "" for none */
};

/* Connects to the guest called @name, which stays. -1 with a sentence. */
int client_open(struct client *client, const char *name);
void client_close(struct client *client);

/*
 * Sends @line, without its end, and waits for the answer. NULL with a sentence:
 * it was refused, there was no answer in time, or the guest ended (@gone).
 */
json_t *client_ask(struct client *client, const char *line);

/* Waits for the guest to end. True where it did within @ms. */
bool client_wait_end(struct client *client, int64_t ms);

/* How the guest ended, as half a sentence. */
const char *client_end_text(const struct client *client);

/* Of an answer; 0 or "" where it is not there. */
int64_t client_number(const json_t *object, const char *key);
double client_real(const json_t *object, const char *key);
const char *client_text(const json_t *object, const char *key);

/* Prints an answer as one line of JSON, without what only says that it is one. */
void client_print_json(json_t *object);

#define CLIENT_SIZE 32

/* @bytes for people: "512M", "1.5G". Returns @text. */
const char *client_size(char text[CLIENT_SIZE], int64_t bytes);

/* @seconds for people: "12.3 s", "2 h 5 min". Returns @text. */
const char *client_duration(char text[CLIENT_SIZE], double seconds);

/* The one operand of a command on a guest, its name. NULL with a sentence. */
struct opt;
const char *client_parse(const struct opt *options, void *config, int argc, char **argv);

#endif
