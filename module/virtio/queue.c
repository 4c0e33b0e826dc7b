// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues: from a kick to the back end, from the back end to the interrupt.
 *
 * A kick comes from a guest's write to a doorbell, right after the exit and
 * with IRQs off, or from an eventfd. It touches no guest memory. Where the back
 * end says that a vCPU's thread may do the work, the doorbell only leaves a
 * note for that thread, which serves the queue before it enters the guest
 * again: nobody has to be woken. A back end may leave such a note with a halted
 * vCPU, too. Otherwise, and for all else that comes from elsewhere, the queue's
 * worker does it.
 *
 * Whoever serves holds queue->lock. A vCPU that does not get it leaves the
 * work to the worker, which looks once more after whoever had it.
 */
#include <linux/file.h>
#include <linux/slab.h>

#include "../compat.h"
#include "../trace.h"
#include "../vcpu.h"
#include "private.h"

/* Chains a vCPU's thread takes before it leaves the rest to the worker. */
#define INLINE_BUDGET	64
/* Chains the worker takes before it looks at what came back. */
#define WORKER_BUDGET	256

/* ------------------------------------------------------------------ kicks */

static void note_kick(struct kiln_queue *queue)
{
	struct kiln_virtio *dev = queue->dev;

	atomic64_inc(&dev->vm->stats.virtio_kick);
	trace_kiln_virtio_kick(dev->ops->id, queue->index);
}

void kiln_virtio_ring(struct kiln_doorbell *bell, struct kiln_vcpu *vcpu)
{
	struct kiln_queue *queue = container_of(bell, struct kiln_queue, bell);
	struct kiln_queue *noted;

	note_kick(queue);
	if (!vcpu || !READ_ONCE(queue->inline_ok)) {
		kiln_queue_kick(queue);
		return;
	}
	noted = cmpxchg(&vcpu->kicked, NULL, queue);
	if (!noted)
		set_bit(KILN_REQ_VIRTIO, &vcpu->requests);
	else if (noted != queue)
		kiln_queue_kick(queue);
}

/*
 * Is a vCPU's thread about to be woken, or to get the CPU, anyway? That for which
 * it waits is this one, so that it was whoever calls who preempted it.
 */
static bool has_time(struct kiln_vcpu *vcpu)
{
	return READ_ONCE(vcpu->lends) &&
	       (READ_ONCE(vcpu->mp_state) == KVM_MP_STATE_HALTED ||
		(READ_ONCE(vcpu->preempted) &&
		 READ_ONCE(vcpu->cpu) == raw_smp_processor_id()));
}

bool kiln_queue_ask(struct kiln_queue *queue, struct kiln_vcpu *vcpu)
{
	if (!vcpu || !has_time(vcpu))
		return false;
	/* A note that is there still has not been looked at: the worker is sure to. */
	if (cmpxchg(&vcpu->kicked, NULL, queue))
		return false;
	/*
	 * Whoever leaves the run loop looks for a note then: either it finds this
	 * one, or that is seen here. Pairs with run_with_fpu().
	 */
	if (!READ_ONCE(vcpu->lends) &&
	    cmpxchg(&vcpu->kicked, queue, NULL) == queue)
		return false;
	kiln_vcpu_request(vcpu, KILN_REQ_VIRTIO);
	return true;
}

/* Called with the eventfd's wait-queue lock held, IRQs off. */
static int kick_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync,
		       void *key)
{
	struct kiln_queue *queue = container_of(wait, struct kiln_queue,
						kick_wait);
	u64 count;

	if (!(key_to_poll(key) & EPOLLIN))
		return 0;
	/* Consumed: the counter must not saturate. */
	eventfd_ctx_do_read(queue->kick_ctx, &count);
	note_kick(queue);
	kiln_queue_kick(queue);
	return 1;
}

static void kick_enqueue(struct file *file, wait_queue_head_t *head,
			 poll_table *poll)
{
	struct kiln_queue *queue = container_of(poll, struct kiln_queue,
						kick_poll);

	add_wait_queue_priority(head, &queue->kick_wait);
}

static void kick_detach(struct kiln_queue *queue)
{
	u64 count;

	if (!queue->kick)
		return;
	eventfd_ctx_remove_wait_queue(queue->kick_ctx, &queue->kick_wait,
				      &count);
	eventfd_ctx_put(queue->kick_ctx);
	fput(queue->kick);
	queue->kick = NULL;
	queue->kick_ctx = NULL;
}

int kiln_queue_set_kick(struct kiln_queue *queue, int fd)
{
	struct eventfd_ctx *ctx = NULL;
	struct file *file = NULL;

	lockdep_assert_held(&queue->dev->lock);
	if (fd != -1) {
		file = eventfd_fget(fd);
		if (IS_ERR(file))
			return PTR_ERR(file);
		ctx = eventfd_ctx_fileget(file);
		if (IS_ERR(ctx)) {
			fput(file);
			return PTR_ERR(ctx);
		}
	}
	kick_detach(queue);
	if (!file)
		return 0;
	queue->kick = file;
	queue->kick_ctx = ctx;
	init_waitqueue_func_entry(&queue->kick_wait, kick_wakeup);
	init_poll_funcptr(&queue->kick_poll, kick_enqueue);
	if (vfs_poll(file, &queue->kick_poll) & EPOLLIN)
		kiln_queue_kick(queue);
	return 0;
}

int kiln_queue_set_err(struct kiln_queue *queue, int fd)
{
	struct eventfd_ctx *ctx = fd == -1 ? NULL : eventfd_ctx_fdget(fd);

	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	spin_lock(&queue->signal.lock);
	swap(queue->err, ctx);
	spin_unlock(&queue->signal.lock);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}

static enum kiln_bus bell_bus(const struct kiln_queue *queue)
{
	return queue->bell_pio ? KILN_BUS_PIO : KILN_BUS_MMIO;
}

static void remove_bell(struct kiln_queue *queue)
{
	if (!queue->has_bell)
		return;
	kiln_doorbell_remove(queue->dev->vm, bell_bus(queue), &queue->bell);
	queue->has_bell = false;
}

int kiln_queue_set_doorbell(struct kiln_queue *queue,
			    const struct kiln_virtio_doorbell *args)
{
	bool pio = args->flags & KILN_VIRTIO_DOORBELL_PIO;
	int r;

	lockdep_assert_held(&queue->dev->lock);
	if (args->flags & ~(KILN_VIRTIO_DOORBELL_PIO |
			    KILN_VIRTIO_DOORBELL_DEASSIGN) ||
	    (pio && args->addr > U16_MAX))
		return -EINVAL;
	if (args->flags & KILN_VIRTIO_DOORBELL_DEASSIGN) {
		if (!queue->has_bell || queue->bell_pio != pio ||
		    queue->bell_addr != args->addr)
			return -ENOENT;
		remove_bell(queue);
		return 0;
	}
	if (queue->has_bell)
		return -EEXIST;
	queue->bell_pio = pio;
	queue->bell_addr = args->addr;
	r = kiln_doorbell_add(queue->dev->vm, bell_bus(queue), args->addr,
			      &queue->bell);
	queue->has_bell = !r;
	return r;
}

/* Notes that vCPUs' threads have not come round to yet. */
static void forget_notes(struct kiln_queue *queue)
{
	struct kiln_vcpu *vcpu;
	int i;

	kiln_for_each_vcpu(i, vcpu, queue->dev->vm)
		cmpxchg(&vcpu->kicked, queue, NULL);
}

void kiln_queue_disconnect(struct kiln_queue *queue)
{
	kick_detach(queue);
	kiln_signal_set_call(&queue->signal, NULL);
	kiln_queue_set_err(queue, -1);
	remove_bell(queue);
	forget_notes(queue);
}

/* ---------------------------------------------------------------- serving */

static void flush_used(struct kiln_queue *queue)
{
	if (!queue->used)
		return;
	queue->used = false;
	if (!queue->running)
		return;
	if (kiln_vring_should_signal(&queue->ring))
		kiln_signal_raise(queue->dev->vm, &queue->signal);
	if (unlikely(queue->ring.broken))
		kiln_virtio_break(queue, queue->ring.broken,
				  queue->ring.cause);
}

static void take_done(struct kiln_queue *queue)
{
	struct llist_node *list;

	if (llist_empty(&queue->done))
		return;
	list = llist_reverse_order(llist_del_all(&queue->done));
	queue->dev->ops->complete(queue, list);
}

/* One round. Returns true if there is more to do that nothing announces. */
static bool serve(struct kiln_queue *queue, unsigned int budget)
{
	bool more = false;

	lockdep_assert_held(&queue->lock);
	WRITE_ONCE(queue->server, current);
	take_done(queue);
	if (queue->running && !queue->holds &&
	    !kiln_virtio_broken(queue->dev)) {
		more = queue->dev->ops->serve(queue, &budget);
		/* What the host had at hand has come back already. */
		take_done(queue);
	}
	flush_used(queue);
	WRITE_ONCE(queue->server, NULL);
	/* An interrupt that still found the server has left it to the server. */
	barrier();
	return (more && queue->running) || !llist_empty(&queue->done);
}

static void serve_by_worker(struct kiln_worker *worker, bool alive)
{
	struct kiln_queue *queue = container_of(worker, struct kiln_queue,
						worker);
	bool more;

	mutex_lock(&queue->lock);
	if (unlikely(!alive))
		queue->running = false;
	if (queue->running)
		kiln_vring_disable_kicks(&queue->ring);
	/* Whose kick this was for is not known. */
	WRITE_ONCE(queue->vcpu, NULL);
	more = serve(queue, WORKER_BUDGET);
	mutex_unlock(&queue->lock);
	if (alive && queue->dev->ops->served)
		queue->dev->ops->served(queue);
	if (more)
		kiln_queue_kick(queue);
}

/* The queue this vCPU has a note of, with a reference to its device. */
static struct kiln_queue *take_note(struct kiln_vcpu *vcpu)
{
	struct kiln_queue *queue;

	/* The reference that the descriptor holds is dropped after a grace period. */
	rcu_read_lock();
	queue = xchg(&vcpu->kicked, NULL);
	if (queue)
		kref_get(&queue->dev->ref);
	rcu_read_unlock();
	return queue;
}

void kiln_virtio_serve(struct kiln_vcpu *vcpu)
{
	struct kiln_queue *queue = take_note(vcpu);
	bool more = true;

	if (!queue)
		return;
	/* Or it has another role since, whose work may wait. */
	if (READ_ONCE(queue->inline_ok) && mutex_trylock(&queue->lock)) {
		WRITE_ONCE(queue->vcpu, vcpu);
		more = serve(queue, INLINE_BUDGET);
		mutex_unlock(&queue->lock);
	}
	if (more)
		kiln_queue_kick(queue);
	kiln_virtio_put(queue->dev);
}

void kiln_virtio_leave(struct kiln_vcpu *vcpu)
{
	struct kiln_queue *queue = take_note(vcpu);

	if (!queue)
		return;
	kiln_queue_kick(queue);
	kiln_virtio_put(queue->dev);
}

/* -------------------------------------------------------- for back ends */

/*
 * Is the chain that was popped to be served? Asked after the ring was read, so
 * that what a driver adds when it knows of NEEDS_RESET, which another queue may
 * have brought about just now, is left alone.
 */
static bool has_chain(struct kiln_queue *queue,
		      const struct kiln_vring_chain *chain, int r)
{
	if (r <= 0)
		return false;
	/* Pairs with kiln_virtio_break(). */
	smp_rmb();
	if (likely(!kiln_virtio_broken(queue->dev)))
		return true;
	kiln_vring_unpop(&queue->ring, chain);
	return false;
}

bool kiln_queue_pop_behind(struct kiln_queue *queue,
			   struct kiln_vring_chain *chain, u32 pieces)
{
	struct kiln_virtio *dev = queue->dev;
	int r;

	lockdep_assert_held(&queue->lock);
	if (!queue->running || queue->holds)
		return false;
	chain->iov = queue->iov + pieces;
	chain->iov_max = dev->ops->iov_max - pieces;
	do {
		r = kiln_vring_pop(&queue->ring, chain);
	} while (!r && kiln_vring_enable_kicks(&queue->ring));
	if (likely(has_chain(queue, chain, r))) {
		WRITE_ONCE(queue->inflight, queue->inflight + 1);
		atomic64_inc(&dev->vm->stats.virtio_request);
		trace_kiln_virtio_request(dev->ops->id, queue->index, chain->id,
					  chain->out_len, chain->in_len);
		return true;
	}
	if (unlikely(queue->ring.broken))
		kiln_virtio_break(queue, queue->ring.broken,
				  queue->ring.cause);
	return false;
}

static void given_back(struct kiln_queue *queue, unsigned int nr)
{
	WRITE_ONCE(queue->inflight, queue->inflight - nr);
	/* Pairs with the barrier of who waits: it sees 0, or is seen. */
	if (!queue->inflight && wq_has_sleeper(&queue->idle))
		wake_up_all(&queue->idle);
}

void kiln_queue_push_batch(struct kiln_queue *queue,
			   const struct kiln_vring_used *used, unsigned int nr)
{
	unsigned int i;
	int r = 0;

	lockdep_assert_held(&queue->lock);
	if (queue->running) {
		r = kiln_vring_push_batch(&queue->ring, used, nr);
		queue->used = true;
		for (i = 0; i < nr; i++)
			trace_kiln_virtio_done(queue->dev->ops->id,
					       queue->index, used[i].id,
					       used[i].written);
	}
	given_back(queue, nr);
	if (unlikely(r))
		kiln_virtio_break(queue, r, queue->ring.cause);
}

void kiln_queue_log(struct kiln_queue *queue, const struct iovec *pieces,
		    u32 nr, u64 len)
{
	for (; nr && len; pieces++, nr--) {
		u64 n = min_t(u64, pieces->iov_len, len);

		kiln_mmu_wrote(&queue->dev->vm->mmu,
			       (unsigned long)pieces->iov_base, n);
		len -= n;
	}
}

void kiln_queue_push(struct kiln_queue *queue,
		     const struct kiln_vring_chain *chain, u32 written)
{
	struct kiln_vring_used used = kiln_vring_used(chain, written);

	kiln_queue_push_batch(queue, &used, 1);
}

void kiln_queue_unpop(struct kiln_queue *queue,
		      const struct kiln_vring_chain *chain)
{
	lockdep_assert_held(&queue->lock);
	kiln_vring_unpop(&queue->ring, chain);
	WRITE_ONCE(queue->inflight, queue->inflight - 1);
}

void kiln_queue_done(struct kiln_queue *queue, struct llist_node *node)
{
	/* Once it is added, all may be over before we are. */
	rcu_read_lock();
	/*
	 * Otherwise whoever made it not empty has seen to it that somebody
	 * looks. On the server's own CPU that is the server, see serve().
	 */
	if (llist_add(node, &queue->done) &&
	    READ_ONCE(queue->server) != current)
		kiln_queue_kick(queue);
	rcu_read_unlock();
}

static enum hrtimer_restart timer_fired(struct hrtimer *timer)
{
	kiln_queue_kick(container_of(timer, struct kiln_queue, timer));
	return HRTIMER_NORESTART;
}

void kiln_queue_wait(struct kiln_queue *queue, u64 ns)
{
	hrtimer_start(&queue->timer, ns_to_ktime(ns), HRTIMER_MODE_REL);
}

/* --------------------------------------------------------- stop and go */

int kiln_queue_hold(struct kiln_queue *queue)
{
	if (mutex_lock_killable(&queue->lock))
		return -EINTR;
	queue->holds++;
	mutex_unlock(&queue->lock);
	return 0;
}

int kiln_queue_wait_idle(struct kiln_queue *queue)
{
	return wait_event_killable(queue->idle, !READ_ONCE(queue->inflight)) ?
	       -EINTR : 0;
}

void kiln_queue_go_on(struct kiln_queue *queue)
{
	mutex_lock(&queue->lock);
	queue->holds--;
	mutex_unlock(&queue->lock);
	kiln_queue_kick(queue);
}

/* The ring of a queue that takes up its work. */
static int setup_ring(struct kiln_queue *queue)
{
	struct kiln_virtio *dev = queue->dev;
	int r;

	queue->config.features = dev->features;
	r = kiln_vring_setup(&queue->ring, &dev->vm->mmu, &queue->config);
	if (!r && queue->has_base)
		r = kiln_vring_set_base(&queue->ring, queue->base);
	return r;
}

int kiln_queue_start(struct kiln_queue *queue)
{
	const struct kiln_virtio_ops *ops = queue->dev->ops;
	int r;

	lockdep_assert_held(&queue->dev->lock);
	mutex_lock(&queue->lock);
	r = setup_ring(queue);
	if (!r && ops->start_queue)
		r = ops->start_queue(queue);
	WRITE_ONCE(queue->running, !r);
	mutex_unlock(&queue->lock);
	/* What was made available before has no kick to come. */
	if (!r)
		kiln_queue_kick(queue);
	return r;
}

void kiln_queue_give_up(struct kiln_queue *queue)
{
	const struct kiln_virtio_ops *ops = queue->dev->ops;

	lockdep_assert_held(&queue->dev->lock);
	mutex_lock(&queue->lock);
	WRITE_ONCE(queue->running, false);
	if (ops->stop_queue)
		ops->stop_queue(queue);
	mutex_unlock(&queue->lock);
}

void kiln_queue_stop(struct kiln_queue *queue)
{
	const struct kiln_virtio_ops *ops = queue->dev->ops;

	lockdep_assert_held(&queue->dev->lock);
	mutex_lock(&queue->lock);
	queue->holds++;
	if (ops->stop_queue)
		ops->stop_queue(queue);
	mutex_unlock(&queue->lock);
	/* Who is killed wants no more than the end of what was begun. */
	if (wait_event_killable(queue->idle, !READ_ONCE(queue->inflight))) {
		kiln_queue_give_up(queue);
		wait_event(queue->idle, !READ_ONCE(queue->inflight));
	}
	hrtimer_cancel(&queue->timer);
	mutex_lock(&queue->lock);
	if (queue->running) {
		queue->base = kiln_vring_get_base(&queue->ring);
		queue->has_base = KILN_BASE_STOPPED;
	}
	WRITE_ONCE(queue->running, false);
	WRITE_ONCE(queue->inline_ok, false);
	queue->holds--;
	mutex_unlock(&queue->lock);
}

void kiln_queue_reset(struct kiln_queue *queue)
{
	lockdep_assert_held(&queue->dev->lock);
	remove_bell(queue);
	kiln_signal_reset(&queue->signal);
	memset(&queue->config, 0, sizeof(queue->config));
	queue->base = 0;
	queue->has_base = false;
	queue->enabled = false;
}

/* ------------------------------------------------------------------- life */

int kiln_queue_init(struct kiln_queue *queue, struct kiln_virtio *dev,
		    u32 index)
{
	queue->dev = dev;
	queue->index = index;
	queue->bell.ring = kiln_virtio_ring;
	mutex_init(&queue->lock);
	init_waitqueue_head(&queue->idle);
	kiln_signal_init(&queue->signal);
	queue->worker.mm = dev->vm->mm;
	queue->worker.fn = serve_by_worker;
	hrtimer_init(&queue->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	queue->timer.function = timer_fired;
	init_llist_head(&queue->done);
	if (atomic_inc_return(&dev->vm->virtio.nr_queues) >
	    KILN_VIRTIO_MAX_QUEUES)
		return -ENOSPC;
	queue->iov = kvcalloc(dev->ops->iov_max, sizeof(*queue->iov),
			      GFP_KERNEL_ACCOUNT);
	return queue->iov ? 0 : -ENOMEM;
}

void kiln_queue_destroy(struct kiln_queue *queue)
{
	kiln_worker_free(&queue->worker);
	kvfree(queue->iov);
	atomic_dec(&queue->dev->vm->virtio.nr_queues);
	mutex_destroy(&queue->lock);
}
