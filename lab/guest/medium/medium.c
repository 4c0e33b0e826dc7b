// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/medium, a disk in memory with a volatile cache and errors on demand.
 *
 * What is written is in the cache; a flush, or FUA of a write, brings it to the
 * medium, which is what a power cut would leave. A thread of its own answers,
 * so that requests end elsewhere than where they were submitted. In debugfs,
 * below medium/:
 *
 * medium: the bytes that are on it
 * fail: operations that end with an error, a bit each: 1 << enum op
 * unsupported: operations that end as if the disk did not know them
 * from: the first sector whose operations end so; flushes have none
 * reads, writes, flushes, zeroes: how many there were, failed or not
 */
#include <linux/bitmap.h>
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#define SIZE	(8UL << 20)
#define SECTORS	(SIZE >> SECTOR_SHIFT)

enum op { READS, WRITES, FLUSHES, ZEROES, NR_OPS };

static const char * const op_names[NR_OPS] = {
	"reads", "writes", "flushes", "zeroes",
};

static u32 counts[NR_OPS];
static u32 fail, unsupported;
static u64 from;

static u8 *cache;
static struct debugfs_blob_wrapper blob = { .size = SIZE };
static DECLARE_BITMAP(dirty, SECTORS);

static struct gendisk *disk;
static struct dentry *dir;
static struct workqueue_struct *queue;
static struct bio_list bios;
static DEFINE_SPINLOCK(bios_lock);

static void write_back(sector_t first, sector_t n)
{
	unsigned long sector = first;

	for_each_set_bit_from(sector, dirty, first + n) {
		memcpy(blob.data + (sector << SECTOR_SHIFT),
		       cache + (sector << SECTOR_SHIFT), SECTOR_SIZE);
		clear_bit(sector, dirty);
	}
}

static void copy_data(struct bio *bio)
{
	u8 *at = cache + (bio->bi_iter.bi_sector << SECTOR_SHIFT);
	struct bvec_iter iter;
	struct bio_vec piece;
	void *data;

	bio_for_each_segment(piece, bio, iter) {
		data = bvec_kmap_local(&piece);
		if (op_is_write(bio_op(bio)))
			memcpy(at, data, piece.bv_len);
		else
			memcpy(data, at, piece.bv_len);
		kunmap_local(data);
		at += piece.bv_len;
	}
}

static blk_status_t status_of(enum op op, sector_t end)
{
	counts[op]++;
	if (op != FLUSHES && end <= READ_ONCE(from))
		return BLK_STS_OK;
	if (READ_ONCE(unsupported) & BIT(op))
		return BLK_STS_NOTSUPP;
	return READ_ONCE(fail) & BIT(op) ? BLK_STS_IOERR : BLK_STS_OK;
}

static blk_status_t perform(struct bio *bio)
{
	sector_t first = bio->bi_iter.bi_sector, n = bio_sectors(bio);
	blk_status_t status = BLK_STS_OK;

	switch (bio_op(bio)) {
	case REQ_OP_READ:
		status = status_of(READS, first + n);
		if (status == BLK_STS_OK)
			copy_data(bio);
		return status;
	case REQ_OP_WRITE:
		status = status_of(WRITES, first + n);
		if (status != BLK_STS_OK)
			return status;
		copy_data(bio);
		break;
	case REQ_OP_WRITE_ZEROES:
		status = status_of(ZEROES, first + n);
		if (status != BLK_STS_OK)
			return status;
		memset(cache + (first << SECTOR_SHIFT), 0, n << SECTOR_SHIFT);
		break;
	default:
		return BLK_STS_NOTSUPP;
	}
	bitmap_set(dirty, first, n);
	if (bio->bi_opf & REQ_FUA)
		write_back(first, n);
	return status;
}

static blk_status_t flush(void)
{
	blk_status_t status = status_of(FLUSHES, 0);

	if (status == BLK_STS_OK)
		write_back(0, SECTORS);
	return status;
}

static struct bio *next_bio(void)
{
	struct bio *bio;

	spin_lock(&bios_lock);
	bio = bio_list_pop(&bios);
	spin_unlock(&bios_lock);
	return bio;
}

static void answer(struct work_struct *work)
{
	struct bio *bio;

	while ((bio = next_bio())) {
		if (bio->bi_opf & REQ_PREFLUSH)
			bio->bi_status = flush();
		if (bio->bi_status == BLK_STS_OK && bio_sectors(bio))
			bio->bi_status = perform(bio);
		bio_endio(bio);
	}
}

static DECLARE_WORK(work, answer);

static void submit(struct bio *bio)
{
	spin_lock(&bios_lock);
	bio_list_add(&bios, bio);
	spin_unlock(&bios_lock);
	queue_work(queue, &work);
}

static const struct block_device_operations operations = {
	.owner = THIS_MODULE,
	.submit_bio = submit,
};

static int add(void)
{
	int r;

	disk = blk_alloc_disk(NUMA_NO_NODE);
	if (!disk)
		return -ENOMEM;
	strscpy(disk->disk_name, "medium", sizeof(disk->disk_name));
	disk->fops = &operations;
	disk->flags |= GENHD_FL_NO_PART;
	set_capacity(disk, SECTORS);
	blk_queue_write_cache(disk->queue, true, true);
	blk_queue_max_write_zeroes_sectors(disk->queue, UINT_MAX);
	blk_queue_flag_set(QUEUE_FLAG_NOWAIT, disk->queue);
	r = add_disk(disk);
	if (r)
		put_disk(disk);
	return r;
}

static void show(void)
{
	int i;

	dir = debugfs_create_dir("medium", NULL);
	debugfs_create_blob("medium", 0400, dir, &blob);
	debugfs_create_u32("fail", 0600, dir, &fail);
	debugfs_create_u32("unsupported", 0600, dir, &unsupported);
	debugfs_create_u64("from", 0600, dir, &from);
	for (i = 0; i < NR_OPS; i++)
		debugfs_create_u32(op_names[i], 0400, dir, &counts[i]);
}

static void release(void)
{
	if (queue)
		destroy_workqueue(queue);
	vfree(cache);
	vfree(blob.data);
}

static int __init medium_init(void)
{
	int r = -ENOMEM;

	cache = vzalloc(SIZE);
	blob.data = vzalloc(SIZE);
	queue = alloc_ordered_workqueue("medium", WQ_MEM_RECLAIM);
	if (cache && blob.data && queue)
		r = add();
	if (r)
		release();
	else
		show();
	return r;
}
module_init(medium_init);

static void __exit medium_exit(void)
{
	debugfs_remove_recursive(dir);
	del_gendisk(disk);
	put_disk(disk);
	release();
}
module_exit(medium_exit);

MODULE_DESCRIPTION("a disk that fails on demand");
MODULE_LICENSE("GPL");
