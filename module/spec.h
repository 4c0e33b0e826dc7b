/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Side channels between guests, and between guest and host.
 *
 * The host kernel decides: what it found out of the processor's bugs and what
 * its command line says (mitigations=off and the like) selects what is done
 * here. The parts:
 *
 *	entry	L1 data cache flushed (L1TF), CPU buffers cleared (MDS, TSA, and
 *		MMIO stale data of a guest that reaches devices),
 *		IA32_SPEC_CTRL the guest's
 *	exit	IA32_SPEC_CTRL the host's, with IBRS; return stack filled,
 *		returns untrained, branch history cleared; general registers
 *		cleared
 *	a CPU comes to another vCPU: IBPB; to user mode after a guest: IBPB by
 *		the kernel (VMSCAPE)
 *	guests may run: Zen 5's branch prediction restrained (SRSO)
 *
 * Indices a guest chooses are masked where they are used (array_index_nospec).
 */
#ifndef KILN_SPEC_H
#define KILN_SPEC_H

#include <linux/jump_label.h>
#include <linux/percpu.h>
#include <asm/nospec-branch.h>

#include "compat.h"
#include "vcpu.h"
#include "vm.h"

DECLARE_STATIC_KEY_FALSE(kiln_l1d_flush);
DECLARE_STATIC_KEY_FALSE(kiln_l1d_flush_always);

/**
 * kiln_spec_init() - learn what the host wants, and say so; at load
 *
 * After the backend's setup.
 *
 * Return: 0 or -ENOMEM.
 */
int kiln_spec_init(void);
void kiln_spec_exit(void);

/**
 * kiln_spec_load() - a vCPU comes to this CPU
 * @vcpu: the vCPU
 *
 * Branch predictions of the one before are dropped.
 *
 * Context: preemption off.
 */
void kiln_spec_load(struct kiln_vcpu *vcpu);
bool kiln_spec_comes(struct kiln_vcpu *vcpu, u64 *last);

void kiln_spec_flush_l1d(void);

/**
 * kiln_spec_enter() - before a stay in the guest
 * @vcpu: the vCPU
 *
 * Context: IRQs off, in the place from where the host does no more than enter
 * the guest.
 */
static __always_inline void kiln_spec_enter(struct kiln_vcpu *vcpu)
{
	vcpu->host_spec_ctrl = this_cpu_read(x86_spec_ctrl_current);
	if (static_branch_unlikely(&kiln_l1d_flush))
		kiln_spec_flush_l1d();
}

/**
 * kiln_spec_each_entry() - before each entry of a stay
 * @vcpu: the vCPU
 *
 * For what depends on the VM; what does not is in entry.S.
 *
 * Context: IRQs off.
 */
static __always_inline void kiln_spec_each_entry(struct kiln_vcpu *vcpu)
{
	if (kiln_verw_for_devices() && READ_ONCE(vcpu->vm->mmu.devices))
		x86_clear_cpu_buffers();
}

/**
 * kiln_spec_leave() - after a stay in the guest
 *
 * Context: IRQs off.
 */
static __always_inline void kiln_spec_leave(void)
{
	kiln_ibpb_exit_to_user();
}

/**
 * kiln_spec_reenter() - before the guest is entered again after a fast exit
 *
 * What those touch of the host is little, and the guest's own affair: by default
 * as much as KVM lets pass without a flush. l1tf=full on the host's command
 * line asks for one at each entry all the same.
 *
 * Context: as kiln_spec_enter().
 */
static __always_inline void kiln_spec_reenter(void)
{
	if (static_branch_unlikely(&kiln_l1d_flush_always))
		kiln_spec_flush_l1d();
}

/* Rows of the MSR table: IA32_SPEC_CTRL, IA32_PRED_CMD, VIRT_SPEC_CTRL. */
int kiln_spec_ctrl_get(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host);
int kiln_spec_ctrl_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host);
int kiln_pred_cmd_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host);
int kiln_virt_spec_ctrl_get(struct kiln_vcpu *vcpu, u32 index, u64 *val,
			    bool host);
int kiln_virt_spec_ctrl_set(struct kiln_vcpu *vcpu, u32 index, u64 val,
			    bool host);

/* May the guest write IA32_PRED_CMD, whose writes leave nothing behind? */
bool kiln_guest_has_pred_cmd(struct kiln_vcpu *vcpu);

/* Can the host's kernel switch SSBD on AMD processors without the MSR bit? */
bool kiln_host_has_virt_ssbd(void);

#endif /* KILN_SPEC_H */
