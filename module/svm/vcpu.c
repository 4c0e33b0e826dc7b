// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SVM room: AMD's secure virtual machine extensions behind struct kiln_hw.
 *
 * Read cpu.c for what is asked of the processor and the ASIDs, this file for
 * how a VMCB is filled, state.c for the guest registers in it, enter.c and
 * entry.S for the way in, exits.c for the ways out, insn.c for what older
 * processors do not tell about the instruction that exited, events.c for
 * interrupts and exceptions, avic.c for those that the processor delivers,
 * verify.c for what emulators do not check. Section numbers are of the AMD64
 * Architecture Programmer's Manual volume 2.
 */
#include <linux/gfp.h>
#include <linux/mem_encrypt.h>
#include <linux/slab.h>
#include <asm/debugreg.h>
#include <asm/trapnr.h>

#include "compat.h"
#include "irqchip/irqchip.h"
#include "mmu/mmu.h"
#include "svm.h"

#define MSRPM_ORDER	get_order(2 * PAGE_SIZE)

static int svm_vcpu_create(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->asid_cpu = -1;
	svm->vmcb = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	svm->msrpm = (void *)__get_free_pages(GFP_KERNEL_ACCOUNT, MSRPM_ORDER);
	if (svm_caps.verify)
		svm->seen = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!svm->vmcb || !svm->msrpm || (svm_caps.verify && !svm->seen)) {
		free_page((unsigned long)svm->vmcb);
		free_pages((unsigned long)svm->msrpm, MSRPM_ORDER);
		free_page((unsigned long)svm->seen);
		return -ENOMEM;
	}
	svm->vmcb_pa = __sme_set(__pa(svm->vmcb));
	return 0;
}

static void svm_vcpu_free(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	free_page((unsigned long)svm->vmcb);
	free_pages((unsigned long)svm->msrpm, MSRPM_ORDER);
	free_page((unsigned long)svm->seen);
}

/**
 * svm_msr_passthrough() - may the guest access an MSR without an exit?
 * @svm: the vCPU
 * @msr: in one of the three ranges of the map
 * @read: RDMSR does not exit
 * @write: WRMSR does not exit
 *
 * Two bits per MSR, read and write, 2 KiB for each of three ranges (§15.11);
 * a clear bit lets the access through.
 */
void svm_msr_passthrough(struct svm_vcpu *svm, u32 msr, bool read, bool write)
{
	u32 range = msr < 0x2000 ? 0 : msr < 0xc0010000 ? 1 : 2;
	u32 bit = range * 0x4000 + (msr & 0x1fff) * 2;
	unsigned long *map = (unsigned long *)svm->msrpm;

	__assign_bit(bit, map, !read);
	__assign_bit(bit + 1, map, !write);
	svm_dirty(svm, SVM_CLEAN_PERM);
}

static void msrpm_init(struct svm_vcpu *svm)
{
	/* VMRUN, VMLOAD and VMSAVE switch these. */
	static const u32 free[] = {
		MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
		MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK,
		MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP,
		MSR_IA32_SYSENTER_EIP,
	};
	int i;

	memset(svm->msrpm, 0xff, PAGE_SIZE << MSRPM_ORDER);
	for (i = 0; i < ARRAY_SIZE(free); i++)
		svm_msr_passthrough(svm, free[i], true, true);
}

static void intercepts_init(struct svm_vcpu *svm)
{
	static const u8 always[] = {
		INTERCEPT_INTR, INTERCEPT_NMI, INTERCEPT_INIT,
		INTERCEPT_RDPMC, INTERCEPT_CPUID, INTERCEPT_INVD,
		INTERCEPT_HLT, INTERCEPT_INVLPGA, INTERCEPT_IOIO_PROT,
		INTERCEPT_MSR_PROT, INTERCEPT_TASK_SWITCH, INTERCEPT_SHUTDOWN,
		INTERCEPT_VMRUN, INTERCEPT_VMMCALL, INTERCEPT_VMLOAD,
		INTERCEPT_VMSAVE, INTERCEPT_STGI, INTERCEPT_CLGI,
		INTERCEPT_SKINIT, INTERCEPT_WBINVD, INTERCEPT_MONITOR,
		INTERCEPT_MWAIT, INTERCEPT_XSETBV, INTERCEPT_RDPRU,
		INTERCEPT_CR0_WRITE, INTERCEPT_CR4_WRITE,
		/*
		 * #DB and #AC may recur without end during their own delivery,
		 * which only an exit can break (CVE-2015-8104, CVE-2015-5307);
		 * #MC is the host's. Both former go back to the guest.
		 */
		INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_DB,
		INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_AC,
		INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_MC,
	};
	int i;

	memset(svm->vmcb->control.intercepts, 0,
	       sizeof(svm->vmcb->control.intercepts));
	for (i = 0; i < ARRAY_SIZE(always); i++)
		svm_intercept(svm, always[i], true);
	svm_own_drs(svm, false);
	/* User space's APIC is told of each change of the priority. */
	if (!svm->vcpu.lapic)
		svm_intercept(svm, INTERCEPT_CR8_WRITE, true);
}

static void control_init(struct svm_vcpu *svm)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	memset(svm->vmcb, 0, PAGE_SIZE);
	intercepts_init(svm);
	msrpm_init(svm);
	ctl->iopm_base_pa = svm_iopm_pa();
	ctl->msrpm_base_pa = __sme_set(__pa(svm->msrpm));
	ctl->int_ctl = V_INTR_MASKING_MASK |
		       (svm_caps.vnmi ? SVM_INT_CTL_VNMI : 0);
	ctl->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	ctl->nested_cr3 = __sme_set(kiln_mmu_root(&svm->vcpu.vm->mmu));
	if (svm_caps.pause_filter) {
		ctl->pause_filter_count = 3000;
		ctl->pause_filter_thresh = svm_caps.pause_thresh ? 128 : 0;
		svm_intercept(svm, INTERCEPT_PAUSE, true);
	}
	if (svm_caps.avic && svm->vcpu.lapic)
		svm_avic_init(svm, svm_avic_tables_pa());
	svm->vmcb->save.g_pat = svm->vcpu.pat;
	svm->vmcb->save.dr6 = DR6_RESERVED;
	svm->asid_cpu = -1;
	svm->irq_window = false;
	svm->tsc_aux = 0;
}

static void svm_vcpu_reset(struct kiln_vcpu *vcpu, bool init)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_save_area *save = &svm->vmcb->save;

	if (!init)
		control_init(svm);
	save->sysenter_cs = 0;
	save->sysenter_esp = 0;
	save->sysenter_eip = 0;
	svm->vmcb->control.event_inj = 0;
	svm->vmcb->control.int_state = 0;
	svm->injected = false;
	svm->look_again = false;
	svm->nmi_masked = false;
	svm->nmi_iret = false;
	svm->step = false;
	svm->shadow_rip = 0;
	svm->flush = true;
	/* Leaving INIT it is other state as a whole. */
	svm->vmcb->control.clean = 0;
}

static void svm_vcpu_load(struct kiln_vcpu *vcpu, int cpu)
{
	/* Another CPU's ASID and caches of the VMCB: see svm_asid_prepare(). */
}

static void svm_vcpu_put(struct kiln_vcpu *vcpu)
{
	svm_load_host(to_svm(vcpu));
}

static void svm_pt_format(struct kiln_pt_format *fmt)
{
	kiln_pt_format_npt(fmt, pgtable_l5_enabled() ? 5 : 4,
			   boot_cpu_has(X86_FEATURE_GBPAGES));
}

struct kiln_hw svm_hw = {
	.name = "AMD SVM",
	.vendor = KILN_VENDOR_AMD,
	.vcpu_size = sizeof(struct svm_vcpu),
	.tsc_ratio_bits = 32,
	.supported = svm_supported,
	.setup = svm_setup,
	.unsetup = svm_unsetup,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,
	.pt_format = svm_pt_format,
	.vcpu_create = svm_vcpu_create,
	.vcpu_free = svm_vcpu_free,
	.vcpu_reset = svm_vcpu_reset,
	.vcpu_load = svm_vcpu_load,
	.vcpu_put = svm_vcpu_put,
	.enter = svm_enter,
	.handle_exit = svm_handle_exit,
	.cache_reg = svm_cache_reg,
	.get_segment = svm_get_segment,
	.set_segment = svm_set_segment,
	.get_dtable = svm_get_dtable,
	.set_dtable = svm_set_dtable,
	.get_cs_flags = svm_get_cs_flags,
	.get_cpl = svm_get_cpl,
	.set_cr0 = svm_set_cr0,
	.set_cr3 = svm_set_cr3,
	.set_cr4 = svm_set_cr4,
	.set_efer = svm_set_efer,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.refresh = svm_refresh,
	.get_blocking = svm_get_blocking,
	.set_blocking = svm_set_blocking,
	.inject = svm_inject,
	.cancel_injection = svm_cancel_injection,
	.window = svm_window,
	.skip_insn = svm_skip_insn,
	.flush_tlb = svm_flush_tlb,
	.apic_sync = svm_apic_sync,
	.eoi_map = svm_eoi_map,
	.death = svm_death,
};

KILN_EXPORT_FOR_KUNIT(svm_hw);
