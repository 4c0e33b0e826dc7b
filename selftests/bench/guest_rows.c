// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows a guest measures by itself: the TSC before and after one operation, many times, and the cost of reading the
 * TSC taken off. Of single operations the median counts; of first touches the mean, since a hypervisor may do the work
 * of several pages at one of them.
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
#include "guest.h"
#include "vm.h"

#define SAMPLES		1001
#define WARM_UP		50
#define PORT		0x510
#define DEVICE		0xd0000000UL
#define VECTOR		0x71
#define TOUCH_GPA	0x40000000UL
#define TOUCH_4K	1024
#define TOUCH_2M	16

static uint64_t samples[SAMPLES] __guest_data = { 0 };
static uint64_t overhead __guest_data = 0;	/* of reading the TSC twice with nothing between */
static volatile uint64_t stamp __guest_data = 0;

/* How many ticks the two readings around nothing are apart, at best. */
static __guest void calibrate(void)
{
	overhead = ~0UL;
	for (int i = 0; i < 100; i++) {
		uint64_t t = rdtsc();

		t = rdtsc() - t;
		if (t < overhead)
			overhead = t;
	}
}

/* GUEST_ROW(name, preparation, operation): the guest code of a row. */
#define GUEST_ROW(name, prepare, operation)				\
static __guest void name##_guest(void)					\
{									\
	uint32_t r[4];							\
									\
	(void)r;							\
	calibrate();							\
	prepare;							\
	for (int i = -WARM_UP; i < SAMPLES; i++) {			\
		uint64_t t = rdtsc();					\
									\
		operation;						\
		t = rdtsc() - t;					\
		if (i >= 0)						\
			samples[i] = t;					\
	}								\
	guest_done();							\
}

/* The least a VMM's loop can be: reads give zero, writes go nowhere. */
static bool serve(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	while (!ioctl(vcpu->fd, KVM_RUN, 0)) {
		if (run->exit_reason == KVM_EXIT_MMIO) {
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0, sizeof(run->mmio.data));
		} else if (run->exit_reason == KVM_EXIT_IO) {
			if (run->io.port == UCALL_PORT)
				break;
			if (run->io.direction == KVM_EXIT_IO_IN)
				*(uint32_t *)((uint8_t *)run + run->io.data_offset) = 0;
		} else {
			break;
		}
	}
	return !strcmp(vcpu_describe(vcpu), "done");
}

static int64_t result(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	int64_t ticks;

	if (!serve(vcpu))
		return not_measured("the guest ended with: %s", vcpu->outcome);
	ticks = median(GUEST(vm, samples), SAMPLES) - GUEST(vm, overhead);
	vm_destroy(vm);
	return ticks;
}

#define ROW(name, flags, prepare, operation)				\
GUEST_ROW(name, prepare, operation)					\
int64_t bench_##name(void)						\
{									\
	return result(vm_create_one(flags, name##_guest));		\
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
	ticks = result(vcpu);
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

/* From the write of the ICR to the handler's first step. */
static __guest void stamp_eoi(struct trap *t)
{
	stamp = rdtsc();
	apic_write(APIC_EOI, 0);
}

static __guest void stamp_x2eoi(struct trap *t)
{
	stamp = rdtsc();
	wrmsr(X2APIC(APIC_EOI), 0);
}

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

/* Interrupts one at a time, each taken before the next; "value" of each is a sample. */
#define IPI_ROW(name, enable, handler, send, value)			\
static __guest void name##_guest(void)					\
{									\
	calibrate();							\
	enable();							\
	guest_handlers[VECTOR] = handler;				\
	sti();								\
	for (int i = -WARM_UP; i < SAMPLES; i++) {			\
		uint64_t t;						\
									\
		stamp = 0;						\
		t = rdtsc();						\
		send;							\
		while (!stamp)						\
			pause_cpu();					\
		t = value;						\
		if (i >= 0)						\
			samples[i] = t;					\
	}								\
	cli();								\
	guest_done();							\
}									\
int64_t bench_##name(void)						\
{									\
	return result(vm_create_one(VM_IRQCHIP, name##_guest));		\
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

static uint64_t touch_pages __guest_data = 0, touch_stride __guest_data = 0;

static __guest void touches(void)
{
	calibrate();
	for (uint64_t i = 0; i < touch_pages; i++) {
		volatile uint64_t *p = (volatile uint64_t *)(TOUCH_GPA + i * touch_stride);
		uint64_t t;

		asm volatile("invlpg (%0)" : : "r"(p) : "memory");
		t = rdtsc();
		*p = i;
		t = rdtsc() - t;
		samples[i % SAMPLES] = t;
		stamp += t - overhead;
	}
	guest_done();
}

static int64_t touch(void *mem, uint64_t pages, uint64_t stride)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, touches);

	if (vm_set_slot(vcpu->vm, 1, 0, TOUCH_GPA, pages * stride, mem))
		return not_measured("the slot was refused");
	GUEST(vcpu->vm, touch_pages) = pages;
	GUEST(vcpu->vm, touch_stride) = stride;
	if (!serve(vcpu))
		return not_measured("the guest ended with: %s", vcpu->outcome);
	return GUEST(vcpu->vm, stamp) / pages;
}

/* Aligned to 2M and with huge pages or without, as advised. */
static void *touch_memory(size_t size, int advice)
{
	const uintptr_t huge = 2UL << 20;
	uint8_t *room = mmap(NULL, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *mem = (uint8_t *)(((uintptr_t)room + huge - 1) & ~(huge - 1));

	if (room == MAP_FAILED)
		return NULL;
	if (madvise(mem, size, advice) && advice == MADV_HUGEPAGE)
		return NULL;
	return mem;
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

int64_t bench_touch_2m(void)
{
	uint8_t *mem = touch_memory(TOUCH_2M * (2UL << 20), MADV_HUGEPAGE);
	int64_t ticks;

	if (!mem)
		return not_measured("no transparent huge pages in this kernel");
	ticks = touch(mem, TOUCH_2M, 2UL << 20);
	if (ticks != NOT_MEASURED && huge_kib() < TOUCH_2M * 2048 / 2)
		return not_measured("the kernel gave small pages: %ld KiB huge", huge_kib());
	return ticks;
}
