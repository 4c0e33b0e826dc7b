// SPDX-License-Identifier: GPL-2.0-only
/*
 * What guest and host share of a CPU besides what the VMCS switches.
 *
 * Three tiers, by how soon the host would notice:
 *  - on every VM exit, by the VMCS: CRs, segments, descriptor tables, EFER,
 *    PAT, SYSENTER (SDM vol. 3 §28.5); by vmx_enter(), what the exit clears and
 *    the host uses: DR7, IA32_DEBUGCTL;
 *  - when the vCPU is put, or its thread returns to user mode by way of the
 *    put: KERNEL_GS_BASE, FS, GS and LDTR, which the kernel itself does not
 *    use;
 *  - when this CPU next returns to user mode, whoever runs by then: the MSRs
 *    of SYSCALL and RDTSCP, which only user mode's entry into the kernel
 *    uses. A user-return notifier restores them.
 */
#include <linux/percpu.h>
#include <linux/smp.h>
#include <linux/user-return-notifier.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/mmu_context.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/segment.h>
#include <asm/tlbflush.h>

#include "vmx.h"

/*
 * CSTAR is only kept for the guest to read: no Intel processor uses it. The
 * three of SYSCALL are of no use to a guest that has not switched it on, since
 * reading them exits.
 */
static const u32 uret_msrs[VMX_NR_URET_LOADED] = {
	[VMX_URET_STAR] = MSR_STAR,
	[VMX_URET_LSTAR] = MSR_LSTAR,
	[VMX_URET_SYSCALL_MASK] = MSR_SYSCALL_MASK,
	[VMX_URET_TSC_AUX] = MSR_TSC_AUX,
};

/*
 * Per CPU, written with IRQs off: what the host wants in each MSR (const once
 * read) and what is in it now.
 */
struct uret_cpu {
	struct user_return_notifier notifier;
	bool registered;
	bool read;
	u64 host[VMX_NR_URET_LOADED];
	u64 now[VMX_NR_URET_LOADED];
};

static DEFINE_PER_CPU(struct uret_cpu, uret_cpu);

static bool uret_present(int i)
{
	return i != VMX_URET_TSC_AUX || vmx_caps.rdtscp;
}

static void uret_restore(struct uret_cpu *u)
{
	int i;

	for (i = 0; i < VMX_NR_URET_LOADED; i++) {
		if (u->now[i] != u->host[i]) {
			wrmsrl(uret_msrs[i], u->host[i]);
			u->now[i] = u->host[i];
		}
	}
}

static void uret_on_user_return(struct user_return_notifier *n)
{
	struct uret_cpu *u = container_of(n, struct uret_cpu, notifier);
	unsigned long flags;

	/* vmx_switch_cpu_disable() may run from an IPI. */
	local_irq_save(flags);
	if (u->registered) {
		u->registered = false;
		user_return_notifier_unregister(n);
	}
	local_irq_restore(flags);
	uret_restore(u);
}

static void uret_read_host(struct uret_cpu *u)
{
	int i;

	for (i = 0; i < VMX_NR_URET_LOADED; i++) {
		if (uret_present(i))
			rdmsrl(uret_msrs[i], u->host[i]);
		u->now[i] = u->host[i];
	}
	u->notifier.on_user_return = uret_on_user_return;
	u->read = true;
}

static __always_inline bool uret_switch(struct vmx_vcpu *vmx,
					struct uret_cpu *u,
					enum vmx_uret_msr i)
{
	if (u->now[i] == vmx->uret[i])
		return false;
	wrmsrl(uret_msrs[i], vmx->uret[i]);
	u->now[i] = vmx->uret[i];
	return true;
}

/* IRQs off. */
static void uret_load(struct vmx_vcpu *vmx)
{
	struct uret_cpu *u = this_cpu_ptr(&uret_cpu);
	bool changed = false;

	if (unlikely(!u->read))
		uret_read_host(u);
	if (vmx->vcpu.efer & EFER_SCE) {
		changed |= uret_switch(vmx, u, VMX_URET_STAR);
		changed |= uret_switch(vmx, u, VMX_URET_LSTAR);
		changed |= uret_switch(vmx, u, VMX_URET_SYSCALL_MASK);
	}
	if (vmx->cpu2_ctl & SECONDARY_EXEC_ENABLE_RDTSCP)
		changed |= uret_switch(vmx, u, VMX_URET_TSC_AUX);
	if (changed && !u->registered) {
		u->registered = true;
		user_return_notifier_register(&u->notifier);
	}
}

/**
 * vmx_uret_set() - the guest writes a syscall-class MSR
 * @vmx: the vCPU
 * @i: which
 * @val: canonical where the MSR holds an address
 *
 * Context: vCPU loaded.
 */
void vmx_uret_set(struct vmx_vcpu *vmx, enum vmx_uret_msr i, u64 val)
{
	vmx->uret[i] = val;
	vmx_uret_reload(vmx);
}

/**
 * vmx_uret_reload() - which of the MSRs are loaded may have changed
 * @vmx: the vCPU, loaded
 */
void vmx_uret_reload(struct vmx_vcpu *vmx)
{
	unsigned long flags;

	local_irq_save(flags);
	if (vmx->guest_loaded)
		uret_load(vmx);
	local_irq_restore(flags);
}

/* This CPU leaves VMX operation. IRQs off. */
void vmx_switch_cpu_disable(void)
{
	struct uret_cpu *u = this_cpu_ptr(&uret_cpu);

	if (u->registered)
		uret_on_user_return(&u->notifier);
}

/* Host state that is the same on every CPU and at every entry. */
void vmx_host_state_init(struct vmx_vcpu *vmx)
{
	u64 val;

	vmcs_writel(HOST_CR0, read_cr0() & ~X86_CR0_TS);
	vmcs_write16(HOST_CS_SELECTOR, __KERNEL_CS);
	vmcs_write16(HOST_SS_SELECTOR, __KERNEL_DS);
	vmcs_write16(HOST_DS_SELECTOR, 0);
	vmcs_write16(HOST_ES_SELECTOR, 0);
	vmcs_write16(HOST_FS_SELECTOR, 0);
	vmcs_write16(HOST_GS_SELECTOR, 0);
	vmcs_writel(HOST_FS_BASE, 0);
	vmcs_write16(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	vmcs_writel(HOST_RIP, (unsigned long)vmx_exit_landing);
	rdmsrl(MSR_IA32_SYSENTER_CS, val);
	vmcs_write32(HOST_IA32_SYSENTER_CS, val);
	rdmsrl(MSR_IA32_SYSENTER_EIP, val);
	vmcs_writel(HOST_IA32_SYSENTER_EIP, val);
	rdmsrl(MSR_IA32_CR_PAT, val);
	vmcs_write64(HOST_IA32_PAT, val);
	rdmsrl(MSR_EFER, val);
	vmcs_write64(HOST_IA32_EFER, val);
	vmx->host_cr3 = 0;
	vmx->host_cr4 = 0;
	vmx->host_rsp = 0;
	vmx->host_fs_base = 0;
	vmx->host_fs_sel = 0;
	vmx->host_gs_sel = 0;
	vmx->host_ds_sel = 0;
	vmx->host_es_sel = 0;
	vmx->host_selectors = 0;
}

/* Host state that belongs to a CPU. Preemption off, VMCS loaded. */
void vmx_host_state_cpu(struct vmx_vcpu *vmx, int cpu)
{
	struct desc_ptr idt;
	u64 val;

	store_idt(&idt);
	vmcs_writel(HOST_IDTR_BASE, idt.address);
	vmcs_writel(HOST_GDTR_BASE, (unsigned long)get_current_gdt_ro());
	vmcs_writel(HOST_TR_BASE,
		    (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	rdmsrl(MSR_IA32_SYSENTER_ESP, val);
	vmcs_writel(HOST_IA32_SYSENTER_ESP, val);
	vmcs_writel(HOST_GS_BASE, cpu_kernelmode_gs_base(cpu));
}

/*
 * Selectors with TI or RPL set may not be loaded by a VM exit (SDM vol. 3
 * §27.2.3): those are reloaded by hand in vmx_load_host().
 */
static void host_selector(unsigned long field, u16 *cached, u16 sel)
{
	u16 in_vmcs = sel & 7 ? 0 : sel;
	u16 old = *cached & 7 ? 0 : *cached;

	*cached = sel;
	if (in_vmcs != old)
		__vmcs_write(field, in_vmcs);
}

static void host_selectors(struct vmx_vcpu *vmx, u16 ds, u16 es)
{
	host_selector(HOST_DS_SELECTOR, &vmx->host_ds_sel, ds);
	host_selector(HOST_ES_SELECTOR, &vmx->host_es_sel, es);
	host_selector(HOST_FS_SELECTOR, &vmx->host_fs_sel,
		      current->thread.fsindex);
	host_selector(HOST_GS_SELECTOR, &vmx->host_gs_sel,
		      current->thread.gsindex);
	vmx->host_selectors = vmx->host_ds_sel | vmx->host_es_sel |
			      vmx->host_fs_sel | vmx->host_gs_sel;
}

#ifdef CONFIG_MODIFY_LDT_SYSCALL
static bool host_has_ldt(void)
{
	return READ_ONCE(current->mm->context.ldt);
}
#else
static bool host_has_ldt(void)
{
	return false;
}
#endif

/*
 * A VM exit leaves LDTR empty (§28.5.2). The descriptor in the GDT is still
 * that of the thread's LDT, or another thread has just made the first one, and
 * then the IPI that loads it is on its way: until then LLDT may fault.
 */
static void reload_ldt(void)
{
	asm volatile("1: lldt %w0\n\t"
		     "2:\n\t"
		     _ASM_EXTABLE(1b, 2b)
		     : : "r" (GDT_ENTRY_LDT * 8));
}

/* By hand what the VM exit may not load. */
static void reload_selectors(struct vmx_vcpu *vmx)
{
	if (vmx->host_fs_sel & 7) {
		loadsegment(fs, vmx->host_fs_sel);
		wrmsrl(MSR_FS_BASE, vmx->host_fs_base);
	}
	if (vmx->host_gs_sel & 7)
		load_gs_index(vmx->host_gs_sel);
	if (vmx->host_ds_sel & 7 || vmx->host_es_sel & 7) {
		loadsegment(ds, vmx->host_ds_sel);
		loadsegment(es, vmx->host_es_sel);
	}
}

/**
 * vmx_load_guest() - put the guest's shared MSRs and segments into the CPU
 * @vmx: loaded vCPU, not yet guest_loaded
 *
 * Context: IRQs off.
 */
void vmx_load_guest(struct vmx_vcpu *vmx)
{
	u16 ds, es;

	uret_load(vmx);

	current_save_fsgs();
	vmx->host_kernel_gs_base = current->thread.gsbase;
	if (vmx->host_fs_base != current->thread.fsbase) {
		vmx->host_fs_base = current->thread.fsbase;
		vmcs_writel(HOST_FS_BASE, vmx->host_fs_base);
	}
	savesegment(ds, ds);
	savesegment(es, es);
	/* In 64-bit user mode all four are 0 and stay so. */
	if (unlikely(ds | es | current->thread.fsindex |
		     current->thread.gsindex | vmx->host_selectors))
		host_selectors(vmx, ds, es);
	wrmsrl(MSR_KERNEL_GS_BASE, vmx->msr_kernel_gs_base);
	vmx->guest_loaded = true;
}

/**
 * vmx_load_host() - give the CPU back to the host's user mode
 * @vmx: the vCPU
 *
 * The syscall-class MSRs stay until the user-return notifier runs.
 *
 * Context: preemption off.
 */
void vmx_load_host(struct vmx_vcpu *vmx)
{
	unsigned long flags;

	if (!vmx->guest_loaded)
		return;
	local_irq_save(flags);
	rdmsrl(MSR_KERNEL_GS_BASE, vmx->msr_kernel_gs_base);
	/* Before the selectors, which may be of the LDT. */
	if (unlikely(host_has_ldt()))
		reload_ldt();
	if (unlikely(vmx->host_selectors))
		reload_selectors(vmx);
	wrmsrl(MSR_KERNEL_GS_BASE, vmx->host_kernel_gs_base);
	/* A VM exit leaves the limits of TR and GDTR at their maximum. */
	invalidate_tss_limit();
	load_fixmap_gdt(raw_smp_processor_id());
	vmx->guest_loaded = false;
	local_irq_restore(flags);
}

u64 vmx_read_kernel_gs_base(struct vmx_vcpu *vmx)
{
	preempt_disable();
	if (vmx->guest_loaded)
		rdmsrl(MSR_KERNEL_GS_BASE, vmx->msr_kernel_gs_base);
	preempt_enable();
	return vmx->msr_kernel_gs_base;
}

void vmx_write_kernel_gs_base(struct vmx_vcpu *vmx, u64 val)
{
	preempt_disable();
	vmx->msr_kernel_gs_base = val;
	if (vmx->guest_loaded)
		wrmsrl(MSR_KERNEL_GS_BASE, val);
	preempt_enable();
}
