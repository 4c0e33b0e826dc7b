// SPDX-License-Identifier: GPL-2.0-only
/*
 * FPU, SSE and AVX state is each guest's own: neither the host's nor another vCPU's registers shine through an entry,
 * an exit, or a switch of vCPUs on one thread, and the guest's survive whatever the host does in between.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

static uint64_t seed __guest_data = 0;
static uint64_t back[8] __guest_data = { 0 };

/* Load a pattern, leave to the host again and again, and find it unchanged. */
static __guest void keeps_sse(void)
{
	for (;;) {
		asm volatile("movq %0, %%xmm0; movq %0, %%xmm7; movq %0, %%xmm15; fninit; fldpi"
			     : : "r"(*(volatile uint64_t *)&seed));
		for (int i = 0; i < 3; i++) {
			uint64_t a, b, c;

			guest_sync(i);
			asm volatile("movq %%xmm0, %0; movq %%xmm7, %1; movq %%xmm15, %2" : "=r"(a), "=r"(b), "=r"(c));
			guest_expect(seed, a);
			guest_expect(seed, b);
			guest_expect(seed, c);
		}
		asm volatile("fldpi; fcomip %%st(1), %%st; fstp %%st(0); setne %0" : "=m"(back[0]) : : "cc");
		guest_expect(0, back[0] & 0xff);
	}
}

static void spoil_host_registers(void)
{
	asm volatile("pcmpeqd %xmm0, %xmm0; pcmpeqd %xmm7, %xmm7; pcmpeqd %xmm15, %xmm15; fninit; fldz");
}

TEST(the_guests_registers_survive_the_hosts_use_of_them)
{
	struct vcpu *vcpu = vm_create_one(0, keeps_sse);
	char expected[16];

	GUEST(vcpu->vm, seed) = 0x1122334455667788;
	for (int i = 0; i < 30; i++) {
		spoil_host_registers();
		snprintf(expected, sizeof(expected), "sync %d", i % 3);
		ASSERT_OUTCOME(expected, vcpu);
		sched_yield();
	}
}

TEST(the_hosts_registers_survive_the_guest)
{
	struct vcpu *vcpu = vm_create_one(0, keeps_sse);
	const uint64_t mine = 0xfeedfacecafebeef;

	GUEST(vcpu->vm, seed) = 0x1122334455667788;
	for (int i = 0; i < 10; i++) {
		long r = KVM_RUN;
		uint64_t after;

		/* The bare system call, so that nothing else may touch the register in between. */
		asm volatile("movq %2, %%xmm7; syscall; movq %%xmm7, %1"
			     : "=a"(r), "=&r"(after)
			     : "r"(mine), "0"(16L), "D"((long)vcpu->fd), "S"((long)KVM_RUN), "d"(0L)
			     : "rcx", "r11", "memory");
		ASSERT_EQ(0, r);
		ASSERT_EQ(mine, after);
	}
}

TEST(two_vcpus_on_one_thread_keep_their_registers_apart)
{
	struct vcpu *a = vm_create_one(0, keeps_sse), *b = vm_create_one(0, keeps_sse);
	char expected[16];

	GUEST(a->vm, seed) = 0xaaaaaaaaaaaaaaaa;
	GUEST(b->vm, seed) = 0x5555555555555555;
	for (int i = 0; i < 30; i++) {
		snprintf(expected, sizeof(expected), "sync %d", i % 3);
		ASSERT_OUTCOME(expected, a);
		ASSERT_OUTCOME(expected, b);
	}
}

static __guest void shows_fresh_registers(void)
{
	uint64_t v[4];

	asm volatile("movq %%xmm0, %0; movq %%xmm7, %1; movq %%xmm15, %2; movq %%xmm3, %3"
		     : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3]));
	guest_expect(0, v[0] | v[1] | v[2] | v[3]);
	guest_done();
}

TEST(a_fresh_guest_sees_nothing_of_the_hosts_registers)
{
	struct vcpu *vcpu = vm_create_one(0, shows_fresh_registers);

	spoil_host_registers();
	ASSERT_DONE(vcpu);
}

/* ---- AVX: the upper halves, which exist only where XCR0 says so ---- */

static __guest void keeps_avx(void)
{
	write_cr4(read_cr4() | 1UL << 18);
	asm volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
	for (;;) {
		asm volatile("movq %0, %%xmm1; vinsertf128 $1, %%xmm1, %%ymm1, %%ymm1" : : "r"(*(volatile uint64_t *)&seed));
		for (int i = 0; i < 3; i++) {
			uint64_t upper;

			guest_sync(i);
			asm volatile("vextractf128 $1, %%ymm1, %%xmm2; movq %%xmm2, %0" : "=r"(upper));
			guest_expect(seed, upper);
		}
	}
}

TEST(the_upper_halves_of_avx_registers_are_kept_apart)
{
	struct vcpu *a, *b;
	char expected[16];

	if (!device_cpuid_has(1, 2, 28))
		SKIP(return, "no AVX in the guest's CPUID");
	if (host_is_tcg())
		SKIP(return, "QEMU TCG does not intercept XSETBV, so that KVM restores an older XCR0");
	a = vm_create_one(0, keeps_avx);
	b = vm_create_one(0, keeps_avx);
	GUEST(a->vm, seed) = 0xaaaaaaaaaaaaaaaa;
	GUEST(b->vm, seed) = 0x5555555555555555;
	for (int i = 0; i < 30; i++) {
		snprintf(expected, sizeof(expected), "sync %d", i % 3);
		ASSERT_OUTCOME(expected, a);
		asm volatile("vpcmpeqd %xmm1, %xmm1, %xmm1; vinsertf128 $1, %xmm1, %ymm1, %ymm1");
		ASSERT_OUTCOME(expected, b);
	}
}

TEST(avx_state_comes_back_through_xsave)
{
	struct vcpu *vcpu;
	uint8_t *area = aligned_alloc(64, 8192);
	uint32_t r[4];
	uint64_t upper;

	if (!device_cpuid_has(1, 2, 28))
		SKIP(return, "no AVX in the guest's CPUID");
	if (host_is_tcg())
		SKIP(return, "QEMU TCG does not intercept XSETBV, so that KVM restores an older XCR0");
	vcpu = vm_create_one(0, keeps_avx);
	GUEST(vcpu->vm, seed) = 0x1234567812345678;
	ASSERT_OUTCOME("sync 0", vcpu);
	ASSERT_IOCTL(0, vcpu->fd, KVM_GET_XSAVE, area);
	cpuid(0xd, 2, r);				/* where the upper halves are: SDM vol. 1 §13.2 */
	memcpy(&upper, area + r[1] + 16, 8);
	EXPECT_EQ(0x1234567812345678, upper);
	EXPECT_EQ(4, *(uint64_t *)(area + 512) & 4);
	upper = 0x8765432187654321;
	memcpy(area + r[1] + 16, &upper, 8);
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_XSAVE, area);
	GUEST(vcpu->vm, seed) = upper;
	ASSERT_OUTCOME("sync 1", vcpu);
	free(area);
}

TEST_HARNESS_MAIN
