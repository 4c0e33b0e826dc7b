/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every mode an x86 CPU runs code in, for tests that go through all of them. The code is at VM_SCRATCH; memory is mapped
 * one to one where there is paging, but for 4 MiB, which the page tables of the 32-bit modes put at MODE_PAGE.
 */
#ifndef KILN_SELFTESTS_MODE_H
#define KILN_SELFTESTS_MODE_H

#include "vm.h"

enum mode {
	MODE_REAL, MODE_PROTECTED, MODE_PROTECTED_16, MODE_VIRTUAL_8086, MODE_LEGACY_PAGING, MODE_PAE_PAGING, MODE_LONG,
	MODE_COMPATIBILITY,
	N_MODES,
};

#define MODE_TABLES	0x700000UL	/* page tables of the 32-bit modes */
#define MODE_PAGE	0x400000UL

extern const char *const mode_names[N_MODES];
void vcpu_set_mode(struct vcpu *vcpu, enum mode mode);

/* Tables at AT that map one to one, but for 4 MiB, which is at PAGE. */
void build_pae(struct vm *vm, uint64_t at, uint64_t page);
void build_legacy(struct vm *vm, uint64_t at, uint64_t page);

#endif
