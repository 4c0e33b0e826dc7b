// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console of a running guest, on this terminal. The launcher says where it
 * is, and bytes go between there and here without it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client.h"
#include "cmd.h"
#include "console.h"
#include "error.h"
#include "opts.h"
#include "status.h"
#include "terminal.h"

#define CHUNK 4096

static const struct opt options[] = {
	{ NULL, NULL, NULL, NULL },
};

void cmd_console_help(FILE *out)
{
	fprintf(out, "Usage: kiln console NAME\n\n"
		     "Attaches this terminal to the console of a guest that was started with\n"
		     "--console pty or --console socket:PATH. Ctrl-] leaves; the guest runs on. With\n"
		     "nobody attached the latest 32 KiB of its output are kept.\n\n"
		     "Exit status: %d when left or when the guest ended; %d for bad input or a guest that\n"
		     "is not there, %d where its console cannot be attached.\n",
		STATUS_OFF, STATUS_USAGE, STATUS_NOT_DONE);
}

/* ---- getting there ---- */

static int open_pty(const char *name, const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return error_set("%s: its console %s: %s; be the user who started it", name, path,
				 strerror(errno));
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return fd;
	close(fd);
	return error_set("%s: somebody is attached to its console; leave there with Ctrl-] first",
			 name);
}

static int open_socket(const char *name, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd >= 0 && !connect(fd, (const struct sockaddr *)&address, sizeof(address)) &&
	    !fcntl(fd, F_SETFL, O_NONBLOCK))
		return fd;
	error_set("%s: its console %s: %s; be the user who started it", name, path,
		  strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static const struct {
	const char *kind;
	int (*open)(const char *name, const char *path);
} kinds[] = {
	{ "pty", open_pty },
	{ "socket", open_socket },
};

static int open_console(const char *name, const json_t *console)
{
	const char *kind = client_text(console, "kind");

	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].kind, kind))
			return kinds[i].open(name, client_text(console, "path"));
	return error_set("%s: its console is %s and cannot be attached; start it with --console pty or socket:PATH",
			 name, strcmp(kind, "stdio") ? kind : "its launcher's terminal");
}

/* ---- being there ---- */

static volatile sig_atomic_t signalled;

static void note_signal(int number)
{
	(void)number;
	signalled = 1;
}

static void catch_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = note_signal };

	for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

struct session {
	int fd;			/* the guest's console */
	bool terminal;		/* stdin is one: Ctrl-] leaves */
	bool input;		/* stdin has not ended */
	bool received;		/* anything came from the guest */
	bool left;		/* on purpose */
	char pending[CHUNK];	/* typed, not yet taken */
	size_t count;
};

static bool write_out(const char *bytes, size_t count)
{
	while (count) {
		ssize_t n = write(STDOUT_FILENO, bytes, count);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			bytes += n;
			count -= (size_t)n;
		}
	}
	return true;
}

/* False at the end of the console, or of those who read it here. */
static bool take_output(struct session *session)
{
	char bytes[CHUNK];
	ssize_t n = read(session->fd, bytes, sizeof(bytes));

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	session->received = true;
	return write_out(bytes, (size_t)n);
}

/* False where the user leaves. */
static bool take_input(struct session *session)
{
	ssize_t n = read(STDIN_FILENO, session->pending, sizeof(session->pending));
	const char *leave;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	session->input = n > 0;
	session->count = n > 0 ? (size_t)n : 0;
	leave = session->terminal && n > 0 ? memchr(session->pending, CONSOLE_LEAVE, (size_t)n) :
					     NULL;
	session->left = leave != NULL;
	return !leave && (session->input || !session->terminal);
}

static bool send_input(struct session *session)
{
	ssize_t n = write(session->fd, session->pending, session->count);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	session->count -= (size_t)n;
	memmove(session->pending, session->pending + n, session->count);
	return true;
}

static bool step(struct session *session)
{
	struct pollfd fds[] = {
		{ .fd = session->fd, .events = POLLIN | (session->count ? POLLOUT : 0) },
		{ .fd = session->input && !session->count ? STDIN_FILENO : -1, .events = POLLIN },
	};

	if (poll(fds, 2, -1) < 0)
		return errno == EINTR;
	if (fds[0].revents & POLLIN && !take_output(session))
		return false;
	if (fds[0].revents & (POLLHUP | POLLERR) && !(fds[0].revents & POLLIN))
		return false;
	if (fds[0].revents & POLLOUT && !send_input(session))
		return false;
	return !fds[1].revents || take_input(session);
}

static int attend(const char *name, int fd)
{
	struct session session = { .fd = fd, .terminal = terminal_is_ours(), .input = true };

	/* A terminal whose foreground is another's gives no input, only SIGTTIN. */
	session.input = session.terminal || !isatty(STDIN_FILENO);
	catch_signals();
	if (session.terminal) {
		fprintf(stderr, "kiln: attached to %s; Ctrl-] leaves\n", name);
		if (terminal_raw())
			return VERB_NOT_DONE;
	}
	while (!signalled && step(&session))
		continue;
	terminal_restore();
	if (session.terminal)
		fprintf(stderr, "\nkiln: %s %s\n", session.left ? "left" : "the console is gone:",
			name);
	return STATUS_OFF;
}

/* The launcher takes one at a time and hangs up on a second one at once. */
static bool turned_away(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&poll_fd, 1, 100) == 1 && !recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

int cmd_console(int argc, char **argv)
{
	const char *name = client_parse(options, NULL, argc, argv);
	struct client client;
	int fd, status;
	json_t *info;

	if (!name || client_open(&client, name))
		return -1;
	info = client_ask(&client, "info");
	client_close(&client);
	if (!info)
		return VERB_NOT_DONE;
	fd = open_console(name, json_object_get(info, "console"));
	json_decref(info);
	if (fd < 0)
		return VERB_NOT_DONE;
	if (turned_away(fd)) {
		error_set("%s: somebody is attached to its console; leave there with Ctrl-] first",
			  name);
		status = VERB_NOT_DONE;
	} else {
		status = attend(name, fd);
	}
	close(fd);
	return status;
}
