// SPDX-License-Identifier: GPL-2.0-only
/*
 * What instructions do: registers, memory and flags before and after, on a
 * machine of 64 bytes of memory at linear address MEMORY. Every row of the
 * table is also run with each of its accesses answered "user space first",
 * "fault" and "no": nothing may have changed then.
 */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>

#include "emulate.h"
#include "emulate_test.h"

#define MEMORY		0x10000ULL
#define SIZE		64
#define OPERAND		(MEMORY + 16)	/* where RDI points */
#define SOURCE		(MEMORY + 40)	/* where RSI points */
#define RIP		0x401000ULL

#define CF		0x001
#define PF		0x004
#define AF		0x010
#define ZF		0x040
#define SF		0x080
#define DF		0x400
#define OF		0x800
#define RF		0x10000
#define FIXED		0x002

#define REAL	EMU_MODE_REAL
#define P32	EMU_MODE_PROT32
#define L64	EMU_MODE_LONG64

/* Answer access number @at with @with instead of making it. */
struct trap {
	int at;
	enum emulate_result with;
};

struct machine {
	struct emulate_ctxt ctxt;
	u64 gpr[16];
	struct emulate_segment seg[EMU_NR_SEGS];
	u8 memory[SIZE];
	struct trap trap;
	int accesses;
	unsigned int last_access;	/* EMU_ACCESS_* of the last read */
	bool lose_race;
};

static struct machine *machine_of(struct emulate_ctxt *ctxt)
{
	return container_of(ctxt, struct machine, ctxt);
}

/* Where @linear is in memory, or what to answer instead. */
static enum emulate_result locate(struct emulate_ctxt *ctxt, u64 linear,
				  unsigned int len, u8 **where)
{
	struct machine *m = machine_of(ctxt);

	*where = NULL;
	if (m->accesses++ == m->trap.at) {
		ctxt->fault.vector = EMU_VEC_PF;
		return m->trap.with;
	}
	if (linear < MEMORY || linear + len > MEMORY + SIZE) {
		ctxt->fault.vector = EMU_VEC_PF;
		ctxt->fault.cr2 = linear;
		return EMU_FAULT;
	}
	*where = m->memory + (linear - MEMORY);
	return EMU_DONE;
}

static enum emulate_result test_read(struct emulate_ctxt *ctxt, u64 linear,
				     void *buf, unsigned int len,
				     unsigned int access)
{
	enum emulate_result result;
	u8 *where;

	machine_of(ctxt)->last_access = access;
	result = locate(ctxt, linear, len, &where);
	if (result == EMU_DONE)
		memcpy(buf, where, len);
	return result;
}

static enum emulate_result test_write(struct emulate_ctxt *ctxt, u64 linear,
				      const void *buf, unsigned int len)
{
	enum emulate_result result;
	u8 *where;

	result = locate(ctxt, linear, len, &where);
	if (result == EMU_DONE)
		memcpy(where, buf, len);
	return result;
}

static enum emulate_result test_exchange(struct emulate_ctxt *ctxt, u64 linear,
					 const void *old, const void *new,
					 unsigned int len)
{
	enum emulate_result result;
	u8 *where;

	result = locate(ctxt, linear, len, &where);
	if (result != EMU_DONE)
		return result;
	if (machine_of(ctxt)->lose_race || memcmp(where, old, len))
		return EMU_RETRY;
	memcpy(where, new, len);
	return EMU_DONE;
}

static void test_segment(struct emulate_ctxt *ctxt, enum emulate_seg seg,
			 struct emulate_segment *out)
{
	*out = machine_of(ctxt)->seg[seg];
}

static const struct emulate_ops test_ops = {
	.read = test_read,
	.write = test_write,
	.exchange = test_exchange,
	.segment = test_segment,
};

static void machine_init(struct machine *m, enum emulate_mode mode)
{
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->ctxt.ops = &test_ops;
	m->ctxt.gpr = m->gpr;
	m->ctxt.mode = mode;
	m->ctxt.linear_bits = 48;
	m->ctxt.rip = RIP;
	m->ctxt.rflags = FIXED;
	m->trap.at = -1;
	for (i = 0; i < EMU_NR_SEGS; i++) {
		m->seg[i].type = i == EMU_CS ? 0xb : 0x3;
		m->seg[i].limit = 0xffffffff;
		m->seg[i].db = true;
	}
	m->gpr[6] = SOURCE;
	m->gpr[7] = OPERAND;
	if (mode == EMU_MODE_REAL) {
		for (i = 0; i < EMU_NR_SEGS; i++) {
			m->seg[i].base = i == EMU_CS ? 0 : MEMORY;
			m->seg[i].limit = 0xffff;
		}
		m->gpr[6] = SOURCE - MEMORY;
		m->gpr[7] = OPERAND - MEMORY;
		m->ctxt.rip = 0x100;
	}
}

static int machine_decode(struct machine *m, const char *bytes,
			  unsigned int len)
{
	return emulate_decode(&m->ctxt.insn, (const u8 *)bytes, len,
			      m->ctxt.mode);
}

static u64 load64(const struct machine *m, u64 linear)
{
	u64 value;

	memcpy(&value, m->memory + (linear - MEMORY), sizeof(value));
	return value;
}

static void store64(struct machine *m, u64 linear, u64 value)
{
	memcpy(m->memory + (linear - MEMORY), &value, sizeof(value));
}

struct state {
	u64 rax, rbx, rcx, rdx;
	u64 mem;		/* 8 bytes at OPERAND */
	u64 flags;		/* without FIXED */
};

struct bytes {
	const char *bytes;
	unsigned int len;
};

struct exec_case {
	enum emulate_mode mode;
	struct bytes code;
	struct state in, out;
};

#define BYTES(string)	{ string, sizeof(string) - 1 }

/* The operand is at (%rdi), (%edi) or (%di): ModRM.rm = 7, or 5 in 16 bits. */
static const struct exec_case cases[] = {
	/* MOV by sizes; 32 bits clear the upper half, 8 and 16 do not */
	{ L64, BYTES("\x88\x07"), { .rax = 0x1122, .mem = -1 },
	  { .rax = 0x1122, .mem = ~0xddULL } },
	{ L64, BYTES("\x88\x27"), { .rax = 0x1122, .mem = -1 },
	  { .rax = 0x1122, .mem = ~0xeeULL } },
	{ L64, BYTES("\x66\x89\x07"), { .rax = 0x1122, .mem = -1 },
	  { .rax = 0x1122, .mem = ~0xeeddULL } },
	{ L64, BYTES("\x89\x07"), { .rax = 0x5511223344, .mem = -1 },
	  { .rax = 0x5511223344, .mem = 0xffffffff11223344 } },
	{ L64, BYTES("\x48\x89\x07"), { .rax = 0x5511223344, .mem = -1 },
	  { .rax = 0x5511223344, .mem = 0x5511223344 } },
	{ L64, BYTES("\x8b\x07"), { .rax = -1, .mem = 0x8877665544332211 },
	  { .rax = 0x44332211, .mem = 0x8877665544332211 } },
	{ L64, BYTES("\x66\x8b\x07"), { .rax = -1, .mem = 0x8877665544332211 },
	  { .rax = 0xffffffffffff2211, .mem = 0x8877665544332211 } },
	{ L64, BYTES("\x8a\x27"), { .rax = -1, .mem = 0x11 },
	  { .rax = 0xffffffffffff11ff, .mem = 0x11 } },
	{ L64, BYTES("\x48\x8b\x07"), { .mem = 0x8877665544332211 },
	  { .rax = 0x8877665544332211, .mem = 0x8877665544332211 } },
	{ L64, BYTES("\xa1\x10\0\x01\0\0\0\0\0"), { .mem = 0x12345678 },
	  { .rax = 0x12345678, .mem = 0x12345678 } },
	{ P32, BYTES("\xa3\x10\0\x01\0"), { .rax = 0x12345678 },
	  { .rax = 0x12345678, .mem = 0x12345678 } },
	{ L64, BYTES("\x48\xc7\x07\xfe\xff\xff\xff"), { },
	  { .mem = -2 } },
	{ L64, BYTES("\x66\xc7\x07\x34\x12"), { .mem = -1 },
	  { .mem = 0xffffffffffff1234 } },
	{ L64, BYTES("\x0f\xc3\x07"), { .rax = 5 }, { .rax = 5, .mem = 5 } },
	{ L64, BYTES("\x0f\x38\xf0\x07"), { .rax = -1, .mem = 0x11223344 },
	  { .rax = 0x44332211, .mem = 0x11223344 } },
	{ L64, BYTES("\x66\x0f\x38\xf1\x07"), { .rax = 0x1122 },
	  { .rax = 0x1122, .mem = 0x2211 } },
	{ REAL, BYTES("\x89\x05"), { .rax = 0x12345678 },
	  { .rax = 0x12345678, .mem = 0x5678 } },
	{ REAL, BYTES("\x66\x8b\x05"), { .mem = 0x12345678 },
	  { .rax = 0x12345678, .mem = 0x12345678 } },
	{ L64, BYTES("\x8b\x04\x8f"), { .rcx = 1, .mem = 0x1122334411223344 },
	  { .rax = 0x11223344, .rcx = 1, .mem = 0x1122334411223344 } },
	{ L64, BYTES("\x8b\xc1"), { .rax = -1, .rcx = -2 },
	  { .rax = 0xfffffffe, .rcx = -2 } },
	{ L64, BYTES("\x88\xe9"), { .rcx = 0x1122 }, { .rcx = 0x1111 } },
	{ L64, BYTES("\x66\xc7\xc0\x34\x12"), { .rax = -1 },
	  { .rax = 0xffffffffffff1234 } },
	/* MOVZX, MOVSX */
	{ L64, BYTES("\x0f\xb6\x07"), { .rax = -1, .mem = 0x80 },
	  { .rax = 0x80, .mem = 0x80 } },
	{ L64, BYTES("\x66\x0f\xb6\x07"), { .rax = -1, .mem = 0x80 },
	  { .rax = 0xffffffffffff0080, .mem = 0x80 } },
	{ L64, BYTES("\x0f\xb7\x07"), { .rax = -1, .mem = 0x8000 },
	  { .rax = 0x8000, .mem = 0x8000 } },
	{ L64, BYTES("\x0f\xbe\x07"), { .mem = 0x80 },
	  { .rax = 0xffffff80, .mem = 0x80 } },
	{ L64, BYTES("\x48\x0f\xbf\x07"), { .mem = 0x8000 },
	  { .rax = 0xffffffffffff8000, .mem = 0x8000 } },
	{ L64, BYTES("\x48\x63\x07"), { .mem = 0x80000000 },
	  { .rax = 0xffffffff80000000, .mem = 0x80000000 } },
	/* arithmetic and its flags */
	{ L64, BYTES("\x01\x07"), { .rax = 1, .mem = 0xffffffff },
	  { .rax = 1, .flags = CF | PF | AF | ZF } },
	{ L64, BYTES("\x01\x07"), { .rax = 1, .mem = 0x7fffffff },
	  { .rax = 1, .mem = 0x80000000, .flags = OF | SF | AF | PF } },
	{ L64, BYTES("\x48\x03\x07"), { .rax = -1, .mem = 1 },
	  { .mem = 1, .flags = CF | PF | AF | ZF } },
	{ L64, BYTES("\x11\x07"), { .rax = 1, .mem = 1, .flags = CF },
	  { .rax = 1, .mem = 3, .flags = PF } },
	{ L64, BYTES("\x10\x07"), { .rax = 0xff, .mem = 0, .flags = CF },
	  { .rax = 0xff, .mem = 0, .flags = CF | PF | AF | ZF } },
	{ L64, BYTES("\x29\x07"), { .rax = 1, .mem = 0 },
	  { .rax = 1, .mem = 0xffffffff, .flags = CF | PF | AF | SF } },
	{ L64, BYTES("\x28\x07"), { .rax = 1, .mem = 0x80 },
	  { .rax = 1, .mem = 0x7f, .flags = OF | AF } },
	{ L64, BYTES("\x19\x07"), { .rax = 0, .mem = 0, .flags = CF },
	  { .rax = 0, .mem = 0xffffffff, .flags = CF | PF | AF | SF } },
	{ L64, BYTES("\x39\x07"), { .rax = 5, .mem = 5 },
	  { .rax = 5, .mem = 5, .flags = ZF | PF } },
	{ L64, BYTES("\x3b\x07"), { .rax = 5, .mem = 6 },
	  { .rax = 5, .mem = 6, .flags = CF | PF | AF | SF } },
	{ L64, BYTES("\x83\x3f\xff"), { .mem = 0xffffffff },
	  { .mem = 0xffffffff, .flags = ZF | PF } },
	{ L64, BYTES("\x21\x07"), { .rax = 0xf0, .mem = 0x3c, .flags = CF | OF },
	  { .rax = 0xf0, .mem = 0x30, .flags = PF } },
	{ L64, BYTES("\x80\x0f\x80"), { .mem = 1, .flags = CF | OF | AF },
	  { .mem = 0x81, .flags = SF | PF } },
	{ L64, BYTES("\x33\x07"), { .rax = 0xff, .mem = 0xff },
	  { .mem = 0xff, .flags = ZF | PF } },
	{ L64, BYTES("\xf0\x83\x0f\x08"), { .mem = 1 }, { .mem = 9, .flags = PF } },
	{ L64, BYTES("\x84\x07"), { .rax = 0x80, .mem = 0x80 },
	  { .rax = 0x80, .mem = 0x80, .flags = SF } },
	{ L64, BYTES("\xf7\x07\x00\x00\x00\x80"), { .mem = 0x7fffffff },
	  { .mem = 0x7fffffff, .flags = ZF | PF } },
	{ L64, BYTES("\xa8\x01"), { .rax = 3 }, { .rax = 3 } },
	{ L64, BYTES("\xf7\x17"), { .mem = 0x0f, .flags = CF | ZF },
	  { .mem = 0xfffffff0, .flags = CF | ZF } },
	{ L64, BYTES("\xf6\x1f"), { .mem = 0x80 },
	  { .mem = 0x80, .flags = CF | OF | SF } },
	{ L64, BYTES("\xf6\x1f"), { .mem = 0 }, { .flags = ZF | PF } },
	{ L64, BYTES("\xfe\x07"), { .mem = 0xff, .flags = CF },
	  { .flags = CF | AF | ZF | PF } },
	{ L64, BYTES("\x66\xff\x0f"), { .mem = 0x8000 },
	  { .mem = 0x7fff, .flags = OF | AF | PF } },
	{ REAL, BYTES("\x81\x05\xff\xff"), { .mem = 1 },
	  { .flags = CF | PF | AF | ZF } },
	/* exchanges */
	{ L64, BYTES("\x87\x07"), { .rax = -1, .mem = 7 },
	  { .rax = 7, .mem = 0xffffffff } },
	{ L64, BYTES("\x86\x27"), { .rax = 0x1122, .mem = 7 },
	  { .rax = 0x0722, .mem = 0x11 } },
	{ L64, BYTES("\xf0\x0f\xc1\x07"), { .rax = 2, .mem = 0xff },
	  { .rax = 0xff, .mem = 0x101, .flags = AF } },
	{ L64, BYTES("\xf0\x0f\xb1\x0f"), { .rax = 5, .rcx = 9, .mem = 5 },
	  { .rax = 5, .rcx = 9, .mem = 9, .flags = ZF | PF } },
	{ L64, BYTES("\x0f\xb1\x0f"), { .rax = 6, .rcx = 9, .mem = 5 },
	  { .rax = 5, .rcx = 9, .mem = 5, .flags = 0 } },
	{ L64, BYTES("\x0f\xb0\x0f"), { .rax = 0xaa06, .rcx = 9, .mem = 5 },
	  { .rax = 0xaa05, .rcx = 9, .mem = 5 } },
	{ L64, BYTES("\xf0\x0f\xc7\x0f"),
	  { .rax = 1, .rdx = 2, .rbx = 3, .rcx = 4, .mem = 0x200000001 },
	  { .rax = 1, .rdx = 2, .rbx = 3, .rcx = 4, .mem = 0x400000003,
	    .flags = ZF } },
	{ L64, BYTES("\x0f\xc7\x0f"),
	  { .rax = 1, .rdx = -1, .rbx = 3, .rcx = 4, .mem = 0x200000001,
	    .flags = ZF | CF },
	  { .rax = 1, .rdx = 2, .rbx = 3, .rcx = 4, .mem = 0x200000001,
	    .flags = CF } },
	/* bit tests; a register's bit number reaches beyond the operand */
	{ L64, BYTES("\x0f\xa3\x07"), { .rax = 3, .mem = 8 },
	  { .rax = 3, .mem = 8, .flags = CF } },
	{ L64, BYTES("\x0f\xab\x07"), { .rax = 33, .flags = CF | ZF },
	  { .rax = 33, .mem = 0x200000000, .flags = ZF } },
	{ L64, BYTES("\xf0\x0f\xb3\x47\x04"), { .rax = -32, .mem = 3 },
	  { .rax = -32, .mem = 2, .flags = CF } },
	{ L64, BYTES("\x66\x0f\xbb\x07"), { .rax = 0x10011, .mem = 0 },
	  { .rax = 0x10011, .mem = 0x20000 } },
	{ L64, BYTES("\x0f\xba\x2f\x21"), { .mem = 0 }, { .mem = 2 } },
	{ L64, BYTES("\x0f\xba\x37\x01"), { .mem = 2 }, { .flags = CF } },
	{ L64, BYTES("\x48\x0f\xba\x3f\x3f"), { .mem = 0 },
	  { .mem = 0x8000000000000000 } },
	/* RF ends with the instruction */
	{ L64, BYTES("\x89\x07"), { .rax = 1, .flags = RF },
	  { .rax = 1, .mem = 1 } },
};

static void set_state(struct machine *m, const struct state *in)
{
	m->gpr[0] = in->rax;
	m->gpr[1] = in->rcx;
	m->gpr[2] = in->rdx;
	m->gpr[3] = in->rbx;
	store64(m, OPERAND, in->mem);
	m->ctxt.rflags = in->flags | FIXED;
}

static void case_init(struct kunit *test, struct machine *m,
		      const struct exec_case *c)
{
	machine_init(m, c->mode);
	set_state(m, &c->in);
	KUNIT_ASSERT_EQ_MSG(test, machine_decode(m, c->code.bytes, c->code.len), 0,
			    "case %u", (unsigned int)(c - cases));
}

static void expect_case(struct kunit *test, const struct exec_case *c)
{
	unsigned int nr = c - cases;
	struct machine m;
	u64 rip;

	case_init(test, &m, c);
	rip = m.ctxt.rip;
	KUNIT_EXPECT_EQ_MSG(test, emulate_insn(&m.ctxt), EMU_DONE, "case %u",
			    nr);
	KUNIT_EXPECT_EQ_MSG(test, m.gpr[0], c->out.rax, "case %u: rax", nr);
	KUNIT_EXPECT_EQ_MSG(test, m.gpr[1], c->out.rcx, "case %u: rcx", nr);
	KUNIT_EXPECT_EQ_MSG(test, m.gpr[2], c->out.rdx, "case %u: rdx", nr);
	KUNIT_EXPECT_EQ_MSG(test, m.gpr[3], c->out.rbx, "case %u: rbx", nr);
	KUNIT_EXPECT_EQ_MSG(test, load64(&m, OPERAND), c->out.mem,
			    "case %u: memory", nr);
	KUNIT_EXPECT_EQ_MSG(test, m.ctxt.rflags, c->out.flags | FIXED,
			    "case %u: flags", nr);
	KUNIT_EXPECT_EQ_MSG(test, m.ctxt.rip, rip + c->code.len, "case %u: rip", nr);
	KUNIT_EXPECT_FALSE(test, m.ctxt.again);
}

static void each_instruction_does_what_the_manual_says(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		expect_case(test, &cases[i]);
}

static void expect_unchanged(struct kunit *test, const struct machine *m,
			     const struct machine *before, unsigned int nr)
{
	KUNIT_EXPECT_TRUE_MSG(test, !memcmp(m->gpr, before->gpr,
					    sizeof(m->gpr)) &&
			      m->ctxt.rip == before->ctxt.rip &&
			      m->ctxt.rflags == before->ctxt.rflags &&
			      !memcmp(m->memory, before->memory, SIZE),
			      "case %u: state changed by an unfinished access",
			      nr);
}

/* Run with access @at answered otherwise; then again with it made. */
static void interrupt_case(struct kunit *test, const struct exec_case *c,
			   int at, enum emulate_result with)
{
	struct machine m, before;

	case_init(test, &m, c);
	before = m;
	m.trap.at = at;
	m.trap.with = with;
	KUNIT_EXPECT_EQ_MSG(test, emulate_insn(&m.ctxt), with, "case %u",
			    (unsigned int)(c - cases));
	expect_unchanged(test, &m, &before, c - cases);

	m.trap.at = -1;
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, m.gpr[0], c->out.rax);
	KUNIT_EXPECT_EQ(test, load64(&m, OPERAND), c->out.mem);
}

static void unfinished_accesses_change_nothing(struct kunit *test)
{
	unsigned int i;
	struct machine m;
	int at, accesses;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		case_init(test, &m, &cases[i]);
		emulate_insn(&m.ctxt);
		accesses = m.accesses;
		for (at = 0; at < accesses; at++) {
			interrupt_case(test, &cases[i], at, EMU_IO);
			interrupt_case(test, &cases[i], at, EMU_FAULT);
			interrupt_case(test, &cases[i], at, EMU_UNHANDLEABLE);
		}
	}
}

/* The fast way must not differ from the long one. */
static void fast_way_equals_the_long_one(struct kunit *test)
{
	unsigned int i;
	struct machine m;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct exec_case *c = &cases[i];
		u64 value = c->in.mem;

		case_init(test, &m, c);
		if (emulate_is_load(&m.ctxt.insn)) {
			emulate_finish_load(&m.ctxt, c->in.mem);
		} else if (emulate_is_store(&m.ctxt.insn)) {
			u64 stored = emulate_store_value(&m.ctxt);

			memcpy(&value, &stored, m.ctxt.insn.mem_size);
			emulate_finish_store(&m.ctxt);
		} else {
			continue;
		}
		KUNIT_EXPECT_EQ_MSG(test, m.gpr[0], c->out.rax, "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, value, c->out.mem, "case %u", i);
		KUNIT_EXPECT_EQ(test, m.ctxt.rflags, c->out.flags | FIXED);
		KUNIT_EXPECT_EQ(test, m.accesses, 0);
	}
}

static void a_lost_race_is_executed_again(struct kunit *test)
{
	static const char *const locked[] = {
		"\xf0\x01\x07", "\x87\x07", "\xf0\xff\x07",
	};
	struct machine m, before;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(locked); i++) {
		machine_init(&m, L64);
		KUNIT_EXPECT_EQ(test, machine_decode(&m, locked[i],
						     i == 1 ? 2 : 3), 0);
		before = m;
		m.lose_race = true;
		KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
		KUNIT_EXPECT_TRUE(test, m.ctxt.again);
		expect_unchanged(test, &m, &before, i);
	}
}

static void a_read_may_ask_for_another_try(struct kunit *test)
{
	struct machine m, before;

	machine_init(&m, L64);
	m.gpr[1] = 3;
	machine_decode(&m, "\xf3\xa5", 2);
	before = m;
	m.trap.at = 0;
	m.trap.with = EMU_RETRY;
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_TRUE(test, m.ctxt.again);
	expect_unchanged(test, &m, &before, 0);
}

/* A read whose write follows is announced, so that #PF says W. */
static void reads_announce_the_write_that_follows(struct kunit *test)
{
	static const struct {
		struct bytes code;
		unsigned int access;
	} rows[] = {
		{ BYTES("\x01\x07"), EMU_ACCESS_WRITE },
		{ BYTES("\x87\x07"), EMU_ACCESS_WRITE },
		{ BYTES("\x0f\xb1\x0f"), EMU_ACCESS_WRITE },
		{ BYTES("\x0f\xab\x07"), EMU_ACCESS_WRITE },
		{ BYTES("\x0f\xc7\x0f"), EMU_ACCESS_WRITE },
		{ BYTES("\x39\x07"), EMU_ACCESS_READ },
		{ BYTES("\x0f\xa3\x07"), EMU_ACCESS_READ },
		{ BYTES("\x85\x07"), EMU_ACCESS_READ },
		{ BYTES("\x03\x07"), EMU_ACCESS_READ },
		{ BYTES("\x8b\x07"), EMU_ACCESS_READ },
		{ BYTES("\xa5"), EMU_ACCESS_READ },
	};
	struct machine m;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		machine_init(&m, L64);
		machine_decode(&m, rows[i].code.bytes, rows[i].code.len);
		KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
		KUNIT_EXPECT_EQ_MSG(test, m.last_access, rows[i].access,
				    "row %u", i);
	}
}

static void string_instructions_move_and_step(struct kunit *test)
{
	struct machine m;

	machine_init(&m, L64);
	store64(&m, SOURCE, 0x1122334455667788);
	KUNIT_EXPECT_EQ(test, machine_decode(&m, "\xa5", 1), 0);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, load64(&m, OPERAND), 0x55667788);
	KUNIT_EXPECT_EQ(test, m.gpr[6], SOURCE + 4);
	KUNIT_EXPECT_EQ(test, m.gpr[7], OPERAND + 4);
	KUNIT_EXPECT_EQ(test, m.ctxt.rip, RIP + 1);

	machine_init(&m, L64);
	m.gpr[0] = 0xaabb;
	m.ctxt.rflags |= DF;
	machine_decode(&m, "\x66\xab", 2);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, load64(&m, OPERAND), 0xaabb);
	KUNIT_EXPECT_EQ(test, m.gpr[7], OPERAND - 2);

	machine_init(&m, L64);
	m.gpr[0] = -1;
	store64(&m, SOURCE, 0x80);
	machine_decode(&m, "\xac", 1);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, m.gpr[0], 0xffffffffffffff80);
	KUNIT_EXPECT_EQ(test, m.gpr[6], SOURCE + 1);
	KUNIT_EXPECT_EQ(test, m.gpr[7], OPERAND);
}

static void rep_goes_one_iteration_at_a_time(struct kunit *test)
{
	struct machine m;
	unsigned int i;

	machine_init(&m, L64);
	m.gpr[0] = 0x5a;
	m.gpr[1] = 3;
	machine_decode(&m, "\xf3\xaa", 2);
	for (i = 1; i <= 3; i++) {
		KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
		KUNIT_EXPECT_EQ(test, m.gpr[1], 3 - i);
		KUNIT_EXPECT_EQ(test, m.gpr[7], OPERAND + i);
		KUNIT_EXPECT_EQ(test, m.ctxt.again, i < 3);
		KUNIT_EXPECT_EQ(test, m.ctxt.rip, RIP + (i < 3 ? 0 : 2));
	}
	KUNIT_EXPECT_EQ(test, load64(&m, OPERAND), 0x5a5a5a);
}

static void rep_of_nothing_does_nothing(struct kunit *test)
{
	struct machine m;

	machine_init(&m, L64);
	m.gpr[1] = 0xffffffff00000000;
	machine_decode(&m, "\xf3\x67\xa4", 3);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, m.accesses, 0);
	KUNIT_EXPECT_EQ(test, m.ctxt.rip, RIP + 3);
	KUNIT_EXPECT_FALSE(test, m.ctxt.again);
}

/* A fault in iteration n leaves the n - 1 before it done. */
static void rep_faults_between_iterations(struct kunit *test)
{
	struct machine m;

	machine_init(&m, L64);
	m.gpr[7] = MEMORY + SIZE - 4;
	m.gpr[1] = 8;
	machine_decode(&m, "\xf3\xab", 2);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_FAULT);
	KUNIT_EXPECT_EQ(test, m.ctxt.fault.cr2, MEMORY + SIZE);
	KUNIT_EXPECT_EQ(test, m.gpr[1], 7);
	KUNIT_EXPECT_EQ(test, m.gpr[7], MEMORY + SIZE);
	KUNIT_EXPECT_EQ(test, m.ctxt.rip, RIP);
}

/* MOVS whose write cannot be made yet has not moved its source either. */
static void movs_is_all_or_nothing(struct kunit *test)
{
	struct machine m, before;
	int at;

	for (at = 0; at < 2; at++) {
		machine_init(&m, L64);
		m.gpr[1] = 2;
		machine_decode(&m, "\xf3\xa5", 2);
		before = m;
		m.trap.at = at;
		m.trap.with = EMU_IO;
		KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_IO);
		expect_unchanged(test, &m, &before, at);
	}
}

/* 16- and 32-bit address sizes wrap there, and leave the rest alone or 0. */
static void string_registers_follow_the_address_size(struct kunit *test)
{
	struct machine m;

	machine_init(&m, REAL);
	m.gpr[7] = 0xabcd0010;
	machine_decode(&m, "\xaa", 1);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, m.gpr[7], 0xabcd0011);

	machine_init(&m, L64);
	m.gpr[7] = 0xabcdULL << 32 | OPERAND;
	machine_decode(&m, "\x67\xaa", 2);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, m.gpr[7], OPERAND + 1);
}

static void addresses_wrap_at_their_size(struct kunit *test)
{
	struct machine m;

	/* mov %ax, 0x20(%bx) with BX = 0xfff0: offset 0x10 */
	machine_init(&m, REAL);
	m.gpr[0] = 0x1234;
	m.gpr[3] = 0xfff0;
	machine_decode(&m, "\x89\x47\x20", 3);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, load64(&m, OPERAND), 0x1234);

	/* mov %eax, 0x20(%ebx) with EBX wrapping, in 64-bit mode */
	machine_init(&m, L64);
	m.gpr[0] = 0x1234;
	m.gpr[3] = 0x7700000000ULL + (u32)(OPERAND - 0x20);
	machine_decode(&m, "\x67\x89\x43\x20", 4);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, load64(&m, OPERAND), 0x1234);
}

static void rip_relative_counts_from_the_next_instruction(struct kunit *test)
{
	struct machine m;

	/* movl $0x55, OPERAND - RIP - 10(%rip) */
	machine_init(&m, L64);
	m.ctxt.rip = OPERAND - 0x1000 - 10;
	machine_decode(&m, "\xc7\x05\x00\x10\x00\x00\x55\x00\x00\x00", 10);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, load64(&m, OPERAND), 0x55);
}

static void eip_wraps_at_4_gib(struct kunit *test)
{
	struct machine m;

	machine_init(&m, P32);
	m.ctxt.rip = 0xfffffffe;
	machine_decode(&m, "\x89\x07", 2);
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_DONE);
	KUNIT_EXPECT_EQ(test, m.ctxt.rip, 0);
}

/* Every way to memory checks its address before it touches anything. */
static void bad_addresses_fault_everywhere(struct kunit *test)
{
	static const struct bytes rows[] = {
		BYTES("\x8b\x07"), BYTES("\x89\x07"), BYTES("\x01\x07"),
		BYTES("\xf0\x01\x07"), BYTES("\x0f\xc7\x0f"),
		BYTES("\x0f\xa3\x07"), BYTES("\xaa"), BYTES("\xac"),
	};
	struct machine m, before;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		machine_init(&m, L64);
		m.gpr[6] = 0x800000000000;
		m.gpr[7] = 0x800000000000;
		machine_decode(&m, rows[i].bytes, rows[i].len);
		before = m;
		KUNIT_EXPECT_EQ_MSG(test, emulate_insn(&m.ctxt), EMU_FAULT,
				    "row %u", i);
		KUNIT_EXPECT_EQ(test, m.ctxt.fault.vector, EMU_VEC_GP);
		KUNIT_EXPECT_EQ(test, m.accesses, 0);
		expect_unchanged(test, &m, &before, i);
	}
}

/* A fault of the destination's segment comes before any write. */
static void faulting_segments_leave_all_as_it_was(struct kunit *test)
{
	struct machine m, before;

	machine_init(&m, P32);
	m.seg[EMU_ES].type = 1;
	m.gpr[1] = 1;
	machine_decode(&m, "\xf3\xa5", 2);
	before = m;
	KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_FAULT);
	KUNIT_EXPECT_EQ(test, m.ctxt.fault.vector, EMU_VEC_GP);
	expect_unchanged(test, &m, &before, 0);
}

static void what_is_not_ours_is_refused(struct kunit *test)
{
	static const struct bytes rows[] = {
		BYTES("\x0f\xa2"),
		BYTES("\x0f\x10\x07"),
		BYTES("\x66\x0f\x7f\x07"),
		BYTES("\x6c"),
		BYTES("\xf0\x48\x0f\xc7\x0f"),
	};
	struct machine m, before;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		machine_init(&m, L64);
		KUNIT_EXPECT_EQ(test, machine_decode(&m, rows[i].bytes,
						     rows[i].len), 0);
		before = m;
		KUNIT_EXPECT_EQ(test, emulate_insn(&m.ctxt), EMU_UNHANDLEABLE);
		KUNIT_EXPECT_EQ(test, m.accesses, 0);
		expect_unchanged(test, &m, &before, i);
	}
}

static struct kunit_case emulate_execute_cases[] = {
	KUNIT_CASE(each_instruction_does_what_the_manual_says),
	KUNIT_CASE(unfinished_accesses_change_nothing),
	KUNIT_CASE(fast_way_equals_the_long_one),
	KUNIT_CASE(a_lost_race_is_executed_again),
	KUNIT_CASE(a_read_may_ask_for_another_try),
	KUNIT_CASE(reads_announce_the_write_that_follows),
	KUNIT_CASE(string_instructions_move_and_step),
	KUNIT_CASE(rep_goes_one_iteration_at_a_time),
	KUNIT_CASE(rep_of_nothing_does_nothing),
	KUNIT_CASE(rep_faults_between_iterations),
	KUNIT_CASE(movs_is_all_or_nothing),
	KUNIT_CASE(string_registers_follow_the_address_size),
	KUNIT_CASE(addresses_wrap_at_their_size),
	KUNIT_CASE(rip_relative_counts_from_the_next_instruction),
	KUNIT_CASE(eip_wraps_at_4_gib),
	KUNIT_CASE(bad_addresses_fault_everywhere),
	KUNIT_CASE(faulting_segments_leave_all_as_it_was),
	KUNIT_CASE(what_is_not_ours_is_refused),
	{ }
};

struct kunit_suite emulate_execute_suite = {
	.name = "kiln_emulate_execute",
	.test_cases = emulate_execute_cases,
};
