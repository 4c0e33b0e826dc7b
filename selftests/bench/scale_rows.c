// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows that tell what the size of a VM costs: the same operation on the VM's last vCPU, with more vCPUs, more memory
 * slots or more memory mapped. Which pages are touched stays the same.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "sample.h"

#define PAGE		4096UL
#define TOUCHES		1024UL
#define GSI		1

#define OTHERS_GPA	0x90000000UL	/* slots that nobody touches, a page each */

/* What is touched of the memory, in pages: every 4th of 16 MiB; of 125 MiB, so that no two are in one of 1,000 parts. */
#define STRIDE		(4 * PAGE)
#define STRIDE_SPREAD	(31 * PAGE)

/* The vCPU's own APIC id in leaves 1, 0xb and 0x1f. */
static bool set_cpuid(struct vcpu *vcpu, unsigned int id)
{
	struct kvm_cpuid2 *cpuids = supported_cpuid(vcpu->vm->dev);
	struct kvm_cpuid_entry2 *e;

	e = cpuid_find(cpuids, 1, 0);
	if (e)
		e->ebx = (e->ebx & 0xffffff) | id << 24;
	for (unsigned int i = 0; i < cpuids->nent; i++)
		if (cpuids->entries[i].function == 0xb || cpuids->entries[i].function == 0x1f)
			cpuids->entries[i].edx = id;
	return !xioctl(vcpu->fd, KVM_SET_CPUID2, cpuids);
}

/* The last of n vCPUs, the only one that runs, and so on the first one's stack. */
static bool create_vcpus(struct vcpu *vcpu, unsigned int n, void (*entry)(void))
{
	int size = xioctl(vcpu->vm->dev, KVM_GET_VCPU_MMAP_SIZE, NULL);

	for (unsigned int id = 0; id < n; id++) {
		vcpu->fd = xioctl(vcpu->vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)id);
		if (vcpu->fd < 0 || !set_cpuid(vcpu, id))
			return false;
	}
	vcpu->run_size = size;
	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (size < 0 || vcpu->run == MAP_FAILED)
		return false;
	vcpu_long_mode(vcpu, entry);
	return !xioctl(vcpu->fd, KVM_SET_MP_STATE, &(struct kvm_mp_state){ KVM_MP_STATE_RUNNABLE });
}

static bool create_slots(struct vm *vm, uint32_t first, unsigned int n, uint64_t gpa, uint8_t *mem, size_t size)
{
	for (unsigned int i = 0; i < n; i++)
		if (vm_set_slot(vm, first + i, 0, gpa + i * size, size, mem + i * size))
			return false;
	return true;
}

/* The memory in one slot and the others elsewhere, or the memory spread over all of them. */
static bool create_memory(struct vm *vm, const struct size *size, bool spread, uint8_t *mem)
{
	size_t bytes = (size_t)size->mib << 20;
	unsigned int others = size->slots - 1;
	void *room;

	if (spread)
		return create_slots(vm, 1, size->slots, TOUCH_GPA, mem, bytes / size->slots);
	room = touch_memory((others + 1) * PAGE, MADV_NOHUGEPAGE);
	return room && create_slots(vm, 1, 1, TOUCH_GPA, mem, bytes) && create_slots(vm, 2, others, OTHERS_GPA, room, PAGE);
}

/* What is touched is at the end of the memory, and present in the host. */
static struct vcpu *create(const struct size *size, bool spread, void (*entry)(void))
{
	static struct vcpu vcpu;
	size_t bytes = (size_t)size->mib << 20;
	uint64_t stride = spread ? STRIDE_SPREAD : STRIDE;
	uint8_t *mem = touch_memory(bytes, MADV_NOHUGEPAGE);

	vcpu.vm = vm_create(VM_IRQCHIP);
	if (!mem || !create_memory(vcpu.vm, size, spread, mem)) {
		not_measured("%u slots and %u MiB are refused", size->slots, size->mib);
		return NULL;
	}
	if (!create_vcpus(&vcpu, size->vcpus, entry)) {
		not_measured("%u vCPUs are refused", size->vcpus);
		return NULL;
	}
	GUEST(vcpu.vm, touch_start) = TOUCH_GPA + bytes - TOUCHES * stride;
	GUEST(vcpu.vm, touch_pages) = TOUCHES;
	GUEST(vcpu.vm, touch_stride) = stride;
	for (unsigned int i = 0; i < TOUCHES; i++)
		mem[bytes - TOUCHES * stride + i * stride] = 1;
	return &vcpu;
}

GUEST_ROW(exits, , cpuid(0, 0, r))
IPI_GUEST(ipis, x2apic_enable(); uint64_t to = rdmsr(X2APIC(APIC_ID)) << 32, stamp_x2eoi,
	  wrmsr(X2APIC(APIC_ICR), to | VECTOR), stamp - t)

/* One VM for three rows, since 32,000 slots take long to make. */
static struct vcpu *shared;

int64_t bench_exit_at(const struct size *size)
{
	shared = create(size, false, exits_guest);
	return shared ? sampled(shared) : NOT_MEASURED;
}

int64_t bench_fault_at(const struct size *size)
{
	if (!shared)
		return NOT_MEASURED;
	vcpu_long_mode(shared, touches);
	return touched(shared);
}

int64_t bench_ipi_at(const struct size *size)
{
	if (!shared)
		return NOT_MEASURED;
	vcpu_long_mode(shared, ipis_guest);
	return sampled(shared);
}

/* Each touch in another slot than the last one, where there are enough of them. */
int64_t bench_spread_at(const struct size *size)
{
	struct vcpu *vcpu = create(size, true, touches);

	return vcpu ? touched(vcpu) : NOT_MEASURED;
}

/* ---- an MSI through an irqfd ---- */

static __guest void count_msi(struct trap *t)
{
	if (!is_repeated(t))
		count_trap_x2eoi(t);
}

/* Takes an interrupt at each of its runs. */
static __guest void takes_msis(void)
{
	x2apic_enable();
	guest_handlers[VECTOR] = count_msi;
	for (;;) {
		irq_window();
		guest_sync(0);
	}
}

static int irqfd_to(struct vm *vm, unsigned int apic_id)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routes = {
		.head.nr = 1,
		.entry = { .gsi = GSI, .type = KVM_IRQ_ROUTING_MSI,
			   .u.msi = { .address_lo = APIC_PHYS | apic_id << 12, .data = VECTOR } },
	};
	struct kvm_irqfd irqfd = { .gsi = GSI, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };

	if (xioctl(vm->fd, KVM_SET_GSI_ROUTING, &routes) || xioctl(vm->fd, KVM_IRQFD, &irqfd))
		return -1;
	return irqfd.fd;
}

/* The write to the eventfd, while the vCPU is out of KVM_RUN. */
int64_t bench_msi_at(const struct size *size)
{
	struct vcpu *vcpu = create(size, false, takes_msis);
	const uint64_t one = 1;
	uint64_t values[SAMPLES];
	int fd;

	if (!vcpu)
		return NOT_MEASURED;
	fd = irqfd_to(vcpu->vm, size->vcpus - 1);
	if (fd < 0)
		return not_measured("the route or the irqfd is refused");
	for (int i = -WARM_UP; i < SAMPLES; i++) {
		uint64_t start;

		if (strcmp(vcpu_outcome(vcpu), "sync 0"))
			return not_measured("the guest ended with: %s", vcpu->outcome);
		start = host_tsc();
		if (write(fd, &one, sizeof(one)) != sizeof(one))
			return not_measured("the eventfd is full");
		if (i >= 0)
			values[i] = host_tsc() - start;
	}
	vcpu_outcome(vcpu);
	if (GUEST(vcpu->vm, guest_count)[VECTOR] != SAMPLES + WARM_UP)
		return not_measured("%u interrupts instead of %d", GUEST(vcpu->vm, guest_count)[VECTOR], SAMPLES + WARM_UP);
	return median(values, SAMPLES);
}
