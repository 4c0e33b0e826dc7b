/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of this room share: the device, its queues, and what a back
 * end provides and may call.
 *
 * Locks, outermost first; a lock is only taken under those above it:
 *
 *   dev->lock            ioctls: state and configuration of one device
 *   vm->virtio.lock      list of devices; held while memory slots change
 *   queue->lock          serving a queue; guest memory is touched under it
 *   tap->lock            packets taken from a tap (net.h)
 *   block->serial        a request of a file that takes one at a time (block.h)
 *   dev->state_lock      status, cause, and what the driver is to hear
 *   signal->lock         where an interrupt goes
 *   limit->lock          a token bucket; IRQs on
 *   nic->filter_lock     which packets a guest wants (net.h)
 */
#ifndef KILN_VIRTIO_PRIVATE_H
#define KILN_VIRTIO_PRIVATE_H

#include <linux/bits.h>
#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "../irqchip/irqchip.h"
#include "../vm.h"
#include "kiln.h"
#include "virtio.h"
#include "vring.h"

struct kiln_queue;
struct kiln_virtio;

/* Descriptors of a ring at most: VHOST_VDPA_GET_VRING_NUM. */
#define KILN_VIRTIO_MAX_NUM	1024

/* Features of every device. */
#define KILN_VIRTIO_FEATURES					\
	(BIT_ULL(VIRTIO_F_VERSION_1) |				\
	 BIT_ULL(VIRTIO_F_RING_PACKED) |			\
	 BIT_ULL(VIRTIO_F_RING_RESET) |				\
	 BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |			\
	 BIT_ULL(VIRTIO_RING_F_EVENT_IDX))

/* ---------------------------------------------------------------- signals */

/**
 * struct kiln_signal - how the guest is told: a message or an eventfd
 * @lock: guards all of it
 * @flags: KILN_VIRTIO_MSI_*
 * @address: of the message
 * @data: of the message
 * @pending: a message was due while MASKED
 * @call: signalled without ENABLE; a reference is held, or NULL
 */
struct kiln_signal {
	spinlock_t lock;		/* all below */
	u32 flags;
	u64 address;
	u32 data;
	bool pending;
	struct eventfd_ctx *call;
};

void kiln_signal_init(struct kiln_signal *signal);

/* Tell the guest. Context: process, does not sleep. */
void kiln_signal_raise(struct kiln_vm *vm, struct kiln_signal *signal);

int kiln_signal_set(struct kiln_vm *vm, struct kiln_signal *signal,
		    const struct kiln_virtio_msi *msi);
void kiln_signal_get(struct kiln_signal *signal, struct kiln_virtio_msi *msi);

/* No message any more; the eventfd stays. */
void kiln_signal_reset(struct kiln_signal *signal);

/* Replace the eventfd. @call's reference is taken over; it may be NULL. */
void kiln_signal_set_call(struct kiln_signal *signal, struct eventfd_ctx *call);

/* ----------------------------------------------------------------- limits */

/**
 * struct kiln_limit - a token bucket that may run into debt
 * @lock: guards all of it
 * @rate: units per second; 0: no limit
 * @balance: units that may be spent; below 0: wait
 * @last: CLOCK_MONOTONIC ns up to which @balance was paid in
 *
 * A request is begun when nothing is owed, whatever it costs, so that its cost
 * need not be known before. The bucket holds a tenth of a second's units.
 */
struct kiln_limit {
	spinlock_t lock;		/* all below */
	u64 rate;
	s64 balance;
	u64 last;
};

void kiln_limit_init(struct kiln_limit *limit);
void kiln_limit_set(struct kiln_limit *limit, u64 rate);

/* How long until a request may begin, ns; 0: now. */
u64 kiln_limit_delay(struct kiln_limit *limit);
void kiln_limit_charge(struct kiln_limit *limit, u64 units);

/* It cost less than was charged. Whoever waits for the limit is to look again. */
void kiln_limit_refund(struct kiln_limit *limit, u64 units);

/* The same at @now, CLOCK_MONOTONIC ns. */
void kiln_limit_set_at(struct kiln_limit *limit, u64 rate, u64 now);
u64 kiln_limit_delay_at(struct kiln_limit *limit, u64 now);

/* ---------------------------------------------------------------- workers */

/**
 * struct kiln_worker - a thread that works in the owner's mm
 * @task: [c] from kiln_worker_start() on; a reference is held
 * @mm: [c] the owner's; mm_count is the VM's
 * @pending: [a] bit 0: there is work
 * @fn: [c] the work. @alive: guest memory may be touched; otherwise the owner
 *	is gone and only what is left is to be cleared away
 */
struct kiln_worker {
	struct task_struct *task;
	struct mm_struct *mm;
	unsigned long pending;
	void (*fn)(struct kiln_worker *worker, bool alive);
};

/**
 * kiln_worker_start() - make the thread
 * @worker: @mm and @fn are set
 * @name: of a device's type
 * @index: of a queue
 *
 * It gets the caller's cgroups and nice value.
 *
 * Return: 0, -EAGAIN: there are too many, -ENOMEM, -EINTR, or what the caller's
 * cgroups say.
 */
int kiln_worker_start(struct kiln_worker *worker, const char *name, u32 index);

/* Wait for it to end. It may be woken after that, in vain. */
void kiln_worker_stop(struct kiln_worker *worker);
void kiln_worker_free(struct kiln_worker *worker);

/**
 * kiln_worker_lend() - have another kernel thread work on behalf of the owner
 * @worker: what the calling thread stands in for; it is not stopped meanwhile
 *
 * The thread gets the owner's mm, which makes what it takes of the page cache the
 * owner's, and its I/O counts for the worker's cgroup. The memory may go at any
 * time unless the caller has a reference to that.
 */
void kiln_worker_lend(const struct kiln_worker *worker);
void kiln_worker_unlend(const struct kiln_worker *worker);

/* Any context. */
void kiln_worker_wake(struct kiln_worker *worker);

/* ----------------------------------------------------------------- queues */

/* A ring that begins anew, whatever was left undone in it. */
#define KILN_BASE_GIVEN		true	/* VHOST_SET_VRING_BASE */
/* A ring that goes on. */
#define KILN_BASE_STOPPED	2

/**
 * struct kiln_queue - a virtqueue
 * @dev: [c] whose
 * @index: [c]
 * @bell: [c] rung by the guest
 * @has_bell: [d] it hangs on a bus
 * @bell_pio: [d] on which
 * @bell_addr: [d] and where
 * @enabled: [d] VHOST_VDPA_SET_VRING_ENABLE
 * @config: [d] ring set-up for the next start; features are filled in then
 * @base: [d] where the ring starts next
 * @has_base: [d] KILN_BASE_*: where @base is from; false: it has none, and the
 *	ring starts at its beginning
 * @kick: [d] eventfd that kicks, a reference is held, or NULL
 * @kick_ctx: [d] of @kick
 * @kick_wait: on the wait queue of @kick
 * @kick_poll: puts it there
 * @lock: held while the queue is served
 * @ring: [q] valid while @running
 * @running: [q] the ring is served; read by any
 * @server: [q] the thread that serves right now, or NULL; read by any
 * @holds: [q] no chain is taken while this is not 0
 * @inflight: [q] chains taken and not given back; read by any
 * @used: [q] chains were given back since the guest was told last
 * @idle: woken when @inflight becomes 0
 * @signal: used buffers
 * @err: [signal.lock] told when the ring breaks; a reference is held, or NULL
 * @worker: serves what a vCPU's thread does not
 * @timer: wakes @worker when a limit lets it go on
 * @inline_ok: [q] a vCPU's own thread may serve a kick; read by any
 * @vcpu: [q] whose thread did last, or NULL: the worker; read by any
 * @done: [a] requests that came back from the host, the back end's
 * @iov: [q] room for the chain that is being taken
 * @priv: the back end's
 *
 * Locks: [c] const after creation; [d] dev->lock; [q] @lock; [a] atomic.
 */
struct kiln_queue {
	struct kiln_virtio *dev;
	u32 index;
	struct kiln_doorbell bell;
	bool has_bell;
	bool bell_pio;
	u64 bell_addr;
	bool enabled;
	struct kiln_vring_config config;
	u32 base;
	u8 has_base;
	struct file *kick;
	struct eventfd_ctx *kick_ctx;
	wait_queue_entry_t kick_wait;
	poll_table kick_poll;

	struct mutex lock;		/* serving */
	struct kiln_vring ring;
	bool running;
	struct task_struct *server;
	unsigned int holds;
	unsigned int inflight;
	bool used;
	wait_queue_head_t idle;
	struct kiln_signal signal;
	struct eventfd_ctx *err;
	struct kiln_worker worker;
	struct hrtimer timer;
	bool inline_ok;
	struct kiln_vcpu *vcpu;
	struct llist_head done;
	struct iovec *iov;
	void *priv;
};

/**
 * struct kiln_virtio_ops - a back end
 * @id: VIRTIO_ID_*
 * @name: for threads and traces; at most 5 characters
 * @min_queues: least number of queues
 * @max_queues: and most
 * @features: device-specific ones that may be offered at all
 * @config_size: bytes of configuration space, at most KILN_VIRTIO_CONFIG_MAX
 * @iov_max: pieces a chain may have
 * @create: make dev->priv; 0 or an errno. May be NULL
 * @destroy: undo that. No request is in flight. May be NULL
 * @offered: which of @features dev offers now. May be NULL: all. dev->lock
 * @negotiated: FEATURES_OK: dev->features are the driver's, which may look at
 *	the configuration from now on. dev->lock. May be NULL
 * @start: DRIVER_OK: 0, or an errno that refuses it. dev->lock, no queue runs.
 *	May be NULL
 * @start_queue: a queue is about to run: set queue->inline_ok. 0 or an errno.
 *	queue->lock. May be NULL
 * @stop_queue: no chain is taken any more; let go of those that wait for
 *	something which may never come, and, if queue->running is false, of those
 *	whose work has not begun. Maybe more than once. queue->lock. May be NULL
 * @serve: take chains until there are none, or @budget is used up: see
 *	kiln_queue_pop(). Return true if there is more to do that
 *	no kick will announce. queue->lock, in the VM's mm
 * @served: the worker has called @serve: what cannot be done under queue->lock.
 *	No lock, in the VM's mm, which is alive. May be NULL
 * @complete: finish what is in @list, which came from kiln_queue_done().
 *	queue->lock; guest memory only while queue->running
 * @reset: the driver starts anew: forget what it told the device. dev->lock, no
 *	queue runs. May be NULL
 * @write_config: the driver writes @len bytes, which are inside, at @off: 0 or
 *	-EINVAL. dev->lock. May be NULL: nothing can be written
 * @close: the descriptor is closed: whoever calls kiln_queue_ask() does so no
 *	more after that. dev->lock. May be NULL
 * @ioctl: a call that is not common to all; -ENOTTY if it is none. dev->lock
 */
struct kiln_virtio_ops {
	u32 id;
	const char *name;
	u32 min_queues;
	u32 max_queues;
	u64 features;
	u32 config_size;
	u32 iov_max;
	int (*create)(struct kiln_virtio *dev);
	void (*destroy)(struct kiln_virtio *dev);
	u64 (*offered)(struct kiln_virtio *dev);
	void (*negotiated)(struct kiln_virtio *dev);
	int (*start)(struct kiln_virtio *dev);
	int (*start_queue)(struct kiln_queue *queue);
	void (*stop_queue)(struct kiln_queue *queue);
	bool (*serve)(struct kiln_queue *queue, unsigned int *budget);
	void (*served)(struct kiln_queue *queue);
	void (*complete)(struct kiln_queue *queue, struct llist_node *list);
	void (*reset)(struct kiln_virtio *dev);
	int (*write_config)(struct kiln_virtio *dev, u32 off, const u8 *buf,
			    u32 len);
	void (*close)(struct kiln_virtio *dev);
	long (*ioctl)(struct kiln_virtio *dev, unsigned int cmd,
		      void __user *user);
};

#define KILN_VIRTIO_CONFIG_MAX	128

/**
 * struct kiln_virtio - a device
 * @ref: its descriptor, and whoever uses it outside of that
 * @vm: [c] a reference is held
 * @ops: [c] what kind it is
 * @list: [vm->virtio.lock] in vm->virtio.devices
 * @lock: one ioctl at a time
 * @owned: [d] VHOST_SET_OWNER was done
 * @features: [d] what the driver took; read by any while a queue runs
 * @config: [d] configuration space
 * @config_signal: configuration changes
 * @state_lock: guards @status, @config_due and @broken
 * @status: VIRTIO_CONFIG_S_*; written under @lock but for NEEDS_RESET
 * @config_due: the driver is to hear of a change once the device works
 * @broken: valid if @status has NEEDS_RESET
 * @priv: the back end's
 * @nr_queues: [c]
 * @queues: [c]
 *
 * Locks: [c] const after creation; [d] @lock.
 */
struct kiln_virtio {
	struct kref ref;
	struct kiln_vm *vm;
	const struct kiln_virtio_ops *ops;
	struct list_head list;
	struct mutex lock;		/* ioctls */
	bool owned;
	u64 features;
	u8 config[KILN_VIRTIO_CONFIG_MAX];
	struct kiln_signal config_signal;
	spinlock_t state_lock;		/* status, config_due and broken */
	u8 status;
	bool config_due;
	struct kiln_virtio_broken broken;
	void *priv;
	u32 nr_queues;
	struct kiln_queue queues[];
};

extern const struct kiln_virtio_ops kiln_virtio_rng;
extern const struct kiln_virtio_ops kiln_virtio_balloon;
extern const struct kiln_virtio_ops kiln_virtio_block;
extern const struct kiln_virtio_ops kiln_virtio_console;
extern const struct kiln_virtio_ops kiln_virtio_net;

static inline bool kiln_virtio_has(const struct kiln_virtio *dev, int feature)
{
	return dev->features & BIT_ULL(feature);
}

/* Has it begun to work, though it may be broken since? dev->lock, or as a hint. */
static inline bool kiln_virtio_at_work(const struct kiln_virtio *dev)
{
	return READ_ONCE(dev->status) & VIRTIO_CONFIG_S_DRIVER_OK;
}

static inline bool kiln_virtio_broken(const struct kiln_virtio *dev)
{
	return READ_ONCE(dev->status) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* The last reference stops nothing: that was done when the descriptor went. */
void kiln_virtio_put(struct kiln_virtio *dev);

/**
 * kiln_virtio_break() - the driver broke the rules
 * @queue: where
 * @error: errno
 * @cause: a sentence that outlives the device, without a full stop
 *
 * Status gets NEEDS_RESET, the err eventfds and the configuration interrupt
 * are signalled, and no queue of the device takes a chain any more: not one that
 * was made available by a driver that could know. Those that other queues have
 * taken come to their end.
 *
 * Context: queue->lock.
 */
void kiln_virtio_break(struct kiln_queue *queue, int error, const char *cause);

/*
 * The configuration has changed: tell the driver, if there is one, now or once the
 * device works. Context: any that may take spinlocks.
 */
void kiln_virtio_config_changed(struct kiln_virtio *dev);

/* ---- what device.c asks of queue.c; all: dev->lock, may sleep ---- */

int kiln_queue_init(struct kiln_queue *queue, struct kiln_virtio *dev,
		    u32 index);
void kiln_queue_destroy(struct kiln_queue *queue);

/* Serve the ring from now on. 0, or the errno of the ring or the back end. */
int kiln_queue_start(struct kiln_queue *queue);

/* Wait for what is in flight, remember where the ring is, serve no more. */
void kiln_queue_stop(struct kiln_queue *queue);

/* The guest hears of nothing any more; kiln_queue_stop() is to follow. */
void kiln_queue_give_up(struct kiln_queue *queue);

/* Ring set-up and doorbell as they were at first; eventfds stay. Stopped. */
void kiln_queue_reset(struct kiln_queue *queue);

/* No kick comes any more: eventfds, doorbell, vCPUs that were about to. */
void kiln_queue_disconnect(struct kiln_queue *queue);

int kiln_queue_set_doorbell(struct kiln_queue *queue,
			    const struct kiln_virtio_doorbell *args);
int kiln_queue_set_kick(struct kiln_queue *queue, int fd);
int kiln_queue_set_err(struct kiln_queue *queue, int fd);

/* Take no chain until kiln_queue_go_on(). 0 or -EINTR. vm->virtio.lock. */
int kiln_queue_hold(struct kiln_queue *queue);
int kiln_queue_wait_idle(struct kiln_queue *queue);
void kiln_queue_go_on(struct kiln_queue *queue);

/* ---- what back ends ask of queue.c ---- */

/**
 * kiln_queue_ask() - have a vCPU's thread look at a queue, if it waits
 * @queue: runs, and inline_ok; nobody asks once ops->close() has returned
 * @vcpu: of the device's VM, or NULL
 *
 * Return: true if it will, before it enters the guest again; false: it is
 * neither halted nor waits for this CPU, or was asked already.
 * Context: any, a full barrier if true: it sees what was there before.
 */
bool kiln_queue_ask(struct kiln_queue *queue, struct kiln_vcpu *vcpu);

/**
 * kiln_queue_kick() - have the worker look at a queue
 * @queue: any
 *
 * Context: any.
 */
static inline void kiln_queue_kick(struct kiln_queue *queue)
{
	kiln_worker_wake(&queue->worker);
}

/**
 * kiln_queue_pop_behind() - take one more chain for the same purpose
 * @queue: the queue
 * @chain: filled in
 * @pieces: the first so many of queue->iov are kept, those of chains that were
 *	taken before; less than ops->iov_max
 *
 * Otherwise as kiln_queue_pop().
 */
bool kiln_queue_pop_behind(struct kiln_queue *queue,
			   struct kiln_vring_chain *chain, u32 pieces);

/**
 * kiln_queue_pop() - take a chain
 * @queue: the queue
 * @chain: filled in; its pieces are in queue->iov until the next call
 *
 * The chain is to be given back by kiln_queue_push(), now or, with a reference
 * on the pages or after kiln_queue_done(), later.
 *
 * Return: true; false if there is none: a kick will come. Or the device is
 * being stopped, or broken.
 * Context: queue->lock, in the VM's mm.
 */
static inline bool kiln_queue_pop(struct kiln_queue *queue,
				  struct kiln_vring_chain *chain)
{
	return kiln_queue_pop_behind(queue, chain, 0);
}

/* kiln_queue_wrote() with a log. */
void kiln_queue_log(struct kiln_queue *queue, const struct iovec *pieces,
		    u32 nr, u64 len);

/**
 * kiln_queue_wrote() - for the dirty log: what a back end wrote for the guest
 * @queue: the queue
 * @pieces: of a chain, those to be written
 * @nr: how many
 * @len: bytes that were, or may have been, written from the first piece on
 *
 * After the write and before the chain is given back, or taken back, also if the
 * write failed halfway. Slots do not change before that.
 *
 * Context: queue->lock.
 */
static inline void kiln_queue_wrote(struct kiln_queue *queue,
				    const struct iovec *pieces, u32 nr, u64 len)
{
	if (kiln_mmu_logging(&queue->dev->vm->mmu))
		kiln_queue_log(queue, pieces, nr, len);
}

/**
 * kiln_queue_push() - give a chain back
 * @queue: the queue
 * @chain: of kiln_queue_pop(); only id, nr and in_len are used
 * @written: bytes written, from the start
 *
 * The guest is told when the serving round is over.
 *
 * Context: queue->lock, in the VM's mm while queue->running.
 */
void kiln_queue_push(struct kiln_queue *queue,
		     const struct kiln_vring_chain *chain, u32 written);

/**
 * kiln_queue_push_batch() - give chains back so that the guest sees all or none
 * @queue: the queue
 * @used: of kiln_vring_used(), in the order they were taken
 * @nr: how many, at least 1
 *
 * Otherwise as kiln_queue_push().
 */
void kiln_queue_push_batch(struct kiln_queue *queue,
			   const struct kiln_vring_used *used, unsigned int nr);

/**
 * kiln_queue_unpop() - have a chain served again
 * @queue: the queue
 * @chain: the one kiln_queue_pop() took last; nothing was done to it. Only nr
 *	is used
 *
 * Context: queue->lock.
 */
void kiln_queue_unpop(struct kiln_queue *queue,
		      const struct kiln_vring_chain *chain);

/**
 * kiln_queue_done() - a request came back from the host
 * @queue: the queue
 * @node: handed to ops->complete by the worker, or by who serves now
 *
 * Context: any.
 */
void kiln_queue_done(struct kiln_queue *queue, struct llist_node *node);

/**
 * kiln_queue_wait() - a limit: serve again later
 * @queue: the queue
 * @ns: when
 *
 * Context: queue->lock.
 */
void kiln_queue_wait(struct kiln_queue *queue, u64 ns);

#endif /* KILN_VIRTIO_PRIVATE_H */
