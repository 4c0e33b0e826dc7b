// SPDX-License-Identifier: GPL-2.0-only
#include "storage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "signals.h"

#define DAEMON "qemu-storage-daemon"
#define REMEDY "or make it raw with `qemu-img convert -O raw`"

/*
 * Any regular file that is always there will do, since only the helper's
 * namespace sees what is mounted on it.
 */
#define MOUNT_POINT "/proc/version"

/* What the helper says: a sentence, or with a descriptor none. */
struct reply {
	char sentence[600];
};

struct helper {
	const struct storage_request *request;
	int launcher;		/* our end of the socket */
	int mounts;		/* polled for a change */
	int said;		/* the daemon's stderr */
	pid_t daemon;
	dev_t before;		/* of MOUNT_POINT */
	char *blockdev, *export;
	char line[512];		/* the first of what it said */
	size_t len;
};

/* ---- a namespace of its own ---- */

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

/* Root there is who we are here: that is how a new program keeps the right to mount. */
static int become_root_inside(uid_t uid, gid_t gid)
{
	char text[64];

	/* Kernels before 3.19 have no such file, and need none. */
	if (write_text("/proc/self/setgroups", "deny") && errno != ENOENT)
		return -1;
	snprintf(text, sizeof(text), "0 %u 1", uid);
	if (write_text("/proc/self/uid_map", text))
		return -1;
	snprintf(text, sizeof(text), "0 %u 1", gid);
	return write_text("/proc/self/gid_map", text);
}

static int own_namespace(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWNS)) {
		if (errno != EPERM || unshare(CLONE_NEWUSER | CLONE_NEWNS) ||
		    become_root_inside(uid, gid))
			return -1;
	}
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int prepare(struct helper *helper)
{
	const char *path = helper->request->path;
	struct stat st;
	int fuse;

	if (own_namespace())
		return error_set("--disk %s: no namespace for its " DAEMON ": %s; run as root, allow user namespaces (sysctl kernel.unprivileged_userns_clone), " REMEDY,
				 path, strerror(errno));
	fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse < 0)
		return error_set("--disk %s: /dev/fuse: %s; load the module fuse, " REMEDY, path,
				 strerror(errno));
	close(fuse);
	helper->mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (helper->mounts < 0 || stat(MOUNT_POINT, &st))
		return error_set("--disk %s: /proc: %s; mount it, " REMEDY, path, strerror(errno));
	helper->before = st.st_dev;
	return 0;
}

/* ---- the daemon ---- */

/* Two commas for one; NULL for no memory. */
static char *escape(const char *path)
{
	char *text = malloc(2 * strlen(path) + 1), *to = text;

	while (text && *path) {
		if (*path == ',')
			*to++ = ',';
		*to++ = *path++;
	}
	if (text)
		*to = '\0';
	return text;
}

static int write_options(struct helper *helper)
{
	const struct storage_request *request = helper->request;
	char *path = escape(request->path);
	int n = -1, m;

	if (path)
		n = asprintf(&helper->blockdev,
			     "driver=%s,node-name=disk,read-only=%s,discard=unmap,cache.direct=%s,file.driver=%s,file.filename=%s",
			     request->driver, request->read_only ? "on" : "off",
			     request->direct ? "on" : "off",
			     request->device ? "host_device" : "file", path);
	m = asprintf(&helper->export,
		     "type=fuse,id=disk,node-name=disk,mountpoint=" MOUNT_POINT ",writable=%s,growable=off,allow-other=off",
		     request->read_only ? "off" : "on");
	free(path);
	return n < 0 || m < 0 ? error_set("out of memory; free some") : 0;
}

/* Does not return. Its end by SIGTERM is an orderly one. */
static void run_daemon(const struct helper *helper, pid_t parent, int said)
{
	char *const argv[] = { (char *)DAEMON, (char *)"--blockdev", helper->blockdev,
			       (char *)"--export", helper->export, NULL };

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() == parent && dup2(said, STDERR_FILENO) >= 0)
		execvp(DAEMON, argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static int start_daemon(struct helper *helper)
{
	pid_t self = getpid();
	int ends[2];

	if (write_options(helper))
		return -1;
	if (pipe2(ends, O_CLOEXEC))
		return error_set("--disk %s: no pipe: %s; free file descriptors (ulimit -n)",
				 helper->request->path, strerror(errno));
	helper->daemon = fork();
	if (!helper->daemon)
		run_daemon(helper, self, ends[1]);
	close(ends[1]);
	helper->said = ends[0];
	if (helper->daemon > 0)
		return 0;
	return error_set("--disk %s: no process for its " DAEMON ": %s; end others",
			 helper->request->path, strerror(errno));
}

/* Keeps the first line and throws the rest away. False at the end, which is the daemon's. */
static bool listen_to(struct helper *helper)
{
	char bytes[512];
	ssize_t n = read(helper->said, bytes, sizeof(bytes));

	for (ssize_t i = 0; i < n && helper->len < sizeof(helper->line) - 1; i++)
		helper->line[helper->len++] = bytes[i];
	helper->line[helper->len] = '\0';
	return n > 0 || (n < 0 && errno == EINTR);
}

/* What it said without what it repeats: its name, and the option it means. */
static const char *complaint(struct helper *helper)
{
	const char *const repeated[] = { DAEMON ": ", "--blockdev ", helper->blockdev,
					 "--export ", helper->export, ": " };
	const char *text = helper->line;

	helper->line[strcspn(helper->line, "\n")] = '\0';
	for (unsigned int i = 0; i < sizeof(repeated) / sizeof(*repeated); i++)
		if (!strncmp(text, repeated[i], strlen(repeated[i])))
			text += strlen(repeated[i]);
	return *text ? text : "it does not say why";
}

static int explain_end(struct helper *helper, int status)
{
	const char *path = helper->request->path;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return error_set("--disk %s: a %s image needs " DAEMON "; install it (Debian: apt install qemu-system-common), " REMEDY,
				 path, helper->request->driver);
	if (strstr(complaint(helper), "Failed to get "))
		return error_set("--disk %s: in use by another program; end that first, a disk that is written has one user",
				 path);
	return error_set("--disk %s: " DAEMON " does not take it: %s; see `qemu-img check`", path,
			 complaint(helper));
}

/* ---- the helper ---- */

static bool is_mounted(const struct helper *helper)
{
	struct stat st;

	return !stat(MOUNT_POINT, &st) && st.st_dev != helper->before;
}

static int daemon_ended(struct helper *helper)
{
	int status = 0;

	while (waitpid(helper->daemon, &status, 0) < 0 && errno == EINTR)
		continue;
	helper->daemon = 0;
	return status;
}

static void end_daemon(struct helper *helper, int number)
{
	if (helper->daemon <= 0)
		return;
	kill(helper->daemon, number);
	/* It may not get stuck in what it has to say. */
	while (listen_to(helper))
		continue;
	daemon_ended(helper);
}

/* Until the mount is there. -1 with a sentence. */
static int wait_for_mount(struct helper *helper)
{
	struct pollfd fds[] = { { .fd = helper->said, .events = POLLIN },
				{ .fd = helper->launcher },
				{ .fd = helper->mounts, .events = POLLPRI } };

	while (!is_mounted(helper)) {
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[1].revents)
			return error_set("the launcher has ended; run it again");
		if (fds[0].revents && !listen_to(helper))
			return explain_end(helper, daemon_ended(helper));
	}
	return 0;
}

static int open_export(const struct helper *helper)
{
	const struct storage_request *request = helper->request;
	int fd = open(MOUNT_POINT, (request->read_only ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		error_set("--disk %s: what " DAEMON " made of it: %s; see `qemu-img check`",
			  request->path, strerror(errno));
	return fd;
}

/* @fd: -1 with the latest sentence. */
static int answer(const struct helper *helper, int fd)
{
	struct reply reply = { "" };
	struct iovec part = { &reply, sizeof(reply) };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd < 0) {
		snprintf(reply.sentence, sizeof(reply.sentence), "%s", error_text());
	} else {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
		control.align = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	return sendmsg(helper->launcher, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int serve(struct helper *helper)
{
	int fd = -1, ret;

	if (!prepare(helper) && !start_daemon(helper) && !wait_for_mount(helper))
		fd = open_export(helper);
	ret = answer(helper, fd);
	if (fd < 0)
		return -1;
	/* The launcher's is the only one, so that its end is the file's. */
	close(fd);
	close(helper->mounts);
	return ret;
}

/* Until the launcher goes, or the daemon does, which it should not. */
static void stay(struct helper *helper)
{
	struct pollfd fds[] = { { .fd = helper->launcher }, { .fd = helper->said, .events = POLLIN } };
	int status;

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			return;
		if (!fds[1].revents || listen_to(helper))
			continue;
		status = daemon_ended(helper);
		fprintf(stderr, "kiln: --disk %s: its " DAEMON " has ended (%s %d); the guest gets I/O errors from now on, end it\n",
			helper->request->path, WIFEXITED(status) ? "exit status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		fds[1].fd = -1;
	}
}

/* Keeps nothing that the launcher has open but stderr, and gets none of the terminal's signals. */
static int leave_launcher(int socket)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_NAME, "kiln-disk");
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(socket, STDERR_FILENO + 1) < 0 ||
	    fcntl(STDERR_FILENO + 1, F_SETFD, FD_CLOEXEC))
		_exit(EXIT_FAILURE);
	closefrom(STDERR_FILENO + 2);
	setsid();
	signals_unblock();
	return STDERR_FILENO + 1;
}

/* Does not return. */
static void help(const struct storage_request *request, int socket)
{
	struct helper helper = { .request = request, .launcher = leave_launcher(socket),
				 .mounts = -1, .said = -1 };

	if (serve(&helper)) {
		/* Nobody has written anything yet. */
		end_daemon(&helper, SIGKILL);
		_exit(EXIT_FAILURE);
	}
	stay(&helper);
	end_daemon(&helper, SIGTERM);
	_exit(EXIT_SUCCESS);
}

/* ---- the launcher's side ---- */

/* The descriptor that came; -1 with the helper's sentence. */
static int receive(const struct storage *storage, const char *path)
{
	struct reply reply = { "" };
	struct iovec part = { &reply, sizeof(reply) };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control.space) };
	struct cmsghdr *first;
	ssize_t n;
	int fd;

	do {
		n = recvmsg(storage->socket, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	first = CMSG_FIRSTHDR(&message);
	if (n != sizeof(reply))
		return error_set("--disk %s: its helper process has ended; try again, " REMEDY, path);
	reply.sentence[sizeof(reply.sentence) - 1] = '\0';
	if (*reply.sentence)
		return error_set("%s", reply.sentence);
	if (!first || first->cmsg_type != SCM_RIGHTS)
		return error_set("--disk %s: too many open files; raise ulimit -n", path);
	memcpy(&fd, CMSG_DATA(first), sizeof(fd));
	return fd;
}

int storage_start(struct storage *storage, const struct storage_request *request)
{
	int ends[2], fd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return error_set("--disk %s: no socket: %s; free file descriptors (ulimit -n)",
				 request->path, strerror(errno));
	fflush(NULL);
	storage->pid = fork();
	if (!storage->pid)
		help(request, ends[1]);
	close(ends[1]);
	storage->socket = ends[0];
	if (storage->pid < 0) {
		storage->pid = 0;
		close(ends[0]);
		return error_set("--disk %s: no process for its " DAEMON ": %s; end others",
				 request->path, strerror(errno));
	}
	fd = receive(storage, request->path);
	if (fd < 0)
		storage_stop(storage);
	return fd;
}

void storage_stop(struct storage *storage)
{
	if (!storage->pid)
		return;
	close(storage->socket);
	while (waitpid(storage->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	storage->pid = 0;
}
