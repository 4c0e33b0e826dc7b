// SPDX-License-Identifier: GPL-2.0-only
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

static const char *open_remedy(int err)
{
	switch (err) {
	case ENOENT:
		return "check the path";
	case EACCES:
		return "make it readable for you";
	default:
		return "name another file";
	}
}

static int examine(struct image *image, const char *what)
{
	struct stat st;

	if (fstat(image->fd, &st))
		return error_set("%s: %s: %s", image->path, what, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set("%s: not a regular file; give the %s as a file", image->path, what);
	if (!st.st_size)
		return error_set("%s: this %s is empty; build or fetch it again", image->path, what);
	image->size = (uint64_t)st.st_size;
	return 0;
}

int image_open(struct image *image, const char *what, const char *path)
{
	image->path = path;
	/* O_NONBLOCK: a FIFO must be refused below, not waited for. */
	image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (image->fd < 0)
		return error_set("%s: cannot open this %s: %s; %s", path, what, strerror(errno),
				 open_remedy(errno));
	if (examine(image, what)) {
		image_close(image);
		return -1;
	}
	return 0;
}

void image_close(struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
}

int64_t image_read_some(const struct image *image, uint64_t offset, void *buffer, uint64_t len)
{
	uint64_t done = 0;

	while (done < len) {
		ssize_t n = pread(image->fd, (char *)buffer + done, len - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set("%s: cannot be read: %s; check the disk it is on",
					 image->path, strerror(errno));
		if (!n)
			break;
		done += (uint64_t)n;
	}
	return (int64_t)done;
}

int image_read(const struct image *image, uint64_t offset, void *buffer, uint64_t len)
{
	int64_t got;

	if (offset > image->size || len > image->size - offset)
		return error_set("%s: truncated: it ends before its header says; build or fetch it again",
				 image->path);
	got = image_read_some(image, offset, buffer, len);
	if (got < 0)
		return -1;
	if ((uint64_t)got < len)
		return error_set("%s: became shorter while it was read; try again", image->path);
	return 0;
}
