// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run loop. In comes a vCPU, out comes the reason why its thread has to
 * go back to user space.
 *
 * Each round: requests others posted, events for the guest, into the guest,
 * handle the exit. Whoever wants something of a vCPU sets a request bit and
 * kicks. The order that makes this safe:
 *
 *	vCPU				kicker
 *	mode = IN_GUEST			set request bit
 *	barrier				barrier
 *	look at requests		look at mode, send an IPI if IN_GUEST
 *
 * One of the two sees the other. From IN_GUEST on IRQs are off, so the IPI
 * stays pending until the guest is entered, and ends that at once.
 */
#include <linux/entry-kvm.h>
#include <linux/kvm_para.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/sched/clock.h>
#include <linux/smp.h>
#include <linux/vtime.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>

#include "compat.h"
#include "death.h"
#include "hw.h"
#include "hyperv.h"
#include "irqchip/irqchip.h"
#include "run.h"
#include "spec.h"
#include "state.h"
#include "trace.h"
#include "virtio/virtio.h"
#include "xfer.h"

u64 kiln_host_xcr0;
u64 kiln_host_xss;

DEFINE_STATIC_CALL_NULL(kiln_enter, kiln_enter_fn);
DEFINE_STATIC_CALL_NULL(kiln_handle_exit, kiln_handle_exit_fn);

/* ------------------------------------------------------- kicks, requests */

/* Reader of the mode on behalf of one who has changed what is looked at. */
static int in_guest_on(struct kiln_vcpu *vcpu)
{
	/* Pairs with the barrier in enter_guest(). */
	smp_mb();
	if (READ_ONCE(vcpu->mode) != KILN_IN_GUEST)
		return -1;
	return READ_ONCE(vcpu->cpu);
}

void kiln_vcpu_kick(struct kiln_vcpu *vcpu)
{
	int cpu, me;

	if (rcuwait_active(&vcpu->wait) && rcuwait_wake_up(&vcpu->wait))
		vcpu->stats.halt_wakeup++;
	cpu = in_guest_on(vcpu);
	if (cpu < 0)
		return;
	me = get_cpu();
	if (cpu != me && cpu_online(cpu))
		kiln_send_reschedule(cpu);
	put_cpu();
}

KILN_EXPORT_FOR_KUNIT(kiln_vcpu_kick);

struct kiln_vcpu *kiln_vm_vcpu_by_id(struct kiln_vm *vm, u32 id)
{
	struct kiln_vcpu *vcpu;
	int i;

	/*
	 * Nearly always they are created in the order of their ids. The guest
	 * chooses @id, so it must not index the table in speculation.
	 */
	i = smp_load_acquire(&vm->nr_vcpus);
	if (id < i) {
		vcpu = vm->vcpus[array_index_nospec(id, i)];
		if (vcpu->id == id)
			return vcpu;
	}
	kiln_for_each_vcpu(i, vcpu, vm)
		if (vcpu->id == id)
			return vcpu;
	return NULL;
}

KILN_EXPORT_FOR_KUNIT(kiln_vm_vcpu_by_id);

void kiln_vm_request_all(struct kiln_vm *vm, int req)
{
	struct kiln_vcpu *vcpu;
	int i;

	kiln_for_each_vcpu(i, vcpu, vm)
		kiln_vcpu_request(vcpu, req);
}

KILN_EXPORT_FOR_KUNIT(kiln_vm_request_all);

static DEFINE_PER_CPU(cpumask_var_t, flush_mask);

static void left_guest(void *unused)
{
}

void kiln_vm_flush(struct kiln_mmu *mmu)
{
	struct kiln_vm *vm = container_of(mmu, struct kiln_vm, mmu);
	struct cpumask *mask;
	struct kiln_vcpu *vcpu;
	int i, cpu;

	preempt_disable();
	mask = this_cpu_cpumask_var_ptr(flush_mask);
	cpumask_clear(mask);
	kiln_for_each_vcpu(i, vcpu, vm) {
		set_bit(KILN_REQ_TLB_FLUSH, &vcpu->requests);
		cpu = in_guest_on(vcpu);
		if (cpu >= 0)
			cpumask_set_cpu(cpu, mask);
	}
	/* The answer to the IPI comes after the exit that it forces. */
	smp_call_function_many(mask, left_guest, NULL, true);
	preempt_enable();
	atomic64_inc(&vm->stats.remote_flush);
}

void kiln_vcpu_nmi(struct kiln_vcpu *vcpu)
{
	atomic_inc(&vcpu->nmi_queued);
	kiln_vcpu_request(vcpu, KILN_REQ_EVENT);
}

KILN_EXPORT_FOR_KUNIT(kiln_vcpu_nmi);

int kiln_run_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		if (!zalloc_cpumask_var_node(&per_cpu(flush_mask, cpu),
					     GFP_KERNEL, cpu_to_node(cpu)))
			goto err;
	if (boot_cpu_has(X86_FEATURE_OSXSAVE))
		kiln_host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl_safe(MSR_IA32_XSS, &kiln_host_xss);
	static_call_update(kiln_enter, kiln_hw->enter);
	static_call_update(kiln_handle_exit, kiln_hw->handle_exit);
	preempt_notifier_inc();
	return 0;
err:
	for_each_possible_cpu(cpu)
		free_cpumask_var(per_cpu(flush_mask, cpu));
	return -ENOMEM;
}

void kiln_run_exit(void)
{
	int cpu;

	preempt_notifier_dec();
	for_each_possible_cpu(cpu)
		free_cpumask_var(per_cpu(flush_mask, cpu));
}

/* --------------------------------------------------- on and off the CPU */

static void load_on(struct kiln_vcpu *vcpu, int cpu)
{
	bool moved = vcpu->cpu != cpu;

	kiln_hw->vcpu_load(vcpu, cpu);
	kiln_spec_load(vcpu);
	kiln_clock_load(vcpu);
	WRITE_ONCE(vcpu->cpu, cpu);
	if (moved && vcpu->lapic)
		lapic_timer_migrate(vcpu);
	if (kiln_steal_enabled(&vcpu->clock))
		set_bit(KILN_REQ_STEAL, &vcpu->requests);
}

void kiln_vcpu_load(struct kiln_vcpu *vcpu)
{
	int cpu = get_cpu();

	preempt_notifier_register(&vcpu->notifier);
	load_on(vcpu, cpu);
	put_cpu();
}

void kiln_vcpu_put(struct kiln_vcpu *vcpu)
{
	preempt_disable();
	kiln_hw->vcpu_put(vcpu);
	preempt_notifier_unregister(&vcpu->notifier);
	preempt_enable();
}

static void sched_in(struct preempt_notifier *n, int cpu)
{
	struct kiln_vcpu *vcpu = container_of(n, struct kiln_vcpu, notifier);

	WRITE_ONCE(vcpu->preempted, false);
	load_on(vcpu, cpu);
}

static void sched_out(struct preempt_notifier *n, struct task_struct *next)
{
	struct kiln_vcpu *vcpu = container_of(n, struct kiln_vcpu, notifier);

	if (kiln_task_runnable(current)) {
		WRITE_ONCE(vcpu->preempted, true);
		if (kiln_steal_enabled(&vcpu->clock))
			kiln_steal_preempted(vcpu);
	}
	kiln_hw->vcpu_put(vcpu);
}

struct preempt_ops kiln_preempt_ops = {
	.sched_in = sched_in,
	.sched_out = sched_out,
};

/* ----------------------------------------------------------------- events */

/* INIT and SIPI (SDM vol. 3 §9.4.4). */
static void init_sipi(struct kiln_vcpu *vcpu)
{
	u8 vector = 0;
	int ev = lapic_take_init_sipi(vcpu, &vector);

	if (ev & KILN_LAPIC_INIT) {
		kiln_state_reset(vcpu, true);
		lapic_reset(vcpu, true);
		vcpu->mp_state = lapic_base(vcpu) & KILN_APIC_BASE_BSP ?
				 KVM_MP_STATE_RUNNABLE :
				 KVM_MP_STATE_INIT_RECEIVED;
	}
	if (ev & KILN_LAPIC_SIPI &&
	    vcpu->mp_state == KVM_MP_STATE_INIT_RECEIVED) {
		kiln_state_sipi(vcpu, vector);
		vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
	}
}

static void collect_nmis(struct kiln_vcpu *vcpu)
{
	unsigned int limit = kiln_nmi_masked(vcpu) || vcpu->nmi_injected ?
			     1 : 2;

	vcpu->nmi_pending += atomic_xchg(&vcpu->nmi_queued, 0);
	vcpu->nmi_pending = min(vcpu->nmi_pending, limit);
}

/* A delivery an exit cut short starts again. Return true if there is one. */
static bool reinject(struct kiln_vcpu *vcpu)
{
	if (vcpu->exception.injected) {
		kiln_hw->inject(vcpu, KILN_INJECT_EXCEPTION);
		return true;
	}
	/* A fault met while delivering the others goes first. */
	if (vcpu->exception.pending)
		return false;
	if (vcpu->nmi_injected) {
		kiln_hw->inject(vcpu, KILN_INJECT_NMI);
		return true;
	}
	if (vcpu->irq_injected) {
		kiln_hw->inject(vcpu, KILN_INJECT_IRQ);
		return true;
	}
	return false;
}

static void inject_pending_exception(struct kiln_vcpu *vcpu)
{
	struct kiln_event *e = &vcpu->exception;

	e->pending = false;
	e->injected = true;
	kiln_hw->inject(vcpu, KILN_INJECT_EXCEPTION);
}

static void inject_irq(struct kiln_vcpu *vcpu, int vector)
{
	vcpu->irq_injected = true;
	vcpu->irq_soft = false;
	vcpu->irq_vector = vector;
	kiln_hw->inject(vcpu, KILN_INJECT_IRQ);
}

/*
 * External interrupts, of the PIC or the APIC. With hardware delivery the
 * APIC's are not ours to inject; a window may end that delivery.
 */
static void inject_irqs(struct kiln_vcpu *vcpu, bool busy)
{
	bool allowed = !busy && kiln_irq_allowed(vcpu);
	int vector;

	if (kiln_extint_pending(vcpu)) {
		if (allowed) {
			vector = kiln_extint_ack(vcpu);
			if (vector >= 0) {
				inject_irq(vcpu, vector);
				allowed = false;
			}
		} else {
			kiln_hw->window(vcpu, false);
		}
	}
	if (vcpu->lapic->hw_vid) {
		kiln_hw->apic_sync(vcpu, lapic_sync(vcpu));
		return;
	}
	vector = lapic_pending(vcpu);
	if (vector >= 0 && allowed) {
		/* The rest has no priority over it; what comes posts a request. */
		lapic_accept(vcpu, vector);
		inject_irq(vcpu, vector);
	} else if (vector >= 0) {
		kiln_hw->window(vcpu, false);
	}
	kiln_hw->apic_sync(vcpu, lapic_sync(vcpu));
}

/*
 * Everything that could be delivered is looked at; one event fits into an
 * entry, for what does not a window is opened.
 */
static void inject_events(struct kiln_vcpu *vcpu)
{
	bool busy = reinject(vcpu);

	if (vcpu->exception.pending && !busy) {
		inject_pending_exception(vcpu);
		busy = true;
	}
	if (atomic_read(&vcpu->nmi_queued))
		collect_nmis(vcpu);
	if (vcpu->nmi_pending) {
		if (!busy && kiln_nmi_allowed(vcpu)) {
			vcpu->nmi_pending--;
			vcpu->nmi_injected = true;
			kiln_hw->inject(vcpu, KILN_INJECT_NMI);
			busy = true;
		}
		if (vcpu->nmi_pending)
			kiln_hw->window(vcpu, true);
	}
	if (vcpu->lapic)
		inject_irqs(vcpu, busy);
	else if (READ_ONCE(vcpu->run->request_interrupt_window))
		kiln_hw->window(vcpu, false);
}

/*
 * Without an APIC in the kernel user space may ask to come back as soon as
 * the guest takes interrupts (api.rst §5, request_interrupt_window).
 */
static bool window_is_open(struct kiln_vcpu *vcpu)
{
	return !vcpu->lapic &&
	       READ_ONCE(vcpu->run->request_interrupt_window) &&
	       !vcpu->exception.pending && !vcpu->exception.injected &&
	       !vcpu->nmi_injected && kiln_irq_allowed(vcpu);
}

bool kiln_events_irqoff(struct kiln_vcpu *vcpu)
{
	if (READ_ONCE(vcpu->requests) != BIT(KILN_REQ_EVENT) || !vcpu->lapic ||
	    lapic_init_sipi_pending(vcpu->lapic))
		return false;
	kiln_take_request(vcpu, KILN_REQ_EVENT);
	inject_events(vcpu);
	return !kiln_request_pending(vcpu);
}

/* Return as exit handlers do. */
static int handle_requests(struct kiln_vcpu *vcpu)
{
	u64 map[4];

	if (kiln_take_request(vcpu, KILN_REQ_SHUTDOWN)) {
		vcpu->triple_fault = false;
		return kiln_die(vcpu, KILN_DEATH_TRIPLE_FAULT,
				"triple fault: an exception while delivering a double fault");
	}
	if (kiln_take_request(vcpu, KILN_REQ_SYSTEM_EVENT))
		return kiln_system_event(vcpu);
	kiln_take_request(vcpu, KILN_REQ_KICK);
	/* First, since interrupts may come of it. */
	if (kiln_take_request(vcpu, KILN_REQ_VIRTIO))
		kiln_virtio_serve(vcpu);
	if (kiln_take_request(vcpu, KILN_REQ_TLB_FLUSH)) {
		vcpu->stats.tlb_flush++;
		kiln_hw->flush_tlb(vcpu, false);
	}
	if (kiln_take_request(vcpu, KILN_REQ_TLB_GUEST))
		kiln_hw->flush_tlb(vcpu, true);
	if (kiln_take_request(vcpu, KILN_REQ_CLOCK))
		kiln_clock_update(vcpu);
	if (kiln_take_request(vcpu, KILN_REQ_STEAL))
		kiln_steal_update(vcpu);
	if (kiln_take_request(vcpu, KILN_REQ_APIC_MODE))
		kiln_hw->refresh(vcpu, KILN_REFRESH_APIC);
	if (kiln_take_request(vcpu, KILN_REQ_EOI_MAP) && vcpu->lapic) {
		lapic_eoi_exit_map(vcpu, map);
		if (kiln_hw->has_apicv)
			kiln_hw->eoi_map(vcpu, map);
	}
	if (kiln_take_request(vcpu, KILN_REQ_EVENT)) {
		if (vcpu->lapic && lapic_init_sipi_pending(vcpu->lapic)) {
			init_sipi(vcpu);
			if (vcpu->mp_state != KVM_MP_STATE_RUNNABLE) {
				set_bit(KILN_REQ_EVENT, &vcpu->requests);
				return KILN_RESUME;
			}
		}
		if (unlikely(window_is_open(vcpu))) {
			set_bit(KILN_REQ_EVENT, &vcpu->requests);
			vcpu->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			return KILN_EXIT_USER;
		}
		inject_events(vcpu);
	}
	return KILN_RESUME;
}

/* ------------------------------------------------------------- the guest */

/* One stay in the guest and what it ended with. Return as exit handlers do. */
static int enter_guest(struct kiln_vcpu *vcpu)
{
	int r;

	if (unlikely(kiln_request_pending(vcpu))) {
		r = handle_requests(vcpu);
		if (r <= 0 || vcpu->mp_state != KVM_MP_STATE_RUNNABLE)
			return r;
	}

	preempt_disable();
	local_irq_disable();
	WRITE_ONCE(vcpu->mode, KILN_IN_GUEST);
	/* Pairs with the one in in_guest_on(). */
	smp_mb();
	if (unlikely(kiln_request_pending(vcpu) ||
		     xfer_to_guest_mode_work_pending())) {
		WRITE_ONCE(vcpu->mode, KILN_OUTSIDE);
		local_irq_enable();
		preempt_enable();
		kiln_hw->cancel_injection(vcpu);
		return KILN_RESUME;
	}
	/* Whoever ran here meanwhile has left registers that are not the guest's. */
	if (unlikely(test_thread_flag(TIF_NEED_FPU_LOAD)))
		switch_fpu_return();
	trace_kiln_entry(vcpu->id);
	vtime_account_guest_enter();
	kiln_spec_enter(vcpu);
	static_call(kiln_enter)(vcpu);
	kiln_spec_leave();
	WRITE_ONCE(vcpu->mode, KILN_OUTSIDE);
	/*
	 * The host takes here the interrupt that ended the stay; a tick among
	 * them counts as guest time. The NOP keeps STI's shadow off the next
	 * line.
	 */
	local_irq_enable();
	asm volatile("nop");
	local_irq_disable();
	vtime_account_guest_exit();
	local_irq_enable();
	preempt_enable();

	return static_call(kiln_handle_exit)(vcpu);
}

/* The vCPU is not runnable: wait until it is. Return as exit handlers do. */
static int block(struct kiln_vcpu *vcpu)
{
	kiln_halt_wait(vcpu);
	/* What it was asked to do while it had nothing to do itself. */
	if (kiln_take_request(vcpu, KILN_REQ_VIRTIO)) {
		if (vcpu->wait_tsc)
			kiln_virtio_leave(vcpu);
		else
			kiln_virtio_serve(vcpu);
	}
	if (lapic_init_sipi_pending(vcpu->lapic))
		init_sipi(vcpu);
	else if (vcpu->mp_state == KVM_MP_STATE_HALTED &&
		 kiln_halt_ends(vcpu))
		vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
	return KILN_RESUME;
}

/* --------------------------------------------------------- the other ways */

void kiln_spin(struct kiln_vcpu *vcpu)
{
	struct kiln_vm *vm = vcpu->vm;
	struct task_struct *task;
	struct kiln_vcpu *other;
	int n, i;

	/* Pairs with the release in vcpu_install(). */
	n = smp_load_acquire(&vm->nr_vcpus);
	for (i = 1; i < n; i++) {
		other = vm->vcpus[(vcpu->index + i) % n];
		if (!READ_ONCE(other->preempted))
			continue;
		rcu_read_lock();
		task = pid_task(rcu_dereference(other->pid), PIDTYPE_PID);
		if (task)
			get_task_struct(task);
		rcu_read_unlock();
		if (!task)
			continue;
		i = yield_to(task, true) > 0 ? n : i;
		put_task_struct(task);
	}
}

void kiln_hypercall(struct kiln_vcpu *vcpu)
{
	vcpu->regs[KILN_RAX] = kiln_hw->get_cpl(vcpu) ? -KVM_EPERM :
							-KVM_ENOSYS;
}

/* --------------------------------------------------------------- KVM_RUN */

static int run_loop(struct kiln_vcpu *vcpu)
{
	int r;

	for (;;) {
		if (likely(vcpu->mp_state == KVM_MP_STATE_RUNNABLE))
			r = enter_guest(vcpu);
		else
			r = block(vcpu);
		if (r <= 0)
			return r;
		if (unlikely(__xfer_to_guest_mode_work_pending())) {
			r = kiln_xfer_work();
			if (r) {
				vcpu->run->exit_reason = KVM_EXIT_INTR;
				vcpu->stats.signal_exits++;
				return r;
			}
		}
	}
}

/* The thread in KVM_RUN, for directed yields. */
static void note_thread(struct kiln_vcpu *vcpu)
{
	struct pid *old, *now;

	if (likely(rcu_access_pointer(vcpu->pid) == task_pid(current)))
		return;
	old = rcu_dereference_protected(vcpu->pid,
					lockdep_is_held(&vcpu->mutex));
	now = get_pid(task_pid(current));
	rcu_assign_pointer(vcpu->pid, now);
	if (old) {
		synchronize_rcu();
		put_pid(old);
	}
}

/* What user space reads of kvm_run beside the exit itself. */
static void publish(struct kiln_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	run->if_flag = !!(kiln_reg_read(vcpu, KILN_RFLAGS) & X86_EFLAGS_IF);
	run->flags = 0;
	run->cr8 = kiln_get_cr8(vcpu);
	run->apic_base = vcpu->lapic ? lapic_base(vcpu) : vcpu->apic_base;
	run->ready_for_interrupt_injection = vcpu->lapic ||
					     kiln_irq_allowed(vcpu);
}

/* Finish what user space was asked for, unless it moved the vCPU since. */
static int finish_io(struct kiln_vcpu *vcpu)
{
	int (*fn)(struct kiln_vcpu *vcpu) = vcpu->complete;

	vcpu->complete = NULL;
	if (kiln_rip(vcpu) != vcpu->complete_rip)
		return KILN_RESUME;
	return fn(vcpu);
}

static int run_with_fpu(struct kiln_vcpu *vcpu)
{
	int r;

	if (vcpu->complete) {
		r = finish_io(vcpu);
		if (r <= 0)
			return r;
	}
	/* The exit that was finished stays readable: KVM's callers look again. */
	if (kiln_immediate_exit(vcpu->run))
		return -EINTR;
	vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
	fpu_swap_kvm_fpstate(&vcpu->fpu, true);
	vcpu->stats.fpu_loads++;
	WRITE_ONCE(vcpu->lends, true);
	r = run_loop(vcpu);
	WRITE_ONCE(vcpu->lends, false);
	/* Whoever comes too late takes it back: pairs with kiln_queue_ask(). */
	smp_mb();
	fpu_swap_kvm_fpstate(&vcpu->fpu, false);
	return r;
}

int kiln_vcpu_run(struct kiln_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	sigset_t saved;
	int r;

	/* No register is synchronised through kvm_run (KVM_CAP_SYNC_REGS). */
	if (READ_ONCE(run->kvm_valid_regs) || READ_ONCE(run->kvm_dirty_regs))
		return -EINVAL;
	if (!vcpu->lapic) {
		if (kiln_set_cr8(vcpu, READ_ONCE(run->cr8)))
			return -EINVAL;
		if (READ_ONCE(run->request_interrupt_window))
			set_bit(KILN_REQ_EVENT, &vcpu->requests);
	}
	note_thread(vcpu);
	kiln_cpuid_freeze(&vcpu->cpuid);

	if (vcpu->sigset_active)
		sigprocmask(SIG_SETMASK, &vcpu->sigset, &saved);
	r = run_with_fpu(vcpu);
	if (unlikely(READ_ONCE(vcpu->kicked)))
		kiln_virtio_leave(vcpu);
	publish(vcpu);
	if (vcpu->sigset_active)
		sigprocmask(SIG_SETMASK, &saved, NULL);
	vcpu->stats.user_exits++;
	return r;
}
