// SPDX-License-Identifier: GPL-2.0-only
#include "kernel_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "error.h"
#include "runtime.h"
#include "util.h"

#define SUFFIX	".kernel"
#define CHUNK	(256 * KIB)

/* ---- the directory ---- */

static int find_path(char *path, size_t size)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int len;

	if (!geteuid())
		len = snprintf(path, size, "/var/cache/kiln/kernels");
	else if (cache && *cache == '/')
		len = snprintf(path, size, "%s/kiln/kernels", cache);
	else if (home && *home == '/')
		len = snprintf(path, size, "%s/.cache/kiln/kernels", home);
	else
		return error_set("no place for unpacked kernels; set HOME, or use --kernel-cache");
	if (len < 0 || (size_t)len >= size)
		return error_set("the path of the cache is too long; use --kernel-cache");
	return 0;
}

/* All directories on the way to the last; what cannot be made shows when that is opened. */
static void make_path(const char *path)
{
	char part[4096];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		mkdir(part, 0755);
	}
	mkdir(path, 0700);
}

int kernel_cache_open(struct kernel_cache *cache, const char *path)
{
	cache->fd = -1;
	*cache->path = '\0';
	if (!path && find_path(cache->path, sizeof(cache->path)))
		return -1;
	if (path && strlen(path) >= sizeof(cache->path))
		return error_set("--kernel-cache: too long for a path; give a shorter one");
	if (path)
		strcpy(cache->path, path);
	make_path(cache->path);
	cache->fd = open(cache->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (cache->fd < 0)
		return error_set("%s: %s; give a directory of yours by --kernel-cache",
				 cache->path, strerror(errno));
	/* Others could put a kernel of theirs there. */
	if (!runtime_check_owner(cache->fd, cache->path, "use --kernel-cache"))
		return 0;
	kernel_cache_close(cache);
	return -1;
}

void kernel_cache_close(struct kernel_cache *cache)
{
	if (cache->fd >= 0)
		close(cache->fd);
	cache->fd = -1;
}

/* ---- finding ---- */

void kernel_cache_name(const struct packed *packed, char name[KERNEL_CACHE_NAME])
{
	snprintf(name, KERNEL_CACHE_NAME, "%08lx-%llx" SUFFIX,
		 crc32_z(0, packed->bytes, packed->size), (unsigned long long)packed->size);
}

static int unusable(const struct image *entry, const char *how)
{
	return error_set("%s: not to be used: %s; remove it", entry->path, how);
}

/* What stands at @offset of the entry against @bytes, where that is not NULL; and its checksum. */
static int read_through(const struct image *entry, uint64_t offset, uint64_t size,
			const uint8_t *bytes, uint64_t *checksum)
{
	uint8_t *chunk = malloc(CHUNK);
	int ret = chunk ? 0 : error_set("out of memory to read %s; free some", entry->path);
	uint64_t len;

	for (uint64_t done = 0; done < size && !ret; done += len) {
		len = min_u64(size - done, CHUNK);
		ret = image_read(entry, offset + done, chunk, len);
		if (!ret && bytes && memcmp(chunk, bytes + done, len))
			ret = unusable(entry, "it is of another kernel");
		if (!ret && checksum)
			*checksum = crc32_z((uLong)*checksum, chunk, len);
	}
	free(chunk);
	return ret;
}

static int check_entry(const struct image *entry, const struct packed *packed)
{
	struct kernel_cache_end end;
	uint64_t checksum = 0;
	struct stat st;

	if (fstat(entry->fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_mode & (S_IWGRP | S_IWOTH))
		return unusable(entry, "others may have written it");
	if (entry->size != packed->unpacked + packed->size + sizeof(end))
		return unusable(entry, "its size is wrong");
	if (image_read(entry, entry->size - sizeof(end), &end, sizeof(end)))
		return -1;
	if (end.magic != KERNEL_CACHE_MAGIC || end.unpacked != packed->unpacked ||
	    end.packed != packed->size)
		return unusable(entry, "it does not end as entries do");
	if (read_through(entry, packed->unpacked, packed->size, packed->bytes, NULL) ||
	    read_through(entry, 0, packed->unpacked, NULL, &checksum))
		return -1;
	return checksum == end.checksum ? 0 : unusable(entry, "its checksum is wrong");
}

int kernel_cache_find(const struct kernel_cache *cache, const struct packed *packed,
		      struct image *unpacked)
{
	struct image entry = { .path = packed->path };
	char name[KERNEL_CACHE_NAME];
	struct stat st;

	kernel_cache_name(packed, name);
	entry.fd = openat(cache->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (entry.fd < 0)
		return error_set("%s/%s: %s; `kiln unpack` makes it", cache->path, name,
				 strerror(errno));
	if (!fstat(entry.fd, &st))
		entry.size = (uint64_t)st.st_size;
	if (check_entry(&entry, packed)) {
		image_close(&entry);
		return -1;
	}
	/* Used now: the age of an entry is the time since then. */
	futimens(entry.fd, NULL);
	entry.size = packed->unpacked;
	*unpacked = entry;
	return 0;
}

/* ---- adding ---- */

int kernel_cache_create(const struct kernel_cache *cache)
{
	int fd = openat(cache->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set("%s: nothing can be kept there: %s; give another directory by --kernel-cache",
				 cache->path, strerror(errno));
	return fd;
}

static int write_all(int fd, uint64_t offset, const void *bytes, uint64_t size)
{
	for (uint64_t done = 0; done < size;) {
		ssize_t n = pwrite(fd, (const char *)bytes + done, size - done,
				   (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		done += (uint64_t)n;
	}
	return 0;
}

static int complete(const struct packed *packed, int fd)
{
	struct image entry = { fd, packed->path, packed->unpacked };
	struct kernel_cache_end end = { KERNEL_CACHE_MAGIC, packed->unpacked, packed->size, 0 };

	if (read_through(&entry, 0, packed->unpacked, NULL, &end.checksum))
		return -1;
	if (write_all(fd, packed->unpacked, packed->bytes, packed->size) ||
	    write_all(fd, packed->unpacked + packed->size, &end, sizeof(end)))
		return error_set("%s cannot be kept: %s; free some room", packed->path,
				 strerror(errno));
	return 0;
}

/* The name appears with the whole file behind it or not at all. */
static int give_name(const struct kernel_cache *cache, int fd, const char *name)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	for (int tries = 0; tries < 8; tries++) {
		if (!linkat(AT_FDCWD, self, cache->fd, name, AT_SYMLINK_FOLLOW))
			return 0;
		if (errno != EEXIST)
			break;
		/* One that could not be used, or that another launcher made just now: as good as this. */
		unlinkat(cache->fd, name, 0);
	}
	return error_set("%s/%s: %s; give another directory by --kernel-cache", cache->path, name,
			 strerror(errno));
}

static bool is_entry(const char *name)
{
	size_t len = strlen(name), hex = strspn(name, "0123456789abcdef-");

	return len > strlen(SUFFIX) && len < KERNEL_CACHE_NAME && !strcmp(name + hex, SUFFIX);
}

struct aged {
	char name[KERNEL_CACHE_NAME];
	struct timespec used;
};

static bool older(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* Takes away the oldest but @keep while there are more than KERNEL_CACHE_ENTRIES: true if one went. */
static bool evict_one(const struct kernel_cache *cache, const char *keep)
{
	int fd = openat(cache->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct aged oldest = { .name = "" };
	unsigned int count = 0;
	struct dirent *entry;
	struct stat st;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (entry = readdir(dir))) {
		if (!is_entry(entry->d_name) ||
		    fstatat(cache->fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		count++;
		if (!strcmp(entry->d_name, keep) ||
		    (*oldest.name && !older(&st.st_mtim, &oldest.used)))
			continue;
		strcpy(oldest.name, entry->d_name);	/* is_entry(): it fits */
		oldest.used = st.st_mtim;
	}
	if (dir)
		closedir(dir);
	return count > KERNEL_CACHE_ENTRIES && *oldest.name &&
	       !unlinkat(cache->fd, oldest.name, 0);
}

int kernel_cache_add(const struct kernel_cache *cache, const struct packed *packed, int fd)
{
	char name[KERNEL_CACHE_NAME];

	kernel_cache_name(packed, name);
	if (complete(packed, fd) || give_name(cache, fd, name))
		return -1;
	while (evict_one(cache, name))
		;
	return 0;
}
