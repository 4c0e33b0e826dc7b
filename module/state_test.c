// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: exceptions in a row, and loads of control, debug and extended control
 * registers that the CPU would refuse. The vCPU is no more than a struct: no
 * case gets as far as the backend.
 */
#include <kunit/test.h>
#include <linux/slab.h>
#include <asm/fpu/types.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "cpuid.h"
#include "kunit.h"
#include "state.h"
#include "vcpu.h"

static struct kiln_vcpu *new_vcpu(struct kunit *test)
{
	struct kiln_vcpu *vcpu;

	vcpu = kunit_kzalloc(test, sizeof(*vcpu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	vcpu->regs_avail = ~0U;
	vcpu->cr0 = X86_CR0_PE | X86_CR0_ET;
	vcpu->xcr0 = XFEATURE_MASK_FP;
	kiln_cpuid_create(vcpu);
	return vcpu;
}

static const u8 benign[] = { X86_TRAP_DB, X86_TRAP_BP, X86_TRAP_UD, X86_TRAP_NM,
			     X86_TRAP_AC, X86_TRAP_MC, X86_TRAP_XF };
static const u8 contributory[] = { X86_TRAP_DE, X86_TRAP_TS, X86_TRAP_NP,
				   X86_TRAP_SS, X86_TRAP_GP };

/* What @second makes of @first. Returns 255 for a shutdown. */
static int combine(struct kunit *test, u8 first, bool injected, u8 second)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->exception.vector = first;
	vcpu->exception.pending = !injected;
	vcpu->exception.injected = injected;
	kiln_queue_exception(vcpu, second, true, 0x18);
	if (vcpu->triple_fault) {
		KUNIT_EXPECT_FALSE(test, vcpu->exception.pending);
		KUNIT_EXPECT_TRUE(test, test_bit(KILN_REQ_SHUTDOWN,
						 &vcpu->requests));
		return 255;
	}
	KUNIT_EXPECT_TRUE(test, vcpu->exception.pending);
	KUNIT_EXPECT_FALSE(test, vcpu->exception.injected);
	KUNIT_EXPECT_EQ(test, vcpu->exception.vector == X86_TRAP_DF ? 0 : 0x18,
			vcpu->exception.error);
	return vcpu->exception.vector;
}

static void a_single_exception_is_pending(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	kiln_inject_gp(vcpu, 0x50);
	KUNIT_EXPECT_TRUE(test, vcpu->exception.pending);
	KUNIT_EXPECT_EQ(test, X86_TRAP_GP, vcpu->exception.vector);
	KUNIT_EXPECT_TRUE(test, vcpu->exception.has_error);
	KUNIT_EXPECT_EQ(test, 0x50, vcpu->exception.error);
	KUNIT_EXPECT_FALSE(test, vcpu->triple_fault);
}

static void real_mode_pushes_no_error_code(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->cr0 = X86_CR0_ET;
	kiln_inject_gp(vcpu, 0x50);
	KUNIT_EXPECT_TRUE(test, vcpu->exception.pending);
	KUNIT_EXPECT_FALSE(test, vcpu->exception.has_error);
}

static void faults_push_rf_and_traps_do_not(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	kiln_queue_exception(vcpu, X86_TRAP_BP, false, 0);
	KUNIT_EXPECT_FALSE(test, vcpu->regs[KILN_RFLAGS] & X86_EFLAGS_RF);
	kiln_inject_ud(vcpu);
	KUNIT_EXPECT_TRUE(test, vcpu->regs[KILN_RFLAGS] & X86_EFLAGS_RF);
}

static void a_page_fault_loads_cr2(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	kiln_inject_pf(vcpu, 6, 0xffff800000001234);
	KUNIT_EXPECT_EQ(test, X86_TRAP_PF, vcpu->exception.vector);
	KUNIT_EXPECT_EQ(test, 6, vcpu->exception.error);
	KUNIT_EXPECT_EQ(test, 0xffff800000001234, vcpu->cr2);
}

/* SDM vol. 3 table 6-5, pending and injected alike */
static void contributory_after_contributory_is_a_double_fault(struct kunit *test)
{
	int i, j;

	for (i = 0; i < ARRAY_SIZE(contributory); i++)
		for (j = 0; j < 2 * ARRAY_SIZE(contributory); j++)
			KUNIT_EXPECT_EQ(test, X86_TRAP_DF,
					combine(test, contributory[i], j & 1,
						contributory[j / 2]));
}

static void page_fault_after_contributory_is_serial(struct kunit *test)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(contributory); i++)
		KUNIT_EXPECT_EQ(test, X86_TRAP_PF,
				combine(test, contributory[i], true,
					X86_TRAP_PF));
}

static void after_a_page_fault_all_but_benign_double_fault(struct kunit *test)
{
	int i;

	KUNIT_EXPECT_EQ(test, X86_TRAP_DF,
			combine(test, X86_TRAP_PF, true, X86_TRAP_PF));
	for (i = 0; i < ARRAY_SIZE(contributory); i++)
		KUNIT_EXPECT_EQ(test, X86_TRAP_DF,
				combine(test, X86_TRAP_PF, true,
					contributory[i]));
	for (i = 0; i < ARRAY_SIZE(benign); i++)
		KUNIT_EXPECT_EQ(test, benign[i],
				combine(test, X86_TRAP_PF, true, benign[i]));
}

static void benign_first_is_serial(struct kunit *test)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(benign); i++) {
		KUNIT_EXPECT_EQ(test, X86_TRAP_GP,
				combine(test, benign[i], true, X86_TRAP_GP));
		KUNIT_EXPECT_EQ(test, X86_TRAP_PF,
				combine(test, benign[i], true, X86_TRAP_PF));
	}
}

static void a_fault_after_a_double_fault_is_a_shutdown(struct kunit *test)
{
	int i;

	KUNIT_EXPECT_EQ(test, 255,
			combine(test, X86_TRAP_DF, true, X86_TRAP_PF));
	KUNIT_EXPECT_EQ(test, 255,
			combine(test, X86_TRAP_DF, true, X86_TRAP_DF));
	for (i = 0; i < ARRAY_SIZE(contributory); i++)
		KUNIT_EXPECT_EQ(test, 255,
				combine(test, X86_TRAP_DF, true,
					contributory[i]));
	for (i = 0; i < ARRAY_SIZE(benign); i++)
		KUNIT_EXPECT_EQ(test, benign[i],
				combine(test, X86_TRAP_DF, true, benign[i]));
}

static void cr0_refuses_combinations_that_are_no_mode(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 cr0 = vcpu->cr0;

	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr0(vcpu, X86_CR0_PG));
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr0(vcpu, cr0 | X86_CR0_NW));
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr0(vcpu, cr0 | BIT_ULL(32)));
	KUNIT_EXPECT_EQ(test, cr0, vcpu->cr0);
}

static void paging_cannot_be_left_with_pcids_on(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->cr0 |= X86_CR0_PG;
	vcpu->cr4 = X86_CR4_PAE | X86_CR4_PCIDE;
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr0(vcpu, vcpu->cr0 & ~X86_CR0_PG));
}

static void cr3_is_as_wide_as_physical_addresses(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->maxphyaddr = 39;
	vcpu->efer = EFER_LME | EFER_LMA;
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr3(vcpu, BIT_ULL(39)));
	/* "Keep translations" is a reserved bit without PCIDs. */
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr3(vcpu, BIT_ULL(63)));
}

static void cr4_refuses_what_cpuid_has_not(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->cpuid.given = true;
	kiln_control_refresh(vcpu);
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr4(vcpu, X86_CR4_SMEP));
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr4(vcpu, X86_CR4_OSXSAVE));
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr4(vcpu, X86_CR4_VMXE));
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr4(vcpu, BIT_ULL(63)));
	KUNIT_EXPECT_EQ(test, 0, vcpu->cr4);
}

static void cr4_keeps_pae_in_long_mode(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->efer = EFER_LME | EFER_LMA;
	vcpu->cr4 = X86_CR4_PAE;
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr4(vcpu, 0));
}

static void pcids_need_long_mode_and_pcid_0(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->cr4_reserved &= ~X86_CR4_PCIDE;
	vcpu->cr4 = X86_CR4_PAE;
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr4(vcpu, vcpu->cr4 | X86_CR4_PCIDE));
	vcpu->efer = EFER_LME | EFER_LMA;
	vcpu->regs[KILN_CR3] = 0x1001;
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr4(vcpu, vcpu->cr4 | X86_CR4_PCIDE));
	KUNIT_EXPECT_EQ(test, X86_CR4_PAE, vcpu->cr4);
}

static void cr8_has_four_bits(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	KUNIT_EXPECT_EQ(test, 0, kiln_set_cr8(vcpu, 15));
	KUNIT_EXPECT_EQ(test, 1, kiln_set_cr8(vcpu, 16));
	KUNIT_EXPECT_EQ(test, 15, kiln_get_cr8(vcpu));
}

static void dr4_and_dr5_are_aliases_unless_cr4_de(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);
	u64 val;

	KUNIT_EXPECT_EQ(test, 0, kiln_set_dr(vcpu, 4, 0xf));
	KUNIT_EXPECT_EQ(test, 0, kiln_get_dr(vcpu, 6, &val));
	KUNIT_EXPECT_EQ(test, 0xffff0fff, val);
	vcpu->cr4 = X86_CR4_DE;
	KUNIT_EXPECT_EQ(test, KILN_DR_UD, kiln_get_dr(vcpu, 4, &val));
	KUNIT_EXPECT_EQ(test, KILN_DR_UD, kiln_set_dr(vcpu, 5, 0));
}

static void upper_halves_of_dr6_and_dr7_are_reserved(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	KUNIT_EXPECT_EQ(test, KILN_DR_GP, kiln_set_dr(vcpu, 6, BIT_ULL(32)));
	KUNIT_EXPECT_EQ(test, KILN_DR_GP, kiln_set_dr(vcpu, 7, BIT_ULL(63)));
	KUNIT_EXPECT_EQ(test, 0, kiln_set_dr(vcpu, 0, BIT_ULL(63)));
	KUNIT_EXPECT_EQ(test, BIT_ULL(63), vcpu->dr[0]);
}

/* SDM vol. 1 §13.3, on a CPU that has all of it */
static void xcr0_refuses_impossible_combinations(struct kunit *test)
{
	static const struct {
		u64 val;
		int result;
	} tries[] = {
		{ 0x00, 1 }, { 0x01, 0 }, { 0x02, 1 }, { 0x03, 0 },
		{ 0x04, 1 }, { 0x05, 1 }, { 0x06, 1 }, { 0x07, 0 },
		{ 0x27, 1 }, { 0x67, 1 }, { 0xe3, 1 }, { 0xe7, 0 },
		{ 0x0f, 1 }, { 0x207, 1 }, { BIT_ULL(63) | 7, 1 },
	};
	struct kiln_vcpu *vcpu = new_vcpu(test);
	int i;

	vcpu->guest_supported_xcr0 = 0xe7;
	for (i = 0; i < ARRAY_SIZE(tries); i++) {
		u64 before = vcpu->xcr0;
		int r = kiln_xcr_set(vcpu, 0, tries[i].val);

		KUNIT_EXPECT_EQ_MSG(test, tries[i].result, r, "%llx",
				    tries[i].val);
		KUNIT_EXPECT_EQ(test, r ? before : tries[i].val, vcpu->xcr0);
	}
	KUNIT_EXPECT_EQ(test, 1, kiln_xcr_set(vcpu, 1, 1));
}

static void xcr0_refuses_what_the_guests_cpuid_has_not(struct kunit *test)
{
	struct kiln_vcpu *vcpu = new_vcpu(test);

	vcpu->guest_supported_xcr0 = 0x3;
	KUNIT_EXPECT_EQ(test, 1, kiln_xcr_set(vcpu, 0, 0x7));
	KUNIT_EXPECT_EQ(test, 0, kiln_xcr_set(vcpu, 0, 0x3));
}

static struct kunit_case cases[] = {
	KUNIT_CASE(a_single_exception_is_pending),
	KUNIT_CASE(real_mode_pushes_no_error_code),
	KUNIT_CASE(faults_push_rf_and_traps_do_not),
	KUNIT_CASE(a_page_fault_loads_cr2),
	KUNIT_CASE(contributory_after_contributory_is_a_double_fault),
	KUNIT_CASE(page_fault_after_contributory_is_serial),
	KUNIT_CASE(after_a_page_fault_all_but_benign_double_fault),
	KUNIT_CASE(benign_first_is_serial),
	KUNIT_CASE(a_fault_after_a_double_fault_is_a_shutdown),
	KUNIT_CASE(cr0_refuses_combinations_that_are_no_mode),
	KUNIT_CASE(paging_cannot_be_left_with_pcids_on),
	KUNIT_CASE(cr3_is_as_wide_as_physical_addresses),
	KUNIT_CASE(cr4_refuses_what_cpuid_has_not),
	KUNIT_CASE(cr4_keeps_pae_in_long_mode),
	KUNIT_CASE(pcids_need_long_mode_and_pcid_0),
	KUNIT_CASE(cr8_has_four_bits),
	KUNIT_CASE(dr4_and_dr5_are_aliases_unless_cr4_de),
	KUNIT_CASE(upper_halves_of_dr6_and_dr7_are_reserved),
	KUNIT_CASE(xcr0_refuses_impossible_combinations),
	KUNIT_CASE(xcr0_refuses_what_the_guests_cpuid_has_not),
	{}
};

struct kunit_suite state_suite = {
	.name = "kiln-state",
	.test_cases = cases,
};
