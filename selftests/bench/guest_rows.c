// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows a guest measures by itself: the TSC before and after one operation, many times, and the cost of reading the
 * TSC taken off.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "sample.h"

#define PORT		0x510
#define DEVICE		0xd0000000UL
#define TOUCH_4K	1024
#define TOUCH_2M	16

#define ROW(name, flags, prepare, operation)				\
GUEST_ROW(name, prepare, operation)					\
int64_t bench_##name(void)						\
{									\
	return sampled(vm_create_one(flags, name##_guest));		\
}

ROW(cpuid, VM_IRQCHIP, , cpuid(0, 0, r))
ROW(rdmsr, VM_IRQCHIP, , rdmsr(APIC_MSR))
ROW(wrmsr, VM_IRQCHIP, , wrmsr(0x200, 0))
ROW(port_kernel, VM_IRQCHIP, , inb(0x4d0))
ROW(port_read_user, VM_IRQCHIP, , inb(PORT))
ROW(port_write_user, VM_IRQCHIP, , outb(PORT, 0))
ROW(mmio_read_user, VM_IRQCHIP, , (void)*(volatile uint32_t *)DEVICE)
ROW(mmio_write_user, VM_IRQCHIP, , *(volatile uint32_t *)DEVICE = 0)

/* ---- doorbells ---- */

GUEST_ROW(ring_port, , outw(PORT, 0))
GUEST_ROW(ring_mmio, , *(volatile uint16_t *)DEVICE = 0)

static int64_t doorbell(void (*guest)(void), struct kvm_ioeventfd io)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, guest);
	uint64_t rings = 0;
	int64_t ticks;

	io.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (xioctl(vcpu->vm->fd, KVM_IOEVENTFD, &io))
		return not_measured("KVM_IOEVENTFD failed");
	ticks = sampled(vcpu);
	if (read(io.fd, &rings, sizeof(rings)) != sizeof(rings) || rings != SAMPLES + WARM_UP)
		return not_measured("%lu rings instead of %d", rings, SAMPLES + WARM_UP);
	close(io.fd);
	return ticks;
}

int64_t bench_ioeventfd_port(void)
{
	return doorbell(ring_port_guest, (struct kvm_ioeventfd){ .addr = PORT, .len = 2,
								 .flags = KVM_IOEVENTFD_FLAG_PIO });
}

int64_t bench_ioeventfd_mmio(void)
{
	return doorbell(ring_mmio_guest, (struct kvm_ioeventfd){ .addr = DEVICE });
}

/* ---- local APIC ---- */

/* The EOI of an interrupt in service. */
static __guest void time_eoi(struct trap *t)
{
	uint64_t start = rdtsc();

	apic_write(APIC_EOI, 0);
	stamp = rdtsc() - start;
}

static __guest void time_x2eoi(struct trap *t)
{
	uint64_t start = rdtsc();

	wrmsr(X2APIC(APIC_EOI), 0);
	stamp = rdtsc() - start;
}

/* IPI_ROW: from the write of the ICR to the handler's first step, or what "value" is. */
#define IPI_ROW(name, enable, handler, send, value)			\
IPI_GUEST(name, enable(), handler, send, value)				\
int64_t bench_##name(void)						\
{									\
	return sampled(vm_create_one(VM_IRQCHIP, name##_guest));		\
}

IPI_ROW(self_ipi_xapic, apic_enable, stamp_eoi, apic_write(APIC_ICR, APIC_SELF | VECTOR), stamp - t)
IPI_ROW(self_ipi_x2apic, x2apic_enable, stamp_x2eoi, wrmsr(X2APIC_SELF_IPI, VECTOR), stamp - t)
IPI_ROW(eoi_xapic, apic_enable, time_eoi, apic_write(APIC_ICR, APIC_SELF | VECTOR), (stamp + 0 * t))
IPI_ROW(eoi_x2apic, x2apic_enable, time_x2eoi, wrmsr(X2APIC_SELF_IPI, VECTOR), (stamp + 0 * t))

#define DEADLINE_TICKS	300000
#define DEADLINES	101

/* How long after the deadline the handler's first step comes, when the processor halts meanwhile. */
static __guest void hlt_timer_guest(void)
{
	apic_enable();
	guest_handlers[VECTOR] = stamp_eoi;
	apic_write(APIC_LVT_TIMER, APIC_DEADLINE | VECTOR);
	for (int i = -5; i < DEADLINES; i++) {
		uint64_t deadline;

		stamp = 0;
		deadline = rdtsc() + DEADLINE_TICKS;
		wrmsr(0x6e0, deadline);
		while (!stamp)
			sti_hlt();
		cli();
		if (i >= 0)
			samples[i] = stamp > deadline ? stamp - deadline : 0;
	}
	guest_done();
}

int64_t bench_hlt_timer(void)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, hlt_timer_guest);
	struct kvm_cpuid2 *cpuids = supported_cpuid(vcpu->vm->dev);

	if (xioctl(vcpu->vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_DEADLINE_TIMER) <= 0)
		return not_measured("no TSC-deadline timer");
	cpuid_find(cpuids, 1, 0)->ecx |= 1 << 24;
	if (xioctl(vcpu->fd, KVM_SET_CPUID2, cpuids))
		return not_measured("KVM_SET_CPUID2 failed");
	if (!serve(vcpu))
		return not_measured("the guest ended with: %s", vcpu->outcome);
	return median(GUEST(vcpu->vm, samples), DEADLINES);
}

/* ---- first touches ---- */

static int64_t touch(void *mem, uint64_t pages, uint64_t stride)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, touches);

	if (vm_set_slot(vcpu->vm, 1, 0, TOUCH_GPA, pages * stride, mem))
		return not_measured("the slot was refused");
	GUEST(vcpu->vm, touch_start) = TOUCH_GPA;
	GUEST(vcpu->vm, touch_pages) = pages;
	GUEST(vcpu->vm, touch_stride) = stride;
	return touched(vcpu);
}

static int64_t touch_4k(bool present)
{
	uint8_t *mem = touch_memory(TOUCH_4K * 4096, MADV_NOHUGEPAGE);

	if (!mem)
		return not_measured("no memory");
	if (present)
		memset(mem, 1, TOUCH_4K * 4096);
	return touch(mem, TOUCH_4K, 4096);
}

int64_t bench_touch_4k_absent(void)
{
	return touch_4k(false);
}

int64_t bench_touch_4k_present(void)
{
	return touch_4k(true);
}

/* KiB of huge pages behind this process, to be sure that there were any. */
static long huge_kib(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[128];
	long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "AnonHugePages: %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

static int64_t touch_2m(bool present)
{
	uint8_t *mem = touch_memory(TOUCH_2M * (2UL << 20), MADV_HUGEPAGE);
	int64_t ticks;

	if (!mem)
		return not_measured("no transparent huge pages in this kernel");
	for (int i = 0; present && i < TOUCH_2M; i++)
		mem[i * (2UL << 20)] = 1;
	ticks = touch(mem, TOUCH_2M, 2UL << 20);
	if (ticks != NOT_MEASURED && huge_kib() < TOUCH_2M * 2048 / 2)
		return not_measured("the kernel gave small pages: %ld KiB huge", huge_kib());
	return ticks;
}

int64_t bench_touch_2m_absent(void)
{
	return touch_2m(false);
}

int64_t bench_touch_2m_present(void)
{
	return touch_2m(true);
}
