/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random instructions for the comparison of host_native.c: bytes, and the
 * registers that make their operand lie in the window.
 */
#ifndef KILN_EMULATE_HOST_PROGRAM_H
#define KILN_EMULATE_HOST_PROGRAM_H

#include <linux/types.h>

#define FLAGS		0xcd5ULL	/* CF PF AF ZF SF DF OF */
#define WINDOW		0x2000		/* bytes that operands may lie in */

extern u8 *window;		/* below 2 GiB */
extern u64 gs_base;

struct shape;

/**
 * struct program - one instruction, ready to be executed
 * @bytes: the instruction
 * @len: its length; over 15 it is no instruction
 * @gpr: registers before
 * @flags: flags before
 * @undefined: flags that are not defined after
 *
 * The others belong to the generator.
 */
struct program {
	u8 bytes[24];
	unsigned int len;
	u64 gpr[16];
	u64 flags;
	u64 undefined;

	const struct shape *shape;
	unsigned int disp_at;	/* of a RIP-relative displacement */
	bool opsize, addrsize, lock, gs, memory;
	u8 rex;
	u8 reg, rm;
	u8 base, index, scale;
	u8 disp_size;
	s32 disp;
	u32 offset;		/* of the operand in the window */
};

void random_seed(u64 value);
u64 random64(void);

/* An instruction with ModRM, to be executed at @address. */
void program_any(struct program *p, u64 address, bool movbe);
/* MOVS, STOS or LODS, with and without REP. */
void program_string(struct program *p);
/* MOV with a direct address, A0 to A3. */
void program_direct(struct program *p);

#endif /* KILN_EMULATE_HOST_PROGRAM_H */
