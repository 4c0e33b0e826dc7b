/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exits that mean the same whoever's hardware they come from. The backend has
 * found out which instruction and which operands; the rest is here.
 *
 * All: the vCPU's thread, vCPU loaded, IRQs on, may sleep. They move RIP past
 * the instruction where it is done, and return as handlers do: KILN_RESUME, or
 * KILN_EXIT_USER with vcpu->run filled in.
 */
#ifndef KILN_EXITS_H
#define KILN_EXITS_H

#include "vcpu.h"

/* CPUID where the fast path could not tell how long the instruction is. */
int kiln_exit_cpuid(struct kiln_vcpu *vcpu);

/* HLT: wait in the kernel for an interrupt, or tell user space. */
int kiln_exit_hlt(struct kiln_vcpu *vcpu);

/* INVD, WBINVD: caches stay coherent, and no device of ours bypasses them. */
int kiln_exit_cache_flush(struct kiln_vcpu *vcpu);

/* RDPMC: no counters are offered, so no index is valid. */
int kiln_exit_rdpmc(struct kiln_vcpu *vcpu);

/* VMCALL, VMMCALL */
int kiln_exit_hypercall(struct kiln_vcpu *vcpu);

/* Not offered by CPUID, so the guest gets what a CPU without it does. */
int kiln_exit_ud(struct kiln_vcpu *vcpu);

/* RDMSR and WRMSR that the fast path did not do. */
int kiln_exit_rdmsr(struct kiln_vcpu *vcpu);
int kiln_exit_wrmsr(struct kiln_vcpu *vcpu);

/* PAUSE, often in a row: it spins on a lock. */
int kiln_exit_pause(struct kiln_vcpu *vcpu);

/* XSETBV: at CPL 0 only. */
int kiln_exit_xsetbv(struct kiln_vcpu *vcpu);

/**
 * kiln_exit_mov_to_cr() - MOV to a control register
 * @vcpu: the vCPU, at CPL 0
 * @cr: 0, 3, 4 or 8
 * @val: the operand; cut to 32 bits outside 64-bit mode
 */
int kiln_exit_mov_to_cr(struct kiln_vcpu *vcpu, int cr, u64 val);

/**
 * kiln_exit_mov_from_cr() - MOV from a control register
 * @vcpu: the vCPU, at CPL 0
 * @cr: 0, 3, 4 or 8
 * @reg: enum kiln_reg that gets it
 */
int kiln_exit_mov_from_cr(struct kiln_vcpu *vcpu, int cr, int reg);

/* CLTS; and LMSW, which sets the low four bits and cannot clear PE. */
int kiln_exit_clts(struct kiln_vcpu *vcpu);
int kiln_exit_lmsw(struct kiln_vcpu *vcpu, u16 msw);

/**
 * kiln_exit_mov_dr() - MOV to or from a debug register
 * @vcpu: the vCPU
 * @dr: 0 to 7
 * @reg: enum kiln_reg of the other operand
 * @read: from the debug register
 */
int kiln_exit_mov_dr(struct kiln_vcpu *vcpu, int dr, int reg, bool read);

#endif /* KILN_EXITS_H */
