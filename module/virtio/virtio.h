/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio devices whose queues the kernel serves: the room's public header. The
 * ABI is in uapi/kiln.h, the way of a request in Documentation/virtio.rst.
 *
 * What comes in: ioctls on a device's descriptor, kicks (guest writes to a
 * doorbell, eventfds), completions of the host's I/O. What goes out: used
 * buffers in guest memory, messages to local APICs, eventfd signals.
 */
#ifndef KILN_VIRTIO_H
#define KILN_VIRTIO_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>

struct kiln_doorbell;
struct kiln_vcpu;
struct kiln_virtio_create;
struct kiln_vm;

/**
 * struct kiln_vm_virtio - the virtio devices of a VM, embedded as vm->virtio
 * @lock: guards @devices; held while the memory slots change
 * @devices: those whose descriptor is open
 * @nr_queues: [a] of all devices
 */
struct kiln_vm_virtio {
	struct mutex lock;		/* devices */
	struct list_head devices;
	atomic_t nr_queues;
};

/* Each is a thread of the host. */
#define KILN_VIRTIO_MAX_QUEUES	1024

void kiln_virtio_init(struct kiln_vm *vm);

/**
 * kiln_virtio_destroy() - undo kiln_virtio_init()
 * @vm: a VM without references, hence without devices
 */
void kiln_virtio_destroy(struct kiln_vm *vm);

/**
 * kiln_virtio_create() - KILN_CREATE_VIRTIO
 * @vm: the VM; the device takes a reference
 * @args: from user space
 *
 * Return: the device's descriptor; -EINVAL for a type that is unknown, a number
 * of queues out of its range, flags or reserved fields; -ENOSPC: more than
 * KILN_VIRTIO_MAX_QUEUES in the VM; -EMFILE; -ENOMEM.
 * Context: process, of the VM's mm.
 */
int kiln_virtio_create(struct kiln_vm *vm,
		       const struct kiln_virtio_create *args);

/**
 * kiln_virtio_hold() - no device uses guest memory until kiln_virtio_go_on()
 * @vm: the VM
 *
 * Requests that were begun are waited for, no other is begun.
 *
 * Return: 0 with vm->virtio.lock held; -EINTR: fatal signal.
 * Context: process; may sleep.
 */
int kiln_virtio_hold(struct kiln_vm *vm);
void kiln_virtio_go_on(struct kiln_vm *vm);

/**
 * kiln_virtio_ring() - a guest writes to a queue's doorbell
 * @bell: of the queue
 * @vcpu: the writer, or NULL
 *
 * Context: RCU read side, IRQs may be off.
 */
void kiln_virtio_ring(struct kiln_doorbell *bell, struct kiln_vcpu *vcpu);

/**
 * kiln_virtio_serve() - KILN_REQ_VIRTIO: serve the queue a vCPU kicked
 * @vcpu: the vCPU, between an exit and the next entry
 *
 * Context: the vCPU's thread; may sleep.
 */
void kiln_virtio_serve(struct kiln_vcpu *vcpu);

/**
 * kiln_virtio_leave() - a vCPU goes to user space, or has a deadline to keep
 * @vcpu: the vCPU; a kick that it has not served becomes the worker's
 *
 * Context: the vCPU's thread.
 */
void kiln_virtio_leave(struct kiln_vcpu *vcpu);

#endif /* KILN_VIRTIO_H */
