// SPDX-License-Identifier: GPL-2.0-only
/*
 * Time: the TSC with its offset and TSC_ADJUST (SDM vol. 3 §17.17), KVM's paravirtual clock page, and the calls
 * KVM_GET_CLOCK, KVM_SET_CLOCK, KVM_GET_TSC_KHZ, KVM_SET_TSC_KHZ (api.rst §4.29, §4.30, §4.55, §4.56; msr.rst).
 */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rule.h"

#define MSR_TSC		0x10
#define MSR_ADJUST	0x3b
#define MSR_WALL_CLOCK	0x4b564d00
#define MSR_SYSTEM_TIME	0x4b564d01
#define CLOCK_PAGE	0x210000UL
#define NEAR		2000000000UL	/* cycles that may go by between two instructions on a loaded machine */

struct pvclock {
	uint32_t version, pad;
	uint64_t tsc_timestamp, system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
} __attribute__((packed));

/* msr.rst, MSR_KVM_SYSTEM_TIME_NEW: the protocol a guest reads the page by. */
static __guest uint64_t clock_read(void)
{
	volatile struct pvclock *c = (volatile struct pvclock *)CLOCK_PAGE;
	uint64_t delta, ns;
	uint32_t version;

	do {
		version = c->version & ~1U;
		asm volatile("lfence" : : : "memory");
		delta = rdtsc() - c->tsc_timestamp;
		delta = c->shift >= 0 ? delta << c->shift : delta >> -c->shift;
		ns = c->system_time + (uint64_t)((unsigned __int128)delta * c->mul >> 32);
		asm volatile("lfence" : : : "memory");
	} while (version != c->version);
	return ns;
}

RULE(a_write_of_the_tsc_is_where_it_goes_on,
	wrmsr(MSR_TSC, 1UL << 50);
	uint64_t now = rdtsc();
	guest_assert(now >= 1UL << 50);
	guest_assert(now - (1UL << 50) < NEAR);
)

RULE_IF(tsc_adjust_moves_the_tsc_by_as_much, 7, 1, 1,
	guest_expect(0, rdmsr(MSR_ADJUST));
	uint64_t before = rdtsc();
	wrmsr(MSR_ADJUST, 1UL << 45);
	uint64_t after = rdtsc();
	guest_expect(1UL << 45, rdmsr(MSR_ADJUST));
	guest_assert(after - before >= 1UL << 45);
	guest_assert(after - before - (1UL << 45) < NEAR);
	wrmsr(MSR_ADJUST, 0);
	guest_assert(rdtsc() - before < 2 * NEAR);
)

RULE_IF(a_write_of_the_tsc_moves_tsc_adjust_by_as_much, 7, 1, 1,
	uint64_t before = rdtsc();
	wrmsr(MSR_TSC, before + (1UL << 45));
	uint64_t adjust = rdmsr(MSR_ADJUST);
	guest_assert(adjust <= 1UL << 45);
	guest_assert((1UL << 45) - adjust < NEAR);
)

static __guest void shows_tsc(void)
{
	for (;;)
		guest_sync(rdtsc() >> 32);
}

TEST(user_space_sets_the_tsc_without_touching_tsc_adjust)
{
	struct vcpu *vcpu = vm_create_one(0, shows_tsc);
	uint64_t value;

	if (!device_cpuid_has(7, 1, 1))
		SKIP(return, "no TSC_ADJUST in the guest's CPUID");
	ASSERT_EQ(1, vcpu_set_msr(vcpu, MSR_TSC, 0x7700000000));
	ASSERT_OUTCOME("sync 119", vcpu);
	ASSERT_EQ(1, vcpu_get_msr(vcpu, MSR_ADJUST, &value));
	EXPECT_EQ(0, value);
	ASSERT_EQ(1, vcpu_get_msr(vcpu, MSR_TSC, &value));
	EXPECT_EQ(0x77, value >> 32);
}

TEST(user_space_sets_tsc_adjust_without_touching_the_tsc)
{
	struct vcpu *vcpu = vm_create_one(0, shows_tsc);
	uint64_t before, after, adjust;

	if (!device_cpuid_has(7, 1, 1))
		SKIP(return, "no TSC_ADJUST in the guest's CPUID");
	ASSERT_EQ(1, vcpu_get_msr(vcpu, MSR_TSC, &before));
	ASSERT_EQ(1, vcpu_set_msr(vcpu, MSR_ADJUST, 1UL << 45));
	ASSERT_EQ(1, vcpu_get_msr(vcpu, MSR_TSC, &after));
	ASSERT_EQ(1, vcpu_get_msr(vcpu, MSR_ADJUST, &adjust));
	EXPECT_EQ(1UL << 45, adjust);
	EXPECT_LT(after - before, 1UL << 40);
}

TEST(the_tsc_starts_near_zero_and_vcpus_agree)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	uint64_t a, b;

	for (int i = 0; i < 2; i++)
		vcpu_long_mode(vm_add_vcpu(vm), shows_tsc);
	ASSERT_EQ(1, vcpu_get_msr(&vm->vcpu[0], MSR_TSC, &a));
	ASSERT_EQ(1, vcpu_get_msr(&vm->vcpu[1], MSR_TSC, &b));
	EXPECT_LT(a, 20 * NEAR);
	EXPECT_LT(b - a, NEAR);
}

TEST(the_tsc_frequency_is_told_and_can_be_kept)
{
	struct vcpu *vcpu = vm_create_one(0, shows_tsc);
	int khz = xioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);

	ASSERT_LT(1000, khz);
	EXPECT_IOCTL(0, vcpu->fd, KVM_SET_TSC_KHZ, (void *)(long)khz);
	EXPECT_IOCTL(khz, vcpu->fd, KVM_GET_TSC_KHZ, NULL);
}

TEST(a_frequency_that_cannot_be_made_is_refused)
{
	struct vcpu *vcpu = vm_create_one(0, shows_tsc);

	if (xioctl(vcpu->vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_CONTROL) > 0)
		SKIP(return, "TSC scaling can make any");
	EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_SET_TSC_KHZ, (void *)1000);
}

static inline uint64_t host_tsc(void)
{
	uint32_t lo, hi;

	asm volatile("lfence; rdtsc; lfence" : "=a"(lo), "=d"(hi) : : "memory");
	return lo | (uint64_t)hi << 32;
}

static __guest void tells_tsc(void)
{
	for (;;)
		guest_sync(rdtsc());
}

/* Between what the host counts from after the first look to before the second, and from before the one to after both. */
TEST(a_guests_tsc_runs_at_half_the_frequency_if_asked_to)
{
	struct vcpu *vcpu = vm_create_one(0, tells_tsc);
	int khz = xioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
	uint64_t host[4], guest[2];

	if (xioctl(vcpu->vm->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_CONTROL) <= 0)
		SKIP(return, "this CPU has no TSC scaling");
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_TSC_KHZ, (void *)(long)(khz / 2));
	EXPECT_IOCTL(khz / 2, vcpu->fd, KVM_GET_TSC_KHZ, NULL);
	for (int i = 0; i < 2; i++) {
		host[2 * i] = host_tsc();
		ASSERT_EQ(1, sscanf(vcpu_outcome(vcpu), "sync %lu", &guest[i]));
		host[2 * i + 1] = host_tsc();
		usleep(20000);
	}
	EXPECT_LE((host[2] - host[1]) / 2, guest[1] - guest[0] + 2);
	EXPECT_LE(guest[1] - guest[0], (host[3] - host[0]) / 2 + 2);
}

TEST(the_vms_clock_starts_at_zero_and_goes_on)
{
	struct vm *vm = vm_create(0);
	struct kvm_clock_data a = { 0 }, b = { 0 };

	ASSERT_IOCTL(0, vm->fd, KVM_GET_CLOCK, &a);
	usleep(20000);
	ASSERT_IOCTL(0, vm->fd, KVM_GET_CLOCK, &b);
	EXPECT_LT(a.clock, 20000000000ULL);
	EXPECT_LE(20000000ULL, b.clock - a.clock);
}

static uint64_t real_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

TEST(the_vms_clock_tells_the_hosts_times_of_that_moment)
{
	struct vm *vm = vm_create(0);
	uint32_t known = xioctl(vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_ADJUST_CLOCK);
	uint64_t tsc = host_tsc(), real = real_time();
	struct kvm_clock_data clock = { 0 };

	ASSERT_IOCTL(0, vm->fd, KVM_GET_CLOCK, &clock);
	EXPECT_EQ(0, clock.flags & ~known);
	if (!(clock.flags & KVM_CLOCK_HOST_TSC) || !(clock.flags & KVM_CLOCK_REALTIME))
		SKIP(return, "this host's clock is not its TSC");
	EXPECT_LE(tsc, clock.host_tsc);
	EXPECT_LE(clock.host_tsc, host_tsc());
	EXPECT_LE(real, clock.realtime);
	EXPECT_LE(clock.realtime, real_time());
}

TEST(the_vms_clock_can_be_set)
{
	struct vm *vm = vm_create(0);
	struct kvm_clock_data clock = { .clock = 5000000000000ULL };

	ASSERT_IOCTL(0, vm->fd, KVM_SET_CLOCK, &clock);
	ASSERT_IOCTL(0, vm->fd, KVM_GET_CLOCK, &clock);
	EXPECT_LE(5000000000000ULL, clock.clock);
	EXPECT_LT(clock.clock, 5060000000000ULL);
	clock.flags = 1U << 31;
	EXPECT_IOCTL(-EINVAL, vm->fd, KVM_SET_CLOCK, &clock);
}

static uint64_t guest_ns __guest_data = 0;

static __guest void reads_its_clock(void)
{
	uint64_t last;

	wrmsr(MSR_SYSTEM_TIME, CLOCK_PAGE | 1);
	guest_expect(CLOCK_PAGE | 1, rdmsr(MSR_SYSTEM_TIME));
	guest_expect(0, ((volatile struct pvclock *)CLOCK_PAGE)->version & 1);
	guest_assert(((volatile struct pvclock *)CLOCK_PAGE)->version != 0);
	last = clock_read();
	for (int i = 0; i < 3000; i++) {
		uint64_t now = clock_read();
		uint32_t r[4];

		guest_assert(now >= last);
		last = now;
		if (i % 100 == 0)
			cpuid(0, 0, r);
	}
	for (int i = 0;; i++) {
		guest_ns = clock_read();
		guest_sync(i);
	}
}

#define STOPPED	2	/* PVCLOCK_GUEST_STOPPED */

/* Says whether it is told to have stood still; takes the note away each other time. */
static __guest void watches_for_stops(void)
{
	volatile struct pvclock *c = (volatile struct pvclock *)CLOCK_PAGE;

	guest_sync(0);
	wrmsr(MSR_SYSTEM_TIME, CLOCK_PAGE | 1);
	guest_sync(c->flags & STOPPED);
	for (;;) {
		guest_sync(c->flags & STOPPED);
		guest_sync(c->flags & STOPPED);
		c->flags &= ~STOPPED;
	}
}

TEST(a_guest_learns_that_it_stood_still_until_it_takes_note)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, watches_for_stops);
	struct kvm_clock_data clock = { .clock = 1000000000 };

	ASSERT_OUTCOME("sync 0", vcpu);
	/* Its clock is not on. */
	EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_KVMCLOCK_CTRL, NULL);
	ASSERT_OUTCOME("sync 0", vcpu);
	EXPECT_IOCTL(0, vcpu->fd, KVM_KVMCLOCK_CTRL, NULL);
	ASSERT_OUTCOME("sync 2", vcpu);
	/* A page that is written anew keeps the note. */
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_SET_CLOCK, &clock);
	ASSERT_OUTCOME("sync 2", vcpu);
	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_SET_CLOCK, &clock);
	ASSERT_OUTCOME("sync 0", vcpu);
}

TEST(the_guests_clock_page_never_goes_back_and_agrees_with_the_vms_clock)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, reads_its_clock);
	struct kvm_clock_data before = { 0 }, after = { 0 };
	char expected[16];

	for (int i = 0; i < 5; i++) {
		uint64_t ns;

		ASSERT_IOCTL(0, vcpu->vm->fd, KVM_GET_CLOCK, &before);
		snprintf(expected, sizeof(expected), "sync %d", i);
		ASSERT_OUTCOME(expected, vcpu);
		ASSERT_IOCTL(0, vcpu->vm->fd, KVM_GET_CLOCK, &after);
		ns = GUEST(vcpu->vm, guest_ns);
		EXPECT_LE(before.clock, ns + 1000000);
		EXPECT_LE(ns, after.clock + 1000000);
		usleep(5000);
	}
}

TEST(the_guests_clock_follows_set_clock)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, reads_its_clock);
	struct kvm_clock_data clock = { .clock = 7000000000000ULL };

	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_SET_CLOCK, &clock);
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_LE(7000000000000ULL, GUEST(vcpu->vm, guest_ns) + 1000000);
	EXPECT_LT(GUEST(vcpu->vm, guest_ns), 7060000000000ULL);
}

static __guest void asks_for_wall_clock(void)
{
	wrmsr(MSR_WALL_CLOCK, CLOCK_PAGE + 0x100);
	guest_done();
}

TEST(the_wall_clock_and_the_vms_clock_add_up_to_the_time_of_day)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, asks_for_wall_clock);
	struct kvm_clock_data clock = { 0 };
	uint32_t *wall = (uint32_t *)(vcpu->vm->ram + CLOCK_PAGE + 0x100);
	struct timespec now;
	int64_t guest_s;

	ASSERT_DONE(vcpu);
	ASSERT_IOCTL(0, vcpu->vm->fd, KVM_GET_CLOCK, &clock);
	clock_gettime(CLOCK_REALTIME, &now);
	guest_s = wall[1] + clock.clock / 1000000000;
	EXPECT_EQ(0, wall[0] & 1);
	EXPECT_LE(now.tv_sec - 5, guest_s);
	EXPECT_LE(guest_s, now.tv_sec + 5);
}

TEST_HARNESS_MAIN
