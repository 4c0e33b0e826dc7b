/* SPDX-License-Identifier: GPL-2.0-only */
/* Hyper-V's crash and reset MSRs, which lead to KVM_EXIT_SYSTEM_EVENT. */
#ifndef KILN_HYPERV_H
#define KILN_HYPERV_H

#include <linux/types.h>

struct kiln_vcpu;

/**
 * kiln_system_event() - KILN_REQ_SYSTEM_EVENT: tell user space
 * @vcpu: the vCPU whose guest asked for it; its system_event says what for
 *
 * Return: KILN_EXIT_USER with KVM_EXIT_SYSTEM_EVENT filled in.
 * Context: the vCPU's thread.
 */
int kiln_system_event(struct kiln_vcpu *vcpu);

/*
 * Rows of the MSR table: contracts of kiln_msr_get() and kiln_msr_set(). The
 * guest gets #GP unless its CPUID has Hyper-V's interface and the feature;
 * what user space writes causes no event.
 */
int kiln_hv_crash_get(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host);
int kiln_hv_crash_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host);
int kiln_hv_crash_ctl_get(struct kiln_vcpu *vcpu, u32 index, u64 *val,
			  bool host);
int kiln_hv_crash_ctl_set(struct kiln_vcpu *vcpu, u32 index, u64 val,
			  bool host);
int kiln_hv_reset_get(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host);
int kiln_hv_reset_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host);

#endif
