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
 * @resamplers: in vm->irq.resamplers, if @resample [RCU, irq->lock]
 * @wait: on the wait queue of @ctx
 * @poll: puts it there
 */
struct kiln_irqfd {
	struct kiln_vm *vm;
	u32 gsi;
	struct eventfd_ctx *ctx;
	struct eventfd_ctx *resample;
	struct list_head list;
	bool dying;
	struct list_head resamplers;
	wait_queue_entry_t wait;
	poll_table poll;
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
	list_move(&irqfd->list, &irqfd->vm->irq.dying);
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
	struct kiln_irqfd *irqfd;
	bool found = false;

	rcu_read_lock();
	list_for_each_entry_rcu(irqfd, &vm->irq.resamplers, resamplers) {
		if (irqfd->gsi == gsi) {
			found = true;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

/* All resample irqfds of a GSI share one source: it goes down for all. */
void irqfd_resample(struct kiln_vm *vm, u32 gsi)
{
	struct kiln_irqfd *irqfd;
	bool lowered = false;

	rcu_read_lock();
	list_for_each_entry_rcu(irqfd, &vm->irq.resamplers, resamplers) {
		if (irqfd->gsi != gsi)
			continue;
		if (!lowered)
			kiln_irq_set(vm, KILN_IRQ_RESAMPLE, gsi, 0);
		lowered = true;
		kiln_eventfd_signal(irqfd->resample);
	}
	rcu_read_unlock();
}

/* -------------------------------------------------------------- teardown */

static void irqfd_free(struct kiln_irqfd *irqfd)
{
	if (irqfd->resample)
		eventfd_ctx_put(irqfd->resample);
	eventfd_ctx_put(irqfd->ctx);
	kfree(irqfd);
}

/* No wake-up from now on; the last resampler of a GSI lowers it. */
static void irqfd_detach(struct kiln_irqfd *irqfd)
{
	struct kiln_vm *vm = irqfd->vm;
	u64 count;

	lockdep_assert_held(&vm->irq.lock);
	eventfd_ctx_remove_wait_queue(irqfd->ctx, &irqfd->wait, &count);
	if (!irqfd->resample)
		return;
	list_del_rcu(&irqfd->resamplers);
	if (!irqfd_wants_ack(vm, irqfd->gsi))
		kiln_irq_set(vm, KILN_IRQ_RESAMPLE, irqfd->gsi, 0);
}

static void irqfd_reap(struct kiln_vm *vm)
{
	struct kiln_irqchip *irq = &vm->irq;
	struct kiln_irqfd *irqfd, *next;
	bool resamplers = false;
	LIST_HEAD(dying);

	mutex_lock(&irq->lock);
	spin_lock_irq(&irq->irqfd_lock);
	list_splice_init(&irq->dying, &dying);
	spin_unlock_irq(&irq->irqfd_lock);

	list_for_each_entry(irqfd, &dying, list) {
		irqfd_detach(irqfd);
		resamplers |= !!irqfd->resample;
	}
	if (resamplers) {
		synchronize_rcu_expedited();
		kiln_vm_request_all(vm, KILN_REQ_EOI_MAP);
	}
	list_for_each_entry_safe(irqfd, next, &dying, list)
		irqfd_free(irqfd);
	mutex_unlock(&irq->lock);
}

static void irqfd_reap_work(struct work_struct *work)
{
	irqfd_reap(container_of(work, struct kiln_vm, irq.reap));
}

/* ------------------------------------------------------- attach and detach */

static int irqfd_enlist(struct kiln_irqfd *irqfd)
{
	struct kiln_irqchip *irq = &irqfd->vm->irq;
	struct kiln_irqfd *other;
	int r = 0;

	spin_lock_irq(&irq->irqfd_lock);
	list_for_each_entry(other, &irq->irqfds, list) {
		if (other->ctx == irqfd->ctx)
			r = -EBUSY;
	}
	if (!r)
		list_add_tail(&irqfd->list, &irq->irqfds);
	spin_unlock_irq(&irq->irqfd_lock);
	return r;
}

/*
 * The reference to the file keeps the eventfd from hanging up before the
 * irqfd is on its wait queue, irq->lock keeps others from removing it.
 */
static int irqfd_activate(struct kiln_irqfd *irqfd, struct file *file)
{
	struct kiln_vm *vm = irqfd->vm;
	__poll_t events;
	int r;

	lockdep_assert_held(&vm->irq.lock);
	r = irqfd_enlist(irqfd);
	if (r)
		return r;
	if (irqfd->resample) {
		list_add_tail_rcu(&irqfd->resamplers, &vm->irq.resamplers);
		kiln_vm_request_all(vm, KILN_REQ_EOI_MAP);
	}
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
	struct kiln_irqfd *irqfd, *next;

	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	spin_lock_irq(&vm->irq.irqfd_lock);
	list_for_each_entry_safe(irqfd, next, &vm->irq.irqfds, list) {
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
	INIT_LIST_HEAD(&irq->irqfds);
	INIT_LIST_HEAD(&irq->dying);
	INIT_LIST_HEAD(&irq->resamplers);
	INIT_WORK(&irq->reap, irqfd_reap_work);
}

void irqfd_release(struct kiln_vm *vm)
{
	struct kiln_irqfd *irqfd, *next;

	spin_lock_irq(&vm->irq.irqfd_lock);
	list_for_each_entry_safe(irqfd, next, &vm->irq.irqfds, list)
		irqfd_kill(irqfd);
	spin_unlock_irq(&vm->irq.irqfd_lock);
	irqfd_reap(vm);
	cancel_work_sync(&vm->irq.reap);
}
