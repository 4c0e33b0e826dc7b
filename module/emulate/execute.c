// SPDX-License-Identifier: GPL-2.0-only
/*
 * Carry out one decoded instruction: address, read, compute, write, and only
 * then registers and flags. A callback that cannot answer now (EMU_IO) or
 * raises a fault leaves the CPU as it was.
 */
#include <linux/types.h>

#include "compat.h"
#include "emulate.h"
#include "execute.h"
#include "insn.h"

/* What an operation does with its destination (and with the other operand). */
#define READS_DST	0x1
#define WRITES_DST	0x2
#define WRITES_SRC	0x4

static const u8 op_uses[OP_NR] = {
	[OP_MOV] = WRITES_DST,
	[OP_MOVZX] = WRITES_DST,
	[OP_MOVSX] = WRITES_DST,
	[OP_MOVBE] = WRITES_DST,
	[OP_ADD] = READS_DST | WRITES_DST,
	[OP_OR] = READS_DST | WRITES_DST,
	[OP_ADC] = READS_DST | WRITES_DST,
	[OP_SBB] = READS_DST | WRITES_DST,
	[OP_AND] = READS_DST | WRITES_DST,
	[OP_SUB] = READS_DST | WRITES_DST,
	[OP_XOR] = READS_DST | WRITES_DST,
	[OP_CMP] = READS_DST,
	[OP_TEST] = READS_DST,
	[OP_NOT] = READS_DST | WRITES_DST,
	[OP_NEG] = READS_DST | WRITES_DST,
	[OP_INC] = READS_DST | WRITES_DST,
	[OP_DEC] = READS_DST | WRITES_DST,
	[OP_XCHG] = READS_DST | WRITES_DST | WRITES_SRC,
	[OP_XADD] = READS_DST | WRITES_DST | WRITES_SRC,
	[OP_CMPXCHG] = READS_DST | WRITES_DST,
	[OP_BT] = READS_DST,
	[OP_BTS] = READS_DST | WRITES_DST,
	[OP_BTR] = READS_DST | WRITES_DST,
	[OP_BTC] = READS_DST | WRITES_DST,
};

/* @adjust is added before the sum is cut to the address size. */
static u64 effective_address(const struct emulate_ctxt *ctxt, u64 adjust)
{
	const struct kiln_insn *insn = &ctxt->insn;
	u64 address = insn->disp + adjust;

	if (insn->base < EMU_REG_RIP)
		address += ctxt->gpr[insn->base];
	else if (insn->base == EMU_REG_RIP)
		address += next_rip(ctxt);
	if (insn->index != EMU_REG_NONE)
		address += ctxt->gpr[insn->index] << insn->scale;
	return address & size_mask(insn->addr_size);
}

/*
 * Store to memory what a read-modify-write (@old was read) or a plain store
 * makes of it. XCHG with memory locks without the prefix.
 */
enum emulate_result emulate_operand(struct emulate_ctxt *ctxt,
				    unsigned int size, unsigned int access,
				    u64 *linear)
{
	return emulate_linear(ctxt, ctxt->insn.seg, effective_address(ctxt, 0),
			      size, access, linear);
}

static enum emulate_result store(struct emulate_ctxt *ctxt, u64 linear,
				 u64 old, u64 new)
{
	const struct kiln_insn *insn = &ctxt->insn;

	if ((insn->prefixes & EMU_PREFIX_LOCK) || insn->op == OP_XCHG)
		return ctxt->ops->exchange(ctxt, linear, &old, &new,
					   insn->mem_size);
	return ctxt->ops->write(ctxt, linear, &new, insn->mem_size);
}

/*
 * Bit strings: a register's bit number is signed and reaches beyond the
 * operand, in steps of the operand's size (SDM vol. 2, BT).
 */
static u64 bit_string_step(const struct emulate_ctxt *ctxt)
{
	const struct kiln_insn *insn = &ctxt->insn;
	unsigned int unused = 64 - 8 * insn->size;
	s64 bit = (s64)(ctxt->gpr[insn->reg] << unused) >> unused;

	/* to bytes, rounded down to a multiple of the size */
	return (bit >> 3) & ~(s64)(insn->size - 1);
}

static bool is_bit_op(const struct kiln_insn *insn)
{
	return insn->op >= OP_BT && insn->op <= OP_BTC;
}

static u64 swap_bytes(u64 value, unsigned int size)
{
	return __builtin_bswap64(value) >> (64 - 8 * size);
}

/* What a load of mem_size bytes puts into a register of insn->size. */
static u64 extend(const struct kiln_insn *insn, u64 value)
{
	unsigned int unused = 64 - 8 * insn->mem_size;

	if (insn->op == OP_MOVSX)
		return (s64)(value << unused) >> unused;
	if (insn->op == OP_MOVBE)
		return swap_bytes(value, insn->size);
	return value;
}

/* Result and flags of everything that reads its destination. */
static void compute(struct emulate_ctxt *ctxt, struct alu *alu)
{
	const struct kiln_insn *insn = &ctxt->insn;

	switch (insn->op) {
	case OP_XCHG:
		alu->result = alu->src;
		break;
	case OP_CMPXCHG: {
		struct alu compare = {
			.dst = read_reg(ctxt, REG_RAX, insn->size),
			.src = alu->dst,
			.flags = alu->flags,
		};

		alu_compute(&compare, OP_CMP, insn->size);
		alu->flags = compare.flags;
		alu->result = compare.result ? alu->dst : alu->src;
		break;
	}
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC:
		alu->src &= 8 * insn->size - 1;
		alu_bit(alu, insn->op);
		break;
	default:
		alu_compute(alu, insn->op, insn->size);
		break;
	}
}

/*
 * Memory gets a write either way, a register only if the comparison succeeded:
 * its upper half stays where a 4-byte write would clear it.
 */
static bool is_failed_cmpxchg(const struct kiln_insn *insn,
			      const struct alu *alu)
{
	return insn->op == OP_CMPXCHG && !(alu->flags & FLAG_ZF);
}

/* Registers other than the destination. */
static void commit_source(struct emulate_ctxt *ctxt, const struct alu *alu)
{
	const struct kiln_insn *insn = &ctxt->insn;

	if (op_uses[insn->op] & WRITES_SRC)
		write_reg(ctxt, insn->reg, alu->dst, insn->size);
	else if (is_failed_cmpxchg(insn, alu))
		write_reg(ctxt, REG_RAX, alu->dst, insn->size);
}

static u64 source_value(const struct emulate_ctxt *ctxt)
{
	const struct kiln_insn *insn = &ctxt->insn;

	if (insn->form == FORM_MI)
		return insn->imm & size_mask(insn->size);
	return read_reg(ctxt, insn->reg, insn->size);
}

/* The destination is in memory, or memory is only read. */
static enum emulate_result execute_mem(struct emulate_ctxt *ctxt)
{
	const struct kiln_insn *insn = &ctxt->insn;
	u8 uses = op_uses[insn->op];
	unsigned int access = uses & WRITES_DST ? EMU_ACCESS_WRITE :
						  EMU_ACCESS_READ;
	struct alu alu = {
		.src = source_value(ctxt),
		.flags = ctxt->rflags,
	};
	enum emulate_result result;
	u64 linear, adjust = 0;

	if (is_bit_op(insn) && insn->form == FORM_MR)
		adjust = bit_string_step(ctxt);
	result = emulate_linear(ctxt, insn->seg,
				effective_address(ctxt, adjust),
				insn->mem_size, access, &linear);
	if (result != EMU_DONE)
		return result;
	if (uses & READS_DST) {
		result = ctxt->ops->read(ctxt, linear, &alu.dst, insn->mem_size,
					 access);
		if (result != EMU_DONE)
			return result;
		compute(ctxt, &alu);
	} else {
		alu.result = extend(insn, alu.src);
	}
	if (uses & WRITES_DST) {
		result = store(ctxt, linear, alu.dst, alu.result);
		if (result != EMU_DONE)
			return result;
	}

	commit_source(ctxt, &alu);
	ctxt->rflags = alu.flags;
	retire(ctxt);
	return EMU_DONE;
}

/* The source is in memory (or both operands are registers): reg, r/m. */
static enum emulate_result execute_to_reg(struct emulate_ctxt *ctxt)
{
	const struct kiln_insn *insn = &ctxt->insn;
	u8 uses = op_uses[insn->op];
	struct alu alu = { .flags = ctxt->rflags };
	enum emulate_result result;
	u64 linear;

	if (insn->has_mem) {
		result = emulate_linear(ctxt, insn->seg,
					effective_address(ctxt, 0),
					insn->mem_size, EMU_ACCESS_READ,
					&linear);
		if (result != EMU_DONE)
			return result;
		result = ctxt->ops->read(ctxt, linear, &alu.src, insn->mem_size,
					 EMU_ACCESS_READ);
		if (result != EMU_DONE)
			return result;
	} else {
		alu.src = read_reg(ctxt, insn->rm, insn->mem_size);
	}
	if (uses & READS_DST) {
		alu.dst = read_reg(ctxt, insn->reg, insn->size);
		compute(ctxt, &alu);
	} else {
		alu.result = extend(insn, alu.src);
	}
	if (uses & WRITES_DST)
		write_reg(ctxt, insn->reg, alu.result, insn->size);
	ctxt->rflags = alu.flags;
	retire(ctxt);
	return EMU_DONE;
}

/* The destination is a register: r/m, reg and r/m, immediate, and r/m. */
static enum emulate_result execute_reg(struct emulate_ctxt *ctxt)
{
	const struct kiln_insn *insn = &ctxt->insn;
	u8 uses = op_uses[insn->op];
	struct alu alu = {
		.src = source_value(ctxt),
		.dst = read_reg(ctxt, insn->rm, insn->size),
		.flags = ctxt->rflags,
	};

	if (uses & READS_DST)
		compute(ctxt, &alu);
	else
		alu.result = alu.src;
	/* The destination last: of XADD it wins where both are the same. */
	commit_source(ctxt, &alu);
	if ((uses & WRITES_DST) && !is_failed_cmpxchg(insn, &alu))
		write_reg(ctxt, insn->rm, alu.result, insn->size);
	ctxt->rflags = alu.flags;
	retire(ctxt);
	return EMU_DONE;
}

/* EDX:EAX against memory, ECX:EBX to it; ZF is the only flag. */
static enum emulate_result execute_cmpxchg8b(struct emulate_ctxt *ctxt)
{
	u64 *gpr = ctxt->gpr;
	u64 expected = (u32)gpr[REG_RAX] | gpr[REG_RDX] << 32;
	u64 new = (u32)gpr[REG_RBX] | gpr[REG_RCX] << 32;
	enum emulate_result result;
	u64 linear, old = 0;

	result = emulate_linear(ctxt, ctxt->insn.seg,
				effective_address(ctxt, 0), 8,
				EMU_ACCESS_WRITE, &linear);
	if (result != EMU_DONE)
		return result;
	result = ctxt->ops->read(ctxt, linear, &old, 8, EMU_ACCESS_WRITE);
	if (result != EMU_DONE)
		return result;
	result = store(ctxt, linear, old, old == expected ? new : old);
	if (result != EMU_DONE)
		return result;

	if (old == expected) {
		ctxt->rflags |= FLAG_ZF;
	} else {
		ctxt->rflags &= ~FLAG_ZF;
		gpr[REG_RAX] = (u32)old;
		gpr[REG_RDX] = old >> 32;
	}
	retire(ctxt);
	return EMU_DONE;
}

static enum emulate_result execute(struct emulate_ctxt *ctxt)
{
	const struct kiln_insn *insn = &ctxt->insn;

	if (insn->form == FORM_RM)
		return execute_to_reg(ctxt);
	if (insn->form == FORM_STRING)
		return execute_string(ctxt);
	if (!insn->has_mem)
		return execute_reg(ctxt);
	if (insn->op == OP_CMPXCHG8B)
		return execute_cmpxchg8b(ctxt);
	return execute_mem(ctxt);
}

enum emulate_result emulate_insn(struct emulate_ctxt *ctxt)
{
	enum emulate_result result;

	if (ctxt->insn.kind != EMU_KIND_EXEC)
		return EMU_UNHANDLEABLE;
	ctxt->again = false;
	result = execute(ctxt);
	if (result != EMU_RETRY)
		return result;
	ctxt->again = true;
	return EMU_DONE;
}

KILN_EXPORT_FOR_KUNIT(emulate_insn);

bool emulate_is_store(const struct kiln_insn *insn)
{
	return insn->has_mem && insn->op == OP_MOV && insn->form != FORM_RM;
}

KILN_EXPORT_FOR_KUNIT(emulate_is_store);

bool emulate_is_load(const struct kiln_insn *insn)
{
	return insn->has_mem && insn->form == FORM_RM &&
	       insn->op >= OP_MOV && insn->op <= OP_MOVSX;
}

KILN_EXPORT_FOR_KUNIT(emulate_is_load);

u64 emulate_store_value(const struct emulate_ctxt *ctxt)
{
	return source_value(ctxt);
}

KILN_EXPORT_FOR_KUNIT(emulate_store_value);

void emulate_finish_store(struct emulate_ctxt *ctxt)
{
	retire(ctxt);
}

KILN_EXPORT_FOR_KUNIT(emulate_finish_store);

void emulate_finish_load(struct emulate_ctxt *ctxt, u64 value)
{
	const struct kiln_insn *insn = &ctxt->insn;

	value &= size_mask(insn->mem_size);
	write_reg(ctxt, insn->reg, extend(insn, value), insn->size);
	retire(ctxt);
}

KILN_EXPORT_FOR_KUNIT(emulate_finish_load);
