/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VM object: what the vCPUs of one guest share.
 */
#ifndef KILN_VM_H
#define KILN_VM_H

#include <linux/kref.h>
#include <linux/kvm.h>
#include <linux/mutex.h>
#include <linux/srcu.h>
#include <linux/types.h>

#include "clock.h"
#include "irqchip/irqchip.h"
#include "kiln.h"
#include "mmu/mmu.h"
#include "stats.h"
#include "virtio/virtio.h"

#define KILN_MAX_VCPUS		1024
#define KILN_MAX_VCPU_ID	4096

struct kiln_vcpu;

/*
 * Locks: [m] vm->lock; [c] const after creation; [r] RCU: read under
 * rcu_read_lock() or with a reference to the VM, never shrinks; [a] atomic;
 * [i] the room's own lock.
 * Initialised by kiln_vm_create() unless said otherwise.
 */
struct kiln_vm {
	struct kref ref;		/* the VM's fd, one per vCPU and device */
	struct mm_struct *mm;		/* [c] owner; mm_count is held */
	struct mutex lock;		/* vCPU and irqchip creation, TSS address */
	struct kiln_mmu mmu;		/* [i] */
	struct kiln_irqchip irq;	/* [i] */
	struct kiln_vm_clock clock;	/* [i] */
	struct kiln_vm_virtio virtio;	/* [i] */
	struct kiln_vcpu *vcpus[KILN_MAX_VCPUS]; /* [r] filled in order */
	int nr_vcpus;			/* [r] published after vcpus[] */
	u64 identity_map_addr;		/* [m] KVM_SET_IDENTITY_MAP_ADDR */
	u64 tss_addr;			/* [m] KVM_SET_TSS_ADDR */
	struct kiln_vm_stats stats;	/* [a] */
};

/* The vCPU created as number @i, or NULL if there are no more. */
static inline struct kiln_vcpu *kiln_vm_vcpu(struct kiln_vm *vm, int i)
{
	/* Pairs with the release in vcpu_install(). */
	return i < smp_load_acquire(&vm->nr_vcpus) ? vm->vcpus[i] : NULL;
}

/* The vCPUs created so far, in order of creation. */
#define kiln_for_each_vcpu(i, vcpu, vm) \
	for ((i) = 0; ((vcpu) = kiln_vm_vcpu(vm, i)); (i)++)

/**
 * kiln_vm_vcpu_by_id() - find a vCPU by its id, which is its APIC id
 * @vm: the VM
 * @id: vcpu_id given to KVM_CREATE_VCPU
 *
 * Return: the vCPU, which lives as long as the VM, or NULL.
 * Context: any; lock-free.
 */
struct kiln_vcpu *kiln_vm_vcpu_by_id(struct kiln_vm *vm, u32 id);

/**
 * kiln_vm_request_all() - post a request to every vCPU
 * @vm: the VM
 * @req: enum kiln_request
 *
 * Context: any.
 */
void kiln_vm_request_all(struct kiln_vm *vm, int req);

#endif /* KILN_VM_H */
