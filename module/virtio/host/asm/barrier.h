/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_HOST_ASM_BARRIER_H
#define KILN_HOST_ASM_BARRIER_H

#define smp_mb()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb()	__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()	__atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_store_release(p, v) \
	__atomic_store_n(p, v, __ATOMIC_RELEASE)

#endif
