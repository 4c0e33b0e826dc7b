// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a block device is made on: a regular file or a block device of the
 * host's, and the configuration space (virtio 1.2 §5.2.4) that follows from it.
 */
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/cred.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/log2.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/virtio_byteorder.h>

#include "../compat.h"
#include "block.h"

#define FLAGS	(KILN_BLOCK_RO | KILN_BLOCK_WRITEBACK | KILN_BLOCK_SERIAL)

#define BLOCK_SIZE_MAX	4096
/* 65,535 of the smallest blocks is what the configuration can tell. */
#define PHYSICAL_MAX	BIT(24)

static struct inode *host_inode(const struct file *file)
{
	return file->f_mapping->host;
}

/* NULL for a file that lies on none. */
static struct block_device *host_bdev(const struct file *file)
{
	struct inode *inode = host_inode(file);

	return S_ISBLK(inode->i_mode) ? I_BDEV(inode) : inode->i_sb->s_bdev;
}

/* ---------------------------------------------------------- what is offered */

u64 kiln_block_offered(struct kiln_virtio *dev)
{
	const struct block *block = dev->priv;
	u64 features = BIT_ULL(VIRTIO_BLK_F_SEG_MAX) |
		       BIT_ULL(VIRTIO_BLK_F_BLK_SIZE) |
		       BIT_ULL(VIRTIO_BLK_F_TOPOLOGY);

	if (dev->nr_queues > 1)
		features |= BIT_ULL(VIRTIO_BLK_F_MQ);
	if (block->args.flags & KILN_BLOCK_RO)
		features |= BIT_ULL(VIRTIO_BLK_F_RO);
	else if (block->can_discard)
		features |= BIT_ULL(VIRTIO_BLK_F_DISCARD) |
			    BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES);
	if (block->args.flags & KILN_BLOCK_WRITEBACK)
		features |= BIT_ULL(VIRTIO_BLK_F_FLUSH) |
			    BIT_ULL(VIRTIO_BLK_F_CONFIG_WCE);
	return features;
}

/* A driver that cannot flush could rely on nothing it wrote. */
static bool may_cache(const struct kiln_virtio *dev)
{
	const struct block *block = dev->priv;

	return block->args.flags & KILN_BLOCK_WRITEBACK &&
	       kiln_virtio_has(dev, VIRTIO_BLK_F_FLUSH);
}

/* §5.2.6.2: who can switch the cache says how it is, who can flush has one. */
bool kiln_block_writeback(const struct kiln_virtio *dev)
{
	const struct virtio_blk_config *config = (const void *)dev->config;

	if (!may_cache(dev))
		return false;
	return !kiln_virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE) ||
	       READ_ONCE(config->wce);
}

/* §5.2.5.2: without FLUSH it finds write-through. */
void kiln_block_negotiated(struct kiln_virtio *dev)
{
	struct virtio_blk_config *config = (void *)dev->config;

	if (!may_cache(dev))
		WRITE_ONCE(config->wce, 0);
}

static u8 default_cache(const struct kiln_virtio *dev)
{
	const struct block *block = dev->priv;

	return !!(block->args.flags & KILN_BLOCK_WRITEBACK);
}

/* How the driver switched it was the driver's. */
void kiln_block_reset(struct kiln_virtio *dev)
{
	struct virtio_blk_config *config = (void *)dev->config;

	WRITE_ONCE(config->wce, default_cache(dev));
}

int kiln_block_switch_cache(struct kiln_virtio *dev, u8 writeback)
{
	struct virtio_blk_config *config = (void *)dev->config;

	if (!kiln_virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE) ||
	    writeback > may_cache(dev))
		return -EINVAL;
	WRITE_ONCE(config->wce, writeback);
	return 0;
}

static void fill_config(struct kiln_virtio *dev)
{
	struct virtio_blk_config *config = (void *)dev->config;
	const struct block *block = dev->priv;
	u32 size = block->args.block_size;
	u32 physical = block->args.physical_block_size;

	memset(config, 0, BLOCK_CONFIG_SIZE);
	config->capacity = __cpu_to_virtio64(true, block->sectors);
	config->seg_max = __cpu_to_virtio32(true, BLOCK_SEG_MAX);
	config->blk_size = __cpu_to_virtio32(true, size);
	config->physical_block_exp = size ? ilog2(physical / size) : 0;
	config->min_io_size = __cpu_to_virtio16(true, size ? physical / size : 0);
	config->wce = default_cache(dev);
	config->num_queues = __cpu_to_virtio16(true, dev->nr_queues);
	config->max_discard_sectors = __cpu_to_virtio32(true, BLOCK_RANGE_MAX);
	config->max_discard_seg = __cpu_to_virtio32(true, 1);
	config->discard_sector_alignment =
		__cpu_to_virtio32(true, physical >> BLOCK_SECTOR_SHIFT);
	config->max_write_zeroes_sectors =
		__cpu_to_virtio32(true, BLOCK_RANGE_MAX);
	config->max_write_zeroes_seg = __cpu_to_virtio32(true, 1);
	config->write_zeroes_may_unmap = 1;
}

/*
 * A driver may be there already: how it switched the cache lasts as far as the
 * owner allows, and what is new it is told.
 */
static void renew_config(struct kiln_virtio *dev)
{
	struct virtio_blk_config *config = (void *)dev->config;
	u8 old[BLOCK_CONFIG_SIZE];

	memcpy(old, config, sizeof(old));
	fill_config(dev);
	if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK)
		config->wce &= ((struct virtio_blk_config *)old)->wce;
	if (memcmp(old, config, sizeof(old)))
		kiln_virtio_config_changed(dev);
}

/* -------------------------------------------------------------- the file */

/*
 * A block device gives space back by the way that leaves zeroes, which only
 * some have; the page cache is kept in step on that way alone.
 */
static bool can_discard(const struct file *file)
{
	struct inode *inode = host_inode(file);

	if (S_ISBLK(inode->i_mode))
		return bdev_write_zeroes_sectors(I_BDEV(inode));
	return file->f_op->fallocate;
}

static bool in_memory(const struct file *file)
{
	unsigned long magic = host_inode(file)->i_sb->s_magic;

	return magic == TMPFS_MAGIC || magic == RAMFS_MAGIC;
}

static int check_file(const struct file *file, u32 flags)
{
	umode_t mode = host_inode(file)->i_mode;

	if (!S_ISREG(mode) && !S_ISBLK(mode))
		return -EINVAL;
	if (!file->f_op->read_iter || !file->f_op->write_iter)
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ) ||
	    (!(flags & KILN_BLOCK_RO) && !(file->f_mode & FMODE_WRITE)))
		return -EBADF;
	return 0;
}

static bool valid_size(u32 size, u32 max)
{
	return !size || (is_power_of_2(size) && size >= BLOCK_SECTOR &&
			 size <= max);
}

static int check_args(const struct kiln_virtio_block *args)
{
	if (args->flags & ~FLAGS ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	if (!valid_size(args->block_size, BLOCK_SIZE_MAX) ||
	    !valid_size(args->physical_block_size, PHYSICAL_MAX))
		return -EINVAL;
	if (args->block_size && args->physical_block_size &&
	    args->physical_block_size < args->block_size)
		return -EINVAL;
	return 0;
}

/* What O_DIRECT can do in one piece; the page cache takes anything. */
static u32 default_block_size(const struct file *file)
{
	struct block_device *bdev = host_bdev(file);

	if (!bdev || (!S_ISBLK(host_inode(file)->i_mode) &&
		      !(file->f_flags & O_DIRECT)))
		return BLOCK_SECTOR;
	return clamp_t(u32, bdev_logical_block_size(bdev), BLOCK_SECTOR,
		       BLOCK_SIZE_MAX);
}

static u32 default_physical(const struct file *file)
{
	struct block_device *bdev = host_bdev(file);

	return bdev ? min_t(u32, bdev_physical_block_size(bdev), PHYSICAL_MAX) :
		      PAGE_SIZE;
}

static int fill_in(struct kiln_virtio_block *args, const struct file *file)
{
	u64 sectors = i_size_read(host_inode(file)) >> BLOCK_SECTOR_SHIFT;

	if (args->sectors > sectors)
		return -EINVAL;
	if (!args->sectors)
		args->sectors = sectors;
	if (!args->block_size)
		args->block_size = default_block_size(file);
	if (!args->physical_block_size)
		args->physical_block_size = max(default_physical(file),
						args->block_size);
	return 0;
}

static void set_limits(struct block *block,
		       const struct kiln_virtio_block *args)
{
	kiln_limit_set(&block->iops, args->iops);
	kiln_limit_set(&block->bps, args->bps);
	block->args.iops = args->iops;
	block->args.bps = args->bps;
}

/* The same but for the limits, and for where the same file is known by. */
static bool same(const struct kiln_virtio_block *a,
		 const struct kiln_virtio_block *b)
{
	return a->flags == b->flags && a->sectors == b->sectors &&
	       a->block_size == b->block_size &&
	       a->physical_block_size == b->physical_block_size &&
	       !memcmp(a->id, b->id, sizeof(a->id));
}

void kiln_block_drop(struct block *block)
{
	if (block->file)
		fput(block->file);
	block->file = NULL;
	block->sectors = 0;
	block->can_discard = false;
}

/* @file: NULL to take it away; else its reference is taken over. */
static void install(struct kiln_virtio *dev, struct file *file,
		    const struct kiln_virtio_block *args)
{
	struct block *block = dev->priv;

	kiln_block_drop(block);
	block->args = *args;
	block->file = file;
	if (file) {
		block->sectors = args->sectors;
		block->can_discard = can_discard(file);
		block->direct = file->f_flags & O_DIRECT;
		block->in_memory = in_memory(file);
	}
	set_limits(block, args);
	renew_config(dev);
}

static int set_file(struct kiln_virtio *dev, struct kiln_virtio_block *args,
		    struct file *file)
{
	struct block *block = dev->priv;
	u32 i;
	int r;

	r = check_file(file, args->flags);
	if (!r)
		r = fill_in(args, file);
	if (r)
		return r;
	if (!kiln_virtio_at_work(dev)) {
		install(dev, get_file(file), args);
		return 0;
	}
	if (file != block->file || !same(args, &block->args))
		return -EBUSY;
	set_limits(block, args);
	/* The old limits' wait may be longer. */
	for (i = 0; i < dev->nr_queues; i++)
		kiln_queue_kick(&dev->queues[i]);
	return 0;
}

long kiln_block_set(struct kiln_virtio *dev, void __user *user)
{
	struct kiln_virtio_block args;
	struct file *file;
	int r;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	r = check_args(&args);
	if (r)
		return r;
	if (args.fd == -1) {
		if (kiln_virtio_at_work(dev))
			return -EBUSY;
		install(dev, NULL, &args);
		return 0;
	}
	file = fget(args.fd);
	if (!file)
		return -EBADF;
	r = set_file(dev, &args, file);
	fput(file);
	return r;
}

/* ------------------------------------------------------- work that waits */

static int sync(struct kiln_virtio *dev)
{
	const struct block *block = dev->priv;

	/* Sizes and extents are among the data that can be found again. */
	return vfs_fsync(block->file, 1);
}

int kiln_block_flush(struct kiln_virtio *dev)
{
	return sync(dev);
}

static int sync_unless_writeback(struct kiln_virtio *dev, int r)
{
	return r || kiln_block_writeback(dev) ? r : sync(dev);
}

int kiln_block_discard(struct kiln_virtio *dev, u64 pos, u64 len)
{
	const struct block *block = dev->priv;
	int r;

	r = vfs_fallocate(block->file,
			  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, len);
	return sync_unless_writeback(dev, r);
}

/* A queue that is stopped does not wait for all of it: nobody looks any more. */
static int write_zeroes(const struct kiln_queue *queue, struct file *file,
			u64 pos, u64 len)
{
	struct bio_vec page = { .bv_page = ZERO_PAGE(0) };
	struct iov_iter from;
	struct kiocb iocb;
	ssize_t n;

	init_sync_kiocb(&iocb, file);
	iocb.ki_flags &= ~IOCB_APPEND;
	iocb.ki_pos = pos;
	while (len) {
		if (!READ_ONCE(queue->running))
			return -ECANCELED;
		page.bv_len = min_t(u64, len, PAGE_SIZE);
		iov_iter_bvec(&from, ITER_SOURCE, &page, 1, page.bv_len);
		n = kiln_iocb_write(file, &iocb, &from);
		if (n <= 0)
			return n ?: -EIO;
		len -= n;
		cond_resched();
	}
	return 0;
}

int kiln_block_zeroes(struct kiln_virtio *dev, u64 pos, u64 len, bool unmap)
{
	int how = unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
	const struct block *block = dev->priv;
	int r;

	r = vfs_fallocate(block->file, how | FALLOC_FL_KEEP_SIZE, pos, len);
	return sync_unless_writeback(dev, r);
}

int kiln_block_write_zeroes(struct kiln_queue *queue, u64 pos, u64 len)
{
	const struct block *block = queue->dev->priv;
	int r = write_zeroes(queue, block->file, pos, len);

	return sync_unless_writeback(queue->dev, r);
}
