// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entering the guest, and the exits that never leave this file.
 *
 * vmx_enter() runs with IRQs off. An exit whose work is short, cannot sleep
 * and touches no guest memory is done right here and the guest entered again:
 * neither requests nor kicks are missed by that, since a kick is an IPI, which
 * stays pending and ends the next stay in the guest at once.
 */
#include <linux/entry-kvm.h>
#include <linux/hw_breakpoint.h>
#include <linux/kvm.h>
#include <asm/debugreg.h>
#include <asm/fpu/xcr.h>
#include <asm/mmu_context.h>
#include <asm/tlbflush.h>

#include "fast.h"
#include "io.h"
#include "run.h"
#include "spec.h"
#include "state.h"
#include "trace.h"
#include "vmx.h"

/*
 * In vcpu->regs[] after an exit; the rest is in the VMCS until asked for. RIP
 * is wanted after every exit, so it is fetched along with the exit reason.
 */
#define REGS_AFTER_EXIT	((GENMASK(KILN_NR_GPRS - 1, 0) & ~BIT(KILN_RSP)) | \
			 BIT(KILN_RIP))

static __always_inline void write_back_regs(struct kiln_vcpu *vcpu)
{
	u32 dirty = vcpu->regs_dirty;

	if (dirty & BIT(KILN_RIP))
		vmcs_writel(GUEST_RIP, vcpu->regs[KILN_RIP]);
	if (unlikely(dirty & ~BIT(KILN_RIP))) {
		if (dirty & BIT(KILN_RSP))
			vmcs_writel(GUEST_RSP, vcpu->regs[KILN_RSP]);
		if (dirty & BIT(KILN_RFLAGS))
			vmcs_writel(GUEST_RFLAGS, vcpu->regs[KILN_RFLAGS]);
	}
	vcpu->regs_dirty = 0;
}

/* What perf wants of its counters may have changed since the last entry. */
static void refresh_host_perf(struct vmx_vcpu *vmx)
{
	u64 val;

	if (!vmx_caps.perf)
		return;
	rdmsrl(MSR_CORE_PERF_GLOBAL_CTRL, val);
	if (unlikely(val != vmx->host_perf)) {
		vmx->host_perf = val;
		vmcs_write64(HOST_IA32_PERF_GLOBAL_CTRL, val);
	}
}

/* XSAVES of the guest must not reach supervisor state of the host. */
static __always_inline bool guest_xss_differs(struct vmx_vcpu *vmx)
{
	return (vmx->cpu2_ctl & VMX_CPU2_XSAVES) &&
	       vmx->vcpu.xss != kiln_host_xss;
}

/* The host may have switched its CR3 or CR4 since the last entry. */
static void refresh_host_crs(struct vmx_vcpu *vmx)
{
	unsigned long cr3 = __get_current_cr3_fast();
	unsigned long cr4 = cr4_read_shadow();

	if (unlikely(cr3 != vmx->host_cr3)) {
		vmx->host_cr3 = cr3;
		vmcs_writel(HOST_CR3, cr3);
	}
	if (unlikely(cr4 != vmx->host_cr4)) {
		vmx->host_cr4 = cr4;
		vmcs_writel(HOST_CR4, cr4);
	}
}

/* DR7 is switched by the VMCS, DR0 to DR3 only for a guest that uses them. */
static void load_guest_drs(struct kiln_vcpu *vcpu)
{
	set_debugreg(0, 7);
	set_debugreg(vcpu->dr[0], 0);
	set_debugreg(vcpu->dr[1], 1);
	set_debugreg(vcpu->dr[2], 2);
	set_debugreg(vcpu->dr[3], 3);
}

/*
 * The local APIC's timer, watched by the VMX-preemption timer (§26.5.1) rather
 * than by one of the host: no interrupt of the host has to be programmed when
 * the guest sets a deadline, and none taken when it passes. A deadline too far
 * off for 32 bits is looked at again when they run out.
 */
static void arm_timer(struct vmx_vcpu *vmx)
{
	struct kiln_vcpu *vcpu = &vmx->vcpu;
	u64 deadline = lapic_timer_deadline(vcpu), now;
	u32 pin = vmx_caps.pin;

	if (deadline) {
		pin |= PIN_BASED_VMX_PREEMPTION_TIMER;
		now = kiln_guest_tsc(vcpu);
		deadline = deadline > now ?
			   (deadline - now) >> vmx_caps.timer_shift : 0;
		vmcs_write32(VMX_PREEMPTION_TIMER_VALUE,
			     min_t(u64, deadline, U32_MAX));
	}
	if (pin == vmx->pin_ctl)
		return;
	vmx->pin_ctl = pin;
	vmcs_write32(PIN_BASED_VM_EXEC_CONTROL, pin);
}

/* It counts host ticks, so a guest whose TSC is scaled keeps the hrtimer. */
static void choose_timer(struct vmx_vcpu *vmx)
{
	struct kiln_vcpu *vcpu = &vmx->vcpu;
	bool hw = vmx_caps.preemption_timer && !vcpu->clock.tsc_ratio;

	if (!vcpu->lapic)
		return;
	/* HLT has left the timer to block(), which watches it without an hrtimer. */
	if (unlikely(vcpu->lapic->timer.hw != hw))
		lapic_timer_use_hw(vcpu, hw);
	/* Nothing to watch, as the VMCS says already: the common case. */
	vmx->timer = hw && (vcpu->lapic->timer.deadline ||
			    vcpu->lapic->timer.expires);
	if (!vmx->timer && vmx->pin_ctl == vmx_caps.pin)
		return;
	if (likely(hw)) {
		arm_timer(vmx);
	} else if (vmx->pin_ctl != vmx_caps.pin) {
		vmx->pin_ctl = vmx_caps.pin;
		vmcs_write32(PIN_BASED_VM_EXEC_CONTROL, vmx_caps.pin);
	}
}

static __always_inline bool guest_xcr0_differs(struct kiln_vcpu *vcpu)
{
	return (vcpu->cr4 & X86_CR4_OSXSAVE) &&
	       vcpu->xcr0 != kiln_host_xcr0;
}

static bool fast_cpuid(struct vmx_vcpu *vmx)
{
	kiln_fast_cpuid(&vmx->vcpu);
	vmx_skip_insn(&vmx->vcpu);
	return true;
}

static bool fast_rdmsr(struct vmx_vcpu *vmx)
{
	if (!kiln_fast_rdmsr(&vmx->vcpu))
		return false;
	vmx_skip_insn(&vmx->vcpu);
	return true;
}

static bool fast_wrmsr(struct vmx_vcpu *vmx)
{
	struct kiln_vcpu *vcpu = &vmx->vcpu;

	if (!kiln_fast_wrmsr(vcpu))
		return false;
	if ((u32)vcpu->regs[KILN_RCX] == MSR_IA32_TSC_DEADLINE)
		vmx->timer = vcpu->lapic->timer.hw;
	vmx_skip_insn(vcpu);
	return true;
}

/* SDM vol. 3 table 27-5 */
#define IO_SIZE(q)	(((q) & 7) + 1)
#define IO_IN		BIT(3)
#define IO_STRING	BIT(4)
#define IO_PORT(q)	(((q) >> 16) & 0xffff)

static bool fast_io(struct vmx_vcpu *vmx)
{
	unsigned long qual = vmcs_readl(EXIT_QUALIFICATION);
	struct kiln_vcpu *vcpu = &vmx->vcpu;

	if (qual & IO_STRING ||
	    !kiln_pio_kernel(vcpu, IO_PORT(qual), IO_SIZE(qual), qual & IO_IN))
		return false;
	vmx_skip_insn(vcpu);
	return true;
}

/*
 * The length of the instruction is not defined for an EPT misconfiguration
 * (§28.2.5). Processors give it all the same; another hypervisor between them
 * and us may not.
 */
static bool fast_misconfig(struct vmx_vcpu *vmx)
{
	u64 gpa;

	if (boot_cpu_has(X86_FEATURE_HYPERVISOR) ||
	    vmcs_read32(IDT_VECTORING_INFO_FIELD) & VECTORING_INFO_VALID_MASK)
		return false;
	gpa = vmcs_read64(GUEST_PHYSICAL_ADDRESS);
	if (!kiln_ioeventfd_fast(vmx->vcpu.vm, KILN_BUS_MMIO, &vmx->vcpu, gpa,
				 0, 0))
		return false;
	vmx->vcpu.stats.mmio++;
	vmx_skip_insn(&vmx->vcpu);
	return true;
}

/* Something waits: true if it was nothing but events, seen to by then. */
static noinline bool stays(struct vmx_vcpu *vmx)
{
	if (!__xfer_to_guest_mode_work_pending() &&
	    kiln_events_irqoff(&vmx->vcpu))
		return true;
	vmx->exit_reason = VMX_EXIT_HANDLED;
	return false;
}

/*
 * Return true if the exit is done with and the guest may be entered again.
 * Exits of instructions cannot come in the middle of an event's delivery, so
 * one that was being injected has been delivered.
 */
static __always_inline bool fast_exit(struct vmx_vcpu *vmx)
{
	bool done;

	switch (vmx->exit_reason) {
	case EXIT_REASON_CPUID:
		done = fast_cpuid(vmx);
		break;
	case EXIT_REASON_MSR_READ:
		done = fast_rdmsr(vmx);
		break;
	case EXIT_REASON_MSR_WRITE:
		done = fast_wrmsr(vmx);
		break;
	case EXIT_REASON_IO_INSTRUCTION:
		done = fast_io(vmx);
		break;
	case EXIT_REASON_EPT_MISCONFIG:
		done = fast_misconfig(vmx);
		break;
	default:
		return false;
	}
	if (!done)
		return false;
	if (unlikely(vmx->injected)) {
		vmx->injected = false;
		vmx->vcpu.irq_injected = false;
		vmx->vcpu.nmi_injected = false;
		vmx->vcpu.exception.injected = false;
	}
	trace_kiln_fast_exit(vmx->vcpu.id, vmx->exit_reason);
	/* Whom the exit woke on this CPU no interrupt announces. */
	return likely(!(kiln_request_pending(&vmx->vcpu) |
			__xfer_to_guest_mode_work_pending())) ||
	       stays(vmx);
}

/*
 * NMIs and machine checks that ended the stay are taken before anything else
 * can happen on this CPU. NMIs stay blocked until the handler's IRET. The gate
 * is entered by software since nothing in the CPU is pending any more. A
 * machine check may also come during the entry, which then fails (§27.9).
 */
static void host_exceptions(struct vmx_vcpu *vmx)
{
	u32 info, type;

	if ((u16)vmx->exit_reason == EXIT_REASON_MCE_DURING_VMENTRY) {
		asm volatile("int %0" : : "i" (X86_TRAP_MC) : "memory");
		return;
	}
	if (vmx->exit_reason != EXIT_REASON_EXCEPTION_NMI)
		return;
	info = vmcs_read32(VM_EXIT_INTR_INFO);
	type = info & INTR_INFO_INTR_TYPE_MASK;
	if (type == INTR_TYPE_NMI_INTR) {
		vmx->vcpu.stats.nmi_exit++;
		asm volatile("int %0" : : "i" (X86_TRAP_NMI) : "memory");
	} else if (type == INTR_TYPE_HARD_EXCEPTION &&
		   (info & INTR_INFO_VECTOR_MASK) == X86_TRAP_MC) {
		asm volatile("int %0" : : "i" (X86_TRAP_MC) : "memory");
	}
}

void vmx_enter(struct kiln_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	bool drs = vcpu->dr7 & DR_GLOBAL_ENABLE_MASK ||
		   vcpu->dr7 & DR_LOCAL_ENABLE_MASK;
	bool xcr = guest_xcr0_differs(vcpu);
	bool xss = guest_xss_differs(vmx);
	unsigned long debugctl;

	if (!vmx->guest_loaded)
		vmx_load_guest(vmx);
	refresh_host_crs(vmx);
	refresh_host_perf(vmx);
	/* Each time: perf changes it from interrupts, which are off by now. */
	debugctl = __rdmsr(MSR_IA32_DEBUGCTLMSR);
	if (unlikely(drs))
		load_guest_drs(vcpu);
	if (unlikely(xcr))
		xsetbv(XCR_XFEATURE_ENABLED_MASK, vcpu->xcr0);
	if (unlikely(xss))
		wrmsrl(MSR_IA32_XSS, vcpu->xss);
	if (vcpu->cr2 != read_cr2())
		write_cr2(vcpu->cr2);
	if (unlikely(vcpu->wait_tsc))
		kiln_wait_for_deadline(vcpu);
	choose_timer(vmx);

	for (;;) {
		write_back_regs(vcpu);
		kiln_spec_each_entry(vcpu);
		vmx->fail = vmx_enter_guest(vmx, vmx->launched, &vmx->host_rsp);
		vcpu->regs_avail = REGS_AFTER_EXIT;
		if (unlikely(vmx->fail))
			break;
		vcpu->stats.exits++;
		vmx->exit_reason = vmcs_read32(VM_EXIT_REASON);
		vcpu->regs[KILN_RIP] = vmcs_readl(GUEST_RIP);
		/* A VMLAUNCH that failed half-way did not launch (§27.8). */
		vmx->launched |= !(vmx->exit_reason &
				   VMX_EXIT_REASONS_FAILED_VMENTRY);
		if (!fast_exit(vmx))
			break;
		kiln_spec_reenter();
		/* Each entry starts the timer from what the VMCS says. */
		if (vmx->timer)
			arm_timer(vmx);
	}

	/* Whoever handles the exit looks at these more often than not. */
	vcpu->regs[KILN_RFLAGS] = vmcs_readl(GUEST_RFLAGS);
	vcpu->regs_avail |= BIT(KILN_RFLAGS);
	vcpu->cr2 = read_cr2();
	if (unlikely(xcr))
		xsetbv(XCR_XFEATURE_ENABLED_MASK, kiln_host_xcr0);
	if (unlikely(xss))
		wrmsrl(MSR_IA32_XSS, kiln_host_xss);
	/* Both were cleared by the exit (§28.5.1). */
	if (unlikely(debugctl))
		update_debugctlmsr(debugctl);
	if (unlikely(hw_breakpoint_active()))
		hw_breakpoint_restore();
	if (!vmx->fail)
		host_exceptions(vmx);
}
