// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kinds of console, one row each. Each opens its descriptors; console.c
 * does the rest for all of them alike.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "console.h"
#include "error.h"
#include "terminal.h"
#include "util.h"

/*
 * O_NONBLOCK on descriptors 0 and 1 would reach whoever shares them, so a
 * terminal is opened anew. Where that fails (no /proc), and for pipes, writes
 * are small enough not to block after poll() (console.c).
 */
static int own_description(int fd, int flags)
{
	char path[32];
	int own = -1;

	if (isatty(fd)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int open_stdio(struct console *console, const char *path)
{
	(void)path;
	console->out.fd = own_description(STDOUT_FILENO, O_WRONLY);
	if (console->out.fd < 0)
		return error_set("--console stdio: stdout: %s; use --console null",
				 strerror(errno));
	console->attached = true;
	console->is_terminal = terminal_is_ours();
	/* A terminal whose foreground is not ours gives no input, only SIGTTIN. */
	if (console->is_terminal || !isatty(STDIN_FILENO))
		console->in.fd = own_description(STDIN_FILENO, O_RDONLY);
	return 0;
}

static int open_slave_once(int master)
{
	struct termios settings;
	const char *name = ptsname(master);
	int slave = name ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;

	if (slave < 0)
		return -1;
	if (!tcgetattr(slave, &settings)) {
		cfmakeraw(&settings);
		tcsetattr(slave, TCSANOW, &settings);
	}
	/* From now on the master says EPOLLHUP while nobody has the slave open. */
	close(slave);
	return 0;
}

static int open_pty(struct console *console, const char *path)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	(void)path;
	console->is_pty = true;
	console->in.fd = master;
	if (master < 0 || grantpt(master) || unlockpt(master) || open_slave_once(master))
		return error_set("--console pty: %s; mount devpts, or use --console file:PATH",
				 strerror(errno));
	console->out.fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
	if (console->out.fd < 0)
		return error_set("--console pty: %s; free file descriptors", strerror(errno));
	return 0;
}

/* A socket that nobody listens on is left over from a run that was killed. */
static void remove_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int probe;

	if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return;
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return;
	if (connect(probe, (const struct sockaddr *)address, sizeof(*address)) &&
	    errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(probe);
}

static int bind_private(int fd, const struct sockaddr_un *address)
{
	mode_t mask = umask(0077);
	int ret;

	remove_stale(address);
	ret = bind(fd, (const struct sockaddr *)address, sizeof(*address));
	umask(mask);
	return ret;
}

static int open_socket(struct console *console, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set("--console socket:%s: longer than %zu characters; shorten the path",
				 path, sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	console->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (console->listener.fd < 0)
		return error_set("--console socket:%s: %s; use another kind of console", path,
				 strerror(errno));
	if (bind_private(console->listener.fd, &address))
		return error_set("--console socket:%s: %s; name a path that is free and writable",
				 path, strerror(errno));
	strcpy(console->socket_path, path);
	if (listen(console->listener.fd, 1))
		return error_set("--console socket:%s: %s; name another path", path,
				 strerror(errno));
	return 0;
}

static int open_file(struct console *console, const char *path)
{
	int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	if (strlen(path) >= sizeof(console->file_path))
		return error_set("--console file:%s: the path is too long; shorten it", path);
	strcpy(console->file_path, path);
	console->out.fd = open(path, flags | O_CREAT | O_EXCL, 0666);
	console->file_created = console->out.fd >= 0;
	if (console->out.fd < 0 && errno == EEXIST)
		console->out.fd = open(path, flags);
	if (console->out.fd < 0)
		return error_set("--console file:%s: %s; name a file you can write", path,
				 strerror(errno));
	console->truncate = true;
	console->attached = true;
	return 0;
}

static int open_null(struct console *console, const char *path)
{
	/* Nobody attached, ever: the ring swallows all. */
	(void)console;
	(void)path;
	return 0;
}

static const struct kind {
	const char *name;	/* one that ends in ':' takes a path */
	int (*open)(struct console *console, const char *path);
} kinds[] = {
	{ "stdio", open_stdio },
	{ "pty", open_pty },
	{ "socket:", open_socket },
	{ "file:", open_file },
	{ "null", open_null },
};

static const struct kind *find_kind(const char *spec, const char **path)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t len = strlen(kinds[i].name);
		bool takes_path = kinds[i].name[len - 1] == ':';

		*path = spec + len;
		if (!strncmp(spec, kinds[i].name, len) && takes_path == (**path != '\0'))
			return &kinds[i];
	}
	return NULL;
}

bool console_spec_valid(const char *spec)
{
	const char *path;

	return find_kind(spec, &path) != NULL;
}

int console_open(struct console *console, const char *spec)
{
	const char *path;
	const struct kind *kind = find_kind(spec, &path);

	console_init(console);
	if (!kind)
		return error_set("--console %s: unknown; give stdio, pty, socket:PATH, file:PATH or null",
				 spec);
	if (kind->open(console, path)) {
		console_close(console);
		return -1;
	}
	return 0;
}
