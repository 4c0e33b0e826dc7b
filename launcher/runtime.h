/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the control sockets of running guests lie, one for each, by the
 * guest's name: /run/kiln for root, kiln in $XDG_RUNTIME_DIR for others, and a
 * directory of one's own in $TMPDIR where that is not set. The directory and
 * the sockets are for their owner only.
 *
 * A socket whose launcher was killed refuses connections: whoever meets it
 * takes it away. Names are taken and given back under a lock of the directory.
 */
#ifndef KILN_RUNTIME_H
#define KILN_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#define RUNTIME_NAME_MAX	64
#define RUNTIME_PATH_MAX	sizeof(((struct sockaddr_un *)0)->sun_path)

struct runtime {
	int fd;				/* the directory; -1: not there */
	char path[RUNTIME_PATH_MAX];	/* of the directory */
};

/* As if nothing were open. */
void runtime_init(struct runtime *runtime);

/*
 * Opens the directory, @make: makes it where it is not there; else @fd stays
 * -1 then, which is no error. -1 with a sentence.
 */
int runtime_open(struct runtime *runtime, bool make);

/* Takes the directory away where it is empty. */
void runtime_close(struct runtime *runtime);

/*
 * Whether the directory @fd, @path, is ours alone to write: what is found in
 * another may be anybody's. -1 with a sentence; @instead: what else to do.
 */
int runtime_check_owner(int fd, const char *path, const char *instead);

/* Whether @name can be one: letters, digits, and in the middle . _ and - . -1 with a sentence. */
int runtime_check_name(const char *name);

/*
 * A socket for a guest called @name that listens; with @name empty the first
 * of vm0, vm1 ... that is free is put there. -1 with a sentence.
 */
int runtime_listen(struct runtime *runtime, char name[RUNTIME_NAME_MAX + 1]);

/* Takes the name of a guest away that runtime_listen() gave it. */
void runtime_forget(struct runtime *runtime, const char *name);

/*
 * The names of all that answer, sorted, in an array that ends with NULL, to be
 * given to runtime_free_names(). Sockets of the dead are removed. NULL with a
 * sentence.
 */
char **runtime_names(const struct runtime *runtime);
void runtime_free_names(char **names);

/* Connects to the guest called @name. -1 with a sentence, which names those there are. */
int runtime_connect(const struct runtime *runtime, const char *name);

#endif
