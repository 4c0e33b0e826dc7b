// SPDX-License-Identifier: GPL-2.0-only
/*
 * From bytes to struct kiln_insn: prefixes, opcode (by table), ModRM, SIB,
 * displacement, immediate (SDM vol. 2 chapter 2). The bytes are the guest's
 * and hostile; each is looked at once, and none beyond the length given.
 */
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>

#include "compat.h"
#include "emulate.h"
#include "insn.h"

/* ModRM.mod of a register operand */
#define MOD_REG		3

struct decoder {
	struct kiln_insn *insn;
	const u8 *pos;
	const u8 *end;		/* of what may be read */
	bool truncated;		/* more bytes than up to @end can be had */
	enum emulate_mode mode;
	u8 op;
	u16 flags;		/* D_* */
};

static int invalid(struct decoder *d, u8 vector)
{
	d->insn->fault = vector;
	return -EINVAL;
}

/* The instruction goes on beyond d->end. */
static int ran_out(struct decoder *d)
{
	return d->truncated ? -EAGAIN : invalid(d, EMU_VEC_GP);
}

static bool have(const struct decoder *d, unsigned int bytes)
{
	return d->end - d->pos >= bytes;
}

/* Little-endian values of 1 to 8 bytes; the caller has checked have(). */
static s64 take_signed(struct decoder *d, unsigned int bytes)
{
	s64 value;
	s32 value32;
	s16 value16;

	switch (bytes) {
	case 1:
		value = (s8)*d->pos;
		break;
	case 2:
		memcpy(&value16, d->pos, sizeof(value16));
		value = value16;
		break;
	case 4:
		memcpy(&value32, d->pos, sizeof(value32));
		value = value32;
		break;
	default:
		memcpy(&value, d->pos, sizeof(value));
		break;
	}
	d->pos += bytes;
	return value;
}

static void take_prefix(struct decoder *d, u8 byte)
{
	struct kiln_insn *insn = d->insn;

	switch (byte) {
	case 0xf0:
		insn->prefixes |= EMU_PREFIX_LOCK;
		break;
	case 0xf2:
		insn->prefixes &= ~EMU_PREFIX_REP;
		insn->prefixes |= EMU_PREFIX_REPNE;
		break;
	case 0xf3:
		insn->prefixes &= ~EMU_PREFIX_REPNE;
		insn->prefixes |= EMU_PREFIX_REP;
		break;
	case 0x66:
		insn->prefixes |= EMU_PREFIX_OPSIZE;
		break;
	case 0x67:
		insn->prefixes |= EMU_PREFIX_ADDRSIZE;
		break;
	case 0x64:
	case 0x65:
		insn->prefixes |= EMU_PREFIX_SEG;
		insn->seg = EMU_FS + (byte & 1);
		break;
	default:
		/* ES, CS, SS, DS: null prefixes in 64-bit mode */
		if (d->mode == EMU_MODE_LONG64)
			break;
		insn->prefixes |= EMU_PREFIX_SEG;
		insn->seg = (byte >> 3) & 3;
		break;
	}
}

/*
 * Prefixes and the first opcode byte. A REX prefix counts only directly before
 * the opcode: a legacy prefix after it cancels it.
 */
static int take_first(struct decoder *d, const struct insn_desc **desc)
{
	const struct insn_desc *row;
	u8 byte;

	for (;;) {
		if (!have(d, 1))
			return ran_out(d);
		byte = *d->pos++;
		row = &insn_one[byte];
		if (row->op < OP_PREFIX)
			break;
		if (row->op == OP_PREFIX) {
			d->insn->rex = 0;
			take_prefix(d, byte);
			continue;
		}
		if (d->mode != EMU_MODE_LONG64)
			return -EOPNOTSUPP;	/* INC and DEC of a register */
		d->insn->rex = byte;
	}
	d->insn->opcode = byte;
	*desc = row;
	return 0;
}

/* Second and third opcode bytes, after 0F. */
static int take_escaped(struct decoder *d, const struct insn_desc **desc)
{
	if (!have(d, 1))
		return ran_out(d);
	d->insn->opcode = *d->pos++;
	d->insn->map = EMU_MAP_0F;
	*desc = &insn_0f[d->insn->opcode];
	if (d->insn->opcode != 0x38)
		return 0;

	if (!have(d, 1))
		return ran_out(d);
	d->insn->opcode = *d->pos++;
	d->insn->map = EMU_MAP_0F38;
	*desc = insn_0f38(d->insn->opcode);
	return 0;
}

/* What D_CHECK marks. */
static int check_opcode(struct decoder *d)
{
	const u8 repeat = EMU_PREFIX_REP | EMU_PREFIX_REPNE;
	const struct kiln_insn *insn = d->insn;

	if ((d->flags & D_ONLY64) && d->mode != EMU_MODE_LONG64)
		return -EOPNOTSUPP;
	if ((d->flags & D_NP) &&
	    (insn->prefixes & (repeat | EMU_PREFIX_OPSIZE)))
		return -EOPNOTSUPP;
	if ((d->flags & D_NF) && (insn->prefixes & repeat))
		return -EOPNOTSUPP;
	if ((d->flags & D_NO64) && d->mode == EMU_MODE_LONG64)
		return invalid(d, EMU_VEC_UD);
	if ((d->flags & D_MEMONLY) && insn->modrm >> 6 == MOD_REG)
		return invalid(d, EMU_VEC_UD);
	if (d->op == OP_CMPXCHG8B && (insn->rex & EMU_REX_W))
		d->op = OP_OTHER;		/* CMPXCHG16B */
	return 0;
}

/* Opcode, ModRM byte, and with them the row of the tables. */
static int decode_opcode(struct decoder *d)
{
	struct kiln_insn *insn = d->insn;
	const struct insn_desc *desc;
	int err;

	err = take_first(d, &desc);
	if (err)
		return err;
	if (insn->opcode == 0x0f) {
		err = take_escaped(d, &desc);
		if (err)
			return err;
	}

	d->flags = desc->flags;
	if (d->flags & D_MODRM) {
		if (!have(d, 1))
			return ran_out(d);
		insn->modrm = *d->pos++;
		insn->has_modrm = true;
	}
	if (desc->op == OP_GROUP) {
		desc = &insn_groups[desc->form][(insn->modrm >> 3) & 7];
		d->flags |= desc->flags;
	}
	d->op = desc->op;
	insn->form = desc->form;
	if (d->op == OP_UNKNOWN)
		return -EOPNOTSUPP;
	return d->flags & D_CHECK ? check_opcode(d) : 0;
}

/* r/m of another size than the operand: MOVZX, MOVSX, MOVSXD, CMPXCHG8B. */
static u8 other_mem_size(u16 flags, u8 size)
{
	if (flags & D_MEM8)
		return 1;
	if (flags & D_MEM16)
		return 2;
	if (flags & D_MEM64)
		return 8;
	return size > 4 ? 4 : size;
}

static void decode_sizes(struct decoder *d)
{
	static const u8 operand[] = { 2, 2, 2, 4, 4 };
	static const u8 address[] = { 2, 2, 2, 4, 8 };
	struct kiln_insn *insn = d->insn;
	u8 size = operand[d->mode];
	u8 addr_size = address[d->mode];

	if (insn->prefixes & EMU_PREFIX_OPSIZE)
		size = 6 - size;	/* 2 and 4 */
	if (insn->prefixes & EMU_PREFIX_ADDRSIZE)
		addr_size = addr_size == 4 ? 2 : 4;
	if (insn->rex & EMU_REX_W)
		size = 8;
	if (d->flags & D_BYTE)
		size = 1;
	insn->addr_size = addr_size;
	insn->size = size;
	if (d->flags & (D_MEM8 | D_MEM16 | D_MEM32 | D_MEM64))
		size = other_mem_size(d->flags, size);
	insn->mem_size = size;
}

/* Addressing by ModRM of 16-bit code, SDM vol. 2 table 2-1. */
static int decode_mem16(struct decoder *d)
{
	static const struct {
		u8 base, index, seg;
	} rows[8] = {
		{ 3, 6, EMU_DS },
		{ 3, 7, EMU_DS },
		{ 5, 6, EMU_SS },
		{ 5, 7, EMU_SS },
		{ 6, EMU_REG_NONE, EMU_DS },
		{ 7, EMU_REG_NONE, EMU_DS },
		{ 5, EMU_REG_NONE, EMU_SS },
		{ 3, EMU_REG_NONE, EMU_DS },
	};
	struct kiln_insn *insn = d->insn;
	u8 mod = insn->modrm >> 6;
	u8 rm = insn->modrm & 7;
	unsigned int bytes = mod;	/* mod 1 and 2 are the size */
	u8 seg = rows[rm].seg;

	insn->base = rows[rm].base;
	insn->index = rows[rm].index;
	if (mod == 0 && rm == 6) {
		insn->base = EMU_REG_NONE;
		seg = EMU_DS;
		bytes = 2;
	}
	if (!(insn->prefixes & EMU_PREFIX_SEG))
		insn->seg = seg;
	if (!bytes)
		return 0;
	if (!have(d, bytes))
		return ran_out(d);
	insn->disp = take_signed(d, bytes);
	return 0;
}

/* SIB byte, SDM vol. 2 table 2-3. Base 5 without ModRM.mod is a disp32. */
static int decode_sib(struct decoder *d, u8 mod, unsigned int *disp_bytes)
{
	struct kiln_insn *insn = d->insn;
	u8 sib, index;

	if (!have(d, 1))
		return ran_out(d);
	sib = *d->pos++;
	index = ((sib >> 3) & 7) | (insn->rex & EMU_REX_X) << 2;
	if (index != 4) {
		insn->index = index;
		insn->scale = sib >> 6;
	}
	insn->base = (sib & 7) | (insn->rex & EMU_REX_B) << 3;
	if ((sib & 7) == 5 && mod == 0) {
		insn->base = EMU_REG_NONE;
		*disp_bytes = 4;
	}
	return 0;
}

/* Addressing by ModRM and SIB, SDM vol. 2 tables 2-2 and 2-3, §2.2.1. */
static int decode_mem(struct decoder *d)
{
	static const u8 mod_disp[3] = { 0, 1, 4 };
	struct kiln_insn *insn = d->insn;
	u8 mod = insn->modrm >> 6;
	u8 rm = insn->modrm & 7;
	unsigned int bytes = mod_disp[mod];
	int err;

	if (rm == 4) {
		err = decode_sib(d, mod, &bytes);
		if (err)
			return err;
	} else if (rm == 5 && mod == 0) {
		bytes = 4;
		if (d->mode == EMU_MODE_LONG64)
			insn->base = EMU_REG_RIP;
	} else {
		insn->base = rm | (insn->rex & EMU_REX_B) << 3;
	}
	/* ESP and EBP, but not R12 and R13, mean the stack. */
	if ((insn->base & ~1) == 4 && !(insn->prefixes & EMU_PREFIX_SEG))
		insn->seg = EMU_SS;
	if (!bytes)
		return 0;
	if (!have(d, bytes))
		return ran_out(d);
	insn->disp = take_signed(d, bytes);
	return 0;
}

static int decode_modrm(struct decoder *d)
{
	struct kiln_insn *insn = d->insn;
	u8 modrm = insn->modrm;

	insn->reg = ((modrm >> 3) & 7) | (insn->rex & EMU_REX_R) << 1;
	if (modrm >> 6 == MOD_REG || (d->flags & D_REGONLY)) {
		insn->rm = (modrm & 7) | (insn->rex & EMU_REX_B) << 3;
		return 0;
	}
	insn->has_mem = true;
	return insn->addr_size == 2 ? decode_mem16(d) : decode_mem(d);
}

/* The direct address of A0 to A3. It is not signed, so cut it to its size. */
static int decode_moffs(struct decoder *d)
{
	struct kiln_insn *insn = d->insn;

	if (!have(d, insn->addr_size))
		return ran_out(d);
	insn->disp = take_signed(d, insn->addr_size);
	insn->has_mem = true;
	return 0;
}

static int decode_immediate(struct decoder *d)
{
	unsigned int bytes = 1;

	if (d->flags & D_IMMZ)
		bytes = d->insn->size > 4 ? 4 : d->insn->size;
	if (!have(d, bytes))
		return ran_out(d);
	d->insn->imm = take_signed(d, bytes);
	return 0;
}

static void set_kind(struct decoder *d)
{
	struct kiln_insn *insn = d->insn;

	insn->op = d->op;
	if (d->op == OP_OTHER)
		insn->kind = EMU_KIND_OTHER;
	else if (d->op == OP_STRIO)
		insn->kind = EMU_KIND_STRING_IO;
	/* The destination of STOS and INS has no override. */
	if (d->op == OP_STOS || (d->op == OP_STRIO && insn->opcode < 0x6e))
		insn->seg = EMU_ES;
}

int emulate_decode(struct kiln_insn *insn, const u8 *bytes, unsigned int len,
		   enum emulate_mode mode)
{
	struct decoder d = {
		.insn = insn,
		.pos = bytes,
		.end = bytes + (len < EMU_INSN_MAX ? len : EMU_INSN_MAX),
		.truncated = len < EMU_INSN_MAX,
		.mode = mode,
	};
	int err;

	*insn = (struct kiln_insn) {
		.seg = EMU_DS,
		.base = EMU_REG_NONE,
		.index = EMU_REG_NONE,
	};
	err = decode_opcode(&d);
	if (err)
		return err;
	decode_sizes(&d);
	if (d.flags & D_MODRM)
		err = decode_modrm(&d);
	else if (d.flags & D_MOFFS)
		err = decode_moffs(&d);
	if (!err && (d.flags & (D_IMM8 | D_IMMZ)))
		err = decode_immediate(&d);
	if (err)
		return err;

	if ((insn->prefixes & EMU_PREFIX_LOCK) && d.op > OP_STRIO &&
	    !((d.flags & D_LOCK) && insn->has_mem))
		return invalid(&d, EMU_VEC_UD);
	set_kind(&d);
	insn->length = d.pos - bytes;
	return 0;
}

KILN_EXPORT_FOR_KUNIT(emulate_decode);
