// SPDX-License-Identifier: GPL-2.0-only
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "parse.h"
#include "util.h"

#define SECTOR 512

/* ---- the option ---- */

static int set_ro(struct disk_config *disk, const char *value)
{
	(void)value;
	disk->read_only = true;
	return 0;
}

static int set_cache(struct disk_config *disk, const char *value)
{
	if (strcmp(value, "none") && strcmp(value, "writeback"))
		return error_set("--disk %s: cache=%s is unknown; give cache=none or cache=writeback",
				 disk->path, value);
	disk->direct = !strcmp(value, "none");
	return 0;
}

static int set_queues(struct disk_config *disk, const char *value)
{
	uint64_t queues;

	if (parse_number("--disk queues", value, 1, DISK_QUEUES_MAX, &queues))
		return -1;
	disk->queues = (unsigned int)queues;
	return 0;
}

static int set_id(struct disk_config *disk, const char *value)
{
	if (!*value || strlen(value) > DISK_ID_MAX)
		return error_set("--disk %s: id=%s has %zu bytes; give 1 to %d", disk->path, value,
				 strlen(value), DISK_ID_MAX);
	snprintf(disk->id, sizeof(disk->id), "%s", value);
	return 0;
}

static int set_iops(struct disk_config *disk, const char *value)
{
	return parse_number("--disk iops", value, 1, UINT32_MAX, &disk->iops);
}

static int set_bps(struct disk_config *disk, const char *value)
{
	if (parse_size("--disk bps", value, &disk->bps))
		return -1;
	if (disk->bps < SECTOR)
		return error_set("--disk bps %s: out of range; give %d or more, like 10M", value,
				 SECTOR);
	return 0;
}

static const struct {
	const char *name;
	bool has_value;
	int (*set)(struct disk_config *disk, const char *value);
} words[] = {
	{ "ro", false, set_ro },	 { "cache", true, set_cache }, { "queues", true, set_queues },
	{ "id", true, set_id },		 { "iops", true, set_iops },   { "bps", true, set_bps },
};

static int take_word(struct disk_config *disk, char *word)
{
	char *equals = strchr(word, '=');

	if (equals)
		*equals = '\0';
	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(word, words[i].name) && words[i].has_value == !!equals)
			return words[i].set(disk, equals ? equals + 1 : "");
	return error_set("--disk %s: %s%s is unknown; give ro, cache=, queues=, id=, iops= or bps=, and a comma in the path twice",
			 disk->path, word, equals ? "=" : "");
}

/* Copies the path, with two commas made one; returns what follows it, NULL for nothing. */
static char *take_path(char *path, char *text)
{
	while (*text && (*text != ',' || text[1] == ',')) {
		text += *text == ',';
		*path++ = *text++;
	}
	*path = '\0';
	return *text ? text + 1 : NULL;
}

static int take_words(struct disk_config *disk, char *rest)
{
	while (rest) {
		char *word = strsep(&rest, ",");

		if (take_word(disk, word))
			return -1;
	}
	return 0;
}

int disk_parse(struct disk_config *disk, const char *text, unsigned int number)
{
	char *copy = strdup(text), *rest;
	int ret;

	*disk = (struct disk_config){ .queues = 1, .path = strdup(text) };
	snprintf(disk->id, sizeof(disk->id), "kiln-disk%u", number);
	if (!copy || !disk->path) {
		free(copy);
		disk_free(disk);
		return error_set("out of memory; free some");
	}
	rest = take_path(disk->path, copy);
	if (*disk->path)
		ret = take_words(disk, rest);
	else
		ret = error_set("--disk %s: no path; give a raw image or a block device", text);
	free(copy);
	if (ret)
		disk_free(disk);
	return ret;
}

void disk_free(struct disk_config *disk)
{
	free(disk->path);
	disk->path = NULL;
}

/* ---- opening ---- */

static int explain_open(const struct disk_config *disk, int err)
{
	switch (err) {
	case ENOENT:
		return error_set("--disk %s: not there; name an existing raw image or block device, `truncate -s 8G %s` makes one",
				 disk->path, disk->path);
	case EACCES:
		return error_set("--disk %s: permission denied; see who may use it with ls -l%s", disk->path,
				 disk->read_only ? "" : ", or add ,ro");
	case EROFS:
		return error_set("--disk %s: its file system is read-only; add ,ro", disk->path);
	case EINVAL:
		if (disk->direct)
			return error_set("--disk %s: its file system cannot do cache=none (O_DIRECT); use cache=writeback",
					 disk->path);
		/* fallthrough */
	default:
		return error_set("--disk %s: cannot be opened: %s; name a raw image or a block device",
				 disk->path, strerror(err));
	}
}

static int check_size(const struct disk_config *disk, int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);

	if (size < 0)
		return error_set("--disk %s: its size cannot be had: %s; name a raw image or a block device",
				 disk->path, strerror(errno));
	if (!size)
		return error_set("--disk %s: is empty; make it larger, like `truncate -s 8G %s`",
				 disk->path, disk->path);
	if (size % SECTOR)
		return error_set("--disk %s: %" PRIdMAX " bytes are not whole sectors of %d; is it a raw image? `truncate -s %%%d %s` rounds it up",
				 disk->path, (intmax_t)size, SECTOR, SECTOR, disk->path);
	return 0;
}

/* Locks of the open file, which go with it, also when we are killed. */
static int take_lock(const struct disk_config *disk, int fd)
{
	struct flock lock = {
		.l_type = disk->read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	/* A file system without locks is one without this check. */
	if (!fcntl(fd, F_OFD_SETLK, &lock) || (errno != EAGAIN && errno != EACCES))
		return 0;
	return error_set("--disk %s: in use by another program; end that first, a disk that is written has one user",
			 disk->path);
}

static int open_one(const struct disk_config *disk, int *fd)
{
	int flags = (disk->read_only ? O_RDONLY : O_RDWR) | (disk->direct ? O_DIRECT : 0);
	struct stat st;

	/* Looked at first: opening a FIFO or a tape does things. */
	if (stat(disk->path, &st))
		return explain_open(disk, errno);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set("--disk %s: neither a file nor a block device; name a raw image or a block device",
				 disk->path);
	*fd = open(disk->path, flags | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return explain_open(disk, errno);
	return check_size(disk, *fd);
}

static bool same(int a, int b)
{
	struct stat x, y;

	if (fstat(a, &x) || fstat(b, &y))
		return false;
	if (S_ISBLK(x.st_mode) && S_ISBLK(y.st_mode))
		return x.st_rdev == y.st_rdev;
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int check_once(const struct disk_config *disks, const int *fds, unsigned int count)
{
	const struct disk_config *disk = &disks[count];

	for (unsigned int i = 0; i < count; i++)
		if (same(fds[i], fds[count]) && !(disk->read_only && disks[i].read_only))
			return error_set("--disk %s: given twice, and the guest may write it; give it once, or with ,ro each time",
					 disk->path);
	return 0;
}

int disks_open(const struct disk_config *disks, unsigned int count, int *fds)
{
	for (unsigned int i = 0; i < count; i++)
		if (open_one(&disks[i], &fds[i]) || check_once(disks, fds, i) ||
		    take_lock(&disks[i], fds[i]))
			return -1;
	return 0;
}

void disk_back_end(const struct disk_config *disk, int fd, struct kiln_virtio_block *block)
{
	/* Both kinds of cache lose what was not flushed: of the host's memory, or of the drive's. */
	*block = (struct kiln_virtio_block){
		.fd = fd,
		.flags = KILN_BLOCK_WRITEBACK | (disk->read_only ? KILN_BLOCK_RO : 0),
		.iops = disk->iops,
		.bps = disk->bps,
	};
	memcpy(block->id, disk->id, strnlen(disk->id, sizeof(block->id)));
}
