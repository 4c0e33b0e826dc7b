// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the decoder makes of bytes. Each row of the tables is one form: mode,
 * bytes, and a line that describe() prints of the result:
 *
 *	[lock |rep |repne ][operation.operands ]opcode/operand-size [rREG]
 *		[mSIZE seg:BASE+INDEX*SCALE+DISP aADDRESS-SIZE | rmREG]
 *		[iIMMEDIATE][ other| string-io]
 */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/stdarg.h>
#include <linux/types.h>

#include "emulate.h"
#include "emulate_test.h"
#include "insn.h"

#define REAL	EMU_MODE_REAL
#define P16	EMU_MODE_PROT16
#define P32	EMU_MODE_PROT32
#define L64	EMU_MODE_LONG64

struct form {
	enum emulate_mode mode;
	const char *bytes;
	const char *meaning;
};

static const struct form forms[] = {
	/* MOV */
	{ L64, "88 02", "mov.mr 88/1 r0 m1 ds:r2 a8" },
	{ L64, "89 02", "mov.mr 89/4 r0 m4 ds:r2 a8" },
	{ L64, "66 89 02", "mov.mr 89/2 r0 m2 ds:r2 a8" },
	{ L64, "48 89 02", "mov.mr 89/8 r0 m8 ds:r2 a8" },
	{ L64, "66 48 89 02", "mov.mr 89/8 r0 m8 ds:r2 a8" },
	{ L64, "8a 22", "mov.rm 8a/1 r4 m1 ds:r2 a8" },
	{ L64, "40 8a 22", "mov.rm 8a/1 r4 m1 ds:r2 a8" },
	{ L64, "8b 02", "mov.rm 8b/4 r0 m4 ds:r2 a8" },
	{ L64, "8b c2", "mov.rm 8b/4 r0 rm2" },
	{ L64, "a0 88 77 66 55 44 33 22 11",
	  "mov.rm a0/1 r0 m1 ds:+0x1122334455667788 a8" },
	{ L64, "67 a1 44 33 22 91", "mov.rm a1/4 r0 m4 ds:-0x6eddccbc a4" },
	{ L64, "48 a3 88 77 66 55 44 33 22 11",
	  "mov.mr a3/8 r0 m8 ds:+0x1122334455667788 a8" },
	{ P32, "a2 44 33 22 11", "mov.mr a2/1 r0 m1 ds:+0x11223344 a4" },
	{ P32, "67 a3 22 11", "mov.mr a3/4 r0 m4 ds:+0x1122 a2" },
	{ REAL, "a1 22 11", "mov.rm a1/2 r0 m2 ds:+0x1122 a2" },
	{ REAL, "66 67 a1 44 33 22 11", "mov.rm a1/4 r0 m4 ds:+0x11223344 a4" },
	{ L64, "c6 02 80", "mov.mi c6/1 r0 m1 ds:r2 a8 i-0x80" },
	{ L64, "c7 02 44 33 22 11", "mov.mi c7/4 r0 m4 ds:r2 a8 i+0x11223344" },
	{ L64, "66 c7 02 22 11", "mov.mi c7/2 r0 m2 ds:r2 a8 i+0x1122" },
	{ L64, "48 c7 02 fe ff ff ff", "mov.mi c7/8 r0 m8 ds:r2 a8 i-0x2" },
	{ REAL, "c7 07 22 11", "mov.mi c7/2 r0 m2 ds:r3 a2 i+0x1122" },
	{ REAL, "66 c7 07 44 33 22 11",
	  "mov.mi c7/4 r0 m4 ds:r3 a2 i+0x11223344" },
	{ L64, "0f c3 02", "mov.mr 0fc3/4 r0 m4 ds:r2 a8" },
	{ L64, "4c 0f c3 02", "mov.mr 0fc3/8 r8 m8 ds:r2 a8" },
	{ L64, "0f 38 f0 02", "movbe.rm 0f38f0/4 r0 m4 ds:r2 a8" },
	{ L64, "66 0f 38 f1 02", "movbe.mr 0f38f1/2 r0 m2 ds:r2 a8" },
	{ L64, "48 0f 38 f1 02", "movbe.mr 0f38f1/8 r0 m8 ds:r2 a8" },
	/* MOVZX, MOVSX, MOVSXD */
	{ L64, "0f b6 02", "movzx.rm 0fb6/4 r0 m1 ds:r2 a8" },
	{ L64, "66 0f b6 02", "movzx.rm 0fb6/2 r0 m1 ds:r2 a8" },
	{ L64, "48 0f b7 02", "movzx.rm 0fb7/8 r0 m2 ds:r2 a8" },
	{ L64, "0f be 02", "movsx.rm 0fbe/4 r0 m1 ds:r2 a8" },
	{ L64, "48 0f bf 02", "movsx.rm 0fbf/8 r0 m2 ds:r2 a8" },
	{ L64, "48 63 02", "movsx.rm 63/8 r0 m4 ds:r2 a8" },
	{ L64, "63 02", "movsx.rm 63/4 r0 m4 ds:r2 a8" },
	{ L64, "66 63 02", "movsx.rm 63/2 r0 m2 ds:r2 a8" },
	{ REAL, "0f b6 07", "movzx.rm 0fb6/2 r0 m1 ds:r3 a2" },
	/* the ALU forms */
	{ L64, "00 02", "add.mr 00/1 r0 m1 ds:r2 a8" },
	{ L64, "01 02", "add.mr 01/4 r0 m4 ds:r2 a8" },
	{ L64, "02 02", "add.rm 02/1 r0 m1 ds:r2 a8" },
	{ L64, "03 02", "add.rm 03/4 r0 m4 ds:r2 a8" },
	{ L64, "04 7f", "add.mi 04/1 r0 rm0 i+0x7f" },
	{ L64, "05 44 33 22 11", "add.mi 05/4 r0 rm0 i+0x11223344" },
	{ L64, "f0 09 02", "lock or.mr 09/4 r0 m4 ds:r2 a8" },
	{ L64, "0b 02", "or.rm 0b/4 r0 m4 ds:r2 a8" },
	{ L64, "11 02", "adc.mr 11/4 r0 m4 ds:r2 a8" },
	{ L64, "1a 02", "sbb.rm 1a/1 r0 m1 ds:r2 a8" },
	{ L64, "23 02", "and.rm 23/4 r0 m4 ds:r2 a8" },
	{ L64, "48 29 02", "sub.mr 29/8 r0 m8 ds:r2 a8" },
	{ L64, "66 31 02", "xor.mr 31/2 r0 m2 ds:r2 a8" },
	{ L64, "38 02", "cmp.mr 38/1 r0 m1 ds:r2 a8" },
	{ L64, "3b 02", "cmp.rm 3b/4 r0 m4 ds:r2 a8" },
	{ L64, "3d 44 33 22 11", "cmp.mi 3d/4 r0 rm0 i+0x11223344" },
	{ L64, "80 0a 80", "or.mi 80/1 r1 m1 ds:r2 a8 i-0x80" },
	{ L64, "81 22 44 33 22 91", "and.mi 81/4 r4 m4 ds:r2 a8 i-0x6eddccbc" },
	{ L64, "66 81 22 22 11", "and.mi 81/2 r4 m2 ds:r2 a8 i+0x1122" },
	{ L64, "48 81 22 44 33 22 91",
	  "and.mi 81/8 r4 m8 ds:r2 a8 i-0x6eddccbc" },
	{ L64, "f0 83 0a ff", "lock or.mi 83/4 r1 m4 ds:r2 a8 i-0x1" },
	{ P32, "82 0a 80", "or.mi 82/1 r1 m1 ds:r2 a4 i-0x80" },
	{ L64, "84 02", "test.mr 84/1 r0 m1 ds:r2 a8" },
	{ L64, "85 02", "test.mr 85/4 r0 m4 ds:r2 a8" },
	{ L64, "a8 01", "test.mi a8/1 r0 rm0 i+0x1" },
	{ L64, "66 a9 22 11", "test.mi a9/2 r0 rm0 i+0x1122" },
	{ L64, "f6 02 80", "test.mi f6/1 r0 m1 ds:r2 a8 i-0x80" },
	{ L64, "f7 02 44 33 22 11",
	  "test.mi f7/4 r0 m4 ds:r2 a8 i+0x11223344" },
	{ L64, "f7 0a 44 33 22 11",
	  "test.mi f7/4 r1 m4 ds:r2 a8 i+0x11223344" },
	{ L64, "f7 12", "not.m f7/4 r2 m4 ds:r2 a8" },
	{ L64, "f0 f6 1a", "lock neg.m f6/1 r3 m1 ds:r2 a8" },
	{ L64, "fe 02", "inc.m fe/1 r0 m1 ds:r2 a8" },
	{ L64, "48 ff 0a", "dec.m ff/8 r1 m8 ds:r2 a8" },
	/* XCHG, XADD, CMPXCHG */
	{ L64, "86 02", "xchg.mr 86/1 r0 m1 ds:r2 a8" },
	{ L64, "f0 87 02", "lock xchg.mr 87/4 r0 m4 ds:r2 a8" },
	{ L64, "0f c0 02", "xadd.mr 0fc0/1 r0 m1 ds:r2 a8" },
	{ L64, "f0 0f c1 02", "lock xadd.mr 0fc1/4 r0 m4 ds:r2 a8" },
	{ L64, "0f b0 0a", "cmpxchg.mr 0fb0/1 r1 m1 ds:r2 a8" },
	{ L64, "f0 48 0f b1 0a", "lock cmpxchg.mr 0fb1/8 r1 m8 ds:r2 a8" },
	{ L64, "f0 0f c7 0a", "lock cmpxchg8b.m 0fc7/4 r1 m8 ds:r2 a8" },
	/* bit tests */
	{ L64, "0f a3 02", "bt.mr 0fa3/4 r0 m4 ds:r2 a8" },
	{ L64, "f0 0f ab 02", "lock bts.mr 0fab/4 r0 m4 ds:r2 a8" },
	{ L64, "48 0f b3 02", "btr.mr 0fb3/8 r0 m8 ds:r2 a8" },
	{ L64, "66 0f bb 02", "btc.mr 0fbb/2 r0 m2 ds:r2 a8" },
	{ L64, "0f ba 22 05", "bt.mi 0fba/4 r4 m4 ds:r2 a8 i+0x5" },
	{ L64, "f0 0f ba 2a 1f", "lock bts.mi 0fba/4 r5 m4 ds:r2 a8 i+0x1f" },
	{ L64, "0f ba 32 05", "btr.mi 0fba/4 r6 m4 ds:r2 a8 i+0x5" },
	{ L64, "0f ba 3a 05", "btc.mi 0fba/4 r7 m4 ds:r2 a8 i+0x5" },
	/* strings */
	{ L64, "a4", "movs.str a4/1 r0 rm0 ds a8" },
	{ L64, "f3 48 a5", "rep movs.str a5/8 r0 rm0 ds a8" },
	{ L64, "64 a5", "movs.str a5/4 r0 rm0 fs a8" },
	{ L64, "66 a5", "movs.str a5/2 r0 rm0 ds a8" },
	{ L64, "f3 67 ab", "rep stos.str ab/4 r0 rm0 es a4" },
	{ P32, "2e aa", "stos.str aa/1 r0 rm0 es a4" },
	{ P32, "f2 ac", "repne lods.str ac/1 r0 rm0 ds a4" },
	{ REAL, "26 ad", "lods.str ad/2 r0 rm0 es a2" },
	{ P32, "f3 6c", "rep 6c/1 r0 rm0 es a4 string-io" },
	{ P32, "3e 6d", "6d/4 r0 rm0 es a4 string-io" },
	{ REAL, "2e 6f", "6f/2 r0 rm0 cs a2 string-io" },
	{ L64, "f3 65 6e", "rep 6e/1 r0 rm0 gs a8 string-io" },
};

static const struct form addresses[] = {
	/* 64-bit: every special value of ModRM and SIB */
	{ L64, "8b 00", "mov.rm 8b/4 r0 m4 ds:r0 a8" },
	{ L64, "8b 04 24", "mov.rm 8b/4 r0 m4 ss:r4 a8" },
	{ L64, "8b 05 10 00 00 00", "mov.rm 8b/4 r0 m4 ds:rip+0x10 a8" },
	{ L64, "41 8b 05 f0 ff ff ff", "mov.rm 8b/4 r0 m4 ds:rip-0x10 a8" },
	{ L64, "67 8b 05 10 00 00 00", "mov.rm 8b/4 r0 m4 ds:rip+0x10 a4" },
	{ L64, "8b 45 00", "mov.rm 8b/4 r0 m4 ss:r5 a8" },
	{ L64, "8b 45 80", "mov.rm 8b/4 r0 m4 ss:r5-0x80 a8" },
	{ L64, "8b 85 44 33 22 91", "mov.rm 8b/4 r0 m4 ss:r5-0x6eddccbc a8" },
	{ L64, "41 8b 45 10", "mov.rm 8b/4 r0 m4 ds:r13+0x10 a8" },
	{ L64, "41 8b 04 24", "mov.rm 8b/4 r0 m4 ds:r12 a8" },
	{ L64, "8b 44 24 08", "mov.rm 8b/4 r0 m4 ss:r4+0x8 a8" },
	{ L64, "8b 84 24 00 01 00 00", "mov.rm 8b/4 r0 m4 ss:r4+0x100 a8" },
	{ L64, "8b 04 25 44 33 22 11", "mov.rm 8b/4 r0 m4 ds:+0x11223344 a8" },
	{ L64, "8b 04 25 00 00 e0 fe", "mov.rm 8b/4 r0 m4 ds:-0x1200000 a8" },
	{ L64, "8b 04 8d 10 00 00 00", "mov.rm 8b/4 r0 m4 ds:+r1*4+0x10 a8" },
	{ L64, "42 8b 04 25 10 00 00 00",
	  "mov.rm 8b/4 r0 m4 ds:+r12*1+0x10 a8" },
	{ L64, "41 8b 04 25 10 00 00 00", "mov.rm 8b/4 r0 m4 ds:+0x10 a8" },
	{ L64, "8b 44 cd 08", "mov.rm 8b/4 r0 m4 ss:r5+r1*8+0x8 a8" },
	{ L64, "43 8b 44 fd 08", "mov.rm 8b/4 r0 m4 ds:r13+r15*8+0x8 a8" },
	{ L64, "4f 8b 3c 5f", "mov.rm 8b/8 r15 m8 ds:r15+r11*2 a8" },
	{ L64, "67 8b 02", "mov.rm 8b/4 r0 m4 ds:r2 a4" },
	/* segments: in 64-bit mode only FS and GS count */
	{ L64, "64 8b 00", "mov.rm 8b/4 r0 m4 fs:r0 a8" },
	{ L64, "65 8b 04 25 10 00 00 00", "mov.rm 8b/4 r0 m4 gs:+0x10 a8" },
	{ L64, "3e 8b 04 24", "mov.rm 8b/4 r0 m4 ss:r4 a8" },
	{ L64, "64 2e 8b 00", "mov.rm 8b/4 r0 m4 fs:r0 a8" },
	{ L64, "64 65 8b 00", "mov.rm 8b/4 r0 m4 gs:r0 a8" },
	{ P32, "26 8b 00", "mov.rm 8b/4 r0 m4 es:r0 a4" },
	{ P32, "2e 8b 00", "mov.rm 8b/4 r0 m4 cs:r0 a4" },
	{ P32, "36 8b 00", "mov.rm 8b/4 r0 m4 ss:r0 a4" },
	{ P32, "3e 8b 04 24", "mov.rm 8b/4 r0 m4 ds:r4 a4" },
	{ P32, "64 2e 8b 00", "mov.rm 8b/4 r0 m4 cs:r0 a4" },
	{ P32, "65 a1 10 00 00 00", "mov.rm a1/4 r0 m4 gs:+0x10 a4" },
	/* 32-bit */
	{ P32, "8b 05 44 33 22 11", "mov.rm 8b/4 r0 m4 ds:+0x11223344 a4" },
	{ P32, "8b 04 24", "mov.rm 8b/4 r0 m4 ss:r4 a4" },
	{ P32, "8b 44 8d fc", "mov.rm 8b/4 r0 m4 ss:r5+r1*4-0x4 a4" },
	{ P32, "66 8b 02", "mov.rm 8b/2 r0 m2 ds:r2 a4" },
	/* 16-bit: the eight rows, and the exception at mod 0, r/m 6 */
	{ REAL, "8b 00", "mov.rm 8b/2 r0 m2 ds:r3+r6*1 a2" },
	{ REAL, "8b 01", "mov.rm 8b/2 r0 m2 ds:r3+r7*1 a2" },
	{ REAL, "8b 02", "mov.rm 8b/2 r0 m2 ss:r5+r6*1 a2" },
	{ REAL, "8b 03", "mov.rm 8b/2 r0 m2 ss:r5+r7*1 a2" },
	{ REAL, "8b 04", "mov.rm 8b/2 r0 m2 ds:r6 a2" },
	{ REAL, "8b 05", "mov.rm 8b/2 r0 m2 ds:r7 a2" },
	{ REAL, "8b 06 34 12", "mov.rm 8b/2 r0 m2 ds:+0x1234 a2" },
	{ REAL, "8b 07", "mov.rm 8b/2 r0 m2 ds:r3 a2" },
	{ REAL, "8b 46 fe", "mov.rm 8b/2 r0 m2 ss:r5-0x2 a2" },
	{ REAL, "8b 86 34 12", "mov.rm 8b/2 r0 m2 ss:r5+0x1234 a2" },
	{ REAL, "26 8b 46 fe", "mov.rm 8b/2 r0 m2 es:r5-0x2 a2" },
	{ P16, "8b 40 7f", "mov.rm 8b/2 r0 m2 ds:r3+r6*1+0x7f a2" },
	{ P32, "67 8b 06 34 12", "mov.rm 8b/4 r0 m4 ds:+0x1234 a2" },
	{ REAL, "67 8b 04 24", "mov.rm 8b/2 r0 m2 ss:r4 a4" },
	{ EMU_MODE_VM86, "8b 07", "mov.rm 8b/2 r0 m2 ds:r3 a2" },
};

/* Instructions whose length a backend without next-RIP asks for. */
static const struct form intercepted[] = {
	{ L64, "0f a2", "0fa2/4 other" },
	{ L64, "f4", "f4/4 other" },
	{ L64, "0f 30", "0f30/4 other" },
	{ L64, "0f 31", "0f31/4 other" },
	{ L64, "0f 32", "0f32/4 other" },
	{ L64, "0f 33", "0f33/4 other" },
	{ L64, "e4 60", "e4/1 i+0x60 other" },
	{ L64, "e7 80", "e7/4 i-0x80 other" },
	{ L64, "66 ed", "ed/2 other" },
	{ L64, "ee", "ee/1 other" },
	{ L64, "0f 20 c0", "0f20/4 r0 rm0 other" },
	{ L64, "44 0f 20 c0", "0f20/4 r8 rm0 other" },
	{ L64, "0f 22 1c", "0f22/4 r3 rm4 other" },
	{ L64, "f0 0f 20 c0", "lock 0f20/4 r0 rm0 other" },
	{ L64, "0f 23 f8", "0f23/4 r7 rm0 other" },
	{ L64, "0f 01 38", "0f01/4 r7 m4 ds:r0 a8 other" },
	{ L64, "0f 01 f0", "0f01/4 r6 rm0 other" },
	{ L64, "0f 01 c1", "0f01/4 r0 rm1 other" },
	{ L64, "0f 01 d9", "0f01/4 r3 rm1 other" },
	{ L64, "0f 01 d1", "0f01/4 r2 rm1 other" },
	{ L64, "0f 01 f9", "0f01/4 r7 rm1 other" },
	{ L64, "0f 01 c8", "0f01/4 r1 rm0 other" },
	{ L64, "0f 01 dc", "0f01/4 r3 rm4 other" },
	{ L64, "0f 00 5c 24 10", "0f00/4 r3 m4 ss:r4+0x10 a8 other" },
	{ L64, "0f 06", "0f06/4 other" },
	{ L64, "0f 08", "0f08/4 other" },
	{ L64, "0f 09", "0f09/4 other" },
	{ L64, "0f aa", "0faa/4 other" },
	{ L64, "f3 90", "rep 90/4 other" },
	{ L64, "cc", "cc/4 other" },
	{ L64, "cd 80", "cd/4 i-0x80 other" },
	{ L64, "48 cf", "cf/8 other" },
	{ L64, "9c", "9c/4 other" },
	{ L64, "9d", "9d/4 other" },
	{ L64, "fa", "fa/4 other" },
	{ L64, "fb", "fb/4 other" },
	{ L64, "f1", "f1/4 other" },
	{ L64, "66 0f 38 82 08", "0f3882/2 r1 m2 ds:r0 a8 other" },
	/* vector moves: decoded, not carried out */
	{ L64, "0f 10 02", "0f10/4 r0 m4 ds:r2 a8 other" },
	{ L64, "66 0f 6f 42 10", "0f6f/2 r0 m2 ds:r2+0x10 a8 other" },
	{ L64, "f3 0f 7f 02", "rep 0f7f/4 r0 m4 ds:r2 a8 other" },
	{ L64, "66 0f e7 02", "0fe7/2 r0 m2 ds:r2 a8 other" },
	{ L64, "0f 29 02", "0f29/4 r0 m4 ds:r2 a8 other" },
	{ L64, "f0 48 0f c7 0a", "lock 0fc7/8 r1 m8 ds:r2 a8 other" },
};

static const struct {
	const struct form *rows;
	unsigned int nr;
} tables[] = {
	{ forms, ARRAY_SIZE(forms) },
	{ addresses, ARRAY_SIZE(addresses) },
	{ intercepted, ARRAY_SIZE(intercepted) },
};

/* Two hex digits and a blank each. Returns how many. */
static unsigned int parse(const char *text, u8 *bytes, unsigned int room)
{
	unsigned int n = 0;
	u8 digit;

	for (; *text && n < 2 * room; text++) {
		if (*text == ' ')
			continue;
		digit = *text <= '9' ? *text - '0' : *text - 'a' + 10;
		bytes[n / 2] = n % 2 ? bytes[n / 2] << 4 | digit : digit;
		n++;
	}
	return n / 2;
}

struct text {
	char buf[96];
	unsigned int len;
};

static __printf(2, 3) void add(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text->len += vsnprintf(text->buf + text->len,
			       sizeof(text->buf) - text->len, format, args);
	va_end(args);
}

static void add_signed(struct text *text, const char *mark, s64 value)
{
	if (!value)
		return;
	if (value < 0)
		add(text, "%s-0x%llx", mark, -(u64)value);
	else
		add(text, "%s+0x%llx", mark, (u64)value);
}

static void describe_mem(struct text *text, const struct kiln_insn *insn)
{
	static const char *const segs[] = { "es", "cs", "ss", "ds", "fs", "gs" };

	if (insn->has_mem)
		add(text, " m%u", insn->mem_size);
	else if (!insn->has_modrm)
		add(text, " rm%u", insn->rm);
	add(text, " %s", segs[insn->seg]);
	if (insn->has_mem) {
		add(text, ":");
		if (insn->base == EMU_REG_RIP)
			add(text, "rip");
		else if (insn->base != EMU_REG_NONE)
			add(text, "r%u", insn->base);
		if (insn->index != EMU_REG_NONE)
			add(text, "+r%u*%u", insn->index, 1 << insn->scale);
		add_signed(text, "", insn->disp);
	}
	add(text, " a%u", insn->addr_size);
}

static bool is_string(const struct kiln_insn *insn)
{
	return insn->map == EMU_MAP_ONE &&
	       ((insn->opcode & 0xfc) == 0x6c ||
		(insn->opcode >= 0xa4 && insn->opcode <= 0xad &&
		 (insn->opcode & 0xfe) != 0xa8));
}

/* What to do between which operands; nothing where it is not carried out. */
static void describe_op(struct text *text, const struct kiln_insn *insn)
{
	static const char *const ops[OP_NR] = {
		[OP_UNKNOWN] = "unknown", [OP_OTHER] = "other",
		[OP_STRIO] = "string-io", [OP_MOV] = "mov",
		[OP_MOVZX] = "movzx", [OP_MOVSX] = "movsx",
		[OP_MOVBE] = "movbe", [OP_ADD] = "add", [OP_OR] = "or",
		[OP_ADC] = "adc", [OP_SBB] = "sbb", [OP_AND] = "and",
		[OP_SUB] = "sub", [OP_XOR] = "xor", [OP_CMP] = "cmp",
		[OP_TEST] = "test", [OP_NOT] = "not", [OP_NEG] = "neg",
		[OP_INC] = "inc", [OP_DEC] = "dec", [OP_XCHG] = "xchg",
		[OP_XADD] = "xadd", [OP_CMPXCHG] = "cmpxchg", [OP_BT] = "bt",
		[OP_BTS] = "bts", [OP_BTR] = "btr", [OP_BTC] = "btc",
		[OP_CMPXCHG8B] = "cmpxchg8b", [OP_MOVS] = "movs",
		[OP_STOS] = "stos", [OP_LODS] = "lods",
	};
	static const char *const forms[] = {
		[FORM_NONE] = "none", [FORM_MR] = "mr", [FORM_RM] = "rm",
		[FORM_MI] = "mi", [FORM_M] = "m", [FORM_STRING] = "str",
	};

	if (insn->kind == EMU_KIND_EXEC && insn->op < OP_NR &&
	    insn->form < ARRAY_SIZE(forms))
		add(text, "%s.%s ", ops[insn->op], forms[insn->form]);
}

static void describe(struct text *text, const struct kiln_insn *insn)
{
	static const char *const maps[] = { "", "0f", "0f38" };
	static const char *const kinds[] = { "", " string-io", " other" };

	text->len = 0;
	if (insn->prefixes & EMU_PREFIX_LOCK)
		add(text, "lock ");
	if (insn->prefixes & EMU_PREFIX_REP)
		add(text, "rep ");
	if (insn->prefixes & EMU_PREFIX_REPNE)
		add(text, "repne ");
	describe_op(text, insn);
	add(text, "%s%02x/%u", maps[insn->map], insn->opcode, insn->size);
	if (insn->has_modrm || insn->kind != EMU_KIND_OTHER)
		add(text, " r%u", insn->reg);
	if (insn->has_mem || is_string(insn))
		describe_mem(text, insn);
	else if (insn->has_modrm || insn->kind != EMU_KIND_OTHER)
		add(text, " rm%u", insn->rm);
	add_signed(text, " i", insn->imm);
	add(text, "%s", kinds[insn->kind]);
}

static void expect_form(struct kunit *test, const struct form *form)
{
	u8 bytes[EMU_INSN_MAX];
	unsigned int len = parse(form->bytes, bytes, sizeof(bytes));
	struct kiln_insn insn;
	struct text text;
	int err;

	err = emulate_decode(&insn, bytes, len, form->mode);
	KUNIT_EXPECT_EQ_MSG(test, err, 0, "%s", form->bytes);
	if (err)
		return;
	describe(&text, &insn);
	KUNIT_EXPECT_STREQ_MSG(test, text.buf, form->meaning, "%s",
			       form->bytes);
	KUNIT_EXPECT_EQ_MSG(test, insn.length, len, "%s", form->bytes);
}

static void each_form_decodes(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(forms); i++)
		expect_form(test, &forms[i]);
}

static void each_address_decodes(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(addresses); i++)
		expect_form(test, &addresses[i]);
}

static void each_intercepted_instruction_has_a_length(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(intercepted); i++)
		expect_form(test, &intercepted[i]);
}

static void expect_alu(struct kunit *test, const u8 *bytes, unsigned int op,
		       unsigned int form)
{
	struct kiln_insn insn;

	KUNIT_EXPECT_EQ_MSG(test, emulate_decode(&insn, bytes, 15, L64), 0,
			    "%02x %02x", bytes[0], bytes[1]);
	KUNIT_EXPECT_EQ(test, insn.kind, EMU_KIND_EXEC);
	KUNIT_EXPECT_EQ_MSG(test, insn.op, OP_ADD + op, "%02x %02x", bytes[0],
			    bytes[1]);
	KUNIT_EXPECT_EQ_MSG(test, insn.form, form, "%02x %02x", bytes[0],
			    bytes[1]);
	KUNIT_EXPECT_EQ_MSG(test, insn.size, bytes[0] & 1 ? 4 : 1,
			    "%02x %02x", bytes[0], bytes[1]);
}

/* The six ALU forms of eight operations and the group-1 rows, by formula. */
static void alu_rows_are_complete(struct kunit *test)
{
	static const u8 forms[] = {
		FORM_MR, FORM_MR, FORM_RM, FORM_RM, FORM_MI, FORM_MI,
	};
	static const u8 group[] = { 0x80, 0x81, 0x83 };
	unsigned int op, form, i;
	u8 bytes[15] = { 0 };

	for (op = 0; op < 8; op++) {
		for (form = 0; form < 6; form++) {
			bytes[0] = op << 3 | form;
			expect_alu(test, bytes, op, forms[form]);
		}
		for (i = 0; i < ARRAY_SIZE(group); i++) {
			bytes[0] = group[i];
			bytes[1] = op << 3;
			expect_alu(test, bytes, op, FORM_MI);
		}
		bytes[1] = 0;
	}
}

static void expect_truncated(struct kunit *test, const struct form *form)
{
	u8 bytes[EMU_INSN_MAX];
	unsigned int len = parse(form->bytes, bytes, sizeof(bytes));
	struct kiln_insn insn;
	unsigned int i;
	u8 *cut;

	for (i = 1; i < len; i++) {
		/* exactly as long, so that KASAN and ASan see a byte more */
		cut = kunit_kzalloc(test, i, GFP_KERNEL);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, cut);
		memcpy(cut, bytes, i);
		KUNIT_EXPECT_EQ_MSG(test, emulate_decode(&insn, cut, i,
							 form->mode),
				    -EAGAIN, "%s cut to %u", form->bytes, i);
		kunit_kfree(test, cut);
	}
	KUNIT_EXPECT_EQ(test, emulate_decode(&insn, bytes, 0, form->mode),
			-EAGAIN);
}

static void truncated_asks_for_more(struct kunit *test)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		for (j = 0; j < tables[i].nr; j++)
			expect_truncated(test, &tables[i].rows[j]);
}

/* Bytes after the instruction do not change what it is. */
static void following_bytes_do_not_matter(struct kunit *test)
{
	static const u8 fillers[] = { 0x00, 0xff, 0x66, 0xf0, 0x24 };
	struct kiln_insn alone, followed;
	unsigned int i, j, k, len;
	struct text a, b;
	u8 bytes[EMU_INSN_MAX];

	for (i = 0; i < ARRAY_SIZE(tables); i++) {
		for (j = 0; j < tables[i].nr; j++) {
			const struct form *form = &tables[i].rows[j];

			len = parse(form->bytes, bytes, sizeof(bytes));
			emulate_decode(&alone, bytes, len, form->mode);
			describe(&a, &alone);
			for (k = 0; k < ARRAY_SIZE(fillers); k++) {
				memset(bytes + len, fillers[k],
				       sizeof(bytes) - len);
				KUNIT_EXPECT_EQ(test,
						emulate_decode(&followed, bytes,
							       sizeof(bytes),
							       form->mode), 0);
				describe(&b, &followed);
				KUNIT_EXPECT_STREQ_MSG(test, a.buf, b.buf,
						       "%s", form->bytes);
				KUNIT_EXPECT_EQ(test, followed.length, len);
			}
		}
	}
}

/*
 * Padded with prefixes: 15 bytes are an instruction, 16 are #GP, and 14 of the
 * 16 are not yet either.
 */
static void expect_length_limit(struct kunit *test, const struct form *form)
{
	u8 plain[EMU_INSN_MAX], bytes[EMU_INSN_MAX + 1];
	unsigned int len = parse(form->bytes, plain, sizeof(plain));
	struct kiln_insn insn;

	memset(bytes, 0x3e, sizeof(bytes));
	memcpy(bytes + 15 - len, plain, len);
	KUNIT_EXPECT_EQ_MSG(test, emulate_decode(&insn, bytes, 15, form->mode),
			    0, "%s padded to 15", form->bytes);
	KUNIT_EXPECT_EQ(test, insn.length, 15);

	memset(bytes, 0x3e, sizeof(bytes));
	memcpy(bytes + 16 - len, plain, len);
	KUNIT_EXPECT_EQ_MSG(test, emulate_decode(&insn, bytes, 16, form->mode),
			    -EINVAL, "%s padded to 16", form->bytes);
	KUNIT_EXPECT_EQ(test, insn.fault, 13);
	KUNIT_EXPECT_EQ(test, emulate_decode(&insn, bytes, 15, form->mode),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, insn.fault, 13);
	KUNIT_EXPECT_EQ_MSG(test, emulate_decode(&insn, bytes, 14, form->mode),
			    -EAGAIN, "%s padded to 16, 14 there", form->bytes);
}

static void over_15_bytes_is_gp(struct kunit *test)
{
	struct kiln_insn insn;
	unsigned int i, j;
	u8 bytes[32];

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		for (j = 0; j < tables[i].nr; j++)
			expect_length_limit(test, &tables[i].rows[j]);

	memset(bytes, 0x66, sizeof(bytes));
	KUNIT_EXPECT_EQ(test, emulate_decode(&insn, bytes, sizeof(bytes), L64),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, insn.fault, 13);
}

/* All 24 orders of four prefixes mean the same. */
static void prefixes_come_in_any_order(struct kunit *test)
{
	static const u8 prefix[] = { 0x66, 0x67, 0xf0, 0x64 };
	struct kiln_insn insn;
	struct text text;
	u8 bytes[] = { 0, 0, 0, 0, 0x48, 0x01, 0x02 };
	unsigned int a, b, c, d;

	for (a = 0; a < 4; a++)
		for (b = 0; b < 4; b++)
			for (c = 0; c < 4; c++) {
				if (a == b || a == c || b == c)
					continue;
				d = 6 - a - b - c;
				bytes[0] = prefix[a];
				bytes[1] = prefix[b];
				bytes[2] = prefix[c];
				bytes[3] = prefix[d];
				KUNIT_EXPECT_EQ(test,
						emulate_decode(&insn, bytes, 7,
							       L64), 0);
				describe(&text, &insn);
				KUNIT_EXPECT_STREQ_MSG(test, text.buf,
						       "lock add.mr 01/8 r0 m8 fs:r2 a4",
						       "order %u%u%u%u", a, b, c, d);
			}
}

static void last_of_a_prefix_group_wins(struct kunit *test)
{
	static const struct form rows[] = {
		{ L64, "f2 f3 a4", "rep movs.str a4/1 r0 rm0 ds a8" },
		{ L64, "f3 f2 a4", "repne movs.str a4/1 r0 rm0 ds a8" },
		{ L64, "66 66 89 02", "mov.mr 89/2 r0 m2 ds:r2 a8" },
		{ L64, "67 67 89 02", "mov.mr 89/4 r0 m4 ds:r2 a4" },
		{ P32, "26 64 36 89 02", "mov.mr 89/4 r0 m4 ss:r2 a4" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		expect_form(test, &rows[i]);
}

static void rex_counts_only_before_the_opcode(struct kunit *test)
{
	static const struct form rows[] = {
		{ L64, "48 66 89 02", "mov.mr 89/2 r0 m2 ds:r2 a8" },
		{ L64, "4c 3e 89 02", "mov.mr 89/4 r0 m4 ds:r2 a8" },
		{ L64, "48 44 89 02", "mov.mr 89/4 r8 m4 ds:r2 a8" },
		{ L64, "4f 40 89 02", "mov.mr 89/4 r0 m4 ds:r2 a8" },
	};
	struct kiln_insn insn;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		expect_form(test, &rows[i]);
	/* 40 to 4F outside 64-bit mode: INC and DEC of a register */
	KUNIT_EXPECT_EQ(test, emulate_decode(&insn, (const u8 *)"\x48\x89\x02",
					     3, P32), -EOPNOTSUPP);
}

static void expect_error(struct kunit *test, const struct form *form, int want)
{
	u8 bytes[EMU_INSN_MAX];
	unsigned int len = parse(form->bytes, bytes, sizeof(bytes));
	struct kiln_insn insn;

	KUNIT_EXPECT_EQ_MSG(test, emulate_decode(&insn, bytes, len, form->mode),
			    want, "%s (%s)", form->bytes, form->meaning);
	if (want == -EINVAL)
		KUNIT_EXPECT_EQ_MSG(test, insn.fault, 6, "%s", form->bytes);
}

static void what_the_cpu_refuses_is_ud(struct kunit *test)
{
	static const struct form rows[] = {
		{ L64, "f0 89 02", "LOCK MOV" },
		{ L64, "f0 8b 02", "LOCK MOV from memory" },
		{ L64, "f0 01 c2", "LOCK with a register destination" },
		{ L64, "f0 03 02", "LOCK ADD from memory" },
		{ L64, "f0 39 02", "LOCK CMP" },
		{ L64, "f0 83 3a 01", "LOCK CMP, immediate" },
		{ L64, "f0 85 02", "LOCK TEST" },
		{ L64, "f0 f7 02 00 00 00 00", "LOCK TEST, immediate" },
		{ L64, "f0 0f a3 02", "LOCK BT" },
		{ L64, "f0 0f ba 22 01", "LOCK BT, immediate" },
		{ L64, "f0 0f b6 02", "LOCK MOVZX" },
		{ L64, "f0 a4", "LOCK MOVS" },
		{ L64, "f0 04 01", "LOCK ADD accumulator" },
		{ L64, "f0 c6 02 00", "LOCK MOV immediate" },
		{ L64, "f0 a3 00 00 00 00 00 00 00 00", "LOCK MOV direct" },
		{ L64, "0f c3 c2", "MOVNTI to a register" },
		{ L64, "0f 38 f0 c2", "MOVBE between registers" },
		{ L64, "0f c7 ca", "CMPXCHG8B of a register" },
		{ L64, "82 02 01", "82 in 64-bit mode" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		expect_error(test, &rows[i], -EINVAL);
}

static void other_instructions_are_unknown(struct kunit *test)
{
	static const struct form rows[] = {
		{ L64, "50", "PUSH" },
		{ L64, "ff 32", "PUSH memory" },
		{ L64, "8f 02", "POP memory" },
		{ L64, "ff 12", "CALL" },
		{ L64, "f7 22", "MUL" },
		{ L64, "c1 22 01", "SHL" },
		{ L64, "d9 02", "x87" },
		{ L64, "c5 f8 10 02", "VEX" },
		{ L64, "62 f1 7c 48 10 02", "EVEX" },
		{ L64, "0f 0f 02 00", "3DNow!" },
		{ L64, "0f 38 00 02", "PSHUFB" },
		{ L64, "f2 0f 38 f1 02", "CRC32" },
		{ L64, "66 0f c3 02", "MOVNTI with 66" },
		{ L64, "0f ba 02 01", "group 8 row 0" },
		{ L64, "c7 0a 00 00 00 00", "group 11 row 1" },
		{ P32, "63 02", "ARPL" },
		{ P32, "40", "INC" },
		{ L64, "a6", "CMPS" },
		{ L64, "ae", "SCAS" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		expect_error(test, &rows[i], -EOPNOTSUPP);
}

/* Every field of what came out is one that execution can index with. */
static bool is_sane(const struct kiln_insn *insn)
{
	return insn->length >= 1 && insn->length <= EMU_INSN_MAX &&
	       insn->kind <= EMU_KIND_OTHER && insn->seg < EMU_NR_SEGS &&
	       insn->reg < 16 && insn->rm < 16 && insn->scale < 4 &&
	       (insn->base <= EMU_REG_RIP || insn->base == EMU_REG_NONE) &&
	       (insn->index < 16 || insn->index == EMU_REG_NONE) &&
	       (insn->size == 1 || insn->size == 2 || insn->size == 4 ||
		insn->size == 8) &&
	       (insn->addr_size == 2 || insn->addr_size == 4 ||
		insn->addr_size == 8) && insn->mem_size >= 1 &&
	       insn->mem_size <= 8;
}

/* All pairs of first bytes, in all modes, with tails of two kinds. */
static void any_bytes_give_a_sane_answer(struct kunit *test)
{
	struct kiln_insn insn;
	unsigned int mode, pair, bad = 0;
	u8 bytes[EMU_INSN_MAX];
	int err;

	for (mode = EMU_MODE_REAL; mode <= EMU_MODE_LONG64; mode++) {
		for (pair = 0; pair < 0x20000; pair++) {
			memset(bytes, pair & 0x10000 ? 0x94 : 0x05,
			       sizeof(bytes));
			bytes[0] = pair;
			bytes[1] = pair >> 8;
			err = emulate_decode(&insn, bytes, sizeof(bytes), mode);
			if (err ? err != -EINVAL && err != -EOPNOTSUPP :
				  !is_sane(&insn))
				bad++;
		}
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
}

static void loads_and_stores_are_told_apart(struct kunit *test)
{
	static const struct {
		const char *bytes;
		bool load, store;
	} rows[] = {
		{ "89 02", false, true },
		{ "8b 02", true, false },
		{ "c7 02 00 00 00 00", false, true },
		{ "0f c3 02", false, true },
		{ "0f b6 02", true, false },
		{ "0f bf 02", true, false },
		{ "48 63 02", true, false },
		{ "a0 00 00 00 00 00 00 00 00", true, false },
		{ "a2 00 00 00 00 00 00 00 00", false, true },
		{ "8b c2", false, false },
		{ "89 c2", false, false },
		{ "03 02", false, false },
		{ "01 02", false, false },
		{ "3b 02", false, false },
		{ "87 02", false, false },
		{ "a4", false, false },
		{ "0f 38 f0 02", false, false },
		{ "0f 10 02", false, false },
	};
	struct kiln_insn insn;
	u8 bytes[EMU_INSN_MAX];
	unsigned int i, len;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		len = parse(rows[i].bytes, bytes, sizeof(bytes));
		KUNIT_EXPECT_EQ(test, emulate_decode(&insn, bytes, len, L64),
				0);
		KUNIT_EXPECT_EQ_MSG(test, emulate_is_load(&insn), rows[i].load,
				    "%s", rows[i].bytes);
		KUNIT_EXPECT_EQ_MSG(test, emulate_is_store(&insn),
				    rows[i].store, "%s", rows[i].bytes);
	}
}

static struct kunit_case emulate_decode_cases[] = {
	KUNIT_CASE(each_form_decodes),
	KUNIT_CASE(each_address_decodes),
	KUNIT_CASE(each_intercepted_instruction_has_a_length),
	KUNIT_CASE(alu_rows_are_complete),
	KUNIT_CASE(truncated_asks_for_more),
	KUNIT_CASE(following_bytes_do_not_matter),
	KUNIT_CASE(over_15_bytes_is_gp),
	KUNIT_CASE(prefixes_come_in_any_order),
	KUNIT_CASE(last_of_a_prefix_group_wins),
	KUNIT_CASE(rex_counts_only_before_the_opcode),
	KUNIT_CASE(what_the_cpu_refuses_is_ud),
	KUNIT_CASE(other_instructions_are_unknown),
	KUNIT_CASE(any_bytes_give_a_sane_answer),
	KUNIT_CASE(loads_and_stores_are_told_apart),
	{ }
};

struct kunit_suite emulate_decode_suite = {
	.name = "kiln_emulate_decode",
	.test_cases = emulate_decode_cases,
};
