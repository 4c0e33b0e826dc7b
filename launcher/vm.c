// SPDX-License-Identifier: GPL-2.0-only
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cpuid.h"
#include "error.h"
#include "host.h"

/* Four pages that stock KVM on Intel wants for itself, in the hole below the local APIC. */
#define IDENTITY_MAP	0xfffbc000ULL
#define TSS_ADDRESS	0xfffbd000ULL

#define CPUID_ENTRIES	256

const struct vm_need vm_needs[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", "the TSS address" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR",
	  "the identity map address" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "interrupt controllers" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2", "the timer" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "CPUID" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "ending a vCPU" },
	{ 0, NULL, NULL },
};

int vm_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret < 0 && errno == EINTR);
	return ret;
}

void vm_get_version(int device_fd, struct kiln_version *version)
{
	memset(version, 0, sizeof(*version));
	/* The number is kiln's own: others say ENOTTY. */
	if (vm_ioctl(device_fd, KILN_GET_VERSION, version))
		strcpy(version->name, "KVM");
	version->name[sizeof(version->name) - 1] = '\0';
}

static int check_extension(const struct vm *vm, int capability)
{
	return ioctl(vm->device_fd, KVM_CHECK_EXTENSION, (unsigned long)capability);
}

static int check_needs(const struct vm *vm)
{
	for (const struct vm_need *need = vm_needs; need->name; need++)
		if (check_extension(vm, need->capability) <= 0)
			return error_set("%s: offers no %s (%s); load a newer module", vm->device,
					 need->name, need->what);
	return 0;
}

static int check_cpus(const struct vm *vm, unsigned int cpus)
{
	int max = check_extension(vm, KVM_CAP_MAX_VCPUS);

	if (max <= 0)	/* api.rst 4.4: then NR_VCPUS, and without that 4 */
		max = check_extension(vm, KVM_CAP_NR_VCPUS);
	if (max <= 0)
		max = 4;
	if (cpus > (unsigned int)max)
		return error_set("--cpus %u: more than %s can run; give 1 to %d", cpus, vm->device,
				 max);
	return 0;
}

static int get_supported_cpuid(struct vm *vm)
{
	vm->cpuid = calloc(1, sizeof(*vm->cpuid) + CPUID_ENTRIES * sizeof(vm->cpuid->entries[0]));
	if (!vm->cpuid)
		return error_set("out of memory; free some");
	vm->cpuid->nent = CPUID_ENTRIES;
	if (vm_ioctl(vm->device_fd, KVM_GET_SUPPORTED_CPUID, vm->cpuid))
		return error_set("%s: KVM_GET_SUPPORTED_CPUID: %s; load a matching module",
				 vm->device, strerror(errno));
	cpuid_complete(vm->cpuid, CPUID_ENTRIES);
	return 0;
}

static int check_version(const struct vm *vm)
{
	int version = vm_ioctl(vm->device_fd, KVM_GET_API_VERSION, NULL);

	if (version < 0)
		return error_set("%s: does not speak the KVM ABI; name /dev/kiln or /dev/kvm with --device",
				 vm->device);
	if (version != KVM_API_VERSION)
		return error_set("%s: speaks version %d of the KVM ABI, not %d; load a matching module",
				 vm->device, version, KVM_API_VERSION);
	return 0;
}

static int get_run_size(struct vm *vm)
{
	int size = vm_ioctl(vm->device_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);

	if (size < (int)sizeof(struct kvm_run))
		return error_set("%s: its vCPU area has %d bytes, too few; load a matching module",
				 vm->device, size);
	vm->run_size = (size_t)size;
	return 0;
}

static int examine(struct vm *vm, unsigned int cpus)
{
	if (check_version(vm) || check_needs(vm) || check_cpus(vm, cpus) || get_run_size(vm) ||
	    get_supported_cpuid(vm))
		return -1;
	vm_get_version(vm->device_fd, &vm->version);
	vm->kvmclock_ctrl = check_extension(vm, KVM_CAP_KVMCLOCK_CTRL) > 0;
	vm->tsc_deadline = check_extension(vm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	return 0;
}

int vm_open(struct vm *vm, const char *device, unsigned int cpus)
{
	*vm = (struct vm){ .device = device, .fd = -1 };
	/* O_NONBLOCK: what was named may be a FIFO. */
	vm->device_fd = open(device, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (vm->device_fd < 0)
		return host_explain_open("", device, errno);
	if (examine(vm, cpus)) {
		vm_close(vm);
		return -1;
	}
	return 0;
}

static int set_slot(const struct vm *vm, uint32_t slot, uint64_t gpa, uint64_t size, void *base)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)base,
	};

	if (!size || !vm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		return 0;
	return error_set("--memory: the device refuses %llu MiB at 0x%llx: %s; give less",
			 (unsigned long long)(size / MIB), (unsigned long long)gpa,
			 strerror(errno));
}

/* In this order: the addresses before any vCPU, the PIT after the interrupt controllers. */
static int set_up(const struct vm *vm)
{
	uint64_t identity_map = IDENTITY_MAP;
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	const struct {
		unsigned long request;
		void *arg;
		const char *name;
	} steps[] = {
		{ KVM_SET_IDENTITY_MAP_ADDR, &identity_map, "KVM_SET_IDENTITY_MAP_ADDR" },
		{ KVM_SET_TSS_ADDR, (void *)TSS_ADDRESS, "KVM_SET_TSS_ADDR" },
		{ KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP" },
		{ KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++)
		if (vm_ioctl(vm->fd, steps[i].request, steps[i].arg))
			return error_set("%s: %s: %s; load a matching module", vm->device,
					 steps[i].name, strerror(errno));
	return 0;
}

int vm_create(struct vm *vm, const struct guest_memory *memory)
{
	vm->fd = vm_ioctl(vm->device_fd, KVM_CREATE_VM, NULL);
	if (vm->fd < 0)
		return host_explain_create("", vm->device, errno);
	if (set_slot(vm, 0, 0, memory->low_size, memory->base) ||
	    set_slot(vm, 1, HIGH_RAM_BASE, memory->high_size, memory->base + memory->low_size))
		return -1;
	return set_up(vm);
}

void vm_close(struct vm *vm)
{
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->device_fd >= 0)
		close(vm->device_fd);
	vm->fd = vm->device_fd = -1;
	free(vm->cpuid);
	vm->cpuid = NULL;
}

static void set_irq(struct irq_line *line, bool level)
{
	struct kvm_irq_level irq = { .irq = line->gsi, .level = level };

	/* Cannot fail once the interrupt controllers are there. */
	vm_ioctl(line->vm_fd, KVM_IRQ_LINE, &irq);
}

void vm_irq_init(const struct vm *vm, struct irq_line *line, uint32_t gsi)
{
	*line = (struct irq_line){ .set = set_irq, .gsi = gsi, .vm_fd = vm->fd };
}
