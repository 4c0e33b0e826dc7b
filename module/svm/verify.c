// SPDX-License-Identifier: GPL-2.0-only
/*
 * What emulators let pass and processors do not forgive: kiln.svm_verify=1
 * checks it at every entry.
 *
 *  - A field that changed while its clean bit was set: the processor may use
 *    what it has cached (§15.15).
 *  - ASID 0, which is the host's; one beyond what there is; one of another CPU
 *    or of an older generation is svm_asid_prepare()'s to avoid.
 *  - Fields that VMRUN refuses (§15.5.1), so that the log says which.
 */
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/bug.h>
#include <linux/string.h>
#include <asm/processor-flags.h>

#include "compat.h"
#include "svm.h"

#define FIELD(clean, member)						\
	{ SVM_CLEAN_##clean, offsetof(struct vmcb, member),		\
	  sizeof_field(struct vmcb, member), #member }

static const struct {
	u8 clean;
	u16 offset;
	u16 size;
	const char *name;
} fields[] = {
	FIELD(INTERCEPTS, control.intercepts),
	FIELD(INTERCEPTS, control.tsc_offset),
	FIELD(INTERCEPTS, control.pause_filter_count),
	FIELD(INTERCEPTS, control.pause_filter_thresh),
	FIELD(PERM, control.iopm_base_pa),
	FIELD(PERM, control.msrpm_base_pa),
	FIELD(ASID, control.asid),
	FIELD(INTR, control.int_ctl),
	FIELD(INTR, control.int_vector),
	FIELD(NPT, control.nested_ctl),
	FIELD(NPT, control.nested_cr3),
	FIELD(NPT, save.g_pat),
	FIELD(CR, save.cr0),
	FIELD(CR, save.cr3),
	FIELD(CR, save.cr4),
	FIELD(CR, save.efer),
	FIELD(DR, save.dr6),
	FIELD(DR, save.dr7),
	FIELD(DT, save.gdtr),
	FIELD(DT, save.idtr),
	FIELD(SEG, save.cs),
	FIELD(SEG, save.ds),
	FIELD(SEG, save.es),
	FIELD(SEG, save.ss),
	FIELD(SEG, save.cpl),
	FIELD(CR2, save.cr2),
	FIELD(LBR, save.dbgctl),
	FIELD(AVIC, control.avic_vapic_bar),
	FIELD(AVIC, control.avic_backing_page),
	FIELD(AVIC, control.avic_logical_id),
	FIELD(AVIC, control.avic_physical_id),
};

/**
 * svm_verify_changed() - is what the processor may have cached still so?
 * @now: VMCB about to be run
 * @seen: the same as the processor left it
 *
 * Return: the name of a field that changed while its clean bit was set, or
 * NULL.
 */
const char *svm_verify_changed(const struct vmcb *now, const struct vmcb *seen)
{
	const void *a = now, *b = seen;
	int i;

	for (i = 0; i < ARRAY_SIZE(fields); i++)
		if (now->control.clean & BIT(fields[i].clean) &&
		    memcmp(a + fields[i].offset, b + fields[i].offset,
			   fields[i].size))
			return fields[i].name;
	return NULL;
}

KILN_EXPORT_FOR_KUNIT(svm_verify_changed);

/**
 * svm_verify_before() - what a processor would not forgive
 * @svm: vCPU about to be entered
 *
 * Context: IRQs off, GIF clear.
 */
void svm_verify_before(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *ctl = &svm->vmcb->control;
	const struct vmcb_save_area *save = &svm->vmcb->save;
	const char *changed = svm_verify_changed(svm->vmcb, svm->seen);

	WARN_ONCE(changed, "kiln: VMCB field %s changed while its clean bit was set",
		  changed);
	WARN_ONCE(!ctl->asid || ctl->asid >= svm_caps.nr_asids,
		  "kiln: ASID %u of %u", ctl->asid, svm_caps.nr_asids);
	WARN_ONCE(svm->asid_cpu != raw_smp_processor_id(),
		  "kiln: ASID of CPU %d", svm->asid_cpu);
	WARN_ONCE(!(save->efer & EFER_SVME), "kiln: EFER.SVME is clear");
	WARN_ONCE((save->cr0 & (X86_CR0_CD | X86_CR0_NW)) == X86_CR0_NW,
		  "kiln: CR0.NW without CD");
	WARN_ONCE(save->cr0 >> 32 || save->dr6 >> 32 || save->dr7 >> 32,
		  "kiln: upper half of CR0, DR6 or DR7");
	WARN_ONCE(ctl->event_inj & SVM_EVTINJ_VALID &&
		  (ctl->event_inj & SVM_EVTINJ_TYPE_MASK) ==
			SVM_EVTINJ_TYPE_EXEPT &&
		  ((ctl->event_inj & SVM_EVTINJ_VEC_MASK) == 2 ||
		   (ctl->event_inj & SVM_EVTINJ_VEC_MASK) > 31),
		  "kiln: EVENTINJ 0x%x", ctl->event_inj);
}

/**
 * svm_verify_after() - remember what the processor left
 * @svm: vCPU that just exited
 */
void svm_verify_after(struct svm_vcpu *svm)
{
	memcpy(svm->seen, svm->vmcb, sizeof(*svm->seen));
}
