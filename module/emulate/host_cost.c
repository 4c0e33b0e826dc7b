// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the room's calls cost, in instructions of this build: host_cost.sh runs
 * "host_cost NAME COUNT" under callgrind for two counts and prints the
 * difference per operation.
 */
#include <linux/kernel.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../mmu/gwalk.h"
#include "emulate.h"

#define ENTRIES		512
#define PRESENT		0x67ULL		/* P W U A D */

static u64 tables[4][ENTRIES];
static u64 operand;

static enum emulate_result cost_read(struct emulate_ctxt *ctxt, u64 linear,
				     void *buf, unsigned int len,
				     unsigned int access)
{
	*(u64 *)buf = operand;
	return EMU_DONE;
}

static enum emulate_result cost_write(struct emulate_ctxt *ctxt, u64 linear,
				      const void *buf, unsigned int len)
{
	operand = *(const u64 *)buf;
	return EMU_DONE;
}

static const struct emulate_ops ops = {
	.read = cost_read,
	.write = cost_write,
};

static int read_entry(void *priv, u64 gpa, void *entry, unsigned int size)
{
	*(u64 *)entry = tables[gpa >> 12][(gpa >> 3) & (ENTRIES - 1)];
	return 0;
}

static int cmpxchg_entry(void *priv, u64 gpa, u64 old, u64 new,
			 unsigned int size)
{
	return 0;
}

static u64 gpr[16];
static struct emulate_ctxt ctxt = {
	.ops = &ops,
	.gpr = gpr,
	.mode = EMU_MODE_LONG64,
	.linear_bits = 48,
};

static struct gwalk_state walk = {
	.cr0 = 0x80010001,
	.cr4 = 0x20,
	.efer = 0xd00,
	.phys_bits = 46,
	.read_entry = read_entry,
	.cmpxchg_entry = cmpxchg_entry,
};

static const u8 store[15] = { 0x89, 0x02 };		/* mov %eax,(%rdx) */
static const u8 load[15] = { 0x8b, 0x80, 0x00, 0x03, 0, 0 };
						/* mov 0x300(%rax),%eax */

static void decode_store(void)
{
	emulate_decode(&ctxt.insn, store, 15, EMU_MODE_LONG64);
}

static void decode_load(void)
{
	emulate_decode(&ctxt.insn, load, 15, EMU_MODE_LONG64);
}

static void execute(void)
{
	ctxt.rip = 0;
	emulate_insn(&ctxt);
}

static void finish_store(void)
{
	if (emulate_is_store(&ctxt.insn))
		operand = emulate_store_value(&ctxt);
	emulate_finish_store(&ctxt);
}

static void finish_load(void)
{
	if (emulate_is_load(&ctxt.insn))
		emulate_finish_load(&ctxt, operand);
}

static void walk_4_levels(void)
{
	struct gwalk_result res;

	gwalk(&walk, 0x1234, 0, &res);
}

static const struct {
	const char *name;
	void (*once)(void);
	void (*before)(void);
} rows[] = {
	{ "decode-store", decode_store, decode_store },
	{ "decode-load-disp32", decode_load, decode_store },
	{ "execute-store", execute, decode_store },
	{ "execute-load", execute, decode_load },
	{ "fast-store", finish_store, decode_store },
	{ "fast-load", finish_load, decode_load },
	{ "gwalk-4-levels", walk_4_levels, decode_store },
};

int main(int argc, char **argv)
{
	unsigned int i;
	long n;

	for (i = 0; i < 4; i++) {
		tables[i][0] = (i + 1) << 12 | PRESENT;
		tables[i][1] = 0x5000 | PRESENT;
	}
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (argc == 1)
			puts(rows[i].name);
		if (argc != 3 || strcmp(argv[1], rows[i].name))
			continue;
		rows[i].before();
		for (n = strtol(argv[2], NULL, 0); n > 0; n--)
			rows[i].once();
	}
	return 0;
}
