// SPDX-License-Identifier: GPL-2.0-only
/*
 * AVIC (§15.29): the processor takes interrupts from the local APIC's register
 * page itself, and does the guest's EOI and TPR there, without an exit.
 *
 * It is on while a local APIC is in x2APIC mode, which takes a processor with
 * x2AVIC. What is on a vCPU's page is that vCPU's affair: writes of the ICR
 * exit as they do without AVIC, so no processor sets a bit in another one's
 * IRR, and the tables that would lead it there are empty. That keeps clear of
 * processors that look at the tables too late (erratum 1235), and leaves the
 * local APIC with what VMX's virtual-interrupt delivery asks of it.
 *
 * Two things are beyond the hardware, and end it for as long as they last: a
 * window for an interrupt of the PIC, as V_IRQ means nothing beside AVIC; and
 * the EOI of an edge-triggered interrupt that somebody waits for, as only those
 * marked in the TMR exit.
 *
 * No emulator has it, so nothing here but the unit tests has ever been
 * executed: it is off unless asked for.
 */
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mem_encrypt.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <asm/apicdef.h>
#include <asm/cpufeature.h>

#include "compat.h"
#include "death.h"
#include "irqchip/irqchip.h"
#include "svm.h"

static bool avic;
module_param(avic, bool, 0444);
MODULE_PARM_DESC(avic,
		 "Let processors with x2AVIC deliver interrupts (default: off, as it was never run on one)");

#define AVIC_ON		(AVIC_ENABLE_MASK | X2APIC_MODE_MASK)
/* Its own, once AVIC is on: to be cleared afterwards. */
#define AVIC_LEFT	(V_IRQ_MASK | V_INTR_PRIO_MASK | V_IGN_TPR_MASK)

/* CPUID Fn8000_000A_EDX */
#define CPUID_SVM	0x8000000a
#define SVM_HAS_AVIC	BIT(13)
#define SVM_HAS_X2AVIC	BIT(18)

/* The tables of APIC ids: without a valid entry, for all vCPUs. */
static struct page *tables;

/**
 * svm_avic_setup() - find out whether there is x2AVIC and whether it is wanted
 *
 * Return: 0, -ENOMEM.
 */
int svm_avic_setup(void)
{
	const u32 needed = SVM_HAS_AVIC | SVM_HAS_X2AVIC;

	if (!avic)
		return 0;
	if ((cpuid_edx(CPUID_SVM) & needed) != needed) {
		pr_info("avic=1: this CPU's SVM has no x2AVIC\n");
		return 0;
	}
	/* There the page is the processor's while the guest runs. */
	if (kiln_host_has_snp()) {
		pr_info("avic=1: not used beside SEV-SNP\n");
		return 0;
	}
	tables = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!tables)
		return -ENOMEM;
	svm_caps.avic = true;
	return 0;
}

/* Undo svm_avic_setup(). */
void svm_avic_unsetup(void)
{
	if (tables)
		__free_page(tables);
	tables = NULL;
}

u64 svm_avic_tables_pa(void)
{
	return __sme_set(page_to_phys(tables));
}

/**
 * svm_avic_init() - the VMCB of a vCPU that may use AVIC; it is off
 * @svm: the vCPU, with a local APIC
 * @tables_pa: two empty tables of APIC ids in one page
 */
void svm_avic_init(struct svm_vcpu *svm, u64 tables_pa)
{
	struct vmcb_control_area *ctl = &svm->vmcb->control;

	ctl->avic_backing_page = __sme_set(__pa(svm->vcpu.lapic->page));
	ctl->avic_logical_id = tables_pa;
	ctl->avic_physical_id = tables_pa;	/* the largest index is 0 */
	svm_dirty(svm, SVM_CLEAN_AVIC);
	lapic_set_hw_vid(&svm->vcpu, false);
	svm->avic_ready = true;
}

KILN_EXPORT_FOR_KUNIT(svm_avic_init);

static bool possible(struct svm_vcpu *svm)
{
	const u64 x2apic = KILN_APIC_BASE_EN | KILN_APIC_BASE_EXTD;
	struct kiln_lapic *lapic = svm->vcpu.lapic;

	return (lapic->base & x2apic) == x2apic && !lapic->eoi_edge &&
	       !svm->irq_window;
}

/*
 * What the page has the answer for is read there, but for the ICR, whose upper
 * half x2AVIC looks for where xAPIC has it; TPR and EOI are written.
 */
static void pass_registers(struct svm_vcpu *svm, bool on)
{
	u32 msr;

	for (msr = APIC_BASE_MSR; msr < APIC_BASE_MSR + 0x100; msr++)
		svm_msr_passthrough(svm, msr, on && lapic_x2apic_in_page(msr),
				    false);
	svm_msr_passthrough(svm, APIC_BASE_MSR + (APIC_ICR >> 4), false, false);
	svm_msr_passthrough(svm, APIC_BASE_MSR + (APIC_TASKPRI >> 4), on, on);
	svm_msr_passthrough(svm, APIC_BASE_MSR + (APIC_EOI >> 4), false, on);
}

/**
 * svm_avic_update() - switch AVIC on where it can do all that is needed
 * @vcpu: the vCPU
 *
 * To be called when its APIC's mode has changed, or the vectors whose EOI
 * somebody waits for, or when a window for interrupts begins or has ended.
 *
 * Context: vCPU thread.
 */
void svm_avic_update(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	bool on;

	if (!svm->avic_ready)
		return;
	on = possible(svm);
	if (on == vcpu->lapic->hw_vid)
		return;
	lapic_set_hw_vid(vcpu, on);
	svm->vmcb->control.avic_vapic_bar = vcpu->lapic->base & PAGE_MASK;
	svm_dirty(svm, SVM_CLEAN_AVIC);
	svm_int_ctl(svm, on ? AVIC_ON : 0, on ? 0 : AVIC_ON | AVIC_LEFT);
	pass_registers(svm, on);
}

KILN_EXPORT_FOR_KUNIT(svm_avic_update);

/*
 * Level-triggered vectors exit by their TMR bit, whatever @map says. Whoever
 * delivers now has to look at what is pending.
 */
void svm_eoi_map(struct kiln_vcpu *vcpu, const u64 map[4])
{
	bool hw_vid = vcpu->lapic->hw_vid;

	svm_avic_update(vcpu);
	if (vcpu->lapic->hw_vid != hw_vid)
		set_bit(KILN_REQ_EVENT, &vcpu->requests);
}

KILN_EXPORT_FOR_KUNIT(svm_eoi_map);

/**
 * svm_avic_noaccel() - an access to a register that AVIC leaves to software
 * @vcpu: the vCPU
 *
 * All others are intercepted as MSRs, so it is the EOI of a level-triggered
 * vector: a trap, the instruction is done (§15.29). It does not say who takes
 * the vector out of service.
 *
 * Return: see struct kiln_hw, @handle_exit.
 */
int svm_avic_noaccel(struct kiln_vcpu *vcpu)
{
	struct vmcb_control_area *ctl = &to_svm(vcpu)->vmcb->control;
	u8 vector = ctl->exit_info_2;
	u64 info = ctl->exit_info_1;
	bool write = info >> 32 & AVIC_UNACCEL_ACCESS_WRITE_MASK;
	u32 offset = info & AVIC_UNACCEL_ACCESS_OFFSET_MASK;

	vcpu->stats.apic_access++;
	if (!write || offset != APIC_EOI)
		return kiln_die(vcpu, KILN_DEATH_UNEXPECTED,
				"unexpected AVIC exit, %s APIC register 0x%x",
				write ? "write of" : "read of", offset);
	if (lapic_max_isr(vcpu) == vector)
		lapic_eoi(vcpu);
	else
		lapic_eoi_induced(vcpu, vector);
	return KILN_RESUME;
}

KILN_EXPORT_FOR_KUNIT(svm_avic_noaccel);
