/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels kiln builds for, and nothing else. Code
 * elsewhere is written for the newest API; older kernels are adapted here.
 */
#ifndef KILN_COMPAT_H
#define KILN_COMPAT_H

#include <linux/cc_platform.h>
#include <linux/cgroup.h>
#include <linux/cpuhotplug.h>
#include <linux/eventfd.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/jump_label.h>
#include <linux/kthread.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/syscore_ops.h>
#include <linux/version.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>

#if IS_ENABLED(CONFIG_KUNIT)
#define KILN_EXPORT_FOR_KUNIT(sym)	EXPORT_SYMBOL_GPL(sym)
#else
#define KILN_EXPORT_FOR_KUNIT(sym)
#endif

/* 6.8 dropped the count, which was always 1 here. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define kiln_eventfd_signal(ctx)	eventfd_signal(ctx, 1)
#else
#define kiln_eventfd_signal(ctx)	eventfd_signal(ctx)
#endif

/*
 * Preempted rather than gone to sleep? Since 6.12 a sleeper may stay on its
 * run queue for a while.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define kiln_task_runnable(task)	READ_ONCE((task)->on_rq)
#else
#define kiln_task_runnable(task)	task_is_runnable(task)
#endif

/* Time the current task has waited for a CPU, ns; absent in tiny kernels. */
#ifdef CONFIG_SCHED_INFO
#define kiln_run_delay()		(current->sched_info.run_delay)
#else
#define kiln_run_delay()		0ULL
#endif

/* Since 6.4 the kernel's wrapper has a tracepoint, which belongs to it. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define kiln_send_reschedule(cpu)	smp_send_reschedule(cpu)
#else
#define kiln_send_reschedule(cpu)	arch_smp_send_reschedule(cpu)
#endif

/* Hosts can run SEV-SNP guests since 6.9. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define kiln_host_has_snp()		false
#else
#define kiln_host_has_snp()	cc_platform_has(CC_ATTR_HOST_SEV_SNP)
#endif

/* Since 6.10 the name says to kernel code that user space may write it. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define kiln_immediate_exit(run)	READ_ONCE((run)->immediate_exit)
#else
#define kiln_immediate_exit(run)	READ_ONCE((run)->immediate_exit__unsafe)
#endif

/* Whose I/O a kernel thread's is; tiny kernels do not count it. */
#ifdef CONFIG_BLK_CGROUP
static inline void kiln_io_is_of(struct task_struct *task)
{
	struct cgroup_subsys_state *css = task_get_css(task, io_cgrp_id);

	kthread_associate_blkcg(css);
	css_put(css);
}
#else
static inline void kiln_io_is_of(struct task_struct *task)
{
}
#endif

/*
 * VMSCAPE: once a guest has run, its predictions are dropped before the CPU is
 * next in user mode. The kernel does that, where it knows of it and was told.
 */
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
#define kiln_has_ibpb_exit_to_user()					\
	cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER)

static __always_inline void kiln_ibpb_exit_to_user(void)
{
	if (kiln_has_ibpb_exit_to_user())
		this_cpu_write(x86_ibpb_exit_to_user, true);
}
#else
#define kiln_has_ibpb_exit_to_user()	false

static inline void kiln_ibpb_exit_to_user(void)
{
}
#endif

/*
 * SRSO on processors where a bit of an MSR keeps what guests train from the
 * host, for as long as it is set. The kernel has the feature only if it wants
 * that.
 */
#ifdef X86_FEATURE_SRSO_BP_SPEC_REDUCE
#define kiln_has_bp_spec_reduce()					\
	cpu_feature_enabled(X86_FEATURE_SRSO_BP_SPEC_REDUCE)

static inline void kiln_bp_spec_reduce(bool on)
{
	const u8 bit = MSR_ZEN4_BP_CFG_BP_SPEC_REDUCE_BIT;

	if (!kiln_has_bp_spec_reduce())
		return;
	if (on)
		msr_set_bit(MSR_ZEN4_BP_CFG, bit);
	else
		msr_clear_bit(MSR_ZEN4_BP_CFG, bit);
}
#else
#define kiln_has_bp_spec_reduce()	false

static inline void kiln_bp_spec_reduce(bool on)
{
}
#endif

/* What CLEAR_BRANCH_HISTORY_VMEXIT goes by; later kernels have renamed it. */
#ifdef X86_FEATURE_CLEAR_BHB_VMEXIT
#define KILN_FEATURE_CLEAR_BHB	X86_FEATURE_CLEAR_BHB_VMEXIT
#else
#define KILN_FEATURE_CLEAR_BHB	X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
#endif

/*
 * Before 6.6 a hypervisor shared the kernel's UNTRAIN_RET, which has the barrier
 * of kernel entries, too (see spec_macros.S).
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define kiln_has_ibpb_on_vmexit()					\
	(boot_cpu_has(X86_FEATURE_IBPB_ON_VMEXIT) ||			\
	 boot_cpu_has(X86_FEATURE_ENTRY_IBPB))
#else
#define kiln_has_ibpb_on_vmexit()					\
	boot_cpu_has(X86_FEATURE_IBPB_ON_VMEXIT)
#endif

/*
 * Does a guest that reaches devices find stale data of the host there (MMIO
 * Stale Data), with nothing else that clears buffers at each entry? Kbuild
 * looks for the name of the kernel's key.
 */
#ifdef KILN_VERW_KEY
#define kiln_verw_for_devices()		static_branch_unlikely(&KILN_VERW_KEY)
#else
#define kiln_verw_for_devices()		false
#endif

/*
 * VMX must be entered before any task runs on a CPU that comes up and left
 * after the last one on a CPU that goes down, so the state lies in the
 * STARTING section, which has no dynamic states. CPUHP_AP_KVM_STARTING is
 * KVM's own, even while it is idle; this one belongs to Xen on Arm.
 */
#define KILN_CPUHP_STARTING	CPUHP_AP_ARM_XEN_STARTING

/*
 * 6.12 marks large mappings without a struct page; before, there were none but
 * of frames that have no struct page at all.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define kiln_pmd_special(pmd)	(!pfn_valid(pmd_pfn(pmd)))
#define kiln_pud_special(pud)	(!pfn_valid(pud_pfn(pud)))
#else
#define kiln_pmd_special(pmd)	pmd_special(pmd)
#define kiln_pud_special(pud)	pud_special(pud)
#endif

/*
 * What drops anonymous memory of a process. Kernels of kernel.org's export no such
 * function; Debian's do, for their Android drivers, by the name it has there. So it
 * is looked up when it is needed: without it the rest of the module still works.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define KILN_ZAP				zap_page_range
#define kiln_zap(zap, vma, start, size)		((zap)(vma, start, size))
#else
#define KILN_ZAP				zap_page_range_single
#define kiln_zap(zap, vma, start, size)		((zap)(vma, start, size, NULL))
#endif
#define kiln_zap_get()				symbol_get(KILN_ZAP)
#define kiln_zap_put(zap)			symbol_put_addr(zap)

/*
 * A write with a completion that may come later. Since 6.8 the kernel's own call
 * keeps the file system from being frozen meanwhile; the one who is called back
 * lets go of it.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
static inline void kiln_iocb_end_write(struct kiocb *iocb)
{
	struct inode *inode = file_inode(iocb->ki_filp);

	if (!S_ISREG(inode->i_mode))
		return;
	/* For lockdep it was released when the submitter went on. */
	__sb_writers_acquired(inode->i_sb, SB_FREEZE_WRITE);
	sb_end_write(inode->i_sb);
}

static inline ssize_t kiln_iocb_write(struct file *file, struct kiocb *iocb,
				      struct iov_iter *from)
{
	struct inode *inode = file_inode(file);
	ssize_t r;

	if (S_ISREG(inode->i_mode)) {
		sb_start_write(inode->i_sb);
		__sb_writers_release(inode->i_sb, SB_FREEZE_WRITE);
	}
	r = vfs_iocb_iter_write(file, iocb, from);
	if (r != -EIOCBQUEUED)
		kiln_iocb_end_write(iocb);
	return r;
}
#else
#define kiln_iocb_end_write(iocb)		kiocb_end_write(iocb)
#define kiln_iocb_write(file, iocb, from)	\
	vfs_iocb_iter_write(file, iocb, from)
#endif

/* Large UDP packets that are split later: the tap has them since 6.2. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define KILN_TUN_F_USO			0
#define KILN_NET_GUEST_USO		0ULL
#define KILN_NET_HOST_USO		0ULL
#else
#define KILN_TUN_F_USO			(TUN_F_USO4 | TUN_F_USO6)
#define KILN_NET_GUEST_USO		(BIT_ULL(VIRTIO_NET_F_GUEST_USO4) | \
					 BIT_ULL(VIRTIO_NET_F_GUEST_USO6))
#define KILN_NET_HOST_USO		BIT_ULL(VIRTIO_NET_F_HOST_USO)
#endif

/*
 * KILN_SYSCORE() - calls at the end of suspend and the beginning of resume
 *
 * Later kernels, and long-term ones in the middle of their series, hand data
 * to them; Kbuild looks which it is.
 */
#ifdef KILN_SYSCORE_HAS_DATA
#define KILN_SYSCORE_ARGS	void *data
#define KILN_SYSCORE(name, suspend_fn, resume_fn)			\
	static const struct syscore_ops name##_ops = {			\
		.suspend = suspend_fn,					\
		.resume = resume_fn,					\
	};								\
	static struct syscore name = { .ops = &name##_ops }
#define kiln_register_syscore	register_syscore
#define kiln_unregister_syscore	unregister_syscore
#else
#define KILN_SYSCORE_ARGS	void
#define KILN_SYSCORE(name, suspend_fn, resume_fn)			\
	static struct syscore_ops name = {				\
		.suspend = suspend_fn,					\
		.resume = resume_fn,					\
	}
#define kiln_register_syscore	register_syscore_ops
#define kiln_unregister_syscore	unregister_syscore_ops
#endif

#endif /* KILN_COMPAT_H */
