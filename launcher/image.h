/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file to be loaded. It is read, never mapped: a file that shrinks under us
 * must become an error, not a signal.
 */
#ifndef KILN_IMAGE_H
#define KILN_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct image {
	int fd;
	const char *path;	/* the caller's string */
	uint64_t size;
};

/* Opens a non-empty regular file; @what says what it is. -1 with a sentence. */
int image_open(struct image *image, const char *what, const char *path);
void image_close(struct image *image);

/* Exactly @len bytes from @offset; -1 with a sentence where the file ends before. */
int image_read(const struct image *image, uint64_t offset, void *buffer, uint64_t len);

/* As much of @len bytes as there is; the count, or -1 with a sentence. */
int64_t image_read_some(const struct image *image, uint64_t offset, void *buffer, uint64_t len);

#endif
