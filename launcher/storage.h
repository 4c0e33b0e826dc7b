/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An image in a format of its own as a plain file: qemu-storage-daemon serves
 * it by FUSE, and the file that comes of that is what the kernel's block
 * device gets.
 *
 * A helper process stands between, which makes a mount namespace for itself
 * and the daemon, with a user namespace where it takes that, so root is not
 * needed. What is mounted is seen by nobody else and goes with the two, so
 * there is no directory, mount or socket to be left behind. The launcher holds
 * one end of a socket; when that goes, however the launcher ended, the helper
 * has the daemon write what is in its memory, and both end. When the helper is
 * killed, the kernel tells the daemon to do the same.
 *
 * The daemon takes one request at a time: in Debian 12 (QEMU 7.2) one that comes while
 * another is under way is read into the same buffer, whose data is lost
 * (KILN_BLOCK_SERIAL).
 */
#ifndef KILN_STORAGE_H
#define KILN_STORAGE_H

#include <stdbool.h>
#include <sys/types.h>

struct storage {
	pid_t pid;	/* of the helper; 0: none */
	int socket;
};

struct storage_request {
	const char *path, *driver;
	bool read_only;
	bool direct;		/* past the host's page cache */
	bool device;		/* @path is a block device */
};

/*
 * Starts the helper and its daemon. Returns a descriptor of the file, opened
 * with O_DIRECT, as large as the disk the image holds; -1 with a sentence, and
 * nothing is left.
 */
int storage_start(struct storage *storage, const struct storage_request *request);

/* Waits until all is written and the daemon has ended; nothing has the file open any more. */
void storage_stop(struct storage *storage);

#endif
