// SPDX-License-Identifier: GPL-2.0-only
/*
 * The opcodes the room knows, one row each (SDM vol. 2 appendix A). What is
 * not here is OP_UNKNOWN. Rows of OP_OTHER are instructions that leave the
 * guest by an intercept of their own: a CPU that does not report the address
 * of the next instruction (SVM without next-RIP) needs their length.
 */
#include <linux/types.h>

#include "insn.h"

#define ROW(op_, form_, flags_) { .op = op_, .form = form_, .flags = flags_ }
#define OTHER(flags)		ROW(OP_OTHER, FORM_NONE, flags)
#define PREFIX			ROW(OP_PREFIX, FORM_NONE, 0)
#define GROUP(group, flags)	ROW(OP_GROUP, group, D_MODRM | (flags))

#define SSE_MOVE	OTHER(D_MODRM)

const struct insn_desc insn_one[256] = {
	[0x00] = ROW(OP_ADD, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0x01] = ROW(OP_ADD, FORM_MR, D_MODRM | D_LOCK),
	[0x02] = ROW(OP_ADD, FORM_RM, D_MODRM | D_BYTE),
	[0x03] = ROW(OP_ADD, FORM_RM, D_MODRM),
	[0x04] = ROW(OP_ADD, FORM_MI, D_BYTE | D_IMM8),
	[0x05] = ROW(OP_ADD, FORM_MI, D_IMMZ),
	[0x08] = ROW(OP_OR, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0x09] = ROW(OP_OR, FORM_MR, D_MODRM | D_LOCK),
	[0x0a] = ROW(OP_OR, FORM_RM, D_MODRM | D_BYTE),
	[0x0b] = ROW(OP_OR, FORM_RM, D_MODRM),
	[0x0c] = ROW(OP_OR, FORM_MI, D_BYTE | D_IMM8),
	[0x0d] = ROW(OP_OR, FORM_MI, D_IMMZ),
	[0x10] = ROW(OP_ADC, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0x11] = ROW(OP_ADC, FORM_MR, D_MODRM | D_LOCK),
	[0x12] = ROW(OP_ADC, FORM_RM, D_MODRM | D_BYTE),
	[0x13] = ROW(OP_ADC, FORM_RM, D_MODRM),
	[0x14] = ROW(OP_ADC, FORM_MI, D_BYTE | D_IMM8),
	[0x15] = ROW(OP_ADC, FORM_MI, D_IMMZ),
	[0x18] = ROW(OP_SBB, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0x19] = ROW(OP_SBB, FORM_MR, D_MODRM | D_LOCK),
	[0x1a] = ROW(OP_SBB, FORM_RM, D_MODRM | D_BYTE),
	[0x1b] = ROW(OP_SBB, FORM_RM, D_MODRM),
	[0x1c] = ROW(OP_SBB, FORM_MI, D_BYTE | D_IMM8),
	[0x1d] = ROW(OP_SBB, FORM_MI, D_IMMZ),
	[0x20] = ROW(OP_AND, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0x21] = ROW(OP_AND, FORM_MR, D_MODRM | D_LOCK),
	[0x22] = ROW(OP_AND, FORM_RM, D_MODRM | D_BYTE),
	[0x23] = ROW(OP_AND, FORM_RM, D_MODRM),
	[0x24] = ROW(OP_AND, FORM_MI, D_BYTE | D_IMM8),
	[0x25] = ROW(OP_AND, FORM_MI, D_IMMZ),
	[0x28] = ROW(OP_SUB, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0x29] = ROW(OP_SUB, FORM_MR, D_MODRM | D_LOCK),
	[0x2a] = ROW(OP_SUB, FORM_RM, D_MODRM | D_BYTE),
	[0x2b] = ROW(OP_SUB, FORM_RM, D_MODRM),
	[0x2c] = ROW(OP_SUB, FORM_MI, D_BYTE | D_IMM8),
	[0x2d] = ROW(OP_SUB, FORM_MI, D_IMMZ),
	[0x30] = ROW(OP_XOR, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0x31] = ROW(OP_XOR, FORM_MR, D_MODRM | D_LOCK),
	[0x32] = ROW(OP_XOR, FORM_RM, D_MODRM | D_BYTE),
	[0x33] = ROW(OP_XOR, FORM_RM, D_MODRM),
	[0x34] = ROW(OP_XOR, FORM_MI, D_BYTE | D_IMM8),
	[0x35] = ROW(OP_XOR, FORM_MI, D_IMMZ),
	[0x38] = ROW(OP_CMP, FORM_MR, D_MODRM | D_BYTE),
	[0x39] = ROW(OP_CMP, FORM_MR, D_MODRM),
	[0x3a] = ROW(OP_CMP, FORM_RM, D_MODRM | D_BYTE),
	[0x3b] = ROW(OP_CMP, FORM_RM, D_MODRM),
	[0x3c] = ROW(OP_CMP, FORM_MI, D_BYTE | D_IMM8),
	[0x3d] = ROW(OP_CMP, FORM_MI, D_IMMZ),
	[0x26] = PREFIX,					/* ES */
	[0x2e] = PREFIX,					/* CS */
	[0x36] = PREFIX,					/* SS */
	[0x3e] = PREFIX,					/* DS */
	[0x40 ... 0x4f] = ROW(OP_REX, FORM_NONE, 0),
	[0x63] = ROW(OP_MOVSX, FORM_RM, D_MODRM | D_MEM32 | D_ONLY64),
	[0x64 ... 0x67] = PREFIX,		/* FS, GS, sizes */
	[0x6c] = ROW(OP_STRIO, FORM_STRING, D_BYTE),		/* INS */
	[0x6d] = ROW(OP_STRIO, FORM_STRING, 0),
	[0x6e] = ROW(OP_STRIO, FORM_STRING, D_BYTE),		/* OUTS */
	[0x6f] = ROW(OP_STRIO, FORM_STRING, 0),
	[0x80] = GROUP(GROUP_1, D_BYTE | D_IMM8),
	[0x81] = GROUP(GROUP_1, D_IMMZ),
	[0x82] = GROUP(GROUP_1, D_BYTE | D_IMM8 | D_NO64),
	[0x83] = GROUP(GROUP_1, D_IMM8),
	[0x84] = ROW(OP_TEST, FORM_MR, D_MODRM | D_BYTE),
	[0x85] = ROW(OP_TEST, FORM_MR, D_MODRM),
	[0x86] = ROW(OP_XCHG, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0x87] = ROW(OP_XCHG, FORM_MR, D_MODRM | D_LOCK),
	[0x88] = ROW(OP_MOV, FORM_MR, D_MODRM | D_BYTE),
	[0x89] = ROW(OP_MOV, FORM_MR, D_MODRM),
	[0x8a] = ROW(OP_MOV, FORM_RM, D_MODRM | D_BYTE),
	[0x8b] = ROW(OP_MOV, FORM_RM, D_MODRM),
	[0x90] = OTHER(0),					/* PAUSE */
	[0x9c] = OTHER(0),					/* PUSHF */
	[0x9d] = OTHER(0),					/* POPF */
	[0xa0] = ROW(OP_MOV, FORM_RM, D_MOFFS | D_BYTE),
	[0xa1] = ROW(OP_MOV, FORM_RM, D_MOFFS),
	[0xa2] = ROW(OP_MOV, FORM_MR, D_MOFFS | D_BYTE),
	[0xa3] = ROW(OP_MOV, FORM_MR, D_MOFFS),
	[0xa4] = ROW(OP_MOVS, FORM_STRING, D_BYTE),
	[0xa5] = ROW(OP_MOVS, FORM_STRING, 0),
	[0xa8] = ROW(OP_TEST, FORM_MI, D_BYTE | D_IMM8),
	[0xa9] = ROW(OP_TEST, FORM_MI, D_IMMZ),
	[0xaa] = ROW(OP_STOS, FORM_STRING, D_BYTE),
	[0xab] = ROW(OP_STOS, FORM_STRING, 0),
	[0xac] = ROW(OP_LODS, FORM_STRING, D_BYTE),
	[0xad] = ROW(OP_LODS, FORM_STRING, 0),
	[0xc6] = GROUP(GROUP_11, D_BYTE | D_IMM8),
	[0xc7] = GROUP(GROUP_11, D_IMMZ),
	[0xcc] = OTHER(0),					/* INT3 */
	[0xcd] = OTHER(D_IMM8),					/* INT n */
	[0xce] = OTHER(0),					/* INTO */
	[0xcf] = OTHER(0),					/* IRET */
	[0xe4] = OTHER(D_IMM8 | D_BYTE),			/* IN, OUT */
	[0xe5] = OTHER(D_IMM8),
	[0xe6] = OTHER(D_IMM8 | D_BYTE),
	[0xe7] = OTHER(D_IMM8),
	[0xec] = OTHER(D_BYTE),
	[0xed] = OTHER(0),
	[0xee] = OTHER(D_BYTE),
	[0xef] = OTHER(0),
	[0xf0] = PREFIX,					/* LOCK */
	[0xf1] = OTHER(0),					/* INT1 */
	[0xf2] = PREFIX,					/* REPNE */
	[0xf3] = PREFIX,					/* REP */
	[0xf4] = OTHER(0),					/* HLT */
	[0xf6] = GROUP(GROUP_3, D_BYTE),
	[0xf7] = GROUP(GROUP_3, 0),
	[0xfa] = OTHER(0),					/* CLI */
	[0xfb] = OTHER(0),					/* STI */
	[0xfe] = GROUP(GROUP_4, D_BYTE),
	[0xff] = GROUP(GROUP_4, 0),
};

const struct insn_desc insn_0f[256] = {
	[0x00] = OTHER(D_MODRM),		/* SLDT STR LLDT LTR */
	[0x01] = OTHER(D_MODRM),		/* SGDT ... LMSW INVLPG, VMCALL
						 * VMMCALL XSETBV RDTSCP ...
						 */
	[0x05] = OTHER(0),			/* SYSCALL */
	[0x06] = OTHER(0),			/* CLTS */
	[0x07] = OTHER(0),			/* SYSRET */
	[0x08] = OTHER(0),			/* INVD */
	[0x09] = OTHER(0),			/* WBINVD, WBNOINVD */
	[0x0b] = OTHER(0),			/* UD2 */
	[0x10] = SSE_MOVE,			/* MOVUPS MOVUPD MOVSS MOVSD */
	[0x11] = SSE_MOVE,
	[0x12] = SSE_MOVE,			/* MOVLPS ... */
	[0x13] = SSE_MOVE,
	[0x16] = SSE_MOVE,			/* MOVHPS ... */
	[0x17] = SSE_MOVE,
	[0x20] = OTHER(D_MODRM | D_REGONLY),	/* MOV from CR */
	[0x21] = OTHER(D_MODRM | D_REGONLY),	/* MOV from DR */
	[0x22] = OTHER(D_MODRM | D_REGONLY),	/* MOV to CR */
	[0x23] = OTHER(D_MODRM | D_REGONLY),	/* MOV to DR */
	[0x28] = SSE_MOVE,			/* MOVAPS MOVAPD */
	[0x29] = SSE_MOVE,
	[0x2b] = SSE_MOVE,			/* MOVNTPS MOVNTPD */
	[0x30] = OTHER(0),			/* WRMSR */
	[0x31] = OTHER(0),			/* RDTSC */
	[0x32] = OTHER(0),			/* RDMSR */
	[0x33] = OTHER(0),			/* RDPMC */
	[0x34] = OTHER(0),			/* SYSENTER */
	[0x35] = OTHER(0),			/* SYSEXIT */
	[0x6e] = SSE_MOVE,			/* MOVD MOVQ */
	[0x6f] = SSE_MOVE,			/* MOVQ MOVDQA MOVDQU */
	[0x78] = OTHER(D_MODRM | D_NP),		/* VMREAD */
	[0x79] = OTHER(D_MODRM | D_NP),		/* VMWRITE */
	[0x7e] = SSE_MOVE,
	[0x7f] = SSE_MOVE,
	[0xa2] = OTHER(0),			/* CPUID */
	[0xa3] = ROW(OP_BT, FORM_MR, D_MODRM),
	[0xaa] = OTHER(0),			/* RSM */
	[0xab] = ROW(OP_BTS, FORM_MR, D_MODRM | D_LOCK),
	[0xae] = OTHER(D_MODRM),		/* FXSAVE ... CLFLUSH, fences */
	[0xb0] = ROW(OP_CMPXCHG, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0xb1] = ROW(OP_CMPXCHG, FORM_MR, D_MODRM | D_LOCK),
	[0xb3] = ROW(OP_BTR, FORM_MR, D_MODRM | D_LOCK),
	[0xb6] = ROW(OP_MOVZX, FORM_RM, D_MODRM | D_MEM8),
	[0xb7] = ROW(OP_MOVZX, FORM_RM, D_MODRM | D_MEM16),
	[0xba] = GROUP(GROUP_8, D_IMM8),
	[0xbb] = ROW(OP_BTC, FORM_MR, D_MODRM | D_LOCK),
	[0xbe] = ROW(OP_MOVSX, FORM_RM, D_MODRM | D_MEM8),
	[0xbf] = ROW(OP_MOVSX, FORM_RM, D_MODRM | D_MEM16),
	[0xc0] = ROW(OP_XADD, FORM_MR, D_MODRM | D_BYTE | D_LOCK),
	[0xc1] = ROW(OP_XADD, FORM_MR, D_MODRM | D_LOCK),
	[0xc3] = ROW(OP_MOV, FORM_MR, D_MODRM | D_MEMONLY | D_NP),
	[0xc7] = GROUP(GROUP_9, 0),
	[0xd6] = SSE_MOVE,			/* MOVQ */
	[0xe7] = SSE_MOVE,			/* MOVNTQ MOVNTDQ */
};

const struct insn_desc insn_groups[GROUP_NR][8] = {
	[GROUP_1] = {
		ROW(OP_ADD, FORM_MI, D_LOCK),
		ROW(OP_OR, FORM_MI, D_LOCK),
		ROW(OP_ADC, FORM_MI, D_LOCK),
		ROW(OP_SBB, FORM_MI, D_LOCK),
		ROW(OP_AND, FORM_MI, D_LOCK),
		ROW(OP_SUB, FORM_MI, D_LOCK),
		ROW(OP_XOR, FORM_MI, D_LOCK),
		ROW(OP_CMP, FORM_MI, 0),
	},
	[GROUP_3] = {
		ROW(OP_TEST, FORM_MI, D_IMMZ),
		ROW(OP_TEST, FORM_MI, D_IMMZ),	/* alias, AMD APM vol. 3 A.2 */
		ROW(OP_NOT, FORM_M, D_LOCK),
		ROW(OP_NEG, FORM_M, D_LOCK),
	},
	[GROUP_4] = {
		ROW(OP_INC, FORM_M, D_LOCK),
		ROW(OP_DEC, FORM_M, D_LOCK),
	},
	[GROUP_8] = {
		[4] = ROW(OP_BT, FORM_MI, 0),
		[5] = ROW(OP_BTS, FORM_MI, D_LOCK),
		[6] = ROW(OP_BTR, FORM_MI, D_LOCK),
		[7] = ROW(OP_BTC, FORM_MI, D_LOCK),
	},
	[GROUP_9] = {
		/* CMPXCHG16B with REX.W: see check_opcode() */
		[1] = ROW(OP_CMPXCHG8B, FORM_M,
			  D_LOCK | D_MEM64 | D_MEMONLY | D_NF),
		[3] = OTHER(0),			/* XRSTORS */
		[4] = OTHER(0),			/* XSAVEC */
		[5] = OTHER(0),			/* XSAVES */
		[6] = OTHER(0),			/* VMPTRLD, RDRAND */
		[7] = OTHER(0),			/* VMPTRST, RDSEED */
	},
	[GROUP_11] = {
		ROW(OP_MOV, FORM_MI, 0),
	},
};

/* 0F 38 is nearly empty here: a table of 256 would be. */
const struct insn_desc *insn_0f38(u8 opcode)
{
	static const struct insn_desc invalidate = OTHER(D_MODRM);
	static const struct insn_desc load =
		ROW(OP_MOVBE, FORM_RM, D_MODRM | D_MEMONLY | D_NF);
	static const struct insn_desc store =
		ROW(OP_MOVBE, FORM_MR, D_MODRM | D_MEMONLY | D_NF);
	static const struct insn_desc unknown;

	switch (opcode) {
	case 0x80:		/* INVEPT */
	case 0x81:		/* INVVPID */
	case 0x82:		/* INVPCID */
		return &invalidate;
	case 0xf0:
		return &load;
	case 0xf1:
		return &store;
	default:
		return &unknown;
	}
}
