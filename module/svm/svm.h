/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private header of the SVM room. Section numbers are of the AMD64
 * Architecture Programmer's Manual (APM) volume 2.
 */
#ifndef KILN_SVM_SVM_H
#define KILN_SVM_SVM_H

#include <linux/percpu.h>
#include <linux/types.h>
#include <asm/svm.h>

#include "hw.h"
#include "vcpu.h"
#include "vm.h"

/* What this machine's SVM can do. Written once by svm_caps_init(). */
struct svm_caps {
	u32 nr_asids;		/* 0 is the host's */
	bool nrips;		/* the next RIP is in the VMCB */
	bool decode;		/* and the operand of MOV CR and DR */
	bool flush_by_asid;
	bool tsc_ratio;
	bool pause_filter;
	bool pause_thresh;
	bool vnmi;
	bool avic;		/* x2AVIC, and module parameter avic */
	bool rdtscp;
	bool invpcid;		/* INVPCID can be intercepted */
	bool v_spec_ctrl;	/* the VMCB has the guest's SPEC_CTRL */
	bool verify;		/* module parameter svm_verify */
};

extern struct svm_caps svm_caps;

/* Bits of vmcb_control_area.clean (§15.15.3). */
enum svm_clean {
	SVM_CLEAN_INTERCEPTS,	/* intercepts, TSC offset, pause filter */
	SVM_CLEAN_PERM,		/* addresses of the permission maps */
	SVM_CLEAN_ASID,
	SVM_CLEAN_INTR,		/* int_ctl, int_vector */
	SVM_CLEAN_NPT,		/* nested_ctl, nested_cr3, g_pat */
	SVM_CLEAN_CR,		/* CR0, CR3, CR4, EFER */
	SVM_CLEAN_DR,		/* DR6, DR7 */
	SVM_CLEAN_DT,		/* GDTR, IDTR */
	SVM_CLEAN_SEG,		/* CS, DS, SS, ES, CPL */
	SVM_CLEAN_CR2,
	SVM_CLEAN_LBR,
	SVM_CLEAN_AVIC,
	SVM_CLEAN_CET,
	SVM_NR_CLEAN
};

#define SVM_CLEAN_ALL	(BIT(SVM_NR_CLEAN) - 1)

/* Not in every kernel's header (§15.33.4, appendix C, B). */
#ifndef SVM_EXIT_IDLE_HLT
#define SVM_EXIT_IDLE_HLT	0x0a6
#endif
#define SVM_INT_CTL_VNMI	BIT(26)
#define SVM_INT_CTL_VNMI_PENDING	BIT(11)
#define SVM_INT_CTL_VNMI_MASK	BIT(12)

/* svm_vcpu.exit_code: done with on the fast path; no code has bit 29 */
#define SVM_EXIT_HANDLED	BIT(29)

/* exit_info_1 of a nested page fault (§15.25.6): a page fault's bits, and */
#define SVM_NPF_FINAL		BIT_ULL(32)	/* of the final address */
#define SVM_NPF_WALK		BIT_ULL(33)	/* of the guest's page tables */

/* Who gets which ASID of one CPU; see cpu.c. */
struct svm_asids {
	u64 generation;
	u32 next;
};

/*
 * The SVM half of a vCPU. [t] vCPU thread, [p] preemption disabled,
 * [c] const after vcpu_create.
 */
struct svm_vcpu {
	struct kiln_vcpu vcpu;		/* first: entry.S gets its address */
	struct vmcb *vmcb;		/* [c] */
	u64 vmcb_pa;			/* [c] */
	u64 gs_base;			/* [t] guest's, between VMLOAD and VMSAVE */
	u32 *msrpm;			/* [c] 8 KiB */
	u64 next_rip;			/* [t] past the exit's instruction, or 0 */
	u64 exit_rip;			/* [t] RIP as the exit left it */
	u32 exit_code;			/* [t] of the latest exit */
	bool fail;			/* [t] SVM was gone, nothing was run */
	bool guest_loaded;		/* [p] the host's state is saved */
	bool aux_loaded;		/* [p] the guest's TSC_AUX is in the CPU */
	bool injected;			/* [t] the entry delivers an event */
	bool irq_window;		/* [t] waiting for VINTR */
	bool nmi_masked;		/* [t] soft, without vNMI */
	bool nmi_iret;			/* [t] past the IRET at step_rip it is not */
	bool step;			/* [t] single step for an NMI's window */
	bool tf;			/* [t] the guest's own TF meanwhile */
	bool drs_owned;			/* [t] MOV DR does not exit */
	bool stepped;			/* [t] the #DB of this exit is ours */
	u8 tpr;				/* [t] V_TPR when it was last looked at */
	bool look_again;		/* [t] after the delivery: an NMI waits */
	bool flush;			/* [t] before the next entry */
	bool avic_ready;		/* [c] the VMCB has what AVIC needs */
	int asid_cpu;			/* [p] where the ASID is valid, or -1 */
	u64 asid_generation;		/* [p] */
	u64 step_rip;			/* [t] */
	u64 shadow_rip;			/* [t] where a shadow was last, or 0 */
	u64 tsc_aux;			/* [t] */
	u64 host_tsc_aux;		/* [p] */
	struct vmcb *seen;		/* [c] svm_verify: as the CPU left it */
};

static __always_inline struct svm_vcpu *to_svm(struct kiln_vcpu *vcpu)
{
	return container_of(vcpu, struct svm_vcpu, vcpu);
}

/* What a clean bit covers was written. */
static __always_inline void svm_dirty(struct svm_vcpu *svm, enum svm_clean bit)
{
	svm->vmcb->control.clean &= ~BIT(bit);
}

static inline void svm_intercept(struct svm_vcpu *svm, unsigned int bit,
				 bool on)
{
	u32 *word = &svm->vmcb->control.intercepts[bit / 32];
	u32 val = on ? *word | BIT(bit % 32) : *word & ~BIT(bit % 32);

	if (val == *word)
		return;
	*word = val;
	svm_dirty(svm, SVM_CLEAN_INTERCEPTS);
}

static inline void svm_int_ctl(struct svm_vcpu *svm, u32 set, u32 clear)
{
	u32 val = (svm->vmcb->control.int_ctl & ~clear) | set;

	if (val == svm->vmcb->control.int_ctl)
		return;
	svm->vmcb->control.int_ctl = val;
	svm_dirty(svm, SVM_CLEAN_INTR);
}

/* cpu.c */
bool svm_supported(void);
const char *svm_refusal(u64 vm_cr, bool feature, bool npt, u32 nr_asids);
int svm_setup(void);
void svm_unsetup(void);
int svm_cpu_enable(void);
void svm_cpu_disable(void);
u64 svm_iopm_pa(void);
u64 svm_host_area_pa(void);
void svm_asid_prepare(struct svm_vcpu *svm);
void svm_asid_prepare_on(struct svm_vcpu *svm, struct svm_asids *asids, int cpu,
			 const struct svm_caps *caps);
void svm_asid_refused(struct svm_vcpu *svm);
void svm_asid_refused_on(struct svm_vcpu *svm, struct svm_asids *asids,
			 const struct svm_caps *caps);
void svm_tsc_ratio_load(u64 ratio);

/* vcpu.c */
void svm_msr_passthrough(struct svm_vcpu *svm, u32 msr, bool read, bool write);

/* state.c */
void svm_cache_reg(struct kiln_vcpu *vcpu, enum kiln_reg reg);
void svm_get_segment(struct kiln_vcpu *vcpu, enum kiln_seg seg,
		     struct kvm_segment *val);
void svm_set_segment(struct kiln_vcpu *vcpu, enum kiln_seg seg,
		     const struct kvm_segment *val);
void svm_get_dtable(struct kiln_vcpu *vcpu, bool idt, struct kvm_dtable *val);
void svm_set_dtable(struct kiln_vcpu *vcpu, bool idt,
		    const struct kvm_dtable *val);
u32 svm_get_cs_flags(struct kiln_vcpu *vcpu);
int svm_get_cpl(struct kiln_vcpu *vcpu);
void svm_set_cr0(struct kiln_vcpu *vcpu, u64 val);
void svm_set_cr3(struct kiln_vcpu *vcpu, u64 val);
void svm_set_cr4(struct kiln_vcpu *vcpu, u64 val);
void svm_set_efer(struct kiln_vcpu *vcpu, u64 val);
int svm_get_msr(struct kiln_vcpu *vcpu, u32 msr, u64 *val);
int svm_set_msr(struct kiln_vcpu *vcpu, u32 msr, u64 val);
void svm_refresh(struct kiln_vcpu *vcpu, enum kiln_refresh what);
void svm_flush_tlb(struct kiln_vcpu *vcpu, bool guest);

/* events.c */
u32 svm_get_blocking(struct kiln_vcpu *vcpu);
void svm_set_blocking(struct kiln_vcpu *vcpu, u32 blocking);
void svm_inject(struct kiln_vcpu *vcpu, enum kiln_inject what);
void svm_cancel_injection(struct kiln_vcpu *vcpu);
void svm_window(struct kiln_vcpu *vcpu, bool nmi);
void svm_step_done(struct svm_vcpu *svm);
void svm_complete_events(struct svm_vcpu *svm);
void svm_apic_sync(struct kiln_vcpu *vcpu, int max_irr);

/* avic.c */
int svm_avic_setup(void);
void svm_avic_unsetup(void);
void svm_avic_init(struct svm_vcpu *svm, u64 tables_pa);
u64 svm_avic_tables_pa(void);
void svm_avic_update(struct kiln_vcpu *vcpu);
void svm_eoi_map(struct kiln_vcpu *vcpu, const u64 map[4]);
int svm_avic_noaccel(struct kiln_vcpu *vcpu);

/* insn.c */
unsigned int svm_plain_length(u32 code);
void svm_set_next(struct svm_vcpu *svm, unsigned int len);
bool svm_next_rip_fast(struct svm_vcpu *svm);
void svm_next_rip_io(struct svm_vcpu *svm);
void svm_skip_insn(struct kiln_vcpu *vcpu);
struct kiln_insn;
bool svm_decode(struct svm_vcpu *svm, struct kiln_insn *insn, int *r);

/* enter.c, entry.S */
void svm_enter(struct kiln_vcpu *vcpu);
void svm_own_drs(struct svm_vcpu *svm, bool own);
void svm_load_host(struct svm_vcpu *svm);
void svm_enter_guest(struct svm_vcpu *svm, u64 vmcb_pa, u64 *gs_base);
void svm_vmload_keep_gs(u64 vmcb_pa);

/* verify.c */
const char *svm_verify_changed(const struct vmcb *now, const struct vmcb *seen);
void svm_verify_before(struct svm_vcpu *svm);
void svm_verify_after(struct svm_vcpu *svm);

/* exits.c */
int svm_handle_exit(struct kiln_vcpu *vcpu);
void svm_death(struct kiln_vcpu *vcpu, struct kiln_death *death);

#endif /* KILN_SVM_SVM_H */
