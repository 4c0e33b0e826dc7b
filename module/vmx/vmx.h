/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private header of the VMX room.
 */
#ifndef KILN_VMX_VMX_H
#define KILN_VMX_VMX_H

#include <linux/list.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <asm/apicdef.h>
#include <asm/debugreg.h>
#include <asm/trapnr.h>
#include <asm/vmx.h>

#include "hw.h"
#include "irqchip/irqchip.h"
#include "vcpu.h"
#include "vm.h"
#include "vmcs.h"

/* Bit 20 of the secondary controls; the kernel's name for it changed. */
#define VMX_CPU2_XSAVES		VMCS_CONTROL_BIT(XSAVES)

struct vmcs {
	u32 revision;
	u32 abort;
	char data[];
};

/*
 * What this machine's VMX can do, and what kiln makes of it. Written once by
 * vmx_caps_init(), const afterwards.
 */
struct vmx_caps {
	u32 revision;
	u32 vmcs_size;
	u32 pin;		/* controls as they go into a VMCS */
	u32 cpu;
	u32 cpu2;
	u32 exit;
	u32 entry;
	u64 ept_vpid;		/* IA32_VMX_EPT_VPID_CAP */
	u64 misc;		/* IA32_VMX_MISC */
	u64 cr0_fixed0, cr0_fixed1;
	u64 cr4_fixed0, cr4_fixed1;
	bool ept_ad;
	bool ept_2m;
	bool ept_1g;
	bool vpid;		/* VPIDs and the INVVPID types we use */
	bool vid;		/* TPR shadow, register virtualisation, VID */
	bool x2apic;		/* virtualize x2APIC mode */
	bool tpr_shadow;
	bool vnmi;
	bool preemption_timer;
	bool ple;
	bool rdtscp;
	bool invpcid;
	bool xsaves;
	bool tsc_scaling;
	bool perf;		/* entry and exit switch IA32_PERF_GLOBAL_CTRL */
	u8 timer_shift;		/* preemption timer ticks at TSC >> shift */
};

extern struct vmx_caps vmx_caps;

/* vmx_vcpu.exit_reason: done with on the fast path; no reason has bit 29 */
#define VMX_EXIT_HANDLED	BIT(29)

/* The syscall-class MSRs, switched on return to user mode. */
enum vmx_uret_msr {
	VMX_URET_STAR,
	VMX_URET_LSTAR,
	VMX_URET_SYSCALL_MASK,
	VMX_URET_TSC_AUX,
	VMX_NR_URET_LOADED,
	VMX_URET_CSTAR = VMX_NR_URET_LOADED,
	VMX_NR_URET
};

/*
 * The VMX half of a vCPU. [t] vCPU thread, [p] preemption disabled,
 * [c] const after vcpu_create, [i] per-CPU list, IRQs off.
 */
struct vmx_vcpu {
	struct kiln_vcpu vcpu;		/* first: entry.S gets its address */
	struct vmcs *vmcs;		/* [c] */
	u64 host_rsp;			/* [t] what HOST_RSP holds */
	bool launched;			/* [p] */
	bool guest_loaded;		/* [p] guest MSRs and segments in CPU */
	bool fail;			/* [t] VMLAUNCH/VMRESUME failed */
	bool dr_loaded;			/* [t] guest DR0-3 in the CPU */
	bool irq_window;		/* [t] control bit as in the VMCS */
	bool nmi_window;		/* [t] */
	bool vnmi_blocked;		/* [t] soft NMI mask without vnmi */
	bool nmi_seen;			/* [t] NMIs may be masked, with vnmi */
	bool injected;			/* [t] the entry delivered an event */
	u32 exit_reason;		/* [t] of the latest exit */
	u32 idt_info;			/* [t] */
	u64 host_cr3, host_cr4;		/* [t] as in the VMCS */
	u64 host_perf;			/* [t] likewise, IA32_PERF_GLOBAL_CTRL */
	int loaded_cpu;			/* [i] whose list we are on, or -1 */
	struct list_head loaded;	/* [i] */
	u16 vpid;			/* [c] 0 for none */
	bool timer;			/* [t] the APIC timer is ours to watch */
	u32 pin_ctl;			/* [t] as in the VMCS */
	u32 cpu_ctl, cpu2_ctl;		/* [t] likewise */
	u32 entry_ctl;			/* [t] */
	u32 tpr_threshold;		/* [t] */
	u64 *msr_bitmap;		/* [c] one page */
	u64 msr_kernel_gs_base;		/* [t] while not guest_loaded */
	u64 uret[VMX_NR_URET];		/* [t] guest values */
	u64 host_fs_base, host_gs_base;	/* [p] as in the VMCS */
	u64 host_kernel_gs_base;	/* [p] */
	u16 host_fs_sel, host_gs_sel;	/* [p] */
	u16 host_ds_sel, host_es_sel;	/* [p] */
	u16 host_selectors;		/* [p] the four, ORed */
};

static __always_inline struct vmx_vcpu *to_vmx(struct kiln_vcpu *vcpu)
{
	return container_of(vcpu, struct vmx_vcpu, vcpu);
}

/* caps.c */
#define VMX_WHY		96	/* bytes of a sentence for the log */

int vmx_caps_init(void);
int vmx_caps_read(struct vmx_caps *c, int (*read)(u32 msr, u64 *val),
		  char *why);
void vmx_caps_combine(struct vmx_caps *c);

/* errata.c */
#define VMX_ERRATUM_TIMER	BIT(0)	/* the preemption timer's rate */
#define VMX_ERRATUM_PERF	BIT(1)	/* load IA32_PERF_GLOBAL_CTRL */

u32 vmx_errata(unsigned int family, unsigned int model, unsigned int stepping);

/* cpu.c */
bool vmx_supported(void);
const char *vmx_refusal(u64 feat_ctl, bool feature);
int vmx_usable(void);
int vmx_cpu_enable(void);
void vmx_cpu_disable(void);
int vmx_cpu_setup(void);
void vmx_cpu_unsetup(void);
struct vmcs *vmx_vmcs_alloc(void);
void vmx_vmcs_free(struct vmcs *vmcs);
bool vmx_vmcs_load(struct vmx_vcpu *vmx, int cpu);
void vmx_vmcs_unload(struct vmx_vcpu *vmx);
void vmx_invept(u64 eptp);
void vmx_invvpid(u16 vpid);
u64 vmx_eptp(struct kiln_vm *vm);

/* switch.c */
void vmx_switch_cpu_disable(void);
void vmx_host_state_init(struct vmx_vcpu *vmx);
void vmx_host_state_cpu(struct vmx_vcpu *vmx, int cpu);
void vmx_load_guest(struct vmx_vcpu *vmx);
void vmx_load_host(struct vmx_vcpu *vmx);
void vmx_uret_set(struct vmx_vcpu *vmx, enum vmx_uret_msr i, u64 val);
void vmx_uret_reload(struct vmx_vcpu *vmx);
u64 vmx_read_kernel_gs_base(struct vmx_vcpu *vmx);
void vmx_write_kernel_gs_base(struct vmx_vcpu *vmx, u64 val);

/* vcpu.c */
int vmx_vcpu_create(struct kiln_vcpu *vcpu);
void vmx_vcpu_free(struct kiln_vcpu *vcpu);
void vmx_vcpu_reset(struct kiln_vcpu *vcpu, bool init);
void vmx_vcpu_load(struct kiln_vcpu *vcpu, int cpu);
void vmx_vcpu_put(struct kiln_vcpu *vcpu);
void vmx_msr_passthrough(struct vmx_vcpu *vmx, u32 msr, bool read, bool write);
void vmx_set_cpu_ctl(struct vmx_vcpu *vmx, u32 set, u32 clear);
void vmx_set_cpu2_ctl(struct vmx_vcpu *vmx, u32 set, u32 clear);

/* state.c */
void vmx_cache_reg(struct kiln_vcpu *vcpu, enum kiln_reg reg);
void vmx_get_segment(struct kiln_vcpu *vcpu, enum kiln_seg seg,
		     struct kvm_segment *val);
void vmx_set_segment(struct kiln_vcpu *vcpu, enum kiln_seg seg,
		     const struct kvm_segment *val);
void vmx_get_dtable(struct kiln_vcpu *vcpu, bool idt, struct kvm_dtable *val);
void vmx_set_dtable(struct kiln_vcpu *vcpu, bool idt,
		    const struct kvm_dtable *val);
u32 vmx_get_cs_flags(struct kiln_vcpu *vcpu);
int vmx_get_cpl(struct kiln_vcpu *vcpu);
void vmx_set_cr0(struct kiln_vcpu *vcpu, u64 val);
void vmx_set_cr3(struct kiln_vcpu *vcpu, u64 val);
u64 vmx_hw_cr4(const struct vmx_caps *caps, u64 val, u64 host);
void vmx_set_cr4(struct kiln_vcpu *vcpu, u64 val);
void vmx_set_efer(struct kiln_vcpu *vcpu, u64 val);
void vmx_set_dr7(struct kiln_vcpu *vcpu);
int vmx_get_msr(struct kiln_vcpu *vcpu, u32 msr, u64 *val);
int vmx_set_msr(struct kiln_vcpu *vcpu, u32 msr, u64 val);
void vmx_refresh(struct kiln_vcpu *vcpu, enum kiln_refresh what);
void vmx_flush_tlb(struct kiln_vcpu *vcpu, bool guest);
void vmx_flush_tlb_guest(struct kiln_vcpu *vcpu);

/* events.c */
u32 vmx_get_blocking(struct kiln_vcpu *vcpu);
void vmx_set_blocking(struct kiln_vcpu *vcpu, u32 blocking);
void vmx_set_shadow(struct kiln_vcpu *vcpu, u32 shadow);
void vmx_set_nmi_mask(struct kiln_vcpu *vcpu, bool masked);
void vmx_inject(struct kiln_vcpu *vcpu, enum kiln_inject what);
void vmx_window(struct kiln_vcpu *vcpu, bool nmi);
void vmx_cancel_injection(struct kiln_vcpu *vcpu);
void vmx_skip_insn(struct kiln_vcpu *vcpu);
void vmx_complete_events(struct vmx_vcpu *vmx);
void vmx_apic_mode(struct kiln_vcpu *vcpu);
void vmx_apic_sync(struct kiln_vcpu *vcpu, int max_irr);
void vmx_eoi_map(struct kiln_vcpu *vcpu, const u64 map[4]);

/* enter.c, entry.S */
void vmx_enter(struct kiln_vcpu *vcpu);
int vmx_enter_guest(struct vmx_vcpu *vmx, bool launched, u64 *host_rsp);
void vmx_exit_landing(void);

/* exits.c */
int vmx_handle_exit(struct kiln_vcpu *vcpu);
void vmx_death(struct kiln_vcpu *vcpu, struct kiln_death *death);

#endif /* KILN_VMX_VMX_H */
