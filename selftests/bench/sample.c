// SPDX-License-Identifier: GPL-2.0-only
/*
 * Samples that a guest takes of itself: see sample.h. Of single operations the median counts; of first touches the
 * mean, since a hypervisor may do the work of several pages at one of them.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "sample.h"

uint64_t samples[SAMPLES] __guest_data = { 0 };
uint64_t overhead __guest_data = 0;
volatile uint64_t stamp __guest_data = 0;
uint64_t touch_start __guest_data = 0, touch_pages __guest_data = 0, touch_stride __guest_data = 0;

/* How many ticks the two readings around nothing are apart, at best. */
__guest void calibrate(void)
{
	overhead = ~0UL;
	for (int i = 0; i < 100; i++) {
		uint64_t t = rdtsc();

		t = rdtsc() - t;
		if (t < overhead)
			overhead = t;
	}
}

__guest void stamp_eoi(struct trap *t)
{
	stamp = rdtsc();
	apic_write(APIC_EOI, 0);
}

__guest void stamp_x2eoi(struct trap *t)
{
	stamp = rdtsc();
	wrmsr(X2APIC(APIC_EOI), 0);
}

__guest void touches(void)
{
	calibrate();
	for (uint64_t i = 0; i < touch_pages; i++) {
		volatile uint64_t *p = (volatile uint64_t *)(touch_start + i * touch_stride);
		uint64_t t;

		asm volatile("invlpg (%0)" : : "r"(p) : "memory");
		t = rdtsc();
		*p = i;
		t = rdtsc() - t;
		stamp += t - overhead;
	}
	guest_done();
}

/* The least a VMM's loop can be: reads give zero, writes go nowhere. */
bool serve(struct vcpu *vcpu)
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

int64_t sampled(struct vcpu *vcpu)
{
	if (!serve(vcpu))
		return not_measured("the guest ended with: %s", vcpu->outcome);
	return median(GUEST(vcpu->vm, samples), SAMPLES) - GUEST(vcpu->vm, overhead);
}

int64_t touched(struct vcpu *vcpu)
{
	if (!serve(vcpu))
		return not_measured("the guest ended with: %s", vcpu->outcome);
	return GUEST(vcpu->vm, stamp) / GUEST(vcpu->vm, touch_pages);
}

void *touch_memory(size_t size, int advice)
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
