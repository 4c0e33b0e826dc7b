// SPDX-License-Identifier: GPL-2.0-only
/*
 * The emulator against the CPU it stands in for: random instructions with
 * random registers and memory are executed by both, and everything that can be
 * seen afterwards must be equal. The seed is printed; KILN_EMULATE_SEED and
 * KILN_EMULATE_RUNS repeat or extend a run.
 *
 * What the CPU executes is built in a page of code:
 *
 *	save callee-saved registers and RSP, load flags and 16 registers,
 *	the instruction,
 *	store 16 registers and flags, restore
 *
 * The instruction's operand is in a window of low memory, so that every
 * addressing form reaches it. A SIGSEGV therefore means that generator and
 * CPU disagree about the address, and fails the test.
 */
#include <kunit/test.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "emulate.h"
#include "host_native.h"

#define REGION		0x10000
#define STATE_AT	0x1000
#define WINDOW_AT	0x4000
#define WINDOW		0x2000
#define MIDDLE		(WINDOW / 2)
#define MAX_BIT		0x3000		/* bit-string offsets, either way */

#define FLAGS		0xcd5ULL	/* CF PF AF ZF SF DF OF */
#define AF		0x010
#define BT_UNDEFINED	0x894		/* OF SF AF PF */

struct state {
	u64 gpr[16];
	u64 flags;
	u64 rsp;
};

static u8 *code;			/* of REGION bytes, below 2 GiB */
static struct state *state;
static u8 *window;
static u8 shadow[WINDOW];		/* the emulator's window */
static u64 gs_base;
static sigjmp_buf crashed;
static u64 seed;

static u64 random64(void)
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

static void on_crash(int signal)
{
	siglongjmp(crashed, signal);
}

/* Build code */

static unsigned int code_len;

static void emit(u8 byte)
{
	code[code_len++] = byte;
}

/* The disp32 of a RIP-relative operand at state + @offset. */
static void emit_state(size_t offset)
{
	s32 disp = STATE_AT + offset - (code_len + 4);

	memcpy(code + code_len, &disp, 4);
	code_len += 4;
}

static void emit_mov(u8 opcode, unsigned int reg, size_t offset)
{
	emit(0x48 | (reg >= 8 ? 4 : 0));
	emit(opcode);
	emit((reg & 7) << 3 | 5);
	emit_state(offset);
}

static void emit_saved(u8 opcode, bool reverse)
{
	static const u8 saved[] = { 3, 5, 12, 13, 14, 15 };
	unsigned int i;
	u8 reg;

	for (i = 0; i < ARRAY_SIZE(saved); i++) {
		reg = saved[reverse ? ARRAY_SIZE(saved) - 1 - i : i];
		if (reg >= 8)
			emit(0x41);
		emit(opcode | (reg & 7));
	}
}

static void emit_prologue(void)
{
	unsigned int reg;

	code_len = 0;
	emit_saved(0x50, false);
	emit_mov(0x89, 4, offsetof(struct state, rsp));
	emit(0xff);			/* push flags */
	emit(0x35);
	emit_state(offsetof(struct state, flags));
	emit(0x9d);			/* popfq */
	for (reg = 0; reg < 16; reg++)
		emit_mov(0x8b, reg, reg * 8);
}

static void emit_epilogue(void)
{
	unsigned int reg;

	for (reg = 0; reg < 16; reg++)
		emit_mov(0x89, reg, reg * 8);
	emit_mov(0x8b, 4, offsetof(struct state, rsp));
	emit(0x9c);			/* pushfq */
	emit(0x8f);			/* pop flags */
	emit(0x05);
	emit_state(offsetof(struct state, flags));
	emit(0xfc);			/* cld */
	emit_saved(0x58, true);
	emit(0xc3);
}

/* Generate instructions */

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

#define ALU(op, undefined, lock)					\
	{ 0, (op) << 3 | 0, -1, S_BYTE | (lock), undefined },		\
	{ 0, (op) << 3 | 1, -1, lock, undefined },			\
	{ 0, (op) << 3 | 2, -1, S_BYTE, undefined },			\
	{ 0, (op) << 3 | 3, -1, 0, undefined },				\
	{ 0, 0x80, op, S_BYTE | S_IMM8 | (lock), undefined },		\
	{ 0, 0x81, op, S_IMMZ | (lock), undefined },			\
	{ 0, 0x83, op, S_IMM8 | (lock), undefined }

static const struct shape shapes[] = {
	ALU(0, 0, S_LOCK), ALU(1, AF, S_LOCK), ALU(2, 0, S_LOCK),
	ALU(3, 0, S_LOCK), ALU(4, AF, S_LOCK), ALU(5, 0, S_LOCK),
	ALU(6, AF, S_LOCK), ALU(7, 0, 0),
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

#define NONE	0xff
#define RIP	0xfe

/* An instruction on its way to bytes, and the registers it wants. */
struct program {
	const struct shape *shape;
	u8 bytes[24];
	unsigned int len;
	unsigned int disp_at;	/* of a RIP-relative displacement */
	bool opsize, addrsize, lock, gs, memory;
	u8 rex;
	u8 reg, rm;
	u8 base, index, scale;
	u8 disp_size;
	s32 disp;
	u32 offset;		/* of the operand in the window */
	u64 gpr[16];
	u64 flags;
};

static void put(struct program *p, u64 value, unsigned int bytes)
{
	memcpy(p->bytes + p->len, &value, bytes);
	p->len += bytes;
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
			break;
		/* fallthrough */
	case 2:
	case 3:
		do
			p->index = below(16);
		while (p->index == 4 || p->index == p->base);
		p->scale = below(4);
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

/* Execute on both */

static enum emulate_result at(u64 linear, unsigned int len, u8 **where)
{
	u64 offset = linear - (u64)window;

	if (offset >= WINDOW || offset + len > WINDOW)
		return EMU_FAULT;
	*where = shadow + offset;
	return EMU_DONE;
}

static enum emulate_result shadow_read(struct emulate_ctxt *ctxt, u64 linear,
				       void *buf, unsigned int len,
				       unsigned int access)
{
	enum emulate_result result;
	u8 *where;

	(void)ctxt;
	(void)access;
	result = at(linear, len, &where);
	if (result == EMU_DONE)
		memcpy(buf, where, len);
	return result;
}

static enum emulate_result shadow_write(struct emulate_ctxt *ctxt, u64 linear,
					const void *buf, unsigned int len)
{
	enum emulate_result result;
	u8 *where;

	(void)ctxt;
	result = at(linear, len, &where);
	if (result == EMU_DONE)
		memcpy(where, buf, len);
	return result;
}

static enum emulate_result shadow_cmpxchg(struct emulate_ctxt *ctxt, u64 linear,
					  const void *old, const void *new,
					  unsigned int len)
{
	enum emulate_result result;
	u8 *where;

	(void)ctxt;
	result = at(linear, len, &where);
	if (result != EMU_DONE)
		return result;
	if (memcmp(where, old, len))
		return EMU_RETRY;
	memcpy(where, new, len);
	return EMU_DONE;
}

static void shadow_segment(struct emulate_ctxt *ctxt, enum emulate_seg seg,
			   struct emulate_segment *out)
{
	(void)ctxt;
	memset(out, 0, sizeof(*out));
	out->base = seg == EMU_GS ? gs_base : 0;
}

static const struct emulate_ops shadow_ops = {
	.read = shadow_read,
	.write = shadow_write,
	.cmpxchg = shadow_cmpxchg,
	.segment = shadow_segment,
};

static void dump(const struct program *p)
{
	unsigned int i;

	printf("# bytes:");
	for (i = 0; i < p->len; i++)
		printf(" %02x", p->bytes[i]);
	printf("\n# flags %llx\n", p->flags);
	for (i = 0; i < 16; i++)
		printf("# r%u %llx\n", i, p->gpr[i]);
}

static bool run_native(const struct program *p)
{
	int signal;

	memcpy(code + code_len, p->bytes, p->len);
	code_len += p->len;
	emit_epilogue();
	memcpy(state->gpr, p->gpr, sizeof(p->gpr));
	state->flags = p->flags | 0x202;
	memcpy(shadow, window, WINDOW);
	signal = sigsetjmp(crashed, 1);
	if (signal) {
		printf("# the CPU raised signal %d\n", signal);
		return false;
	}
	((void (*)(void))code)();
	return true;
}

static bool run_emulated(const struct program *p, struct emulate_ctxt *ctxt)
{
	unsigned int limit = 1000;
	int err;

	err = emulate_decode(&ctxt->insn, p->bytes, p->len, EMU_MODE_LONG64);
	if (err || ctxt->insn.length != p->len) {
		printf("# decode: %d, length %u\n", err, ctxt->insn.length);
		return false;
	}
	do {
		enum emulate_result result = emulate_insn(ctxt);

		if (result != EMU_DONE) {
			printf("# emulation: result %d\n", result);
			return false;
		}
	} while (ctxt->again && --limit);
	return limit;
}

static bool equal(const struct emulate_ctxt *ctxt, u64 rip, u64 flags_compared)
{
	bool ok = true;
	unsigned int i;

	for (i = 0; i < 16; i++) {
		if (state->gpr[i] == ctxt->gpr[i])
			continue;
		printf("# r%u: CPU %llx, emulator %llx\n", i, state->gpr[i],
		       ctxt->gpr[i]);
		ok = false;
	}
	if ((state->flags ^ ctxt->rflags) & flags_compared) {
		printf("# flags: CPU %llx, emulator %llx\n", state->flags,
		       ctxt->rflags);
		ok = false;
	}
	if (memcmp(window, shadow, WINDOW)) {
		printf("# memory differs\n");
		ok = false;
	}
	if (ctxt->rip != rip) {
		printf("# RIP is off by %lld\n", ctxt->rip - rip);
		ok = false;
	}
	return ok;
}

static bool compare(struct program *p, u64 flags_compared)
{
	u64 gpr[16];
	struct emulate_ctxt ctxt = {
		.ops = &shadow_ops,
		.gpr = gpr,
		.rip = (u64)code + code_len,
		.rflags = p->flags | 0x202,
		.mode = EMU_MODE_LONG64,
		.cpl = 3,
		.linear_bits = 48,
	};
	u64 rip = ctxt.rip + p->len;

	memcpy(gpr, p->gpr, sizeof(gpr));
	if (run_native(p) && run_emulated(p, &ctxt) &&
	    equal(&ctxt, rip, flags_compared))
		return true;
	dump(p);
	return false;
}

static bool cpu_has_movbe(void)
{
	unsigned int eax, ebx, ecx, edx;

	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_MOVBE);
}

static unsigned long setup(struct kunit *test)
{
	static u8 stack[65536];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = {
		.sa_handler = on_crash,
		.sa_flags = SA_ONSTACK,
	};
	const char *text = getenv("KILN_EMULATE_SEED");
	const char *runs = getenv("KILN_EMULATE_RUNS");
	unsigned int i;

	if (!code) {
		code = mmap(NULL, REGION, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		KUNIT_EXPECT_TRUE_MSG(test, code != MAP_FAILED,
				      "no memory to execute in");
		if (code == MAP_FAILED)
			longjmp(test->abort, 1);
		state = (struct state *)(code + STATE_AT);
		window = code + WINDOW_AT;
		gs_base = (u64)window - 0x12340;
		syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base);
		sigaltstack(&alternate, NULL);
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
		sigaction(SIGILL, &action, NULL);
		sigaction(SIGTRAP, &action, NULL);
	}
	seed = text ? strtoull(text, NULL, 0) : (u64)time(NULL) * 4711 + 1;
	printf("# KILN_EMULATE_SEED=%llu\n", seed);
	seed = seed ? seed : 1;
	for (i = 0; i < WINDOW; i++)
		window[i] = random64() >> 56;
	return runs ? strtoul(runs, NULL, 0) : 200000;
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

static void random_instructions_do_what_the_cpu_does(struct kunit *test)
{
	unsigned long i, runs = setup(test);
	bool movbe = cpu_has_movbe();
	const struct shape *shape;
	struct program p;

	for (i = 0; i < runs && !test->failed; i++) {
		shape = &shapes[below(ARRAY_SIZE(shapes))];
		if ((shape->flags & S_MOVBE) && !movbe)
			continue;
		emit_prologue();
		choose(&p, shape);
		choose_bit(&p);
		choose_accumulator(&p);
		if (p.memory)
			aim(&p);
		assemble(&p, (u64)code + code_len);
		if (p.len > EMU_INSN_MAX)
			continue;
		KUNIT_EXPECT_TRUE_MSG(test, compare(&p, FLAGS &
						    ~(u64)shape->undefined),
				      "differs in run %lu", i);
	}
}

static void choose_string(struct program *p, u8 opcode)
{
	static const struct shape none;
	u64 upper;

	choose(p, &none);
	p->memory = p->gs = p->lock = false;
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

static void random_strings_do_what_the_cpu_does(struct kunit *test)
{
	static const u8 opcodes[] = { 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad };
	unsigned long i, runs = setup(test) / 10;
	struct program p;

	for (i = 0; i < runs && !test->failed; i++) {
		emit_prologue();
		choose_string(&p, opcodes[below(ARRAY_SIZE(opcodes))]);
		KUNIT_EXPECT_TRUE_MSG(test, compare(&p, FLAGS),
				      "differs in run %lu", i);
	}
}

/* A0 to A3: the address is in the instruction. */
static void random_direct_moves_do_what_the_cpu_does(struct kunit *test)
{
	unsigned long i, runs = setup(test) / 20;
	struct program p;

	for (i = 0; i < runs && !test->failed; i++) {
		static const struct shape none;

		emit_prologue();
		choose(&p, &none);
		if (p.opsize)
			put(&p, 0x66, 1);
		if (p.addrsize)
			put(&p, 0x67, 1);
		if (p.rex)
			put(&p, p.rex, 1);
		put(&p, 0xa0 + below(4), 1);
		put(&p, (u64)window + p.offset, p.addrsize ? 4 : 8);
		KUNIT_EXPECT_TRUE_MSG(test, compare(&p, FLAGS),
				      "differs in run %lu", i);
	}
}

static struct kunit_case host_native_cases[] = {
	KUNIT_CASE(random_instructions_do_what_the_cpu_does),
	KUNIT_CASE(random_strings_do_what_the_cpu_does),
	KUNIT_CASE(random_direct_moves_do_what_the_cpu_does),
	{ }
};

struct kunit_suite host_native_suite = {
	.name = "host_native",
	.test_cases = host_native_cases,
};
