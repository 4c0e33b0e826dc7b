// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arithmetic and its flags, on values cut to the operand size (SDM vol. 1
 * appendix A). Flags that the manual leaves undefined get the value that
 * Intel's and AMD's CPUs give them: AF is clear after AND, OR, XOR and TEST,
 * and the bit tests change CF alone.
 */
#include <linux/types.h>

#include "execute.h"
#include "insn.h"

/* Even parity of the low byte: bit n of the constant is set for such n. */
static bool parity_even(u64 value)
{
	return (0x9669 >> ((value ^ value >> 4) & 0xf)) & 1;
}

/* ZF, SF and PF follow from every result. */
static u64 result_flags(u64 result, unsigned int size)
{
	u64 flags = 0;

	if (!result)
		flags |= FLAG_ZF;
	if (result >> (8 * size - 1))
		flags |= FLAG_SF;
	if (parity_even(result))
		flags |= FLAG_PF;
	return flags;
}

/*
 * @carries and @overflow have in bit n what happened at bit n: the carry (or
 * borrow) out of it, and whether operands and result disagree in sign there.
 */
static void set_arith(struct alu *alu, u64 carries, u64 overflow, u64 changed,
		      unsigned int size)
{
	unsigned int top = 8 * size - 1;
	u64 flags = result_flags(alu->result, size);

	if ((carries >> top) & 1)
		flags |= FLAG_CF;
	if ((overflow >> top) & 1)
		flags |= FLAG_OF;
	if ((carries >> 3) & 1)
		flags |= FLAG_AF;
	alu->flags = (alu->flags & ~changed) | (flags & changed);
}

static void add(struct alu *alu, u64 src, bool carry, u64 changed,
		unsigned int size)
{
	u64 dst = alu->dst;
	u64 sum = (dst + src + carry) & size_mask(size);

	alu->result = sum;
	set_arith(alu, (dst & src) | ((dst | src) & ~sum),
		  (dst ^ sum) & (src ^ sum), changed, size);
}

static void subtract(struct alu *alu, u64 dst, u64 src, bool borrow,
		     u64 changed, unsigned int size)
{
	u64 diff = (dst - src - borrow) & size_mask(size);

	alu->result = diff;
	set_arith(alu, (~dst & src) | (~(dst ^ src) & diff),
		  (dst ^ src) & (dst ^ diff), changed, size);
}

static void logic(struct alu *alu, u64 result, unsigned int size)
{
	alu->result = result;
	alu->flags = (alu->flags & ~FLAGS_ARITH) | result_flags(result, size);
}

void alu_compute(struct alu *alu, u8 op, unsigned int size)
{
	bool carry = alu->flags & FLAG_CF;

	switch (op) {
	case OP_ADD:
	case OP_XADD:
		add(alu, alu->src, false, FLAGS_ARITH, size);
		break;
	case OP_ADC:
		add(alu, alu->src, carry, FLAGS_ARITH, size);
		break;
	case OP_SUB:
	case OP_CMP:
		subtract(alu, alu->dst, alu->src, false, FLAGS_ARITH, size);
		break;
	case OP_SBB:
		subtract(alu, alu->dst, alu->src, carry, FLAGS_ARITH, size);
		break;
	case OP_AND:
	case OP_TEST:
		logic(alu, alu->dst & alu->src, size);
		break;
	case OP_OR:
		logic(alu, alu->dst | alu->src, size);
		break;
	case OP_XOR:
		logic(alu, alu->dst ^ alu->src, size);
		break;
	case OP_NOT:
		alu->result = ~alu->dst & size_mask(size);
		break;
	case OP_NEG:
		subtract(alu, 0, alu->dst, false, FLAGS_ARITH, size);
		break;
	case OP_INC:
		add(alu, 1, false, FLAGS_ARITH & ~FLAG_CF, size);
		break;
	case OP_DEC:
		subtract(alu, alu->dst, 1, false, FLAGS_ARITH & ~FLAG_CF, size);
		break;
	}
}

void alu_bit(struct alu *alu, u8 op)
{
	u64 bit = 1ULL << alu->src;

	if (alu->dst & bit)
		alu->flags |= FLAG_CF;
	else
		alu->flags &= ~FLAG_CF;

	alu->result = alu->dst;
	if (op == OP_BTS)
		alu->result |= bit;
	else if (op == OP_BTR)
		alu->result &= ~bit;
	else if (op == OP_BTC)
		alu->result ^= bit;
}
