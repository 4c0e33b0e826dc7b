/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to the room: the opcode tables (optable.c) that the decoder reads,
 * and the operation codes that it hands to the execution.
 */
#ifndef KILN_EMULATE_INSN_H
#define KILN_EMULATE_INSN_H

#include <linux/types.h>

/* What an opcode does. */
enum insn_op {
	OP_UNKNOWN,		/* not for us */
	OP_OTHER,		/* EMU_KIND_OTHER */
	OP_STRIO,		/* EMU_KIND_STRING_IO */
	OP_MOV,
	OP_MOVZX,
	OP_MOVSX,
	OP_MOVBE,
	/* in the order of ModRM.reg of opcodes 80 to 83 */
	OP_ADD,
	OP_OR,
	OP_ADC,
	OP_SBB,
	OP_AND,
	OP_SUB,
	OP_XOR,
	OP_CMP,
	OP_TEST,
	OP_NOT,
	OP_NEG,
	OP_INC,
	OP_DEC,
	OP_XCHG,
	OP_XADD,
	OP_CMPXCHG,
	/* in the order of ModRM.reg of opcode 0F BA, from 4 on */
	OP_BT,
	OP_BTS,
	OP_BTR,
	OP_BTC,
	OP_CMPXCHG8B,
	OP_MOVS,
	OP_STOS,
	OP_LODS,
	OP_NR,
	/* of the tables only, never in struct kiln_insn */
	OP_GROUP = OP_NR,	/* form is the number of the group */
	OP_PREFIX,		/* first of those that go on to another byte */
	OP_REX,
};

/* Between which operands: destination first. */
enum insn_form {
	FORM_NONE,
	FORM_MR,		/* r/m, reg */
	FORM_RM,		/* reg, r/m */
	FORM_MI,		/* r/m, immediate; without ModRM, r/m is the
				 * accumulator
				 */
	FORM_M,			/* r/m alone */
	FORM_STRING,
};

/* Opcodes that ModRM.reg tells apart: rows of insn_groups. */
enum insn_group {
	GROUP_1,		/* 80 to 83 */
	GROUP_3,		/* F6, F7 */
	GROUP_4,		/* FE, FF */
	GROUP_8,		/* 0F BA */
	GROUP_9,		/* 0F C7 */
	GROUP_11,		/* C6, C7 */
	GROUP_NR
};

/* struct insn_desc.flags */
#define D_MODRM		0x0001	/* a ModRM byte follows */
#define D_BYTE		0x0002	/* operand size is 1 */
#define D_MEM8		0x0004	/* r/m is 1 byte whatever the operand size */
#define D_MEM16		0x0008	/* r/m is 2 bytes */
#define D_MEM32		0x0010	/* r/m is at most 4 bytes (MOVSXD) */
#define D_LOCK		0x0020	/* takes LOCK, if r/m is memory */
#define D_NO64		0x0040	/* #UD in 64-bit mode */
#define D_ONLY64	0x0080	/* another instruction outside 64-bit mode */
#define D_MEMONLY	0x0100	/* #UD if r/m is a register */
#define D_REGONLY	0x0200	/* r/m is a register whatever ModRM.mod says */
#define D_NP		0x0400	/* 66, F2, F3 make it another instruction */
#define D_NF		0x0800	/* F2, F3 make it another instruction */
#define D_IMM8		0x1000	/* immediate byte, sign-extended */
#define D_IMMZ		0x2000	/* immediate of operand size, at most 4, sign-
				 * extended
				 */
#define D_MOFFS		0x4000	/* direct address of address size; operands
				 * are the accumulator and memory
				 */
#define D_MEM64		0x8000	/* r/m is 8 bytes whatever the operand size */
/* Few instructions need a look after decoding; one test finds them. */
#define D_CHECK		(D_NO64 | D_ONLY64 | D_MEMONLY | D_NP | D_NF)

/**
 * struct insn_desc - one opcode
 * @op: enum insn_op
 * @form: enum insn_form, or enum insn_group if @op is OP_GROUP
 * @flags: D_*; of an OP_GROUP, those of its rows are added
 */
struct insn_desc {
	u8 op;
	u8 form;
	u16 flags;
};

extern const struct insn_desc insn_one[256];
extern const struct insn_desc insn_0f[256];
extern const struct insn_desc insn_groups[GROUP_NR][8];
const struct insn_desc *insn_0f38(u8 opcode);

#endif /* KILN_EMULATE_INSN_H */
