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

static int set_format(struct disk_config *disk, const char *value)
{
	disk->said = true;
	disk->format = disk_format_named(value);
	if (!disk->format && strcmp(value, "raw"))
		return error_set("--disk %s: format=%s is unknown; give raw, " DISK_FORMAT_NAMES,
				 disk->path, value);
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
	{ "ro", false, set_ro },	 { "format", true, set_format }, { "cache", true, set_cache },
	{ "queues", true, set_queues },	 { "id", true, set_id },	 { "iops", true, set_iops },
	{ "bps", true, set_bps },
};

static int take_word(struct disk_config *disk, char *word)
{
	char *equals = strchr(word, '=');

	if (equals)
		*equals = '\0';
	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(word, words[i].name) && words[i].has_value == !!equals)
			return words[i].set(disk, equals ? equals + 1 : "");
	return error_set("--disk %s: %s%s is unknown; give ro, format=, cache=, queues=, id=, iops= or bps=, and a comma in the path twice",
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
		ret = error_set("--disk %s: no path; give an image or a block device", text);
	free(copy);
	if (ret)
		disk_free(disk);
	else if (!disk->said)
		disk->format = disk_format_of_name(disk->path);
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
		return error_set("--disk %s: not there; name an existing image or block device, `truncate -s 8G %s` makes one",
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
		return error_set("--disk %s: cannot be opened: %s; name an image or a block device",
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

static int open_path(const struct disk_config *config)
{
	int flags = (config->read_only ? O_RDONLY : O_RDWR) | (config->direct ? O_DIRECT : 0);
	int fd = open(config->path, flags | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? explain_open(config, errno) : fd;
}

/* With a descriptor of its own: O_DIRECT reads no few bytes. */
static const struct disk_format *content_of(const struct disk_config *config)
{
	int fd = open(config->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const struct disk_format *format;

	if (fd < 0)
		return NULL;
	format = disk_format_of_content(fd);
	close(fd);
	return format;
}

/* What it was taken for may be a mistake of the user's, or the guest's doing. */
void disk_hint_at_format(const struct disk_config *config)
{
	const struct disk_format *looks = config->format || config->said ? NULL : content_of(config);

	if (looks)
		fprintf(stderr, "kiln: --disk %s: is used as a raw disk, but begins like a %s image; say what it is, format=raw or format=%s\n",
			config->path, disk_format_name(looks), disk_format_name(looks));
}

static int open_raw(const struct disk_config *config, struct disk *disk)
{
	disk->fd = open_path(config);
	return disk->fd < 0 ? -1 : check_size(config, disk->fd);
}

static int check_format(const struct disk_config *config)
{
	const struct disk_format *looks = content_of(config);

	if (looks == config->format)
		return 0;
	return error_set("--disk %s: is no %s image, it begins like %s; give format=%s",
			 config->path, disk_format_name(config->format),
			 looks ? disk_format_name(looks) : "none", looks ? disk_format_name(looks) : "raw");
}

/* The daemon locks the image; that it is opened here first is for the sentences. */
static int open_image(const struct disk_config *config, bool device, struct disk *disk)
{
	struct storage_request request = {
		.path = config->path,
		.driver = disk_format_name(config->format),
		.read_only = config->read_only,
		.direct = config->direct,
		.device = device,
	};
	int fd = open_path(config);

	if (fd < 0)
		return -1;
	close(fd);
	if (check_format(config))
		return -1;
	disk->fd = storage_start(&disk->storage, &request);
	return disk->fd < 0 ? -1 : check_size(config, disk->fd);
}

static int open_one(const struct disk_config *config, struct disk *disk)
{
	struct stat st;

	/* Looked at first: opening a FIFO or a tape does things. */
	if (stat(config->path, &st))
		return explain_open(config, errno);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set("--disk %s: neither a file nor a block device; name an image or a block device",
				 config->path);
	if (config->format)
		return open_image(config, S_ISBLK(st.st_mode), disk);
	return open_raw(config, disk);
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

static int check_once(const struct disk_config *configs, const struct disk *disks,
		      unsigned int count)
{
	const struct disk_config *config = &configs[count];

	for (unsigned int i = 0; i < count; i++)
		if (same(disks[i].fd, disks[count].fd) &&
		    !(config->read_only && configs[i].read_only))
			return error_set("--disk %s: given twice, and the guest may write it; give it once, or with ,ro each time",
					 config->path);
	return 0;
}

void disk_init(struct disk *disk)
{
	*disk = (struct disk){ .fd = -1 };
}

int disks_open(const struct disk_config *configs, unsigned int count, struct disk *disks)
{
	for (unsigned int i = 0; i < count; i++)
		if (open_one(&configs[i], &disks[i]) || check_once(configs, disks, i) ||
		    (!configs[i].format && take_lock(&configs[i], disks[i].fd)))
			return -1;
	return 0;
}

void disk_close(struct disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
	storage_stop(&disk->storage);
}

void disk_back_end(const struct disk_config *disk, int fd, struct kiln_virtio_block *block)
{
	/* Both kinds of cache lose what was not flushed: of the host's memory, or of the drive's. */
	*block = (struct kiln_virtio_block){
		.fd = fd,
		.flags = KILN_BLOCK_WRITEBACK | (disk->read_only ? KILN_BLOCK_RO : 0) |
			 (disk->format ? KILN_BLOCK_SERIAL : 0),
		.iops = disk->iops,
		.bps = disk->bps,
	};
	memcpy(block->id, disk->id, strnlen(disk->id, sizeof(block->id)));
}
