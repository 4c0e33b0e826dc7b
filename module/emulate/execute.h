/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to the room: registers, flags and arithmetic, shared by the files
 * that carry instructions out.
 */
#ifndef KILN_EMULATE_EXECUTE_H
#define KILN_EMULATE_EXECUTE_H

#include <linux/string.h>
#include <linux/types.h>

#include "emulate.h"

/* RFLAGS, SDM vol. 1 §3.4.3 */
#define FLAG_CF		0x00000001ULL
#define FLAG_PF		0x00000004ULL
#define FLAG_AF		0x00000010ULL
#define FLAG_ZF		0x00000040ULL
#define FLAG_SF		0x00000080ULL
#define FLAG_DF		0x00000400ULL
#define FLAG_OF		0x00000800ULL
#define FLAG_RF		0x00010000ULL
#define FLAGS_ARITH	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | \
			 FLAG_OF)

#define REG_RAX		0
#define REG_RCX		1
#define REG_RDX		2
#define REG_RBX		3
#define REG_RSI		6
#define REG_RDI		7

/**
 * struct alu - one operation between values
 * @dst: value of the destination operand before; cut to the size
 * @src: value of the other operand; cut to the size
 * @result: out: value of the destination after, cut to the size
 * @flags: in: RFLAGS before; out: after
 */
struct alu {
	u64 dst;
	u64 src;
	u64 result;
	u64 flags;
};

/* Operation @op (enum insn_op, OP_ADD to OP_DEC) on operands of @size bytes. */
void alu_compute(struct alu *alu, u8 op, unsigned int size);
/* OP_BT to OP_BTC, @alu->src being the bit's number below 8 * @size. */
void alu_bit(struct alu *alu, u8 op);

enum emulate_result execute_string(struct emulate_ctxt *ctxt);

/* All ones in the low @size bytes, @size being 1, 2, 4 or 8. */
static inline u64 size_mask(unsigned int size)
{
	return ~0ULL >> (64 - 8 * size);
}

/*
 * Write the low @size bytes of a register as instructions do: 4 bytes clear
 * the upper half, 1 and 2 keep the rest (SDM vol. 1 §3.4.1.1).
 */
static inline void write_low(u64 *reg, u64 value, unsigned int size)
{
	if (size >= 4)
		*reg = value & size_mask(size);
	else
		*reg = (*reg & ~size_mask(size)) | (value & size_mask(size));
}

/* Without REX, byte registers 4 to 7 are AH, CH, DH, BH. */
static inline bool is_high_byte(const struct kiln_insn *insn, u8 reg,
				unsigned int size)
{
	return size == 1 && !insn->rex && reg >= 4;
}

static inline u64 read_reg(const struct emulate_ctxt *ctxt, u8 reg,
			   unsigned int size)
{
	if (is_high_byte(&ctxt->insn, reg, size))
		return (ctxt->gpr[reg & 3] >> 8) & 0xff;
	return ctxt->gpr[reg] & size_mask(size);
}

static inline void write_reg(struct emulate_ctxt *ctxt, u8 reg, u64 value,
			     unsigned int size)
{
	u64 *gpr = ctxt->gpr;

	if (is_high_byte(&ctxt->insn, reg, size))
		gpr[reg & 3] = (gpr[reg & 3] & ~0xff00ULL) |
			       (value & 0xff) << 8;
	else
		write_low(&gpr[reg], value, size);
}

/* RIP of the next instruction. EIP and IP do not carry into what is above. */
static inline u64 next_rip(const struct emulate_ctxt *ctxt)
{
	u64 rip = ctxt->rip + ctxt->insn.length;

	return ctxt->mode == EMU_MODE_LONG64 ? rip : (u32)rip;
}

/* The instruction is complete. */
static inline void retire(struct emulate_ctxt *ctxt)
{
	ctxt->rip = next_rip(ctxt);
	ctxt->rflags &= ~FLAG_RF;
}

#endif /* KILN_EMULATE_EXECUTE_H */
