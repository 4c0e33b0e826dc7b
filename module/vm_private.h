/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between main.c, vm.c and vcpu.c.
 */
#ifndef KILN_VM_PRIVATE_H
#define KILN_VM_PRIVATE_H

#include "vm.h"

/* struct kvm_run and the page of string I/O. */
#define KILN_VCPU_MMAP_PAGES	2

/**
 * kiln_hw_get() - a VM comes: the first one enters VMX on every CPU
 *
 * Return: 0; -EBUSY where another hypervisor is in the way, -EIO, -EOPNOTSUPP
 * as logged; -EBUSY, not logged, once the machine is about to end.
 * Context: process; may sleep.
 */
int kiln_hw_get(void);
void kiln_hw_put(void);

/**
 * kiln_version() - body of KILN_GET_VERSION
 * @user: filled
 *
 * Return: 0 or -EFAULT.
 */
int kiln_version(struct kiln_version __user *user);

/**
 * kiln_extension() - KVM_CHECK_EXTENSION (api.rst 4.4)
 * @cap: KVM_CAP_*
 *
 * Return: what the capability says, 0 where kiln does not have it.
 */
int kiln_extension(unsigned long cap);

/* Once at module load, after the backend's setup. */
void kiln_vm_setup(void);

/**
 * kiln_vm_create() - KVM_CREATE_VM
 * @type: 0
 *
 * Return: the new VM's fd, or an errno: -EINVAL for another type, what
 * kiln_hw_get() says, -ENOMEM, -EMFILE.
 */
int kiln_vm_create(unsigned long type);

void kiln_vm_get(struct kiln_vm *vm);
void kiln_vm_put(struct kiln_vm *vm);

/**
 * kiln_vcpu_create() - KVM_CREATE_VCPU (api.rst 4.7)
 * @vm: the VM
 * @id: below KILN_MAX_VCPU_ID
 *
 * Return: the new vCPU's fd; -EINVAL for an id too large or too many vCPUs,
 * -EEXIST for one that is there, -EINTR, -ENOMEM, -EMFILE.
 */
int kiln_vcpu_create(struct kiln_vm *vm, u32 id);
void kiln_vcpu_free(struct kiln_vcpu *vcpu);

#endif /* KILN_VM_PRIVATE_H */
