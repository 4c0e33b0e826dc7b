// SPDX-License-Identifier: GPL-2.0-only
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/processor.h>

#include "hw.h"
#include "spec.h"
#include "spec_offsets.h"

DEFINE_STATIC_KEY_FALSE(kiln_l1d_flush);
DEFINE_STATIC_KEY_FALSE(kiln_l1d_flush_always);

/* The vCPU each CPU ran last, by a number that is not used again. */
static DEFINE_PER_CPU(u64, last_run);
static atomic64_t next_number;

/* Twice the size of an L1 data cache, for CPUs that cannot flush it. */
#define L1D_PAGES_ORDER	4
static void *l1d_pages;

static_assert(offsetof(struct kiln_vcpu, spec_ctrl) == SPEC_GUEST);
static_assert(offsetof(struct kiln_vcpu, host_spec_ctrl) == SPEC_HOST);
static_assert(offsetof(struct kiln_vcpu, spec_ctrl_live) == SPEC_LIVE);

/* SDM vol. 4 IA32_ARCH_CAPABILITIES bit 3 */
static bool __init needs_l1d_flush(void)
{
	u64 caps = 0;

	if (!boot_cpu_has_bug(X86_BUG_L1TF) ||
	    l1tf_mitigation == L1TF_MITIGATION_OFF)
		return false;
	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
		rdmsrl(MSR_IA32_ARCH_CAPABILITIES, caps);
	return !(caps & ARCH_CAP_SKIP_VMENTRY_L1DFLUSH);
}

static int __init l1d_init(void)
{
	if (!needs_l1d_flush())
		return 0;
	if (!boot_cpu_has(X86_FEATURE_FLUSH_L1D)) {
		l1d_pages = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
						     L1D_PAGES_ORDER);
		if (!l1d_pages)
			return -ENOMEM;
	}
	static_branch_enable(&kiln_l1d_flush);
	if (l1tf_mitigation == L1TF_MITIGATION_FULL ||
	    l1tf_mitigation == L1TF_MITIGATION_FULL_FORCE)
		static_branch_enable(&kiln_l1d_flush_always);
	return 0;
}

static bool __init small_exec(void)
{
	struct kiln_pt_format fmt;

	kiln_hw->pt_format(&fmt);
	return fmt.small_exec;
}

/* What is in effect, by the keys and features that the code itself goes by. */
static void __init log_selected(void)
{
	const u32 spec = kiln_hw->spec;
	const bool l1d_always = static_key_enabled(&kiln_l1d_flush_always);
	const u64 host = this_cpu_read(x86_spec_ctrl_current);
	const struct {
		const char *what;
		bool selected;
	} parts[] = {
		{ "L1D flush at entry",
		  static_key_enabled(&kiln_l1d_flush) && !l1d_always },
		{ "L1D flush at each entry", l1d_always },
		{ "buffers cleared at entry", spec & KILN_SPEC_BUFFERS },
		{ "buffers cleared for guests with devices",
		  spec & KILN_SPEC_BUFFERS_DEVICES },
		{ "RSB filled at exit", boot_cpu_has(X86_FEATURE_RSB_VMEXIT) },
		{ "one return filled at exit",
		  boot_cpu_has(X86_FEATURE_RSB_VMEXIT_LITE) },
		{ "returns untrained at exit", spec & KILN_SPEC_UNTRAIN },
		{ "branch history cleared at exit", spec & KILN_SPEC_BHB },
		{ "IBPB at exit", spec & KILN_SPEC_IBPB_EXIT },
		{ "IBRS", boot_cpu_has(X86_FEATURE_KERNEL_IBRS) ||
			  host & SPEC_CTRL_IBRS },
		{ "IBPB between guests", boot_cpu_has(X86_FEATURE_USE_IBPB) },
		{ "IBPB before user mode", kiln_has_ibpb_exit_to_user() },
		{ "branch prediction reduced", spec & KILN_SPEC_BP_REDUCE },
		{ "small executable pages", small_exec() },
	};
	char text[352];
	int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].selected)
			n += scnprintf(text + n, sizeof(text) - n, "%s%s",
				       n ? ", " : "", parts[i].what);
	pr_info("mitigations: %s\n", n ? text : "none");
}

int __init kiln_spec_init(void)
{
	int r = l1d_init();

	if (!r)
		log_selected();
	return r;
}

void kiln_spec_exit(void)
{
	if (static_key_enabled(&kiln_l1d_flush))
		static_branch_disable(&kiln_l1d_flush);
	if (static_key_enabled(&kiln_l1d_flush_always))
		static_branch_disable(&kiln_l1d_flush_always);
	free_pages((unsigned long)l1d_pages, L1D_PAGES_ORDER);
	l1d_pages = NULL;
}

/*
 * What the cache holds of the host a guest could read through its own page
 * tables (L1TF). Reading a range twice its size displaces all of it: the TLB
 * first, so that the second pass is in order.
 */
void kiln_spec_flush_l1d(void)
{
	const unsigned int size = PAGE_SIZE << L1D_PAGES_ORDER;
	const u8 *p = l1d_pages;
	unsigned int i;

	if (!p) {
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
		return;
	}
	for (i = 0; i < size; i += PAGE_SIZE)
		READ_ONCE(p[i]);
	/* No line is fetched before each page is translated. */
	asm volatile("lfence" : : : "memory");
	for (i = 0; i < size; i += L1_CACHE_BYTES)
		READ_ONCE(p[i]);
	asm volatile("lfence" : : : "memory");
}

/**
 * kiln_spec_comes() - note who runs on a CPU
 * @vcpu: the vCPU that comes to it
 * @last: number of the one that ran there last; updated
 *
 * Return: true if that was another one.
 */
bool kiln_spec_comes(struct kiln_vcpu *vcpu, u64 *last)
{
	if (!vcpu->number)
		vcpu->number = atomic64_inc_return(&next_number);
	if (likely(*last == vcpu->number))
		return false;
	*last = vcpu->number;
	return true;
}

KILN_EXPORT_FOR_KUNIT(kiln_spec_comes);

void kiln_spec_load(struct kiln_vcpu *vcpu)
{
	if (kiln_spec_comes(vcpu, this_cpu_ptr(&last_run)))
		indirect_branch_prediction_barrier();
}

static bool guest_has_spec_ctrl(struct kiln_vcpu *vcpu)
{
	return kiln_guest_has(vcpu, X86_FEATURE_SPEC_CTRL) ||
	       kiln_guest_has(vcpu, X86_FEATURE_INTEL_STIBP) ||
	       kiln_guest_has(vcpu, X86_FEATURE_SPEC_CTRL_SSBD) ||
	       kiln_guest_has(vcpu, X86_FEATURE_AMD_IBRS) ||
	       kiln_guest_has(vcpu, X86_FEATURE_AMD_STIBP) ||
	       kiln_guest_has(vcpu, X86_FEATURE_AMD_SSBD);
}

bool kiln_guest_has_pred_cmd(struct kiln_vcpu *vcpu)
{
	return kiln_guest_has(vcpu, X86_FEATURE_SPEC_CTRL) ||
	       kiln_guest_has(vcpu, X86_FEATURE_AMD_IBPB);
}

bool kiln_host_has_virt_ssbd(void)
{
	return boot_cpu_has(X86_FEATURE_LS_CFG_SSBD) ||
	       boot_cpu_has(X86_FEATURE_VIRT_SSBD);
}

/* What the processor takes; bits of features it has not are reserved. */
static u64 spec_ctrl_bits(void)
{
	u64 bits = 0;

	/* Where IBRS is, STIBP may be set. */
	if (boot_cpu_has(X86_FEATURE_SPEC_CTRL) ||
	    boot_cpu_has(X86_FEATURE_AMD_IBRS))
		bits |= SPEC_CTRL_IBRS | SPEC_CTRL_STIBP;
	if (boot_cpu_has(X86_FEATURE_INTEL_STIBP) ||
	    boot_cpu_has(X86_FEATURE_AMD_STIBP))
		bits |= SPEC_CTRL_STIBP;
	if (boot_cpu_has(X86_FEATURE_SPEC_CTRL_SSBD) ||
	    boot_cpu_has(X86_FEATURE_AMD_SSBD))
		bits |= SPEC_CTRL_SSBD;
	return bits;
}

int kiln_spec_ctrl_get(struct kiln_vcpu *vcpu, u32 index, u64 *val, bool host)
{
	if (!host && !guest_has_spec_ctrl(vcpu))
		return 1;
	if (kiln_hw->has_spec_ctrl)
		return kiln_hw->get_msr(vcpu, index, val);
	*val = vcpu->spec_ctrl;
	return 0;
}

/* A guest that uses it gets it; one that writes 0 at boot does not. */
int kiln_spec_ctrl_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if ((!host && !guest_has_spec_ctrl(vcpu)) || val & ~spec_ctrl_bits())
		return 1;
	if (!kiln_hw->has_spec_ctrl)
		vcpu->spec_ctrl = val;
	else if (kiln_hw->set_msr(vcpu, index, val))
		return 1;
	if (val && !host && !vcpu->spec_ctrl_live) {
		vcpu->spec_ctrl_live = true;
		kiln_hw->refresh(vcpu, KILN_REFRESH_SPEC);
	}
	return 0;
}

int kiln_pred_cmd_set(struct kiln_vcpu *vcpu, u32 index, u64 val, bool host)
{
	if ((!host && !kiln_guest_has_pred_cmd(vcpu)) || val & ~PRED_CMD_IBPB)
		return 1;
	if (val && !host)
		indirect_branch_prediction_barrier();
	return 0;
}

int kiln_virt_spec_ctrl_get(struct kiln_vcpu *vcpu, u32 index, u64 *val,
			    bool host)
{
	if (!host && !kiln_guest_has(vcpu, X86_FEATURE_VIRT_SSBD))
		return 1;
	*val = vcpu->virt_spec_ctrl;
	return 0;
}

int kiln_virt_spec_ctrl_set(struct kiln_vcpu *vcpu, u32 index, u64 val,
			    bool host)
{
	if ((!host && !kiln_guest_has(vcpu, X86_FEATURE_VIRT_SSBD)) ||
	    val & ~SPEC_CTRL_SSBD)
		return 1;
	vcpu->virt_spec_ctrl = val;
	return 0;
}
