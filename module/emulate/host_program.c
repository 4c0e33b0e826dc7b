// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kernel.h>
#include <linux/types.h>
#include <stdlib.h>
#include <string.h>

#include "host_program.h"

#define MIDDLE		(WINDOW / 2)
#define MAX_BIT		0x3000		/* bit-string offsets, either way */
#define AF		0x010
#define BT_UNDEFINED	0x894		/* OF SF AF PF */

u8 *window;
u64 gs_base;
static u64 seed;

void random_seed(u64 value)
{
	seed = value ? value : 1;
}

u64 random64(void)
{
	/* xorshift64*, enough to reach every form */
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 2685821657736338717ULL;
}

static unsigned int below(unsigned int n)
{
	return (random64() >> 32) % n;
}

static bool chance(unsigned int percent)
{
	return below(100) < percent;
}

/* Values near the edges show more than random ones. */
static u64 random_value(void)
{
	static const u64 edges[] = {
		0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
		0x80000000, 0xffffffff, 0x7fffffffffffffff,
		0x8000000000000000, 0xffffffffffffffff,
	};

	return chance(40) ? edges[below(ARRAY_SIZE(edges))] : random64();
}

#define S_BYTE		0x01	/* operand size 1 */
#define S_LOCK		0x02
#define S_MEMONLY	0x04
#define S_IMM8		0x08
#define S_IMMZ		0x10
#define S_BITS		0x20	/* register is a bit-string index */
#define S_NP		0x40	/* no 66 */
#define S_MOVBE		0x80
#define S_NOREG		0x100	/* memory forms only, of what we compare */
#define S_CMPXCHG	0x200

struct shape {
	u8 escape;		/* 0, 1: 0F, 2: 0F 38 */
	u8 opcode;
	s8 extension;		/* ModRM.reg, or -1: a register */
	u16 flags;
	u16 undefined;		/* flags the manual leaves undefined */
};

static const struct shape shapes[] = {
	/* ADD, for the eight operations: see random_shape() */
	{ 0, 0x00, -1, S_BYTE | S_LOCK, 0 },
	{ 0, 0x01, -1, S_LOCK, 0 },
	{ 0, 0x02, -1, S_BYTE, 0 },
	{ 0, 0x03, -1, 0, 0 },
	{ 0, 0x80, 0, S_BYTE | S_IMM8 | S_LOCK, 0 },
	{ 0, 0x81, 0, S_IMMZ | S_LOCK, 0 },
	{ 0, 0x83, 0, S_IMM8 | S_LOCK, 0 },
	{ 0, 0x63, -1, 0, 0 },
	{ 0, 0x84, -1, S_BYTE, AF },
	{ 0, 0x85, -1, 0, AF },
	{ 0, 0x86, -1, S_BYTE | S_LOCK, 0 },
	{ 0, 0x87, -1, S_LOCK, 0 },
	{ 0, 0x88, -1, S_BYTE, 0 },
	{ 0, 0x89, -1, 0, 0 },
	{ 0, 0x8a, -1, S_BYTE, 0 },
	{ 0, 0x8b, -1, 0, 0 },
	{ 0, 0xc6, 0, S_BYTE | S_IMM8, 0 },
	{ 0, 0xc7, 0, S_IMMZ, 0 },
	{ 0, 0xf6, 0, S_BYTE | S_IMM8, AF },
	{ 0, 0xf7, 0, S_IMMZ, AF },
	{ 0, 0xf6, 2, S_BYTE | S_LOCK, 0 },
	{ 0, 0xf7, 2, S_LOCK, 0 },
	{ 0, 0xf6, 3, S_BYTE | S_LOCK, 0 },
	{ 0, 0xf7, 3, S_LOCK, 0 },
	{ 0, 0xfe, 0, S_BYTE | S_LOCK, 0 },
	{ 0, 0xff, 0, S_LOCK, 0 },
	{ 0, 0xfe, 1, S_BYTE | S_LOCK, 0 },
	{ 0, 0xff, 1, S_LOCK, 0 },
	{ 1, 0xa3, -1, S_BITS, BT_UNDEFINED },
	{ 1, 0xab, -1, S_BITS | S_LOCK, BT_UNDEFINED },
	{ 1, 0xb3, -1, S_BITS | S_LOCK, BT_UNDEFINED },
	{ 1, 0xbb, -1, S_BITS | S_LOCK, BT_UNDEFINED },
	{ 1, 0xba, 4, S_IMM8, BT_UNDEFINED },
	{ 1, 0xba, 5, S_IMM8 | S_LOCK, BT_UNDEFINED },
	{ 1, 0xba, 6, S_IMM8 | S_LOCK, BT_UNDEFINED },
	{ 1, 0xba, 7, S_IMM8 | S_LOCK, BT_UNDEFINED },
	{ 1, 0xb0, -1, S_BYTE | S_LOCK | S_CMPXCHG, 0 },
	{ 1, 0xb1, -1, S_LOCK | S_CMPXCHG, 0 },
	{ 1, 0xc7, 1, S_LOCK | S_MEMONLY | S_CMPXCHG, 0 },
	{ 1, 0xb6, -1, 0, 0 },
	{ 1, 0xb7, -1, 0, 0 },
	{ 1, 0xbe, -1, 0, 0 },
	{ 1, 0xbf, -1, 0, 0 },
	{ 1, 0xc0, -1, S_BYTE | S_LOCK, 0 },
	{ 1, 0xc1, -1, S_LOCK, 0 },
	{ 1, 0xc3, -1, S_MEMONLY | S_NP, 0 },
	{ 2, 0xf0, -1, S_MEMONLY | S_MOVBE, 0 },
	{ 2, 0xf1, -1, S_MEMONLY | S_MOVBE, 0 },
};

#define NR_ALU	7

static struct shape random_shape(void)
{
	static const u16 undefined[8] = { 0, AF, 0, 0, AF, 0, AF, 0 };
	struct shape shape;
	unsigned int op;

	if (chance(60))
		return shapes[NR_ALU + below(ARRAY_SIZE(shapes) - NR_ALU)];
	shape = shapes[below(NR_ALU)];
	op = below(8);
	if (shape.extension < 0)
		shape.opcode |= op << 3;
	else
		shape.extension = op;
	shape.undefined = undefined[op];
	if (op == 7)
		shape.flags &= ~S_LOCK;
	return shape;
}

#define NONE	0xff
#define RIP	0xfe

static void put(struct program *p, u64 value, unsigned int bytes)
{
	memcpy(p->bytes + p->len, &value, bytes);
	p->len += bytes;
}

static void choose_index(struct program *p)
{
	do
		p->index = below(16);
	while (p->index == 4 || p->index == p->base);
	p->scale = below(4);
}

static void choose_address(struct program *p)
{
	p->base = below(16);
	p->index = NONE;
	p->disp_size = below(3);
	p->disp_size = p->disp_size == 2 ? 4 : p->disp_size;
	switch (below(6)) {
	case 0:
		p->base = RIP;
		p->disp_size = 4;
		break;
	case 1:
		p->base = NONE;
		p->disp_size = 4;
		if (chance(50))
			choose_index(p);
		break;
	case 2:
	case 3:
		choose_index(p);
		break;
	}
	/* EBP and R13 as a base need a displacement */
	if (p->base < 16 && (p->base & 7) == 5 && !p->disp_size)
		p->disp_size = 1;
	p->disp = p->disp_size == 1 ? (s8)random64() : (s32)random64();
	if (!p->disp_size)
		p->disp = 0;
}

static void choose(struct program *p, const struct shape *shape)
{
	unsigned int i;

	memset(p, 0, sizeof(*p));
	p->shape = shape;
	for (i = 0; i < 16; i++)
		p->gpr[i] = random_value();
	p->flags = random64() & FLAGS;
	p->opsize = !(shape->flags & S_NP) && chance(25);
	p->addrsize = chance(20);
	p->memory = (shape->flags & (S_MEMONLY | S_NOREG)) || chance(80);
	p->lock = p->memory && (shape->flags & S_LOCK) && chance(40);
	p->gs = p->memory && chance(15);
	p->rm = below(16);
	if (p->memory)
		choose_address(p);
	do
		p->reg = shape->extension < 0 ? below(16) : shape->extension;
	while ((shape->flags & S_BITS) && p->memory &&
	       (p->reg == p->base || p->reg == p->index));
	if (chance(30))
		p->rex = 0x40 | (chance(70) ? 8 : 0);
	/* CMPXCHG16B is another instruction */
	if (shape->opcode == 0xc7 && shape->escape)
		p->rex &= ~8;
	p->offset = MIDDLE + below(512);
	if (p->lock || (shape->opcode & 0xfe) == 0x86)
		p->offset &= ~15;	/* no split locks */
}

/* The bit a register names is to be in the window, at any operand size. */
static void choose_bit(struct program *p)
{
	s64 bit = (s64)below(2 * MAX_BIT) - MAX_BIT;

	if (!(p->shape->flags & S_BITS) || !p->memory)
		return;
	if (p->rex & 8)
		p->gpr[p->reg] = bit;
	else if (p->opsize)
		p->gpr[p->reg] = (random64() << 16) | (u16)bit;
	else
		p->gpr[p->reg] = (random64() << 32) | (u32)bit;
}

/* Let the address lead to the operand, by a register or the displacement. */
static void aim(struct program *p)
{
	u64 target = (u64)(window + p->offset) - (p->gs ? gs_base : 0);
	u64 other;

	if (p->base < 16) {
		other = p->index == NONE ? 0 : p->gpr[p->index] << p->scale;
		p->gpr[p->base] = target - other - p->disp;
		if (p->addrsize)
			p->gpr[p->base] = (random64() << 32) |
					  (u32)p->gpr[p->base];
	} else if (p->base == NONE && p->index != NONE) {
		/* a multiple of the scale must be left for the register */
		p->disp = (s32)(target - ((target >> 4) << 4));
		p->gpr[p->index] = (target - p->disp) >> p->scale;
	} else if (p->base == NONE) {
		p->disp = target;
	}
}

static void put_prefixes(struct program *p)
{
	static const u8 ignored[] = { 0x26, 0x2e, 0x36, 0x3e };
	u8 list[8];
	unsigned int n = 0, i;

	if (chance(5))
		put(p, 0x40 | below(16), 1);	/* cancelled, if one follows */
	if (p->opsize)
		list[n++] = 0x66;
	if (p->addrsize)
		list[n++] = 0x67;
	if (p->gs)
		list[n++] = 0x65;
	if (p->lock)
		list[n++] = 0xf0;
	if (chance(10) || p->len)
		list[n++] = ignored[below(4)];
	if (!p->shape->escape && chance(3))
		list[n++] = 0xf2 | below(2);	/* means nothing here */
	while (n) {
		i = below(n);
		put(p, list[i], 1);
		list[i] = list[--n];
	}
}

static void put_modrm(struct program *p)
{
	u8 reg = (p->reg & 7) << 3;
	u8 mod = p->disp_size == 1 ? 0x40 : p->disp_size == 4 ? 0x80 : 0;
	u8 scale = p->scale << 6;
	u8 index = p->index == NONE ? 4 : p->index & 7;

	if (!p->memory) {
		put(p, 0xc0 | reg | (p->rm & 7), 1);
		return;
	}
	if (p->base == RIP) {
		put(p, reg | 5, 1);
		p->disp_at = p->len;
	} else if (p->base == NONE) {
		put(p, reg | 4, 1);
		put(p, scale | index << 3 | 5, 1);
	} else if (p->index != NONE || (p->base & 7) == 4) {
		put(p, mod | reg | 4, 1);
		put(p, scale | index << 3 | (p->base & 7), 1);
	} else {
		put(p, mod | reg | (p->base & 7), 1);
	}
	put(p, p->disp, p->disp_size);
}

static void assemble(struct program *p, u64 address)
{
	const struct shape *shape = p->shape;
	u8 rex = p->rex;

	if (p->reg >= 8)
		rex |= 0x44;
	if (p->memory ? p->index != NONE && p->index >= 8 : 0)
		rex |= 0x42;
	if (p->memory ? p->base < 16 && p->base >= 8 : p->rm >= 8)
		rex |= 0x41;
	put_prefixes(p);
	if (rex)
		put(p, rex, 1);
	if (shape->escape)
		put(p, 0x0f, 1);
	if (shape->escape == 2)
		put(p, 0x38, 1);
	put(p, shape->opcode, 1);
	put_modrm(p);
	if (shape->flags & S_IMM8)
		put(p, random_value(), 1);
	if (shape->flags & S_IMMZ)
		put(p, random_value(), p->opsize && !(rex & 8) ? 2 : 4);
	if (p->disp_at) {
		s32 disp = (u64)(window + p->offset) -
			   (p->gs ? gs_base : 0) - (address + p->len);

		memcpy(p->bytes + p->disp_at, &disp, 4);
	}
}

/* So that CMPXCHG finds what it expects, every other time. */
static void choose_accumulator(struct program *p)
{
	if (!(p->shape->flags & S_CMPXCHG) || !p->memory || chance(50) ||
	    p->base == 0 || p->index == 0 || p->base == 2 || p->index == 2)
		return;
	memcpy(&p->gpr[0], window + p->offset, 8);
	p->gpr[2] = p->gpr[0] >> 32;
}

void program_any(struct program *p, u64 address, bool movbe)
{
	static struct shape shape;

	do
		shape = random_shape();
	while ((shape.flags & S_MOVBE) && !movbe);
	choose(p, &shape);
	p->undefined = shape.undefined;
	choose_bit(p);
	choose_accumulator(p);
	if (p->memory)
		aim(p);
	assemble(p, address);
}

static const struct shape no_shape;

void program_string(struct program *p)
{
	static const u8 opcodes[] = { 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad };
	u8 opcode = opcodes[below(ARRAY_SIZE(opcodes))];
	u64 upper;

	choose(p, &no_shape);
	p->memory = false;
	p->gs = false;
	p->lock = false;
	p->gpr[6] = (u64)window + MIDDLE + below(256);
	p->gpr[7] = (u64)window + MIDDLE + below(256);
	p->gpr[1] = below(20);
	if (p->addrsize) {
		/* what a count of 0 does to the upper half is not said */
		upper = random64() << 32;
		p->gpr[6] |= upper;
		p->gpr[7] |= upper;
		if (p->gpr[1])
			p->gpr[1] |= upper;
	}
	if (p->opsize)
		put(p, 0x66, 1);
	if (chance(70))
		put(p, chance(80) ? 0xf3 : 0xf2, 1);
	if (p->addrsize)
		put(p, 0x67, 1);
	if (opcode < 0xaa && chance(10)) {
		put(p, 0x65, 1);
		p->gpr[6] -= gs_base;
	}
	if (p->rex)
		put(p, p->rex, 1);
	put(p, opcode, 1);
}

void program_direct(struct program *p)
{
	choose(p, &no_shape);
	if (p->opsize)
		put(p, 0x66, 1);
	if (p->addrsize)
		put(p, 0x67, 1);
	if (p->rex)
		put(p, p->rex, 1);
	put(p, 0xa0 + below(4), 1);
	put(p, (u64)window + p->offset, p->addrsize ? 4 : 8);
}
