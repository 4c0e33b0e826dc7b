// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_USER_MEMORY_REGION: what is refused and with what, and what moving, deleting and write-protecting a slot
 * means to the guest (api.rst §4.35).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "machine.h"
#include "vm.h"

#define SLOT	1
#define GPA	0x10000000UL
#define SIZE	0x10000UL

static void *pages(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

FIXTURE(slot) {
	struct vm *vm;
	uint8_t *mem;
};

FIXTURE_SETUP(slot)
{
	self->vm = vm_create(0);
	self->mem = pages(4 * SIZE);
	ASSERT_EQ(0, vm_set_slot(self->vm, SLOT, 0, GPA, SIZE, self->mem));
}

FIXTURE_TEARDOWN(slot)
{
	vm_destroy(self->vm);
}

TEST_F(slot, the_same_again_is_no_error)
{
	EXPECT_EQ(0, vm_set_slot(self->vm, SLOT, 0, GPA, SIZE, self->mem));
}

TEST_F(slot, a_misaligned_address_is_refused)
{
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 0, 0x20000800, SIZE, self->mem));
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 0, 0x20000000, SIZE, self->mem + 1));
}

TEST_F(slot, a_misaligned_size_is_refused)
{
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 0, 0x20000000, 0x1800, self->mem));
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 0, 0x20000000, 1, self->mem));
}

TEST_F(slot, an_unknown_flag_is_refused)
{
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 1 << 7, 0x20000000, SIZE, self->mem));
}

TEST_F(slot, an_overlap_is_refused)
{
	EXPECT_EQ(-EEXIST, vm_set_slot(self->vm, 2, 0, GPA, SIZE, self->mem));
	EXPECT_EQ(-EEXIST, vm_set_slot(self->vm, 2, 0, GPA + SIZE - 0x1000, SIZE, self->mem));
	EXPECT_EQ(-EEXIST, vm_set_slot(self->vm, 2, 0, GPA - SIZE + 0x1000, SIZE, self->mem));
	EXPECT_EQ(-EEXIST, vm_set_slot(self->vm, 2, 0, GPA - SIZE, 3 * SIZE, self->mem));
	EXPECT_EQ(-EEXIST, vm_set_slot(self->vm, 2, 0, GPA + 0x1000, 0x1000, self->mem));
}

TEST_F(slot, neighbours_are_no_overlap)
{
	EXPECT_EQ(0, vm_set_slot(self->vm, 2, 0, GPA + SIZE, SIZE, self->mem + SIZE));
	EXPECT_EQ(0, vm_set_slot(self->vm, 3, 0, GPA - SIZE, SIZE, self->mem + 2 * SIZE));
}

TEST_F(slot, two_slots_may_share_memory)
{
	EXPECT_EQ(0, vm_set_slot(self->vm, 2, 0, GPA + SIZE, SIZE, self->mem));
}

TEST_F(slot, the_size_cannot_change)
{
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, SLOT, 0, GPA, 2 * SIZE, self->mem));
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, SLOT, 0, GPA, SIZE / 2, self->mem));
}

TEST_F(slot, the_memory_behind_it_cannot_change)
{
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, SLOT, 0, GPA, SIZE, self->mem + SIZE));
}

TEST_F(slot, readonly_cannot_change)
{
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, SLOT, KVM_MEM_READONLY, GPA, SIZE, self->mem));
}

TEST_F(slot, it_can_move_but_not_onto_another)
{
	EXPECT_EQ(0, vm_set_slot(self->vm, SLOT, 0, GPA + 0x4000, SIZE, self->mem));
	EXPECT_EQ(-EEXIST, vm_set_slot(self->vm, SLOT, 0, 0, SIZE, self->mem));
	EXPECT_EQ(-EEXIST, vm_set_slot(self->vm, SLOT, 0, VM_RAM_SIZE - 0x1000, SIZE, self->mem));
	/* A refused move leaves it where it was. */
	EXPECT_EQ(-EEXIST, vm_set_slot(self->vm, 2, 0, GPA + 0x4000, 0x1000, self->mem));
}

TEST_F(slot, size_zero_deletes_and_deleting_nothing_is_an_error)
{
	EXPECT_EQ(0, vm_set_slot(self->vm, SLOT, 0, 0, 0, NULL));
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, SLOT, 0, 0, 0, NULL));
	EXPECT_EQ(0, vm_set_slot(self->vm, 2, 0, GPA, SIZE, self->mem));
}

TEST_F(slot, a_number_is_free_again_after_deletion)
{
	ASSERT_EQ(0, vm_set_slot(self->vm, SLOT, 0, 0, 0, NULL));
	EXPECT_EQ(0, vm_set_slot(self->vm, SLOT, 0, GPA * 2, 2 * SIZE, self->mem));
}

TEST_F(slot, addresses_must_not_wrap)
{
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 0, -SIZE, 2 * SIZE, self->mem));
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 0, 0x20000000, -0x1000UL, self->mem));
}

TEST_F(slot, the_memory_must_be_user_memory)
{
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 0, 0x20000000, SIZE, (void *)0xffff888000000000UL));
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 2, 0, 0x20000000, SIZE, (void *)0x7ffffffff000UL));
}

TEST_F(slot, numbers_end_at_the_capability)
{
	int limit = xioctl(self->vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NR_MEMSLOTS);

	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, limit, 0, 0x20000000, SIZE, self->mem));
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, 0xffff, 0, 0x20000000, SIZE, self->mem));
	EXPECT_EQ(0, vm_set_slot(self->vm, limit - 1, 0, 0x20000000, SIZE, self->mem));
}

TEST_F(slot, an_address_space_that_is_not_offered_is_refused)
{
	int spaces = xioctl(self->vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_MULTI_ADDRESS_SPACE);

	if (spaces < 1)
		spaces = 1;
	EXPECT_EQ(-EINVAL, vm_set_slot(self->vm, SLOT | spaces << 16, 0, 0x20000000, SIZE, self->mem));
}

TEST(as_many_slots_as_are_promised_can_be_had_and_all_work)
{
	struct vm *vm = vm_create(0);
	int limit = xioctl(vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NR_MEMSLOTS);
	uint8_t *mem = pages(0x1000);
	int n = limit < 512 ? limit : 512;

	for (int i = 1; i < n; i++)
		ASSERT_EQ(0, vm_set_slot(vm, i, 0, GPA + i * 0x2000UL, 0x1000, mem));
	for (int i = 1; i < n; i += 2)
		ASSERT_EQ(0, vm_set_slot(vm, i, 0, 0, 0, NULL));
	for (int i = 1; i < n; i += 2)
		ASSERT_EQ(0, vm_set_slot(vm, i, 0, GPA + i * 0x2000UL + 0x1000, 0x1000, mem));
	vm_destroy(vm);
}

/* ---- What the guest sees ---- */

static __guest void reads_slot(void)
{
	for (;;)
		guest_sync(*(volatile uint64_t *)GPA);
}

static __guest void writes_slot(void)
{
	volatile uint64_t *p = (volatile uint64_t *)GPA;

	guest_sync(*p);
	*p = 0x1234;
	guest_sync(*p);
	*p = 0x5678;
	guest_done();
}

static volatile uint64_t beats __guest_data = 0;

static __guest void writes_slot_forever(void)
{
	sti();
	for (;;) {
		*(volatile uint64_t *)GPA = ++beats;
		*(volatile uint64_t *)(GPA + 0x3000) = beats;
	}
}

TEST(a_deleted_slot_is_a_device_to_the_guest)
{
	struct vcpu *vcpu = vm_create_one(0, reads_slot);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);

	mem[0] = 42;
	ASSERT_OUTCOME("sync 42", vcpu);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, 0, 0, NULL));
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(GPA, vcpu->run->mmio.phys_addr);
}

TEST(a_moved_slot_answers_at_its_new_address_only)
{
	struct vcpu *vcpu = vm_create_one(0, reads_slot);
	uint64_t *a = vm_map(vcpu->vm, SLOT, GPA, SIZE), *b = vm_map(vcpu->vm, 2, GPA + SIZE, SIZE);

	a[0] = 1;
	b[0] = 2;
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, GPA + 2 * SIZE, SIZE, a));
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, 2, 0, GPA, SIZE, b));
	ASSERT_OUTCOME("sync 2", vcpu);
}

TEST(a_replaced_slot_shows_the_new_memory)
{
	struct vcpu *vcpu = vm_create_one(0, reads_slot);
	uint64_t *a = vm_map(vcpu->vm, SLOT, GPA, SIZE), *b = pages(SIZE);

	a[0] = 1;
	b[0] = 2;
	ASSERT_OUTCOME("sync 1", vcpu);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, 0, 0, NULL));
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, GPA, SIZE, b));
	ASSERT_OUTCOME("sync 2", vcpu);
}

TEST(a_write_to_a_readonly_slot_is_a_device_write_and_a_read_is_memory)
{
	struct vcpu *vcpu = vm_create_one(0, writes_slot);
	uint64_t *mem = pages(SIZE);
	uint64_t written = 0x1234;

	mem[0] = 99;
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, KVM_MEM_READONLY, GPA, SIZE, mem));
	ASSERT_OUTCOME("sync 99", vcpu);
	ASSERT_EXIT(MMIO, vcpu);
	EXPECT_EQ(1, vcpu->run->mmio.is_write);
	EXPECT_EQ(GPA, vcpu->run->mmio.phys_addr);
	EXPECT_EQ(8, vcpu->run->mmio.len);
	EXPECT_EQ(0, memcmp(&written, vcpu->run->mmio.data, 8));
	EXPECT_EQ(99, mem[0]);
	mem[0] = 100;
	ASSERT_OUTCOME("sync 100", vcpu);
	ASSERT_EXIT(MMIO, vcpu);
	ASSERT_DONE(vcpu);
	EXPECT_EQ(100, mem[0]);
}

TEST(readonly_host_memory_can_back_a_readonly_slot)
{
	struct vcpu *vcpu = vm_create_one(0, writes_slot);
	uint64_t *mem = pages(SIZE);

	mem[0] = 7;
	ASSERT_EQ(0, mprotect(mem, SIZE, PROT_READ));
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, KVM_MEM_READONLY, GPA, SIZE, mem));
	ASSERT_OUTCOME("sync 7", vcpu);
	ASSERT_EXIT(MMIO, vcpu);
}

TEST(a_slot_deleted_under_a_running_guest_stops_its_accesses)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, writes_slot_forever);
	volatile uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE);
	uint64_t last;

	vcpu_start(vcpu);
	while (GUEST(vcpu->vm, beats) < 1000)
		usleep(1000);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, 0, 0, NULL));
	/* From here on the memory is the test's own again. */
	last = mem[0];
	ASSERT_STREQ("exit MMIO", vcpu_join(vcpu));
	EXPECT_TRUE(vcpu->run->mmio.phys_addr == GPA || vcpu->run->mmio.phys_addr == GPA + 0x3000);
	EXPECT_EQ(last, mem[0]);
	munmap((void *)mem, SIZE);
}

TEST(slots_come_and_go_under_a_running_guest)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, writes_slot_forever);
	uint64_t *mem = vm_map(vcpu->vm, SLOT, GPA, SIZE), *other = pages(SIZE), before;

	vcpu_start(vcpu);
	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(0, vm_set_slot(vcpu->vm, 2, 0, GPA * 2, SIZE, other));
		ASSERT_EQ(0, vm_set_slot(vcpu->vm, 2, 0, GPA * 3, SIZE, other));
		ASSERT_EQ(0, vm_set_slot(vcpu->vm, 2, 0, 0, 0, NULL));
	}
	before = GUEST(vcpu->vm, beats);
	while (GUEST(vcpu->vm, beats) < before + 1000)
		usleep(1000);
	EXPECT_LT(0, mem[0]);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, 0, 0, NULL));
	ASSERT_STREQ("exit MMIO", vcpu_join(vcpu));
}

/* ---- What is written when the vCPU's thread has to make room ---- */

#define STEAL_TIME_MSR	0x4b564d03
#define STEAL_TIME_SIZE	64

static volatile uint32_t stop __guest_data = 0;

static __guest void spins_until_told(void)
{
	sti();
	while (!stop)
		pause_cpu();
	guest_done();
}

static void *hog(void *stop)
{
	while (!*(volatile bool *)stop)
		;
	return NULL;
}

static bool written(const volatile uint8_t *mem)
{
	for (int i = 0; i < STEAL_TIME_SIZE; i++) {
		if (mem[i])
			return true;
	}
	return false;
}

TEST(the_steal_time_follows_its_slot_and_is_not_written_where_that_was)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, spins_until_told);
	uint8_t *mem = pages(SIZE);
	bool enough = false;
	pthread_t thread;

	if (vcpu_set_msr(vcpu, STEAL_TIME_MSR, GPA | 1) != 1)
		SKIP(return, "the device has no steal time");
	/* The vCPU and another thread have to share a CPU. */
	ASSERT_TRUE(pin_to_cpu(0));
	vcpu_start(vcpu);
	ASSERT_EQ(0, pthread_create(&thread, NULL, hog, &enough));
	pin_to_cpu(1);
	for (int i = 0; i < 60; i++) {
		ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, i & 1 ? KVM_MEM_LOG_DIRTY_PAGES : 0, GPA, SIZE, mem));
		for (int ms = 0; ms < 3000 && !written(mem); ms++)
			usleep(1000);
		EXPECT_TRUE(written(mem));
		ASSERT_EQ(0, vm_set_slot(vcpu->vm, SLOT, 0, 0, 0, NULL));
		/* From here on the memory is the test's own again. */
		memset(mem, 0, STEAL_TIME_SIZE);
		usleep(i % 8 * 1000);
		EXPECT_FALSE(written(mem));
	}
	GUEST(vcpu->vm, stop) = 1;
	*(volatile bool *)&enough = true;
	pthread_join(thread, NULL);
	ASSERT_STREQ("done", vcpu_join(vcpu));
	vm_destroy(vcpu->vm);
}

TEST_HARNESS_MAIN
