/* SPDX-License-Identifier: GPL-2.0-only */
/* --disk: an image or a block device as a guest's virtio disk. */
#ifndef KILN_DISK_H
#define KILN_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "../uapi/kiln.h"
#include "disk_format.h"
#include "storage.h"

#define DISKS_MAX		31	/* as many slots as the bus has for devices */
#define DISK_QUEUES_MAX		16
#define DISK_ID_MAX		20	/* VIRTIO_BLK_ID_BYTES */

struct disk_config {
	char *path;		/* allocated */
	const struct disk_format *format;	/* NULL: raw */
	bool said;		/* ... by format= */
	bool read_only;
	bool direct;		/* cache=none */
	unsigned int queues;
	char id[DISK_ID_MAX + 1];
	uint64_t iops, bps;	/* 0: no limit */
};

/*
 * PATH[,WORD]...; two commas in the path stand for one. @number: of this disk,
 * for the ID it has when none is given. -1 with a sentence.
 */
int disk_parse(struct disk_config *disk, const char *text, unsigned int number);
void disk_free(struct disk_config *disk);

/* An open disk. */
struct disk {
	int fd;			/* -1: none */
	struct storage storage;	/* behind it, where it is not raw */
};

void disk_init(struct disk *disk);

/*
 * Opens all @count disks and locks them against other programs that lock, as
 * QEMU does. A disk that one of them may write is given once. @disks are
 * initialized, and to be closed in any case. -1 with a sentence.
 */
int disks_open(const struct disk_config *configs, unsigned int count, struct disk *disks);

/* Says on stderr where a disk is taken as raw that may not be meant so. */
void disk_hint_at_format(const struct disk_config *config);

/* No device has it any more. Waits until what is behind it has written all. */
void disk_close(struct disk *disk);

/* The back end of an open disk. */
void disk_back_end(const struct disk_config *disk, int fd, struct kiln_virtio_block *block);

#endif
