// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers. msrs[] has a row per MSR or range, sorted, saying
 * what is read and what a write does; what is in no row is #GP, as on a CPU
 * that has no such MSR. Rows of which little is expected (power, RAPL and the
 * like) exist because guests read those MSRs without asking CPUID first; they
 * answer what KVM answers.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/kvm_para.h>
#include <linux/nospec.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <asm/apicdef.h>
#include <asm/cpufeature.h>
#include <asm/hyperv-tlfs.h>
#include <asm/mce.h>
#include <asm/msr-index.h>

#include "clock.h"
#include "compat.h"
#include "cpuid.h"
#include "hw.h"
#include "hyperv.h"
#include "irqchip/irqchip.h"
#include "msr.h"
#include "spec.h"
#include "state.h"
#include "vcpu.h"

/* As KVM: KVM_GET_MSRS and KVM_SET_MSRS take less than this. */
#define MAX_IO_MSRS		256

#define NO_FEATURE		U16_MAX

/* struct msr_row.flags */
#define LISTED			BIT(0)	/* in KVM_GET_MSR_INDEX_LIST */
#define GUEST_RO		BIT(1)	/* .set is for user space only */
#define STORED			BIT(2)	/* any value is taken, .offset keeps it */

/**
 * struct msr_row - one MSR or a range of them
 * @first: lowest number
 * @more: how many follow it
 * @flags: LISTED, GUEST_RO, STORED
 * @feature: X86_FEATURE_x without which the guest gets #GP, or NO_FEATURE
 * @offset: of a u64 in struct kiln_vcpu that holds the value, or 0
 * @value: what is read where there is neither @get nor @offset
 * @get: read; 0, or 1 for #GP
 * @set: write; 0, or 1 for #GP; NULL (but for STORED): every write is #GP
 */
struct msr_row {
	u32 first;
	u16 more;
	u16 flags;
	u16 feature;
	u16 offset;
	u64 value;
	int (*get)(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host);
	int (*set)(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host);
};

/* In the VMCS or VMCB, or switched by the backend. */
static int get_hw(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	return kiln_hw->get_msr(vcpu, index, val);
}

static int set_hw(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return kiln_hw->set_msr(vcpu, index, val);
}

/* SDM vol. 4: WRMSR of a linear address that is not canonical is #GP. */
static int set_hw_linear(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if ((u64)((s64)(val << 16) >> 16) != val)
		return 1;
	return kiln_hw->set_msr(vcpu, index, val);
}

/* Bits 63:32 are reserved: TSC_AUX, FMASK, SYSENTER_CS. */
static int set_hw_32bit(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return val >> 32 ? 1 : kiln_hw->set_msr(vcpu, index, val);
}

/* Write-only. */
static int get_none(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	return 1;
}

/* Writes that have no effect on a CPU without the thing they control. */
static int set_ignored(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return 0;
}

static int set_zero(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return !!val;
}

static int get_tsc(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	*val = kiln_guest_tsc(vcpu);
	return 0;
}

static int set_tsc(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	kiln_tsc_write(vcpu, val, host);
	return 0;
}

static int set_tsc_adjust(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	kiln_tsc_adjust_write(vcpu, val, host);
	return 0;
}

static int get_apic_base(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	*val = vcpu->lapic ? lapic_base(vcpu) : vcpu->apic_base;
	return 0;
}

static int set_apic_base(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return kiln_apic_base_set(vcpu, val, host);
}

static int get_deadline(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	*val = vcpu->lapic ? lapic_get_tscdeadline(vcpu) : 0;
	return 0;
}

static int set_deadline(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if (vcpu->lapic)
		lapic_set_tscdeadline(vcpu, val);
	return 0;
}

static int get_x2apic(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	return vcpu->lapic ? lapic_x2apic_read(vcpu, index, val) : 1;
}

static int set_x2apic(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return vcpu->lapic ? lapic_x2apic_write(vcpu, index, val) : 1;
}

/*
 * Firmware's switch for VMX: locked and off. User space is the firmware and
 * may unlock it, which gains a guest nothing.
 */
static int set_feature_control(struct kiln_vcpu *vcpu, u32 index, u64 val,
			       bool host)
{
	if (val & ~FEAT_CTL_LOCKED)
		return 1;
	if (!host && (vcpu->feature_control & FEAT_CTL_LOCKED))
		return 1;
	vcpu->feature_control = val;
	return 0;
}

/* SDM vol. 3 §9.11.7: a guest writes 0, executes CPUID and reads. */
static int set_bios_sign(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if (host)
		vcpu->bios_sign = val;
	return 0;
}

#define MISC_ENABLE_RO	(MSR_IA32_MISC_ENABLE_BTS_UNAVAIL | \
			 MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL)

static int set_misc_enable(struct kiln_vcpu *vcpu, u32 index, u64 val,
			   bool host)
{
	if (!host) {
		if ((val ^ vcpu->misc_enable) & MISC_ENABLE_RO)
			return 1;
		/* Read-only as well, but quietly (SDM vol. 4). */
		val &= ~MSR_IA32_MISC_ENABLE_EMON;
	}
	vcpu->misc_enable = val;
	return 0;
}

/*
 * No branch recording: bits that would switch it on are dropped, as KVM does
 * where it cannot virtualize them; what nobody defines is #GP.
 */
static int set_debugctl(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return !!(val & ~(u64)(DEBUGCTLMSR_LBR | DEBUGCTLMSR_BTF));
}

static int get_efer(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	*val = vcpu->efer;
	return 0;
}

static int set_efer(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return kiln_set_efer(vcpu, val, host);
}

/* Memory types, SDM vol. 3 table 11-2; UC- (7) is for the PAT only. */
static bool mtrr_type_valid(u8 type)
{
	return type < 8 && (BIT(type) & 0x73);
}

static bool types_valid(u64 val, u8 allowed)
{
	int i;

	for (i = 0; i < 8; i++, val >>= 8)
		if ((val & 0xff) > 7 || !(BIT(val & 7) & allowed))
			return false;
	return true;
}

static int set_pat(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if (!types_valid(val, 0xf3))
		return 1;
	vcpu->pat = val;
	return kiln_hw->set_msr(vcpu, index, val);
}

/*
 * MTRRs are kept for the guest to read back. They have no effect: second-stage
 * tables make RAM write-back and everything else uncached. The processor may
 * guess that an MSR is one of these: its number is masked where it is an index.
 */
#define NR_VAR_MTRRS		8
#define MTRR_VAR		0x200
#define MTRR_CAP		(NR_VAR_MTRRS | BIT(8) | BIT(10)) /* FIX, WC */

/* Fixed ranges: one of 64K, two of 16K, eight of 4K pieces. */
#define MTRR_64K		0x250
#define MTRR_16K		0x258
#define MTRR_4K			0x268
#define MTRR_CAPABILITY		0x0fe
#define MTRR_DEFAULT_TYPE	0x2ff

static u64 *mtrr_fixed(struct kiln_vcpu *vcpu, u32 index)
{
	u32 n = 0;

	if (index >= MTRR_4K)
		n = 3 + index - MTRR_4K;
	else if (index >= MTRR_16K)
		n = 1 + index - MTRR_16K;
	n = array_index_nospec(n, ARRAY_SIZE(vcpu->mtrr_fixed));
	return &vcpu->mtrr_fixed[n];
}

static u64 *mtrr_var(struct kiln_vcpu *vcpu, u32 index)
{
	BUILD_BUG_ON_NOT_POWER_OF_2(ARRAY_SIZE(vcpu->mtrr_var));
	BUILD_BUG_ON(MTRR_VAR % ARRAY_SIZE(vcpu->mtrr_var));
	/* which masks it, too */
	return &vcpu->mtrr_var[index % ARRAY_SIZE(vcpu->mtrr_var)];
}

static int get_mtrr_fixed(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	*val = *mtrr_fixed(vcpu, index);
	return 0;
}

static int set_mtrr_fixed(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if (!types_valid(val, 0x73))
		return 1;
	*mtrr_fixed(vcpu, index) = val;
	return 0;
}

static int get_mtrr_var(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	*val = *mtrr_var(vcpu, index);
	return 0;
}

static int set_mtrr_var(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	bool mask = index & 1;

	if (val >> vcpu->maxphyaddr)
		return 1;
	/* Mask: V is bit 11. Base: the type is in bits 7:0. */
	if (mask ? val & 0x7ff : val & 0xf00 || !mtrr_type_valid(val))
		return 1;
	*mtrr_var(vcpu, index) = val;
	return 0;
}

static int set_mtrr_def(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if ((val & ~0xcffULL) || !mtrr_type_valid(val))
		return 1;
	vcpu->mtrr_def = val;
	return 0;
}

/* Machine check: banks without errors, SDM vol. 3 chapter 15. */
static int get_mcg_ctl(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	if (!(vcpu->mcg_cap & MCG_CTL_P) && !host)
		return 1;
	*val = vcpu->mcg_ctl;
	return 0;
}

static int set_mcg_ctl(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if (!(vcpu->mcg_cap & MCG_CTL_P) && (val || !host))
		return 1;
	if (val && val != ~0ULL)
		return 1;
	vcpu->mcg_ctl = val;
	return 0;
}

enum { MCI_CTL, MCI_STATUS, MCI_ADDR, MCI_MISC };

static u64 *mci(struct kiln_vcpu *vcpu, u32 index)
{
	u32 n = array_index_nospec(index - MSR_IA32_MC0_CTL,
				   4 * KILN_MCE_BANKS);

	return &vcpu->mce_banks[n];
}

static int get_mci(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	*val = *mci(vcpu, index);
	return 0;
}

/*
 * MCi_CTL takes 0 or all ones, MCi_STATUS a guest's 0 only. Linux clears bit 10
 * of a bank's MCi_CTL, other systems bit 0: those count as ones.
 */
static int set_mci(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	switch ((index - MSR_IA32_MC0_CTL) % 4) {
	case MCI_CTL:
		if (val && (val | BIT(10) | BIT(0)) != ~0ULL)
			return 1;
		break;
	case MCI_STATUS:
		if (val && !host)
			return 1;
		break;
	}
	*mci(vcpu, index) = val;
	return 0;
}

static int set_xss(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return !!val;	/* no supervisor component is offered */
}

static int set_wall_clock(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return kiln_wall_clock_write(vcpu, val);
}

static int get_wall_clock(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	*val = kiln_wall_clock_msr(vcpu);
	return 0;
}

static int set_system_time(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return kiln_system_time_write(vcpu, val);
}

static int set_steal_time(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	return kiln_steal_write(vcpu, val);
}

#define AT(field)	.offset = offsetof(struct kiln_vcpu, field)
#define RANGE(msr, nr)	.first = (msr), .more = (nr) - 1, .feature = NO_FEATURE
#define ONE(msr)	RANGE(msr, 1)
#define NEEDS(msr, name) .first = (msr), .feature = X86_FEATURE_##name

static const struct msr_row msrs[] = {
	{ RANGE(MSR_IA32_P5_MC_ADDR, 2) },
	{ ONE(MSR_IA32_TSC), .flags = LISTED, .get = get_tsc, .set = set_tsc },
	{ ONE(MSR_KVM_WALL_CLOCK), .flags = LISTED,
	  .get = get_wall_clock, .set = set_wall_clock },
	{ ONE(MSR_KVM_SYSTEM_TIME), .flags = LISTED,
	  AT(clock.system_time_msr), .set = set_system_time },
	{ ONE(MSR_IA32_PLATFORM_ID) },
	{ ONE(MSR_IA32_APICBASE), .get = get_apic_base, .set = set_apic_base },
	{ ONE(MSR_IA32_EBL_CR_POWERON) },
	{ ONE(MSR_SMI_COUNT) },
	{ ONE(MSR_IA32_FEAT_CTL), .flags = LISTED,
	  AT(feature_control), .set = set_feature_control },
	{ NEEDS(MSR_IA32_TSC_ADJUST, TSC_ADJUST), .flags = LISTED,
	  AT(clock.tsc_adjust), .set = set_tsc_adjust },
	{ ONE(MSR_IA32_SPEC_CTRL), .flags = LISTED,
	  .get = kiln_spec_ctrl_get, .set = kiln_spec_ctrl_set },
	{ ONE(MSR_IA32_PRED_CMD), .get = get_none, .set = kiln_pred_cmd_set },
	{ ONE(MSR_IA32_UCODE_WRITE), .get = get_none, .set = set_ignored },
	{ ONE(MSR_IA32_UCODE_REV), .flags = LISTED,
	  AT(bios_sign), .set = set_bios_sign },
	{ RANGE(MSR_P6_PERFCTR0, 2), .set = set_ignored },
	{ ONE(MSR_FSB_FREQ), .value = 3 },
	{ ONE(MSR_PLATFORM_INFO), .flags = GUEST_RO, .set = set_zero },
	{ ONE(MTRR_CAPABILITY), .value = MTRR_CAP },
	{ ONE(MSR_IA32_BBL_CR_CTL3), .value = 0xbe702111, .set = set_ignored },
	{ ONE(MSR_IA32_SYSENTER_CS), .flags = LISTED,
	  .get = get_hw, .set = set_hw_32bit },
	{ ONE(MSR_IA32_SYSENTER_ESP), .flags = LISTED,
	  .get = get_hw, .set = set_hw_linear },
	{ ONE(MSR_IA32_SYSENTER_EIP), .flags = LISTED,
	  .get = get_hw, .set = set_hw_linear },
	{ ONE(MSR_IA32_MCG_CAP), AT(mcg_cap) },
	{ ONE(MSR_IA32_MCG_STATUS), .flags = LISTED | STORED,
	  AT(mcg_status) },
	{ ONE(MSR_IA32_MCG_CTL), .flags = LISTED,
	  .get = get_mcg_ctl, .set = set_mcg_ctl },
	{ RANGE(MSR_P6_EVNTSEL0, 2), .set = set_ignored },
	{ ONE(MSR_IA32_PERF_STATUS), .value = 1000 | 4ULL << 40 },
	{ ONE(MSR_IA32_MISC_ENABLE), .flags = LISTED,
	  AT(misc_enable), .set = set_misc_enable },
	{ ONE(MSR_IA32_DEBUGCTLMSR), .set = set_debugctl },
	{ RANGE(MSR_IA32_LASTBRANCHFROMIP, 4) },
	{ ONE(MSR_IA32_POWER_CTL), .flags = LISTED | STORED,
	  AT(power_ctl) },
	{ RANGE(MTRR_VAR, 2 * NR_VAR_MTRRS), .flags = LISTED,
	  .get = get_mtrr_var, .set = set_mtrr_var },
	{ ONE(MTRR_64K), .flags = LISTED,
	  .get = get_mtrr_fixed, .set = set_mtrr_fixed },
	{ RANGE(MTRR_16K, 2), .flags = LISTED,
	  .get = get_mtrr_fixed, .set = set_mtrr_fixed },
	{ RANGE(MTRR_4K, 8), .flags = LISTED,
	  .get = get_mtrr_fixed, .set = set_mtrr_fixed },
	{ ONE(MSR_IA32_CR_PAT), .flags = LISTED,
	  .get = get_hw, .set = set_pat },
	{ ONE(MTRR_DEFAULT_TYPE), .flags = LISTED,
	  AT(mtrr_def), .set = set_mtrr_def },
	{ RANGE(MSR_IA32_MC0_CTL, 4 * KILN_MCE_BANKS),
	  .get = get_mci, .set = set_mci },
	{ ONE(MSR_RAPL_POWER_UNIT) },
	{ ONE(MSR_PKG_ENERGY_STATUS) },
	{ ONE(MSR_DRAM_ENERGY_STATUS) },
	{ ONE(MSR_PP0_ENERGY_STATUS) },
	{ ONE(MSR_PP1_ENERGY_STATUS) },
	{ NEEDS(MSR_IA32_TSC_DEADLINE, TSC_DEADLINE_TIMER), .flags = LISTED,
	  .get = get_deadline, .set = set_deadline },
	{ RANGE(APIC_BASE_MSR, 0x100), .get = get_x2apic, .set = set_x2apic },
	{ NEEDS(MSR_IA32_XSS, XSAVES), .flags = LISTED, .set = set_xss },
	{ ONE(HV_X64_MSR_RESET), .flags = LISTED,
	  .get = kiln_hv_reset_get, .set = kiln_hv_reset_set },
	{ RANGE(HV_X64_MSR_CRASH_P0, 5), .flags = LISTED,
	  .get = kiln_hv_crash_get, .set = kiln_hv_crash_set },
	{ ONE(HV_X64_MSR_CRASH_CTL), .flags = LISTED,
	  .get = kiln_hv_crash_ctl_get, .set = kiln_hv_crash_ctl_set },
	{ ONE(MSR_KVM_WALL_CLOCK_NEW), .flags = LISTED,
	  .get = get_wall_clock, .set = set_wall_clock },
	{ ONE(MSR_KVM_SYSTEM_TIME_NEW), .flags = LISTED,
	  AT(clock.system_time_msr), .set = set_system_time },
	{ ONE(MSR_KVM_STEAL_TIME), .flags = LISTED,
	  AT(clock.steal_msr), .set = set_steal_time },
	{ ONE(MSR_EFER), .get = get_efer, .set = set_efer },
	{ ONE(MSR_STAR), .flags = LISTED, .get = get_hw, .set = set_hw },
	{ NEEDS(MSR_LSTAR, LM), .flags = LISTED,
	  .get = get_hw, .set = set_hw_linear },
	{ NEEDS(MSR_CSTAR, LM), .flags = LISTED,
	  .get = get_hw, .set = set_hw_linear },
	{ NEEDS(MSR_SYSCALL_MASK, LM), .flags = LISTED,
	  .get = get_hw, .set = set_hw_32bit },
	{ NEEDS(MSR_FS_BASE, LM), .get = get_hw, .set = set_hw_linear },
	{ NEEDS(MSR_GS_BASE, LM), .get = get_hw, .set = set_hw_linear },
	{ NEEDS(MSR_KERNEL_GS_BASE, LM), .flags = LISTED,
	  .get = get_hw, .set = set_hw_linear },
	{ NEEDS(MSR_TSC_AUX, RDTSCP), .flags = LISTED,
	  .get = get_hw, .set = set_hw_32bit },
	/* How AMD's caches, northbridge and interrupt messages are set up. */
	{ ONE(MSR_AMD64_SYSCFG), .set = set_zero },
	{ ONE(MSR_K7_HWCR), .set = set_ignored },
	{ ONE(MSR_AMD64_NB_CFG), .set = set_ignored },
	{ ONE(MSR_K8_INT_PENDING_MSG) },
	{ ONE(MSR_AMD64_VIRT_SPEC_CTRL),
	  .get = kiln_virt_spec_ctrl_get, .set = kiln_virt_spec_ctrl_set },
};

static_assert(ARRAY_SIZE(msrs) <= U8_MAX);

static u64 *row_store(struct kiln_vcpu *vcpu, const struct msr_row *row)
{
	return (void *)vcpu + row->offset;
}

/* Guests tend to use one MSR many times: try the last one first. */
static const struct msr_row *msr_find(struct kiln_vcpu *vcpu, u32 index)
{
	const struct msr_row *row = &msrs[vcpu->msr_last];
	unsigned int low = 0, high = ARRAY_SIZE(msrs);

	if (likely(index - row->first <= row->more))
		return row;
	while (low < high) {
		unsigned int mid = (low + high) / 2;

		row = &msrs[mid];
		if (index < row->first) {
			high = mid;
		} else if (index - row->first > row->more) {
			low = mid + 1;
		} else {
			vcpu->msr_last = mid;
			return row;
		}
	}
	return NULL;
}

static bool row_hidden(struct kiln_vcpu *vcpu, const struct msr_row *row,
		       bool host)
{
	if (row->feature == NO_FEATURE)
		return false;
	return host ? !kiln_cpu_offers(row->feature) :
		      !kiln_guest_has(vcpu, row->feature);
}

int kiln_msr_get(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	const struct msr_row *row = msr_find(vcpu, index);

	if (unlikely(!row || row_hidden(vcpu, row, host)))
		return 1;
	if (row->get)
		return row->get(vcpu, index, val, host);
	*val = row->offset ? *row_store(vcpu, row) : row->value;
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_msr_get);

int kiln_msr_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	const struct msr_row *row = msr_find(vcpu, index);

	if (unlikely(!row || row_hidden(vcpu, row, host)))
		return 1;
	if (!host && (row->flags & GUEST_RO))
		return 1;
	if (row->set)
		return row->set(vcpu, index, val, host);
	if (!(row->flags & STORED))
		return 1;
	*row_store(vcpu, row) = val;
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_msr_set);

int kiln_msrs_io(struct kiln_vcpu *vcpu, struct kvm_msrs __user *user, bool set)
{
	struct kvm_msr_entry *entries;
	struct kvm_msrs header;
	u32 i;
	int ret;

	if (copy_from_user(&header, user, sizeof(header)))
		return -EFAULT;
	if (header.nmsrs >= MAX_IO_MSRS)
		return -E2BIG;
	entries = memdup_user(user->entries, header.nmsrs * sizeof(*entries));
	if (IS_ERR(entries))
		return PTR_ERR(entries);

	for (i = 0; i < header.nmsrs; i++) {
		struct kvm_msr_entry *e = &entries[i];
		u64 val = 0;

		if (set ? kiln_msr_set(vcpu, e->index, e->data, true) :
			  kiln_msr_get(vcpu, e->index, &val, true))
			break;
		if (!set)
			e->data = val;
	}
	ret = i;
	if (!set && copy_to_user(user->entries, entries, i * sizeof(*entries)))
		ret = -EFAULT;
	kfree(entries);
	return ret;
}

static bool row_listed(const struct msr_row *row)
{
	return (row->flags & LISTED) &&
	       (row->feature == NO_FEATURE || kiln_cpu_offers(row->feature)) &&
	       (row->first != MSR_KVM_STEAL_TIME || sched_info_on());
}

/* Counts, and writes down what there is room for. */
static u32 index_list(u32 *indices, u32 room)
{
	const struct msr_row *row;
	u32 n = 0, i;

	for (row = msrs; row < msrs + ARRAY_SIZE(msrs); row++) {
		if (!row_listed(row))
			continue;
		for (i = 0; i <= row->more; i++, n++)
			if (n < room)
				indices[n] = row->first + i;
	}
	return n;
}

int kiln_msr_index_list(struct kvm_msr_list __user *user)
{
	u32 room, nmsrs = index_list(NULL, 0);
	u32 *indices;
	int ret = 0;

	if (get_user(room, &user->nmsrs) || put_user(nmsrs, &user->nmsrs))
		return -EFAULT;
	if (room < nmsrs)
		return -E2BIG;
	indices = kcalloc(nmsrs, sizeof(*indices), GFP_KERNEL_ACCOUNT);
	if (!indices)
		return -ENOMEM;
	index_list(indices, nmsrs);
	if (copy_to_user(user->indices, indices, nmsrs * sizeof(*indices)))
		ret = -EFAULT;
	kfree(indices);
	return ret;
}

bool kiln_msr_table_sorted(void)
{
	int i;

	for (i = 1; i < ARRAY_SIZE(msrs); i++)
		if (msrs[i].first <= msrs[i - 1].first + msrs[i - 1].more)
			return false;
	return true;
}

KILN_EXPORT_FOR_KUNIT(kiln_msr_table_sorted);

/* The value after RESET, SDM vol. 3 §11.12.4: WB, WT, UC-, UC, twice. */
#define PAT_RESET	0x0007040600070406ULL

int kiln_msr_create(struct kiln_vcpu *vcpu)
{
	vcpu->mce_banks = kcalloc(4 * KILN_MCE_BANKS, sizeof(u64),
				  GFP_KERNEL_ACCOUNT);
	if (!vcpu->mce_banks)
		return -ENOMEM;
	vcpu->mcg_cap = KILN_MCE_BANKS;
	vcpu->pat = PAT_RESET;
	/* Linux takes REP MOVSB to be slow where this is not set. */
	vcpu->misc_enable = MSR_IA32_MISC_ENABLE_FAST_STRING | MISC_ENABLE_RO;
	vcpu->feature_control = FEAT_CTL_LOCKED;
	vcpu->bios_sign = 1ULL << 32;	/* some revision, in bits 63:32 */
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_msr_create);

void kiln_msr_free(struct kiln_vcpu *vcpu)
{
	kfree(vcpu->mce_banks);
	vcpu->mce_banks = NULL;
}

KILN_EXPORT_FOR_KUNIT(kiln_msr_free);
