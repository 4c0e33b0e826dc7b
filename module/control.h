/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What state.c needs of control.c; nobody else.
 */
#ifndef KILN_CONTROL_H
#define KILN_CONTROL_H

#include <linux/types.h>

struct kiln_vcpu;

/* Would a load of CR0 be accepted, whatever state the vCPU is in? */
bool kiln_cr0_valid(u64 cr0);

/* Has CR3 no bits beyond the guest's physical addresses? */
bool kiln_cr3_valid(struct kiln_vcpu *vcpu, u64 cr3);

/* Bits of EFER that user space may set. */
u64 kiln_efer_offered(void);

/* Store CR3 without checks, in vcpu->cr3, the register cache and hardware. */
void kiln_write_cr3(struct kiln_vcpu *vcpu, u64 val);

/* What DR6 and DR7 hold after a write of @val. */
u64 kiln_dr6_fixed(struct kiln_vcpu *vcpu, u64 val);
u64 kiln_dr7_fixed(struct kiln_vcpu *vcpu, u64 val);

#endif /* KILN_CONTROL_H */
