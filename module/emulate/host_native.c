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
#include "host_program.h"

#define REGION		0x10000
#define STATE_AT	0x1000
#define WINDOW_AT	0x4000

struct state {
	u64 gpr[16];
	u64 flags;
	u64 rsp;
};

static u8 *code;			/* of REGION bytes, below 2 GiB */
static struct state *state;
static u8 shadow[WINDOW];		/* the emulator's window */
static sigjmp_buf crashed;

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

static enum emulate_result shadow_exchange(struct emulate_ctxt *ctxt, u64 linear,
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
	.exchange = shadow_exchange,
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

static bool equal(const struct emulate_ctxt *ctxt, u64 rip, u64 flags)
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
	if ((state->flags ^ ctxt->rflags) & flags) {
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

static bool compare(const struct program *p)
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
	    equal(&ctxt, rip, FLAGS & ~p->undefined))
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
	u64 seed;

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
	random_seed(seed);
	for (i = 0; i < WINDOW; i++)
		window[i] = random64() >> 56;
	return runs ? strtoul(runs, NULL, 0) : 200000;
}

static void random_instructions_do_what_the_cpu_does(struct kunit *test)
{
	unsigned long i, runs = setup(test);
	bool movbe = cpu_has_movbe();
	struct program p;

	for (i = 0; i < runs && !test->failed; i++) {
		emit_prologue();
		program_any(&p, (u64)code + code_len, movbe);
		if (p.len > EMU_INSN_MAX)
			continue;
		KUNIT_EXPECT_TRUE_MSG(test, compare(&p), "differs in run %lu",
				      i);
	}
}

static void random_strings_do_what_the_cpu_does(struct kunit *test)
{
	unsigned long i, runs = setup(test) / 10;
	struct program p;

	for (i = 0; i < runs && !test->failed; i++) {
		emit_prologue();
		program_string(&p);
		KUNIT_EXPECT_TRUE_MSG(test, compare(&p), "differs in run %lu",
				      i);
	}
}

static void random_direct_moves_do_what_the_cpu_does(struct kunit *test)
{
	unsigned long i, runs = setup(test) / 20;
	struct program p;

	for (i = 0; i < runs && !test->failed; i++) {
		emit_prologue();
		program_direct(&p);
		KUNIT_EXPECT_TRUE_MSG(test, compare(&p), "differs in run %lu",
				      i);
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
