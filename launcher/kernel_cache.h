/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unpacked kernels, kept in a directory for the next run. An entry is one file:
 *
 *	the kernel as it was unpacked, an ELF file with its relocations behind it
 *	the payload it was unpacked from
 *	struct kernel_cache_end
 *
 * so that its beginning is loaded like any ELF file. Its name is made of the
 * payload's checksum and length, but it is used only where the payload in it
 * is the same byte for byte and the kernel has the checksum it was kept with.
 * The directory belongs to the user and nobody else may write it: what is in
 * an entry is as trustworthy as the kernel's own file.
 */
#ifndef KILN_KERNEL_CACHE_H
#define KILN_KERNEL_CACHE_H

#include <stdint.h>

#include "image.h"

#define KERNEL_CACHE_ENTRIES	8
#define KERNEL_CACHE_NAME	32
#define KERNEL_CACHE_MAGIC	0x316c6e72656b6c6bULL	/* "klkernl1" */

struct kernel_cache_end {
	uint64_t magic;
	uint64_t unpacked, packed;	/* sizes */
	uint64_t checksum;		/* CRC-32 of the kernel */
};

struct kernel_cache {
	char path[4096];
	int fd;
};

/* The payload of a bzImage. */
struct packed {
	const char *path;	/* of the bzImage */
	const uint8_t *bytes;
	uint64_t size;
	uint64_t unpacked;	/* what it says of its size */
};

/*
 * Opens @path, or the user's own cache where that is NULL, and makes it where
 * it is not there. -1 with a sentence; kernel_cache_close() is allowed then.
 */
int kernel_cache_open(struct kernel_cache *cache, const char *path);
void kernel_cache_close(struct kernel_cache *cache);

/* The name of the entry for @packed. */
void kernel_cache_name(const struct packed *packed, char name[KERNEL_CACHE_NAME]);

/* Opens the kernel unpacked from @packed; -1 with a sentence where there is none to be used. */
int kernel_cache_find(const struct kernel_cache *cache, const struct packed *packed,
		      struct image *unpacked);

/* A new file without a name, for kernel_cache_add(). -1 with a sentence. */
int kernel_cache_create(const struct kernel_cache *cache);

/*
 * Makes an entry of @fd, which holds what came out of @packed, in place of
 * one that is there, and takes away the longest unused beyond
 * KERNEL_CACHE_ENTRIES. -1 with a sentence; @fd can be used all the same.
 */
int kernel_cache_add(const struct kernel_cache *cache, const struct packed *packed, int fd);

#endif
