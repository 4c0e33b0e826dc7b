// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqfd: signalling an eventfd raises a GSI (api.rst 4.75).
 *
 * An irqfd hangs on the eventfd's wait queue and injects right from the
 * wake-up, with that queue's lock held and IRQs off; nothing on the way sleeps.
 *
 * Edge: the GSI is pulsed. Resample: it is raised and stays so until the guest
 * has sent the EOI; then irqfd_resample() lowers it and signals the second
 * eventfd, so that the device looks whether it still wants service.
 *
 * Whoever removes an irqfd from the list of attached ones, under irqfd_lock,
 * puts it on the list of dying ones, which irqfd_reap() empties.
 */
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "private.h"

#define FLAGS	(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE)

/**
 * struct kiln_irqfd - an attached eventfd
 * @vm: [c]
 * @gsi: [c]
 * @ctx: [c] the eventfd; a reference is held
 * @resample: [c] the eventfd to signal at EOI, or NULL
 * @list: in vm->irq.irqfds or .dying [irqfd_lock]
 * @dying: on the latter [irqfd_lock]
 * @resamplers: in the list of its GSI's, if @resample [RCU, irq->lock]
 * @wait: on the wait queue of @ctx
 * @poll: puts it there
 */
struct kiln_irqfd {
	struct kiln_vm *vm;
	u32 gsi;
	struct eventfd_ctx *ctx;
	struct eventfd_ctx *resample;
	struct hlist_node list;
	bool dying;
	struct list_head resamplers;
	wait_queue_entry_t wait;
	poll_table poll;
};

/**
 * struct kiln_resampler - the resample irqfds of a GSI, in vm->irq.resamplers
 * @irqfds: at least one, once it is in there [RCU, irq->lock]
 * @nr: how many [irq->lock]
 * @rcu: for those who still read
 */
struct kiln_resampler {
	struct list_head irqfds;
	unsigned int nr;
	struct rcu_head rcu;
};

static void irqfd_inject(struct kiln_irqfd *irqfd)
{
	atomic64_inc(&irqfd->vm->stats.irqfd);
	if (irqfd->resample) {
		kiln_irq_set(irqfd->vm, KILN_IRQ_RESAMPLE, irqfd->gsi, 1);
		return;
	}
	kiln_irq_pulse(irqfd->vm, KILN_IRQ_USER, irqfd->gsi);
}

static void irqfd_kill(struct kiln_irqfd *irqfd)
{
	lockdep_assert_held(&irqfd->vm->irq.irqfd_lock);
	irqfd->dying = true;
	hash_del(&irqfd->list);
	hlist_add_head(&irqfd->list, &irqfd->vm->irq.dying);
}

/* The eventfd is being closed under us. */
static void irqfd_hangup(struct kiln_irqfd *irqfd)
{
	struct kiln_irqchip *irq = &irqfd->vm->irq;
	unsigned long flags;

	spin_lock_irqsave(&irq->irqfd_lock, flags);
	if (!irqfd->dying) {
		irqfd_kill(irqfd);
		schedule_work(&irq->reap);
	}
	spin_unlock_irqrestore(&irq->irqfd_lock, flags);
}

/* Called with the eventfd's wait-queue lock held, IRQs off. */
static int irqfd_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync,
			void *key)
{
	struct kiln_irqfd *irqfd = container_of(wait, struct kiln_irqfd, wait);
	__poll_t events = key_to_poll(key);
	u64 count;

	if (events & EPOLLHUP)
		irqfd_hangup(irqfd);
	if (!(events & EPOLLIN))
		return 0;
	/* Consumed: the counter must not saturate. */
	eventfd_ctx_do_read(irqfd->ctx, &count);
	irqfd_inject(irqfd);
	return 1;
}

static void irqfd_enqueue(struct file *file, wait_queue_head_t *head,
			  poll_table *poll)
{
	struct kiln_irqfd *irqfd = container_of(poll, struct kiln_irqfd, poll);

	add_wait_queue_priority(head, &irqfd->wait);
}

/* -------------------------------------------------------------- resample */

bool irqfd_wants_ack(struct kiln_vm *vm, u32 gsi)
{
	return xa_load(&vm->irq.resamplers, gsi);
}

/* All resample irqfds of a GSI share one source: it goes down for all. */
void irqfd_resample(struct kiln_vm *vm, u32 gsi)
{
	struct kiln_resampler *resampler;
	struct kiln_irqfd *irqfd;

	rcu_read_lock();
	resampler = xa_load(&vm->irq.resamplers, gsi);
	if (resampler) {
		kiln_irq_set(vm, KILN_IRQ_RESAMPLE, gsi, 0);
		list_for_each_entry_rcu(irqfd, &resampler->irqfds, resamplers)
			kiln_eventfd_signal(irqfd->resample);
	}
	rcu_read_unlock();
}

static struct kiln_resampler *resampler_create(struct kiln_vm *vm, u32 gsi)
{
	struct kiln_resampler *resampler;
	int r;

	resampler = kzalloc(sizeof(*resampler), GFP_KERNEL_ACCOUNT);
	if (!resampler)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&resampler->irqfds);
	r = xa_err(xa_store(&vm->irq.resamplers, gsi, resampler,
			    GFP_KERNEL_ACCOUNT));
	if (r) {
		kfree(resampler);
		return ERR_PTR(r);
	}
	return resampler;
}

static int resampler_join(struct kiln_irqfd *irqfd)
{
	struct kiln_vm *vm = irqfd->vm;
	struct kiln_resampler *resampler;

	lockdep_assert_held(&vm->irq.lock);
	resampler = xa_load(&vm->irq.resamplers, irqfd->gsi);
	if (!resampler)
		resampler = resampler_create(vm, irqfd->gsi);
	if (IS_ERR(resampler))
		return PTR_ERR(resampler);
	if (resampler->nr == KILN_MAX_RESAMPLERS)
		return -ENOSPC;
	resampler->nr++;
	list_add_tail_rcu(&irqfd->resamplers, &resampler->irqfds);
	kiln_vm_request_all(vm, KILN_REQ_EOI_MAP);
	return 0;
}

/* The last resampler of a GSI lowers it. */
static void resampler_leave(struct kiln_irqfd *irqfd)
{
	struct kiln_vm *vm = irqfd->vm;
	struct kiln_resampler *resampler;

	lockdep_assert_held(&vm->irq.lock);
	resampler = xa_load(&vm->irq.resamplers, irqfd->gsi);
	list_del_rcu(&irqfd->resamplers);
	if (--resampler->nr)
		return;
	xa_erase(&vm->irq.resamplers, irqfd->gsi);
	kfree_rcu(resampler, rcu);
	kiln_irq_set(vm, KILN_IRQ_RESAMPLE, irqfd->gsi, 0);
}

/* -------------------------------------------------------------- teardown */

static void irqfd_free(struct kiln_irqfd *irqfd)
{
	if (irqfd->resample)
		eventfd_ctx_put(irqfd->resample);
	eventfd_ctx_put(irqfd->ctx);
	kfree(irqfd);
}

/* No wake-up from now on. */
static void irqfd_detach(struct kiln_irqfd *irqfd)
{
	u64 count;

	eventfd_ctx_remove_wait_queue(irqfd->ctx, &irqfd->wait, &count);
	if (irqfd->resample)
		resampler_leave(irqfd);
}

static void irqfd_reap(struct kiln_vm *vm)
{
	struct kiln_irqchip *irq = &vm->irq;
	struct hlist_node *next;
	struct kiln_irqfd *irqfd;
	bool resamplers = false;
	HLIST_HEAD(dying);

	mutex_lock(&irq->lock);
	spin_lock_irq(&irq->irqfd_lock);
	hlist_move_list(&irq->dying, &dying);
	spin_unlock_irq(&irq->irqfd_lock);

	hlist_for_each_entry(irqfd, &dying, list) {
		irqfd_detach(irqfd);
		resamplers |= !!irqfd->resample;
		cond_resched();
	}
	if (resamplers) {
		synchronize_rcu_expedited();
		kiln_vm_request_all(vm, KILN_REQ_EOI_MAP);
	}
	hlist_for_each_entry_safe(irqfd, next, &dying, list) {
		irqfd_free(irqfd);
		cond_resched();
	}
	mutex_unlock(&irq->lock);
}

static void irqfd_reap_work(struct work_struct *work)
{
	irqfd_reap(container_of(work, struct kiln_vm, irq.reap));
}

/* ------------------------------------------------------- attach and detach */

/* Only adding one takes irq->lock, so "no" stays true while that is held. */
static bool irqfd_attached(struct kiln_irqchip *irq,
			   const struct eventfd_ctx *ctx)
{
	struct kiln_irqfd *irqfd;
	bool found = false;

	lockdep_assert_held(&irq->lock);
	spin_lock_irq(&irq->irqfd_lock);
	hash_for_each_possible(irq->irqfds, irqfd, list, (unsigned long)ctx)
		found |= irqfd->ctx == ctx;
	spin_unlock_irq(&irq->irqfd_lock);
	return found;
}

static void irqfd_enlist(struct kiln_irqfd *irqfd)
{
	struct kiln_irqchip *irq = &irqfd->vm->irq;

	spin_lock_irq(&irq->irqfd_lock);
	hash_add(irq->irqfds, &irqfd->list, (unsigned long)irqfd->ctx);
	spin_unlock_irq(&irq->irqfd_lock);
}

/*
 * The reference to the file keeps the eventfd from hanging up before the
 * irqfd is on its wait queue, irq->lock keeps others from removing it.
 */
static int irqfd_activate(struct kiln_irqfd *irqfd, struct file *file)
{
	__poll_t events;
	int r;

	if (irqfd_attached(&irqfd->vm->irq, irqfd->ctx))
		return -EBUSY;
	if (irqfd->resample) {
		r = resampler_join(irqfd);
		if (r)
			return r;
	}
	irqfd_enlist(irqfd);
	init_waitqueue_func_entry(&irqfd->wait, irqfd_wakeup);
	init_poll_funcptr(&irqfd->poll, irqfd_enqueue);
	events = vfs_poll(file, &irqfd->poll);
	/* Signalled before we listened. */
	if (events & EPOLLIN)
		irqfd_inject(irqfd);
	return 0;
}

static int irqfd_get_ctxs(struct kiln_irqfd *irqfd,
			  const struct kvm_irqfd *args, struct file *file)
{
	irqfd->ctx = eventfd_ctx_fileget(file);
	if (IS_ERR(irqfd->ctx))
		return PTR_ERR(irqfd->ctx);
	if (!(args->flags & KVM_IRQFD_FLAG_RESAMPLE))
		return 0;
	irqfd->resample = eventfd_ctx_fdget(args->resamplefd);
	if (IS_ERR(irqfd->resample)) {
		eventfd_ctx_put(irqfd->ctx);
		return PTR_ERR(irqfd->resample);
	}
	return 0;
}

static int irqfd_assign_file(struct kiln_vm *vm, const struct kvm_irqfd *args,
			     struct file *file)
{
	struct kiln_irqfd *irqfd;
	int r;

	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd)
		return -ENOMEM;
	irqfd->vm = vm;
	irqfd->gsi = args->gsi;
	r = irqfd_get_ctxs(irqfd, args, file);
	if (r) {
		kfree(irqfd);
		return r;
	}
	mutex_lock(&vm->irq.lock);
	r = irqfd_activate(irqfd, file);
	mutex_unlock(&vm->irq.lock);
	if (r)
		irqfd_free(irqfd);
	return r;
}

static int irqfd_assign(struct kiln_vm *vm, const struct kvm_irqfd *args)
{
	struct file *file = fget(args->fd);
	int r;

	if (!file)
		return -EBADF;
	r = irqfd_assign_file(vm, args, file);
	fput(file);
	return r;
}

static int irqfd_deassign(struct kiln_vm *vm, const struct kvm_irqfd *args)
{
	struct eventfd_ctx *ctx = eventfd_ctx_fdget(args->fd);
	struct kiln_irqfd *irqfd;
	struct hlist_node *next;

	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	spin_lock_irq(&vm->irq.irqfd_lock);
	hash_for_each_possible_safe(vm->irq.irqfds, irqfd, next, list,
				    (unsigned long)ctx) {
		if (irqfd->ctx == ctx && irqfd->gsi == args->gsi)
			irqfd_kill(irqfd);
	}
	spin_unlock_irq(&vm->irq.irqfd_lock);
	irqfd_reap(vm);
	eventfd_ctx_put(ctx);
	return 0;
}

int kiln_irqfd(struct kiln_vm *vm, const struct kvm_irqfd *args)
{
	if (args->flags & ~FLAGS)
		return -EINVAL;
	if (!kiln_irqchip_present(&vm->irq))
		return -EINVAL;
	if (args->flags & KVM_IRQFD_FLAG_DEASSIGN)
		return irqfd_deassign(vm, args);
	return irqfd_assign(vm, args);
}

KILN_EXPORT_FOR_KUNIT(kiln_irqfd);

void irqfd_init(struct kiln_vm *vm)
{
	struct kiln_irqchip *irq = &vm->irq;

	spin_lock_init(&irq->irqfd_lock);
	hash_init(irq->irqfds);
	INIT_HLIST_HEAD(&irq->dying);
	xa_init(&irq->resamplers);
	INIT_WORK(&irq->reap, irqfd_reap_work);
}

void irqfd_release(struct kiln_vm *vm)
{
	struct kiln_irqfd *irqfd;
	struct hlist_node *next;
	int i;

	for (i = 0; i < HASH_SIZE(vm->irq.irqfds); i++) {
		spin_lock_irq(&vm->irq.irqfd_lock);
		hlist_for_each_entry_safe(irqfd, next, &vm->irq.irqfds[i], list)
			irqfd_kill(irqfd);
		spin_unlock_irq(&vm->irq.irqfd_lock);
		cond_resched();
	}
	irqfd_reap(vm);
	cancel_work_sync(&vm->irq.reap);
}
