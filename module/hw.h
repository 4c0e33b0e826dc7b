/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one table of operations a hardware backend provides (vmx/, svm/).
 *
 * Nothing outside a backend's folder asks which backend it is. What runs on
 * every exit goes through static calls, the rest through the
 * table itself.
 *
 * Unless said otherwise an operation is called by the vCPU's thread, with
 * vcpu->mutex held, preemption on and the vCPU loaded on this CPU: its
 * hardware state is at hand and stays so, because vcpu_put/vcpu_load run from
 * a preempt notifier.
 */
#ifndef KILN_HW_H
#define KILN_HW_H

#include <linux/kvm.h>
#include <linux/static_call.h>
#include <linux/types.h>
#include <asm/processor-flags.h>

#include "kiln.h"
#include "vcpu.h"
#include "vm.h"

struct kiln_pt_format;

#define KILN_CS_L	BIT(0)		/* 64-bit code, if in IA-32e mode */
#define KILN_CS_DB	BIT(1)		/* 32-bit code, if not */

/* What keeps events out of the guest. */
#define KILN_BLOCK_MOV_SS	KVM_X86_SHADOW_INT_MOV_SS
#define KILN_BLOCK_STI		KVM_X86_SHADOW_INT_STI
#define KILN_BLOCK_SHADOW	(KILN_BLOCK_MOV_SS | KILN_BLOCK_STI)
#define KILN_BLOCK_NMI		BIT(2)	/* an NMI is in service, until IRET */

/**
 * enum kiln_inject - which event the next entry delivers
 * @KILN_INJECT_EXCEPTION: vcpu->exception
 * @KILN_INJECT_NMI: an NMI; blocks the next one
 * @KILN_INJECT_IRQ: vcpu->irq_vector
 */
enum kiln_inject {
	KILN_INJECT_EXCEPTION,
	KILN_INJECT_NMI,
	KILN_INJECT_IRQ,
};

/**
 * enum kiln_refresh - what a backend has to look at again
 * @KILN_REFRESH_DR7: vcpu->dr7
 * @KILN_REFRESH_TSC: vcpu->clock.tsc_offset or .tsc_ratio
 * @KILN_REFRESH_CPUID: the guest's CPUID: recompute intercepts
 * @KILN_REFRESH_APIC: local APIC switched off, xAPIC or x2APIC
 * @KILN_REFRESH_SPEC: vcpu->spec_ctrl_live
 */
enum kiln_refresh {
	KILN_REFRESH_DR7,
	KILN_REFRESH_TSC,
	KILN_REFRESH_CPUID,
	KILN_REFRESH_APIC,
	KILN_REFRESH_SPEC,
};

/**
 * enum kiln_spec - what a backend's entry and exit do against side channels
 * @KILN_SPEC_BUFFERS: CPU buffers cleared at entry
 * @KILN_SPEC_BUFFERS_DEVICES: the same for guests that reach devices
 * @KILN_SPEC_UNTRAIN: returns untrained at exit
 * @KILN_SPEC_BHB: branch history cleared at exit
 * @KILN_SPEC_IBPB_EXIT: a barrier at each exit
 * @KILN_SPEC_BP_REDUCE: branch prediction restrained while there are guests
 */
enum kiln_spec {
	KILN_SPEC_BUFFERS		= BIT(0),
	KILN_SPEC_BUFFERS_DEVICES	= BIT(1),
	KILN_SPEC_UNTRAIN		= BIT(2),
	KILN_SPEC_BHB			= BIT(3),
	KILN_SPEC_IBPB_EXIT		= BIT(4),
	KILN_SPEC_BP_REDUCE		= BIT(5),
};

/**
 * struct kiln_hw - a hardware backend
 * @name: "Intel VMX", "AMD SVM"
 * @vendor: KILN_VENDOR_*
 * @vcpu_size: size of the backend's vCPU, whose first member is struct
 *	kiln_vcpu
 * @has_apicv: hardware can deliver interrupts from the local APIC's register
 *	page; set by @setup. lapic->hw_vid says whether it does for a vCPU.
 * @has_xsaves: guests may use XSAVES/XRSTORS; set by @setup
 * @has_tsc_scaling: KILN_REFRESH_TSC honours a ratio; set by @setup
 * @has_rdtscp: guests may use RDTSCP and RDPID, IA32_TSC_AUX is kept for
 *	them; set by @setup
 * @has_invpcid: guests may use INVPCID; set by @setup
 * @has_spec_ctrl: the hardware keeps IA32_SPEC_CTRL of the guest apart from
 *	the host's: @get_msr and @set_msr know it, and vcpu->spec_ctrl means
 *	nothing; set by @setup
 * @spec: KILN_SPEC_*: what entry and exit do against side channels, as the
 *	host's kernel has chosen; set by @setup
 * @tsc_ratio_bits: fractional bits of a TSC ratio, 48 (VMX) or 32 (SVM)
 *
 * @supported: does this CPU have the extension at all? No side effects.
 *	Return: true or false.
 * @setup: read capabilities, decide on controls. At module load, may sleep.
 *	Return: 0, or -EOPNOTSUPP after logging what is missing.
 * @unsetup: undo @setup.
 * @cpu_enable: enter VMX/SVM operation on this CPU. IRQs off.
 *	Return: 0, -EBUSY where another hypervisor holds it (logged with the
 *	CPU and its likely owner), -EIO where the instruction failed.
 * @cpu_disable: leave it; every vCPU loaded here has its state written back.
 *	IRQs off. Also on the emergency path: takes no lock.
 * @pt_format: fill in the second-stage entry format.
 *
 * @vcpu_create: allocate what a vCPU needs beyond its struct. Return: 0 or
 *	-ENOMEM. Not loaded.
 * @vcpu_free: undo @vcpu_create. Not loaded; any thread.
 * @vcpu_reset: architectural reset of what the backend holds; @init is true
 *	for INIT (SDM vol. 3 table 9-1).
 * @vcpu_load: make the vCPU's hardware state current on @cpu. Preemption off.
 * @vcpu_put: save what the CPU shares with the host and give it back.
 *	Preemption off.
 *
 * @enter: enter the guest and stay with it until an exit needs more than the
 *	backend does itself with IRQs off. Where vcpu->wait_tsc is set it calls
 *	kiln_wait_for_deadline(), as late as it can. IRQs off, preemption off;
 *	returns so. Host interrupts are left pending.
 * @handle_exit: handle the exit @enter returned with. IRQs on. Return:
 *	KILN_RESUME, KILN_EXIT_USER with vcpu->run filled in, or an errno.
 *
 * @cache_reg: fetch enum kiln_reg into vcpu->regs[].
 * @get_segment: read a segment register.
 * @set_segment: write a segment register; no checks beyond the backend's own.
 * @get_dtable: GDTR (@idt false) or IDTR.
 * @set_dtable: GDTR (@idt false) or IDTR.
 * @get_cs_flags: KILN_CS_L and KILN_CS_DB of the code segment.
 * @get_cpl: current privilege level, 0 to 3.
 * @set_cr0: value passed the architectural checks; EFER.LMA already agrees.
 * @set_cr3: likewise; vcpu->cr3 is set by the caller.
 * @set_cr4: likewise.
 * @set_efer: likewise.
 * @get_msr: MSRs the backend holds (SYSENTER_*, FS/GS base, syscall class).
 *	Return: 0, or 1 for an MSR it does not know.
 * @set_msr: likewise; canonical checks done by the caller.
 * @refresh: what the backend keeps of the vCPU's state changed elsewhere; see
 *	enum kiln_refresh.
 *
 * @get_blocking: what keeps interrupts out, as KILN_BLOCK_*. A backend whose
 *	hardware knows one kind of shadow reports both.
 * @set_blocking: likewise. Both shadows at once mean MOV SS's to a backend
 *	whose hardware knows two kinds.
 * @inject: deliver an event at the next entry; see enum kiln_inject.
 * @cancel_injection: take back what was set up; it is pending again.
 * @window: exit as soon as kiln_nmi_allowed() (@nmi true) or
 *	kiln_irq_allowed().
 * @skip_insn: move RIP past the instruction that exited, drop the shadow,
 *	raise #DB for TF.
 *
 * @flush_tlb: drop translations before the next entry: the second stage's and
 *	what was combined from it, or (@guest true) the guest's own.
 * @apic_sync: before entry, after events were looked at: while hardware
 *	delivers, @max_irr (or -1) and the ISR go there, else the TPR threshold.
 * @eoi_map: vectors whose EOI must exit. Only with @has_apicv.
 * @death: fill in the exit fields of struct kiln_death.
 */
struct kiln_hw {
	const char *name;
	u32 vendor;
	size_t vcpu_size;
	bool has_apicv;
	u32 spec;
	bool has_xsaves;
	bool has_tsc_scaling;
	bool has_rdtscp;
	bool has_invpcid;
	bool has_spec_ctrl;
	u8 tsc_ratio_bits;

	bool (*supported)(void);
	int (*setup)(void);
	void (*unsetup)(void);
	int (*cpu_enable)(void);
	void (*cpu_disable)(void);
	void (*pt_format)(struct kiln_pt_format *fmt);

	int (*vcpu_create)(struct kiln_vcpu *vcpu);
	void (*vcpu_free)(struct kiln_vcpu *vcpu);
	void (*vcpu_reset)(struct kiln_vcpu *vcpu, bool init);
	void (*vcpu_load)(struct kiln_vcpu *vcpu, int cpu);
	void (*vcpu_put)(struct kiln_vcpu *vcpu);

	void (*enter)(struct kiln_vcpu *vcpu);
	int (*handle_exit)(struct kiln_vcpu *vcpu);

	void (*cache_reg)(struct kiln_vcpu *vcpu, enum kiln_reg reg);
	void (*get_segment)(struct kiln_vcpu *vcpu, enum kiln_seg seg,
			    struct kvm_segment *val);
	void (*set_segment)(struct kiln_vcpu *vcpu, enum kiln_seg seg,
			    const struct kvm_segment *val);
	void (*get_dtable)(struct kiln_vcpu *vcpu, bool idt,
			   struct kvm_dtable *val);
	void (*set_dtable)(struct kiln_vcpu *vcpu, bool idt,
			   const struct kvm_dtable *val);
	u32 (*get_cs_flags)(struct kiln_vcpu *vcpu);
	int (*get_cpl)(struct kiln_vcpu *vcpu);
	void (*set_cr0)(struct kiln_vcpu *vcpu, u64 val);
	void (*set_cr3)(struct kiln_vcpu *vcpu, u64 val);
	void (*set_cr4)(struct kiln_vcpu *vcpu, u64 val);
	void (*set_efer)(struct kiln_vcpu *vcpu, u64 val);
	int (*get_msr)(struct kiln_vcpu *vcpu, u32 msr, u64 *val);
	int (*set_msr)(struct kiln_vcpu *vcpu, u32 msr, u64 val);
	void (*refresh)(struct kiln_vcpu *vcpu, enum kiln_refresh what);

	u32 (*get_blocking)(struct kiln_vcpu *vcpu);
	void (*set_blocking)(struct kiln_vcpu *vcpu, u32 blocking);
	void (*inject)(struct kiln_vcpu *vcpu, enum kiln_inject what);
	void (*cancel_injection)(struct kiln_vcpu *vcpu);
	void (*window)(struct kiln_vcpu *vcpu, bool nmi);
	void (*skip_insn)(struct kiln_vcpu *vcpu);

	void (*flush_tlb)(struct kiln_vcpu *vcpu, bool guest);
	void (*apic_sync)(struct kiln_vcpu *vcpu, int max_irr);
	void (*eoi_map)(struct kiln_vcpu *vcpu, const u64 map[4]);
	void (*death)(struct kiln_vcpu *vcpu, struct kiln_death *death);
};

/* For static_call(): the two operations on the path of every exit. */
void kiln_enter_fn(struct kiln_vcpu *vcpu);
int kiln_handle_exit_fn(struct kiln_vcpu *vcpu);
DECLARE_STATIC_CALL(kiln_enter, kiln_enter_fn);
DECLARE_STATIC_CALL(kiln_handle_exit, kiln_handle_exit_fn);

/* The backend picked at load; const afterwards. */
extern struct kiln_hw *kiln_hw;
extern struct kiln_hw vmx_hw;
extern struct kiln_hw svm_hw;

/* Who holds the extension, as far as can be told: for a message. IRQs off. */
const char *kiln_likely_owner(void);

/* Can an external interrupt be injected at the next entry? */
static inline bool kiln_irq_allowed(struct kiln_vcpu *vcpu)
{
	return (kiln_reg_read(vcpu, KILN_RFLAGS) & X86_EFLAGS_IF) &&
	       !(kiln_hw->get_blocking(vcpu) & KILN_BLOCK_SHADOW);
}

/* Likewise for an NMI. */
static inline bool kiln_nmi_allowed(struct kiln_vcpu *vcpu)
{
	return !kiln_hw->get_blocking(vcpu);
}

static inline bool kiln_nmi_masked(struct kiln_vcpu *vcpu)
{
	return kiln_hw->get_blocking(vcpu) & KILN_BLOCK_NMI;
}

#endif /* KILN_HW_H */
