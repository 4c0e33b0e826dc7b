// SPDX-License-Identifier: GPL-2.0-only
/*
 * Block device (virtio 1.2 §5.2): its requests.
 *
 * Reads and writes go to the file with a completion, so that a vCPU's own
 * thread can submit them without waiting: O_DIRECT comes back from the host's
 * block layer, what is in the page cache is done at once. What would make that
 * thread wait is refused by the file (IOCB_NOWAIT) and goes to a workqueue, as
 * do flushes, discards and zeroes: several of a queue are under way at once,
 * up to WAITING_MAX, and neither the vCPU nor the queue's worker waits with
 * them. Only writes that stay in the page cache are made by the worker, since
 * most file systems refuse all of these, and few have to wait.
 *
 * What O_DIRECT cannot do with the guest's buffers, as they are not aligned,
 * is done by way of the page cache, which the kernel keeps in step.
 *
 * A request in flight pins the pages of its data, the host's block layer does;
 * its status byte is written through the guest's mapping when it is over.
 */
#include <linux/atomic.h>
#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/virtio_byteorder.h>
#include <linux/workqueue.h>

#include "../compat.h"
#include "block.h"

/* Pieces that are remembered without an allocation. */
#define FEW_PIECES	4
/* Requests of a queue that wait at the same time, each in a thread. */
#define WAITING_MAX	16

/*
 * Of all queues there are: beyond that each has one that waits, as the threads
 * that wait are the host's, whoever made the disk.
 */
#define WAITING_ALL_MAX	2048

static atomic_t waiting_all = ATOMIC_INIT(0);

/**
 * struct request - a request in flight
 * @node: in queue->done
 * @next: in pool.free
 * @list: in pool.backlog
 * @queue: [c]
 * @chain: what is to be given back
 * @status: where the status byte goes, an address of the owner's
 * @type: VIRTIO_BLK_T_*, of which UNMAP of zeroes is in @unmap
 * @unmap: zeroes may be holes
 * @pos: where, bytes
 * @len: how much, bytes
 * @done: how much of that is done
 * @result: bytes or an errno, when it came back
 * @waits: one of pool.nr_waiting
 * @holds: who has not let go of it yet: the host, and a thread that submits it
 * @cached: by the page cache, though the file has O_DIRECT
 * @skip: bytes of the pieces before the data
 * @nr_pieces: pieces in @pieces, 0 if they were not kept
 * @pieces: of the side with the data; @few or allocated
 * @few: room for them
 * @iocb: to the file; its flags tell how it was tried
 * @work: for what waits
 */
struct request {
	union {
		struct llist_node node;
		struct request *next;
		struct list_head list;
	};
	struct kiln_queue *queue;
	struct kiln_vring_chain chain;
	u8 __user *status;
	u32 type;
	bool unmap;
	u64 pos;
	u64 len;
	u64 done;
	long result;
	bool waits;
	atomic_t holds;
	bool cached;
	u32 skip;
	u32 nr_pieces;
	struct iovec *pieces;
	struct iovec few[FEW_PIECES];
	struct kiocb iocb;
	struct work_struct work;
};

/**
 * struct pool - the requests of a queue
 * @nr: as many as the ring has descriptors
 * @free: those not in flight
 * @nr_waiting: those that the workqueue has
 * @backlog: those that it gets when others are done
 * @requests: all
 *
 * queue->lock.
 */
struct pool {
	u32 nr;
	struct request *free;
	u32 nr_waiting;
	struct list_head backlog;
	struct request requests[];
};

static struct block *block_of(const struct request *req)
{
	return req->queue->dev->priv;
}

static bool is_write(const struct request *req)
{
	return req->type == VIRTIO_BLK_T_OUT;
}

static bool by_worker(const struct kiln_queue *queue)
{
	return current == queue->worker.task;
}

static bool is_serial(const struct block *block)
{
	return block->args.flags & KILN_BLOCK_SERIAL;
}

static bool is_transfer(const struct request *req)
{
	return req->type == VIRTIO_BLK_T_IN || is_write(req);
}

/* ------------------------------------------------------------ the end of it */

static void forget_pieces(struct request *req)
{
	if (req->pieces != req->few)
		kvfree(req->pieces);
	req->pieces = NULL;
	req->nr_pieces = 0;
}

/*
 * The status is the last byte; all before it counts as written, though what a
 * read that failed left there is anything.
 */
static void give_back(struct request *req, u8 status)
{
	struct kiln_queue *queue = req->queue;
	struct pool *pool = queue->priv;
	bool fault = queue->running && put_user(status, req->status);
	u32 written = min_t(u64, req->chain.in_len, U32_MAX);

	if (!is_write(req))
		kiln_queue_wrote(queue, req->pieces, req->nr_pieces, req->len);
	kiln_mmu_wrote(&queue->dev->vm->mmu, (unsigned long)req->status, 1);
	forget_pieces(req);
	kiln_queue_push(queue, &req->chain, written);
	req->next = pool->free;
	pool->free = req;
	if (unlikely(fault && queue->running))
		kiln_virtio_break(queue, -EFAULT,
				  "the status of a block request cannot be written");
}

static u8 status_of(const struct request *req, long result)
{
	if (result == -EOPNOTSUPP)
		return VIRTIO_BLK_S_UNSUPP;
	return result < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

/* ------------------------------------------------------- reads and writes */

/*
 * The host may be done before the call that submitted to it has returned, and
 * that still looks at the iocb. Where no lock of the queue's keeps the request
 * from being used again meanwhile, the last of the two gives it back.
 */
static void let_go(struct request *req)
{
	if (atomic_dec_and_test(&req->holds))
		kiln_queue_done(req->queue, &req->node);
}

/* Context: any. */
static void came_back(struct kiocb *iocb, long result)
{
	struct request *req = container_of(iocb, struct request, iocb);

	if (is_write(req))
		kiln_iocb_end_write(iocb);
	req->result = result;
	let_go(req);
}

/* A write that is not over before it is on the medium. */
static bool is_durable(const struct request *req)
{
	return is_write(req) && !kiln_block_writeback(req->queue->dev);
}

static ssize_t transfer(struct request *req, const struct iovec *pieces,
			u32 nr, bool nowait)
{
	const struct block *block = block_of(req);
	struct file *file = block->file;
	const struct cred *cred;
	struct iov_iter iter;
	ssize_t r;

	iov_iter_init(&iter, is_write(req) ? ITER_SOURCE : ITER_DEST, pieces,
		      nr, req->skip + req->len);
	iov_iter_advance(&iter, req->skip + req->done);
	init_sync_kiocb(&req->iocb, file);
	req->iocb.ki_pos = req->pos + req->done;
	if (!is_serial(block))
		req->iocb.ki_complete = came_back;
	/* Flags of the file may be changed by whoever else has it. */
	req->iocb.ki_flags &= ~IOCB_APPEND;
	if (nowait)
		req->iocb.ki_flags |= IOCB_NOWAIT;
	if (req->cached)
		req->iocb.ki_flags &= ~IOCB_DIRECT;
	if (is_durable(req))
		req->iocb.ki_flags |= IOCB_DSYNC;
	cred = override_creds(file->f_cred);
	if (is_write(req))
		r = kiln_iocb_write(file, &req->iocb, &iter);
	else
		r = vfs_iocb_iter_read(file, &req->iocb, &iter);
	revert_creds(cred);
	return r;
}

/* O_DIRECT says so of buffers and places that are not aligned. */
static bool misaligned(const struct request *req, long result)
{
	return result == -EINVAL && block_of(req)->direct && !req->cached;
}

/* May wait. Context: in the VM's mm; the request is nobody else's. */
static ssize_t transfer_waiting(struct request *req,
				const struct iovec *pieces, u32 nr)
{
	struct block *block = block_of(req);
	bool serial = is_serial(block);
	ssize_t r;

	if (serial)
		mutex_lock(&block->serial);
	r = transfer(req, pieces, nr, false);
	if (unlikely(misaligned(req, r))) {
		req->cached = true;
		r = transfer(req, pieces, nr, false);
	}
	if (serial)
		mutex_unlock(&block->serial);
	return r;
}

/* -------------------------------------------------------------- what waits */

/* Context: on behalf of the owner, as all below to perform_as_opener(). */
static ssize_t transfer_if_alive(struct request *req)
{
	struct mm_struct *mm = req->queue->worker.mm;
	ssize_t r;

	if (!mmget_not_zero(mm))
		return -EIO;
	r = transfer_waiting(req, req->pieces, req->nr_pieces);
	mmput_async(mm);
	return r;
}

/* It was charged as if they were written. The device's other queues wait, too. */
static void refund(struct request *req)
{
	struct kiln_virtio *dev = req->queue->dev;
	struct block *block = block_of(req);
	u32 i;

	if (!READ_ONCE(block->bps.rate))
		return;
	kiln_limit_refund(&block->bps, req->len);
	for (i = 0; i < dev->nr_queues; i++)
		kiln_queue_kick(&dev->queues[i]);
}

static long zeroes(struct request *req)
{
	struct kiln_virtio *dev = req->queue->dev;
	int r;

	r = kiln_block_zeroes(dev, req->pos, req->len, req->unmap);
	if (r == -EOPNOTSUPP)
		return kiln_block_write_zeroes(req->queue, req->pos, req->len);
	refund(req);
	return r;
}

static long perform(struct request *req)
{
	struct kiln_virtio *dev = req->queue->dev;

	switch (req->type) {
	case VIRTIO_BLK_T_FLUSH:
		return kiln_block_flush(dev);
	case VIRTIO_BLK_T_DISCARD:
		return kiln_block_discard(dev, req->pos, req->len);
	default:
		return zeroes(req);
	}
}

static long perform_as_opener(struct request *req)
{
	struct block *block = block_of(req);
	const struct cred *cred = override_creds(block->file->f_cred);
	long r;

	if (is_serial(block))
		mutex_lock(&block->serial);
	r = perform(req);
	if (is_serial(block))
		mutex_unlock(&block->serial);
	revert_creds(cred);
	return r;
}

static void wait_work(struct work_struct *work)
{
	struct request *req = container_of(work, struct request, work);
	struct kiln_worker *worker = &req->queue->worker;
	long r;

	atomic_set(&req->holds, 2);
	kiln_worker_lend(worker);
	r = is_transfer(req) ? transfer_if_alive(req) : perform_as_opener(req);
	kiln_worker_unlend(worker);
	if (r != -EIOCBQUEUED) {
		req->result = r;
		atomic_set(&req->holds, 1);
	}
	let_go(req);
}

static u32 waiting_max(const struct request *req)
{
	return is_serial(block_of(req)) ? 1 : WAITING_MAX;
}

/* Context: queue->lock, as all of this. */
static void start_waiting(struct request *req)
{
	struct pool *pool = req->queue->priv;

	if (pool->nr_waiting == waiting_max(req) ||
	    (pool->nr_waiting && atomic_read(&waiting_all) >= WAITING_ALL_MAX)) {
		list_add_tail(&req->list, &pool->backlog);
		return;
	}
	pool->nr_waiting++;
	atomic_inc(&waiting_all);
	req->waits = true;
	INIT_WORK(&req->work, wait_work);
	queue_work(block_of(req)->waiting, &req->work);
}

static void stopped_waiting(struct request *req)
{
	struct pool *pool = req->queue->priv;
	struct request *next;

	req->waits = false;
	pool->nr_waiting--;
	atomic_dec(&waiting_all);
	next = list_first_entry_or_null(&pool->backlog, struct request, list);
	if (!next)
		return;
	list_del(&next->list);
	start_waiting(next);
}

/* ---------------------------------------------------------- and comes back */

/* Could it be that only waiting was not allowed, or that it did not fit? */
static bool try_again(const struct request *req, long result)
{
	if (!(req->iocb.ki_flags & IOCB_NOWAIT))
		return false;
	return result == -EAGAIN || result == -EOPNOTSUPP ||
	       (result > 0 && req->done < req->len);
}

/* Is it to be made by the worker, which does not expect to wait? */
static bool is_copy(const struct request *req)
{
	return is_write(req) && !block_of(req)->direct && !is_durable(req);
}

/* True if it goes on from where it came to. */
static bool goes_on(struct request *req, long result)
{
	struct kiln_queue *queue = req->queue;

	if (!queue->running || !req->nr_pieces)
		return false;
	if (misaligned(req, result))
		req->cached = true;
	else if (!try_again(req, result))
		return false;
	if (!is_copy(req)) {
		start_waiting(req);
		return true;
	}
	if (by_worker(queue))
		return false;
	req->result = -EAGAIN;
	llist_add(&req->node, &queue->done);
	return true;
}

/* Bytes or an errno: either is the end, or it goes on from there. */
static void arrived(struct request *req, long result)
{
	struct kiln_queue *queue = req->queue;

	if (result > 0)
		req->done += result;
	if (goes_on(req, result))
		return;
	if (queue->running && try_again(req, result)) {
		result = transfer(req, req->pieces, req->nr_pieces, false);
		if (result == -EIOCBQUEUED)
			return;
		if (result > 0)
			req->done += result;
	}
	/* A file that has become shorter ends early. */
	if (result >= 0 && req->done < req->len)
		result = -EIO;
	give_back(req, status_of(req, result));
}

/* They are needed again should it have to wait, and for a dirty log. */
static bool keep_pieces(struct request *req, const struct iovec *pieces, u32 nr,
			gfp_t gfp)
{
	req->pieces = req->few;
	if (nr > FEW_PIECES)
		req->pieces = kvmalloc_array(nr, sizeof(*pieces), gfp);
	if (!req->pieces)
		return false;
	memcpy(req->pieces, pieces, nr * sizeof(*pieces));
	req->nr_pieces = nr;
	return true;
}

static bool inside(const struct block *block, u64 sector, u64 sectors)
{
	return sector <= block->sectors && sectors <= block->sectors - sector;
}

static bool can_refuse(const struct block *block)
{
	return block->file->f_mode & FMODE_NOWAIT;
}

/* Will each request wait, as far as one can know? */
static bool always_waits(const struct block *block)
{
	return is_serial(block) || (!can_refuse(block) && !block->direct &&
				    !block->in_memory);
}

/* What the file allows, of a request whose pieces were kept. */
static void begin(struct request *req)
{
	const struct block *block = block_of(req);
	ssize_t r;

	if (always_waits(block)) {
		start_waiting(req);
		return;
	}
	r = transfer(req, req->pieces, req->nr_pieces, can_refuse(block));
	if (r != -EIOCBQUEUED)
		arrived(req, r);
}

/* False: this is no request. */
static bool measure(struct request *req, u64 sector)
{
	const struct kiln_vring_chain *chain = &req->chain;
	struct block *block = block_of(req);

	if (is_write(req)) {
		req->skip = sizeof(struct virtio_blk_outhdr);
		req->len = chain->out_len - req->skip;
	} else {
		req->skip = 0;
		req->len = chain->in_len - 1;
	}
	if (req->len % BLOCK_SECTOR || req->len > MAX_RW_COUNT ||
	    !inside(block, sector, req->len >> BLOCK_SECTOR_SHIFT) ||
	    (is_write(req) && block->args.flags & KILN_BLOCK_RO))
		return false;
	req->pos = sector << BLOCK_SECTOR_SHIFT;
	req->done = 0;
	req->cached = false;
	return true;
}

/* Return false to have the chain served by the worker. */
static bool read_write(struct request *req, u64 sector)
{
	const struct kiln_vring_chain *chain = &req->chain;
	const struct iovec *pieces = chain->iov;
	u32 nr = chain->nr_out;
	bool kept;
	ssize_t r;

	if (!measure(req, sector)) {
		give_back(req, VIRTIO_BLK_S_IOERR);
		return true;
	}
	if (!is_write(req)) {
		pieces += chain->nr_out;
		nr = chain->nr_in;
	}
	kept = keep_pieces(req, pieces, nr, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!kept && !by_worker(req->queue))
		return false;
	if (!kept && !is_write(req) &&
	    kiln_mmu_logging(&req->queue->dev->vm->mmu))
		kept = keep_pieces(req, pieces, nr,
				   GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	kiln_limit_charge(&block_of(req)->bps, req->len);
	if (kept) {
		begin(req);
		return true;
	}
	/* Without memory, without haste. */
	r = transfer_waiting(req, pieces, nr);
	if (r != -EIOCBQUEUED)
		arrived(req, r);
	return true;
}

/* ------------------------------------------------------------------ ranges */

/* §5.2.6.1: one range, as the configuration says. Return a status. */
static u8 take_range(struct request *req, struct iov_iter *out)
{
	struct virtio_blk_discard_write_zeroes range;
	struct block *block = block_of(req);
	u32 flags, nr;

	if (block->args.flags & KILN_BLOCK_RO ||
	    iov_iter_count(out) != sizeof(range) ||
	    !copy_from_iter_full(&range, sizeof(range), out))
		return VIRTIO_BLK_S_IOERR;
	flags = le32_to_cpu(range.flags);
	nr = le32_to_cpu(range.num_sectors);
	req->unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	if (flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ||
	    (req->unmap && req->type == VIRTIO_BLK_T_DISCARD))
		return VIRTIO_BLK_S_UNSUPP;
	if (!nr || nr > BLOCK_RANGE_MAX ||
	    !inside(block, le64_to_cpu(range.sector), nr))
		return VIRTIO_BLK_S_IOERR;
	req->pos = le64_to_cpu(range.sector) << BLOCK_SECTOR_SHIFT;
	req->len = (u64)nr << BLOCK_SECTOR_SHIFT;
	return VIRTIO_BLK_S_OK;
}

static void range_request(struct request *req, struct iov_iter *out,
			  int feature)
{
	u8 status = VIRTIO_BLK_S_UNSUPP;

	if (kiln_virtio_has(req->queue->dev, feature))
		status = take_range(req, out);
	if (status != VIRTIO_BLK_S_OK) {
		give_back(req, status);
		return;
	}
	/* Whether they are written the file says later, see zeroes(). */
	if (req->type == VIRTIO_BLK_T_WRITE_ZEROES)
		kiln_limit_charge(&block_of(req)->bps, req->len);
	start_waiting(req);
}

static void flush_request(struct request *req)
{
	if (kiln_virtio_has(req->queue->dev, VIRTIO_BLK_F_FLUSH))
		start_waiting(req);
	else
		give_back(req, VIRTIO_BLK_S_UNSUPP);
}

static void id_request(struct request *req)
{
	const struct kiln_vring_chain *chain = &req->chain;
	struct block *block = block_of(req);
	size_t len = min_t(u64, chain->in_len - 1, BLOCK_ID_LEN);
	struct iov_iter to;
	bool whole;

	iov_iter_init(&to, ITER_DEST, chain->iov + chain->nr_out, chain->nr_in,
		      chain->in_len);
	whole = copy_to_iter(block->args.id, len, &to) == len;
	kiln_queue_wrote(req->queue, chain->iov + chain->nr_out, chain->nr_in,
			 len);
	give_back(req, whole ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

/* ------------------------------------------------------------- all requests */

static struct request *new_request(struct kiln_queue *queue,
				   const struct kiln_vring_chain *chain)
{
	const struct iovec *last = chain->iov + chain->nr_out + chain->nr_in - 1;
	struct pool *pool = queue->priv;
	struct request *req = pool->free;

	pool->free = req->next;
	req->chain = *chain;
	req->status = last->iov_base + last->iov_len - 1;
	req->iocb.ki_flags = 0;
	req->waits = false;
	atomic_set(&req->holds, 1);
	return req;
}

static void unpop(struct request *req)
{
	struct kiln_queue *queue = req->queue;
	struct pool *pool = queue->priv;

	kiln_queue_unpop(queue, &req->chain);
	req->next = pool->free;
	pool->free = req;
}

/* Return false to have the chain served by the worker. */
static bool dispatch(struct request *req, u64 sector, struct iov_iter *out)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		if (read_write(req, sector))
			return true;
		unpop(req);
		return false;
	case VIRTIO_BLK_T_FLUSH:
		flush_request(req);
		return true;
	case VIRTIO_BLK_T_GET_ID:
		id_request(req);
		return true;
	case VIRTIO_BLK_T_DISCARD:
		range_request(req, out, VIRTIO_BLK_F_DISCARD);
		return true;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		range_request(req, out, VIRTIO_BLK_F_WRITE_ZEROES);
		return true;
	default:
		give_back(req, VIRTIO_BLK_S_UNSUPP);
		return true;
	}
}

/* A chain that is no request: the driver is told on another way. */
static bool refuse(struct kiln_queue *queue,
		   const struct kiln_vring_chain *chain, int error,
		   const char *cause)
{
	kiln_queue_push(queue, chain, 0);
	kiln_virtio_break(queue, error, cause);
	return true;
}

static bool serve_one(struct kiln_queue *queue,
		      const struct kiln_vring_chain *chain)
{
	struct virtio_blk_outhdr header;
	struct request *req;
	struct iov_iter out;

	if (chain->out_len < sizeof(header))
		return refuse(queue, chain, -EINVAL,
			      "a block request has no header");
	if (!chain->in_len)
		return refuse(queue, chain, -EINVAL,
			      "a block request has no room for its status");
	iov_iter_init(&out, ITER_SOURCE, chain->iov, chain->nr_out,
		      chain->out_len);
	if (!copy_from_iter_full(&header, sizeof(header), &out))
		return refuse(queue, chain, -EFAULT,
			      "the header of a block request cannot be read");
	req = new_request(queue, chain);
	req->type = __virtio32_to_cpu(true, header.type);
	return dispatch(req, __virtio64_to_cpu(true, header.sector), &out);
}

static bool block_serve(struct kiln_queue *queue, unsigned int *budget)
{
	struct block *block = queue->dev->priv;
	struct kiln_vring_chain chain;
	u64 ns;

	for (; *budget; --*budget) {
		ns = max(kiln_limit_delay(&block->iops),
			 kiln_limit_delay(&block->bps));
		if (unlikely(ns)) {
			kiln_queue_wait(queue, ns);
			return false;
		}
		if (!kiln_queue_pop(queue, &chain))
			return false;
		kiln_limit_charge(&block->iops, 1);
		if (!serve_one(queue, &chain))
			return true;
	}
	return true;
}

static void block_complete(struct kiln_queue *queue, struct llist_node *list)
{
	struct request *req, *next;

	llist_for_each_entry_safe(req, next, list, node) {
		atomic_set(&req->holds, 1);
		if (req->waits)
			stopped_waiting(req);
		if (is_transfer(req))
			arrived(req, req->result);
		else
			give_back(req, status_of(req, req->result));
	}
}

/* ------------------------------------------------------------------- life */

static int block_create(struct kiln_virtio *dev)
{
	struct block *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);

	if (!block)
		return -ENOMEM;
	/* An owner short of memory may be killed, and that waits for these. */
	block->waiting = alloc_workqueue("kiln-block",
					 WQ_UNBOUND | WQ_MEM_RECLAIM,
					 WQ_UNBOUND_MAX_ACTIVE);
	if (!block->waiting) {
		kfree(block);
		return -ENOMEM;
	}
	kiln_limit_init(&block->iops);
	kiln_limit_init(&block->bps);
	mutex_init(&block->serial);
	dev->priv = block;
	return 0;
}

static void block_destroy(struct kiln_virtio *dev)
{
	struct block *block = dev->priv;
	u32 i;

	destroy_workqueue(block->waiting);
	for (i = 0; i < dev->nr_queues; i++)
		kvfree(dev->queues[i].priv);
	kiln_block_drop(block);
	kfree(block);
}

static int block_start(struct kiln_virtio *dev)
{
	const struct block *block = dev->priv;

	return block->file ? 0 : -ENXIO;
}

static struct pool *make_pool(struct kiln_queue *queue, u32 nr)
{
	struct pool *pool;
	u32 i;

	pool = kvzalloc(struct_size(pool, requests, nr), GFP_KERNEL_ACCOUNT);
	if (!pool)
		return NULL;
	pool->nr = nr;
	INIT_LIST_HEAD(&pool->backlog);
	for (i = 0; i < nr; i++) {
		pool->requests[i].queue = queue;
		pool->requests[i].next = pool->free;
		pool->free = &pool->requests[i];
	}
	return pool;
}

static int block_start_queue(struct kiln_queue *queue)
{
	const struct block *block = queue->dev->priv;
	struct pool *pool = queue->priv;

	if (!pool || pool->nr != queue->ring.num) {
		pool = make_pool(queue, queue->ring.num);
		if (!pool)
			return -ENOMEM;
		kvfree(queue->priv);
		queue->priv = pool;
	}
	WRITE_ONCE(queue->inline_ok, can_refuse(block) || always_waits(block));
	return 0;
}

/* A queue that is to go on finishes what it has. */
static void block_stop_queue(struct kiln_queue *queue)
{
	struct pool *pool = queue->priv;
	struct request *req, *next;

	if (queue->running || !pool)
		return;
	list_for_each_entry_safe(req, next, &pool->backlog, list) {
		list_del(&req->list);
		give_back(req, VIRTIO_BLK_S_IOERR);
	}
}

/* The driver switches the cache. */
static int block_write_config(struct kiln_virtio *dev, u32 off, const u8 *buf,
			      u32 len)
{
	if (off != offsetof(struct virtio_blk_config, wce) || len != 1)
		return -EINVAL;
	return kiln_block_switch_cache(dev, *buf);
}

static long block_ioctl(struct kiln_virtio *dev, unsigned int cmd,
			void __user *user)
{
	return cmd == KILN_VIRTIO_SET_BLOCK ? kiln_block_set(dev, user) :
					      -ENOTTY;
}

const struct kiln_virtio_ops kiln_virtio_block = {
	.id = VIRTIO_ID_BLOCK,
	.name = "blk",
	.min_queues = 1,
	.max_queues = 64,
	.features = 0,
	.config_size = BLOCK_CONFIG_SIZE,
	.iov_max = 2 * (BLOCK_SEG_MAX + 2),
	.create = block_create,
	.destroy = block_destroy,
	.offered = kiln_block_offered,
	.negotiated = kiln_block_negotiated,
	.start = block_start,
	.start_queue = block_start_queue,
	.stop_queue = block_stop_queue,
	.serve = block_serve,
	.complete = block_complete,
	.reset = kiln_block_reset,
	.write_config = block_write_config,
	.ioctl = block_ioctl,
};
