// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory balloon (virtio 1.2 §5.5): its queues. What the guest gives away is
 * taken from the owner's address space before the guest is told so; how is in
 * balloon_memory.c.
 *
 * Inflating and reporting are the workers': they take the mmap lock and call
 * the MMU notifiers. A hostile buffer names a thousand million pages; it is
 * served in steps, and goes back to the ring after each with a note of how far
 * it is, so that whoever wants the queue stopped waits for one step.
 *
 * The statistics queue works the other way round (§5.5.6.3): the guest's buffer
 * stays in the ring, where it is read when it comes, until new statistics are
 * wanted and it is given back.
 *
 * Free page hints are in balloon_hint.c.
 */
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_byteorder.h>

#include "balloon.h"

/* Where the queues are, if features do not move them: see role_of(). */
enum role { INFLATE, DEFLATE, STATS, HINTS, REPORTING, QUEUES };

/* Page numbers taken with one step, and what that is of a worker's budget. */
#define STEP		1024
#define STEP_COST	32

/* Entries of a statistics buffer that are looked at. */
#define STATS_MAX	64

/**
 * struct balloon - a balloon
 * @memory: [c] how memory is given back
 * @hints: free page hints, with a lock of their own
 * @skip: [i] bytes of the first buffer of the inflate queue that were served
 * @pfns: [i] those of a step
 * @lock: guards all below
 * @inflated: 4 KiB pages the guest has given and not taken back
 * @reported: bytes given back because they were reported free
 * @refused: bytes that could not be given back
 * @stats_ns: how often statistics are asked for; 0: never
 * @stats_due: when they are asked for next, CLOCK_MONOTONIC ns
 * @stats_valid: which of @stats the guest gave last
 * @stats: what it gave
 *
 * Locks: [c] const; [i] the inflate queue's.
 */
struct balloon {
	struct kiln_balloon_memory memory;
	struct kiln_hints hints;
	u32 skip;
	u32 pfns[STEP];
	spinlock_t lock;		/* all below */
	u64 inflated;
	u64 reported;
	u64 refused;
	u64 stats_ns;
	u64 stats_due;
	u32 stats_valid;
	u64 stats[KILN_BALLOON_STATS];
};

/*
 * §5.5.2 numbers the queues whatever the features are; Linux before 6.11 and
 * others leave no gap for those that do not exist. A driver that uses the queue
 * for statistics without having them is one of these.
 */
static enum role role_of(const struct kiln_queue *queue)
{
	const struct kiln_virtio *dev = queue->dev;
	u32 index = queue->index;

	if (index < STATS)
		return index;
	if (kiln_virtio_has(dev, VIRTIO_BALLOON_F_STATS_VQ)) {
		if (index == STATS)
			return STATS;
	} else if (READ_ONCE(dev->queues[STATS].enabled)) {
		index++;
	}
	if (index == HINTS &&
	    kiln_virtio_has(dev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		return HINTS;
	return REPORTING;
}

static struct virtio_balloon_config *config_of(struct kiln_virtio *dev)
{
	return (void *)dev->config;
}

/* ------------------------------------------------------ inflate and deflate */

static void count_refused(struct balloon *balloon, u64 bytes)
{
	if (!bytes)
		return;
	spin_lock(&balloon->lock);
	balloon->refused += bytes;
	spin_unlock(&balloon->lock);
}

/* Page numbers may be any. Pages in no slot go one by one. */
static void give_back_gpa(struct kiln_virtio *dev, u64 gpa, u64 len)
{
	struct balloon *balloon = dev->priv;
	struct kiln_mmu_span span;
	u64 n, done, off;

	for (; len; gpa += n, len -= n) {
		n = PAGE_SIZE;
		done = 0;
		if (kiln_mmu_find_span(&dev->vm->mmu, gpa, &span)) {
			off = gpa - span.gpa;
			n = min(len, span.len - off);
			if (span.writable)
				done = kiln_balloon_give_back(&balloon->memory,
							      span.hva + off,
							      n);
		}
		count_refused(balloon, n - done);
	}
}

static int compare(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

/* Pages come in any order; the fewer ranges they make the better. */
static void inflate(struct kiln_virtio *dev, u32 *pfns, u32 nr)
{
	u32 i, first;

	sort(pfns, nr, sizeof(*pfns), compare, NULL);
	for (i = 0; i < nr; i++) {
		first = pfns[i];
		while (i + 1 < nr && pfns[i + 1] - pfns[i] <= 1)
			i++;
		give_back_gpa(dev, (u64)first << PAGE_SHIFT,
			      ((u64)pfns[i] - first + 1) << PAGE_SHIFT);
		cond_resched();
	}
}

/* Return how many page numbers were taken, or -EFAULT. */
static int take_pfns(struct kiln_queue *queue,
		     const struct kiln_vring_chain *chain)
{
	struct balloon *balloon = queue->dev->priv;
	u32 len = min_t(u64, chain->out_len - balloon->skip,
			sizeof(balloon->pfns));
	u32 i, nr = len / sizeof(u32);
	struct iov_iter from;

	iov_iter_init(&from, ITER_SOURCE, chain->iov, chain->nr_out,
		      chain->out_len);
	iov_iter_advance(&from, balloon->skip);
	if (!copy_from_iter_full(balloon->pfns, len, &from))
		return -EFAULT;
	for (i = 0; i < nr; i++)
		le32_to_cpus(&balloon->pfns[i]);
	return nr;
}

static void count_inflated(struct balloon *balloon, u64 more, u64 less)
{
	spin_lock(&balloon->lock);
	balloon->inflated += more;
	balloon->inflated -= min(balloon->inflated, less);
	spin_unlock(&balloon->lock);
}

static void refuse(struct kiln_queue *queue,
		   const struct kiln_vring_chain *chain, int error,
		   const char *cause)
{
	kiln_queue_push(queue, chain, 0);
	kiln_virtio_break(queue, error, cause);
}

/* A step of a buffer: false if it broke the device. */
static bool inflate_some(struct kiln_queue *queue,
			 const struct kiln_vring_chain *chain)
{
	struct balloon *balloon = queue->dev->priv;
	int nr;

	/* The ring may hold another one than it did. */
	if (balloon->skip < chain->out_len) {
		nr = take_pfns(queue, chain);
		if (nr < 0) {
			refuse(queue, chain, nr,
			       "page numbers for the balloon cannot be read");
			return false;
		}
		inflate(queue->dev, balloon->pfns, nr);
		count_inflated(balloon, nr, 0);
		balloon->skip += nr * sizeof(u32);
	}
	if (balloon->skip < chain->out_len) {
		kiln_queue_unpop(queue, chain);
		return true;
	}
	balloon->skip = 0;
	kiln_queue_push(queue, chain, 0);
	return true;
}

static const char *bad_pfns(const struct kiln_vring_chain *chain)
{
	if (chain->in_len)
		return "page numbers for the balloon have a part that the device is to write";
	if (chain->out_len % sizeof(u32))
		return "page numbers for the balloon end in the middle of one";
	/* A position among them is kept in 32 bits. */
	if (chain->out_len > U32_MAX)
		return "page numbers for the balloon do not end";
	return NULL;
}

static bool serve_inflate(struct kiln_queue *queue, unsigned int *budget)
{
	struct kiln_vring_chain chain;
	const char *bad;

	while (*budget) {
		if (!kiln_queue_pop(queue, &chain))
			return false;
		bad = bad_pfns(&chain);
		if (bad) {
			refuse(queue, &chain, -EINVAL, bad);
			return false;
		}
		if (!inflate_some(queue, &chain))
			return false;
		*budget -= min_t(unsigned int, *budget, STEP_COST);
	}
	return true;
}

/* The memory comes back when it is touched: it is only counted. */
static bool serve_deflate(struct kiln_queue *queue, unsigned int *budget)
{
	struct balloon *balloon = queue->dev->priv;
	struct kiln_vring_chain chain;
	const char *bad;

	for (; *budget; --*budget) {
		if (!kiln_queue_pop(queue, &chain))
			return false;
		bad = bad_pfns(&chain);
		if (bad) {
			refuse(queue, &chain, -EINVAL, bad);
			return false;
		}
		count_inflated(balloon, 0, chain.out_len / sizeof(u32));
		kiln_queue_push(queue, &chain, 0);
	}
	return true;
}

/* ---------------------------------------------------------------- reporting */

/*
 * §5.5.6.7.2: what is given back reads as zeroes, which a guest that fills free
 * pages with something else must not find there.
 */
static bool may_clear(struct kiln_virtio *dev)
{
	return !kiln_virtio_has(dev, VIRTIO_BALLOON_F_PAGE_POISON) ||
	       !config_of(dev)->poison_val;
}

/* Whole pages of a piece; it need not be any. */
static void report_piece(struct kiln_virtio *dev, const struct iovec *piece)
{
	unsigned long start = (unsigned long)piece->iov_base;
	unsigned long first = PAGE_ALIGN(start);
	unsigned long end = (start + piece->iov_len) & PAGE_MASK;
	struct balloon *balloon = dev->priv;
	u64 done = 0;

	if (first < end)
		done = kiln_balloon_give_back(&balloon->memory, first,
					      end - first);
	spin_lock(&balloon->lock);
	balloon->reported += done;
	balloon->refused += piece->iov_len - done;
	spin_unlock(&balloon->lock);
	cond_resched();
}

static bool serve_reporting(struct kiln_queue *queue, unsigned int *budget)
{
	struct kiln_virtio *dev = queue->dev;
	struct kiln_vring_chain chain;
	u32 i;

	for (; *budget; --*budget) {
		if (!kiln_queue_pop(queue, &chain))
			return false;
		if (!kiln_virtio_has(dev, VIRTIO_BALLOON_F_REPORTING) ||
		    chain.out_len) {
			refuse(queue, &chain, -EINVAL,
			       "free pages are reported otherwise than by buffers of a queue for them");
			return false;
		}
		for (i = 0; i < chain.nr_in && may_clear(dev); i++)
			report_piece(dev, &chain.iov[i]);
		kiln_queue_push(queue, &chain, 0);
	}
	return true;
}

/* --------------------------------------------------------------- statistics */

/* A buffer of any length; what is unknown does not count (§5.5.6.3.2). */
static void take_stats(struct balloon *balloon,
		       const struct kiln_vring_chain *chain)
{
	u64 stats[KILN_BALLOON_STATS] = {};
	struct virtio_balloon_stat stat;
	struct iov_iter from;
	u32 i, valid = 0;
	u16 tag;

	iov_iter_init(&from, ITER_SOURCE, chain->iov, chain->nr_out,
		      chain->out_len);
	for (i = 0; i < STATS_MAX; i++) {
		if (!copy_from_iter_full(&stat, sizeof(stat), &from))
			break;
		tag = __virtio16_to_cpu(true, stat.tag);
		if (tag >= KILN_BALLOON_STATS)
			continue;
		tag = array_index_nospec(tag, KILN_BALLOON_STATS);
		valid |= BIT(tag);
		stats[tag] = __virtio64_to_cpu(true, stat.val);
	}
	spin_lock(&balloon->lock);
	/* Else they were switched off meanwhile, and are forgotten. */
	if (balloon->stats_ns) {
		balloon->stats_valid = valid;
		memcpy(balloon->stats, stats, sizeof(stats));
	}
	spin_unlock(&balloon->lock);
}

/* balloon->lock. */
static void forget_stats(struct balloon *balloon)
{
	balloon->stats_valid = 0;
	memset(balloon->stats, 0, sizeof(balloon->stats));
}

/* How long the guest may keep its buffer, ns; 0: ask now. -1: for good. */
static s64 stats_delay(struct balloon *balloon)
{
	u64 now = ktime_get_ns();
	s64 delay = -1;

	spin_lock(&balloon->lock);
	if (balloon->stats_ns) {
		delay = max_t(s64, balloon->stats_due - now, 0);
		if (!delay)
			balloon->stats_due = now + balloon->stats_ns;
	}
	spin_unlock(&balloon->lock);
	return delay;
}

static bool serve_stats(struct kiln_queue *queue, unsigned int *budget)
{
	struct balloon *balloon = queue->dev->priv;
	struct kiln_vring_chain chain;
	s64 delay;

	for (; *budget; --*budget) {
		if (!kiln_queue_pop(queue, &chain))
			return false;
		if (chain.in_len) {
			refuse(queue, &chain, -EINVAL,
			       "statistics of the balloon have a part that the device is to write");
			return false;
		}
		delay = stats_delay(balloon);
		if (!delay) {
			kiln_queue_push(queue, &chain, 0);
			continue;
		}
		if (delay > 0) {
			take_stats(balloon, &chain);
			kiln_queue_wait(queue, delay);
		}
		kiln_queue_unpop(queue, &chain);
		return false;
	}
	return true;
}

/* -------------------------------------------------------------------- calls */

static void set_period(struct kiln_virtio *dev, u32 seconds)
{
	struct balloon *balloon = dev->priv;
	u64 ns = (u64)seconds * NSEC_PER_SEC;
	bool changed;

	spin_lock(&balloon->lock);
	changed = balloon->stats_ns != ns;
	balloon->stats_ns = ns;
	if (changed)
		balloon->stats_due = 0;
	if (!ns)
		forget_stats(balloon);
	spin_unlock(&balloon->lock);
	if (changed && dev->nr_queues > STATS)
		kiln_queue_kick(&dev->queues[STATS]);
}

static long set_balloon(struct kiln_virtio *dev, void __user *user)
{
	struct virtio_balloon_config *config = config_of(dev);
	struct kiln_virtio_balloon args;
	__le32 num_pages;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (memchr_inv(args.reserved, 0, sizeof(args.reserved)))
		return -EINVAL;
	set_period(dev, args.stats_seconds);
	num_pages = cpu_to_le32(args.num_pages);
	if (config->num_pages == num_pages)
		return 0;
	config->num_pages = num_pages;
	kiln_virtio_config_changed(dev);
	return 0;
}

static long get_balloon(struct kiln_virtio *dev, void __user *user)
{
	struct virtio_balloon_config *config = config_of(dev);
	struct balloon *balloon = dev->priv;
	struct kiln_virtio_balloon args = {
		.num_pages = le32_to_cpu(config->num_pages),
		.actual = le32_to_cpu(config->actual),
	};

	spin_lock(&balloon->lock);
	args.inflated = balloon->inflated;
	args.reported = balloon->reported;
	args.refused = balloon->refused;
	args.stats_seconds = div_u64(balloon->stats_ns, NSEC_PER_SEC);
	args.stats_valid = balloon->stats_valid;
	memcpy(args.stats, balloon->stats, sizeof(args.stats));
	spin_unlock(&balloon->lock);
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static long balloon_ioctl(struct kiln_virtio *dev, unsigned int cmd,
			  void __user *user)
{
	struct balloon *balloon = dev->priv;

	switch (cmd) {
	case KILN_VIRTIO_SET_BALLOON:
		return set_balloon(dev, user);
	case KILN_VIRTIO_GET_BALLOON:
		return get_balloon(dev, user);
	case KILN_VIRTIO_SET_HINT:
		return kiln_hints_set(&balloon->hints, dev, user);
	case KILN_VIRTIO_GET_HINT:
		return kiln_hints_get(&balloon->hints, user);
	default:
		return -ENOTTY;
	}
}

/* §5.5.6.6.1: what free pages are filled with is said before DRIVER_OK. */
static int balloon_write_config(struct kiln_virtio *dev, u32 off, const u8 *buf,
				u32 len)
{
	struct virtio_balloon_config *config = config_of(dev);

	if (len != sizeof(__le32))
		return -EINVAL;
	switch (off) {
	case offsetof(struct virtio_balloon_config, actual):
		memcpy(&config->actual, buf, len);
		return 0;
	case offsetof(struct virtio_balloon_config, poison_val):
		if (!kiln_virtio_has(dev, VIRTIO_BALLOON_F_PAGE_POISON) ||
		    kiln_virtio_at_work(dev))
			return -EINVAL;
		memcpy(&config->poison_val, buf, len);
		return 0;
	default:
		return -EINVAL;
	}
}

/* --------------------------------------------------------------------- life */

static bool serve_hints(struct kiln_queue *queue, unsigned int *budget)
{
	struct balloon *balloon = queue->dev->priv;

	return kiln_hints_serve(&balloon->hints, queue, budget);
}

static bool balloon_serve(struct kiln_queue *queue, unsigned int *budget)
{
	static bool (* const serve[])(struct kiln_queue *, unsigned int *) = {
		[INFLATE] = serve_inflate,
		[DEFLATE] = serve_deflate,
		[STATS] = serve_stats,
		[HINTS] = serve_hints,
		[REPORTING] = serve_reporting,
	};

	return serve[role_of(queue)](queue, budget);
}

static void balloon_served(struct kiln_queue *queue)
{
	struct balloon *balloon = queue->dev->priv;

	kiln_hints_served(&balloon->hints, queue);
}

static u64 balloon_offered(struct kiln_virtio *dev)
{
	u64 features = BIT_ULL(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);

	if (dev->nr_queues > STATS)
		features |= BIT_ULL(VIRTIO_BALLOON_F_STATS_VQ);
	if (dev->nr_queues == QUEUES)
		features |= BIT_ULL(VIRTIO_BALLOON_F_FREE_PAGE_HINT) |
			    BIT_ULL(VIRTIO_BALLOON_F_REPORTING) |
			    BIT_ULL(VIRTIO_BALLOON_F_PAGE_POISON);
	return features;
}

static int balloon_create(struct kiln_virtio *dev)
{
	struct balloon *balloon = kzalloc(sizeof(*balloon), GFP_KERNEL_ACCOUNT);
	int r;

	if (!balloon)
		return -ENOMEM;
	r = kiln_balloon_memory_init(&balloon->memory, dev->vm->mm);
	if (r) {
		kfree(balloon);
		return r;
	}
	spin_lock_init(&balloon->lock);
	kiln_hints_init(&balloon->hints, &balloon->memory);
	dev->priv = balloon;
	return 0;
}

static void balloon_destroy(struct kiln_virtio *dev)
{
	struct balloon *balloon = dev->priv;

	kiln_balloon_memory_exit(&balloon->memory);
	kfree(balloon);
}

/* To give a page back twice does no harm: the guest still waits for the first. */
static int balloon_start_queue(struct kiln_queue *queue)
{
	struct balloon *balloon = queue->dev->priv;

	if (queue->index == INFLATE)
		balloon->skip = 0;
	if (queue->index == DEFLATE)
		WRITE_ONCE(queue->inline_ok, true);
	return 0;
}

/* The guest that starts anew has all of its memory. */
static void balloon_reset(struct kiln_virtio *dev)
{
	struct virtio_balloon_config *config = config_of(dev);
	struct balloon *balloon = dev->priv;

	config->actual = 0;
	config->poison_val = 0;
	spin_lock(&balloon->lock);
	balloon->inflated = 0;
	forget_stats(balloon);
	spin_unlock(&balloon->lock);
	kiln_hints_reset(&balloon->hints, dev);
}

const struct kiln_virtio_ops kiln_virtio_balloon = {
	.id = VIRTIO_ID_BALLOON,
	.name = "bal",
	.min_queues = STATS,
	.max_queues = QUEUES,
	.config_size = sizeof(struct virtio_balloon_config),
	.iov_max = KILN_HINTS_MAX / 2,
	.create = balloon_create,
	.destroy = balloon_destroy,
	.offered = balloon_offered,
	.start_queue = balloon_start_queue,
	.serve = balloon_serve,
	.served = balloon_served,
	.reset = balloon_reset,
	.write_config = balloon_write_config,
	.ioctl = balloon_ioctl,
};
