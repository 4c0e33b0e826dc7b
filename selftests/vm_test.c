// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs and vCPUs as objects: in what order things may be created, which arguments are refused with what, who may use
 * the descriptors, and that the order of closing them does not matter.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "calls.h"
#include "guest.h"
#include "kiln.h"
#include "vm.h"

#define BAD_POINTER ((void *)8)

static __guest void lives(void)
{
	guest_done();
}

FIXTURE(vm) {
	int dev, fd;
};

FIXTURE_SETUP(vm)
{
	self->dev = device_open();
	self->fd = xioctl(self->dev, KVM_CREATE_VM, NULL);
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(vm)
{
	close(self->fd);
	close(self->dev);
}

#define ID(n) ((void *)(uintptr_t)(n))

TEST_F(vm, a_vcpu_id_is_used_once)
{
	int vcpu = xioctl(self->fd, KVM_CREATE_VCPU, ID(0));

	ASSERT_GE(vcpu, 0);
	EXPECT_EQ(FD_CLOEXEC, fcntl(vcpu, F_GETFD));
	EXPECT_IOCTL(-EEXIST, self->fd, KVM_CREATE_VCPU, ID(0));
	EXPECT_GE(xioctl(self->fd, KVM_CREATE_VCPU, ID(1)), 0);
}

TEST_F(vm, a_closed_vcpu_keeps_its_id_until_the_vm_goes)
{
	int vcpu = xioctl(self->fd, KVM_CREATE_VCPU, ID(3));

	ASSERT_GE(vcpu, 0);
	close(vcpu);
	EXPECT_IOCTL(-EEXIST, self->fd, KVM_CREATE_VCPU, ID(3));
}

TEST_F(vm, a_vcpu_id_must_be_below_the_limit)
{
	int limit = xioctl(self->dev, KVM_CHECK_EXTENSION, ID(KVM_CAP_MAX_VCPU_ID));

	EXPECT_IOCTL(-EINVAL, self->fd, KVM_CREATE_VCPU, ID(limit));
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_CREATE_VCPU, ID(0xffffffff));
	EXPECT_GE(xioctl(self->fd, KVM_CREATE_VCPU, ID(limit - 1)), 0);
}

TEST_F(vm, an_irqchip_is_made_once)
{
	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	EXPECT_IOCTL(-EEXIST, self->fd, KVM_CREATE_IRQCHIP, NULL);
}

TEST_F(vm, an_irqchip_comes_before_the_vcpus)
{
	ASSERT_GE(xioctl(self->fd, KVM_CREATE_VCPU, ID(0)), 0);
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_CREATE_IRQCHIP, NULL);
}

TEST_F(vm, a_pit_needs_an_irqchip)
{
	struct kvm_pit_config config = { 0 };

	if (!device_is_kiln())
		SKIP(return, "the KVM of Linux 6.1 makes a PIT that reaches nobody; later ones return -ENOENT");
	EXPECT_IOCTL(-ENOENT, self->fd, KVM_CREATE_PIT2, &config);
}

TEST_F(vm, a_pit_is_made_once)
{
	struct kvm_pit_config config = { 0 };

	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	EXPECT_IOCTL(0, self->fd, KVM_CREATE_PIT2, &config);
	EXPECT_IOCTL(-EEXIST, self->fd, KVM_CREATE_PIT2, &config);
}

TEST_F(vm, a_pit_configuration_must_be_readable)
{
	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_CREATE_PIT2, BAD_POINTER);
}

TEST_F(vm, interrupt_lines_need_an_irqchip)
{
	struct kvm_irq_level line = { .irq = 1, .level = 1 };

	EXPECT_IOCTL(-ENXIO, self->fd, KVM_IRQ_LINE, &line);
	EXPECT_IOCTL(-ENXIO, self->fd, KVM_IRQ_LINE_STATUS, &line);
	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	EXPECT_IOCTL(0, self->fd, KVM_IRQ_LINE, &line);
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_IRQ_LINE, BAD_POINTER);
}

TEST_F(vm, routing_needs_an_irqchip)
{
	struct kvm_irq_routing none = { .nr = 0 };

	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_GSI_ROUTING, &none);
	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	EXPECT_IOCTL(0, self->fd, KVM_SET_GSI_ROUTING, &none);
}

TEST_F(vm, routing_refuses_flags_and_too_many_entries)
{
	struct kvm_irq_routing bad = { .flags = 1 };

	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_GSI_ROUTING, &bad);
	bad = (struct kvm_irq_routing){ .nr = 5000 };
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_GSI_ROUTING, &bad);
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_SET_GSI_ROUTING, BAD_POINTER);
}

TEST_F(vm, routing_refuses_unknown_types_chips_and_pins)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} table = { .head.nr = 1 };

	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	table.entry = (struct kvm_irq_routing_entry){ .gsi = 4, .type = 77 };
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_GSI_ROUTING, &table);
	table.entry = (struct kvm_irq_routing_entry){ .gsi = 4, .type = KVM_IRQ_ROUTING_IRQCHIP,
						      .u.irqchip = { .irqchip = 9, .pin = 4 } };
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_GSI_ROUTING, &table);
	table.entry.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
	table.entry.u.irqchip.pin = 99;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_GSI_ROUTING, &table);
	table.entry.u.irqchip.pin = 4;
	EXPECT_IOCTL(0, self->fd, KVM_SET_GSI_ROUTING, &table);
	table.entry.gsi = 1 << 20;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_GSI_ROUTING, &table);
}

TEST_F(vm, a_message_needs_an_irqchip)
{
	struct kvm_msi msi = { .address_lo = APIC_PHYS, .data = 0x40 };

	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SIGNAL_MSI, &msi);
}

TEST_F(vm, a_message_refuses_unknown_flags)
{
	struct kvm_msi msi = { .address_lo = APIC_PHYS, .data = 0x40, .flags = 0x80 };

	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SIGNAL_MSI, &msi);
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_SIGNAL_MSI, BAD_POINTER);
}

TEST_F(vm, the_tss_address_must_leave_room_for_three_pages)
{
	EXPECT_IOCTL(0, self->fd, KVM_SET_TSS_ADDR, ID(0xfffbd000));
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_TSS_ADDR, ID(0xfffff000));
}

TEST_F(vm, the_identity_map_address_comes_before_the_vcpus)
{
	uint64_t address = 0xfeffc000;

	EXPECT_IOCTL(0, self->fd, KVM_SET_IDENTITY_MAP_ADDR, &address);
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_SET_IDENTITY_MAP_ADDR, BAD_POINTER);
	ASSERT_GE(xioctl(self->fd, KVM_CREATE_VCPU, ID(0)), 0);
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_IDENTITY_MAP_ADDR, &address);
}

TEST_F(vm, the_local_apic_calls_need_an_irqchip)
{
	int vcpu = xioctl(self->fd, KVM_CREATE_VCPU, ID(0));
	struct kvm_lapic_state lapic;

	ASSERT_GE(vcpu, 0);
	memset(&lapic, 0, sizeof(lapic));
	EXPECT_IOCTL(-EINVAL, vcpu, KVM_GET_LAPIC, &lapic);
	EXPECT_IOCTL(-EINVAL, vcpu, KVM_SET_LAPIC, &lapic);
}

TEST_F(vm, irqfd_refuses_flags_and_what_is_no_eventfd)
{
	struct kvm_irqfd irqfd = { .fd = 0, .gsi = 4, .flags = 0x100 };
	int file = open("/dev/null", O_RDONLY);

	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_IRQFD, &irqfd);
	irqfd = (struct kvm_irqfd){ .fd = 9999, .gsi = 4 };
	EXPECT_IOCTL(-EBADF, self->fd, KVM_IRQFD, &irqfd);
	irqfd.fd = file;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_IRQFD, &irqfd);
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_IRQFD, BAD_POINTER);
	close(file);
}

TEST_F(vm, ioeventfd_refuses_flags_lengths_wraps_and_what_is_no_eventfd)
{
	struct kvm_ioeventfd good = { .addr = 0xd0000000, .len = 4, .fd = 9999 }, io;

	io = good;
	EXPECT_IOCTL(-EBADF, self->fd, KVM_IOEVENTFD, &io);
	io.flags = 1 << 10;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_IOEVENTFD, &io);
	io = good;
	io.len = 3;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_IOEVENTFD, &io);
	io.len = 16;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_IOEVENTFD, &io);
	io = good;
	io.addr = -2;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_IOEVENTFD, &io);
	io = good;
	io.len = 0;
	io.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_IOEVENTFD, &io);
	EXPECT_IOCTL(-EFAULT, self->fd, KVM_IOEVENTFD, BAD_POINTER);
}

TEST_F(vm, an_unknown_ioctl_is_refused_with_enotty)
{
	int vcpu = xioctl(self->fd, KVM_CREATE_VCPU, ID(0));

	ASSERT_GE(vcpu, 0);
	EXPECT_IOCTL(-ENOTTY, self->fd, _IO(KVMIO, 0xfe), NULL);
	EXPECT_LT(xioctl(vcpu, _IO(KVMIO, 0xfe), NULL), 0);
	EXPECT_LT(xioctl(vcpu, _IO('k', 1), NULL), 0);
	EXPECT_IOCTL(-ENOTTY, self->fd, KVM_RUN, NULL);
	EXPECT_LT(xioctl(vcpu, KVM_CREATE_VCPU, ID(1)), 0);
}

TEST_F(vm, an_ioctl_of_another_size_is_another_ioctl)
{
	int vcpu = xioctl(self->fd, KVM_CREATE_VCPU, ID(0));
	char room[4096];

	ASSERT_GE(vcpu, 0);
	EXPECT_LT(xioctl(vcpu, _IOR(KVMIO, 0x81, char[8]), room), 0);		/* GET_REGS */
	EXPECT_LT(xioctl(self->fd, _IOW(KVMIO, 0x46, char[8]), room), 0);	/* SET_USER_MEMORY_REGION */
}

#define KERNEL_POINTER ((void *)0xffff888000001000)

/* Where memory ends: a structure of that size has all but its last byte. */
static void *one_byte_short(size_t size)
{
	static uint8_t *end;

	if (!end) {
		end = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (end == MAP_FAILED || munmap(end + 2 * 4096, 4096))
			die("mmap: %s", strerror(errno));
		end += 2 * 4096;
	}
	return end - (size - 1);
}

/* Bytes that a call cannot do without. Of the CPUID calls' head that is all but the padding, which kiln leaves alone. */
static size_t needed(unsigned long call)
{
	switch (call) {
	case KVM_GET_SUPPORTED_CPUID:
	case KVM_GET_CPUID2:
	case KVM_SET_CPUID2:
		return offsetof(struct kvm_cpuid2, padding);
	default:
		return _IOC_SIZE(call);
	}
}

static void bad_pointers_fault(struct __test_metadata *_metadata, int fd, const unsigned long *calls)
{
	for (; *calls; calls++) {
		/* Of a vCPU that has not died there is nothing to write. */
		int expected = *calls == KILN_GET_DEATH ? -ENODATA : -EFAULT;

		if (!_IOC_SIZE(*calls))
			continue;
		EXPECT_IOCTL(expected, fd, *calls, BAD_POINTER)
			TH_LOG("ioctl %#lx", *calls);
		EXPECT_IOCTL(expected, fd, *calls, KERNEL_POINTER)
			TH_LOG("ioctl %#lx", *calls);
		EXPECT_IOCTL(expected, fd, *calls, one_byte_short(needed(*calls)))
			TH_LOG("ioctl %#lx", *calls);
	}
}

/*
 * A structure that cannot be read or written is refused by every call that takes one. A VM's calls come before its vCPU,
 * with which KVM refuses some of them for that.
 */
TEST_F(vm, every_call_faults_on_bad_pointers)
{
	int vcpu;

	ASSERT_IOCTL(0, self->fd, KVM_CREATE_IRQCHIP, NULL);
	bad_pointers_fault(_metadata, self->dev, kvm_device_calls);
	bad_pointers_fault(_metadata, self->fd, kvm_vm_calls);
	vcpu = xioctl(self->fd, KVM_CREATE_VCPU, ID(0));
	ASSERT_GE(vcpu, 0);
	bad_pointers_fault(_metadata, vcpu, kvm_vcpu_calls);
	if (!device_is_kiln())
		return;
	bad_pointers_fault(_metadata, self->dev, kiln_device_calls);
	bad_pointers_fault(_metadata, self->fd, kiln_vm_calls);
	bad_pointers_fault(_metadata, vcpu, kiln_vcpu_calls);
}

/* Run code in a child that shares the descriptors but not the memory; its exit status is an errno. */
#define IN_A_CHILD(expression) ({							\
	int status__;									\
	pid_t child__ = fork();								\
	if (!child__)									\
		_exit(-(expression));							\
	waitpid(child__, &status__, 0);							\
	WIFEXITED(status__) ? WEXITSTATUS(status__) : -1; })

static void is_refused_in_a_child(struct __test_metadata *_metadata, int fd, const unsigned long *calls)
{
	static uint8_t room[8192];

	for (; *calls; calls++) {
		EXPECT_EQ(EIO, IN_A_CHILD(xioctl(fd, *calls, _IOC_SIZE(*calls) ? room : NULL)))
			TH_LOG("ioctl %#lx", *calls);
	}
}

TEST(another_process_may_not_use_a_vm_or_a_vcpu)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, lives);

	is_refused_in_a_child(_metadata, vcpu->vm->fd, kvm_vm_calls);
	is_refused_in_a_child(_metadata, vcpu->vm->fd, kiln_vm_calls);
	is_refused_in_a_child(_metadata, vcpu->fd, kvm_vcpu_calls);
	is_refused_in_a_child(_metadata, vcpu->fd, kiln_vcpu_calls);
	ASSERT_DONE(vcpu);
}

TEST(a_vm_lives_on_in_its_maker_when_a_child_that_inherited_it_ends)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, lives);

	EXPECT_EQ(0, IN_A_CHILD(0));
	ASSERT_DONE(vcpu);
}

TEST(a_vcpu_outlives_the_descriptors_of_its_vm_and_the_device)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, lives);

	close(vcpu->vm->fd);
	close(vcpu->vm->dev);
	ASSERT_DONE(vcpu);
	vcpu_close(vcpu);
}

TEST(a_mapping_outlives_the_vcpus_descriptor)
{
	struct vcpu *vcpu = vm_create_one(0, lives);

	ASSERT_DONE(vcpu);
	close(vcpu->vm->fd);
	close(vcpu->fd);
	EXPECT_EQ(KVM_EXIT_IO, *(volatile uint32_t *)&vcpu->run->exit_reason);
}

TEST(a_vcpu_maps_nothing_beyond_its_size)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, vcpu->fd, vcpu->run_size + 4096 * 64);
	int status;
	pid_t child;

	/* The mapping may be refused, or a touch of it ends the process with SIGBUS. */
	if (p == MAP_FAILED)
		return;
	child = fork();
	if (!child)
		_exit(*(volatile char *)p);
	waitpid(child, &status, 0);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

TEST(many_vms_come_and_go)
{
	for (int i = 0; i < 20; i++) {
		struct vcpu *vcpu = vm_create_one(VM_IRQCHIP | VM_PIT, lives);

		ASSERT_DONE(vcpu);
		vm_destroy(vcpu->vm);
	}
}

TEST(vms_live_side_by_side)
{
	struct vcpu *vcpus[4];

	for (int i = 0; i < 4; i++)
		vcpus[i] = vm_create_one(VM_IRQCHIP, lives);
	for (int i = 3; i >= 0; i--)
		ASSERT_DONE(vcpus[i]);
}

TEST_HARNESS_MAIN
