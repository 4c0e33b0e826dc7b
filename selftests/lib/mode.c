// SPDX-License-Identifier: GPL-2.0-only
/*
 * The modes of mode.h.
 */
#include "mode.h"

#define CR0_PG	0x80000000UL
#define CR4_PSE	0x10
#define CR4_PAE	0x20

const char *const mode_names[N_MODES] = {
	[MODE_REAL] = "real mode",
	[MODE_PROTECTED] = "32-bit protected mode",
	[MODE_PROTECTED_16] = "16-bit protected mode",
	[MODE_VIRTUAL_8086] = "virtual 8086 mode",
	[MODE_LEGACY_PAGING] = "32-bit paging",
	[MODE_PAE_PAGING] = "PAE paging",
	[MODE_LONG] = "long mode",
	[MODE_COMPATIBILITY] = "compatibility mode",
};

void build_pae(struct vm *vm, uint64_t at, uint64_t page)
{
	uint64_t *pdpt = (uint64_t *)(vm->ram + at), *pd = (uint64_t *)(vm->ram + at + 0x1000);

	pdpt[0] = (at + 0x1000) | 1;
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x83;
	pd[2] = page | 0x83;
}

void build_legacy(struct vm *vm, uint64_t at, uint64_t page)
{
	uint32_t *pd = (uint32_t *)(vm->ram + at);

	for (uint32_t i = 0; i < 512; i++)
		pd[i] = i << 22 | 0x83;
	pd[1] = page | 0x83;
}

static void set_flags(struct vcpu *vcpu, uint64_t flags, uint64_t rsp)
{
	struct kvm_regs regs = vcpu_regs(vcpu);

	regs.rflags |= flags;
	regs.rsp = rsp;
	vcpu_set_regs(vcpu, &regs);
}

static void set_paging(struct vcpu *vcpu, uint64_t cr4)
{
	struct kvm_sregs s = vcpu_sregs(vcpu);

	s.cr4 |= cr4;
	s.cr3 = MODE_TABLES;
	s.cr0 |= CR0_PG;
	vcpu_set_sregs(vcpu, &s);
}

static void set_virtual_8086(struct vcpu *vcpu)
{
	struct kvm_segment segment = { .limit = 0xffff, .type = 3, .present = 1, .s = 1, .dpl = 3 };
	struct kvm_sregs s;

	set_flags(vcpu, 1 << 17, 0xf000);
	s = vcpu_sregs(vcpu);
	s.cs = s.ds = s.es = s.fs = s.gs = s.ss = segment;
	vcpu_set_sregs(vcpu, &s);
}

static void set_code_size(struct vcpu *vcpu, int db)
{
	struct kvm_sregs s = vcpu_sregs(vcpu);

	s.cs.l = 0;
	s.cs.db = db;
	vcpu_set_sregs(vcpu, &s);
}

void vcpu_set_mode(struct vcpu *vcpu, enum mode mode)
{
	switch (mode) {
	case MODE_REAL:
		vcpu_real_mode(vcpu, VM_SCRATCH);
		return;
	case MODE_LONG:
	case MODE_COMPATIBILITY:
		vcpu_long_mode(vcpu, (void (*)(void))VM_SCRATCH);
		if (mode == MODE_COMPATIBILITY)
			set_code_size(vcpu, 1);
		return;
	default:
		vcpu_protected_mode(vcpu, VM_SCRATCH);
	}
	if (mode == MODE_PROTECTED_16)
		set_code_size(vcpu, 0);
	if (mode == MODE_VIRTUAL_8086)
		set_virtual_8086(vcpu);
	if (mode == MODE_LEGACY_PAGING) {
		build_legacy(vcpu->vm, MODE_TABLES, MODE_PAGE);
		set_paging(vcpu, CR4_PSE);
	}
	if (mode == MODE_PAE_PAGING) {
		build_pae(vcpu->vm, MODE_TABLES, MODE_PAGE);
		set_paging(vcpu, CR4_PAE);
	}
}
