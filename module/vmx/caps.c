// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMX capabilities: one table of the controls kiln sets, against what the
 * capability MSRs allow (SDM vol. 3 appendix A).
 *
 * Each capability MSR of a control word says in its low half which bits must
 * be 1 and in its high half which may be. A required control that may not be
 * 1 refuses the load with its name; a wanted one is left out; a refused one
 * must be allowed to be 0.
 */
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/kernel.h>
#include <linux/moduleparam.h>
#include <asm/msr.h>
#include <asm/processor.h>

#include "compat.h"
#include "vmx.h"

struct vmx_caps vmx_caps;

static bool apicv = true;
module_param(apicv, bool, 0444);
MODULE_PARM_DESC(apicv,
		 "Let the CPU deliver interrupts from the virtual-APIC page, if it can");

enum vmx_need { REQUIRED, WANTED, REFUSED };

struct vmx_control {
	const char *name;
	u32 bit;
	enum vmx_need need;
};

static const struct vmx_control pin_controls[] = {
	{ "external-interrupt exiting", PIN_BASED_EXT_INTR_MASK, REQUIRED },
	{ "NMI exiting", PIN_BASED_NMI_EXITING, REQUIRED },
	{ "virtual NMIs", PIN_BASED_VIRTUAL_NMIS, WANTED },
	/* Set per entry, when there is a deadline: see arm_timer(). */
	{ "VMX-preemption timer", PIN_BASED_VMX_PREEMPTION_TIMER, WANTED },
	{}
};

static const struct vmx_control cpu_controls[] = {
	{ "HLT exiting", CPU_BASED_HLT_EXITING, REQUIRED },
	{ "MWAIT exiting", CPU_BASED_MWAIT_EXITING, REQUIRED },
	{ "MONITOR exiting", CPU_BASED_MONITOR_EXITING, REQUIRED },
	{ "RDPMC exiting", CPU_BASED_RDPMC_EXITING, REQUIRED },
	{ "MOV-DR exiting", CPU_BASED_MOV_DR_EXITING, REQUIRED },
	{ "unconditional I/O exiting", CPU_BASED_UNCOND_IO_EXITING, REQUIRED },
	{ "use MSR bitmaps", CPU_BASED_USE_MSR_BITMAPS, REQUIRED },
	{ "use TSC offsetting", CPU_BASED_USE_TSC_OFFSETTING, REQUIRED },
	{ "secondary controls", CPU_BASED_ACTIVATE_SECONDARY_CONTROLS,
	  REQUIRED },
	{ "CR8-load exiting", CPU_BASED_CR8_LOAD_EXITING, REQUIRED },
	{ "CR8-store exiting", CPU_BASED_CR8_STORE_EXITING, REQUIRED },
	{ "use TPR shadow", CPU_BASED_TPR_SHADOW, WANTED },
	/* Both windows are opened by vmx_irq_window(), vmx_nmi_window(). */
	{ "interrupt-window exiting", CPU_BASED_INTR_WINDOW_EXITING, REQUIRED },
	{ "NMI-window exiting", CPU_BASED_NMI_WINDOW_EXITING, WANTED },
	{ "CR3-load exiting", CPU_BASED_CR3_LOAD_EXITING, REFUSED },
	{ "CR3-store exiting", CPU_BASED_CR3_STORE_EXITING, REFUSED },
	{ "INVLPG exiting", CPU_BASED_INVLPG_EXITING, REFUSED },
	{}
};

static const struct vmx_control cpu2_controls[] = {
	{ "EPT", SECONDARY_EXEC_ENABLE_EPT, REQUIRED },
	{ "unrestricted guest", SECONDARY_EXEC_UNRESTRICTED_GUEST, REQUIRED },
	{ "VPID", SECONDARY_EXEC_ENABLE_VPID, WANTED },
	{ "WBINVD exiting", SECONDARY_EXEC_WBINVD_EXITING, WANTED },
	{ "RDTSCP", SECONDARY_EXEC_ENABLE_RDTSCP, WANTED },
	{ "INVPCID", SECONDARY_EXEC_ENABLE_INVPCID, WANTED },
	{ "XSAVES", VMX_CPU2_XSAVES, WANTED },
	{ "ENCLS exiting", SECONDARY_EXEC_ENCLS_EXITING, WANTED },
	{ "PAUSE-loop exiting", SECONDARY_EXEC_PAUSE_LOOP_EXITING, WANTED },
	{ "virtualize x2APIC mode", SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE,
	  WANTED },
	{ "APIC-register virtualization", SECONDARY_EXEC_APIC_REGISTER_VIRT,
	  WANTED },
	{ "virtual-interrupt delivery", SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY,
	  WANTED },
	{ "TSC scaling", SECONDARY_EXEC_TSC_SCALING, WANTED },
	{}
};

static const struct vmx_control exit_controls[] = {
	{ "host address-space size", VM_EXIT_HOST_ADDR_SPACE_SIZE, REQUIRED },
	{ "save debug controls", VM_EXIT_SAVE_DEBUG_CONTROLS, REQUIRED },
	{ "save IA32_PAT", VM_EXIT_SAVE_IA32_PAT, REQUIRED },
	{ "load IA32_PAT", VM_EXIT_LOAD_IA32_PAT, REQUIRED },
	{ "save IA32_EFER", VM_EXIT_SAVE_IA32_EFER, REQUIRED },
	{ "load IA32_EFER", VM_EXIT_LOAD_IA32_EFER, REQUIRED },
	{ "load IA32_PERF_GLOBAL_CTRL", VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL,
	  WANTED },
	/*
	 * Left out on purpose: an interrupt that is not acknowledged stays
	 * pending and is taken by the host the usual way once IRQs are on.
	 */
	{ "acknowledge interrupt on exit", VM_EXIT_ACK_INTR_ON_EXIT, REFUSED },
	{}
};

static const struct vmx_control entry_controls[] = {
	{ "load debug controls", VM_ENTRY_LOAD_DEBUG_CONTROLS, REQUIRED },
	{ "load IA32_PAT", VM_ENTRY_LOAD_IA32_PAT, REQUIRED },
	{ "load IA32_EFER", VM_ENTRY_LOAD_IA32_EFER, REQUIRED },
	{ "IA-32e mode guest", VM_ENTRY_IA32E_MODE, REQUIRED },
	{ "load IA32_PERF_GLOBAL_CTRL", VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL,
	  WANTED },
	{}
};

static const struct vmx_word {
	const char *name;
	u32 msr, true_msr;
	const struct vmx_control *controls;
	size_t result;
} vmx_words[] = {
	{ "pin-based", MSR_IA32_VMX_PINBASED_CTLS,
	  MSR_IA32_VMX_TRUE_PINBASED_CTLS, pin_controls,
	  offsetof(struct vmx_caps, pin) },
	{ "processor-based", MSR_IA32_VMX_PROCBASED_CTLS,
	  MSR_IA32_VMX_TRUE_PROCBASED_CTLS, cpu_controls,
	  offsetof(struct vmx_caps, cpu) },
	{ "secondary processor-based", MSR_IA32_VMX_PROCBASED_CTLS2, 0,
	  cpu2_controls, offsetof(struct vmx_caps, cpu2) },
	{ "VM-exit", MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS,
	  exit_controls, offsetof(struct vmx_caps, exit) },
	{ "VM-entry", MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS,
	  entry_controls, offsetof(struct vmx_caps, entry) },
};

/* A processor's capability MSRs on their way into @caps. */
struct reading {
	struct vmx_caps *caps;
	int (*read)(u32 msr, u64 *val);
	char *why;
};

static int missing(struct reading *r, const char *what)
{
	snprintf(r->why, VMX_WHY, "this CPU's VMX lacks '%s', which kiln needs",
		 what);
	return -EOPNOTSUPP;
}

static int read_word(struct reading *r, const struct vmx_word *w,
		     bool true_ctls)
{
	u32 msr = true_ctls && w->true_msr ? w->true_msr : w->msr;
	const struct vmx_control *c;
	u32 must, may, val;
	u64 cap;

	if (r->read(msr, &cap)) {
		snprintf(r->why, VMX_WHY,
			 "cannot read VMX capability MSR 0x%x (%s controls)",
			 msr, w->name);
		return -EOPNOTSUPP;
	}
	must = cap;
	may = cap >> 32;
	val = must;
	for (c = w->controls; c->name; c++) {
		switch (c->need) {
		case REQUIRED:
			if (!(may & c->bit))
				return missing(r, c->name);
			val |= c->bit;
			break;
		case WANTED:
			val |= may & c->bit;
			break;
		case REFUSED:
			if (must & c->bit) {
				snprintf(r->why, VMX_WHY,
					 "this CPU's VMX forces '%s'", c->name);
				return -EOPNOTSUPP;
			}
			break;
		}
	}
	*(u32 *)((char *)r->caps + w->result) = val;
	return 0;
}

/* What must be there of EPT, and what may (SDM vol. 3 §A.10). */
static int read_ept(struct reading *r)
{
	static const struct {
		const char *name;
		u64 bits;
	} required[] = {
		{ "EPT paging-structure memory type write-back",
		  VMX_EPTP_WB_BIT },
		{ "EPT page-walk length 4", VMX_EPT_PAGE_WALK_4_BIT },
		{ "INVEPT single-context",
		  VMX_EPT_INVEPT_BIT | VMX_EPT_EXTENT_CONTEXT_BIT },
	};
	struct vmx_caps *c = r->caps;
	u64 cap;
	int i;

	if (r->read(MSR_IA32_VMX_EPT_VPID_CAP, &cap))
		return missing(r, "EPT");
	for (i = 0; i < ARRAY_SIZE(required); i++)
		if ((cap & required[i].bits) != required[i].bits)
			return missing(r, required[i].name);

	c->ept_vpid = cap;
	c->ept_ad = cap & VMX_EPT_AD_BIT;
	c->ept_2m = cap & VMX_EPT_2MB_PAGE_BIT;
	c->ept_1g = cap & VMX_EPT_1GB_PAGE_BIT;
	return 0;
}

#define INVVPID_NEEDED \
	((VMX_VPID_INVVPID_BIT | VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT) << 32)

/* What the CPU claims and does not do is as if it were not there. */
static void vmx_caps_errata(void)
{
	const struct cpuinfo_x86 *cpu = &boot_cpu_data;
	struct vmx_caps *c = &vmx_caps;
	u32 errata;

	if (cpu->x86_vendor != X86_VENDOR_INTEL)
		return;
	errata = vmx_errata(cpu->x86, cpu->x86_model, cpu->x86_stepping);
	if (errata & VMX_ERRATUM_TIMER &&
	    c->pin & PIN_BASED_VMX_PREEMPTION_TIMER) {
		pr_info("this CPU's VMX-preemption timer has an erratum and is not used\n");
		c->pin &= ~PIN_BASED_VMX_PREEMPTION_TIMER;
	}
	if (errata & VMX_ERRATUM_PERF &&
	    c->entry & VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL) {
		pr_info("this CPU's loading of IA32_PERF_GLOBAL_CTRL has an erratum and is not used\n");
		c->entry &= ~VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
	}
}

/**
 * vmx_caps_combine() - what follows from the control words
 * @c: read; those of its controls that make sense only together, or that are
 *	switched on per vCPU or per entry rather than for good, are left out of
 *	the words
 */
void vmx_caps_combine(struct vmx_caps *c)
{
	const u32 vid = SECONDARY_EXEC_APIC_REGISTER_VIRT |
			SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY;
	const u32 apic = vid | SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE;

	c->vnmi = (c->pin & PIN_BASED_VIRTUAL_NMIS) &&
		  (c->cpu & CPU_BASED_NMI_WINDOW_EXITING);
	if (!c->vnmi)
		c->pin &= ~PIN_BASED_VIRTUAL_NMIS;
	c->preemption_timer = c->pin & PIN_BASED_VMX_PREEMPTION_TIMER;
	c->pin &= ~PIN_BASED_VMX_PREEMPTION_TIMER;

	c->tpr_shadow = c->cpu & CPU_BASED_TPR_SHADOW;
	c->x2apic = c->tpr_shadow &&
		    (c->cpu2 & SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE);
	c->vid = apicv && c->x2apic && (c->cpu2 & vid) == vid;
	c->cpu2 &= ~apic;
	c->cpu &= ~(CPU_BASED_TPR_SHADOW | CPU_BASED_INTR_WINDOW_EXITING |
		    CPU_BASED_NMI_WINDOW_EXITING);

	c->vpid = (c->cpu2 & SECONDARY_EXEC_ENABLE_VPID) &&
		  (c->ept_vpid & INVVPID_NEEDED) == INVVPID_NEEDED;
	if (!c->vpid)
		c->cpu2 &= ~SECONDARY_EXEC_ENABLE_VPID;

	c->perf = (c->entry & VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL) &&
		  (c->exit & VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
	if (!c->perf) {
		c->entry &= ~VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
		c->exit &= ~VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL;
	}
	c->ple = c->cpu2 & SECONDARY_EXEC_PAUSE_LOOP_EXITING;
	c->rdtscp = c->cpu2 & SECONDARY_EXEC_ENABLE_RDTSCP;
	c->invpcid = c->cpu2 & SECONDARY_EXEC_ENABLE_INVPCID;
	c->xsaves = (c->cpu2 & VMX_CPU2_XSAVES) &&
		    boot_cpu_has(X86_FEATURE_XSAVES);
	if (!c->xsaves)
		c->cpu2 &= ~VMX_CPU2_XSAVES;
	c->tsc_scaling = c->cpu2 & SECONDARY_EXEC_TSC_SCALING;
	c->cpu2 &= ~SECONDARY_EXEC_TSC_SCALING;
	c->entry &= ~VM_ENTRY_IA32E_MODE;
}

KILN_EXPORT_FOR_KUNIT(vmx_caps_combine);

/**
 * vmx_caps_read() - what a processor's VMX can do
 * @c: filled in
 * @read: reads its capability MSRs; returns not 0 for one that it has not
 * @why: VMX_WHY bytes; with an error a sentence for the log
 *
 * Return: 0, or -EOPNOTSUPP where something is missing.
 */
int vmx_caps_read(struct vmx_caps *c, int (*read)(u32 msr, u64 *val),
		  char *why)
{
	struct reading reading = { .caps = c, .read = read, .why = why };
	u64 basic;
	int i, r;

	if (read(MSR_IA32_VMX_BASIC, &basic))
		return missing(&reading, "VMX capability MSRs");
	c->revision = basic & GENMASK(30, 0);
	c->vmcs_size = (basic >> 32) & GENMASK(12, 0);
	/* Memory type write-back for VMCS accesses (SDM vol. 3 §A.1). */
	if (((basic >> 50) & 0xf) != 6)
		return missing(&reading, "write-back VMCS");

	for (i = 0; i < ARRAY_SIZE(vmx_words); i++) {
		r = read_word(&reading, &vmx_words[i], basic & BIT_ULL(55));
		if (r)
			return r;
	}
	r = read_ept(&reading);
	if (r)
		return r;
	if (read(MSR_IA32_VMX_MISC, &c->misc) ||
	    read(MSR_IA32_VMX_CR0_FIXED0, &c->cr0_fixed0) ||
	    read(MSR_IA32_VMX_CR0_FIXED1, &c->cr0_fixed1) ||
	    read(MSR_IA32_VMX_CR4_FIXED0, &c->cr4_fixed0) ||
	    read(MSR_IA32_VMX_CR4_FIXED1, &c->cr4_fixed1))
		return missing(&reading, "VMX capability MSRs");
	c->timer_shift = c->misc & GENMASK(4, 0);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(vmx_caps_read);

static int read_msr(u32 msr, u64 *val)
{
	return rdmsrl_safe(msr, val);
}

/**
 * vmx_caps_init() - read the capability MSRs into vmx_caps
 *
 * Return: 0, or -EOPNOTSUPP after logging the name of what is missing.
 * Context: module load.
 */
int vmx_caps_init(void)
{
	char why[VMX_WHY];
	int r = vmx_caps_read(&vmx_caps, read_msr, why);

	if (r) {
		pr_err("%s\n", why);
		return r;
	}
	vmx_caps_errata();
	vmx_caps_combine(&vmx_caps);
	return 0;
}
