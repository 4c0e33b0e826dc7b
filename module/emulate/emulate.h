/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The emulator: what other rooms need of it.
 *
 * A guest that touches device memory leaves the guest in the middle of an
 * instruction. The hardware says which address, not which instruction: the
 * emulator decodes the bytes at RIP and carries out the few instructions that
 * kernels use on device memory. Everything it needs comes in through struct
 * emulate_ctxt, everything it does goes out through struct emulate_ops, so it
 * knows nothing of vCPUs and is tested in user space against the real CPU.
 *
 * The life of one device access:
 *
 *	emulate_fetch_insn()	bytes at RIP -> struct kiln_insn
 *	emulate_insn()		carries it out, through ops->read and ->write
 *
 * or, where the exit already says which guest-physical address was accessed
 * and whether it was a write (EPT violation, not EPT misconfiguration), and
 * the access does not cross a page, the fast way that neither computes the
 * address nor walks the page tables for the operand:
 *
 *	emulate_is_store() and the exit says write:
 *		value = emulate_store_value(); emulate_finish_store();
 *	emulate_is_load() and the exit says read:
 *		emulate_finish_load(value);
 *
 * The caller must compare the exit's direction with the instruction's: another
 * CPU of the guest may have changed the bytes since, and a program that may
 * only read a device must not be handed a write.
 *
 * Cost in instructions, as callgrind counts them on the host build ("make -f
 * Makefile.host cost"; gcc 12, -O2, no jump tables, the call and trivial
 * callbacks included):
 *
 *	decode mov %eax,(%rdx)				154
 *	decode mov 0x300(%rax),%eax			168
 *	carry out the store, the load			201, 167
 *	the fast way for the store, the load		 46,  59
 *	gwalk() over four levels (fetching, operand)	374
 */
#ifndef KILN_EMULATE_H
#define KILN_EMULATE_H

#include <linux/types.h>

#define EMU_INSN_MAX	15	/* SDM vol. 2 §2.3.11: longer is #GP */

/**
 * enum emulate_mode - how code at CS:RIP is decoded and addresses are formed
 * @EMU_MODE_REAL: CR0.PE = 0
 * @EMU_MODE_VM86: RFLAGS.VM = 1
 * @EMU_MODE_PROT16: protected or compatibility mode, CS.D = 0
 * @EMU_MODE_PROT32: protected or compatibility mode, CS.D = 1
 * @EMU_MODE_LONG64: EFER.LMA = 1 and CS.L = 1
 */
enum emulate_mode {
	EMU_MODE_REAL,
	EMU_MODE_VM86,
	EMU_MODE_PROT16,
	EMU_MODE_PROT32,
	EMU_MODE_LONG64,
};

/* Segment registers in the order of the instruction encoding. */
enum emulate_seg {
	EMU_ES, EMU_CS, EMU_SS, EMU_DS, EMU_FS, EMU_GS,
	EMU_NR_SEGS
};

/**
 * enum emulate_kind - what decoding found
 * @EMU_KIND_EXEC: emulate_insn() carries it out
 * @EMU_KIND_STRING_IO: INS or OUTS: length, size, segment and REP are known;
 *	the caller moves the data, with emulate_linear() for the address
 * @EMU_KIND_OTHER: only its length is known (and ModRM, where it has one);
 *	emulate_insn() answers EMU_UNHANDLEABLE
 */
enum emulate_kind {
	EMU_KIND_EXEC,
	EMU_KIND_STRING_IO,
	EMU_KIND_OTHER,
};

/* struct kiln_insn.map: which opcode table @opcode is of */
#define EMU_MAP_ONE	0	/* one byte */
#define EMU_MAP_0F	1
#define EMU_MAP_0F38	2

/* struct kiln_insn.prefixes */
#define EMU_PREFIX_LOCK		0x01
#define EMU_PREFIX_REP		0x02	/* F3, if the last of F2 and F3 */
#define EMU_PREFIX_REPNE	0x04	/* F2, if the last of F2 and F3 */
#define EMU_PREFIX_OPSIZE	0x08	/* 66 */
#define EMU_PREFIX_ADDRSIZE	0x10	/* 67 */
#define EMU_PREFIX_SEG		0x20	/* a segment override that counts */

/* struct kiln_insn.rex, where it took effect */
#define EMU_REX		0x40
#define EMU_REX_W	0x08
#define EMU_REX_R	0x04
#define EMU_REX_X	0x02
#define EMU_REX_B	0x01

/* struct kiln_insn.base and .index, beside 0 to 15 */
#define EMU_REG_NONE	0xff
#define EMU_REG_RIP	0x10	/* relative to the next instruction */

/**
 * struct kiln_insn - a decoded instruction
 * @length: in bytes, 1 to 15
 * @kind: enum emulate_kind
 * @map: EMU_MAP_*
 * @opcode: last opcode byte
 * @prefixes: EMU_PREFIX_*
 * @rex: REX prefix if one took effect, else 0
 * @modrm: ModRM byte, valid if @has_modrm
 * @has_modrm: there is a ModRM byte
 * @has_mem: one operand is in memory, addressed by the fields below (also
 *	for the direct addresses of A0 to A3; not for string instructions)
 * @addr_size: address size in bytes: 2, 4, 8
 * @size: operand size in bytes: 1, 2, 4, 8; of MOVZX and MOVSX the
 *	destination's
 * @mem_size: bytes moved at the memory operand; @size but for MOVZX, MOVSX
 * @seg: enum emulate_seg of the memory operand, overrides and defaults applied
 * @reg: ModRM.reg with REX.R (accumulator where it is implied)
 * @rm: ModRM.rm with REX.B, if the operand is a register
 * @base: 0 to 15, EMU_REG_RIP or EMU_REG_NONE
 * @index: 0 to 15 or EMU_REG_NONE
 * @scale: shift of @index, 0 to 3
 * @fault: vector the CPU would raise (6, 13), if emulate_decode() said -EINVAL
 * @op: private to the room: what to do
 * @form: private to the room: between which operands
 * @disp: displacement, or the direct address
 * @imm: immediate operand, sign-extended to 64 bits where the CPU would
 */
struct kiln_insn {
	u8 length;
	u8 kind;
	u8 map;
	u8 opcode;
	u8 prefixes;
	u8 rex;
	u8 modrm;
	bool has_modrm;
	bool has_mem;
	u8 addr_size;
	u8 size;
	u8 mem_size;
	u8 seg;
	u8 reg;
	u8 rm;
	u8 base;
	u8 index;
	u8 scale;
	u8 fault;
	u8 op;
	u8 form;
	s64 disp;
	u64 imm;
};

/**
 * emulate_decode() - decode one instruction
 * @insn: filled; on errors only @fault (for -EINVAL) is meaningful
 * @bytes: instruction bytes, first at RIP; @len of them are readable
 * @len: how many there are; more than 15 are not looked at
 * @mode: how to read them
 *
 * Return: 0; -EAGAIN: the instruction is longer than @len (< 15), come again
 * with more; -EINVAL: the CPU would raise @insn->fault (#UD for a LOCK prefix
 * or an operand the instruction does not allow, #GP with error code 0 for more
 * than 15 bytes); -EOPNOTSUPP: not an instruction this room knows.
 *
 * Context: any. Touches nothing but @insn and @bytes.
 */
int emulate_decode(struct kiln_insn *insn, const u8 *bytes, unsigned int len,
		   enum emulate_mode mode);

/**
 * enum emulate_result - outcome of emulate_insn() and of struct emulate_ops
 * @EMU_DONE: done
 * @EMU_FAULT: the guest is to get the exception in ctxt->fault
 * @EMU_IO: user space has to answer first; run the same instruction again from
 *	the start afterwards, with the accesses already made replayed
 * @EMU_RETRY: (callbacks only, and emulate_fetch_insn()) the guest changes what
 *	is being looked at; nothing was written; it shall execute the
 *	instruction again. ->exchange says so if memory no longer held @old
 * @EMU_UNHANDLEABLE: not something this room (or the callback) does
 */
enum emulate_result {
	EMU_DONE,
	EMU_FAULT,
	EMU_IO,
	EMU_RETRY,
	EMU_UNHANDLEABLE,
};

/* Exception vectors the room raises. */
#define EMU_VEC_UD	6
#define EMU_VEC_SS	12
#define EMU_VEC_GP	13
#define EMU_VEC_PF	14
#define EMU_VEC_AC	17

/**
 * struct emulate_fault - an exception for the guest
 * @vector: its number
 * @has_error: it pushes @error (never in real mode)
 * @error: error code
 * @cr2: for #PF, the linear address
 */
struct emulate_fault {
	u8 vector;
	bool has_error;
	u32 error;
	u64 cr2;
};

/**
 * struct emulate_segment - a segment register, as far as addressing needs it
 * @base: linear address of offset 0
 * @limit: highest (lowest minus one, if expand-down) offset, in bytes
 * @type: 4 bits of the descriptor's type, SDM vol. 3 §3.4.5.1
 * @db: D/B flag (upper bound of an expand-down segment)
 * @unusable: holds a null selector
 */
struct emulate_segment {
	u64 base;
	u32 limit;
	u8 type;
	bool db;
	bool unusable;
};

/* Why an address is used: for emulate_linear() and ops->read. */
#define EMU_ACCESS_READ		0x0
#define EMU_ACCESS_WRITE	0x1	/* or a read that a write will follow:
					 * check for write permission, and say
					 * so in a page-fault's error code
					 */
#define EMU_ACCESS_FETCH	0x2	/* instruction fetch, from CS */

struct emulate_ctxt;

/**
 * struct emulate_ops - what the emulator asks of its caller
 *
 * Addresses are linear; a range may cross a page boundary (each page has its
 * own translation; none may be written unless all can be) and, outside 64-bit
 * mode, wraps at 4 GiB. Lengths are 1, 2, 4 or 8, for a fetch 1 to 15.
 * Accesses are made with the rights of ctxt->cpl, explicitly (SMAP and AC).
 *
 * Each callback returns an enum emulate_result. With EMU_FAULT it has filled
 * ctxt->fault. One instruction makes its accesses in the same order each time
 * it is run, with the same addresses and values as long as what it reads is
 * the same, and changes registers only after the last of them succeeded: so
 * EMU_IO may be returned by any access, and answered by replay. A memory write
 * is the last access of every instruction (or iteration of REP).
 *
 * @read: @access is EMU_ACCESS_*; EMU_ACCESS_WRITE for the read half of a
 *	read-modify-write
 * @write: plain store
 * @exchange: for LOCK and XCHG: store @new if memory still holds @old, as one
 *	atomic operation where memory is RAM; device memory may take it as a
 *	plain store. @old was read just before with EMU_ACCESS_WRITE
 * @segment: fill @out for enum emulate_seg @seg. Called only where the value
 *	matters: in 64-bit mode for FS and GS (base only), else for each
 *	segment used
 */
struct emulate_ops {
	enum emulate_result (*read)(struct emulate_ctxt *ctxt, u64 linear,
				    void *buf, unsigned int len,
				    unsigned int access);
	enum emulate_result (*write)(struct emulate_ctxt *ctxt, u64 linear,
				     const void *buf, unsigned int len);
	enum emulate_result (*exchange)(struct emulate_ctxt *ctxt, u64 linear,
					const void *old, const void *new,
					unsigned int len);
	void (*segment)(struct emulate_ctxt *ctxt, enum emulate_seg seg,
			struct emulate_segment *out);
};

/**
 * struct emulate_ctxt - one CPU, as seen by the emulator
 * @ops: callbacks; set by the caller
 * @priv: for the callbacks; not touched here
 * @gpr: 16 general registers, RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to
 *	R15; read, and written once the instruction has succeeded. With
 *	emulate_uses_rsp() a caller can tell whether RSP has to be there
 * @rip: offset in CS; advanced once the instruction has succeeded
 * @rflags: the flags; changed once the instruction has succeeded
 * @mode: enum emulate_mode
 * @cpl: current privilege level (for callbacks; 3 in VM86 mode)
 * @linear_bits: width of a canonical address in 64-bit mode: 48, or 57 with
 *	CR4.LA57
 * @check_alignment: CR0.AM, RFLAGS.AC and @cpl == 3 are all set: misaligned
 *	data is #AC
 * @again: out: RIP was left on the instruction on purpose (REP has iterations
 *	left, or a callback said EMU_RETRY): the guest state is that of an
 *	instruction boundary, so interrupts may be taken; then either enter the
 *	guest, or call emulate_insn() again
 * @insn: the decoded instruction
 * @fault: out: the exception, with EMU_FAULT
 *
 * The caller handles what surrounds an instruction: single-step (#DB if
 * RFLAGS.TF was set before), data breakpoints, the interrupt shadow (ends when
 * RIP moves). RFLAGS.RF is cleared here when RIP moves.
 */
struct emulate_ctxt {
	const struct emulate_ops *ops;
	void *priv;
	u64 *gpr;
	u64 rip;
	u64 rflags;
	u8 mode;
	u8 cpl;
	u8 linear_bits;
	bool check_alignment;
	bool again;
	struct kiln_insn insn;
	struct emulate_fault fault;
};

/**
 * emulate_fetch_insn() - read the bytes at RIP and decode them
 * @ctxt: everything but @insn and @fault filled; @insn is filled here
 * @bytes: buffer of EMU_INSN_MAX, for the report when it goes wrong
 * @len: out: how many of @bytes are valid
 *
 * Reads no further than the page of the first byte, unless the instruction
 * does.
 *
 * Return: EMU_DONE; EMU_FAULT: fetching or decoding raised ctxt->fault; EMU_IO
 * or EMU_RETRY as ops->read said; EMU_UNHANDLEABLE: unknown instruction or code
 * in memory that ops->read will not fetch from.
 */
enum emulate_result emulate_fetch_insn(struct emulate_ctxt *ctxt, u8 *bytes,
				       unsigned int *len);

/**
 * emulate_insn() - carry out ctxt->insn
 * @ctxt: filled, @insn as decoded at @ctxt->rip in @ctxt->mode
 *
 * Of a REP string instruction, one iteration.
 *
 * Return: EMU_DONE: registers, flags and RIP are those after the instruction
 * (see @again); EMU_FAULT, EMU_IO, EMU_UNHANDLEABLE: none of them changed.
 */
enum emulate_result emulate_insn(struct emulate_ctxt *ctxt);

/**
 * emulate_linear() - from segment and offset to a linear address, checked
 * @ctxt: mode, linear_bits, check_alignment and ops->segment are used
 * @seg: enum emulate_seg
 * @offset: effective address, already cut to the address size
 * @size: bytes accessed from there on, 1 or more
 * @access: EMU_ACCESS_*
 * @linear: out
 *
 * Limit, type, null-selector, canonical and alignment checks (SDM vol. 3 §5.3,
 * §5.4, vol. 1 §3.3.7.1), so that INS and OUTS can use it.
 *
 * Return: EMU_DONE or EMU_FAULT (#GP, #SS or #AC in ctxt->fault).
 */
enum emulate_result emulate_linear(struct emulate_ctxt *ctxt,
				   enum emulate_seg seg, u64 offset,
				   unsigned int size, unsigned int access,
				   u64 *linear);

/**
 * emulate_operand() - the linear address of ctxt->insn's memory operand
 * @ctxt: as for emulate_insn(); @insn has_mem, of whatever kind
 * @size: bytes accessed there, 1 or more
 * @access: EMU_ACCESS_*
 * @linear: out
 *
 * For callers that carry out an instruction of EMU_KIND_OTHER themselves.
 *
 * Return: EMU_DONE or EMU_FAULT, as emulate_linear() says.
 */
enum emulate_result emulate_operand(struct emulate_ctxt *ctxt,
				    unsigned int size, unsigned int access,
				    u64 *linear);

/**
 * emulate_is_store() - is it one plain store to memory?
 * @insn: decoded
 *
 * True for MOV, MOVNTI of a register or immediate to memory.
 */
bool emulate_is_store(const struct kiln_insn *insn);

/**
 * emulate_is_load() - is it one plain load from memory to a register?
 * @insn: decoded
 *
 * True for MOV, MOVZX, MOVSX, MOVSXD from memory.
 */
bool emulate_is_load(const struct kiln_insn *insn);

/**
 * emulate_store_value() - what a plain store writes
 * @ctxt: of an instruction for which emulate_is_store() said yes
 *
 * Return: the value; its low insn.mem_size bytes count, the rest are zero.
 */
u64 emulate_store_value(const struct emulate_ctxt *ctxt);

/**
 * emulate_finish_store() - the store of emulate_store_value() was made
 * @ctxt: advance RIP, clear RFLAGS.RF
 */
void emulate_finish_store(struct emulate_ctxt *ctxt);

/**
 * emulate_finish_load() - the load was answered
 * @ctxt: of an instruction for which emulate_is_load() said yes; its register
 *	is written, RIP advanced, RFLAGS.RF cleared
 * @value: low insn.mem_size bytes count
 */
void emulate_finish_load(struct emulate_ctxt *ctxt, u64 value);

/**
 * emulate_uses_rsp() - does the instruction name RSP?
 * @insn: decoded
 *
 * Return: false if ctxt->gpr[4] is neither read nor written by emulate_insn(),
 * so that a caller whose RSP is elsewhere (VMCS) need not fetch it. May be true
 * for an instruction that does not.
 */
static inline bool emulate_uses_rsp(const struct kiln_insn *insn)
{
	return insn->reg == 4 || insn->rm == 4 || insn->base == 4;
}

#endif /* KILN_EMULATE_H */
