/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_SPEC_OFFSETS_H
#define KILN_SPEC_OFFSETS_H

/* Places in struct kiln_vcpu behind regs[]; spec.c checks them. */
#define SPEC_GUEST	(19 * 8)
#define SPEC_HOST	(20 * 8)
#define SPEC_LIVE	(21 * 8)

#endif /* KILN_SPEC_OFFSETS_H */
