// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of a device: a message straight to the local APICs, or an eventfd
 * where another VMM has its own idea of an interrupt.
 *
 * The lock is held while the message is sent, so that nothing is sent by what
 * was replaced once kiln_signal_set() has returned.
 */
#include "../compat.h"
#include "private.h"

void kiln_signal_init(struct kiln_signal *signal)
{
	spin_lock_init(&signal->lock);
}

static void send(struct kiln_vm *vm, const struct kiln_signal *signal)
{
	struct kvm_msi msi = {
		.address_lo = signal->address,
		.data = signal->data,
	};

	kiln_msi_send(vm, &msi);
}

void kiln_signal_raise(struct kiln_vm *vm, struct kiln_signal *signal)
{
	spin_lock(&signal->lock);
	if (!(signal->flags & KILN_VIRTIO_MSI_ENABLE)) {
		if (signal->call)
			kiln_eventfd_signal(signal->call);
	} else if (signal->flags & KILN_VIRTIO_MSI_MASKED) {
		signal->pending = true;
	} else {
		send(vm, signal);
	}
	spin_unlock(&signal->lock);
	atomic64_inc(&vm->stats.virtio_signal);
}

int kiln_signal_set(struct kiln_vm *vm, struct kiln_signal *signal,
		    const struct kiln_virtio_msi *msi)
{
	if (msi->flags & ~(KILN_VIRTIO_MSI_ENABLE | KILN_VIRTIO_MSI_MASKED) ||
	    msi->pending)
		return -EINVAL;
	if (msi->flags & KILN_VIRTIO_MSI_ENABLE &&
	    !kiln_irqchip_present(&vm->irq))
		return -ENXIO;
	spin_lock(&signal->lock);
	signal->flags = msi->flags;
	signal->address = msi->address;
	signal->data = msi->data;
	if (!(msi->flags & KILN_VIRTIO_MSI_ENABLE)) {
		signal->pending = false;
	} else if (signal->pending && !(msi->flags & KILN_VIRTIO_MSI_MASKED)) {
		signal->pending = false;
		send(vm, signal);
	}
	spin_unlock(&signal->lock);
	return 0;
}

void kiln_signal_get(struct kiln_signal *signal, struct kiln_virtio_msi *msi)
{
	spin_lock(&signal->lock);
	msi->flags = signal->flags;
	msi->address = signal->address;
	msi->data = signal->data;
	msi->pending = signal->pending;
	spin_unlock(&signal->lock);
}

void kiln_signal_reset(struct kiln_signal *signal)
{
	spin_lock(&signal->lock);
	signal->flags = 0;
	signal->pending = false;
	spin_unlock(&signal->lock);
}

void kiln_signal_set_call(struct kiln_signal *signal, struct eventfd_ctx *call)
{
	spin_lock(&signal->lock);
	swap(signal->call, call);
	spin_unlock(&signal->lock);
	if (call)
		eventfd_ctx_put(call);
}
