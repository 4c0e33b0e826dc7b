// SPDX-License-Identifier: GPL-2.0-only
#include "unpacked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "kernel_cache.h"
#include "say.h"
#include "unpack.h"
#include "util.h"

int unpacked_parse_where(struct unpack_config *config, const char *text)
{
	static const char *const words[] = {
		[UNPACK_GUEST] = "guest", [UNPACK_MEMORY] = "memory", [UNPACK_CACHE] = "cache",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i], text))
			continue;
		config->where = (enum unpack_where)i;
		return 0;
	}
	return error_set("--unpack %s: unknown; give cache, memory or guest", text);
}

int unpacked_parse_cache(struct unpack_config *config, const char *text)
{
	if (!*text)
		return error_set("--kernel-cache: no directory; name one, or use --unpack memory");
	config->cache = text;
	return 0;
}

/* @bytes are to be freed. */
static int read_payload(struct packed *packed, const struct image *image, const struct bzimage *bz)
{
	uint64_t offset;
	uint8_t *bytes;

	*packed = (struct packed){ .path = image->path };
	if (bzimage_payload(image, bz, &offset, &packed->size, &packed->unpacked))
		return -1;
	bytes = malloc(packed->size);
	if (!bytes)
		return error_set("out of memory for the payload of %s; free some", image->path);
	packed->bytes = bytes;
	if (!image_read(image, offset, bytes, packed->size))
		return 0;
	free(bytes);
	return -1;
}

/* Room for the unpacked kernel in the empty file @fd, mapped. NULL with a sentence. */
static uint8_t *make_room(int fd, const struct packed *packed)
{
	/* All of it now: a disk that is full must not be found out by a signal. */
	int err = posix_fallocate(fd, 0, (off_t)packed->unpacked);
	uint8_t *to;

	if (err) {
		error_set("no room for %s unpacked: %s; free some", packed->path, strerror(err));
		return NULL;
	}
	to = mmap(NULL, packed->unpacked, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (to != MAP_FAILED)
		return to;
	error_set("%s unpacked cannot be mapped: %s; free some memory", packed->path,
		  strerror(errno));
	return NULL;
}

/* A file without a name: of @cache, or of memory where that is NULL; and room in it. */
static int open_room(const struct kernel_cache *cache, const struct packed *packed, uint8_t **to)
{
	int fd = cache ? kernel_cache_create(cache) : memfd_create("kernel", MFD_CLOEXEC);

	if (fd < 0 && !cache)
		error_set("no memory for %s unpacked: %s; free some", packed->path,
			  strerror(errno));
	if (fd < 0)
		return -1;
	*to = make_room(fd, packed);
	if (*to)
		return fd;
	close(fd);
	return -1;
}

/* @cache NULL: for this run alone. */
static int unpack_new(struct image *unpacked, const struct packed *packed,
		      const struct kernel_cache *cache)
{
	uint8_t *to;
	int fd = -1, ret;

	if (cache)
		fd = open_room(cache, packed, &to);
	if (cache && fd < 0) {
		say("%s", error_text());
		cache = NULL;
	}
	if (fd < 0)
		fd = open_room(NULL, packed, &to);
	if (fd < 0)
		return -1;
	ret = unpack(packed->bytes, packed->size, to, packed->unpacked, packed->path);
	munmap(to, packed->unpacked);
	if (ret) {
		close(fd);
		return -1;
	}
	say("kernel %s: unpacked, %llu KiB", packed->path,
	    (unsigned long long)(packed->unpacked / KIB));
	if (cache && kernel_cache_add(cache, packed, fd))
		say("%s", error_text());
	*unpacked = (struct image){ fd, packed->path, packed->unpacked };
	return 0;
}

static int open_packed(struct image *unpacked, const struct packed *packed,
		       const struct unpack_config *config)
{
	struct kernel_cache cache;
	int ret;

	if (config->where != UNPACK_CACHE)
		return unpack_new(unpacked, packed, NULL);
	if (kernel_cache_open(&cache, config->cache)) {
		say("%s", error_text());
		return unpack_new(unpacked, packed, NULL);
	}
	ret = kernel_cache_find(&cache, packed, unpacked);
	if (ret) {
		say("%s", error_text());
		ret = unpack_new(unpacked, packed, &cache);
	} else {
		say("kernel %s: unpacked, from %s", packed->path, cache.path);
	}
	kernel_cache_close(&cache);
	return ret;
}

int unpacked_open(struct image *unpacked, const struct image *image, const struct bzimage *bz,
		  const struct unpack_config *config)
{
	struct packed packed;
	int ret;

	if (read_payload(&packed, image, bz))
		return -1;
	/* Not to look for what will not be there. */
	if (unpack_format(packed.bytes, packed.size))
		ret = open_packed(unpacked, &packed, config);
	else
		ret = unpack(packed.bytes, packed.size, NULL, 0, packed.path);
	free((void *)(uintptr_t)packed.bytes);
	return ret;
}

/* ---- kiln unpack ---- */

static int keep_new(const struct packed *packed, const struct kernel_cache *cache)
{
	uint8_t *to;
	int fd = open_room(cache, packed, &to), ret;

	if (fd < 0)
		return -1;
	ret = unpack(packed->bytes, packed->size, to, packed->unpacked, packed->path);
	munmap(to, packed->unpacked);
	if (!ret)
		ret = kernel_cache_add(cache, packed, fd);
	close(fd);
	return ret;
}

int unpacked_keep(const struct image *image, const struct bzimage *bz, const char *directory,
		  char **entry)
{
	struct kernel_cache cache = { .fd = -1 };
	char name[KERNEL_CACHE_NAME];
	struct image unpacked;
	struct packed packed;
	int ret = 0;

	if (read_payload(&packed, image, bz))
		return -1;
	if (kernel_cache_open(&cache, directory))
		ret = -1;
	else if (!kernel_cache_find(&cache, &packed, &unpacked))
		image_close(&unpacked);
	else
		ret = keep_new(&packed, &cache);
	kernel_cache_name(&packed, name);
	if (!ret && asprintf(entry, "%s/%s", cache.path, name) < 0)
		ret = error_set("out of memory; free some");
	kernel_cache_close(&cache);
	free((void *)(uintptr_t)packed.bytes);
	return ret;
}
