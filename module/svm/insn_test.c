// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long the instructions are that SVM intercepts: what a processor that does
 * not save the next RIP leaves to the decoder, and what is assumed where their
 * bytes are gone. Lengths by hand, from the APM vol. 3.
 */
#include <kunit/test.h>
#include <linux/string.h>

#include "emulate/emulate.h"
#include "svm.h"
#include "svm_test.h"

#define REAL	BIT(EMU_MODE_REAL)
#define V86	BIT(EMU_MODE_VM86)
#define P16	BIT(EMU_MODE_PROT16)
#define P32	BIT(EMU_MODE_PROT32)
#define L64	BIT(EMU_MODE_LONG64)
#define CODE16	(REAL | V86 | P16)
#define ANY	(CODE16 | P32 | L64)
#define MAX_INSN	8

static const struct {
	const char *name;
	u8 modes;
	u8 len;
	u8 bytes[MAX_INSN];
} insns[] = {
	{ "cpuid", ANY, 2, { 0x0f, 0xa2 } },
	{ "rdmsr", ANY, 2, { 0x0f, 0x32 } },
	{ "wrmsr", ANY, 2, { 0x0f, 0x30 } },
	{ "rdpmc", ANY, 2, { 0x0f, 0x33 } },
	{ "rdtsc", ANY, 2, { 0x0f, 0x31 } },
	{ "invd", ANY, 2, { 0x0f, 0x08 } },
	{ "wbinvd", ANY, 2, { 0x0f, 0x09 } },
	{ "clts", ANY, 2, { 0x0f, 0x06 } },
	{ "rsm", ANY, 2, { 0x0f, 0xaa } },
	{ "hlt", ANY, 1, { 0xf4 } },
	{ "pause", ANY, 2, { 0xf3, 0x90 } },
	{ "icebp", ANY, 1, { 0xf1 } },
	{ "int3", ANY, 1, { 0xcc } },
	{ "int n", ANY, 2, { 0xcd, 0x80 } },
	{ "iret", ANY, 1, { 0xcf } },
	{ "pushf", ANY, 1, { 0x9c } },
	{ "popf", ANY, 1, { 0x9d } },
	/* ports */
	{ "in al, imm", ANY, 2, { 0xe4, 0x60 } },
	{ "in eax, imm", ANY, 2, { 0xe5, 0x60 } },
	{ "out imm, al", ANY, 2, { 0xe6, 0x80 } },
	{ "out imm, eax", ANY, 2, { 0xe7, 0x80 } },
	{ "in al, dx", ANY, 1, { 0xec } },
	{ "in eax, dx", ANY, 1, { 0xed } },
	{ "out dx, al", ANY, 1, { 0xee } },
	{ "out dx, eax", ANY, 1, { 0xef } },
	{ "insb", ANY, 1, { 0x6c } },
	{ "insd", ANY, 1, { 0x6d } },
	{ "outsb", ANY, 1, { 0x6e } },
	{ "outsd", ANY, 1, { 0x6f } },
	/* control and debug registers: ModRM.mod does not count */
	{ "mov eax, cr0", ANY, 3, { 0x0f, 0x20, 0xc0 } },
	{ "mov ebx, cr3", ANY, 3, { 0x0f, 0x20, 0xdb } },
	{ "mov ebp, cr4", ANY, 3, { 0x0f, 0x20, 0xe5 } },
	{ "mov cr0, eax", ANY, 3, { 0x0f, 0x22, 0xc0 } },
	{ "mov cr3, esp", ANY, 3, { 0x0f, 0x22, 0xdc } },
	{ "mov cr4, ebp, mod 0", ANY, 3, { 0x0f, 0x22, 0x25 } },
	{ "mov cr4, esp, mod 1", ANY, 3, { 0x0f, 0x22, 0x64 } },
	{ "mov eax, cr8", ANY, 4, { 0xf0, 0x0f, 0x20, 0xc0 } },
	{ "mov cr8, eax", ANY, 4, { 0xf0, 0x0f, 0x22, 0xc0 } },
	{ "mov rax, cr8", L64, 4, { 0x44, 0x0f, 0x20, 0xc0 } },
	{ "mov cr8, r15", L64, 4, { 0x45, 0x0f, 0x22, 0xc7 } },
	{ "mov eax, dr7", ANY, 3, { 0x0f, 0x21, 0xf8 } },
	{ "mov dr0, ecx", ANY, 3, { 0x0f, 0x23, 0xc1 } },
	{ "mov dr6, esp, mod 2", ANY, 3, { 0x0f, 0x23, 0xb4 } },
	/* CR0 by other ways */
	{ "lmsw ax", ANY, 3, { 0x0f, 0x01, 0xf0 } },
	{ "smsw eax", ANY, 3, { 0x0f, 0x01, 0xe0 } },
	{ "lmsw [bx]", CODE16, 3, { 0x0f, 0x01, 0x37 } },
	{ "lmsw [0x1234]", CODE16, 5, { 0x0f, 0x01, 0x36, 0x34, 0x12 } },
	{ "lmsw [bp+disp8]", CODE16, 4, { 0x0f, 0x01, 0x76, 0x08 } },
	{ "smsw [bx+disp16]", CODE16, 5, { 0x0f, 0x01, 0xa7, 0x34, 0x12 } },
	{ "lmsw [edi]", P32, 3, { 0x0f, 0x01, 0x37 } },
	{ "lmsw [0x12345678]", P32, 7,
	  { 0x0f, 0x01, 0x35, 0x78, 0x56, 0x34, 0x12 } },
	{ "lmsw [rip+disp]", L64, 7,
	  { 0x0f, 0x01, 0x35, 0x78, 0x56, 0x34, 0x12 } },
	{ "smsw [esp+disp8]", P32 | L64, 5, { 0x0f, 0x01, 0x64, 0x24, 0x10 } },
	/* the instructions in group 7's registers */
	{ "vmmcall", ANY, 3, { 0x0f, 0x01, 0xd9 } },
	{ "vmcall", ANY, 3, { 0x0f, 0x01, 0xc1 } },
	{ "xsetbv", ANY, 3, { 0x0f, 0x01, 0xd1 } },
	{ "rdtscp", ANY, 3, { 0x0f, 0x01, 0xf9 } },
	{ "rdpru", ANY, 3, { 0x0f, 0x01, 0xfd } },
	{ "monitor", ANY, 3, { 0x0f, 0x01, 0xc8 } },
	{ "mwait", ANY, 3, { 0x0f, 0x01, 0xc9 } },
	{ "monitorx", ANY, 3, { 0x0f, 0x01, 0xfa } },
	{ "mwaitx", ANY, 3, { 0x0f, 0x01, 0xfb } },
	{ "vmrun", ANY, 3, { 0x0f, 0x01, 0xd8 } },
	{ "vmload", ANY, 3, { 0x0f, 0x01, 0xda } },
	{ "vmsave", ANY, 3, { 0x0f, 0x01, 0xdb } },
	{ "stgi", ANY, 3, { 0x0f, 0x01, 0xdc } },
	{ "clgi", ANY, 3, { 0x0f, 0x01, 0xdd } },
	{ "skinit", ANY, 3, { 0x0f, 0x01, 0xde } },
	{ "invlpga", ANY, 3, { 0x0f, 0x01, 0xdf } },
	/* INVLPG and INVPCID have a memory operand */
	{ "invlpg [si]", CODE16, 3, { 0x0f, 0x01, 0x3c } },
	{ "invlpg [eax]", P32 | L64, 3, { 0x0f, 0x01, 0x38 } },
	{ "invpcid ecx, [eax]", P32 | L64, 5, { 0x66, 0x0f, 0x38, 0x82, 0x08 } },
	{ "invpcid ecx, [esp+16]", P32 | L64, 7,
	  { 0x66, 0x0f, 0x38, 0x82, 0x4c, 0x24, 0x10 } },
	{ "invpcid cx, [bx+disp8]", P16, 6,
	  { 0x66, 0x0f, 0x38, 0x82, 0x4f, 0x10 } },
};

/* None, redundant ones, and as many as fit. */
static const struct {
	u8 modes;
	u8 len;
	u8 bytes[8];
} prefixes[] = {
	{ ANY, 0, { 0 } },
	{ ANY, 1, { 0x2e } },
	{ ANY, 1, { 0x3e } },
	{ ANY, 1, { 0x65 } },
	{ ANY, 1, { 0x66 } },
	{ ANY, 1, { 0xf2 } },
	{ ANY, 1, { 0xf3 } },
	{ ANY, 3, { 0x66, 0x2e, 0x66 } },
	{ ANY, 8, { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66 } },
	{ L64, 1, { 0x40 } },
	{ L64, 1, { 0x48 } },
	{ L64, 1, { 0x4f } },
	{ L64, 2, { 0x66, 0x41 } },
	/* cancelled by the prefix behind it */
	{ L64, 2, { 0x4f, 0x2e } },
};

/* 0x67 changes the length of those with a memory operand, the others' not. */
static bool has_memory(int insn)
{
	return strchr(insns[insn].name, '[');
}

static void expect_length(struct kunit *test, int insn, const u8 *prefix,
			  unsigned int nr, enum emulate_mode mode)
{
	unsigned int len = nr + insns[insn].len;
	u8 bytes[EMU_INSN_MAX] = { };
	struct kiln_insn out;

	KUNIT_ASSERT_LE(test, len, sizeof(bytes));
	/* what follows is not looked at */
	memset(bytes, 0xf3, sizeof(bytes));
	memcpy(bytes, prefix, nr);
	memcpy(bytes + nr, insns[insn].bytes, insns[insn].len);
	KUNIT_EXPECT_EQ_MSG(test, emulate_decode(&out, bytes, sizeof(bytes),
						 mode), 0,
			    "%s, mode %d, prefix %*ph", insns[insn].name, mode,
			    nr, prefix);
	KUNIT_EXPECT_EQ_MSG(test, out.length, len,
			    "%s, mode %d, prefix %*ph", insns[insn].name, mode,
			    nr, prefix);
}

static void each_length_is_known_in_each_mode(struct kunit *test)
{
	enum emulate_mode mode;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(insns); i++)
		for (j = 0; j < ARRAY_SIZE(prefixes); j++)
			for (mode = 0; mode <= EMU_MODE_LONG64; mode++)
				if (insns[i].modes & prefixes[j].modes &
				    BIT(mode))
					expect_length(test, i,
						      prefixes[j].bytes,
						      prefixes[j].len, mode);
}

static void another_address_size_counts_as_a_prefix(struct kunit *test)
{
	static const u8 addr = 0x67;
	enum emulate_mode mode;
	int i;

	for (i = 0; i < ARRAY_SIZE(insns); i++)
		for (mode = 0; mode <= EMU_MODE_LONG64; mode++)
			if (insns[i].modes & BIT(mode) && !has_memory(i))
				expect_length(test, i, &addr, 1, mode);
}

/* The same bytes mean another operand then. */
static void another_address_size_changes_memory_operands(struct kunit *test)
{
	/* lmsw [si]; with SIB and displacement where it is [esp+disp8] */
	static const u8 bytes[EMU_INSN_MAX] = {
		0x67, 0x0f, 0x01, 0x74, 0x24, 0x10,
	};
	static const struct {
		enum emulate_mode mode;
		u8 len;
	} rows[] = {
		{ EMU_MODE_REAL, 6 },
		{ EMU_MODE_PROT16, 6 },
		{ EMU_MODE_PROT32, 5 },
		{ EMU_MODE_LONG64, 6 },
	};
	struct kiln_insn out;
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		KUNIT_EXPECT_EQ(test, emulate_decode(&out, bytes, sizeof(bytes),
						     rows[i].mode), 0);
		KUNIT_EXPECT_EQ(test, out.length, rows[i].len);
	}
}

/* The registers that exits without decode assists are asked for. */
static void a_move_names_its_registers(struct kunit *test)
{
	static const struct {
		u8 bytes[5];
		u8 reg, rm;
	} rows[] = {
		{ { 0x0f, 0x22, 0xdf }, 3, 7 },
		{ { 0x41, 0x0f, 0x22, 0xdf }, 3, 15 },
		{ { 0x45, 0x0f, 0x20, 0xc1 }, 8, 9 },
		{ { 0x0f, 0x20, 0x24 }, 4, 4 },
		{ { 0x66, 0x41, 0x0f, 0x21, 0xf0 }, 6, 8 },
	};
	struct kiln_insn out;
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		KUNIT_EXPECT_EQ(test, emulate_decode(&out, rows[i].bytes,
						     sizeof(rows[i].bytes),
						     EMU_MODE_LONG64), 0);
		KUNIT_EXPECT_EQ(test, out.reg, rows[i].reg);
		KUNIT_EXPECT_EQ(test, out.rm, rows[i].rm);
		KUNIT_EXPECT_FALSE(test, out.has_mem);
	}
}

/* Where nobody can read the bytes any more. */
static void without_bytes_an_instruction_is_as_long_as_usual(struct kunit *test)
{
	static const struct {
		u32 code;
		const char *name;
	} rows[] = {
		{ SVM_EXIT_CPUID, "cpuid" },
		{ SVM_EXIT_MSR, "rdmsr" },
		{ SVM_EXIT_MSR, "wrmsr" },
		{ SVM_EXIT_RDPMC, "rdpmc" },
		{ SVM_EXIT_INVD, "invd" },
		{ SVM_EXIT_WBINVD, "wbinvd" },
		{ SVM_EXIT_HLT, "hlt" },
		{ SVM_EXIT_PAUSE, "pause" },
		{ SVM_EXIT_READ_CR0, "mov eax, cr0" },
		{ SVM_EXIT_WRITE_CR4, "mov cr4, ebp, mod 0" },
		{ SVM_EXIT_READ_DR7, "mov eax, dr7" },
		{ SVM_EXIT_WRITE_DR0, "mov dr0, ecx" },
		{ SVM_EXIT_VMMCALL, "vmmcall" },
		{ SVM_EXIT_XSETBV, "xsetbv" },
	};
	int i, j;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		for (j = 0; strcmp(insns[j].name, rows[i].name); j++)
			KUNIT_ASSERT_LT(test, j + 1, ARRAY_SIZE(insns));
		KUNIT_EXPECT_EQ_MSG(test, svm_plain_length(rows[i].code),
				    insns[j].len, "%s", rows[i].name);
	}
}

static struct svm_vcpu *make_vcpu(struct kunit *test)
{
	struct svm_vcpu *svm = kunit_kzalloc(test, sizeof(*svm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, svm);
	svm->vmcb = kunit_kzalloc(test, sizeof(*svm->vmcb), GFP_KERNEL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, svm->vmcb);
	return svm;
}

static void rip_moves_on_by_the_length(struct kunit *test)
{
	struct svm_vcpu *svm = make_vcpu(test);

	svm->exit_rip = 0x1000;
	svm_set_next(svm, 3);
	KUNIT_EXPECT_EQ(test, svm->next_rip, 0x1003);
}

static void rip_wraps_at_4g_outside_64_bit_code(struct kunit *test)
{
	struct svm_vcpu *svm = make_vcpu(test);

	svm->exit_rip = 0xfffffffe;
	svm_set_next(svm, 3);
	KUNIT_EXPECT_EQ(test, svm->next_rip, 1);
	/* compatibility mode */
	svm->vcpu.efer = EFER_LME | EFER_LMA;
	svm_set_next(svm, 3);
	KUNIT_EXPECT_EQ(test, svm->next_rip, 1);
	svm->vmcb->save.cs.attrib = SVM_SELECTOR_L_MASK;
	svm_set_next(svm, 3);
	KUNIT_EXPECT_EQ(test, svm->next_rip, 0x100000001);
	/* CS.L means nothing without long mode */
	svm->vcpu.efer = 0;
	svm_set_next(svm, 3);
	KUNIT_EXPECT_EQ(test, svm->next_rip, 1);
}

static struct kunit_case svm_insn_cases[] = {
	KUNIT_CASE(each_length_is_known_in_each_mode),
	KUNIT_CASE(another_address_size_counts_as_a_prefix),
	KUNIT_CASE(another_address_size_changes_memory_operands),
	KUNIT_CASE(a_move_names_its_registers),
	KUNIT_CASE(without_bytes_an_instruction_is_as_long_as_usual),
	KUNIT_CASE(rip_moves_on_by_the_length),
	KUNIT_CASE(rip_wraps_at_4g_outside_64_bit_code),
	{ }
};

struct kunit_suite svm_insn_suite = {
	.name = "kiln_svm_insn",
	.test_cases = svm_insn_cases,
};
