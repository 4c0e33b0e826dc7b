/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The vCPU object: its state, the requests others post to it, and what the
 * rooms below may call.
 */
#ifndef KILN_VCPU_H
#define KILN_VCPU_H

#include <linux/kvm.h>
#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcuwait.h>
#include <linux/types.h>
#include <asm/fpu/types.h>

#include "clock.h"
#include "cpuid.h"
#include "emulate/emulate.h"
#include "kiln.h"
#include "mmu/mmu.h"
#include "stats.h"

struct kiln_vm;
struct kiln_lapic;
struct kiln_queue;

/* General registers in the order of the ModRM encoding. */
enum kiln_reg {
	KILN_RAX, KILN_RCX, KILN_RDX, KILN_RBX,
	KILN_RSP, KILN_RBP, KILN_RSI, KILN_RDI,
	KILN_R8, KILN_R9, KILN_R10, KILN_R11,
	KILN_R12, KILN_R13, KILN_R14, KILN_R15,
	KILN_NR_GPRS,
	/* cached lazily; the backend may hold the truth */
	KILN_RIP = KILN_NR_GPRS,
	KILN_RFLAGS,
	KILN_CR3,
	KILN_NR_REGS
};

/* Segment registers in the order of the instruction encoding. */
enum kiln_seg {
	KILN_ES, KILN_CS, KILN_SS, KILN_DS, KILN_FS, KILN_GS,
	KILN_LDTR, KILN_TR,
	KILN_NR_SEGS
};

/*
 * Requests: a bit set by anyone, consumed by the vCPU's own thread before its
 * next entry. kiln_vcpu_request() sets the bit and makes the vCPU look.
 */
enum kiln_request {
	KILN_REQ_EVENT,		/* interrupts, NMI, INIT or SIPI may be pending */
	KILN_REQ_TLB_FLUSH,	/* second-stage tables changed */
	KILN_REQ_TLB_GUEST,	/* the guest's own translations changed */
	KILN_REQ_CLOCK,		/* pvclock page to be written */
	KILN_REQ_STEAL,		/* steal time to be written */
	KILN_REQ_EOI_MAP,	/* EOI-exit bitmap or I/O APIC routing changed */
	KILN_REQ_APIC_MODE,	/* local APIC changed mode: refresh the backend */
	KILN_REQ_SHUTDOWN,	/* triple fault outside the guest (MSR, emulation) */
	KILN_REQ_VIRTIO,	/* serve the queue in vcpu->kicked */
	KILN_REQ_SYSTEM_EVENT,	/* tell user space of vcpu->system_event */
	KILN_REQ_KICK,		/* nothing but a look: leave the guest once */
};

/* Where the vCPU thread is, for kicks (see kiln_vcpu_kick()). */
enum kiln_mode {
	KILN_OUTSIDE,
	KILN_IN_GUEST,
};

/**
 * struct kiln_event - an exception to be delivered to the guest
 * @pending: raised, not yet handed to the hardware
 * @injected: handed to the hardware; delivery was cut short by an exit
 * @has_error: @error is to be pushed
 * @soft: INT n, INT3 or INTO: @insn_len is needed to resume
 */
struct kiln_event {
	bool pending;
	bool injected;
	bool has_error;
	bool soft;
	u8 vector;
	u8 insn_len;
	u32 error;
};

#define KILN_MMIO_FRAGMENTS	4

#define KILN_WALK_WORDS		5	/* a walk of five levels */
#define KILN_CODE_WORDS		2	/* covers an instruction's 15 bytes */

/**
 * struct kiln_insn_memo - a decoded instruction and what it depends on
 * @linear: its address; 0 if nothing is remembered
 * @cr0: control registers of the translation
 * @cr3: likewise
 * @cr4: likewise
 * @efer: likewise
 * @cpl: privilege level it was fetched at
 * @nr: words in @word
 * @generation: of the memory slots
 * @word: entries of the guest's page tables, then the code bytes
 * @insn: decoded in 64-bit mode
 *
 * Device drivers touch their device from few places. As long as the registers
 * and the words are what they were, walking and decoding again would come to
 * the same result; comparing is a tenth of the work.
 */
struct kiln_insn_memo {
	u64 linear;
	u64 cr0, cr3, cr4, efer;
	u8 cpl;
	u8 nr;
	unsigned long generation;
	struct kiln_mmu_word word[KILN_WALK_WORDS + KILN_CODE_WORDS];
	struct kiln_insn insn;
};

#define KILN_INSN_MEMOS		8	/* a power of two */

/**
 * struct kiln_mmio - device accesses of the instruction being emulated
 * @done: accesses already made, in order
 * @nr_done: how many
 * @next: replay position
 * @load: @insn is a plain load, which needs nothing but the value
 * @insn: the instruction, if @load
 * @mode: enum emulate_mode it was decoded in
 *
 * An instruction that needs user space is executed again from the start once
 * user space has answered; accesses already made are replayed from here.
 */
struct kiln_mmio {
	struct kiln_mmio_fragment {
		u64 gpa;
		u8 data[8];
		u8 len;
		bool write;
	} done[KILN_MMIO_FRAGMENTS];
	u8 nr_done;
	u8 next;
	bool load;
	u8 mode;
	struct kiln_insn insn;
};

/**
 * struct kiln_pio - a port access that user space completes
 * @port: its number
 * @size: bytes per item
 * @string: INS
 * @count: items asked for
 * @data: page at KVM_PIO_PAGE_OFFSET of the vCPU's mmap: hostile
 */
struct kiln_pio {
	u16 port;
	u8 size;
	bool string;
	u32 count;
	void *data;
};

/*
 * Locks: [v] vcpu->mutex, held across every vCPU ioctl;
 *        [t] the vCPU thread only (implies [v] while in KVM_RUN);
 *        [a] atomic; [c] const after creation; [p] preemption disabled.
 * Initialised by kiln_vcpu_create() unless said otherwise.
 */
struct kiln_vcpu {
	/* hot: touched on every exit; offsets are used by entry.S */
	u64 regs[KILN_NR_REGS];		/* [v] see kiln_reg_read() */
	u64 spec_ctrl;			/* [t] guest's, unless hw.has_spec_ctrl */
	u64 host_spec_ctrl;		/* [t] to return to */
	u8 spec_ctrl_live;		/* [v] the guest writes it without exit */
	u32 regs_avail;			/* [v] bit per enum kiln_reg */
	u32 regs_dirty;			/* [v] */
	unsigned long requests;		/* [a] */
	int mode;			/* [a] enum kiln_mode; written by [t] */
	int cpu;			/* [p] where loaded, or -1 */
	struct kiln_queue *kicked;	/* [a] virtio: to be served, or NULL */
	bool lends;			/* [t] in the run loop: others may set @kicked */
	struct kiln_vm *vm;		/* [c] */
	struct kvm_run *run;		/* [c] shared with user space: hostile */
	struct kiln_lapic *lapic;	/* [c] NULL without in-kernel APIC */

	u64 virt_spec_ctrl;		/* [v] AMD's, of which SSBD */
	u64 number;			/* [p] unlike any vCPU's, ever, or 0 */
	u32 id;				/* [c] vcpu_id of KVM_CREATE_VCPU, APIC id */
	u32 index;			/* [c] place in vm->vcpus */
	struct mutex mutex;
	struct rcuwait wait;
	struct pid __rcu *pid;		/* last thread in KVM_RUN */
	struct preempt_notifier notifier;

	/* control state not held by the backend [v] */
	u64 cr0, cr2, cr3, cr4, cr8, efer;
	u64 cr4_reserved;		/* from CPUID */
	u64 efer_reserved;
	u64 pat, misc_enable, feature_control, bios_sign;
	u64 xcr0, xss;
	u64 guest_supported_xcr0;
	u32 pkru;
	u64 dr[4], dr6, dr7;
	u64 pdptrs[4];			/* of PAE paging, SDM vol. 3 §4.4.1 */
	u64 mtrr_def;
	u64 mtrr_fixed[11];
	u64 mtrr_var[16];
	u64 mcg_cap, mcg_status, mcg_ctl;
	u64 hv_crash[5];		/* HV_X64_MSR_CRASH_P0 to P4 */
	u32 system_event;		/* KVM_SYSTEM_EVENT_*, with KILN_REQ_SYSTEM_EVENT */
	u64 power_ctl;
	u64 apic_base;			/* IA32_APIC_BASE without .lapic */
	u64 *mce_banks;
	u32 maxphyaddr;
	u8 msr_last;			/* row of the MSR table used last */

	/* events [v] */
	struct kiln_event exception;
	bool irq_injected;		/* a vector is with the hardware */
	bool irq_soft;
	u8 irq_vector;
	u8 irq_insn_len;
	atomic_t nmi_queued;		/* [a] by other threads */
	unsigned int nmi_pending;
	bool nmi_injected;
	u32 mp_state;			/* written under [v] by [t] */
	bool triple_fault;

	struct kiln_cpuid cpuid;	/* [v] */
	struct kiln_clock clock;	/* [v] */
	struct kiln_mmu_cpu mmu;	/* [t] */
	struct kiln_mmio mmio;		/* [t] */
	struct kiln_insn_memo memo[KILN_INSN_MEMOS]; /* [t] by address */
	struct kiln_pio pio;		/* [t] */
	struct fpu_guest fpu;		/* [v] */
	bool fpu_loaded;
	bool preempted;
	bool sigset_active;
	sigset_t sigset;
	u64 halt_poll_ns;
	u64 wakeup_ns;			/* [t] lead for a halted vCPU's timer */
	u64 entry_lead;			/* [t] from there into the guest, TSC */
	u64 wait_tsc;			/* [t] do not enter before, or 0 */
	int (*complete)(struct kiln_vcpu *vcpu); /* [v] after user space */
	u64 complete_rip;		/* [v] where it has to be still */

	struct kiln_death death;	/* [v] valid if .kind */
	struct kiln_vcpu_stats stats;	/* written by [t], read by any */
};

static inline bool kiln_request_pending(struct kiln_vcpu *vcpu)
{
	return READ_ONCE(vcpu->requests);
}

/**
 * kiln_vcpu_kick() - make a vCPU look at its requests
 * @vcpu: any vCPU
 *
 * Wakes it if it is blocked in HLT, makes it leave the guest if it is in it.
 * The caller has set a request bit (or other state the run loop checks)
 * before; the barrier pairs with the one in the run loop between setting
 * KILN_IN_GUEST and reading the requests.
 *
 * Context: any, IRQs may be off.
 */
void kiln_vcpu_kick(struct kiln_vcpu *vcpu);

/**
 * kiln_vcpu_request() - post a request and kick
 * @vcpu: any vCPU
 * @req: what it shall do before its next entry
 *
 * Context: any, IRQs may be off.
 */
static inline void kiln_vcpu_request(struct kiln_vcpu *vcpu,
				     enum kiln_request req)
{
	set_bit(req, &vcpu->requests);
	kiln_vcpu_kick(vcpu);
}

static inline bool kiln_take_request(struct kiln_vcpu *vcpu,
				     enum kiln_request req)
{
	if (!test_bit(req, &vcpu->requests))
		return false;
	clear_bit(req, &vcpu->requests);
	/* What the one who set it changed before is seen from here on. */
	smp_mb__after_atomic();
	return true;
}

u64 kiln_cache_reg(struct kiln_vcpu *vcpu, enum kiln_reg reg);

static inline u64 kiln_reg_read(struct kiln_vcpu *vcpu, enum kiln_reg reg)
{
	if (likely(vcpu->regs_avail & BIT(reg)))
		return vcpu->regs[reg];
	return kiln_cache_reg(vcpu, reg);
}

static inline void kiln_reg_write(struct kiln_vcpu *vcpu, enum kiln_reg reg,
				  u64 val)
{
	vcpu->regs[reg] = val;
	vcpu->regs_avail |= BIT(reg);
	vcpu->regs_dirty |= BIT(reg);
}

static inline u64 kiln_rip(struct kiln_vcpu *vcpu)
{
	return kiln_reg_read(vcpu, KILN_RIP);
}

static inline u64 kiln_edx_eax(struct kiln_vcpu *vcpu)
{
	return (u32)vcpu->regs[KILN_RAX] | vcpu->regs[KILN_RDX] << 32;
}

/* What the run loop does after a handler. Negative: errno of KVM_RUN. */
#define KILN_EXIT_USER		0
#define KILN_RESUME		1

#endif /* KILN_VCPU_H */
