// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation of the calls that make something fails once: the first, then the second, until a call needs no more
 * (/proc/self/fail-nth, Documentation/fault-injection/fault-injection.rst). Such a call says -ENOMEM and has done
 * nothing: the same call right after it succeeds, and what was there before is as it was.
 *
 * Needs a kernel with CONFIG_FAULT_INJECTION, FAILSLAB and FAIL_PAGE_ALLOC: lab/vm --kernel debug.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "fault.h"
#include "vm.h"

FIXTURE(fault) {
	struct vm *vm;
	struct vcpu *vcpu;
	int fail_nth;
	int result;		/* of the operation, for what undoes it */
};

static __guest void lives(void)
{
	for (;;)
		guest_done();
}

FIXTURE_SETUP(fault)
{
	const char *why;

	self->fail_nth = fault_open(&why);
	if (self->fail_nth < 0)
		SKIP(_exit(255), "%s", why);
	self->vm = vm_create(VM_IRQCHIP);
	self->vcpu = vm_add_vcpu(self->vm);
	vcpu_long_mode(self->vcpu, lives);
}

FIXTURE_TEARDOWN(fault)
{
	vm_destroy(self->vm);
}

/* The device lives on: a call that failed left it in working order. */
#define EXPECT_ALIVE() EXPECT_STREQ("done", vcpu_outcome(self->vcpu))

TEST_F_TIMEOUT(fault, create_vm, 280)
{
	EACH_ALLOCATION_FAILS(xioctl(self->vm->dev, KVM_CREATE_VM, NULL), close(self->result));
}

static int new_vm(void)
{
	int dev = device_open(), vm = xioctl(dev, KVM_CREATE_VM, NULL);

	if (vm < 0)
		die("CREATE_VM: %s", strerror(-vm));
	close(dev);
	return vm;
}

/* Calls that a VM takes once: a new one after each success. */
TEST_F_TIMEOUT(fault, create_irqchip, 280)
{
	int vm = new_vm();

	EACH_ALLOCATION_FAILS(xioctl(vm, KVM_CREATE_IRQCHIP, NULL), (close(vm), vm = new_vm()));
}

TEST_F_TIMEOUT(fault, create_pit2, 280)
{
	struct kvm_pit_config config = { 0 };
	int vm = new_vm();

	ASSERT_IOCTL(0, vm, KVM_CREATE_IRQCHIP, NULL);
	EACH_ALLOCATION_FAILS(xioctl(vm, KVM_CREATE_PIT2, &config),
			      (close(vm), vm = new_vm(), xioctl(vm, KVM_CREATE_IRQCHIP, NULL)));
}

/* A vCPU's id is taken until its VM goes, but not by a call that failed. */
TEST_F_TIMEOUT(fault, create_vcpu, 280)
{
	int vm = new_vm();

	EACH_ALLOCATION_FAILS(xioctl(vm, KVM_CREATE_VCPU, NULL), (close(self->result), close(vm), vm = new_vm()));
}

TEST_F_TIMEOUT(fault, create_vcpu_with_an_irqchip, 280)
{
	int vm = new_vm();

	ASSERT_IOCTL(0, vm, KVM_CREATE_IRQCHIP, NULL);
	EACH_ALLOCATION_FAILS(xioctl(vm, KVM_CREATE_VCPU, NULL),
			      (close(self->result), close(vm), vm = new_vm(), xioctl(vm, KVM_CREATE_IRQCHIP, NULL)));
}

#define SLOT_GPA	0x40000000UL
#define SLOT_SIZE	0x400000UL

TEST_F_TIMEOUT(fault, a_new_slot, 280)
{
	void *p = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EACH_ALLOCATION_FAILS(vm_set_slot(self->vm, 1, 0, SLOT_GPA, SLOT_SIZE, p),
			      vm_set_slot(self->vm, 1, 0, SLOT_GPA, 0, p));
}

TEST_F_TIMEOUT(fault, a_slot_that_moves, 280)
{
	void *p = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0, SLOT_GPA, SLOT_SIZE, p));
	EACH_ALLOCATION_FAILS(vm_set_slot(self->vm, 1, 0, SLOT_GPA + SLOT_SIZE, SLOT_SIZE, p),
			      vm_set_slot(self->vm, 1, 0, SLOT_GPA, SLOT_SIZE, p));
}

/* Deleting may fail as well, and then the slot is still there: a second one onto its place is refused. */
TEST_F_TIMEOUT(fault, a_slot_that_is_deleted, 280)
{
	void *p = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0, SLOT_GPA, SLOT_SIZE, p));
	EACH_ALLOCATION_FAILS(vm_set_slot(self->vm, 1, 0, SLOT_GPA, 0, p),
			      vm_set_slot(self->vm, 1, 0, SLOT_GPA, SLOT_SIZE, p));
}

TEST_F_TIMEOUT(fault, a_new_slot_with_a_log, 280)
{
	void *p = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EACH_ALLOCATION_FAILS(vm_set_slot(self->vm, 1, KVM_MEM_LOG_DIRTY_PAGES, SLOT_GPA, SLOT_SIZE, p),
			      vm_set_slot(self->vm, 1, 0, SLOT_GPA, 0, p));
}

TEST_F_TIMEOUT(fault, a_log_that_is_switched_on, 280)
{
	void *p = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0, SLOT_GPA, SLOT_SIZE, p));
	EACH_ALLOCATION_FAILS(vm_set_slot(self->vm, 1, KVM_MEM_LOG_DIRTY_PAGES, SLOT_GPA, SLOT_SIZE, p),
			      vm_set_slot(self->vm, 1, 0, SLOT_GPA, SLOT_SIZE, p));
}

static uint64_t bits[SLOT_SIZE / 4096 / 64];

static int get_log(struct vm *vm)
{
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bits };

	return xioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

static int clear_log(struct vm *vm)
{
	struct kvm_clear_dirty_log log = { .slot = 1, .num_pages = SLOT_SIZE / 4096, .dirty_bitmap = bits };

	return xioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log);
}

static int log_of_a_slot(struct vm *vm, uint64_t caps)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { caps } };
	void *p = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return (caps ? xioctl(vm->fd, KVM_ENABLE_CAP, &cap) : 0) ?:
	       vm_set_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, SLOT_GPA, SLOT_SIZE, p);
}

TEST_F_TIMEOUT(fault, a_log_that_is_read, 280)
{
	ASSERT_EQ(0, log_of_a_slot(self->vm, 0));
	EACH_ALLOCATION_FAILS(get_log(self->vm), (void)0);
}

TEST_F_TIMEOUT(fault, a_log_that_is_cleared, 280)
{
	ASSERT_EQ(0, log_of_a_slot(self->vm, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET));
	ASSERT_EQ(0, get_log(self->vm));
	EXPECT_EQ(~0UL, bits[0]);
	EACH_ALLOCATION_FAILS(clear_log(self->vm), (void)0);
	ASSERT_EQ(0, get_log(self->vm));
	EXPECT_EQ(0, bits[0]);
}

static int irqfd(struct vm *vm, int fd, int resample, uint32_t flags)
{
	struct kvm_irqfd arg = { .fd = fd, .gsi = 5, .flags = flags, .resamplefd = resample };

	return xioctl(vm->fd, KVM_IRQFD, &arg);
}

TEST_F_TIMEOUT(fault, an_irqfd, 280)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	EACH_ALLOCATION_FAILS(irqfd(self->vm, fd, -1, 0), irqfd(self->vm, fd, -1, KVM_IRQFD_FLAG_DEASSIGN));
}

TEST_F_TIMEOUT(fault, an_irqfd_with_resampling, 280)
{
	int fd = eventfd(0, EFD_CLOEXEC), resample = eventfd(0, EFD_CLOEXEC);

	EACH_ALLOCATION_FAILS(irqfd(self->vm, fd, resample, KVM_IRQFD_FLAG_RESAMPLE),
			      irqfd(self->vm, fd, resample, KVM_IRQFD_FLAG_DEASSIGN));
}

static int ioeventfd(struct vm *vm, int fd, uint32_t flags)
{
	struct kvm_ioeventfd arg = { .addr = 0x510, .len = 2, .fd = fd, .datamatch = 7,
				     .flags = flags | KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH };

	return xioctl(vm->fd, KVM_IOEVENTFD, &arg);
}

TEST_F_TIMEOUT(fault, an_ioeventfd, 280)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	EACH_ALLOCATION_FAILS(ioeventfd(self->vm, fd, 0), ioeventfd(self->vm, fd, KVM_IOEVENTFD_FLAG_DEASSIGN));
}

TEST_F_TIMEOUT(fault, a_routing_table, 280)
{
	struct kvm_irq_routing *routing = calloc(1, sizeof(*routing) + 40 * sizeof(routing->entries[0]));

	routing->nr = 40;
	for (int i = 0; i < 40; i++)
		routing->entries[i] = (struct kvm_irq_routing_entry){
			.gsi = i, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { .address_lo = APIC_PHYS, .data = 0x60 + i } };
	EACH_ALLOCATION_FAILS(xioctl(self->vm->fd, KVM_SET_GSI_ROUTING, routing), (void)0);
	free(routing);
}

TEST_F_TIMEOUT(fault, cpuid, 280)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(self->vm->dev);

	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_SET_CPUID2, cpuid), (void)0);
	free(cpuid);
}

TEST_F_TIMEOUT(fault, supported_cpuid, 280)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(self->vm->dev);

	EACH_ALLOCATION_FAILS((cpuid->nent = 256, xioctl(self->vm->dev, KVM_GET_SUPPORTED_CPUID, cpuid)), (void)0);
	free(cpuid);
}

TEST_F_TIMEOUT(fault, msrs, 280)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[4];
	} msrs = { .head.nmsrs = 4, .entry = { { 0x174 }, { 0x175 }, { 0x176 }, { 0x277 } } };

	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_GET_MSRS, &msrs), (void)0);
	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_SET_MSRS, &msrs), (void)0);
}

TEST_F_TIMEOUT(fault, state, 280)
{
	struct kvm_regs regs = vcpu_regs(self->vcpu);
	struct kvm_sregs sregs = vcpu_sregs(self->vcpu);
	struct kvm_lapic_state lapic;
	uint8_t xsave[8192];

	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_GET_REGS, &regs), (void)0);
	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_SET_SREGS, &sregs), (void)0);
	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_GET_LAPIC, &lapic), (void)0);
	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_SET_LAPIC, &lapic), (void)0);
	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_GET_XSAVE, xsave), (void)0);
	EACH_ALLOCATION_FAILS(xioctl(self->vcpu->fd, KVM_SET_XSAVE, xsave), (void)0);
}

/* Page tables: a page more of guest memory each time, so that there is something to allocate. */
static uint64_t where __guest_data = 0;

static __guest void touches(void)
{
	for (;;) {
		*(volatile uint64_t *)where = 1;
		guest_done();
	}
}

static int run_once(struct vcpu *vcpu)
{
	int r = vcpu_run(vcpu);

	return r ?: vcpu->run->exit_reason == KVM_EXIT_IO ? 0 : -EIO;
}

TEST_F_TIMEOUT(fault, the_memory_a_guest_touches, 280)
{
	struct vcpu *vcpu = vm_create_one(0, touches);
	void *p = vm_map(vcpu->vm, 1, SLOT_GPA, 1UL << 30);

	/* Far apart, so that each takes tables of its own. */
	GUEST(vcpu->vm, where) = VM_FREE;
	ASSERT_DONE(vcpu);
	GUEST(vcpu->vm, where) = SLOT_GPA;
	EACH_ALLOCATION_FAILS(run_once(vcpu), GUEST(vcpu->vm, where) += 0x200000);
	munmap(p, 1UL << 30);
}

TEST_HARNESS_MAIN
