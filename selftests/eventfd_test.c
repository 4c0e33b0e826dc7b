// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_IRQFD and KVM_IOEVENTFD: eventfds as interrupt lines into the guest and as doorbells out of it (api.rst §4.59,
 * §4.75).
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "machine.h"
#include "vm.h"

#define PORT	0x520
#define DEVICE	0xd0000000UL
#define LEVEL	(1 << 15)

#define STEP(n) do { guest_sync(n); irq_window(); } while (0)

static int ioeventfd(struct vm *vm, int fd, uint64_t addr, uint32_t len, uint32_t flags, uint64_t match)
{
	struct kvm_ioeventfd io = { .addr = addr, .len = len, .fd = fd, .flags = flags, .datamatch = match };

	return xioctl(vm->fd, KVM_IOEVENTFD, &io);
}

static int irqfd(struct vm *vm, int fd, uint32_t gsi, uint32_t flags, int resample)
{
	struct kvm_irqfd irq = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample };

	return xioctl(vm->fd, KVM_IRQFD, &irq);
}

/* How often the eventfd was rung since last asked. */
static uint64_t rings(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, 8) == 8 ? n : 0;
}

/* The same, but an irqfd may do its work a moment later. */
static uint64_t rings_soon(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	poll(&p, 1, 2000);
	return rings(fd);
}

static void ring(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, 8) != 8)
		die("write to an eventfd");
}

static int bell(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

/* ---- out of the guest ---- */

static __guest void writes_ports(void)
{
	outb(PORT, 1);
	outw(PORT, 0x202);
	outl(PORT, 0x3030303);
	guest_done();
}

static __guest void writes_device(void)
{
	*(volatile uint8_t *)DEVICE = 1;
	*(volatile uint16_t *)DEVICE = 0x202;
	*(volatile uint32_t *)DEVICE = 0x3030303;
	*(volatile uint64_t *)DEVICE = 0x404040404040404;
	guest_done();
}

TEST(a_port_write_of_the_right_size_rings_and_does_not_exit)
{
	struct vcpu *vcpu = vm_create_one(0, writes_ports);
	int fd = bell();

	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, PORT, 2, KVM_IOEVENTFD_FLAG_PIO, 0));
	ASSERT_EXIT(IO, vcpu);
	EXPECT_EQ(1, vcpu->run->io.size);
	EXPECT_EQ(0, rings(fd));
	ASSERT_EXIT(IO, vcpu);
	EXPECT_EQ(4, vcpu->run->io.size);
	EXPECT_EQ(1, rings(fd));
	ASSERT_DONE(vcpu);
}

TEST(a_device_write_of_the_right_size_rings_and_does_not_exit)
{
	struct vcpu *vcpu = vm_create_one(0, writes_device);
	int fd = bell();

	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, DEVICE, 4, 0, 0));
	ASSERT_EXIT(MMIO, vcpu);
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(2, vcpu->run->mmio.len);
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(8, vcpu->run->mmio.len);
	EXPECT_EQ(1, rings(fd));
	ASSERT_DONE(vcpu);
}

TEST(length_zero_matches_every_size_on_a_device)
{
	struct vcpu *vcpu = vm_create_one(0, writes_device);
	int fd = bell();

	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, DEVICE, 0, 0, 0));
	ASSERT_DONE(vcpu);
	EXPECT_EQ(4, rings(fd));
}

TEST(length_zero_matches_every_size_on_a_port)
{
	struct vcpu *vcpu = vm_create_one(0, writes_ports);
	int fd = bell();

	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, PORT, 0, KVM_IOEVENTFD_FLAG_PIO, 0));
	ASSERT_DONE(vcpu);
	EXPECT_EQ(3, rings(fd));
}

static __guest void writes_many_values(void)
{
	for (uint32_t i = 0; i < 4; i++) {
		outw(PORT, i);
		*(volatile uint32_t *)DEVICE = i;
	}
	guest_done();
}

TEST(datamatch_tells_eventfds_at_one_address_apart)
{
	struct vcpu *vcpu = vm_create_one(0, writes_many_values);
	const uint32_t port = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH;
	int p[4], m[4];

	for (int i = 0; i < 4; i++) {
		p[i] = bell();
		m[i] = bell();
		ASSERT_EQ(0, ioeventfd(vcpu->vm, p[i], PORT, 2, port, i));
		ASSERT_EQ(0, ioeventfd(vcpu->vm, m[i], DEVICE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, i));
	}
	ASSERT_DONE(vcpu);
	for (int i = 0; i < 4; i++) {
		EXPECT_EQ(1, rings(p[i]));
		EXPECT_EQ(1, rings(m[i]));
	}
}

TEST(a_value_that_matches_nothing_exits)
{
	struct vcpu *vcpu = vm_create_one(0, writes_many_values);
	int fd = bell();

	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, DEVICE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 2));
	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, PORT, 2, KVM_IOEVENTFD_FLAG_PIO, 0));
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(0, vcpu->run->mmio.data[0]);
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(1, vcpu->run->mmio.data[0]);
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(3, vcpu->run->mmio.data[0]);
	ASSERT_DONE(vcpu);
	EXPECT_EQ(1 + 4, rings(fd));
}

TEST(the_same_ioeventfd_twice_is_refused)
{
	struct vm *vm = vm_create(0);
	int a = bell(), b = bell();

	ASSERT_EQ(0, ioeventfd(vm, a, PORT, 2, KVM_IOEVENTFD_FLAG_PIO, 0));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, a, PORT, 2, KVM_IOEVENTFD_FLAG_PIO, 0));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, b, PORT, 2, KVM_IOEVENTFD_FLAG_PIO, 0));
	EXPECT_EQ(0, ioeventfd(vm, b, PORT, 4, KVM_IOEVENTFD_FLAG_PIO, 0));
	EXPECT_EQ(0, ioeventfd(vm, b, PORT, 2, 0, 0));
	/* One that matches anything leaves no room for one that matches something. */
	EXPECT_EQ(-EEXIST, ioeventfd(vm, b, PORT, 2, KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH, 7));
}

TEST(a_deassigned_ioeventfd_is_gone)
{
	struct vcpu *vcpu = vm_create_one(0, writes_ports);
	const uint32_t off = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN;
	int fd = bell(), other = bell();

	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, PORT, 1, KVM_IOEVENTFD_FLAG_PIO, 0));
	EXPECT_EQ(-ENOENT, ioeventfd(vcpu->vm, other, PORT, 1, off, 0));
	EXPECT_EQ(-ENOENT, ioeventfd(vcpu->vm, fd, PORT, 2, off, 0));
	EXPECT_EQ(0, ioeventfd(vcpu->vm, fd, PORT, 1, off, 0));
	EXPECT_EQ(-ENOENT, ioeventfd(vcpu->vm, fd, PORT, 1, off, 0));
	ASSERT_EXIT(IO, vcpu);
	EXPECT_EQ(0, rings(fd));
}

static __guest void reads_the_device(void)
{
	guest_expect(0, *(volatile uint32_t *)DEVICE);
	guest_done();
}

TEST(a_read_does_not_ring)
{
	struct vcpu *vcpu = vm_create_one(0, reads_the_device);
	int fd = bell();

	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, DEVICE, 4, 0, 0));
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(0, vcpu->run->mmio.is_write);
	EXPECT_EQ(0, rings(fd));
}

TEST(an_ioeventfd_outlives_the_callers_descriptor)
{
	struct vcpu *vcpu = vm_create_one(0, writes_device);
	int fd = bell();

	ASSERT_EQ(0, ioeventfd(vcpu->vm, fd, DEVICE, 0, 0, 0));
	close(fd);
	ASSERT_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

#define ROUNDS	100

static volatile uint32_t answer __guest_data;
static volatile uint32_t late __guest_data;

/* Rings once at each address in turn, and looks whether that has been answered by then. */
static __guest void rings_and_looks(void)
{
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		if (i % 2)
			outw(PORT, i);
		else
			*(volatile uint32_t *)DEVICE = i;
		if (answer != i)
			late++;
		while (answer != i)
			pause_cpu();
	}
	guest_done();
}

struct hearer {
	struct vm *vm;
	int fd;
};

static void *hears(void *arg)
{
	struct hearer *h = arg;
	uint64_t n;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		if (read(h->fd, &n, 8) != 8)
			die("read of an eventfd");
		GUEST(h->vm, answer) = i;
	}
	return NULL;
}

/* On the vCPU's own CPU, where a real-time thread does not wait for anybody else's turn to end. */
TEST(who_is_woken_by_a_ring_runs_before_the_guest_goes_on)
{
	const struct sched_param first = { .sched_priority = 1 };
	struct vcpu *vcpu = vm_create_one(0, rings_and_looks);
	struct hearer hearer = { vcpu->vm, eventfd(0, EFD_CLOEXEC) };
	pthread_t thread;

	ASSERT_EQ(0, ioeventfd(vcpu->vm, hearer.fd, PORT, 2, KVM_IOEVENTFD_FLAG_PIO, 0));
	ASSERT_EQ(0, ioeventfd(vcpu->vm, hearer.fd, DEVICE, 0, 0, 0));
	ASSERT_TRUE(pin_to_cpu(0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, hears, &hearer));
	ASSERT_EQ(0, pthread_setschedparam(thread, SCHED_FIFO, &first));
	ASSERT_DONE(vcpu);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, GUEST(vcpu->vm, late));
}

/* ---- into the guest ---- */

static __guest void counts_edges(void)
{
	apic_enable();
	guest_handlers[0x51] = count_trap_eoi;
	ioapic_route(20, 0x51);
	for (;;)
		STEP(guest_count[0x51]);
}

TEST(an_irqfd_is_an_edge_at_its_gsi)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_edges);
	int fd = bell();

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_EQ(0, irqfd(vcpu->vm, fd, 20, 0, 0));
	ASSERT_OUTCOME("sync 0", vcpu);
	ring(fd);
	usleep(20000);
	ASSERT_OUTCOME("sync 1", vcpu);
	ring(fd);
	usleep(20000);
	ASSERT_OUTCOME("sync 2", vcpu);
	EXPECT_EQ(0, rings(fd));			/* rung through, not left to read */
}

TEST(an_eventfd_rung_before_it_is_assigned_interrupts)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_edges);
	int fd = bell();

	ASSERT_OUTCOME("sync 0", vcpu);
	ring(fd);
	ASSERT_EQ(0, irqfd(vcpu->vm, fd, 20, 0, 0));
	usleep(20000);
	ASSERT_OUTCOME("sync 1", vcpu);
}

TEST(an_eventfd_serves_one_irqfd)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	int fd = bell();

	ASSERT_EQ(0, irqfd(vm, fd, 20, 0, 0));
	EXPECT_EQ(-EBUSY, irqfd(vm, fd, 21, 0, 0));
}

TEST(a_deassigned_irqfd_interrupts_no_more)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_edges);
	int fd = bell();

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_EQ(0, irqfd(vcpu->vm, fd, 20, 0, 0));
	ASSERT_EQ(0, irqfd(vcpu->vm, fd, 20, KVM_IRQFD_FLAG_DEASSIGN, 0));
	ring(fd);
	usleep(20000);
	ASSERT_OUTCOME("sync 0", vcpu);
	EXPECT_EQ(1, rings(fd));
	EXPECT_EQ(0, irqfd(vcpu->vm, fd, 20, 0, 0));
}

TEST(a_closed_eventfd_takes_its_irqfd_along)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_edges);
	int fd = bell();

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_EQ(0, irqfd(vcpu->vm, fd, 20, 0, 0));
	close(fd);
	ASSERT_OUTCOME("sync 0", vcpu);
	fd = bell();
	EXPECT_EQ(0, irqfd(vcpu->vm, fd, 20, 0, 0));
	vm_destroy(vcpu->vm);
}

TEST(an_irqfd_follows_the_routing_table)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_edges);
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} table = { .head.nr = 1, .entry = { .gsi = 50, .type = KVM_IRQ_ROUTING_MSI,
					     .u.msi = { .address_lo = APIC_PHYS, .data = 0x51 } } };
	int fd = bell();

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_EQ(0, irqfd(vcpu->vm, fd, 50, 0, 0));
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_SET_GSI_ROUTING, &table);
	ring(fd);
	usleep(20000);
	ASSERT_OUTCOME("sync 1", vcpu);
}

static __guest void counts_levels(void)
{
	apic_enable();
	guest_handlers[0x52] = count_trap;
	ioapic_route(21, LEVEL | 0x52);
	for (;;) {
		STEP(guest_count[0x52]);
		guest_sync(100);
		apic_write(APIC_EOI, 0);
	}
}

TEST(a_resampled_irqfd_stays_high_until_eoi_and_rings_back_then)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_levels);
	int fd = bell(), resample = bell();

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_EQ(0, irqfd(vcpu->vm, fd, 21, KVM_IRQFD_FLAG_RESAMPLE, resample));
	ring(fd);
	usleep(20000);
	ASSERT_OUTCOME("sync 100", vcpu);
	EXPECT_EQ(1, GUEST(vcpu->vm, guest_count[0x52]));
	EXPECT_EQ(0, rings(resample));			/* not before the end of interrupt */
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(1, rings_soon(resample));
	/* The line fell with it, so nothing comes again. */
	ASSERT_OUTCOME("sync 100", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
	ring(fd);
	usleep(20000);
	ASSERT_OUTCOME("sync 100", vcpu);
	ASSERT_OUTCOME("sync 2", vcpu);
	EXPECT_EQ(1, rings_soon(resample));
}

TEST(an_end_of_interrupt_rings_all_resamplers_of_its_gsi_and_no_other)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_levels);
	int fd[4], resample[4];

	ASSERT_OUTCOME("sync 0", vcpu);
	for (int i = 0; i < 4; i++) {
		fd[i] = bell();
		resample[i] = bell();
		ASSERT_EQ(0, irqfd(vcpu->vm, fd[i], i < 3 ? 21 : 22, KVM_IRQFD_FLAG_RESAMPLE, resample[i]));
	}
	ASSERT_EQ(0, irqfd(vcpu->vm, fd[1], 21, KVM_IRQFD_FLAG_DEASSIGN, 0));
	ring(fd[0]);
	usleep(20000);
	ASSERT_OUTCOME("sync 100", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(1, rings_soon(resample[0]));
	EXPECT_EQ(1, rings_soon(resample[2]));
	EXPECT_EQ(0, rings(resample[1]));
	EXPECT_EQ(0, rings(resample[3]));
	ASSERT_OUTCOME("sync 100", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
}

TEST(a_line_falls_with_the_last_of_its_resamplers)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, counts_levels);
	int a = bell(), b = bell(), resample = bell();

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_EQ(0, irqfd(vcpu->vm, a, 21, KVM_IRQFD_FLAG_RESAMPLE, resample));
	ASSERT_EQ(0, irqfd(vcpu->vm, b, 21, KVM_IRQFD_FLAG_RESAMPLE, resample));
	ring(a);
	usleep(20000);
	ASSERT_EQ(0, irqfd(vcpu->vm, a, 21, KVM_IRQFD_FLAG_DEASSIGN, 0));
	ASSERT_OUTCOME("sync 100", vcpu);
	EXPECT_EQ(1, GUEST(vcpu->vm, guest_count[0x52]));
	ASSERT_EQ(0, irqfd(vcpu->vm, b, 21, KVM_IRQFD_FLAG_DEASSIGN, 0));
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_OUTCOME("sync 100", vcpu);
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(0, rings(resample));
}

#define RESAMPLERS	64

TEST(so_many_resamplers_of_a_gsi_and_no_more)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	int fd[RESAMPLERS + 1], resample = bell();

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	for (int i = 0; i <= RESAMPLERS; i++)
		fd[i] = bell();
	for (int i = 0; i < RESAMPLERS; i++)
		ASSERT_EQ(0, irqfd(vm, fd[i], 21, KVM_IRQFD_FLAG_RESAMPLE, resample));
	EXPECT_EQ(-ENOSPC, irqfd(vm, fd[RESAMPLERS], 21, KVM_IRQFD_FLAG_RESAMPLE, resample));
	EXPECT_EQ(-EBUSY, irqfd(vm, fd[0], 21, KVM_IRQFD_FLAG_RESAMPLE, resample));
	EXPECT_EQ(0, irqfd(vm, fd[RESAMPLERS], 22, KVM_IRQFD_FLAG_RESAMPLE, resample));
	EXPECT_EQ(0, irqfd(vm, fd[RESAMPLERS], 22, KVM_IRQFD_FLAG_DEASSIGN, 0));
	EXPECT_EQ(0, irqfd(vm, fd[RESAMPLERS], 21, 0, 0));
	EXPECT_EQ(0, irqfd(vm, fd[RESAMPLERS], 21, KVM_IRQFD_FLAG_DEASSIGN, 0));
	EXPECT_EQ(0, irqfd(vm, fd[7], 21, KVM_IRQFD_FLAG_DEASSIGN, 0));
	EXPECT_EQ(0, irqfd(vm, fd[RESAMPLERS], 21, KVM_IRQFD_FLAG_RESAMPLE, resample));
	vm_destroy(vm);
}

/* Also where no route can be: nothing comes of it. */
TEST(an_irqfd_takes_any_gsi)
{
	static const uint32_t gsis[] = { 23, 24, 4095, 4096, 0x7fffffff, 0xffffffff };
	struct vm *vm = vm_create(VM_IRQCHIP);

	for (size_t i = 0; i < sizeof(gsis) / sizeof(*gsis); i++) {
		int edge = bell(), level = bell(), resample = bell();

		EXPECT_EQ(0, irqfd(vm, edge, gsis[i], 0, 0));
		EXPECT_EQ(0, irqfd(vm, level, gsis[i], KVM_IRQFD_FLAG_RESAMPLE, resample));
		ring(edge);
		ring(level);
		EXPECT_EQ(0, irqfd(vm, level, gsis[i], KVM_IRQFD_FLAG_DEASSIGN, 0));
		EXPECT_EQ(0, rings(resample));
	}
	vm_destroy(vm);
}

TEST(a_resample_descriptor_must_be_an_eventfd)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	int fd = bell();

	EXPECT_EQ(-EBADF, irqfd(vm, fd, 21, KVM_IRQFD_FLAG_RESAMPLE, 9999));
	EXPECT_EQ(0, irqfd(vm, fd, 21, 0, 0));
}

static __guest void halts_for_edges(void)
{
	apic_enable();
	guest_handlers[0x51] = count_trap_eoi;
	ioapic_route(20, 0x51);
	guest_sync(0);
	while (guest_count[0x51] < 10)
		sti_hlt();
	guest_done();
}

TEST(an_irqfd_wakes_a_halted_guest_each_time)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, halts_for_edges);
	int fd = bell();

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_EQ(0, irqfd(vcpu->vm, fd, 20, 0, 0));
	vcpu_start(vcpu);
	for (uint32_t i = 1; i <= 10; i++) {
		ring(fd);
		while (*(volatile uint32_t *)&GUEST(vcpu->vm, guest_count[0x51]) < i)
			usleep(1000);
	}
	ASSERT_STREQ("done", vcpu_join(vcpu));
}

TEST_HARNESS_MAIN
