// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows of virtio devices: what a kick costs, and a request from its kick to its interrupt. Where the kernel has no such
 * device, a thread serves the queue: an ioeventfd wakes it, an irqfd is its interrupt.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "virtio.h"
#include "bench.h"
#include "sample.h"

#define PORT		0x5a0
#define DOORBELL	0xd0000000UL
#define BYTES		64
#define GSI		24

static struct ring ring __guest_data;

GUEST_ROW(kick_port, , outw(PORT, 0))
GUEST_ROW(kick_mmio, , *(volatile uint16_t *)DOORBELL = 0)

/* One request after the other, halted meanwhile: until the handler's first step. */
static __guest void entropy_guest(void)
{
	struct ring_piece p = { VIRTIO_DATA, BYTES, true };
	uint32_t id, len;

	calibrate();
	apic_enable();
	guest_handlers[VECTOR] = stamp_eoi;
	for (int i = -WARM_UP; i < SAMPLES; i++) {
		uint64_t t;

		ring_add(&ring, &p, 1);
		stamp = 0;
		sti();
		t = rdtsc();
		*(volatile uint16_t *)DOORBELL = 0;
		for (;;) {
			cli();
			if (stamp)
				break;
			sti_hlt();
		}
		if (i >= 0)
			samples[i] = stamp - t;
		guest_assert(ring_collect(&ring, &id, &len));
	}
	guest_done();
}

/* ---- kiln ---- */

static struct virtio entropy_device(struct vm *vm)
{
	struct virtio v = virtio_create(vm, VIRTIO_ID_RNG, 1);

	if (virtio_start(&v, V1 | EVENT_IDX) || virtio_msi(&v, 0, VECTOR, KILN_VIRTIO_MSI_ENABLE))
		die("the device does not start");
	GUEST(vm, ring) = v.ring[0];
	GUEST(vm, ring).base = 0;
	return v;
}

static int64_t by_device(void (*guest)(void), uint64_t addr, uint32_t flags)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, guest);
	struct virtio v = entropy_device(vcpu->vm);
	int64_t ticks;

	if (virtio_doorbell(&v, 0, addr, flags))
		return not_measured("KILN_VIRTIO_SET_DOORBELL failed");
	ticks = sampled(vcpu);
	virtio_destroy(&v);
	return ticks;
}

int64_t bench_kick_port(void)
{
	if (!device_is_kiln())
		return not_there("no virtio devices in the kernel");
	return by_device(kick_port_guest, PORT, KILN_VIRTIO_DOORBELL_PIO);
}

int64_t bench_kick_mmio(void)
{
	if (!device_is_kiln())
		return not_there("no virtio devices in the kernel");
	return by_device(kick_mmio_guest, DOORBELL, 0);
}

/* ---- a thread in the place of the device ---- */

struct server {
	struct vm *vm;
	int kick, irq;
};

static void *device_thread(void *arg)
{
	struct server *s = arg;
	struct ring *r = &GUEST(s->vm, ring);
	uint8_t *base = s->vm->ram;
	volatile uint16_t *avail = (void *)(base + r->avail), *used = (void *)(base + r->used);
	volatile struct ring_used_elem *elem = (void *)(base + r->used + 4);
	struct ring_desc *desc = (void *)(base + r->desc);
	uint64_t n;

	while (read(s->kick, &n, sizeof(n)) == sizeof(n) && n < 1000) {
		while (used[1] != avail[1]) {
			uint16_t head = avail[2 + used[1] % r->num];

			elem[used[1] % r->num].id = head;
			elem[used[1] % r->num].len = getrandom(base + desc[head].addr, desc[head].len, 0);
			used[1]++;
		}
		n = 1;
		if (write(s->irq, &n, sizeof(n)) != sizeof(n))
			die("irqfd: %s", strerror(errno));
	}
	return NULL;
}

/* ---- from a kick to whom it wakes ---- */

static volatile uint64_t kicked __guest_data;		/* the guest's TSC when it was heard */

static __guest void heard_guest(void)
{
	calibrate();
	for (int i = -WARM_UP; i < SAMPLES; i++) {
		uint64_t t;

		kicked = 0;
		t = rdtsc();
		*(volatile uint16_t *)DOORBELL = 0;
		while (!kicked)
			asm volatile("pause");
		if (i >= 0)
			samples[i] = kicked - t;
	}
	guest_done();
}

struct listener {
	struct vm *vm;
	int kick;
	uint64_t offset;		/* of the guest's TSC */
};

static void *listener_thread(void *arg)
{
	struct listener *l = arg;
	uint64_t n;

	while (read(l->kick, &n, sizeof(n)) == sizeof(n) && n < 1000)
		GUEST(l->vm, kicked) = host_tsc() + l->offset;
	return NULL;
}

static int64_t heard_by_thread(void)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, heard_guest);
	struct listener l = { vcpu->vm, eventfd(0, EFD_CLOEXEC) };
	struct kvm_ioeventfd io = { .addr = DOORBELL, .fd = l.kick };
	struct kvm_device_attr offset = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
					  .addr = (uintptr_t)&l.offset };
	uint64_t end = 1000;
	pthread_t thread;
	int64_t ticks;

	if (xioctl(vcpu->vm->fd, KVM_IOEVENTFD, &io) || xioctl(vcpu->fd, KVM_GET_DEVICE_ATTR, &offset))
		return not_measured("no eventfd, or no offset of the TSC");
	pthread_create(&thread, NULL, listener_thread, &l);
	ticks = sampled(vcpu);
	if (write(l.kick, &end, sizeof(end)) != sizeof(end))
		die("kick: %s", strerror(errno));
	pthread_join(thread, NULL);
	return ticks;
}

/* On kiln the whole way there and back: the queue is looked at on it. */
int64_t bench_kick_heard(void)
{
	return device_is_kiln() ? by_device(kick_mmio_guest, DOORBELL, 0) : heard_by_thread();
}

static int64_t by_thread(void)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, entropy_guest);
	struct server s = { vcpu->vm, eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
	struct kvm_ioeventfd io = { .addr = DOORBELL, .fd = s.kick };
	struct kvm_irqfd irq = { .fd = s.irq, .gsi = GSI };
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = { { .nr = 1 }, { .gsi = GSI, .type = KVM_IRQ_ROUTING_MSI,
				     .u.msi = { .address_lo = APIC_PHYS, .data = VECTOR } } };
	uint64_t end = 1000;
	pthread_t thread;
	int64_t ticks;

	ring_init(&GUEST(vcpu->vm, ring), 0, VIRTIO_RING(0), VIRTIO_NUM, false, false);
	if (xioctl(vcpu->vm->fd, KVM_IOEVENTFD, &io) || xioctl(vcpu->vm->fd, KVM_SET_GSI_ROUTING, &routing) ||
	    xioctl(vcpu->vm->fd, KVM_IRQFD, &irq))
		return not_measured("no eventfds");
	pthread_create(&thread, NULL, device_thread, &s);
	ticks = sampled(vcpu);
	if (write(s.kick, &end, sizeof(end)) != sizeof(end))
		die("kick: %s", strerror(errno));
	pthread_join(thread, NULL);
	return ticks;
}

int64_t bench_entropy(void)
{
	char byte;

	/* The generator makes a request longer until it is ready, for which this waits. */
	if (getrandom(&byte, 1, 0) != 1)
		return not_measured("getrandom failed");
	return device_is_kiln() ? by_device(entropy_guest, DOORBELL, 0) : by_thread();
}
