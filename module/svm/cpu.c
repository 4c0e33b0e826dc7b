// SPDX-License-Identifier: GPL-2.0-only
/*
 * SVM on a CPU: what it can do, switching it on and off, and who gets which
 * ASID. Comes in: module load, CPU hotplug, first and last VM, crash.
 *
 * ASIDs are a CPU's own affair: each hands them out in order and never twice
 * within a generation. When they run out the generation ends, everything
 * tagged is flushed, and each vCPU gets a new one when it next comes by
 * (§15.16). So a vCPU that changes CPUs needs no flush, and no two CPUs have
 * to agree on anything.
 */
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/cpufeature.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mem_encrypt.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/perf_event.h>

#include "compat.h"
#include "svm.h"

#define CPUID_EXTENDED	0x80000000
#define CPUID_FEATURES	0x80000001
#define HAS_SVM		BIT(2)	/* of CPUID_FEATURES' ECX */
#define CPUID_SVM	0x8000000a

struct svm_caps svm_caps;
KILN_EXPORT_FOR_KUNIT(svm_caps);

static bool svm_verify;
module_param(svm_verify, bool, 0444);
MODULE_PARM_DESC(svm_verify,
		 "Check at each VMRUN what emulators ignore: clean bits, ASIDs, reserved fields (slow)");

struct svm_cpu {
	struct page *hsave;	/* the processor's own: VM_HSAVE_PA */
	struct page *host;	/* what VMSAVE saved of the host */
	struct svm_asids asids;
	u64 tsc_ratio;
};

static DEFINE_PER_CPU(struct svm_cpu, svm_cpu);
static struct page *iopm;

#define IOPM_ORDER	get_order(3 * PAGE_SIZE)

/*
 * The processor is asked: kernels since 6.7 have no such feature any more where
 * the firmware has switched SVM off, and that is to be said.
 */
bool svm_supported(void)
{
	return cpuid_eax(CPUID_EXTENDED) >= CPUID_SVM &&
	       cpuid_ecx(CPUID_FEATURES) & HAS_SVM;
}

u64 svm_iopm_pa(void)
{
	return __sme_set(page_to_phys(iopm));
}

/* Preemption off. */
u64 svm_host_area_pa(void)
{
	return __sme_set(page_to_phys(this_cpu_read(svm_cpu.host)));
}

/* The features are the host kernel's: it may have switched some off. */
static void caps_init(struct svm_caps *c)
{
	*c = (struct svm_caps) {
		.nr_asids = cpuid_ebx(CPUID_SVM),
		.nrips = boot_cpu_has(X86_FEATURE_NRIPS),
		.decode = boot_cpu_has(X86_FEATURE_DECODEASSISTS),
		.flush_by_asid = boot_cpu_has(X86_FEATURE_FLUSHBYASID),
		.tsc_ratio = boot_cpu_has(X86_FEATURE_TSCRATEMSR),
		.pause_filter = boot_cpu_has(X86_FEATURE_PAUSEFILTER),
		.pause_thresh = boot_cpu_has(X86_FEATURE_PFTHRESHOLD),
		/* CPUID Fn8000_000A_EDX[25], newer than some kernels. */
		.vnmi = cpuid_edx(CPUID_SVM) & BIT(25),
		.rdtscp = boot_cpu_has(X86_FEATURE_RDTSCP) ||
			  boot_cpu_has(X86_FEATURE_RDPID),
		.invpcid = boot_cpu_has(X86_FEATURE_INVPCID),
		.v_spec_ctrl = boot_cpu_has(X86_FEATURE_V_SPEC_CTRL),
		.verify = svm_verify,
	};
}

#define OFF_BY_FIRMWARE "SVM is switched off by the firmware (VM_CR.SVMDIS); switch on virtualization (SVM, AMD-V) in its set-up"

/**
 * svm_refusal() - why a processor that has SVM cannot be used
 * @vm_cr: its MSR_VM_CR, 0 if there is none
 * @feature: the host's kernel knows of its SVM
 * @npt: nested paging is there
 * @nr_asids: how many ASIDs, with the host's
 *
 * Return: a sentence for the log, or NULL.
 */
const char *svm_refusal(u64 vm_cr, bool feature, bool npt, u32 nr_asids)
{
	if (vm_cr & SVM_VM_CR_SVM_DIS_MASK)
		return OFF_BY_FIRMWARE;
	if (!feature)
		return "SVM is switched off by the host's kernel (clearcpuid=svm?)";
	if (!npt)
		return "this CPU's SVM lacks nested paging (NPT)";
	if (nr_asids < 2)
		return "this CPU's SVM has no ASID for guests";
	return NULL;
}

KILN_EXPORT_FOR_KUNIT(svm_refusal);

static int requirements(const struct svm_caps *c)
{
	const char *refusal;
	u64 vm_cr;

	if (rdmsrl_safe(MSR_VM_CR, &vm_cr))
		vm_cr = 0;
	refusal = svm_refusal(vm_cr, boot_cpu_has(X86_FEATURE_SVM),
			      boot_cpu_has(X86_FEATURE_NPT), c->nr_asids);
	if (!refusal)
		return 0;
	pr_err("%s\n", refusal);
	return -EOPNOTSUPP;
}

void svm_unsetup(void)
{
	struct svm_cpu *c;
	int cpu;

	for_each_possible_cpu(cpu) {
		c = per_cpu_ptr(&svm_cpu, cpu);
		if (c->hsave)
			__free_page(c->hsave);
		if (c->host)
			__free_page(c->host);
		c->hsave = NULL;
		c->host = NULL;
	}
	if (iopm)
		__free_pages(iopm, IOPM_ORDER);
	iopm = NULL;
	svm_avic_unsetup();
}

static int alloc_pages_of_cpus(void)
{
	struct svm_cpu *c;
	int cpu;

	for_each_possible_cpu(cpu) {
		c = per_cpu_ptr(&svm_cpu, cpu);
		c->hsave = alloc_pages_node(cpu_to_node(cpu),
					    GFP_KERNEL | __GFP_ZERO, 0);
		c->host = alloc_pages_node(cpu_to_node(cpu),
					   GFP_KERNEL | __GFP_ZERO, 0);
		if (!c->hsave || !c->host)
			return -ENOMEM;
	}
	return 0;
}

/* The parts of entry.S, and of cpu.c, that the host's kernel has selected. */
static u32 spec_selected(void)
{
	u32 spec = 0;

	if (boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF_VM))
		spec |= KILN_SPEC_BUFFERS;
	if (boot_cpu_has(X86_FEATURE_UNRET) ||
	    boot_cpu_has(X86_FEATURE_SRSO_ALIAS))
		spec |= KILN_SPEC_UNTRAIN;
	if (kiln_has_ibpb_on_vmexit())
		spec |= KILN_SPEC_IBPB_EXIT;
	if (kiln_has_bp_spec_reduce())
		spec |= KILN_SPEC_BP_REDUCE;
	return spec;
}

int svm_setup(void)
{
	int r;

	caps_init(&svm_caps);
	r = requirements(&svm_caps);
	if (r)
		return r;
	/* A set bit intercepts the port; 12 KiB (§15.10.1). */
	iopm = alloc_pages(GFP_KERNEL, IOPM_ORDER);
	if (!iopm)
		return -ENOMEM;
	memset(page_address(iopm), 0xff, PAGE_SIZE << IOPM_ORDER);
	r = alloc_pages_of_cpus();
	if (!r)
		r = svm_avic_setup();
	if (r) {
		svm_unsetup();
		return r;
	}
	svm_hw.has_xsaves = boot_cpu_has(X86_FEATURE_XSAVES);
	svm_hw.has_tsc_scaling = svm_caps.tsc_ratio;
	svm_hw.has_rdtscp = svm_caps.rdtscp;
	svm_hw.has_invpcid = svm_caps.invpcid;
	svm_hw.has_spec_ctrl = svm_caps.v_spec_ctrl;
	svm_hw.spec = spec_selected();
	svm_hw.has_apicv = svm_caps.avic;
	return 0;
}

int svm_cpu_enable(void)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME) {
		pr_err("CPU %d: SVM is in use by another hypervisor, likely %s\n",
		       raw_smp_processor_id(), kiln_likely_owner());
		return -EBUSY;
	}
	if (wrmsrl_safe(MSR_EFER, efer | EFER_SVME)) {
		pr_err("CPU %d: EFER.SVME cannot be set\n",
		       raw_smp_processor_id());
		return -EIO;
	}
	wrmsrl(MSR_VM_HSAVE_PA, __sme_set(page_to_phys(c->hsave)));
	/* The first vCPU to come starts a generation, hence a flush of all. */
	c->asids.generation++;
	c->asids.next = svm_caps.nr_asids;
	if (svm_caps.tsc_ratio)
		wrmsrl(MSR_AMD64_TSC_RATIO, SVM_TSC_RATIO_DEFAULT);
	c->tsc_ratio = SVM_TSC_RATIO_DEFAULT;
	kiln_bp_spec_reduce(true);
	amd_pmu_enable_virt();
	return 0;
}

/*
 * Also where the machine is going down: SVM may be off already, then both
 * instructions fault. With GIF clear an INIT would wait for ever.
 */
void svm_cpu_disable(void)
{
	u64 efer;

	amd_pmu_disable_virt();
	kiln_bp_spec_reduce(false);
	if (svm_caps.tsc_ratio)
		wrmsrl_safe(MSR_AMD64_TSC_RATIO, SVM_TSC_RATIO_DEFAULT);
	asm volatile("1: stgi\n\t"
		     "2:\n\t"
		     _ASM_EXTABLE(1b, 2b)
		     : : : "memory");
	wrmsrl_safe(MSR_VM_HSAVE_PA, 0);
	if (!rdmsrl_safe(MSR_EFER, &efer))
		wrmsrl_safe(MSR_EFER, efer & ~EFER_SVME);
}

/* Preemption off. */
void svm_tsc_ratio_load(u64 ratio)
{
	if (this_cpu_read(svm_cpu.tsc_ratio) == ratio)
		return;
	wrmsrl(MSR_AMD64_TSC_RATIO, ratio);
	this_cpu_write(svm_cpu.tsc_ratio, ratio);
}

static void new_asid(struct svm_vcpu *svm, struct svm_asids *a, int cpu,
		     const struct svm_caps *caps)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	if (a->next >= caps->nr_asids) {
		a->generation++;
		a->next = 1;
		ctl->tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
	}
	ctl->asid = a->next++;
	svm->asid_generation = a->generation;
	svm->asid_cpu = cpu;
	svm_dirty(svm, SVM_CLEAN_ASID);
}

/**
 * svm_asid_prepare_on() - the next entry has an ASID and flushes what it has to
 * @svm: the vCPU
 * @asids: of the CPU that enters it
 * @cpu: that CPU's number
 * @caps: how many ASIDs there are, and whether one can be flushed by itself
 */
void svm_asid_prepare_on(struct svm_vcpu *svm, struct svm_asids *asids, int cpu,
			 const struct svm_caps *caps)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	ctl->tlb_ctl = TLB_CONTROL_DO_NOTHING;
	if (unlikely(svm->asid_cpu != cpu)) {
		/* What this CPU has cached of the VMCB is of another time. */
		ctl->clean = 0;
		new_asid(svm, asids, cpu, caps);
	} else if (unlikely(svm->asid_generation != asids->generation)) {
		new_asid(svm, asids, cpu, caps);
	} else if (unlikely(svm->flush)) {
		if (caps->flush_by_asid)
			ctl->tlb_ctl = TLB_CONTROL_FLUSH_ASID;
		else
			new_asid(svm, asids, cpu, caps);
	}
	svm->flush = false;
}

KILN_EXPORT_FOR_KUNIT(svm_asid_prepare_on);

/**
 * svm_asid_prepare() - likewise, on this CPU
 * @svm: the vCPU
 *
 * Context: IRQs off.
 */
void svm_asid_prepare(struct svm_vcpu *svm)
{
	svm_asid_prepare_on(svm, this_cpu_ptr(&svm_cpu.asids),
			    raw_smp_processor_id(), &svm_caps);
}

/**
 * svm_asid_refused_on() - an entry failed: what it was to flush may be there yet
 * @svm: the vCPU
 * @asids: of the CPU that was to enter it
 * @caps: how many ASIDs there are
 *
 * It may have been the one that began a generation. So the next vCPU to need an
 * ASID begins another, and this one needs an ASID.
 */
void svm_asid_refused_on(struct svm_vcpu *svm, struct svm_asids *asids,
			 const struct svm_caps *caps)
{
	asids->next = caps->nr_asids;
	svm->asid_cpu = -1;
}

KILN_EXPORT_FOR_KUNIT(svm_asid_refused_on);

/**
 * svm_asid_refused() - likewise, on this CPU
 * @svm: the vCPU
 *
 * Context: IRQs off.
 */
void svm_asid_refused(struct svm_vcpu *svm)
{
	svm_asid_refused_on(svm, this_cpu_ptr(&svm_cpu.asids), &svm_caps);
}
