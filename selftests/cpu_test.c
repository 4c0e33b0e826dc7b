// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions a hypervisor must or may intercept, seen from the guest: CPUID, HLT, MSRs, control and debug registers,
 * XSETBV, WBINVD, PAUSE, RDTSC. The rules are the manual's, so they hold on Intel and AMD alike.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "machine.h"
#include "rule.h"

#define CR0_PE		(1UL << 0)
#define CR0_MP		(1UL << 1)
#define CR0_TS		(1UL << 3)
#define CR0_WP		(1UL << 16)
#define CR0_NW		(1UL << 29)
#define CR0_CD		(1UL << 30)
#define CR0_PG		(1UL << 31)
#define CR4_DE		(1UL << 3)
#define CR4_PAE		(1UL << 5)
#define CR4_MCE		(1UL << 6)
#define CR4_PGE		(1UL << 7)
#define CR4_PCIDE	(1UL << 17)
#define CR4_OSXSAVE	(1UL << 18)

/* ---- CPUID ---- */

static uint32_t seen_cpuid[4] __guest_data = { 0 };

static __guest void reads_cpuid(void)
{
	cpuid(0x40000055, 0, seen_cpuid);
	guest_sync(1);
	cpuid(0x40000056, 1, seen_cpuid);
	guest_sync(2);
	cpuid(0x40000056, 2, seen_cpuid);
	guest_done();
}

TEST(cpuid_answers_what_set_cpuid2_said_by_leaf_and_index)
{
	struct vcpu *vcpu = vm_create_one(0, reads_cpuid);
	struct kvm_cpuid2 *cpuids = supported_cpuid(vcpu->vm->dev);
	uint32_t *seen = GUEST(vcpu->vm, seen_cpuid);
	const struct kvm_cpuid_entry2 own[] = {
		{ .function = 0x40000055, .eax = 1, .ebx = 2, .ecx = 3, .edx = 0xfffffff4 },
		{ .function = 0x40000056, .index = 1, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .eax = 0x11 },
		{ .function = 0x40000056, .index = 2, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .eax = 0x22 },
	};

	memcpy(&cpuids->entries[cpuids->nent], own, sizeof(own));
	cpuids->nent += 3;
	ASSERT_IOCTL(0, vcpu->fd, KVM_SET_CPUID2, cpuids);
	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(1, seen[0]);
	EXPECT_EQ(2, seen[1]);
	EXPECT_EQ(3, seen[2]);
	EXPECT_EQ(0xfffffff4, seen[3]);
	ASSERT_OUTCOME("sync 2", vcpu);
	EXPECT_EQ(0x11, seen[0]);
	ASSERT_DONE(vcpu);
	EXPECT_EQ(0x22, seen[0]);
}

RULE(cpuid_clears_the_upper_halves,
	uint64_t a = 0xffffffff00000000; uint64_t b = ~0UL; uint64_t c = 0xffffffff00000000; uint64_t d = ~0UL;
	asm volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	guest_expect(0, (a | b | c | d) >> 32);
)

RULE_IF(cpuid_shows_osxsave_as_cr4_has_it, 1, 2, 26,
	uint32_t r[4];
	write_cr4(read_cr4() & ~CR4_OSXSAVE);
	cpuid(1, 0, r);
	guest_expect(0, r[2] >> 27 & 1);
	write_cr4(read_cr4() | CR4_OSXSAVE);
	cpuid(1, 0, r);
	guest_expect(1, r[2] >> 27 & 1);
)

/* ---- HLT ---- */

static __guest void halts(void)
{
	hlt();
	guest_done();
}

TEST(hlt_without_an_irqchip_goes_to_user_space_and_on_from_there)
{
	struct vcpu *vcpu = vm_create_one(0, halts);

	ASSERT_EXIT(HLT, vcpu);
	ASSERT_DONE(vcpu);
}

/* ---- MSRs ---- */

RULE(rdmsr_of_an_unknown_msr_raises_gp,
	uint64_t v;
	guest_expect(GP_VECTOR, catch_rdmsr(0x12345, &v));
	guest_expect(0, guest_error_code);
	guest_expect(GP_VECTOR, catch_rdmsr(0xc0009999, &v));
	guest_expect(GP_VECTOR, catch_rdmsr(0xffffffff, &v));
)

RULE(wrmsr_of_an_unknown_msr_raises_gp,
	guest_expect(GP_VECTOR, catch_wrmsr(0x12345, 0));
	guest_expect(GP_VECTOR, catch_wrmsr(0xc0009999, 0));
	guest_expect(GP_VECTOR, catch_wrmsr(0x80000000, 0));
)

RULE(wrmsr_of_a_read_only_msr_raises_gp,
	guest_expect(GP_VECTOR, catch_wrmsr(0xfe, 1));			/* MTRRCAP */
)

RULE(syscall_and_base_msrs_hold_what_was_written,
	static uint32_t msrs[] __guest_data = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
						      0xc0000101, 0xc0000102 };
	for (unsigned int i = 0; i < 7; i++) {
		uint64_t v = 0x7f00000 + i * 0x1010 + (i == 3 ? 0x200 : 0);
		uint64_t got;
		guest_expect(NO_TRAP, catch_wrmsr(msrs[i], v));
		guest_expect(NO_TRAP, catch_rdmsr(msrs[i], &got));
		guest_expect(v, got);
	}
)

RULE(swapgs_exchanges_the_gs_bases,
	wrmsr(0xc0000101, 0x1000);
	wrmsr(0xc0000102, 0x2000);
	asm volatile("swapgs");
	guest_expect(0x2000, rdmsr(0xc0000101));
	guest_expect(0x1000, rdmsr(0xc0000102));
)

RULE(sysenter_msrs_hold_what_was_written,
	for (uint32_t i = 0x174; i <= 0x176; i++) {
		wrmsr(i, 0x1230 + i);
		guest_expect(0x1230 + i, rdmsr(i));
	}
)

RULE_NOT_TCG(a_non_canonical_address_msr_raises_gp, "takes any address in these MSRs",
	guest_expect(GP_VECTOR, catch_wrmsr(0xc0000082, 0x800000000000));
	guest_expect(GP_VECTOR, catch_wrmsr(0xc0000102, 0x8000000000000000));
	guest_expect(GP_VECTOR, catch_wrmsr(0xc0000100, 0xffff000000000000));
)

RULE(efer_refuses_reserved_bits_and_leaving_long_mode,
	uint64_t efer = rdmsr(0xc0000080);
	guest_expect(0x500, efer & 0xd00);
	guest_expect(GP_VECTOR, catch_wrmsr(0xc0000080, efer | 1UL << 40));
	guest_expect(GP_VECTOR, catch_wrmsr(0xc0000080, efer | 1UL << 1));
	guest_expect(GP_VECTOR, catch_wrmsr(0xc0000080, efer & ~0x100UL));
	guest_expect(NO_TRAP, catch_wrmsr(0xc0000080, efer | 1));
	guest_expect(efer | 1, rdmsr(0xc0000080));
)

RULE(pat_holds_valid_types_and_refuses_others,
	guest_expect(0x0007040600070406, rdmsr(0x277));
	wrmsr(0x277, 0x0007010600070106);
	guest_expect(0x0007010600070106, rdmsr(0x277));
	guest_expect(GP_VECTOR, catch_wrmsr(0x277, 2));
	guest_expect(GP_VECTOR, catch_wrmsr(0x277, 0x0300000000000000));
)

RULE(mtrrs_hold_valid_types_and_refuse_others,
	uint64_t cap = rdmsr(0xfe);
	guest_assert((cap & 0xff) > 0);
	wrmsr(0x200, 0x80000006);
	wrmsr(0x201, 0xff0000800);
	guest_expect(0x80000006, rdmsr(0x200));
	guest_expect(0xff0000800, rdmsr(0x201));
	guest_expect(GP_VECTOR, catch_wrmsr(0x200, 0x80000003));
	wrmsr(0x2ff, 0xc06);
	guest_expect(0xc06, rdmsr(0x2ff));
	guest_expect(GP_VECTOR, catch_wrmsr(0x2ff, 0xc02));
	wrmsr(0x250, 0x0606060606060606);
	guest_expect(0x0606060606060606, rdmsr(0x250));
)

RULE(the_apic_base_msr_says_bootstrap_processor_and_enabled,
	guest_expect(0xfee00900, rdmsr(APIC_MSR) & ~0x400UL);
	guest_expect(GP_VECTOR, catch_wrmsr(APIC_MSR, 0xfee00900 | 1UL << 62));
)

RULE(machine_check_and_microcode_msrs_can_be_read,
	uint64_t v;
	guest_expect(NO_TRAP, catch_rdmsr(0x179, &v));			/* MCG_CAP */
	guest_expect(NO_TRAP, catch_rdmsr(0x17a, &v));			/* MCG_STATUS */
	guest_expect(NO_TRAP, catch_rdmsr(0x8b, &v));			/* microcode revision */
	guest_expect(NO_TRAP, catch_rdmsr(0x1a0, &v));			/* MISC_ENABLE */
)

RULE(tsc_aux_comes_back_with_rdtscp,
	uint32_t r[4];
	uint32_t aux = 0;
	cpuid(0x80000001, 0, r);
	if (r[3] >> 27 & 1) {
		wrmsr(0xc0000103, 0x4321);
		asm volatile("rdtscp" : "=c"(aux) : : "rax", "rdx");
		guest_expect(0x4321, aux);
	}
)

/* ---- Speculation ---- */

#define SPEC_CTRL	0x48
#define SPEC_CTRL_IBRS	(1UL << 0)
#define SPEC_CTRL_STIBP	(1UL << 1)
#define SPEC_CTRL_SSBD	(1UL << 2)
#define PRED_CMD	0x49
#define PRED_CMD_IBPB	(1UL << 0)

/* Of SPEC_CTRL, by the guest's CPUID, as Intel has it or AMD. */
static uint64_t spec_ctrl_bits(void)
{
	uint64_t bits = 0;

	if (device_cpuid_has(7, 3, 26) || device_cpuid_has(0x80000008, 1, 14))
		bits |= SPEC_CTRL_IBRS;
	if (device_cpuid_has(7, 3, 27) || device_cpuid_has(0x80000008, 1, 15))
		bits |= SPEC_CTRL_STIBP;
	if (device_cpuid_has(7, 3, 31) || device_cpuid_has(0x80000008, 1, 24))
		bits |= SPEC_CTRL_SSBD;
	return bits;
}

static bool has_ibpb(void)
{
	return device_cpuid_has(7, 3, 26) || device_cpuid_has(0x80000008, 1, 12);
}

#define NO_SPEC_CTRL	"the guest's CPUID has no bit for SPEC_CTRL"
#define NO_IBPB		"the guest's CPUID has no bit for the prediction barrier"

static uint64_t speculation_bits __guest_data = { 0 };

/* The first write that is not 0 has the guest write it without an exit from then on. */
static __guest void restrains_speculation(void)
{
	uint64_t bits = speculation_bits;

	guest_expect(0, rdmsr(SPEC_CTRL));
	guest_expect(GP_VECTOR, catch_wrmsr(SPEC_CTRL, 1UL << 63));
	guest_expect(NO_TRAP, catch_wrmsr(SPEC_CTRL, 0));
	guest_expect(0, rdmsr(SPEC_CTRL));
	for (uint64_t bit = 1; bit <= bits; bit <<= 1) {
		if (!(bits & bit))
			continue;
		guest_expect(NO_TRAP, catch_wrmsr(SPEC_CTRL, bit));
		guest_expect(bit, rdmsr(SPEC_CTRL));
		guest_sync(bit);
		guest_expect(bit, rdmsr(SPEC_CTRL));
	}
	wrmsr(SPEC_CTRL, bits);
	guest_expect(GP_VECTOR, catch_wrmsr(SPEC_CTRL, bits | 1UL << 63));
	guest_expect(GP_VECTOR, catch_wrmsr(SPEC_CTRL, bits | 1UL << 31));
	guest_expect(bits, rdmsr(SPEC_CTRL));
	wrmsr(SPEC_CTRL, 0);
	guest_expect(0, rdmsr(SPEC_CTRL));
	guest_done();
}

TEST(spec_ctrl_holds_the_bits_there_are_and_refuses_others)
{
	struct vcpu *vcpu;
	uint64_t bits = spec_ctrl_bits(), value;
	char sync[16];

	if (!bits)
		SKIP(return, NO_SPEC_CTRL);
	vcpu = vm_create_one(0, restrains_speculation);
	GUEST(vcpu->vm, speculation_bits) = bits;
	for (uint64_t bit = 1; bit <= bits; bit <<= 1) {
		if (!(bits & bit))
			continue;
		snprintf(sync, sizeof(sync), "sync %d", (int)bit);
		ASSERT_OUTCOME(sync, vcpu);
		ASSERT_EQ(1, vcpu_get_msr(vcpu, SPEC_CTRL, &value));
		EXPECT_EQ(bit, value);
	}
	ASSERT_DONE(vcpu);
}

/* What this CPU has in an MSR: the thread stays on it. -errno where the kernel does not show it. */
static int host_msr(uint32_t index, uint64_t *value)
{
	char path[32];
	int fd, r = 0;

	snprintf(path, sizeof(path), "/dev/cpu/%d/msr", sched_getcpu());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pread(fd, value, sizeof(*value), index) != sizeof(*value))
		r = -EIO;
	close(fd);
	return r;
}

TEST(the_hosts_spec_ctrl_is_its_own_again_after_each_exit)
{
	uint64_t bits = spec_ctrl_bits(), before, after;
	struct vcpu *vcpu;
	char sync[16];

	if (!bits)
		SKIP(return, NO_SPEC_CTRL);
	ASSERT_TRUE(pin_to_cpu(0));
	if (host_msr(SPEC_CTRL, &before))
		SKIP(return, "the kernel does not show MSRs in /dev/cpu (modprobe msr)");
	vcpu = vm_create_one(0, restrains_speculation);
	GUEST(vcpu->vm, speculation_bits) = bits;
	for (uint64_t bit = 1; bit <= bits; bit <<= 1) {
		if (!(bits & bit))
			continue;
		snprintf(sync, sizeof(sync), "sync %d", (int)bit);
		ASSERT_OUTCOME(sync, vcpu);
		ASSERT_EQ(0, host_msr(SPEC_CTRL, &after));
		EXPECT_EQ(before, after);
	}
	ASSERT_DONE(vcpu);
	ASSERT_EQ(0, host_msr(SPEC_CTRL, &after));
	EXPECT_EQ(before, after);
}

RULE_WHERE(the_prediction_barrier_has_one_bit_and_cannot_be_read, has_ibpb(), NO_IBPB,
	uint64_t v;
	guest_expect(NO_TRAP, catch_wrmsr(PRED_CMD, PRED_CMD_IBPB));
	guest_expect(NO_TRAP, catch_wrmsr(PRED_CMD, 0));
	guest_expect(GP_VECTOR, catch_wrmsr(PRED_CMD, 1UL << 1));
	guest_expect(GP_VECTOR, catch_wrmsr(PRED_CMD, 1UL << 63 | PRED_CMD_IBPB));
	guest_expect(GP_VECTOR, catch_rdmsr(PRED_CMD, &v));
)

/* ---- Control registers ---- */

#define CATCH_CR(cr, v) guest_catch("mov %1, %%" #cr, , "r"((uint64_t)(v)))

RULE(cr0_refuses_illegal_values,
	uint64_t cr0 = read_cr0();
	guest_expect(GP_VECTOR, CATCH_CR(cr0, cr0 & ~CR0_PE));		/* paging without protection */
	guest_expect(GP_VECTOR, CATCH_CR(cr0, cr0 | CR0_NW));		/* not write-through, yet cached */
	guest_expect(GP_VECTOR, CATCH_CR(cr0, cr0 & ~CR0_PG));		/* 64-bit code without paging */
	guest_expect(cr0, read_cr0());
)

RULE_NOT_TCG(cr0_refuses_its_upper_half, "drops the upper half of CR0",
	guest_expect(GP_VECTOR, CATCH_CR(cr0, read_cr0() | 1UL << 32));
)

RULE(cr0_holds_legal_values,
	uint64_t cr0 = read_cr0();
	write_cr0(cr0 | CR0_CD);
	guest_expect(cr0 | CR0_CD, read_cr0());
	write_cr0(cr0 | CR0_CD | CR0_NW);
	guest_expect(cr0 | CR0_CD | CR0_NW, read_cr0());
	write_cr0(cr0 & ~CR0_WP);
	guest_expect(cr0 & ~CR0_WP, read_cr0());
	write_cr0(cr0);
)

RULE(a_task_switched_fpu_raises_nm_and_clts_ends_that,
	write_cr0(read_cr0() | CR0_TS);
	guest_expect(CR0_TS, read_cr0() & CR0_TS);
	guest_expect(NM_VECTOR, guest_catch("fninit", ));
	guest_expect(NM_VECTOR, guest_catch("movaps %%xmm0, %%xmm1", ));
	asm volatile("clts");
	guest_expect(0, read_cr0() & CR0_TS);
	guest_expect(NO_TRAP, guest_catch("movaps %%xmm0, %%xmm1", ));
)

RULE(lmsw_sets_but_never_clears_protection,
	uint64_t msw;
	asm volatile("smsw %0" : "=r"(msw));
	guest_expect(read_cr0() & 0xffff, msw & 0xffff);
	asm volatile("lmsw %w0" : : "r"(8UL));				/* TS on, PE and MP off */
	guest_expect(CR0_TS | CR0_PE, read_cr0() & (CR0_TS | CR0_MP | CR0_PE));
	asm volatile("lmsw %w0" : : "r"(msw));
	guest_expect(msw & 0xffff, read_cr0() & 0xffff);
)

RULE(lmsw_and_smsw_reach_memory_and_move_16_bits,
	volatile uint32_t *word = (volatile uint32_t *)VM_SCRATCH;
	uint64_t msw = read_cr0() & 0xffff;
	uint64_t pushed;
	*word = 0x5a5a5a5a;
	asm volatile("smsw (%0)" : : "r"(word) : "memory");
	guest_expect(0x5a5a0000 | msw, *word);
	asm volatile("rex.w; smsw 0x10(%0,%1,4)" : : "r"(word), "r"(4UL) : "memory");
	guest_expect(msw, word[8] & 0xffff);
	asm volatile("pushq $0; smsw (%%rsp); pop %0" : "=r"(pushed) : : "memory");
	guest_expect(msw, pushed);
	*word = 0xfff00008;						/* TS on, PE and MP off */
	asm volatile("lmsw (%0)" : : "r"(word) : "memory");
	guest_expect(CR0_TS | CR0_PE, read_cr0() & (CR0_TS | CR0_MP | CR0_PE));
	*word = msw;
	asm volatile("lmsw (%0)" : : "r"(word) : "memory");
	guest_expect(msw, read_cr0() & 0xffff);
	guest_expect(GP_VECTOR, guest_catch("lmsw (%1)", , "r"(1UL << 63)));
	guest_expect(GP_VECTOR, guest_catch("smsw (%1)", , "r"(1UL << 63)));
	guest_expect(msw, read_cr0() & 0xffff);
)

RULE(cr2_holds_what_was_written,
	write_cr2(0x123456789abc);
	guest_expect(0x123456789abc, read_cr2());
)

RULE(a_cr3_write_flushes_translations,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	volatile uint64_t *a = (volatile uint64_t *)0x400000;
	volatile uint64_t *b = (volatile uint64_t *)0x600000;
	*a = 1;
	*b = 2;
	guest_expect(1, *a);
	pd[2] = 0x600087;
	write_cr3(read_cr3());
	guest_expect(2, *a);
)

RULE(invlpg_flushes_one_translation,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	volatile uint64_t *a = (volatile uint64_t *)0x400000;
	volatile uint64_t *b = (volatile uint64_t *)0x600000;
	*a = 1;
	*b = 2;
	guest_expect(1, *a);
	pd[2] = 0x600087;
	asm volatile("invlpg (%0)" : : "r"(a) : "memory");
	guest_expect(2, *a);
)

RULE_NOT_TCG(cr3_refuses_reserved_bits, "takes any value in CR3",
	uint64_t cr3 = read_cr3();
	guest_expect(GP_VECTOR, CATCH_CR(cr3, cr3 | 1UL << 60));
	guest_expect(cr3, read_cr3());
)

RULE(cr4_refuses_illegal_values,
	uint64_t cr4 = read_cr4();
	guest_expect(GP_VECTOR, CATCH_CR(cr4, cr4 | 1UL << 31));
	guest_expect(GP_VECTOR, CATCH_CR(cr4, cr4 | 1UL << 30));
	guest_expect(cr4, read_cr4());
)

RULE_NOT_TCG(cr4_refuses_its_upper_half_and_leaving_pae, "drops the upper half of CR4",
	uint64_t cr4 = read_cr4();
	guest_expect(GP_VECTOR, CATCH_CR(cr4, cr4 | 1UL << 63));
	guest_expect(GP_VECTOR, CATCH_CR(cr4, cr4 & ~CR4_PAE));		/* 64-bit code needs it */
	guest_expect(cr4, read_cr4());
)

RULE(cr4_does_not_show_the_hosts_bits,
	guest_expect(0x620, read_cr4());
	write_cr4(read_cr4() | CR4_PGE);
	guest_expect(0x620 | CR4_PGE, read_cr4());
	write_cr4(0x620);
	guest_expect(0x620, read_cr4());
)

/* In the hardware the bit stays as the host has it. */
static __guest void switches_machine_checks(void)
{
	guest_expect(0, read_cr4() & CR4_MCE);
	write_cr4(read_cr4() | CR4_MCE);
	guest_expect(CR4_MCE, read_cr4() & CR4_MCE);
	guest_sync(1);
	write_cr4(read_cr4() & ~CR4_MCE);
	guest_expect(0, read_cr4() & CR4_MCE);
	guest_sync(2);
	guest_expect(0, read_cr4() & CR4_MCE);
	guest_done();
}

TEST(machine_checks_are_on_in_cr4_as_the_guest_has_them)
{
	struct vcpu *vcpu = vm_create_one(0, switches_machine_checks);
	struct kvm_sregs s;

	ASSERT_OUTCOME("sync 1", vcpu);
	EXPECT_EQ(CR4_MCE, vcpu_sregs(vcpu).cr4 & CR4_MCE);
	ASSERT_OUTCOME("sync 2", vcpu);
	s = vcpu_sregs(vcpu);
	EXPECT_EQ(0, s.cr4 & CR4_MCE);
	vcpu_set_sregs(vcpu, &s);
	EXPECT_EQ(0, vcpu_sregs(vcpu).cr4 & CR4_MCE);
	ASSERT_DONE(vcpu);
}

RULE_IF(pcide_needs_an_empty_pcid, 1, 2, 17,
	uint64_t cr4 = read_cr4();
	write_cr3(read_cr3() | 0x18);					/* PWT, PCD: part of the PCID to be */
	guest_expect(GP_VECTOR, CATCH_CR(cr4, cr4 | CR4_PCIDE));
	write_cr3(read_cr3() & ~0xfffUL);
	guest_expect(NO_TRAP, CATCH_CR(cr4, cr4 | CR4_PCIDE));
	write_cr3(0x1005);
	guest_expect(0x1005, read_cr3());
	write_cr3(0x1006 | 1UL << 63);
	guest_expect(0x1006, read_cr3());
)

RULE_IF(smep_stops_the_kernel_from_running_user_pages, 7, 1, 7,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	/* Pages of our own are the user's in the default tables: make all but one the kernel's. */
	for (int i = 0; i < 2048; i++)
		pd[i] &= ~4UL;
	pd[2] |= 4;
	*(volatile uint8_t *)0x400000 = 0xc3;
	write_cr3(read_cr3());
	write_cr4(read_cr4() | 1UL << 20);
	asm volatile("" : : : "memory");
	guest_handlers[PF_VECTOR] = 0;
	guest_expect(PF_VECTOR, guest_catch("call *%%rax", , "a"(0x400000UL)));
)

RULE_IF(smap_stops_the_kernel_from_reading_user_pages, 7, 1, 20,
	volatile uint64_t *pd = (volatile uint64_t *)0x3000;
	for (int i = 0; i < 2048; i++)
		pd[i] &= ~4UL;
	pd[2] |= 4;
	write_cr3(read_cr3());
	write_cr4(read_cr4() | 1UL << 21);
	asm volatile("clac");
	guest_expect(PF_VECTOR, guest_catch("mov (%%rax), %%r11", , "a"(0x400000UL)));
	asm volatile("stac");
	guest_expect(NO_TRAP, guest_catch("mov (%%rax), %%r11", , "a"(0x400000UL)));
)

RULE_IF(fsgsbase_instructions_reach_the_bases, 7, 1, 0,
	uint64_t v;
	guest_expect(UD_VECTOR, guest_catch("wrgsbase %%rax", , "a"(0x5000UL)));
	write_cr4(read_cr4() | 1UL << 16);
	asm volatile("wrgsbase %0; wrfsbase %1" : : "r"(0x5000UL), "r"(0x6000UL));
	guest_expect(0x5000, rdmsr(0xc0000101));
	guest_expect(0x6000, rdmsr(0xc0000100));
	asm volatile("rdgsbase %0" : "=r"(v));
	guest_expect(0x5000, v);
)

RULE(cr8_is_the_task_priority,
	apic_enable();
	write_cr8(5);
	guest_expect(5, read_cr8());
	guest_expect(0x50, apic_read(APIC_TPR));
	apic_write(APIC_TPR, 0x92);
	guest_expect(9, read_cr8());
	write_cr8(0);
)

RULE_NOT_TCG(cr8_refuses_priorities_above_15, "takes any value in CR8",
	write_cr8(9);
	guest_expect(GP_VECTOR, CATCH_CR(cr8, 16));
	guest_expect(9, read_cr8());
	write_cr8(0);
)

RULE(other_control_registers_do_not_exist,
	guest_expect(UD_VECTOR, guest_catch(".byte 0x0f, 0x20, 0xc8", ));	/* mov %cr1, %rax */
	guest_expect(UD_VECTOR, guest_catch(".byte 0x0f, 0x22, 0xe8", ));	/* mov %rax, %cr5 */
)

/* ---- Ring 3 ---- */

#define CR4_UMIP	(1UL << 11)
#define GDT		0x7000UL
#define TSS		0x9000UL
#define SEL_USER_CODE	0x33
#define SEL_USER_DATA	0x3b
#define USER_STACK	(VM_FREE + 0x10000)
#define KERNEL_STACK	(VM_FREE + 0x20000)

/* Go to a function at CPL 3, with I/O privilege so that it can report. */
#define ENTER_RING_3(function)								\
	asm volatile("pushq %0; pushq %1; pushq $0x3002; pushq %2; pushq %3; iretq"	\
		     : : "i"(SEL_USER_DATA), "r"(USER_STACK - 8), "i"(SEL_USER_CODE), "r"(function) : "memory")

static struct vcpu *create_with_ring_3(void (*entry)(void))
{
	struct vcpu *vcpu = vm_create_one(0, entry);
	uint64_t *gdt = (uint64_t *)(vcpu->vm->ram + GDT), stack = KERNEL_STACK;

	gdt[SEL_USER_CODE / 8] = 0x00affb000000ffffULL;
	gdt[SEL_USER_DATA / 8] = 0x00cff3000000ffffULL;
	memcpy(vcpu->vm->ram + TSS + 4, &stack, sizeof(stack));
	return vcpu;
}

/* What tells where the kernel has its tables, and what it has in CR0. */
#define EACH_UMIP_INSTRUCTION(vector) do {						\
	uint8_t table[16];								\
	uint64_t v = 0;									\
											\
	guest_expect(vector, guest_catch("sgdt (%1)", , "r"(table)));			\
	guest_expect(vector, guest_catch("sidt (%1)", , "r"(table)));			\
	guest_expect(vector, guest_catch("sldt %1", ARGS(, "+a"(v))));			\
	guest_expect(vector, guest_catch("str %1", ARGS(, "+a"(v))));			\
	guest_expect(vector, guest_catch("smsw %1", ARGS(, "+a"(v))));			\
} while (0)

static __guest void reads_tables_in_ring_3(void)
{
	EACH_UMIP_INSTRUCTION(NO_TRAP);
	guest_done();
}

static __guest void is_refused_tables_in_ring_3(void)
{
	EACH_UMIP_INSTRUCTION(GP_VECTOR);
	guest_expect(0, guest_error_code);
	guest_done();
}

static __guest void without_umip(void)
{
	ENTER_RING_3(reads_tables_in_ring_3);
}

static __guest void with_umip(void)
{
	write_cr4(read_cr4() | CR4_UMIP);
	EACH_UMIP_INSTRUCTION(NO_TRAP);
	ENTER_RING_3(is_refused_tables_in_ring_3);
}

TEST(ring_3_reads_the_kernels_tables_without_umip)
{
	ASSERT_DONE(create_with_ring_3(without_umip));
}

TEST(umip_refuses_them_to_ring_3)
{
	if (!device_cpuid_has(7, 2, 2))
		SKIP(return, "the guest's CPUID has no 7 bit 2");
	ASSERT_DONE(create_with_ring_3(with_umip));
}

/* ---- Debug registers ---- */

RULE(debug_registers_hold_what_was_written,
	write_dr0(0x1111);
	write_dr1(0x2222);
	write_dr2(0x3333);
	write_dr3(0x7fffffffffff);
	guest_expect(0x1111, read_dr0());
	guest_expect(0x2222, read_dr1());
	guest_expect(0x3333, read_dr2());
	guest_expect(0x7fffffffffff, read_dr3());
	write_dr7(0x400);
	guest_expect(0x400, read_dr7());
)

RULE(debug_registers_6_and_7_refuse_upper_halves,
	guest_expect(GP_VECTOR, guest_catch("mov %%rax, %%dr7", , "a"(1UL << 32)));
	guest_expect(GP_VECTOR, guest_catch("mov %%rax, %%dr6", , "a"(1UL << 32)));
)

RULE(dr4_and_dr5_are_aliases_until_cr4_says_otherwise,
	write_dr6(0xffff0ff1);
	uint64_t v = 0;
	guest_expect(NO_TRAP, guest_catch(".byte 0x0f, 0x21, 0xe0", ARGS(, "+a"(v))));	/* mov %dr4, %rax */
	guest_expect(1, v & 0xf);
	write_cr4(read_cr4() | CR4_DE);
	guest_expect(UD_VECTOR, guest_catch(".byte 0x0f, 0x21, 0xe0", ARGS(, "+a"(v))));
)

/* ---- XSETBV ---- */

#define CATCH_XSETBV(index, v) guest_catch("xsetbv", , "c"(index), "a"((uint32_t)(v)), "d"((uint32_t)((v) >> 32)))

RULE_IF(xsetbv_needs_osxsave, 1, 2, 26,
	guest_expect(UD_VECTOR, CATCH_XSETBV(0, 3UL));
)

RULE_IF(xsetbv_takes_what_the_cpu_has_and_refuses_the_rest, 1, 2, 26,
	uint32_t r[4];
	write_cr4(read_cr4() | CR4_OSXSAVE);
	cpuid(0xd, 0, r);
	uint64_t all = r[0] | (uint64_t)r[3] << 32;
	uint32_t lo;
	guest_expect(NO_TRAP, CATCH_XSETBV(0, 1UL));
	guest_expect(NO_TRAP, CATCH_XSETBV(0, 3UL));
	asm volatile("xgetbv" : "=a"(lo) : "c"(0) : "rdx");
	guest_expect(3, lo);
	guest_expect(NO_TRAP, CATCH_XSETBV(0, all));
	guest_expect(GP_VECTOR, CATCH_XSETBV(0, 2UL));		/* x87 is not optional */
	guest_expect(GP_VECTOR, CATCH_XSETBV(0, 5UL));		/* AVX without SSE */
	guest_expect(GP_VECTOR, CATCH_XSETBV(0, 1UL << 62 | 3));
	guest_expect(GP_VECTOR, CATCH_XSETBV(1, 3UL));
	guest_expect(GP_VECTOR, CATCH_XSETBV(7, 3UL));
)

RULE_NOT_TCG(a_refused_xsetbv_changes_nothing, "does not intercept XSETBV, so that KVM restores an older XCR0",
	uint32_t lo;
	write_cr4(read_cr4() | CR4_OSXSAVE);
	guest_expect(NO_TRAP, CATCH_XSETBV(0, 3UL));
	guest_expect(GP_VECTOR, CATCH_XSETBV(0, 2UL));
	asm volatile("xgetbv" : "=a"(lo) : "c"(0) : "rdx");
	guest_expect(3, lo);
)

/* ---- XSAVES ---- */

#define MSR_XSS		0xda0
#define XSAVE_AREA	0x400000UL
#define NO_XSAVES	"the guest's CPUID has no 0xd.1 EAX bit 3 (XSAVES)"

static bool device_has_xsaves(void)
{
	int fd = device_open();
	struct kvm_cpuid2 *cpuids = supported_cpuid(fd);
	struct kvm_cpuid_entry2 *e = cpuid_find(cpuids, 0xd, 1);
	bool has = e && e->eax >> 3 & 1;

	free(cpuids);
	close(fd);
	return has;
}

RULE_WHERE(xss_takes_what_cpuid_offers_and_refuses_the_rest, device_has_xsaves(), NO_XSAVES,
	uint32_t r[4];
	uint64_t v;
	guest_expect(NO_TRAP, catch_rdmsr(MSR_XSS, &v));
	guest_expect(0, v);
	guest_expect(NO_TRAP, catch_wrmsr(MSR_XSS, 0));
	cpuid(0xd, 1, r);
	for (int i = 0; i < 64; i++)
		if (i >= 32 || !(r[2] >> i & 1))
			guest_expect(GP_VECTOR, catch_wrmsr(MSR_XSS, 1UL << i));
	guest_expect(0, rdmsr(MSR_XSS));
)

RULE_WHERE(xsaves_and_xrstors_keep_registers, device_has_xsaves(), NO_XSAVES,
	volatile uint64_t *area = (volatile uint64_t *)XSAVE_AREA;
	uint64_t v = 0x123456789abcdef0;
	write_cr4(read_cr4() | CR4_OSXSAVE);
	guest_expect(NO_TRAP, CATCH_XSETBV(0, 3UL));
	guest_expect(NO_TRAP, catch_wrmsr(MSR_XSS, 0));
	asm volatile("movq %0, %%xmm0" : : "r"(v));
	guest_expect(NO_TRAP, guest_catch("xsaves (%%rdi)", , "D"(area), "a"(3UL), "d"(0UL)));
	guest_expect(v, area[160 / 8]);				/* XMM0 */
	guest_expect(2, area[512 / 8] & 2);			/* XSTATE_BV: SSE */
	guest_expect(1UL << 63 | 3, area[520 / 8]);		/* XCOMP_BV: compacted */
	asm volatile("pxor %xmm0, %xmm0");
	guest_expect(NO_TRAP, guest_catch("xrstors (%%rdi)", , "D"(area), "a"(3UL), "d"(0UL)));
	asm volatile("movq %%xmm0, %0" : "=r"(v));
	guest_expect(0x123456789abcdef0, v);
	area[520 / 8] = 0;					/* of XSAVE's form */
	guest_expect(GP_VECTOR, guest_catch("xrstors (%%rdi)", , "D"(area), "a"(3UL), "d"(0UL)));
)

static __guest void tries_each_bit_of_xss(void)
{
	for (int i = 0; i < 64; i++)
		catch_wrmsr(MSR_XSS, 1UL << i);
	guest_done();
}

/* IA32_XSS of the CPU this thread is on. */
static bool host_xss(uint64_t *value)
{
	int fd = open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC);
	bool read = pread(fd, value, sizeof(*value), MSR_XSS) == sizeof(*value);

	close(fd);
	return read;
}

TEST(the_hosts_xss_stays_as_it_is)
{
	uint64_t before, after = ~0UL;
	cpu_set_t cpu0;
	uint32_t r[4];

	if (!device_has_xsaves())
		SKIP(return, NO_XSAVES);
	cpuid(0xd, 1, r);
	if (!r[2] && !r[3])
		SKIP(return, "this CPU has no bit of IA32_XSS that anybody could change");
	CPU_ZERO(&cpu0);
	CPU_SET(0, &cpu0);
	if (sched_setaffinity(0, sizeof(cpu0), &cpu0))
		SKIP(return, "this process may not use CPU 0, whose register is read");
	if (access("/dev/cpu/0/msr", R_OK) && system("modprobe msr 2>/dev/null"))
		SKIP(return, "no /dev/cpu/0/msr: load the module msr, and be root");
	ASSERT_TRUE(host_xss(&before));
	ASSERT_DONE(vm_create_one(VM_IRQCHIP, tries_each_bit_of_xss));
	ASSERT_TRUE(host_xss(&after));
	EXPECT_EQ(before, after);
}

/* ---- The rest ---- */

RULE(wbinvd_and_invd_are_harmless,
	volatile uint64_t *a = (volatile uint64_t *)0x400000;
	*a = 0x1234;
	guest_expect(NO_TRAP, guest_catch("wbinvd", ));
	guest_expect(NO_TRAP, guest_catch("invd", ));
	guest_expect(0x1234, *a);
)

RULE(a_long_pause_loop_goes_on,
	for (int i = 0; i < 200000; i++)
		pause_cpu();
)

RULE(rdtsc_never_goes_back,
	uint32_t r[4];
	uint64_t last = rdtsc();
	for (int i = 0; i < 2000; i++) {
		uint64_t now = rdtsc();
		guest_assert(now >= last);
		last = now;
		if (i % 100 == 0)
			cpuid(0, 0, r);
	}
)

RULE(virtualization_instructions_do_not_exist,
	uint64_t area = 0x400000;
	*(volatile uint64_t *)area = area;
	guest_expect(UD_VECTOR, guest_catch("vmxon (%%rax)", , "a"(area)));
	guest_expect(UD_VECTOR, guest_catch("vmptrld (%%rax)", , "a"(area)));
	guest_expect(UD_VECTOR, guest_catch("vmclear (%%rax)", , "a"(area)));
	guest_expect(UD_VECTOR, guest_catch("vmlaunch", ));
	guest_expect(UD_VECTOR, guest_catch("vmresume", ));
	guest_expect(UD_VECTOR, guest_catch("vmxoff", ));
	guest_expect(UD_VECTOR, guest_catch("vmrun", , "a"(area)));
)

RULE(rsm_outside_system_management_mode_does_not_exist,
	guest_expect(UD_VECTOR, guest_catch("rsm", ));
)

RULE_IF(invpcid_flushes_and_refuses_unknown_types, 7, 1, 10,
	uint64_t descriptor[2];
	descriptor[0] = descriptor[1] = 0;
	guest_expect(NO_TRAP, guest_catch("invpcid (%%rax), %%rcx", , "a"(descriptor), "c"(2UL)));
	guest_expect(GP_VECTOR, guest_catch("invpcid (%%rax), %%rcx", , "a"(descriptor), "c"(4UL)));
)

RULE(descriptor_table_registers_are_the_guests,
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) d;
	asm volatile("sgdt %0" : "=m"(d));
	guest_expect(0x7000, d.base);
	guest_expect(0x3f, d.limit);
	asm volatile("sidt %0" : "=m"(d));
	guest_expect(0x8000, d.base);
	uint16_t tr;
	asm volatile("str %0" : "=r"(tr));
	guest_expect(0x20, tr);
)

TEST_HARNESS_MAIN
