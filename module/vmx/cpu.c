// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMX on a CPU: entering and leaving VMX operation, and which VMCS is active
 * where. Comes in: CPU hotplug, first and last VM, crash. Goes out: VMXON,
 * VMXOFF, VMCLEAR, VMPTRLD, INVEPT, INVVPID.
 *
 * A VMCS whose launch state is "active" may be cached by the CPU it was
 * loaded on, so it is cleared there before another CPU loads it, before its
 * page is freed, and before that CPU leaves VMX operation (SDM vol. 3
 * §25.11.1). Each CPU keeps the list of those loaded on it.
 */
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/processor.h>
#include <asm/tlbflush.h>

#include "compat.h"
#include "vmx.h"

static DEFINE_PER_CPU(struct vmcs *, vmxon_region);
static DEFINE_PER_CPU(struct list_head, loaded_list);
static DEFINE_PER_CPU(struct vmcs *, current_vmcs);

#define CPUID_FEATURES	1
#define HAS_VMX		BIT(5)	/* of CPUID_FEATURES' ECX */

/*
 * The processor is asked: the kernel has no such feature any more where the
 * firmware has switched VMX off, and that is to be said.
 */
bool vmx_supported(void)
{
	return cpuid_ecx(CPUID_FEATURES) & HAS_VMX;
}

#define OFF_BY_FIRMWARE "VMX is switched off by the firmware; switch on virtualization (VT-x) in its set-up"

static bool locked_off(u64 feat_ctl)
{
	return feat_ctl & FEAT_CTL_LOCKED &&
	       !(feat_ctl & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX);
}

/**
 * vmx_refusal() - why a processor that has VMX cannot be used
 * @feat_ctl: its IA32_FEATURE_CONTROL, 0 if there is none
 * @feature: the host's kernel knows of its VMX
 *
 * Return: a sentence for the log, or NULL.
 */
const char *vmx_refusal(u64 feat_ctl, bool feature)
{
	if (locked_off(feat_ctl))
		return OFF_BY_FIRMWARE;
	if (!feature)
		return "VMX is switched off by the host's kernel (clearcpuid=vmx?)";
	return NULL;
}

KILN_EXPORT_FOR_KUNIT(vmx_refusal);

/**
 * vmx_usable() - may VMX be used on this machine?
 *
 * Return: 0, or -EOPNOTSUPP after logging why not.
 * Context: module load.
 */
int vmx_usable(void)
{
	const char *refusal;
	u64 feat_ctl;

	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &feat_ctl))
		feat_ctl = 0;
	refusal = vmx_refusal(feat_ctl, boot_cpu_has(X86_FEATURE_VMX));
	if (!refusal)
		return 0;
	pr_err("%s\n", refusal);
	return -EOPNOTSUPP;
}

struct vmcs *vmx_vmcs_alloc(void)
{
	struct vmcs *vmcs = (void *)__get_free_page(GFP_KERNEL_ACCOUNT |
						    __GFP_ZERO);

	if (vmcs)
		vmcs->revision = vmx_caps.revision;
	return vmcs;
}

void vmx_vmcs_free(struct vmcs *vmcs)
{
	free_page((unsigned long)vmcs);
}

static void vmcs_clear(struct vmcs *vmcs)
{
	u64 pa = __pa(vmcs);

	asm volatile goto("1: vmclear %0\n\t"
			  "jna %l[failed]\n\t"
			  VMX_EXTABLE_GONE
			  : : "m" (pa) : "cc", "memory" : failed, gone);
	return;
failed:
	pr_warn_ratelimited("VMCLEAR failed\n");
gone:
	return;
}

static void vmcs_load(struct vmcs *vmcs)
{
	u64 pa = __pa(vmcs);

	asm volatile goto("1: vmptrld %0\n\t"
			  "jna %l[failed]\n\t"
			  VMX_EXTABLE_GONE
			  : : "m" (pa) : "cc", "memory" : failed, gone);
	return;
failed:
	pr_warn_ratelimited("VMPTRLD failed\n");
gone:
	return;
}

void vmcs_read_failed(unsigned long field)
{
	pr_warn_once("VMREAD of field 0x%lx failed\n", field);
}

void vmcs_write_failed(unsigned long field, unsigned long val)
{
	pr_warn_once("VMWRITE of 0x%lx to field 0x%lx failed, error %lu\n",
		     val, field, __vmcs_read(VM_INSTRUCTION_ERROR));
}

struct vmx_inv_desc {
	u64 id;
	u64 addr;
};

/* Drop guest-physical and combined mappings of one EPT (§29.4.3.1). */
void vmx_invept(u64 eptp)
{
	struct vmx_inv_desc d = { .id = eptp };

	asm volatile goto("1: invept %0, %1\n\t"
			  "jna %l[failed]\n\t"
			  VMX_EXTABLE_GONE
			  : : "m" (d), "r" ((u64)VMX_EPT_EXTENT_CONTEXT)
			  : "cc", "memory" : failed, gone);
	return;
failed:
	pr_warn_ratelimited("INVEPT failed\n");
gone:
	return;
}

/* Drop linear and combined mappings of one VPID (§29.4.3.3). */
void vmx_invvpid(u16 vpid)
{
	struct vmx_inv_desc d = { .id = vpid };

	asm volatile goto("1: invvpid %0, %1\n\t"
			  "jna %l[failed]\n\t"
			  VMX_EXTABLE_GONE
			  : : "m" (d), "r" ((u64)VMX_VPID_EXTENT_SINGLE_CONTEXT)
			  : "cc", "memory" : failed, gone);
	return;
failed:
	pr_warn_ratelimited("INVVPID failed\n");
gone:
	return;
}

u64 vmx_eptp(struct kiln_vm *vm)
{
	return kiln_mmu_root(&vm->mmu) | VMX_EPTP_MT_WB | VMX_EPTP_PWL_4 |
	       (vmx_caps.ept_ad ? VMX_EPTP_AD_ENABLE_BIT : 0);
}

/* On the CPU that holds the VMCS, IRQs off. */
static void loaded_clear(struct vmx_vcpu *vmx)
{
	vmcs_clear(vmx->vmcs);
	if (this_cpu_read(current_vmcs) == vmx->vmcs)
		this_cpu_write(current_vmcs, NULL);
	list_del(&vmx->loaded);
	/* Another CPU may load it once it sees -1. */
	smp_wmb();
	WRITE_ONCE(vmx->loaded_cpu, -1);
	vmx->launched = false;
}

static void loaded_clear_ipi(void *arg)
{
	struct vmx_vcpu *vmx = arg;

	/* The CPU may have gone offline and cleared it before. */
	if (vmx->loaded_cpu == raw_smp_processor_id())
		loaded_clear(vmx);
}

/**
 * vmx_vmcs_unload() - make sure no CPU caches this VMCS
 * @vmx: a vCPU that does not run
 *
 * Context: may wait for an IPI; IRQs on.
 */
void vmx_vmcs_unload(struct vmx_vcpu *vmx)
{
	int cpu = READ_ONCE(vmx->loaded_cpu);

	if (cpu >= 0)
		smp_call_function_single(cpu, loaded_clear_ipi, vmx, 1);
	/*
	 * An offline CPU does not answer; vmx_cpu_disable() cleared its list
	 * on its way down.
	 */
}

/**
 * vmx_vmcs_load() - make a VMCS current on this CPU
 * @vmx: the vCPU
 * @cpu: this CPU
 *
 * Return: true if the vCPU was on another CPU before (or on none).
 * Context: preemption off, IRQs on.
 */
bool vmx_vmcs_load(struct vmx_vcpu *vmx, int cpu)
{
	bool moved = vmx->loaded_cpu != cpu;
	unsigned long flags;

	if (moved) {
		vmx_vmcs_unload(vmx);
		local_irq_save(flags);
		/* Pairs with the barrier in loaded_clear(). */
		smp_rmb();
		list_add(&vmx->loaded, this_cpu_ptr(&loaded_list));
		vmx->loaded_cpu = cpu;
		local_irq_restore(flags);
	}
	if (this_cpu_read(current_vmcs) != vmx->vmcs) {
		this_cpu_write(current_vmcs, vmx->vmcs);
		vmcs_load(vmx->vmcs);
	}
	return moved;
}

/* VMX must be on in IA32_FEATURE_CONTROL; if it is unlocked we may do it. */
static bool feature_control_ok(void)
{
	const u64 on = FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX;
	u64 val;

	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &val))
		return false;
	if (val & FEAT_CTL_LOCKED)
		return !locked_off(val);
	return !wrmsrl_safe(MSR_IA32_FEAT_CTL, val | on);
}

static int enter_vmx(struct vmcs *region)
{
	u64 pa = __pa(region);

	asm volatile goto("1: vmxon %0\n\t"
			  "jna %l[gone]\n\t"
			  VMX_EXTABLE_GONE
			  : : "m" (pa) : "cc", "memory" : gone);
	return 0;
gone:
	return -EIO;
}

static void leave_vmx(void)
{
	asm volatile("1: vmxoff\n\t"
		     "2:\n\t"
		     _ASM_EXTABLE(1b, 2b)
		     : : : "cc", "memory");
}

int vmx_cpu_enable(void)
{
	int r;

	if (!feature_control_ok()) {
		pr_err("CPU %d: " OFF_BY_FIRMWARE "\n",
		       raw_smp_processor_id());
		return -EOPNOTSUPP;
	}
	if (cr4_read_shadow() & X86_CR4_VMXE) {
		pr_err("CPU %d: VMX is in use by another hypervisor, likely %s\n",
		       raw_smp_processor_id(), kiln_likely_owner());
		return -EBUSY;
	}
	/* Processor Trace ends here on CPUs that cannot have both (§A.6). */
	intel_pt_handle_vmx(1);
	cr4_set_bits(X86_CR4_VMXE);
	r = enter_vmx(this_cpu_read(vmxon_region));
	if (r) {
		cr4_clear_bits(X86_CR4_VMXE);
		intel_pt_handle_vmx(0);
		pr_err("CPU %d: VMXON failed\n", raw_smp_processor_id());
	}
	return r;
}

void vmx_cpu_disable(void)
{
	struct vmx_vcpu *vmx, *next;

	list_for_each_entry_safe(vmx, next, this_cpu_ptr(&loaded_list), loaded)
		loaded_clear(vmx);
	vmx_switch_cpu_disable();
	leave_vmx();
	cr4_clear_bits(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
}

void vmx_cpu_unsetup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		vmx_vmcs_free(per_cpu(vmxon_region, cpu));
		per_cpu(vmxon_region, cpu) = NULL;
	}
}

int vmx_cpu_setup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		INIT_LIST_HEAD(&per_cpu(loaded_list, cpu));
		per_cpu(vmxon_region, cpu) = vmx_vmcs_alloc();
		if (!per_cpu(vmxon_region, cpu)) {
			vmx_cpu_unsetup();
			return -ENOMEM;
		}
	}
	return 0;
}
