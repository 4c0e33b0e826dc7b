// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state that firmware and boot loader would have left: descriptor tables,
 * segments, control registers (SDM vol. 3 §9.8, §9.9), memory type, and the
 * local APIC in virtual wire mode.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "vcpu.h"

#define CR0_PE		(1ULL << 0)
#define CR0_ET		(1ULL << 4)
#define CR0_PG		(1ULL << 31)
#define CR4_PAE		(1ULL << 5)
#define EFER_LME	(1ULL << 8)
#define EFER_LMA	(1ULL << 10)
#define RFLAGS_ALWAYS	2ULL

#define TYPE_CODE	0xb	/* execute, read, accessed */
#define TYPE_DATA	0x3	/* read, write, accessed */
#define TYPE_TSS	0xb	/* busy; 32 or 64 bits */

#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLE		(1ULL << 11)
#define MTRR_WRITE_BACK		6

/* Local APIC registers (SDM vol. 3 §10.5.1, §10.9). */
#define APIC_SVR	0xf0
#define APIC_LVT_LINT0	0x350
#define APIC_LVT_LINT1	0x360
#define SVR_ENABLE	0x1ff	/* software enable, spurious vector 0xff */
#define LVT_NMI		0x400
#define LVT_EXTINT	0x700

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool long_mode)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = long_mode,
		.db = !long_mode,
	};
}

/* A descriptor as in memory (SDM vol. 3 figure 3-8): a kernel may load its selectors again. */
static uint64_t descriptor(const struct kvm_segment *s)
{
	uint64_t limit = s->g ? s->limit >> 12 : s->limit;
	uint64_t attributes = (uint64_t)s->type | s->s << 4 | s->dpl << 5 | s->present << 7;
	uint64_t flags = (uint64_t)s->avl | s->l << 1 | s->db << 2 | s->g << 3;

	return (limit & 0xffff) | (s->base & 0xffffff) << 16 | attributes << 40 |
	       (limit >> 16 & 0xf) << 48 | flags << 52 | (s->base >> 24 & 0xff) << 56;
}

static void set_segments(struct kvm_sregs *sregs, const struct guest_memory *memory,
			 bool long_mode)
{
	uint64_t *gdt = guest_ptr(memory, BOOT_GDT, BOOT_TSS + 2 * sizeof(*gdt));
	struct kvm_segment data = segment(BOOT_DS, TYPE_DATA, false);

	sregs->cs = segment(BOOT_CS, TYPE_CODE, long_mode);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){ .limit = 0x67, .selector = BOOT_TSS, .type = TYPE_TSS,
					  .present = 1 };
	sregs->ldt = (struct kvm_segment){ .unusable = 1 };
	gdt[BOOT_CS / 8] = descriptor(&sregs->cs);
	gdt[BOOT_DS / 8] = descriptor(&data);
	gdt[BOOT_TSS / 8] = descriptor(&sregs->tr);
	sregs->gdt.base = BOOT_GDT;
	sregs->gdt.limit = BOOT_TSS + 2 * sizeof(*gdt) - 1;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
}

static void set_control(struct kvm_sregs *sregs, const struct boot_state *boot)
{
	sregs->cr0 = CR0_PE | CR0_ET;
	sregs->cr4 = 0;
	sregs->efer = 0;
	if (!boot->long_mode)
		return;
	sregs->cr0 |= CR0_PG;
	sregs->cr3 = boot->cr3;
	sregs->cr4 = CR4_PAE;
	sregs->efer = EFER_LME | EFER_LMA;
}

static int refused(const struct vcpu *vcpu, const char *call)
{
	return error_set("vCPU %u: %s: %s; load a matching module", vcpu->id, call,
			 strerror(errno));
}

int vcpu_set_boot_state(const struct vcpu *vcpu, const struct guest_memory *memory,
			const struct boot_state *boot)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = boot->rip,
		.rax = boot->rax,
		.rbx = boot->rbx,
		.rsi = boot->rsi,
		.rflags = RFLAGS_ALWAYS,
	};

	if (vm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		return refused(vcpu, "KVM_GET_SREGS");
	set_segments(&sregs, memory, boot->long_mode);
	set_control(&sregs, boot);
	if (vm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs))
		return refused(vcpu, "KVM_SET_SREGS");
	if (vm_ioctl(vcpu->fd, KVM_SET_REGS, &regs))
		return refused(vcpu, "KVM_SET_REGS");
	return 0;
}

/* All memory write-back: with MTRRs off, Linux leaves the PAT alone too. */
static int set_memory_type(const struct vcpu *vcpu)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} msrs = {
		.header.nmsrs = 1,
		.entry = { .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK },
	};

	if (vm_ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) != 1)
		return refused(vcpu, "KVM_SET_MSRS");
	return 0;
}

static void set_apic(struct kvm_lapic_state *apic, unsigned int reg, uint32_t value)
{
	memcpy(apic->regs + reg, &value, sizeof(value));
}

/* Virtual wire mode: the PIC reaches the first CPU through LINT0, NMI through LINT1. */
static int set_virtual_wire(const struct vcpu *vcpu)
{
	struct kvm_lapic_state apic;

	if (vm_ioctl(vcpu->fd, KVM_GET_LAPIC, &apic))
		return refused(vcpu, "KVM_GET_LAPIC");
	set_apic(&apic, APIC_SVR, SVR_ENABLE);
	set_apic(&apic, APIC_LVT_LINT0, LVT_EXTINT);
	set_apic(&apic, APIC_LVT_LINT1, LVT_NMI);
	if (vm_ioctl(vcpu->fd, KVM_SET_LAPIC, &apic))
		return refused(vcpu, "KVM_SET_LAPIC");
	return 0;
}

int vcpu_set_firmware_state(const struct vcpu *vcpu)
{
	if (set_memory_type(vcpu))
		return -1;
	return vcpu->id ? 0 : set_virtual_wire(vcpu);
}
