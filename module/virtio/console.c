// SPDX-License-Identifier: GPL-2.0-only
/*
 * Console (virtio 1.2 §5.3) with one port: what the guest writes goes to one
 * file, what it reads comes from another, by the workers of its two queues.
 *
 * No worker ever waits in a file: it would hold up whoever stops the queue. A
 * file's description says whether its users wait, and the caller's is the
 * caller's to change, so pipes and terminals are opened once more, for us alone;
 * sockets are told with each call; regular files do not wait. A queue whose
 * file is not ready takes no chain until the file's wait queue says that it is.
 *
 * A chain that was written in part goes back to the ring until the next time,
 * so that nothing is in flight between two rounds of a worker.
 */
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/major.h>
#include <linux/mmu_notifier.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/virtio_byteorder.h>
#include <linux/virtio_console.h>

#include "../compat.h"
#include "private.h"

enum { INPUT, OUTPUT, QUEUES };

/* Moved with one call at most. */
#define STEP		SZ_64K

/* Emergency output that may wait for the worker. */
#define EMERGENCY	256

/* A file has one wait queue, or one for each direction. */
#define WATCHES		2

#define PTMX_MINOR	2

/**
 * struct watch - our place in a wait queue of a file's
 * @wait: on @head
 * @head: the wait queue, which lives as long as the file
 * @end: whose
 */
struct watch {
	wait_queue_entry_t wait;
	wait_queue_head_t *head;
	struct end *end;
};

/**
 * struct end - a file that is read or written
 * @queue: [c] that reads or writes it
 * @given: [q] as the caller knows it; a reference is held; NULL: it was let go
 * @file: [q] what is used; a reference is held, or NULL
 * @events: [c] when @queue's worker is to look
 * @poll: [c] fills in @watches
 * @nr_watches: [q] those of @watches that are used
 * @too_many: [c] there were more
 * @watches: [c]
 * @owner: [c] lets go when the owner is gone, if @mm is not NULL
 * @mm: [c] the owner's
 *
 * [c] const once it is open; [q] likewise, until its owner is gone: then @queue's
 * lock.
 */
struct end {
	struct kiln_queue *queue;
	struct file *given;
	struct file *file;
	__poll_t events;
	poll_table poll;
	u32 nr_watches;
	bool too_many;
	struct watch watches[WATCHES];
	struct mmu_notifier owner;
	struct mm_struct *mm;
};

/**
 * struct console - a console
 * @ends: [d, q] by queue; NULL for none
 * @skip: [o] bytes of the first chain that were written
 * @received: bytes the guest got
 * @sent: bytes the guest wrote that went to the file
 * @dropped: bytes the guest wrote that did not
 * @node: in the output queue's list of what is done while @nr_urgent
 * @urgent_lock: guards @nr_urgent and @urgent
 * @nr_urgent: bytes in @urgent
 * @urgent: emergency output
 *
 * Locks: [d] dev->lock and [q] queue->lock to change, either to read; [o] the
 * output queue's lock.
 */
struct console {
	struct end *ends[QUEUES];
	u64 skip;
	atomic64_t received;
	atomic64_t sent;
	atomic64_t dropped;
	struct llist_node node;
	spinlock_t urgent_lock;		/* nr_urgent and urgent */
	u32 nr_urgent;
	u8 urgent[EMERGENCY];
};

/* -------------------------------------------------------------------- files */

/* Called with the wait queue's lock held, IRQs may be off. */
static int wake(wait_queue_entry_t *wait, unsigned int mode, int sync,
		void *key)
{
	const struct watch *watch = container_of(wait, struct watch, wait);
	__poll_t events = key_to_poll(key);

	/* No events: whoever wakes does not say which. */
	if (!events || events & watch->end->events)
		kiln_queue_kick(watch->end->queue);
	return 1;
}

static void add_watch(struct file *file, wait_queue_head_t *head,
		      poll_table *poll)
{
	struct end *end = container_of(poll, struct end, poll);
	struct watch *watch = &end->watches[end->nr_watches];

	if (end->nr_watches == WATCHES) {
		end->too_many = true;
		return;
	}
	end->nr_watches++;
	watch->end = end;
	watch->head = head;
	init_waitqueue_func_entry(&watch->wait, wake);
	add_wait_queue(head, &watch->wait);
}

static void let_go(struct end *end)
{
	mutex_lock(&end->queue->lock);
	while (end->nr_watches) {
		struct watch *watch = &end->watches[--end->nr_watches];

		remove_wait_queue(watch->head, &watch->wait);
	}
	if (end->file)
		fput(end->file);
	if (end->given)
		fput(end->given);
	end->file = NULL;
	end->given = NULL;
	mutex_unlock(&end->queue->lock);
}

static void owner_gone(struct mmu_notifier *owner, struct mm_struct *mm)
{
	let_go(container_of(owner, struct end, owner));
}

static const struct mmu_notifier_ops owner_ops = { .release = owner_gone };

/*
 * A UNIX socket may carry our own descriptor: each keeps the other alive then,
 * and nobody would be left to close either once the owner is gone.
 */
static int follow_owner(struct end *end)
{
	struct mm_struct *mm = end->queue->dev->vm->mm;
	int r;

	if (!S_ISSOCK(file_inode(end->file)->i_mode))
		return 0;
	end->owner.ops = &owner_ops;
	r = mmu_notifier_register(&end->owner, mm);
	if (!r)
		end->mm = mm;
	return r;
}

/* Not with the queue's lock. */
static void close_end(struct end *end)
{
	if (!end)
		return;
	if (end->mm)
		mmu_notifier_unregister(&end->owner, end->mm);
	let_go(end);
	kfree(end);
}

static bool is_pty_master(const struct file *file)
{
	dev_t dev = file_inode(file)->i_rdev;

	return dev == MKDEV(TTYAUX_MAJOR, PTMX_MINOR) ||
	       MAJOR(dev) == PTY_MASTER_MAJOR ||
	       MAJOR(dev) == UNIX98_PTY_MASTER_MAJOR;
}

/* To open a pty's master once more makes another pty. */
static struct file *as_given(struct file *given)
{
	if (is_pty_master(given) && !(given->f_flags & O_NONBLOCK))
		return ERR_PTR(-EINVAL);
	return get_file(given);
}

/* What opening /proc/self/fd/N gives. */
static struct file *open_again(struct file *given, fmode_t mode)
{
	int flags = mode & FMODE_READ ? O_RDONLY : O_WRONLY;

	return dentry_open(&given->f_path, flags | O_NONBLOCK | O_NOCTTY,
			   current_cred());
}

/* A reference on what does not wait. */
static struct file *unwaiting(struct file *given, fmode_t mode)
{
	bool iter = mode & FMODE_READ ? given->f_op->read_iter :
					given->f_op->write_iter;

	/* Since 6.16 a signalfd, a timerfd is a regular file, and waits. */
	if (IS_PRIVATE(file_inode(given)))
		return ERR_PTR(-EINVAL);
	switch (file_inode(given)->i_mode & S_IFMT) {
	case S_IFREG:
	case S_IFSOCK:
		return iter ? get_file(given) : ERR_PTR(-EINVAL);
	case S_IFCHR:
		if (!iter)
			return ERR_PTR(-EINVAL);
		if (!given->f_op->poll || is_pty_master(given))
			return as_given(given);
		return open_again(given, mode);
	case S_IFIFO:
		return open_again(given, mode);
	default:
		return ERR_PTR(-EINVAL);
	}
}

/* Open end->file, and have end->queue woken when it is ready. */
static int open_file(struct end *end, fmode_t mode)
{
	struct file *file;

	if (!(end->given->f_mode & mode))
		return -EBADF;
	file = unwaiting(end->given, mode);
	if (IS_ERR(file))
		return PTR_ERR(file);
	end->file = file;
	end->events = EPOLLHUP | EPOLLERR;
	if (mode & FMODE_READ)
		end->events |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	else
		end->events |= EPOLLOUT | EPOLLWRNORM;
	/* A regular file is always ready; its wait queue may go before it does. */
	if (S_ISREG(file_inode(file)->i_mode))
		return 0;
	init_poll_funcptr(&end->poll, add_watch);
	vfs_poll(file, &end->poll);
	return end->too_many ? -EINVAL : follow_owner(end);
}

/* @fd: -1 for none. If it is @old's, that stays. */
static struct end *open_end(struct kiln_queue *queue, int fd, fmode_t mode,
			    struct end *old)
{
	struct file *given;
	struct end *end;
	int r;

	if (fd == -1)
		return NULL;
	given = fget(fd);
	if (!given)
		return ERR_PTR(-EBADF);
	if (old && old->given == given) {
		fput(given);
		return old;
	}
	end = kzalloc(sizeof(*end), GFP_KERNEL_ACCOUNT);
	if (!end) {
		fput(given);
		return ERR_PTR(-ENOMEM);
	}
	end->queue = queue;
	end->given = given;
	r = open_file(end, mode);
	if (r) {
		close_end(end);
		return ERR_PTR(r);
	}
	return end;
}

/*
 * Bytes moved, 0 at a file's end, or an errno; -EAGAIN: not now. What a peer's
 * end raises (SIGPIPE) is nothing to a kernel thread.
 */
static ssize_t transfer(struct end *end, struct iov_iter *iter)
{
	struct file *file = end->file;
	const struct cred *cred;
	struct kiocb iocb;
	umode_t type;
	ssize_t r;

	if (!file)
		return -EPIPE;
	type = file_inode(file)->i_mode & S_IFMT;
	/* The one description that is not ours to keep as it was. */
	if (type == S_IFCHR && file->f_op->poll &&
	    !(file->f_flags & O_NONBLOCK))
		return -EBADFD;
	init_sync_kiocb(&iocb, file);
	if (type == S_IFSOCK)
		iocb.ki_flags |= IOCB_NOWAIT;
	if (type == S_IFREG) {
		mutex_lock(&file->f_pos_lock);
		iocb.ki_pos = file->f_pos;
	}
	cred = override_creds(file->f_cred);
	if (iov_iter_rw(iter) == WRITE)
		r = kiln_iocb_write(file, &iocb, iter);
	else
		r = vfs_iocb_iter_read(file, &iocb, iter);
	revert_creds(cred);
	if (type == S_IFREG) {
		file->f_pos = iocb.ki_pos;
		mutex_unlock(&file->f_pos_lock);
	}
	return r;
}

/* ------------------------------------------------------------------- output */

/* The chain is over, in whatever way. */
static void finish(struct kiln_queue *queue,
		   const struct kiln_vring_chain *chain)
{
	struct console *console = queue->dev->priv;

	console->skip = 0;
	kiln_queue_push(queue, chain, 0);
}

/* Return true if there is nothing to wait for. */
static bool send_some(struct kiln_queue *queue,
		      const struct kiln_vring_chain *chain)
{
	struct console *console = queue->dev->priv;
	struct end *end = console->ends[OUTPUT];
	u64 left = chain->out_len - console->skip;
	struct iov_iter iter;
	ssize_t r = -EPIPE;

	iov_iter_init(&iter, ITER_SOURCE, chain->iov, chain->nr_out,
		      chain->out_len);
	iov_iter_advance(&iter, console->skip);
	iov_iter_truncate(&iter, STEP);
	if (end)
		r = transfer(end, &iter);
	if (r == -EAGAIN) {
		kiln_queue_unpop(queue, chain);
		return false;
	}
	if (r > 0) {
		atomic64_add(r, &console->sent);
		console->skip += r;
	}
	if (r > 0 && r < left) {
		kiln_queue_unpop(queue, chain);
		return true;
	}
	/* Nobody is there to take the rest, or it cannot be taken. */
	if (r <= 0)
		atomic64_add(left, &console->dropped);
	finish(queue, chain);
	if (r == -EFAULT)
		kiln_virtio_break(queue, r,
				  "output of a console cannot be read");
	return true;
}

static bool send(struct kiln_queue *queue, unsigned int *budget)
{
	struct console *console = queue->dev->priv;
	struct kiln_vring_chain chain;

	for (; *budget; --*budget) {
		if (!kiln_queue_pop(queue, &chain))
			return false;
		if (chain.in_len) {
			finish(queue, &chain);
			kiln_virtio_break(queue, -EINVAL,
					  "output of a console has a part that the device is to write");
			return false;
		}
		/* It may be another one than it was. */
		if (chain.out_len <= console->skip)
			finish(queue, &chain);
		else if (!send_some(queue, &chain))
			return false;
	}
	return true;
}

/* -------------------------------------------------------------------- input */

/* Of a read that failed any part may be there; not of one that only found nothing. */
static u64 may_have_read(ssize_t r)
{
	if (r >= 0)
		return r;
	return r == -EAGAIN ? 0 : STEP;
}

/* Return true if there may be more. */
static bool receive_some(struct kiln_queue *queue,
			 const struct kiln_vring_chain *chain)
{
	struct console *console = queue->dev->priv;
	struct iov_iter iter;
	ssize_t r;

	iov_iter_init(&iter, ITER_DEST, chain->iov, chain->nr_in,
		      chain->in_len);
	iov_iter_truncate(&iter, STEP);
	r = transfer(console->ends[INPUT], &iter);
	kiln_queue_wrote(queue, chain->iov, chain->nr_in, may_have_read(r));
	if (r > 0) {
		atomic64_add(r, &console->received);
		kiln_queue_push(queue, chain, r);
		return true;
	}
	/* The file's end may not be its last: somebody else opens the pipe. */
	kiln_queue_unpop(queue, chain);
	if (r == -EFAULT)
		kiln_virtio_break(queue, r,
				  "input of a console cannot be written");
	return false;
}

static const char *no_room(const struct kiln_vring_chain *chain)
{
	if (chain->out_len)
		return "a buffer for a console's input has a part that the device may not write";
	return "a buffer for a console's input is empty";
}

static bool receive(struct kiln_queue *queue, unsigned int *budget)
{
	struct console *console = queue->dev->priv;
	struct kiln_vring_chain chain;

	if (!console->ends[INPUT])
		return false;
	for (; *budget; --*budget) {
		if (!kiln_queue_pop(queue, &chain))
			return false;
		if (chain.out_len || !chain.in_len) {
			kiln_queue_push(queue, &chain, 0);
			kiln_virtio_break(queue, -EINVAL, no_room(&chain));
			return false;
		}
		if (!receive_some(queue, &chain))
			return false;
	}
	return true;
}

static bool console_serve(struct kiln_queue *queue, unsigned int *budget)
{
	return queue->index == INPUT ? receive(queue, budget) :
				       send(queue, budget);
}

/* --------------------------------------------------------- emergency output */

/* §5.3.4: a byte written to the configuration, be there a driver or not. */
static void add_urgent(struct kiln_virtio *dev, u8 byte)
{
	struct console *console = dev->priv;
	bool full, first;

	spin_lock(&console->urgent_lock);
	full = console->nr_urgent == EMERGENCY;
	first = !console->nr_urgent;
	if (!full)
		console->urgent[console->nr_urgent++] = byte;
	spin_unlock(&console->urgent_lock);
	if (full)
		atomic64_inc(&console->dropped);
	else if (first)
		kiln_queue_done(&dev->queues[OUTPUT], &console->node);
}

static u32 take_urgent(struct console *console, u8 *bytes)
{
	u32 nr;

	spin_lock(&console->urgent_lock);
	nr = console->nr_urgent;
	memcpy(bytes, console->urgent, nr);
	console->nr_urgent = 0;
	spin_unlock(&console->urgent_lock);
	return nr;
}

/* The list has one node, or comes again. What cannot go out now never does. */
static void console_complete(struct kiln_queue *queue, struct llist_node *list)
{
	struct console *console = queue->dev->priv;
	struct end *end = console->ends[OUTPUT];
	u8 bytes[EMERGENCY];
	struct kvec piece = { .iov_base = bytes };
	struct iov_iter iter;
	ssize_t r;

	piece.iov_len = take_urgent(console, bytes);
	while (piece.iov_len) {
		iov_iter_kvec(&iter, ITER_SOURCE, &piece, 1, piece.iov_len);
		r = end ? transfer(end, &iter) : -EPIPE;
		if (r <= 0)
			break;
		atomic64_add(r, &console->sent);
		piece.iov_base += r;
		piece.iov_len -= r;
	}
	atomic64_add(piece.iov_len, &console->dropped);
}

static int console_write_config(struct kiln_virtio *dev, u32 off, const u8 *buf,
				u32 len)
{
	if (off != offsetof(struct virtio_console_config, emerg_wr) || len != 4)
		return -EINVAL;
	/* Little-endian, and only the lower byte counts. */
	add_urgent(dev, buf[0]);
	return 0;
}

/* -------------------------------------------------------------------- calls */

static void install(struct kiln_virtio *dev, u32 index, struct end *end)
{
	struct kiln_queue *queue = &dev->queues[index];
	struct console *console = dev->priv;
	struct end *old = console->ends[index];

	if (old == end)
		return;
	mutex_lock(&queue->lock);
	console->ends[index] = end;
	mutex_unlock(&queue->lock);
	close_end(old);
	/* What there is in it has come before. */
	kiln_queue_kick(queue);
}

static void set_size(struct kiln_virtio *dev,
		     const struct kiln_virtio_console *args)
{
	struct virtio_console_config *config = (void *)dev->config;
	__virtio16 cols = __cpu_to_virtio16(true, args->cols);
	__virtio16 rows = __cpu_to_virtio16(true, args->rows);

	if (config->cols == cols && config->rows == rows)
		return;
	config->cols = cols;
	config->rows = rows;
	kiln_virtio_config_changed(dev);
}

static long set_console(struct kiln_virtio *dev, void __user *user)
{
	struct console *console = dev->priv;
	struct kiln_virtio_console args;
	struct end *in, *out;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (memchr_inv(args.reserved, 0, sizeof(args.reserved)))
		return -EINVAL;
	in = open_end(&dev->queues[INPUT], args.in, FMODE_READ,
		      console->ends[INPUT]);
	if (IS_ERR(in))
		return PTR_ERR(in);
	out = open_end(&dev->queues[OUTPUT], args.out, FMODE_WRITE,
		       console->ends[OUTPUT]);
	if (IS_ERR(out)) {
		if (in != console->ends[INPUT])
			close_end(in);
		return PTR_ERR(out);
	}
	install(dev, INPUT, in);
	install(dev, OUTPUT, out);
	set_size(dev, &args);
	return 0;
}

static long get_console(struct kiln_virtio *dev, void __user *user)
{
	struct console *console = dev->priv;
	struct kiln_virtio_console_counts counts = {
		.received = atomic64_read(&console->received),
		.sent = atomic64_read(&console->sent),
		.dropped = atomic64_read(&console->dropped),
	};

	return copy_to_user(user, &counts, sizeof(counts)) ? -EFAULT : 0;
}

static long console_ioctl(struct kiln_virtio *dev, unsigned int cmd,
			  void __user *user)
{
	switch (cmd) {
	case KILN_VIRTIO_SET_CONSOLE:
		return set_console(dev, user);
	case KILN_VIRTIO_GET_CONSOLE:
		return get_console(dev, user);
	default:
		return -ENOTTY;
	}
}

/* --------------------------------------------------------------------- life */

static int console_create(struct kiln_virtio *dev)
{
	struct console *console = kzalloc(sizeof(*console), GFP_KERNEL_ACCOUNT);

	if (!console)
		return -ENOMEM;
	spin_lock_init(&console->urgent_lock);
	dev->priv = console;
	return 0;
}

static void console_destroy(struct kiln_virtio *dev)
{
	struct console *console = dev->priv;
	int i;

	for (i = 0; i < QUEUES; i++)
		close_end(console->ends[i]);
	kfree(console);
}

/*
 * A ring that goes on goes on within the chain that was first in it. One that
 * begins anew may look the same: as after a reset of the queue.
 */
static int console_start_queue(struct kiln_queue *queue)
{
	struct console *console = queue->dev->priv;

	if (queue->index == OUTPUT && queue->has_base != KILN_BASE_STOPPED)
		console->skip = 0;
	return 0;
}

static void console_reset(struct kiln_virtio *dev)
{
	struct kiln_queue *queue = &dev->queues[OUTPUT];
	struct console *console = dev->priv;

	mutex_lock(&queue->lock);
	console->skip = 0;
	mutex_unlock(&queue->lock);
}

const struct kiln_virtio_ops kiln_virtio_console = {
	.id = VIRTIO_ID_CONSOLE,
	.name = "con",
	.min_queues = QUEUES,
	.max_queues = QUEUES,
	.features = BIT_ULL(VIRTIO_CONSOLE_F_SIZE) |
		    BIT_ULL(VIRTIO_CONSOLE_F_EMERG_WRITE),
	.config_size = sizeof(struct virtio_console_config),
	.iov_max = 128,
	.create = console_create,
	.destroy = console_destroy,
	.start_queue = console_start_queue,
	.serve = console_serve,
	.complete = console_complete,
	.reset = console_reset,
	.write_config = console_write_config,
	.ioctl = console_ioctl,
};
