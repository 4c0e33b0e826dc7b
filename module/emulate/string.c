// SPDX-License-Identifier: GPL-2.0-only
/*
 * MOVS, STOS, LODS: one iteration at a time. Registers are those of an
 * instruction boundary after each, so between two iterations interrupts may
 * be taken, user space asked, or the vCPU be migrated.
 */
#include <linux/types.h>

#include "emulate.h"
#include "execute.h"
#include "insn.h"

/* The element at RSI (or its part) in the segment of the instruction. */
static enum emulate_result load(struct emulate_ctxt *ctxt, u64 *value)
{
	const struct kiln_insn *insn = &ctxt->insn;
	u64 offset = ctxt->gpr[REG_RSI] & size_mask(insn->addr_size);
	enum emulate_result result;
	u64 linear;

	*value = 0;
	result = emulate_linear(ctxt, insn->seg, offset, insn->size,
				EMU_ACCESS_READ, &linear);
	if (result != EMU_DONE)
		return result;
	return ctxt->ops->read(ctxt, linear, value, insn->size,
			       EMU_ACCESS_READ);
}

/* The element at RDI (or its part) in ES. */
static enum emulate_result store(struct emulate_ctxt *ctxt, const u64 *value)
{
	const struct kiln_insn *insn = &ctxt->insn;
	u64 offset = ctxt->gpr[REG_RDI] & size_mask(insn->addr_size);
	enum emulate_result result;
	u64 linear;

	result = emulate_linear(ctxt, EMU_ES, offset, insn->size,
				EMU_ACCESS_WRITE, &linear);
	if (result != EMU_DONE)
		return result;
	return ctxt->ops->write(ctxt, linear, value, insn->size);
}

/* Add to a register of the address size. */
static void advance(struct emulate_ctxt *ctxt, u8 reg, s64 by)
{
	write_low(&ctxt->gpr[reg], ctxt->gpr[reg] + by, ctxt->insn.addr_size);
}

static enum emulate_result iterate(struct emulate_ctxt *ctxt)
{
	const struct kiln_insn *insn = &ctxt->insn;
	s64 step = ctxt->rflags & FLAG_DF ? -insn->size : insn->size;
	u64 value = ctxt->gpr[REG_RAX];
	enum emulate_result result = EMU_DONE;

	if (insn->op != OP_STOS)
		result = load(ctxt, &value);
	if (result == EMU_DONE && insn->op != OP_LODS)
		result = store(ctxt, &value);
	if (result != EMU_DONE)
		return result;

	if (insn->op == OP_LODS)
		write_low(&ctxt->gpr[REG_RAX], value, insn->size);
	if (insn->op != OP_STOS)
		advance(ctxt, REG_RSI, step);
	if (insn->op != OP_LODS)
		advance(ctxt, REG_RDI, step);
	return EMU_DONE;
}

/* REP and REPNE mean the same for these three. */
enum emulate_result execute_string(struct emulate_ctxt *ctxt)
{
	const struct kiln_insn *insn = &ctxt->insn;
	u64 mask = size_mask(insn->addr_size);
	enum emulate_result result;

	if (!(insn->prefixes & (EMU_PREFIX_REP | EMU_PREFIX_REPNE))) {
		result = iterate(ctxt);
		if (result == EMU_DONE)
			retire(ctxt);
		return result;
	}

	if (ctxt->gpr[REG_RCX] & mask) {
		result = iterate(ctxt);
		if (result != EMU_DONE)
			return result;
		advance(ctxt, REG_RCX, -1);
	}
	if (ctxt->gpr[REG_RCX] & mask)
		ctxt->again = true;
	else
		retire(ctxt);
	return EMU_DONE;
}
