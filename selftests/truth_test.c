// SPDX-License-Identifier: GPL-2.0-only
/*
 * Capabilities tell the truth: an ioctl that belongs to a capability is there exactly when KVM_CHECK_EXTENSION says
 * so, and is -ENOTTY otherwise. Nothing answers success and does nothing.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "kselftest_harness.h"
#include "calls.h"
#include "guest.h"
#include "vm.h"

enum on { DEVICE, VM, VCPU };

struct row {
	const char *name;
	enum on on;
	unsigned long nr;
	int cap;
};

#define ROW(on, nr, cap) { #nr, on, nr, cap }

static const struct row rows[] = {
	ROW(DEVICE, KVM_GET_EMULATED_CPUID, KVM_CAP_EXT_EMUL_CPUID),
	ROW(DEVICE, KVM_GET_MSR_FEATURE_INDEX_LIST, KVM_CAP_GET_MSR_FEATURES),
	ROW(DEVICE, KVM_X86_GET_MCE_CAP_SUPPORTED, KVM_CAP_MCE),
	ROW(VM, KVM_GET_DIRTY_LOG, -1),
	ROW(VM, KVM_CLEAR_DIRTY_LOG, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2),
	ROW(VM, KVM_GET_IRQCHIP, KVM_CAP_IRQCHIP),
	ROW(VM, KVM_SET_IRQCHIP, KVM_CAP_IRQCHIP),
	ROW(VM, KVM_GET_PIT2, KVM_CAP_PIT_STATE2),
	ROW(VM, KVM_SET_PIT2, KVM_CAP_PIT_STATE2),
	ROW(VM, KVM_REINJECT_CONTROL, KVM_CAP_REINJECT_CONTROL),
	ROW(VM, KVM_REGISTER_COALESCED_MMIO, KVM_CAP_COALESCED_MMIO),
	ROW(VM, KVM_UNREGISTER_COALESCED_MMIO, KVM_CAP_COALESCED_MMIO),
	ROW(VM, KVM_SET_BOOT_CPU_ID, KVM_CAP_SET_BOOT_CPU_ID),
	ROW(VM, KVM_ENABLE_CAP, KVM_CAP_ENABLE_CAP_VM),
	ROW(VM, KVM_CREATE_DEVICE, KVM_CAP_DEVICE_CTRL),
	ROW(VM, KVM_X86_SET_MSR_FILTER, KVM_CAP_X86_MSR_FILTER),
	ROW(VM, KVM_XEN_HVM_SET_ATTR, -1),
	ROW(VM, KVM_SET_PMU_EVENT_FILTER, KVM_CAP_PMU_EVENT_FILTER),
	ROW(VM, KVM_GET_STATS_FD, KVM_CAP_BINARY_STATS_FD),
	ROW(VCPU, KVM_INTERRUPT, -1),
	ROW(VCPU, KVM_TRANSLATE, -1),
	ROW(VCPU, KVM_SET_GUEST_DEBUG, KVM_CAP_SET_GUEST_DEBUG),
	ROW(VCPU, KVM_GET_DEBUGREGS, KVM_CAP_DEBUGREGS),
	ROW(VCPU, KVM_SET_DEBUGREGS, KVM_CAP_DEBUGREGS),
	ROW(VCPU, KVM_GET_XSAVE2, KVM_CAP_XSAVE2),
	ROW(VCPU, KVM_GET_SREGS2, KVM_CAP_SREGS2),
	ROW(VCPU, KVM_SET_SREGS2, KVM_CAP_SREGS2),
	ROW(VCPU, KVM_KVMCLOCK_CTRL, KVM_CAP_KVMCLOCK_CTRL),
	ROW(VCPU, KVM_TPR_ACCESS_REPORTING, KVM_CAP_VAPIC),
	ROW(VCPU, KVM_SET_VAPIC_ADDR, KVM_CAP_VAPIC),
	ROW(VCPU, KVM_X86_SETUP_MCE, KVM_CAP_MCE),
	ROW(VCPU, KVM_X86_SET_MCE, KVM_CAP_MCE),
	ROW(VCPU, KVM_SMI, KVM_CAP_X86_SMM),
	ROW(VCPU, KVM_ENABLE_CAP, KVM_CAP_ENABLE_CAP),
	ROW(VCPU, KVM_GET_NESTED_STATE, KVM_CAP_NESTED_STATE),
	ROW(VCPU, KVM_SET_NESTED_STATE, KVM_CAP_NESTED_STATE),
	ROW(VCPU, KVM_GET_STATS_FD, KVM_CAP_BINARY_STATS_FD),
	ROW(VCPU, KVM_GET_ONE_REG, KVM_CAP_ONE_REG),
	ROW(VCPU, KVM_SET_ONE_REG, KVM_CAP_ONE_REG),
};

FIXTURE(truth) {
	struct vm *vm;
	struct vcpu *vcpu;
	uint8_t *argument;
};

FIXTURE_SETUP(truth)
{
	self->vm = vm_create(VM_IRQCHIP | VM_PIT);
	self->vcpu = vm_add_vcpu(self->vm);
	self->argument = calloc(1, 65536);
}

FIXTURE_TEARDOWN(truth)
{
	vm_destroy(self->vm);
}

static int target(struct vm *vm, const struct row *row)
{
	const int fds[] = { vm->dev, vm->fd, vm->vcpu[0].fd };

	return fds[row->on];
}

TEST_F(truth, an_ioctl_without_its_capability_is_not_there)
{
	if (!device_is_kiln())
		SKIP(return, "%s is not kiln: KVM's answer depends on its build", device_path());
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];

		if (r->cap >= 0 && xioctl(self->vm->fd, KVM_CHECK_EXTENSION, (void *)(long)r->cap) > 0)
			continue;
		/* Rows of no capability are offered whole or not at all: success is checked by their own suites. */
		if (r->cap < 0 && xioctl(target(self->vm, r), r->nr, NULL) != -ENOTTY)
			continue;
		memset(self->argument, 0, 65536);
		EXPECT_IOCTL(-ENOTTY, target(self->vm, r), r->nr, self->argument)
			TH_LOG("%s, capability %d is 0", r->name, r->cap);
	}
}

TEST_F(truth, an_ioctl_with_its_capability_is_there)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];

		/* GET_IRQCHIP and its like have no capability of their own: see below. */
		if (r->cap < 0 || r->cap == KVM_CAP_IRQCHIP ||
		    xioctl(self->vm->fd, KVM_CHECK_EXTENSION, (void *)(long)r->cap) <= 0)
			continue;
		memset(self->argument, 0, 65536);
		EXPECT_NE(-ENOTTY, xioctl(target(self->vm, r), r->nr, (void *)8))
			TH_LOG("%s, capability %d is offered", r->name, r->cap);
	}
}

TEST_F(truth, a_bad_pointer_is_never_a_success)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];

		if (_IOC_SIZE(r->nr) == 0)
			continue;
		EXPECT_LT(xioctl(target(self->vm, r), r->nr, (void *)8), 0)
			TH_LOG("%s", r->name);
	}
}

static bool listed(const unsigned long *calls, unsigned long nr)
{
	while (*calls && *calls != nr)
		calls++;
	return *calls;
}

static void try_call(struct __test_metadata *_metadata, int fd, const unsigned long *calls, unsigned long nr, void *argument)
{
	if (listed(calls, nr))
		return;
	EXPECT_IOCTL(-ENOTTY, fd, nr, argument) {
		TH_LOG("direction %lu, number %#lx, size %lu", _IOC_DIR(nr), _IOC_NR(nr), _IOC_SIZE(nr));
	}
}

/* Every number with some sizes, and each of the calls with every direction and its size a little wrong. */
static void sweep(struct __test_metadata *_metadata, int fd, const unsigned long *calls, void *argument)
{
	static const unsigned int sizes[] = { 0, 1, 2, 4, 8, 12, 16, 24, 32, 40, 64, 72, 128, 144, 312, 1024, 4096, 16383 };

	for (unsigned int i = 0; i < 4 * ARRAY_SIZE(sizes) * 256; i++)
		try_call(_metadata, fd, calls, _IOC(i / 256 % 4, KVMIO, i % 256, sizes[i / 1024]), argument);
	for (const unsigned long *call = calls; *call; call++) {
		unsigned long nr = _IOC_NR(*call), size = _IOC_SIZE(*call);

		for (unsigned int dir = 0; dir < 4; dir++) {
			try_call(_metadata, fd, calls, _IOC(dir, KVMIO, nr, size), argument);
			try_call(_metadata, fd, calls, _IOC(dir, KVMIO, nr, size + 4), argument);
			try_call(_metadata, fd, calls, _IOC(dir, KVMIO, nr, size ? size - 1 : 1), argument);
		}
	}
}

TEST_F(truth, no_other_number_direction_or_size_is_there)
{
	if (!device_is_kiln())
		SKIP(return, "%s is not kiln: it has other calls", device_path());
	sweep(_metadata, self->vm->dev, kvm_device_calls, self->argument);
	sweep(_metadata, self->vm->fd, kvm_vm_calls, self->argument);
	sweep(_metadata, self->vcpu->fd, kvm_vcpu_calls, self->argument);
}

TEST_F(truth, other_architectures_ioctls_are_not_there)
{
	EXPECT_LT(xioctl(self->vcpu->fd, KVM_S390_INITIAL_RESET, NULL), 0);
	EXPECT_LT(xioctl(self->vm->fd, KVM_PPC_ALLOCATE_HTAB, self->argument), 0);
	EXPECT_IOCTL(0, self->vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_PPC_SMT);
	EXPECT_IOCTL(0, self->vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_ARM_PSCI);
	EXPECT_IOCTL(0, self->vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_S390_PSW);
}

TEST_HARNESS_MAIN
