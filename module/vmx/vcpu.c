// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMX room: Intel's virtual-machine extensions behind struct kiln_hw.
 *
 * Read caps.c for what is asked of the processor, cpu.c for VMX operation and
 * the life of a VMCS, this file for how a VMCS is filled, state.c for the
 * guest registers in it, switch.c for what guest and host share, enter.c and
 * entry.S for the way in, exits.c for the ways out, events.c for interrupts
 * and exceptions. Section numbers are of the Intel SDM volume 3.
 */
#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/idr.h>
#include <linux/slab.h>
#include <asm/msr.h>

#include "compat.h"
#include "vmx.h"

static DEFINE_IDA(vpids);

/*
 * A VPID tags what the processor caches for a vCPU; 0 is the host's. Where
 * they run out the vCPU gets none and pays with a flush at each entry. Reuse
 * is safe: a vCPU flushes when it first comes to a CPU.
 */
static u16 vpid_alloc(void)
{
	int id;

	if (!vmx_caps.vpid)
		return 0;
	id = ida_alloc_range(&vpids, 1, VMX_NR_VPIDS - 1, GFP_KERNEL);
	return id < 0 ? 0 : id;
}

int vmx_vcpu_create(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->loaded_cpu = -1;
	vmx->vmcs = vmx_vmcs_alloc();
	if (!vmx->vmcs)
		return -ENOMEM;
	vmx->msr_bitmap = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!vmx->msr_bitmap) {
		vmx_vmcs_free(vmx->vmcs);
		return -ENOMEM;
	}
	vmx->vpid = vpid_alloc();
	return 0;
}

void vmx_vcpu_free(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx_vmcs_unload(vmx);
	if (vmx->vpid)
		ida_free(&vpids, vmx->vpid);
	free_page((unsigned long)vmx->msr_bitmap);
	vmx_vmcs_free(vmx->vmcs);
}

/**
 * vmx_msr_passthrough() - may the guest access an MSR without an exit?
 * @vmx: the vCPU
 * @msr: below 0x2000, or from 0xc0000000 to 0xc0001fff
 * @read: RDMSR does not exit
 * @write: WRMSR does not exit
 *
 * The bitmap has four KiB: reads of low and of high MSRs, then writes of
 * both (§25.6.9); a clear bit lets the access through.
 */
void vmx_msr_passthrough(struct vmx_vcpu *vmx, u32 msr, bool read, bool write)
{
	u32 bit = (msr & 0x1fff) + (msr & BIT(31) ? 0x2000 : 0);
	unsigned long *map = (unsigned long *)vmx->msr_bitmap;

	__assign_bit(bit, map, !read);
	__assign_bit(bit + 0x4000, map, !write);
}

static void msr_bitmap_init(struct vmx_vcpu *vmx)
{
	/* The VMCS switches these, or vmx_load_guest() does. */
	static const u32 free[] = {
		MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
		MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP,
		MSR_IA32_SYSENTER_EIP,
	};
	int i;

	memset(vmx->msr_bitmap, 0xff, PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(free); i++)
		vmx_msr_passthrough(vmx, free[i], true, true);
	/* RDMSR of the TSC honours offset and multiplier (§26.3). */
	vmx_msr_passthrough(vmx, MSR_IA32_TSC, true, false);
}

void vmx_set_cpu_ctl(struct vmx_vcpu *vmx, u32 set, u32 clear)
{
	u32 val = (vmx->cpu_ctl | set) & ~clear;

	if (val == vmx->cpu_ctl)
		return;
	vmx->cpu_ctl = val;
	vmcs_write32(CPU_BASED_VM_EXEC_CONTROL, val);
}

void vmx_set_cpu2_ctl(struct vmx_vcpu *vmx, u32 set, u32 clear)
{
	u32 val = (vmx->cpu2_ctl | set) & ~clear;

	if (val == vmx->cpu2_ctl)
		return;
	vmx->cpu2_ctl = val;
	vmcs_write32(SECONDARY_VM_EXEC_CONTROL, val);
}

static void controls_init(struct vmx_vcpu *vmx)
{
	struct kiln_vcpu *vcpu = &vmx->vcpu;

	vmx->pin_ctl = vmx_caps.pin;
	vmx->cpu_ctl = vmx_caps.cpu;
	vmx->cpu2_ctl = vmx_caps.cpu2;
	vmx->entry_ctl = vmx_caps.entry;
	if (!vmx->vpid)
		vmx->cpu2_ctl &= ~SECONDARY_EXEC_ENABLE_VPID;
	if (vcpu->lapic && vmx_caps.tpr_shadow) {
		vmx->cpu_ctl |= CPU_BASED_TPR_SHADOW;
		vmx->cpu_ctl &= ~(CPU_BASED_CR8_LOAD_EXITING |
				  CPU_BASED_CR8_STORE_EXITING);
		vmcs_write64(VIRTUAL_APIC_PAGE_ADDR, __pa(vcpu->lapic->page));
		vmcs_write32(TPR_THRESHOLD, 0);
		lapic_set_hw_vid(vcpu, vmx_caps.vid);
	}
	vmcs_write32(PIN_BASED_VM_EXEC_CONTROL, vmx_caps.pin);
	vmcs_write32(CPU_BASED_VM_EXEC_CONTROL, vmx->cpu_ctl);
	vmcs_write32(SECONDARY_VM_EXEC_CONTROL, vmx->cpu2_ctl);
	vmcs_write32(VM_EXIT_CONTROLS, vmx_caps.exit);
	vmcs_write32(VM_ENTRY_CONTROLS, vmx->entry_ctl);
	vmcs_write32(VM_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write32(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write32(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write32(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmcs_write32(CR3_TARGET_COUNT, 0);
	vmcs_write32(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmcs_write32(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	/*
	 * #DB and #AC may recur without end during their own delivery, which
	 * only an exit can break (CVE-2015-8104, CVE-2015-5307); #MC is the
	 * host's. Both former go back to the guest.
	 */
	vmcs_write32(EXCEPTION_BITMAP,
		     BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC));
	if (vmx_caps.ple) {
		/* The defaults of the SDM's description (§26.1.3). */
		vmcs_write32(PLE_GAP, 128);
		vmcs_write32(PLE_WINDOW, 4096);
	}
	if (vmx_caps.xsaves)
		vmcs_write64(XSS_EXIT_BITMAP, ~0ull);
	if (vmx_caps.cpu2 & SECONDARY_EXEC_ENCLS_EXITING)
		vmcs_write64(ENCLS_EXITING_BITMAP, ~0ull);
	if (vmx_caps.perf) {
		/*
		 * The host's counters rest while the guest runs. One that
		 * writes records (PEBS) would write them where the guest's
		 * page tables put the host's buffer.
		 */
		vmcs_write64(GUEST_IA32_PERF_GLOBAL_CTRL, 0);
		vmcs_write64(HOST_IA32_PERF_GLOBAL_CTRL, 0);
		vmx->host_perf = 0;
	}
	if (vmx->vpid)
		vmcs_write16(VIRTUAL_PROCESSOR_ID, vmx->vpid);
	vmcs_write64(MSR_BITMAP, __pa(vmx->msr_bitmap));
	vmcs_write64(VMCS_LINK_POINTER, ~0ull);
	vmcs_write64(EPT_POINTER, vmx_eptp(vcpu->vm));
	vmcs_write64(TSC_OFFSET, 0);
	vmcs_writel(CR0_GUEST_HOST_MASK, ~0ul);
	vmcs_writel(CR4_GUEST_HOST_MASK, ~0ul);
	if (vcpu->lapic && vmx_caps.vid) {
		static const u64 none[4];

		vmx_eoi_map(vcpu, none);
		vmcs_write16(GUEST_INTR_STATUS, 0);
	}
}

/**
 * vmx_vcpu_reset() - the processor's state after RESET or INIT
 * @vcpu: loaded vCPU
 * @init: INIT: the VMCS's controls stay as they are
 *
 * Segments, descriptor tables and control registers are set by the caller
 * through the operations for them; this is the rest.
 */
void vmx_vcpu_reset(struct kiln_vcpu *vcpu, bool init)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (!init) {
		msr_bitmap_init(vmx);
		controls_init(vmx);
		vmx_host_state_init(vmx);
		memset(vmx->uret, 0, sizeof(vmx->uret));
		vmx->msr_kernel_gs_base = 0;
		vmcs_write64(GUEST_IA32_PAT, vcpu->pat);
	}
	vmcs_write32(GUEST_SYSENTER_CS, 0);
	vmcs_writel(GUEST_SYSENTER_ESP, 0);
	vmcs_writel(GUEST_SYSENTER_EIP, 0);
	vmcs_write64(GUEST_IA32_DEBUGCTL, 0);
	vmcs_write32(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write32(GUEST_INTERRUPTIBILITY_INFO, 0);
	vmcs_writel(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	vmcs_write32(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmx->injected = false;
	vmx->vnmi_blocked = false;
	vmx->nmi_seen = false;
	vmx_apic_mode(vcpu);
	vmx_flush_tlb_guest(vcpu);
}

void vmx_vcpu_load(struct kiln_vcpu *vcpu, int cpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (!vmx_vmcs_load(vmx, cpu))
		return;
	vmx_host_state_cpu(vmx, cpu);
	/*
	 * This CPU may hold translations of the last time the vCPU was here,
	 * which its flushes elsewhere did not reach (§29.4.3.4).
	 */
	set_bit(KILN_REQ_TLB_FLUSH, &vcpu->requests);
}

void vmx_vcpu_put(struct kiln_vcpu *vcpu)
{
	vmx_load_host(to_vmx(vcpu));
}

/* The parts of entry.S that the host's kernel has selected. */
static u32 spec_selected(void)
{
	u32 spec = 0;

	if (boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF))
		spec |= KILN_SPEC_BUFFERS;
	if (kiln_verw_for_devices())
		spec |= KILN_SPEC_BUFFERS_DEVICES;
	if (boot_cpu_has(KILN_FEATURE_CLEAR_BHB))
		spec |= KILN_SPEC_BHB;
	return spec;
}

static int vmx_setup(void)
{
	int r = vmx_usable();

	if (!r)
		r = vmx_caps_init();
	if (r)
		return r;
	vmx_hw.has_apicv = vmx_caps.vid;
	vmx_hw.has_xsaves = vmx_caps.xsaves;
	vmx_hw.has_tsc_scaling = vmx_caps.tsc_scaling;
	vmx_hw.has_rdtscp = vmx_caps.rdtscp;
	vmx_hw.has_invpcid = vmx_caps.invpcid;
	vmx_hw.spec = spec_selected();
	return vmx_cpu_setup();
}

static void vmx_pt_format(struct kiln_pt_format *fmt)
{
	kiln_pt_format_ept(fmt, vmx_caps.ept_ad, vmx_caps.ept_2m,
			   vmx_caps.ept_1g);
	fmt->small_exec = boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT) &&
			  !cpu_mitigations_off();
}

struct kiln_hw vmx_hw = {
	.name = "Intel VMX",
	.vendor = KILN_VENDOR_INTEL,
	.vcpu_size = sizeof(struct vmx_vcpu),
	.tsc_ratio_bits = 48,
	.supported = vmx_supported,
	.setup = vmx_setup,
	.unsetup = vmx_cpu_unsetup,
	.cpu_enable = vmx_cpu_enable,
	.cpu_disable = vmx_cpu_disable,
	.pt_format = vmx_pt_format,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_free = vmx_vcpu_free,
	.vcpu_reset = vmx_vcpu_reset,
	.vcpu_load = vmx_vcpu_load,
	.vcpu_put = vmx_vcpu_put,
	.enter = vmx_enter,
	.handle_exit = vmx_handle_exit,
	.cache_reg = vmx_cache_reg,
	.get_segment = vmx_get_segment,
	.set_segment = vmx_set_segment,
	.get_dtable = vmx_get_dtable,
	.set_dtable = vmx_set_dtable,
	.get_cs_flags = vmx_get_cs_flags,
	.get_cpl = vmx_get_cpl,
	.set_cr0 = vmx_set_cr0,
	.set_cr3 = vmx_set_cr3,
	.set_cr4 = vmx_set_cr4,
	.set_efer = vmx_set_efer,
	.get_msr = vmx_get_msr,
	.set_msr = vmx_set_msr,
	.refresh = vmx_refresh,
	.get_blocking = vmx_get_blocking,
	.set_blocking = vmx_set_blocking,
	.inject = vmx_inject,
	.cancel_injection = vmx_cancel_injection,
	.window = vmx_window,
	.skip_insn = vmx_skip_insn,
	.flush_tlb = vmx_flush_tlb,
	.apic_sync = vmx_apic_sync,
	.eoi_map = vmx_eoi_map,
	.death = vmx_death,
};
