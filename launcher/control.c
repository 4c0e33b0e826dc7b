// SPDX-License-Identifier: GPL-2.0-only
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"
#include "say.h"

/* How long the last lines may take to get out, all together. */
#define FAREWELL_MS	200

/* ---- clients ---- */

static void drop(struct control_client *client)
{
	struct control *control = client->control;

	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++)
		if (control->clients[i] == client)
			control->clients[i] = NULL;
	if (control->rebooter == client)
		control->rebooter = NULL;
	close(client->source.fd);	/* epoll forgets it */
	free(client->reply);
	free(client);
}

static void want(struct control_client *client, uint32_t events)
{
	if (client->events == events)
		return;
	client->events = events;
	loop_modify(client->control->loop, &client->source, events);
}

/* Sends what there is. False where the client is gone, and its memory too. */
static bool push(struct control_client *client)
{
	while (client->reply && client->sent < client->reply_len) {
		ssize_t n = send(client->source.fd, client->reply + client->sent,
				 client->reply_len - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			drop(client);
			return false;
		}
		client->sent += (size_t)n;
	}
	free(client->reply);
	client->reply = NULL;
	if (client->ends) {
		drop(client);
		return false;
	}
	return true;
}

/* Makes @object, whose reference it takes, the reply under way. */
static void set_reply(struct control_client *client, json_t *object)
{
	char *text = object ? json_dumps(object, CONTROL_JSON) : NULL;
	size_t len = text ? strlen(text) : 0;
	char *line = text ? realloc(text, len + 1) : NULL;

	json_decref(object);
	if (!line) {
		free(text);
		client->ends = true;	/* out of memory: it learns that from the end */
		return;
	}
	line[len] = '\n';
	client->reply = line;
	client->reply_len = len + 1;
	client->sent = 0;
}

/* NULL: the latest sentence is why not. */
static void answer(struct control_client *client, json_t *object)
{
	if (object)
		json_object_set_new(object, "ok", json_true());
	else
		object = json_pack("{s:b, s:o}", "ok", 0, "error", control_text(error_text()));
	set_reply(client, object);
}

/* The next whole line, cut off; false where there is none. */
static bool take_line(struct control_client *client, char *line)
{
	char *end = memchr(client->line, '\n', client->count);
	size_t len;

	if (!end)
		return false;
	len = (size_t)(end - client->line);
	memcpy(line, client->line, len);
	line[len] = '\0';
	client->count -= len + 1;
	memmove(client->line, end + 1, client->count);
	return true;
}

/* Answers what is there; false where the client is gone. */
static bool serve(struct control_client *client)
{
	char line[CONTROL_LINE];
	json_t *reply;

	while (!client->reply && !client->waits && take_line(client, line)) {
		reply = control_do(client->control, client, line);
		if (!client->waits)
			answer(client, reply);
		if (!push(client))
			return false;
	}
	if (!client->reply && !client->waits && client->count == sizeof(client->line)) {
		error_set("a line has at most %d bytes; send a shorter one", CONTROL_LINE);
		client->ends = true;
		answer(client, NULL);
		if (!push(client))
			return false;
	}
	want(client, client->reply ? EPOLLOUT : client->waits ? 0 : EPOLLIN);
	return true;
}

static bool read_more(struct control_client *client)
{
	ssize_t n = read(client->source.fd, client->line + client->count,
			 sizeof(client->line) - client->count);

	if (n > 0)
		client->count += (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void client_ready(struct loop_source *source, uint32_t events)
{
	struct control_client *client = container_of(source, struct control_client, source);

	if (events & EPOLLOUT && !push(client))
		return;
	if (events & EPOLLIN && !read_more(client)) {
		drop(client);
		return;
	}
	/* Gone while it is not asked to send anything. */
	if (!(events & (EPOLLIN | EPOLLOUT)) && events & (EPOLLHUP | EPOLLERR)) {
		drop(client);
		return;
	}
	serve(client);
}

/* ---- the listener ---- */

static struct control_client *add_client(struct control *control, int fd)
{
	struct control_client *client = NULL;

	for (unsigned int i = 0; i < CONTROL_CLIENTS && !client; i++) {
		if (control->clients[i])
			continue;
		client = calloc(1, sizeof(*client));
		if (!client)
			return NULL;
		client->control = control;
		client->source = (struct loop_source){ fd, client_ready };
		client->events = EPOLLIN;
		if (loop_add(control->loop, &client->source, EPOLLIN)) {
			free(client);
			return NULL;
		}
		control->clients[i] = client;
	}
	return client;
}

/* Without a descriptor for it, a client would wait at the listener and keep the loop awake. */
static void turn_away(struct control *control)
{
	int fd;

	if (control->spare < 0)
		return;
	close(control->spare);
	fd = accept4(control->listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	control->spare = fcntl(control->listener.fd, F_DUPFD_CLOEXEC, 3);
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
	static const char full[] = "{\"ok\":false,\"error\":\"too many connections; close some\"}\n";
	struct control *control = container_of(source, struct control, listener);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			turn_away(control);
		return;
	}
	if (add_client(control, fd))
		return;
	send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void stands_ready(struct loop_source *source, uint32_t events)
{
	struct control *control = container_of(source, struct control, stands);
	json_t *reply;

	(void)events;
	loop_consume(source->fd);
	if (control->state != CONTROL_SUSPENDING)
		return;
	reply = control_suspended(control);
	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *client = control->clients[i];

		if (!client || !client->waits)
			continue;
		client->waits = false;
		answer(client, reply ? json_copy(reply) : NULL);
		if (push(client))
			serve(client);
	}
	json_decref(reply);
}

/* ---- life ---- */

void control_init(struct control *control)
{
	memset(control, 0, sizeof(*control));
	runtime_init(&control->runtime);
	control->listener = (struct loop_source){ -1, listener_ready };
	control->stands = (struct loop_source){ -1, stands_ready };
	control->spare = control->memory = -1;
}

int control_open(struct control *control, const char *name)
{
	if (name && runtime_check_name(name))
		return -1;
	if (name)
		strcpy(control->name, name);
	if (!runtime_open(&control->runtime, true))
		control->listener.fd = runtime_listen(&control->runtime, control->name);
	if (control->listener.fd >= 0) {
		say("name %s, control socket %s/%s", control->name, control->runtime.path,
		    control->name);
		return 0;
	}
	*control->name = '\0';
	if (name)
		return -1;
	say("no control socket: %s", error_text());
	return 0;
}

int control_make_gate(struct control *control, struct loop *loop, unsigned int vcpus)
{
	control->loop = loop;
	control->stands.fd = loop_eventfd();
	if (control->stands.fd < 0)
		return -1;
	gate_init(&control->gate, vcpus, control->stands.fd);
	return loop_add(loop, &control->stands, EPOLLIN);
}

int control_start(struct control *control, const struct guest *guest)
{
	/* Where it cannot be opened, stats come without the memory's size. */
	control->memory = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	control->guest = *guest;
	control->started = clock_monotonic();
	if (control->listener.fd < 0)
		return 0;
	/* It reads random numbers from a file, which may be out of reach later. */
	json_object_seed(0);
	control->facts = control_facts(control);
	control->spare = fcntl(control->listener.fd, F_DUPFD_CLOEXEC, 3);
	if (!control->facts)
		return -1;
	return loop_add(control->loop, &control->listener, EPOLLIN);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void control_stop(struct control *control)
{
	if (control->listener.fd >= 0)
		runtime_forget(&control->runtime, control->name);
	close_fd(&control->listener.fd);
	runtime_close(&control->runtime);
}

/* What is under way, then @text, within the time there is. */
static void farewell(struct control_client *client, const char *text, int64_t until)
{
	struct pollfd poll_fd = { .fd = client->source.fd, .events = POLLOUT };
	int64_t left;

	client->ends = false;
	while (push(client)) {
		if (!client->reply) {
			send(client->source.fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
			drop(client);
			return;
		}
		left = (until - clock_monotonic()) / 1000000;
		if (left <= 0 || poll(&poll_fd, 1, (int)left) <= 0) {
			drop(client);
			return;
		}
	}
}

static char *last_line(const struct ending *ending, bool again)
{
	json_t *event = json_pack("{s:s, s:i, s:o, s:b}", "event", "ended", "status",
				  ending ? ending->status : -1, "why",
				  control_text(ending ? ending->sentence : ""), "again", again);
	char *text = event ? json_dumps(event, CONTROL_JSON) : NULL, *line = NULL;

	json_decref(event);
	if (text) {
		line = malloc(strlen(text) + 2);
		if (line)
			strcat(strcpy(line, text), "\n");
		free(text);
	}
	return line;
}

void control_close(struct control *control, const struct ending *ending)
{
	int64_t until = clock_monotonic() + FAREWELL_MS * 1000000LL;
	char *line = last_line(ending, control->again);

	control_stop(control);
	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++)
		if (control->clients[i])
			farewell(control->clients[i], line ? line : "", until);
	free(line);
	close_fd(&control->stands.fd);
	close_fd(&control->spare);
	close_fd(&control->memory);
	json_decref(control->facts);
	control->facts = NULL;
	free(control->counters);
	control->counters = NULL;
}
