// SPDX-License-Identifier: GPL-2.0-only
#include "runtime.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

#define BACKLOG		16
#define DEFAULT_NAMES	1000

/* ---- the directory ---- */

static bool is_directory(const char *path)
{
	struct stat st;

	return path && *path == '/' && !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int find_path(struct runtime *runtime)
{
	const char *user = getenv("XDG_RUNTIME_DIR"), *tmp = getenv("TMPDIR");
	char path[4096];

	if (!geteuid() && is_directory("/run"))
		snprintf(path, sizeof(path), "/run/kiln");
	else if (geteuid() && is_directory(user))
		snprintf(path, sizeof(path), "%s/kiln", user);
	else
		snprintf(path, sizeof(path), "%s/kiln-%u", is_directory(tmp) ? tmp : "/tmp",
			 geteuid());
	if (strlen(path) + 1 + RUNTIME_NAME_MAX >= sizeof(runtime->path))
		return error_set("%s: too long for sockets in it; set XDG_RUNTIME_DIR or TMPDIR to a directory with a shorter name",
				 path);
	memcpy(runtime->path, path, strlen(path) + 1);
	return 0;
}

int runtime_check_owner(int fd, const char *path, const char *instead)
{
	struct stat st;

	if (fstat(fd, &st))
		return error_set("%s: %s; remove it", path, strerror(errno));
	if (st.st_uid != geteuid())
		return error_set("%s: belongs to user %u; remove it, or %s", path, st.st_uid,
				 instead);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return error_set("%s: others may write it; `chmod 700` it", path);
	return 0;
}

void runtime_init(struct runtime *runtime)
{
	runtime->fd = -1;
	*runtime->path = '\0';
}

int runtime_open(struct runtime *runtime, bool make)
{
	runtime_init(runtime);
	if (find_path(runtime))
		return -1;
	do {	/* who takes it away as empty may come between */
		if (make && mkdir(runtime->path, 0700) && errno != EEXIST)
			return error_set("%s: cannot be made: %s; set XDG_RUNTIME_DIR or TMPDIR to a directory you can write",
					 runtime->path, strerror(errno));
		runtime->fd = open(runtime->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	} while (make && runtime->fd < 0 && errno == ENOENT);
	if (runtime->fd < 0 && errno == ENOENT)
		return 0;
	if (runtime->fd < 0)
		return error_set("%s: %s; remove it, or set XDG_RUNTIME_DIR to another directory",
				 runtime->path, strerror(errno));
	if (!runtime_check_owner(runtime->fd, runtime->path,
				 "set XDG_RUNTIME_DIR to a directory of yours"))
		return 0;
	close(runtime->fd);
	runtime->fd = -1;
	return -1;
}

void runtime_close(struct runtime *runtime)
{
	if (runtime->fd < 0)
		return;
	flock(runtime->fd, LOCK_EX);
	rmdir(runtime->path);
	close(runtime->fd);
	runtime->fd = -1;
}

/* ---- names ---- */

int runtime_check_name(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > RUNTIME_NAME_MAX)
		return error_set("%.80s: a guest's name has 1 to %d characters; choose another",
				 len ? name : "\"\"", RUNTIME_NAME_MAX);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && (!i || !strchr("._-", name[i])))
			return error_set("%s: no name for a guest; use letters, digits, and after the first . _ and -",
					 name);
	return 0;
}

static struct sockaddr_un address_of(const struct runtime *runtime, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	/* Both fit: find_path(), runtime_check_name(). */
	size_t len = strlen(runtime->path);

	memcpy(address.sun_path, runtime->path, len);
	address.sun_path[len] = '/';
	memcpy(address.sun_path + len + 1, name, strlen(name) + 1);
	return address;
}

/* A connection to @name; -1 with errno. */
static int try_connect(const struct runtime *runtime, const char *name)
{
	struct sockaddr_un address = address_of(runtime, name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -1;
	if (!connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

static bool is_socket(const struct runtime *runtime, const char *name)
{
	struct stat st;

	return !fstatat(runtime->fd, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISSOCK(st.st_mode);
}

/* Whether somebody listens; with the lock. Otherwise the socket, if there was one, is gone. */
static bool lives(const struct runtime *runtime, const char *name)
{
	int fd = try_connect(runtime, name);

	if (fd >= 0) {
		close(fd);
		return true;
	}
	/* connect() refuses files of any kind like this. */
	if (errno == ECONNREFUSED && is_socket(runtime, name))
		unlinkat(runtime->fd, name, 0);
	/* EAGAIN: so many wait already that there must be somebody. */
	return errno == EAGAIN || errno == EACCES;
}

static int bind_name(const struct runtime *runtime, int fd, const char *name)
{
	struct sockaddr_un address = address_of(runtime, name);
	mode_t mask = umask(0177);
	int ret = bind(fd, (const struct sockaddr *)&address, sizeof(address));

	umask(mask);
	return ret ? ret : listen(fd, BACKLOG);
}

static int choose_name(const struct runtime *runtime, char name[RUNTIME_NAME_MAX + 1])
{
	for (unsigned int i = 0; i < DEFAULT_NAMES; i++) {
		snprintf(name, RUNTIME_NAME_MAX + 1, "vm%u", i);
		if (!lives(runtime, name))
			return 0;
	}
	return error_set("--name: vm0 to vm%u are taken; give one", DEFAULT_NAMES - 1);
}

static int take_name(const struct runtime *runtime, char name[RUNTIME_NAME_MAX + 1])
{
	int fd;

	if (*name && lives(runtime, name))
		return error_set("--name %s: a guest of this name runs; choose another name, or end it with `kiln destroy %s`",
				 name, name);
	if (!*name && choose_name(runtime, name))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set("--name %s: no socket: %s; free file descriptors (ulimit -n)", name,
				 strerror(errno));
	if (!bind_name(runtime, fd, name))
		return fd;
	error_set("--name %s: %s/%s: %s; remove it, or choose another name", name, runtime->path,
		  name, strerror(errno));
	close(fd);
	return -1;
}

/* Locks the directory; makes it again where somebody just took it away, empty. */
static int lock(struct runtime *runtime)
{
	struct stat st;

	while (!flock(runtime->fd, LOCK_EX) && !fstat(runtime->fd, &st) && !st.st_nlink) {
		close(runtime->fd);
		if (runtime_open(runtime, true))
			return -1;
	}
	return 0;
}

int runtime_listen(struct runtime *runtime, char name[RUNTIME_NAME_MAX + 1])
{
	int fd;

	if (lock(runtime))
		return -1;
	fd = take_name(runtime, name);
	flock(runtime->fd, LOCK_UN);
	return fd;
}

void runtime_forget(struct runtime *runtime, const char *name)
{
	unlinkat(runtime->fd, name, 0);
}

/* ---- those there are ---- */

static bool is_guest(const struct runtime *runtime, const char *name)
{
	return !runtime_check_name(name) && is_socket(runtime, name) && lives(runtime, name);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **collect(const struct runtime *runtime, DIR *dir)
{
	char **names = calloc(1, sizeof(*names)), **more;
	struct dirent *entry;
	size_t count = 0;

	while (names && (entry = readdir(dir))) {
		if (!is_guest(runtime, entry->d_name))
			continue;
		more = realloc(names, (count + 2) * sizeof(*names));
		if (!more)
			break;
		names = more;
		names[count] = strdup(entry->d_name);
		count += names[count] != NULL;
		names[count] = NULL;
	}
	if (names)
		qsort(names, count, sizeof(*names), compare);
	else
		error_set("out of memory; free some");
	return names;
}

char **runtime_names(const struct runtime *runtime)
{
	int fd = runtime->fd < 0 ? -1 : openat(runtime->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char **names;

	if (runtime->fd < 0)
		return calloc(1, sizeof(*names));
	if (!dir) {
		error_set("%s: cannot be read: %s; check it", runtime->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	flock(runtime->fd, LOCK_EX);
	names = collect(runtime, dir);
	flock(runtime->fd, LOCK_UN);
	closedir(dir);
	return names;
}

void runtime_free_names(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

static int explain_absent(const struct runtime *runtime, const char *name)
{
	char **names = runtime_names(runtime), list[256] = "";
	size_t used = 0;

	for (char **one = names; one && *one && used < sizeof(list); one++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					 used ? ", " : "", *one);
	runtime_free_names(names);
	if (!used)
		return error_set("%s: no such guest; none of yours runs, `kiln run --name %s` starts one",
				 name, name);
	return error_set("%s: no such guest; there are: %s%s", name, list,
			 used >= sizeof(list) ? " ..." : "");
}

int runtime_connect(const struct runtime *runtime, const char *name)
{
	int fd, err;

	if (runtime_check_name(name))
		return -1;
	fd = runtime->fd < 0 ? -1 : try_connect(runtime, name);
	if (fd >= 0)
		return fd;
	err = errno;
	if (runtime->fd < 0 || err == ENOENT || err == ECONNREFUSED)
		return explain_absent(runtime, name);
	if (err == EAGAIN)
		return error_set("%s: its launcher does not answer and many wait for it; see whether it is stopped, or end it with SIGKILL",
				 name);
	return error_set("%s: %s/%s: %s; check its owner and mode", name, runtime->path, name,
			 strerror(err));
}
