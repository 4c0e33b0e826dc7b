// SPDX-License-Identifier: GPL-2.0-only
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"
#include "opts.h"
#include "runtime.h"
#include "util.h"

/* More than any answer: what sends that is no launcher. */
#define ANSWER_MAX (1024 * 1024)

/* ---- connection ---- */

int client_open(struct client *client, const char *name)
{
	struct runtime runtime;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	memset(client, 0, sizeof(*client));
	client->name = name;
	client->fd = client->status = -1;
	if (runtime_open(&runtime, false))
		return -1;
	client->fd = runtime_connect(&runtime, name);
	runtime_close(&runtime);
	if (client->fd < 0)
		return -1;
	if (!getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		client->pid = peer.pid;
	return 0;
}

void client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	free(client->buffer);
	client->buffer = NULL;
	free(client->why);
	client->why = NULL;
}

static int send_line(struct client *client, const char *line)
{
	char text[256];
	int len = snprintf(text, sizeof(text), "%s\n", line);

	/* It was just connected or just answered: there is room. */
	if (send(client->fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len)
		return 0;
	client->gone = errno == EPIPE || errno == ECONNRESET;
	if (client->gone)
		return error_set("%s has ended", client->name);
	return error_set("%s: cannot be asked: %s; try again", client->name, strerror(errno));
}

static int make_room(struct client *client)
{
	char *more;

	if (client->used < client->size)
		return 0;
	more = client->size < ANSWER_MAX ? realloc(client->buffer, client->size + 4096) : NULL;
	if (!more)
		return error_set("%s: its answer is too long; is it a kiln?", client->name);
	client->buffer = more;
	client->size += 4096;
	return 0;
}

/* One read. -1 with a sentence, @gone set at the end. */
static int read_some(struct client *client)
{
	ssize_t n;

	if (make_room(client))
		return -1;
	n = read(client->fd, client->buffer + client->used, client->size - client->used);
	if (n > 0) {
		client->used += (size_t)n;
		return 0;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	client->gone = true;
	return error_set("%s has ended", client->name);
}

/* The next object that came; NULL: no whole line yet. */
static json_t *take_object(struct client *client)
{
	char *end = client->used ? memchr(client->buffer, '\n', client->used) : NULL;
	json_t *object;
	size_t len;

	if (!end)
		return NULL;
	len = (size_t)(end - client->buffer);
	object = json_loadb(client->buffer, len, 0, NULL);
	client->used -= len + 1;
	memmove(client->buffer, end + 1, client->used);
	return object ? object : json_object();
}

/* Waits for the next line. NULL with a sentence. */
static json_t *next_object(struct client *client, int64_t until)
{
	struct pollfd poll_fd = { .fd = client->fd, .events = POLLIN };
	json_t *object;

	while (!(object = take_object(client))) {
		int64_t left = until - clock_monotonic();

		if (left <= 0) {
			error_set("%s: its launcher (pid %d) does not answer; if it is stopped `kill -CONT %d` lets it go on, `kill -KILL %d` ends it",
				  client->name, client->pid, client->pid, client->pid);
			return NULL;
		}
		poll(&poll_fd, 1, (int)(left / 1000000) + 1);
		if (poll_fd.revents && read_some(client))
			return NULL;
	}
	return object;
}

/* True where @object says that the guest ended. */
static bool note_end(struct client *client, const json_t *object)
{
	if (strcmp(client_text(object, "event"), "ended"))
		return false;
	client->gone = true;
	client->status = (int)client_number(object, "status");
	client->again = json_is_true(json_object_get(object, "again"));
	free(client->why);
	client->why = strdup(client_text(object, "why"));
	error_set("%s has ended: %s", client->name, client_end_text(client));
	return true;
}

json_t *client_ask(struct client *client, const char *line)
{
	int64_t until = clock_monotonic() + CLIENT_ANSWER_MS * 1000000LL;
	json_t *object = NULL;

	if (send_line(client, line))
		return NULL;
	while (!client->gone && (object = next_object(client, until))) {
		if (json_object_get(object, "ok"))
			break;
		note_end(client, object);
		json_decref(object);
		object = NULL;
	}
	if (!object || json_is_true(json_object_get(object, "ok")))
		return object;
	error_set("%s", client_text(object, "error"));
	json_decref(object);
	return NULL;
}

bool client_wait_end(struct client *client, int64_t ms)
{
	int64_t until = clock_monotonic() + ms * 1000000LL;
	json_t *object;

	while (!client->gone && (object = next_object(client, until))) {
		note_end(client, object);
		json_decref(object);
	}
	/* What said goodbye is gone when its end of the connection is. */
	while (client->gone && client->status >= 0 && clock_monotonic() < until) {
		struct pollfd poll_fd = { .fd = client->fd, .events = POLLIN };

		poll(&poll_fd, 1, (int)ms);
		if (poll_fd.revents && read_some(client))
			break;
	}
	return client->gone;
}

const char *client_end_text(const struct client *client)
{
	static const struct {
		int status;
		const char *text;
	} rows[] = {
		{ 0, "it powered off" },
		{ 4, "it reset the machine" },
		{ 6, "it died; the cause is on its launcher's stderr" },
	};

	if (client->why && *client->why)
		return client->why;
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].status == client->status)
			return rows[i].text;
	return "it did not say how";
}

/* ---- answers ---- */

int64_t client_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

double client_real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

const char *client_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

void client_print_json(json_t *object)
{
	json_object_del(object, "ok");
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	printf("\n");
}

const char *client_size(char text[CLIENT_SIZE], int64_t bytes)
{
	static const char units[] = "KMGT";
	double value = (double)bytes / 1024;
	unsigned int unit = 0;

	for (; value >= 1024 && unit + 1 < sizeof(units) - 1; unit++)
		value /= 1024;
	snprintf(text, CLIENT_SIZE, value == (int64_t)value ? "%.0f%c" : "%.1f%c", value,
		 units[unit]);
	return text;
}

const char *client_duration(char text[CLIENT_SIZE], double seconds)
{
	unsigned long minutes = (unsigned long)(seconds / 60);

	if (seconds < 120)
		snprintf(text, CLIENT_SIZE, "%.1f s", seconds);
	else if (minutes < 120)
		snprintf(text, CLIENT_SIZE, "%lu min", minutes);
	else if (minutes < 2 * 24 * 60)
		snprintf(text, CLIENT_SIZE, "%lu h %lu min", minutes / 60, minutes % 60);
	else
		snprintf(text, CLIENT_SIZE, "%lu d %lu h", minutes / 1440, minutes / 60 % 24);
	return text;
}

const char *client_parse(const struct opt *options, void *config, int argc, char **argv)
{
	const char *name = NULL;

	if (opts_parse_operands(options, config, argc, argv, &name, 1))
		return NULL;
	if (!name)
		error_set("%s: the guest's name is missing; `kiln list` shows those that run",
			  argv[0]);
	return name;
}
