/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Model-specific registers: one table says which there are, who may use them
 * and what they do.
 */
#ifndef KILN_MSR_H
#define KILN_MSR_H

#include <linux/kvm.h>
#include <linux/types.h>

struct kiln_vcpu;

#define KILN_MCE_BANKS		10

/**
 * kiln_msr_get() - RDMSR
 * @vcpu: the vCPU
 * @index: which
 * @val: out: value; untouched on error
 * @host: user space asks, not the guest: CPUID does not hide it
 *
 * Return: 0, or 1: #GP(0) is the guest's answer.
 * Context: vcpu->mutex, the vCPU loaded; IRQs may be off; does not sleep.
 */
int kiln_msr_get(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host);

/**
 * kiln_msr_set() - WRMSR
 * @vcpu: the vCPU
 * @index: which
 * @val: new value
 * @host: user space asks, not the guest: read-only identification may be
 *	written, CPUID does not hide anything
 *
 * Return: 0, or 1: nothing changed, #GP(0) is the guest's answer.
 * Context: vcpu->mutex, the vCPU loaded; IRQs on; may sleep (guest memory).
 */
int kiln_msr_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host);

/**
 * kiln_msrs_io() - bodies of KVM_GET_MSRS and KVM_SET_MSRS
 * @vcpu: the vCPU
 * @user: header and entries
 * @set: KVM_SET_MSRS
 *
 * Return: how many were done before the first that failed, -E2BIG for 256 or
 * more entries, -EFAULT, -ENOMEM.
 * Context: vcpu->mutex, the vCPU loaded.
 */
int kiln_msrs_io(struct kiln_vcpu *vcpu, struct kvm_msrs __user *user, bool set);

/**
 * kiln_msr_index_list() - body of KVM_GET_MSR_INDEX_LIST
 * @user: header with room for nmsrs indices
 *
 * Return: 0; -E2BIG with nmsrs set where there is too little room; -EFAULT;
 * -ENOMEM.
 */
int kiln_msr_index_list(struct kvm_msr_list __user *user);

/**
 * kiln_msr_create() - allocate and initialise a vCPU's MSRs
 * @vcpu: being created
 *
 * Return: 0 or -ENOMEM.
 */
int kiln_msr_create(struct kiln_vcpu *vcpu);

/**
 * kiln_msr_free() - undo kiln_msr_create()
 * @vcpu: no thread uses it any more
 */
void kiln_msr_free(struct kiln_vcpu *vcpu);

/**
 * kiln_msr_table_sorted() - for the test: is the lookup's premise true?
 */
bool kiln_msr_table_sorted(void);

#endif /* KILN_MSR_H */
