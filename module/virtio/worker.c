// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that work on a guest's memory: one for each queue, with the owner's
 * mm for its own.
 *
 * The mm is used for good, but its memory is only kept from going away while
 * there is work: a worker must not keep alive what its process has left. Once
 * the memory is gone the work is to clear away what is left, and no more.
 */
#include <linux/atomic.h>
#include <linux/cgroup.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>

#include "../compat.h"
#include "private.h"

#define WORK	0		/* bit of worker->pending */

/*
 * Threads are the host's, not their owner's: RLIMIT_NPROC does not count them,
 * and the pids of a cgroup only from when they have joined it.
 */
static unsigned int max_queue_threads;
module_param(max_queue_threads, uint, 0644);
MODULE_PARM_DESC(max_queue_threads,
		 "Most threads that serve virtio queues, of all VMs together (0: as memory allows, 8192 at most)");

static atomic_t nr_threads;

/* Without a word of the administrator, stacks take no more than a 32nd. */
static unsigned int threads_allowed(void)
{
	unsigned long stacks = totalram_pages() >> THREAD_SIZE_ORDER;

	return READ_ONCE(max_queue_threads) ?: min(stacks / 32, 8192ul);
}

static void work(struct kiln_worker *worker)
{
	bool alive = mmget_not_zero(worker->mm);

	worker->fn(worker, alive);
	/* The last one to leave takes the memory down, but not from in here. */
	if (alive)
		mmput_async(worker->mm);
}

static int worker_main(void *arg)
{
	struct kiln_worker *worker = arg;

	kthread_use_mm(worker->mm);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (kthread_should_stop())
			break;
		if (!test_and_clear_bit(WORK, &worker->pending)) {
			schedule();
			continue;
		}
		__set_current_state(TASK_RUNNING);
		work(worker);
		cond_resched();
	}
	__set_current_state(TASK_RUNNING);
	kthread_unuse_mm(worker->mm);
	return 0;
}

static int make_thread(struct kiln_worker *worker, const char *name, u32 index)
{
	struct task_struct *task;
	int r;

	task = kthread_create(worker_main, worker, "kiln-%d-%s%u",
			      task_tgid_nr(current), name, index);
	if (IS_ERR(task))
		return PTR_ERR(task);
	r = cgroup_attach_task_all(current, task);
	if (r) {
		kthread_stop(task);
		return r;
	}
	set_user_nice(task, task_nice(current));
	get_task_struct(task);
	/* Pairs with kiln_worker_wake(). */
	smp_store_release(&worker->task, task);
	wake_up_process(task);
	return 0;
}

int kiln_worker_start(struct kiln_worker *worker, const char *name, u32 index)
{
	int r = -EAGAIN;

	if (atomic_inc_return(&nr_threads) <= threads_allowed())
		r = make_thread(worker, name, index);
	if (r)
		atomic_dec(&nr_threads);
	return r;
}

void kiln_worker_lend(const struct kiln_worker *worker)
{
	kthread_use_mm(worker->mm);
	kiln_io_is_of(worker->task);
}

void kiln_worker_unlend(const struct kiln_worker *worker)
{
	kthread_associate_blkcg(NULL);
	kthread_unuse_mm(worker->mm);
}

void kiln_worker_stop(struct kiln_worker *worker)
{
	if (!worker->task)
		return;
	kthread_stop(worker->task);
	atomic_dec(&nr_threads);
}

void kiln_worker_free(struct kiln_worker *worker)
{
	if (worker->task)
		put_task_struct(worker->task);
}

void kiln_worker_wake(struct kiln_worker *worker)
{
	/* Pairs with kiln_worker_start(): no owner, no kick to follow. */
	struct task_struct *task = smp_load_acquire(&worker->task);

	if (task && !test_and_set_bit(WORK, &worker->pending))
		wake_up_process(task);
}
