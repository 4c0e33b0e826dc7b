/* SPDX-License-Identifier: GPL-2.0-only */
/* A bzImage's kernel unpacked in the host: from the cache, or by unpack.h. */
#ifndef KILN_UNPACKED_H
#define KILN_UNPACKED_H

#include "bzimage.h"
#include "image.h"

enum unpack_where {
	UNPACK_GUEST,	/* by the kernel itself, in the guest */
	UNPACK_MEMORY,	/* in the host, for this run */
	UNPACK_CACHE,	/* in the host, and kept for the next run */
};

struct unpack_config {
	enum unpack_where where;
	const char *cache;	/* directory; NULL: the user's own */
};

/* --unpack and --kernel-cache. -1 with a sentence. */
int unpacked_parse_where(struct unpack_config *config, const char *text);
int unpacked_parse_cache(struct unpack_config *config, const char *text);

/*
 * Opens what is packed in @image as a file of its own. Whatever is wrong with
 * the cache is said under --verbose only. -1 with a sentence where the kernel
 * has to unpack itself.
 */
int unpacked_open(struct image *unpacked, const struct image *image, const struct bzimage *bz,
		  const struct unpack_config *config);

/*
 * Sees to it that the cache at @directory (NULL: the user's own) has it, and
 * says where: @entry is to be freed. -1 with a sentence.
 */
int unpacked_keep(const struct image *image, const struct bzimage *bz, const char *directory,
		  char **entry);

#endif
