// SPDX-License-Identifier: GPL-2.0-only
/*
 * From segment and offset to a linear address, and from RIP to bytes: what is
 * checked, and which exception says so.
 */
#include <kunit/test.h>
#include <linux/string.h>
#include <linux/types.h>

#include "emulate.h"
#include "emulate_test.h"

#define REAL	EMU_MODE_REAL
#define V86	EMU_MODE_VM86
#define P32	EMU_MODE_PROT32
#define L64	EMU_MODE_LONG64

struct bytes {
	const char *bytes;
	unsigned int len;
};

#define BYTES(string)	((struct bytes){ string, sizeof(string) - 1 })

/* The only segment there is. */
static void test_segment(struct emulate_ctxt *ctxt, enum emulate_seg seg,
			 struct emulate_segment *out)
{
	*out = *(const struct emulate_segment *)ctxt->priv;
}

static const struct emulate_ops test_ops = {
	.segment = test_segment,
};

static struct emulate_ctxt test_ctxt(enum emulate_mode mode,
				     const struct emulate_segment *segment)
{
	struct emulate_ctxt ctxt = {
		.ops = &test_ops,
		.priv = (void *)segment,
		.mode = mode,
		.linear_bits = 48,
	};

	return ctxt;
}

struct linear_case {
	enum emulate_mode mode;
	enum emulate_seg seg;
	struct emulate_segment segment;
	u64 offset;
	unsigned int size, access;
	int vector;		/* or 0: @linear */
	u64 linear;
};

#define SEG(base_, limit_, type_)	\
	{ .base = base_, .limit = limit_, .type = type_, .db = true }
#define NULLSEG				{ .unusable = true }
#define R	EMU_ACCESS_READ
#define W	EMU_ACCESS_WRITE
#define X	EMU_ACCESS_FETCH

static const struct linear_case linear_cases[] = {
	/* limits */
	{ P32, EMU_DS, SEG(0x1000, 0xfff, 3), 0xffc, 4, W, 0, 0x1ffc },
	{ P32, EMU_DS, SEG(0x1000, 0xfff, 3), 0xffd, 4, W, EMU_VEC_GP },
	{ P32, EMU_SS, SEG(0x1000, 0xfff, 3), 0xffd, 4, W, EMU_VEC_SS },
	{ P32, EMU_DS, SEG(0, 0xffffffff, 3), 0xfffffffc, 4, R, 0, 0xfffffffc },
	{ P32, EMU_DS, SEG(0, 0xffffffff, 3), 0xfffffffd, 4, R, EMU_VEC_GP },
	{ REAL, EMU_DS, SEG(0xf0000, 0xffff, 3), 0xffff, 1, R, 0, 0xfffff },
	{ REAL, EMU_DS, SEG(0xf0000, 0xffff, 3), 0xffff, 2, R, EMU_VEC_GP },
	{ REAL, EMU_SS, SEG(0xf0000, 0xffff, 3), 0xffff, 2, R, EMU_VEC_SS },
	{ REAL, EMU_DS, SEG(0, 0xffffffff, 3), 0xfee00000, 4, R, 0,
	  0xfee00000 },
	/* expand-down: above the limit, up to 4 GiB or 64 KiB */
	{ P32, EMU_DS, SEG(0, 0xfff, 7), 0x1000, 4, W, 0, 0x1000 },
	{ P32, EMU_DS, SEG(0, 0xfff, 7), 0xfff, 4, W, EMU_VEC_GP },
	{ P32, EMU_DS, { .limit = 0xfff, .type = 7 }, 0xfffc, 4, R, 0, 0xfffc },
	{ P32, EMU_DS, { .limit = 0xfff, .type = 7 }, 0xfffd, 4, R, EMU_VEC_GP },
	/* linear addresses wrap at 4 GiB */
	{ P32, EMU_DS, SEG(0xfffff000, 0xffffffff, 3), 0x2000, 4, R, 0, 0x1000 },
	/* types */
	{ P32, EMU_DS, SEG(0, 0xffff, 1), 0, 4, R, 0, 0 },
	{ P32, EMU_DS, SEG(0, 0xffff, 1), 0, 4, W, EMU_VEC_GP },
	{ P32, EMU_CS, SEG(0, 0xffff, 0xb), 0, 4, R, 0, 0 },
	{ P32, EMU_CS, SEG(0, 0xffff, 0xb), 0, 4, W, EMU_VEC_GP },
	{ P32, EMU_CS, SEG(0, 0xffff, 0x9), 0, 4, R, EMU_VEC_GP },
	{ P32, EMU_CS, SEG(0, 0xffff, 0x9), 0, 1, X, 0, 0 },
	{ P32, EMU_CS, SEG(0, 0xffff, 0x9), 0x10000, 1, X, EMU_VEC_GP },
	{ P32, EMU_DS, NULLSEG, 0, 4, R, EMU_VEC_GP },
	{ P32, EMU_SS, NULLSEG, 0, 4, R, EMU_VEC_SS },
	{ V86, EMU_CS, SEG(0x100, 0xffff, 3), 0, 4, W, 0, 0x100 },
	{ REAL, EMU_CS, SEG(0x100, 0xffff, 0xb), 0, 4, W, 0, 0x100 },
	/* 64-bit: flat but for FS and GS, and canonical */
	{ L64, EMU_DS, SEG(0x5000, 0, 0), 0x123456789a, 8, W, 0, 0x123456789a },
	{ L64, EMU_DS, NULLSEG, 0x1000, 8, W, 0, 0x1000 },
	{ L64, EMU_GS, SEG(0xffff888000000000, 0, 0), 0x10, 8, W, 0,
	  0xffff888000000010 },
	{ L64, EMU_FS, SEG(0x5000, 0, 0), -0x1000, 8, R, 0, 0x4000 },
	{ L64, EMU_DS, NULLSEG, 0x7ffffffffff8, 8, R, 0, 0x7ffffffffff8 },
	{ L64, EMU_DS, NULLSEG, 0x7ffffffffff9, 8, R, EMU_VEC_GP },
	{ L64, EMU_DS, NULLSEG, 0x800000000000, 8, R, EMU_VEC_GP },
	{ L64, EMU_SS, NULLSEG, 0x800000000000, 8, R, EMU_VEC_SS },
	{ L64, EMU_DS, NULLSEG, 0xffff7fffffffffff, 1, R, EMU_VEC_GP },
	{ L64, EMU_DS, NULLSEG, 0xffff7fffffffffff, 2, R, EMU_VEC_GP },
	{ L64, EMU_DS, NULLSEG, 0xffff800000000000, 8, R, 0,
	  0xffff800000000000 },
	{ L64, EMU_GS, SEG(0x7fffffffff00, 0, 0), 0x100, 1, R, EMU_VEC_GP },
};

static void expect_linear(struct kunit *test, const struct linear_case *c)
{
	unsigned int nr = c - linear_cases;
	enum emulate_result result;
	struct emulate_ctxt ctxt;
	u64 linear = 0;

	ctxt = test_ctxt(c->mode, &c->segment);
	result = emulate_linear(&ctxt, c->seg, c->offset, c->size, c->access,
				&linear);
	KUNIT_EXPECT_EQ_MSG(test, result, c->vector ? EMU_FAULT : EMU_DONE,
			    "case %u", nr);
	if (!c->vector) {
		KUNIT_EXPECT_EQ_MSG(test, linear, c->linear, "case %u", nr);
		return;
	}
	KUNIT_EXPECT_EQ_MSG(test, ctxt.fault.vector, c->vector, "case %u",
			    nr);
	KUNIT_EXPECT_EQ_MSG(test, ctxt.fault.has_error, c->mode != REAL,
			    "case %u", nr);
	KUNIT_EXPECT_EQ(test, ctxt.fault.error, 0);
}

static void segments_and_canonical_addresses_are_checked(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(linear_cases); i++)
		expect_linear(test, &linear_cases[i]);
}

static void five_levels_widen_canonical_addresses(struct kunit *test)
{
	struct emulate_ctxt ctxt;
	u64 linear;

	ctxt = test_ctxt(L64, NULL);
	ctxt.linear_bits = 57;
	KUNIT_EXPECT_EQ(test, emulate_linear(&ctxt, EMU_DS, 0x800000000000,
					     8, R, &linear), EMU_DONE);
	KUNIT_EXPECT_EQ(test, emulate_linear(&ctxt, EMU_DS, 1ULL << 56,
					     8, R, &linear), EMU_FAULT);
}

static void misaligned_data_is_ac_where_checked(struct kunit *test)
{
	struct emulate_ctxt ctxt;
	u64 linear;

	ctxt = test_ctxt(L64, NULL);
	KUNIT_EXPECT_EQ(test, emulate_linear(&ctxt, EMU_DS, 0x1001, 4, R,
					     &linear), EMU_DONE);
	ctxt.check_alignment = true;
	KUNIT_EXPECT_EQ(test, emulate_linear(&ctxt, EMU_DS, 0x1004, 4, R,
					     &linear), EMU_DONE);
	KUNIT_EXPECT_EQ(test, emulate_linear(&ctxt, EMU_DS, 0x1001, 4, R,
					     &linear), EMU_FAULT);
	KUNIT_EXPECT_EQ(test, ctxt.fault.vector, EMU_VEC_AC);
	KUNIT_EXPECT_TRUE(test, ctxt.fault.has_error);
	KUNIT_EXPECT_EQ(test, emulate_linear(&ctxt, EMU_CS, 0x1001, 15, X,
					     &linear), EMU_DONE);
}

/* Fetching has a machine of its own: two pages of code, one may be absent. */
struct code {
	struct emulate_ctxt ctxt;
	u64 gpr[16];
	u8 page[2][4096];	/* at 0x1000 and 0x2000 */
	struct emulate_segment cs;
	bool second_present;
	unsigned int reads;
};

static enum emulate_result code_read(struct emulate_ctxt *ctxt, u64 linear,
				     void *buf, unsigned int len,
				     unsigned int access)
{
	struct code *code = container_of(ctxt, struct code, ctxt);

	code->reads++;
	ctxt->fault.vector = EMU_VEC_PF;
	ctxt->fault.cr2 = linear;
	if (access != EMU_ACCESS_FETCH || linear < 0x1000 ||
	    linear + len > 0x3000)
		return EMU_FAULT;
	if (linear + len > 0x2000 && !code->second_present)
		return EMU_FAULT;
	memcpy(buf, &code->page[0][0] + (linear - 0x1000), len);
	return EMU_DONE;
}

static void code_segment(struct emulate_ctxt *ctxt, enum emulate_seg seg,
			 struct emulate_segment *out)
{
	*out = container_of(ctxt, struct code, ctxt)->cs;
}

static const struct emulate_ops code_ops = {
	.read = code_read,
	.segment = code_segment,
};

static struct code *code_init(struct kunit *test, enum emulate_mode mode,
			      u64 rip, struct bytes bytes)
{
	struct code *code = kunit_kzalloc(test, sizeof(*code), GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, code);
	code->ctxt.ops = &code_ops;
	code->ctxt.gpr = code->gpr;
	code->ctxt.mode = mode;
	code->ctxt.linear_bits = 48;
	code->ctxt.rip = rip;
	code->cs.limit = 0xffffffff;
	code->cs.type = 0xb;
	code->second_present = true;
	memcpy(&code->page[0][0] + (rip - 0x1000), bytes.bytes,
	       bytes.len);
	return code;
}

static void fetch_reads_the_second_page_only_if_needed(struct kunit *test)
{
	struct code *code;
	u8 bytes[EMU_INSN_MAX];
	unsigned int len;

	code = code_init(test, L64, 0x1ffe, BYTES("\x89\x07"));
	code->second_present = false;
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_DONE);
	KUNIT_EXPECT_EQ(test, len, 2);
	KUNIT_EXPECT_EQ(test, code->ctxt.insn.length, 2);

	code = code_init(test, L64, 0x1ffe, BYTES("\x89\x47\x10"));
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_DONE);
	KUNIT_EXPECT_EQ(test, len, 15);
	KUNIT_EXPECT_EQ(test, code->ctxt.insn.length, 3);
	KUNIT_EXPECT_EQ(test, code->ctxt.insn.disp, 0x10);

	code->second_present = false;
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_FAULT);
	KUNIT_EXPECT_EQ(test, code->ctxt.fault.vector, EMU_VEC_PF);
	KUNIT_EXPECT_EQ(test, code->ctxt.fault.cr2, 0x2000);
	KUNIT_EXPECT_EQ(test, len, 2);
}

static void fetch_honours_the_code_segment(struct kunit *test)
{
	struct code *code;
	u8 bytes[EMU_INSN_MAX];
	unsigned int len;

	/* the limit cuts the instruction, in the page and at its end */
	code = code_init(test, P32, 0x1100, BYTES("\x89\x47\x10"));
	code->cs.limit = 0x1101;
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_FAULT);
	KUNIT_EXPECT_EQ(test, code->ctxt.fault.vector, EMU_VEC_GP);
	code->cs.limit = 0x1102;
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_DONE);

	code = code_init(test, P32, 0x1ffe, BYTES("\x89\x47\x10"));
	code->cs.limit = 0x1fff;
	code->second_present = false;
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_FAULT);
	KUNIT_EXPECT_EQ(test, code->ctxt.fault.vector, EMU_VEC_GP);

	code = code_init(test, L64, 0x1100, BYTES("\x89\x07"));
	code->ctxt.rip = 1ULL << 47;
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_FAULT);
	KUNIT_EXPECT_EQ(test, code->ctxt.fault.vector, EMU_VEC_GP);
	KUNIT_EXPECT_EQ(test, len, 0);
}

static void fetch_raises_what_decoding_found(struct kunit *test)
{
	struct code *code;
	u8 bytes[EMU_INSN_MAX];
	unsigned int len;

	code = code_init(test, L64, 0x1100, BYTES("\xf0\x89\x07"));
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_FAULT);
	KUNIT_EXPECT_EQ(test, code->ctxt.fault.vector, EMU_VEC_UD);
	KUNIT_EXPECT_FALSE(test, code->ctxt.fault.has_error);

	code = code_init(test, L64, 0x1ffa, BYTES("\x3e\x3e\x3e\x3e\x3e\x3e"
		"\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x89\x07"));
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_FAULT);
	KUNIT_EXPECT_EQ(test, code->ctxt.fault.vector, EMU_VEC_GP);
	KUNIT_EXPECT_TRUE(test, code->ctxt.fault.has_error);

	code = code_init(test, L64, 0x1100, BYTES("\xc5\xf8\x10\x07"));
	KUNIT_EXPECT_EQ(test, emulate_fetch_insn(&code->ctxt, bytes, &len),
			EMU_UNHANDLEABLE);
	KUNIT_EXPECT_EQ(test, len, 15);
}

static struct kunit_case emulate_linear_cases[] = {
	KUNIT_CASE(segments_and_canonical_addresses_are_checked),
	KUNIT_CASE(five_levels_widen_canonical_addresses),
	KUNIT_CASE(misaligned_data_is_ac_where_checked),
	KUNIT_CASE(fetch_reads_the_second_page_only_if_needed),
	KUNIT_CASE(fetch_honours_the_code_segment),
	KUNIT_CASE(fetch_raises_what_decoding_found),
	{ }
};

struct kunit_suite emulate_linear_suite = {
	.name = "kiln_emulate_linear",
	.test_cases = emulate_linear_cases,
};
