// SPDX-License-Identifier: GPL-2.0-only
/*
 * Free page hints (virtio 1.2 §5.5.6.5): rounds in which the driver says what
 * memory holds nothing it needs.
 *
 * A hint is not a gift. The driver may use the page again at any time, also
 * before the device has looked at the hint, and what it writes then has to stay;
 * Linux does so when memory is short. Whether it has, the ring does not say. So
 * a hint is taken for advice where to look, and what is given back is what holds
 * zeroes: that changes nothing for anybody, whatever the driver did meanwhile,
 * and the round may be over, or the device reset, when it happens. Guests that
 * clear pages as they allocate them (init_on_alloc, which distributions switch on)
 * hint zeroes. Pages that hold something else, poison among it, stay.
 *
 * To look and then give back takes that nobody writes in between: devices are
 * held and vCPUs kept out as when slots change, for the time of one huge page.
 * That needs vm->virtio.lock, which is above queue->lock; so the worker does it
 * when it has served the queue.
 */
#include <linux/kernel.h>
#include <linux/uaccess.h>
#include <linux/virtio_balloon.h>

#include "balloon.h"

static __le32 *config_id(struct kiln_virtio *dev)
{
	return &((struct virtio_balloon_config *)dev->config)->free_page_hint_cmd_id;
}

static bool round_is_on(const struct kiln_hints *hints)
{
	return hints->state == KILN_BALLOON_HINT_ASKED ||
	       hints->state == KILN_BALLOON_HINT_BEGUN;
}

/* ---------------------------------------------------------------- the queue */

static const char *bad_hint(const struct kiln_vring_chain *chain)
{
	if (chain->out_len && chain->in_len)
		return "free page hints have a command and pages in one buffer";
	if (chain->out_len && chain->out_len != sizeof(__le32))
		return "a command of free page hints has other than 4 bytes";
	return NULL;
}

/* Other ids than the round's are old ones: what follows them is ignored. */
static void take_command(struct kiln_hints *hints, u32 id)
{
	spin_lock(&hints->lock);
	if (id == VIRTIO_BALLOON_CMD_ID_STOP) {
		hints->over |= hints->live;
		hints->live = false;
	} else {
		hints->live = id == hints->id && round_is_on(hints) &&
			      !hints->over;
		if (hints->live)
			hints->state = KILN_BALLOON_HINT_BEGUN;
	}
	spin_unlock(&hints->lock);
}

static bool is_live(struct kiln_hints *hints)
{
	bool live;

	spin_lock(&hints->lock);
	live = hints->live;
	spin_unlock(&hints->lock);
	return live;
}

static void take_pages(struct kiln_hints *hints, struct kiln_queue *queue,
		       const struct kiln_vring_chain *chain)
{
	if (!is_live(hints))
		return;
	/* Slots do not change while the queue is served. */
	hints->generation = kiln_mmu_generation(&queue->dev->vm->mmu);
	memcpy(hints->piece + hints->nr, chain->iov,
	       chain->nr_in * sizeof(*chain->iov));
	hints->nr += chain->nr_in;
	spin_lock(&hints->lock);
	hints->hinted += chain->in_len;
	spin_unlock(&hints->lock);
}

/* 0, or what breaks the device. */
static int take(struct kiln_hints *hints, struct kiln_queue *queue,
		const struct kiln_vring_chain *chain, const char **cause)
{
	struct iov_iter from;
	__le32 id;

	*cause = bad_hint(chain);
	if (*cause)
		return -EINVAL;
	if (!chain->out_len) {
		take_pages(hints, queue, chain);
		return 0;
	}
	iov_iter_init(&from, ITER_SOURCE, chain->iov, chain->nr_out,
		      chain->out_len);
	if (!copy_from_iter_full(&id, sizeof(id), &from)) {
		*cause = "a command of free page hints cannot be read";
		return -EFAULT;
	}
	take_command(hints, le32_to_cpu(id));
	return 0;
}

/* The worker of another queue may not have come to the end of what was before. */
static bool become_owner(struct kiln_hints *hints, struct kiln_queue *queue)
{
	struct kiln_queue *owner = cmpxchg(&hints->owner, NULL, queue);

	return !owner || owner == queue;
}

bool kiln_hints_serve(struct kiln_hints *hints, struct kiln_queue *queue,
		      unsigned int *budget)
{
	struct kiln_vring_chain chain;
	const char *cause;
	int r;

	if (!become_owner(hints, queue)) {
		kiln_queue_wait(queue, NSEC_PER_MSEC);
		return false;
	}
	for (; *budget; --*budget) {
		/* What there is no room for is served after what there is. */
		if (hints->nr > KILN_HINTS_MAX / 2)
			return true;
		if (!kiln_queue_pop(queue, &chain))
			return false;
		r = take(hints, queue, &chain, &cause);
		kiln_queue_push(queue, &chain, 0);
		if (r) {
			kiln_virtio_break(queue, r, cause);
			return false;
		}
	}
	return true;
}

/* ---------------------------------------------------------------- the pages */

/* [@start, @end) lies in one piece of KILN_BALLOON_LOOK bytes. */
static u64 look_at(struct kiln_hints *hints, struct kiln_virtio *dev,
		   unsigned long start, unsigned long end)
{
	struct kiln_mmu *mmu = &dev->vm->mmu;
	u64 done = 0;

	if (kiln_virtio_hold(dev->vm))
		return 0;
	if (!kiln_mmu_freeze(mmu, start, end)) {
		/* Else this is whose memory by now? */
		if (kiln_mmu_generation(mmu) == hints->generation)
			done = kiln_balloon_drop_zeroes(hints->memory, start,
							end, hints->pages);
		kiln_mmu_thaw(mmu);
	}
	kiln_virtio_go_on(dev->vm);
	return done;
}

/* A piece may be all of the guest's memory: nobody waits for its end. */
static bool count(struct kiln_hints *hints, u64 returned)
{
	bool on;

	spin_lock(&hints->lock);
	on = round_is_on(hints);
	if (on)
		hints->returned += returned;
	spin_unlock(&hints->lock);
	return on;
}

static void look_at_piece(struct kiln_hints *hints, struct kiln_virtio *dev,
			  const struct iovec *piece)
{
	unsigned long at = (unsigned long)piece->iov_base;
	unsigned long end = (at + piece->iov_len) & PAGE_MASK;
	unsigned long next;

	for (at = PAGE_ALIGN(at); at < end && count(hints, 0); at = next) {
		next = min(end, ALIGN(at + 1, KILN_BALLOON_LOOK));
		count(hints, look_at(hints, dev, at, next));
		cond_resched();
	}
}

/*
 * The driver has said all: it may have its pages back (VIRTIO_BALLOON_CMD_ID_DONE).
 * A device that is stopped says so when it goes on.
 */
static void finish(struct kiln_hints *hints, struct kiln_virtio *dev)
{
	bool done;

	mutex_lock(&dev->lock);
	spin_lock(&hints->lock);
	done = hints->over && kiln_virtio_at_work(dev);
	if (done) {
		hints->over = false;
		hints->state = KILN_BALLOON_HINT_FINISHED;
		*config_id(dev) = cpu_to_le32(VIRTIO_BALLOON_CMD_ID_DONE);
	}
	spin_unlock(&hints->lock);
	if (done)
		kiln_virtio_config_changed(dev);
	mutex_unlock(&dev->lock);
}

void kiln_hints_served(struct kiln_hints *hints, struct kiln_queue *queue)
{
	struct kiln_virtio *dev = queue->dev;
	u32 i;

	if (READ_ONCE(hints->owner) != queue)
		return;
	for (i = 0; i < hints->nr; i++)
		look_at_piece(hints, dev, &hints->piece[i]);
	hints->nr = 0;
	/* Only set by this thread, and before. */
	if (READ_ONCE(hints->over))
		finish(hints, dev);
	/* Pairs with become_owner(). */
	smp_store_release(&hints->owner, NULL);
}

/* -------------------------------------------------------------------- calls */

/* Ids are not used again before all others were. hints->lock. */
static u32 next_id(const struct kiln_hints *hints)
{
	return max_t(u32, hints->id + 1, VIRTIO_BALLOON_CMD_ID_DONE + 1);
}

/* hints->lock. */
static void end_round(struct kiln_hints *hints, u32 state)
{
	hints->state = state;
	hints->live = false;
	hints->over = false;
}

/* Return what the driver is to read, or an errno. hints->lock. */
static s64 command(struct kiln_hints *hints, u32 command)
{
	switch (command) {
	case KILN_BALLOON_HINT_START:
		if (round_is_on(hints))
			return -EBUSY;
		end_round(hints, KILN_BALLOON_HINT_ASKED);
		hints->hinted = 0;
		hints->returned = 0;
		hints->id = next_id(hints);
		return hints->id;
	case KILN_BALLOON_HINT_STOP:
	case KILN_BALLOON_HINT_DONE:
		if (round_is_on(hints))
			end_round(hints, KILN_BALLOON_HINT_STOPPED);
		return command == KILN_BALLOON_HINT_STOP ?
		       VIRTIO_BALLOON_CMD_ID_STOP : VIRTIO_BALLOON_CMD_ID_DONE;
	default:
		return -EINVAL;
	}
}

long kiln_hints_set(struct kiln_hints *hints, struct kiln_virtio *dev,
		    void __user *user)
{
	struct kiln_virtio_hint args;
	__le32 now;
	s64 id;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.reserved0 ||
	    memchr_inv(args.reserved, 0, sizeof(args.reserved)) ||
	    args.command > KILN_BALLOON_HINT_DONE)
		return -EINVAL;
	if (!kiln_virtio_has(dev, VIRTIO_BALLOON_F_FREE_PAGE_HINT) ||
	    !kiln_virtio_at_work(dev))
		return -EOPNOTSUPP;
	spin_lock(&hints->lock);
	id = command(hints, args.command);
	spin_unlock(&hints->lock);
	if (id < 0)
		return id;
	now = cpu_to_le32(id);
	if (*config_id(dev) == now)
		return 0;
	*config_id(dev) = now;
	kiln_virtio_config_changed(dev);
	return 0;
}

long kiln_hints_get(struct kiln_hints *hints, void __user *user)
{
	struct kiln_virtio_hint args = {};

	spin_lock(&hints->lock);
	args.state = hints->state;
	args.id = hints->id;
	args.hinted = hints->hinted;
	args.returned = hints->returned;
	spin_unlock(&hints->lock);
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

/* --------------------------------------------------------------------- life */

void kiln_hints_init(struct kiln_hints *hints,
		     struct kiln_balloon_memory *memory)
{
	spin_lock_init(&hints->lock);
	hints->memory = memory;
}

void kiln_hints_reset(struct kiln_hints *hints, struct kiln_virtio *dev)
{
	*config_id(dev) = cpu_to_le32(VIRTIO_BALLOON_CMD_ID_STOP);
	spin_lock(&hints->lock);
	end_round(hints, KILN_BALLOON_HINT_NONE);
	spin_unlock(&hints->lock);
}
