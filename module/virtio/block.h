/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the two files of the block device: block.c has the requests,
 * block_file.c what they are made on.
 */
#ifndef KILN_VIRTIO_BLOCK_H
#define KILN_VIRTIO_BLOCK_H

#include <linux/mutex.h>
#include <linux/virtio_blk.h>

#include "private.h"

#define BLOCK_SECTOR_SHIFT	9
#define BLOCK_SECTOR		BIT(BLOCK_SECTOR_SHIFT)

/* Pieces of data in a request, as the driver is told. */
#define BLOCK_SEG_MAX		126
/* Sectors in a discard or in zeroes to be written: 2 GiB. */
#define BLOCK_RANGE_MAX		BIT(22)
#define BLOCK_ID_LEN		VIRTIO_BLK_ID_BYTES

/* The configuration space up to what virtio 1.1 has. */
#define BLOCK_CONFIG_SIZE	offsetofend(struct virtio_blk_config, unused1)

/**
 * struct block - a block device
 * @file: [d] what it is on; a reference is held. Constant while at work
 * @args: [d] of the last KILN_VIRTIO_SET_BLOCK, with defaults filled in
 * @sectors: [d] capacity; constant while at work
 * @can_discard: [d] there is a way to give space back and to write zeroes
 * @direct: [d] opened with O_DIRECT
 * @in_memory: [d] what is read and written is there, no device has to be asked
 * @serial: KILN_BLOCK_SERIAL: held while the file has a request
 * @waiting: [c] for requests that wait. This device's alone: what a file, or the
 *	owner's memory, makes wait for good is nothing to other devices
 * @iops: requests
 * @bps: bytes
 *
 * [d]: dev->lock; [c]: const after creation.
 */
struct block {
	struct file *file;
	struct kiln_virtio_block args;
	u64 sectors;
	bool can_discard;
	bool direct;
	bool in_memory;
	struct mutex serial;		/* one request of the file */
	struct workqueue_struct *waiting;
	struct kiln_limit iops;
	struct kiln_limit bps;
};

/* KILN_VIRTIO_SET_BLOCK. dev->lock. */
long kiln_block_set(struct kiln_virtio *dev, void __user *user);
void kiln_block_drop(struct block *block);

/* Which features the file can do. dev->lock. */
u64 kiln_block_offered(struct kiln_virtio *dev);

/* Does the driver flush, that is, may writes stay in a volatile cache? */
bool kiln_block_writeback(const struct kiln_virtio *dev);

/* FEATURES_OK, and a reset: how the driver finds the cache. dev->lock. */
void kiln_block_negotiated(struct kiln_virtio *dev);
void kiln_block_reset(struct kiln_virtio *dev);

/* 0: write-through, 1: write-back; -EINVAL if the driver may not. dev->lock. */
int kiln_block_switch_cache(struct kiln_virtio *dev, u8 writeback);

/*
 * Work that waits, on any thread: 0 or an errno. @pos and @len in bytes, inside
 * the device.
 */
int kiln_block_flush(struct kiln_virtio *dev);
int kiln_block_discard(struct kiln_virtio *dev, u64 pos, u64 len);

/* The quick way, which writes none: -EOPNOTSUPP where the file has no such way. */
int kiln_block_zeroes(struct kiln_virtio *dev, u64 pos, u64 len, bool unmap);

/* The slow way; ends early where the queue is stopped. */
int kiln_block_write_zeroes(struct kiln_queue *queue, u64 pos, u64 len);

#endif /* KILN_VIRTIO_BLOCK_H */
