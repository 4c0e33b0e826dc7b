// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests of random code, registers, CPUID, MSRs and device accesses, in every mode. Nobody knows what such a guest
 * should do, so what is demanded is what holds for any: KVM_RUN ends in a way the ABI states, a death has a cause
 * (KILN_GET_DEATH), a guest by itself cannot make an entry fail, and the host goes on with a clean log, which lab/vm
 * looks at.
 *
 * KILN_SEED repeats a run; a failure names the seed of its round alone, to be repeated with KILN_ROUNDS=1. KILN_ROUNDS
 * says how many rounds a test does.
 *
 * A timer's signals end what goes on for too long. In Bochs no interrupt of the host ends a guest with its interrupts
 * off, but an APIC timer of the guest's does, since the hypervisor has to look: one runs, and the code that is not quite
 * random leaves the APIC's base alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "kiln.h"
#include "mode.h"
#include "random.h"

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define DEVICE		0xd0000000UL

/* ---- How it may end ---- */

static const struct {
	uint32_t reason, kind;
} deaths[] = {
	{ KVM_EXIT_SHUTDOWN, KILN_DEATH_TRIPLE_FAULT },
	{ KVM_EXIT_FAIL_ENTRY, KILN_DEATH_FAIL_ENTRY },
	{ KVM_EXIT_INTERNAL_ERROR, KILN_DEATH_EMULATION },
	{ KVM_EXIT_INTERNAL_ERROR, KILN_DEATH_UNEXPECTED },
};

static bool is_death(uint32_t reason)
{
	return reason == KVM_EXIT_SHUTDOWN || reason == KVM_EXIT_FAIL_ENTRY || reason == KVM_EXIT_INTERNAL_ERROR;
}

/* NULL if the death has a cause that fits, or if there is nobody to ask. */
static const char *what_is_wrong_with_death(struct vcpu *vcpu)
{
	struct kiln_death death;

	if (!device_is_kiln())
		return NULL;
	if (xioctl(vcpu->fd, KILN_GET_DEATH, &death))
		return "no cause of death";
	if (!death.cause[0] || !memchr(death.cause, '\0', sizeof(death.cause)))
		return "the cause is no sentence";
	for (size_t i = 0; i < ARRAY_LEN(deaths); i++)
		if (deaths[i].reason == vcpu->run->exit_reason && deaths[i].kind == death.kind)
			return NULL;
	return "the kind of death does not fit the exit";
}

/* Counted to be shown, so that one sees what the randomness reaches. */
static unsigned int exits[64], interruptions, refusals, rounds_done;

static void show_counts(void)
{
	printf("# %u rounds, %u interrupted, %u states refused; exits:", rounds_done, interruptions, refusals);
	for (uint32_t i = 0; i < ARRAY_LEN(exits); i++)
		if (exits[i])
			printf(" %s %u", exit_name(i), exits[i]);
	printf("\n");
	fflush(stdout);
}

static void nothing(int sig)
{
}

/* Only while the guest runs: stock KVM lets signals interrupt other calls too. */
static void interrupt_every(unsigned int microseconds)
{
	struct itimerval each = { .it_interval.tv_usec = microseconds, .it_value.tv_usec = microseconds };
	struct sigaction action = { .sa_handler = nothing };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &each, NULL);
}

/*
 * Runs until a death, a signal, or so many exits that it has shown what it can do. Returns what was wrong or NULL.
 * may_fail_entry: user space had a hand in the state.
 */
static const char *run_to_an_end(struct vcpu *vcpu, bool may_fail_entry)
{
	for (int i = 0; i < 40; i++) {
		int r = vcpu_run(vcpu);
		uint32_t reason = vcpu->run->exit_reason;

		if (r == -EINTR || r == -EAGAIN) {
			interruptions++;
			return NULL;
		}
		if (r)
			return strerror(-r);
		exits[reason % ARRAY_LEN(exits)]++;
		if (is_death(reason)) {
			if (reason == KVM_EXIT_FAIL_ENTRY && !may_fail_entry)
				return "the guest made its entry fail";
			return what_is_wrong_with_death(vcpu);
		}
		switch (reason) {
		case KVM_EXIT_IO:
		case KVM_EXIT_MMIO:
			fill_random(reason == KVM_EXIT_IO ? (uint8_t *)vcpu->run + vcpu->run->io.data_offset :
				    vcpu->run->mmio.data, 8);
			break;
		case KVM_EXIT_HLT:
		case KVM_EXIT_IRQ_WINDOW_OPEN:
		case KVM_EXIT_SET_TPR:
		case KVM_EXIT_SYSTEM_EVENT:
			break;
		default:
			return exit_name(reason);
		}
	}
	return NULL;
}

static const char *run_for_a_while(struct vcpu *vcpu, bool may_fail_entry)
{
	const char *wrong;

	interrupt_every(10000);
	wrong = run_to_an_end(vcpu, may_fail_entry);
	interrupt_every(0);
	return wrong;
}

/* Masked, so that it does nothing but run out, every millisecond. */
static void start_apic_timer(struct vcpu *vcpu)
{
	struct kvm_lapic_state apic;

	if (xioctl(vcpu->fd, KVM_GET_LAPIC, &apic))
		die("GET_LAPIC");
	*(uint32_t *)(apic.regs + APIC_LVT_TIMER) = APIC_MASKED | APIC_PERIODIC;
	*(uint32_t *)(apic.regs + APIC_TIMER_DIV) = 0xb;
	*(uint32_t *)(apic.regs + APIC_TIMER_INIT) = 1000000;
	*(uint32_t *)(apic.regs + APIC_TIMER_CUR) = 1000000;
	if (xioctl(vcpu->fd, KVM_SET_LAPIC, &apic))
		die("SET_LAPIC");
}

/* ---- Code ---- */

/* What a hypervisor has to do with. RR is replaced by a random byte. */
#define RR "\x99"
static const char *const snippets[] = {
	"\x0f\xa2", "\x0f\x32", "\x0f\x30", "\x0f\x31", "\x0f\x01\xf9", "\x0f\x33",	/* cpuid rdmsr wrmsr rdtsc rdtscp rdpmc */
	"\x0f\x20" RR, "\x0f\x22" RR, "\x0f\x21" RR, "\x0f\x23" RR,			/* mov with CRn, DRn */
	"\x0f\x01" RR, "\x0f\x00" RR, "\x0f\xae" RR, "\x0f\xc7" RR,			/* groups 7, 6, 15, 9 */
	"\x0f\x01\xc1", "\x0f\x01\xd9", "\x0f\x01\xd1", "\x0f\x01\xd0",			/* vmcall vmmcall xsetbv xgetbv */
	"\x0f\x01\xc8", "\x0f\x01\xc9", "\x0f\xaa", "\x0f\x0b", "\x0f\x06",		/* monitor mwait rsm ud2 clts */
	"\x0f\x08", "\x0f\x09", "\xf3\x90", "\xf4", "\xfa", "\xfb", "\xf1", "\xcc", "\xce", "\xcf",
	"\xcd" RR, "\xe4" RR, "\xe6" RR, "\xec", "\xed", "\xee", "\xef", "\x6c", "\x6e", "\xf3\x6c", "\xf3\x6e",
	"\x8e" RR, "\x8c" RR, "\x0f\xa1", "\x0f\xa9", "\x17", "\x1f", "\x07",		/* segment registers */
	"\x9c", "\x9d", "\x0f\x05", "\x0f\x07", "\x0f\x34", "\x0f\x35",			/* pushf popf syscall sysret sysenter -exit */
	"\x89" RR, "\x8b" RR, "\xa4", "\xf3\xa4", "\xf3\xaa", "\xab", "\x87" RR, "\xff" RR,
	"\x0f\x18" RR, "\x0f\x38" RR, "\x0f\xb6" RR, "\x0f\xc1" RR, "\x0f\xb1" RR,
	"\x66", "\x67", "\xf0", "\xf2", "\xf3", "\x48", "\x2e",				/* prefixes to what follows */
	"\xdb\xe3", "\x9b", "\x0f\x77", "\x0f\xae\x38",
};

static uint32_t interesting_msr(void)
{
	static const struct {
		uint32_t base, mask;
	} ranges[] = {
		{ 0, 0xff }, { 0x100, 0xff }, { 0x200, 0x7f }, { 0x400, 0x3f }, { 0x480, 0x1f }, { 0x6e0, 0 }, { 0x800, 0x3f },
		{ 0xda0, 0 }, { 0xc0000080, 7 }, { 0xc0000100, 7 }, { 0xc0010000, 0x1ff }, { 0xc0011000, 0x3f },
		{ 0x4b564d00, 15 }, { 0x40000000, 0xff }, { 0, ~0 },
	};
	int i = next_random() % ARRAY_LEN(ranges);

	return ranges[i].base + (next_random() & ranges[i].mask);
}

/*
 * QEMU's TCG crashes, or is not heard of again, over a guest's watchpoints and
 * over a task register of no TSS type ("fatal: invalid tss type"). There no
 * guest gets either, and the seed is one of those known to do no harm, unless
 * one is given.
 */
#define TCG_SEEDS	13	/* 1 to this */

static void spare_tcg(uint8_t *code, size_t size)
{
	for (size_t i = 0; i + 1 < size; i++)
		if (code[i] == 0x0f && code[i + 1] == 0x23)	/* MOV to DRn */
			code[i + 1] = 0x21;
}

static uint64_t seed_guests(const char *name)
{
	uint64_t seed = 1 + time(NULL) % TCG_SEEDS;

	if (!host_is_tcg() || getenv("KILN_SEED"))
		return seed_random(name);
	printf("# %s: KILN_SEED=%llu\n", name, (unsigned long long)seed);
	set_seed(seed);
	return seed;
}

static void snippets_and_bytes(uint8_t *p, const uint8_t *end)
{
	while (p < end) {
		const char *s = snippets[next_random() % ARRAY_LEN(snippets)];

		if (one_in(4)) {
			uint32_t value = one_in(2) ? interesting_msr() : one_in(2) ? DEVICE : next_random() % VM_RAM_SIZE;

			*p++ = 0xb8 + next_random() % 8;		/* mov $value, %reg */
			if (value == APIC_MSR)
				value++;
			memcpy(p, &value, 4);
			p += 4;
		}
		for (; *s && p < end; s++)
			*p++ = *s == RR[0] ? next_random() : *s;
		if (one_in(32))
			p += next_random() % 8;				/* some bytes as they are */
	}
}

/* Half and half: bytes, and snippets with registers loaded before them now and then. */
static void random_code(uint8_t *p, size_t size)
{
	fill_random(p, size);
	if (!one_in(3))
		snippets_and_bytes(p, p + size - 16);
	if (host_is_tcg())
		spare_tcg(p, size);
}

static void random_registers(struct vcpu *vcpu)
{
	struct kvm_regs regs = vcpu_regs(vcpu);

	for (uint64_t *r = (uint64_t *)&regs; r < (uint64_t *)&regs.rip; r++)
		if ((uint64_t *)&regs.rsp != r)
			*r = one_in(3) ? next_random() : one_in(2) ? interesting_msr() : next_random() % VM_RAM_SIZE;
	if (one_in(4))
		regs.rflags ^= next_random() & 0x47dd5;
	vcpu_set_regs(vcpu, &regs);
}

/* A guest may get any CPUID; one that is refused leaves the one before. */
static void random_cpuid(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(vcpu->vm->dev);
	int n = next_random() % 8;

	while (n-- > 0)
		random_bit(&cpuid->entries[next_random() % cpuid->nent], sizeof(cpuid->entries[0]));
	if (one_in(8))
		cpuid->nent = next_random() % (cpuid->nent + 1);
	refusals += !!xioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

static void random_msr(struct vcpu *vcpu)
{
	uint32_t index = interesting_msr();
	uint64_t value = 0;

	if (index == APIC_MSR)
		return;
	vcpu_get_msr(vcpu, index, &value);
	for (int n = next_random() % 3; n >= 0; n--)
		random_bit(&value, sizeof(value));
	vcpu_set_msr(vcpu, index, one_in(4) ? next_random() : value);
}

/* The APIC's base stays, for the timer's sake. */
static void random_sregs(struct vcpu *vcpu)
{
	struct kvm_sregs s = vcpu_sregs(vcpu);
	const struct kvm_segment tr = s.tr;
	__u64 *const words[] = { &s.cr0, &s.cr3, &s.cr4, &s.efer, &s.gdt.base, &s.idt.base, &s.cs.base };

	for (int n = next_random() % 3; n >= 0; n--) {
		if (one_in(2))
			random_bit(words[next_random() % ARRAY_LEN(words)], sizeof(__u64));
		else
			random_bit(&s, offsetof(struct kvm_sregs, apic_base));
	}
	if (one_in(4))
		s.idt.limit = next_random();
	if (host_is_tcg())
		s.tr = tr;
	refusals += !!xioctl(vcpu->fd, KVM_SET_SREGS, &s);
}

static const char *random_code_round(enum mode mode, bool random_state)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(VM_IRQCHIP | (one_in(2) ? VM_PIT : 0)));
	bool any_cpuid = one_in(2);
	const char *wrong = NULL;

	/* Before its CPUID, which may have no such mode. */
	vcpu_set_mode(vcpu, mode);
	if (any_cpuid)
		random_cpuid(vcpu);
	random_code(vcpu->vm->ram + VM_SCRATCH, 0x1000);
	if (one_in(4))
		random_code(vcpu->vm->ram + (next_random() % 0x100) * 0x1000, 0x1000);
	random_registers(vcpu);
	start_apic_timer(vcpu);
	if (random_state) {
		random_sregs(vcpu);
		random_msr(vcpu);
	}
	for (int i = 0; i < 3 && !wrong; i++)
		wrong = run_for_a_while(vcpu, random_state || any_cpuid);
	vm_destroy(vcpu->vm);
	return wrong;
}

/* QEMU's TCG gives up ("fatal: invalid tss type") over what a guest outside of ring 0 may do to its TSS. */
static bool emulator_survives(enum mode mode)
{
	return mode != MODE_VIRTUAL_8086 || !host_is_tcg();
}

static const char *random_code_rounds(const char *name, bool random_state, unsigned long rounds)
{
	uint64_t seed = seed_guests(name);

	for (rounds_done = 0; rounds_done < rounds; rounds_done++) {
		enum mode mode = (seed + rounds_done) % N_MODES;
		const char *wrong;

		if (!emulator_survives(mode))
			continue;
		set_seed(seed + rounds_done);
		wrong = random_code_round(mode, random_state);
		if (wrong) {
			printf("# KILN_SEED=%llu KILN_ROUNDS=1: %s, %s\n", (unsigned long long)seed + rounds_done,
			       mode_names[mode], wrong);
			fflush(stdout);
			return wrong;
		}
	}
	show_counts();
	return NULL;
}

TEST(random_code_in_every_mode_ends_as_the_abi_says)
{
	ASSERT_EQ(NULL, random_code_rounds(_metadata->name, false, from_environment("KILN_ROUNDS", 80)));
}

TEST(random_code_in_a_random_state_ends_as_the_abi_says)
{
	ASSERT_EQ(NULL, random_code_rounds(_metadata->name, true, from_environment("KILN_ROUNDS", 80)));
}

/* ---- MSRs: the guest and user space at the same ones ---- */

#define N_MSRS	64

static struct {
	uint32_t index;
	uint64_t value;
} msrs[N_MSRS] __guest_data = { { 0 } };

static __guest void uses_msrs(void)
{
	for (uint64_t turn = 0;; turn++) {
		for (int i = 0; i < N_MSRS; i++) {
			uint64_t v;

			catch_rdmsr(msrs[i].index, &v);
			catch_wrmsr(msrs[i].index, msrs[i].value ^ v);
			catch_rdmsr(msrs[i].index, &v);
		}
		guest_sync(turn);
	}
}

TEST(random_msrs_end_as_the_abi_says)
{
	unsigned long rounds = from_environment("KILN_ROUNDS", 40);
	uint64_t seed = seed_guests(_metadata->name);

	for (rounds_done = 0; rounds_done < rounds; rounds_done++) {
		struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, uses_msrs);
		const char *wrong;
		bool any_cpuid;

		set_seed(seed + rounds_done);
		any_cpuid = one_in(2);
		if (any_cpuid)
			random_cpuid(vcpu);
		for (int i = 0; i < N_MSRS; i++) {
			GUEST(vcpu->vm, msrs[i].index) = interesting_msr();
			GUEST(vcpu->vm, msrs[i].value) = one_in(2) ? 1ULL << next_random() % 64 : next_random();
		}
		wrong = run_for_a_while(vcpu, any_cpuid);
		for (int i = 0; i < N_MSRS; i++)
			random_msr(vcpu);
		if (!wrong)
			wrong = run_for_a_while(vcpu, true);
		vm_destroy(vcpu->vm);
		ASSERT_EQ(NULL, wrong) {
			TH_LOG("KILN_SEED=%llu KILN_ROUNDS=1: %s", (unsigned long long)seed + rounds_done, wrong);
		}
	}
	show_counts();
}

/* ---- Device memory under two vCPUs, while slots come and go in its place ---- */

#define CODE	VM_FREE
#define N_INSNS	64

static uint32_t starts[2][N_INSNS];	/* guest-physical */

/* Accesses with a modrm byte; the register is any but RBX, which points to the device, and RSP. */
static const char *const accesses[] = {
	"\x88", "\x89", "\x8a", "\x8b", "\x86", "\x87", "\x00", "\x01", "\x02", "\x03", "\x08", "\x09", "\x0b", "\x20", "\x21",
	"\x23", "\x28", "\x29", "\x2b", "\x30", "\x31", "\x33", "\x38", "\x39", "\x3b", "\x84", "\x85", "\x63",
	"\x0f\xb6", "\x0f\xb7", "\x0f\xbe", "\x0f\xbf", "\x0f\xa3", "\x0f\xab", "\x0f\xb3", "\x0f\xbb", "\x0f\xb0", "\x0f\xb1",
	"\x0f\xc0", "\x0f\xc1", "\x0f\xaf", "\xfe", "\xf6", "\xf7", "\x8f", "\xff", "\x0f\x10", "\x0f\x28", "\x0f\x7f",
};

static uint8_t *put_access(uint8_t *p)
{
	const char *op = accesses[next_random() % ARRAY_LEN(accesses)];
	uint32_t at = DEVICE + (one_in(3) ? 0xff0 + next_random() % 16 : next_random() % 0x2000);
	static const uint8_t regs[] = { 0, 1, 2, 5, 6, 7 };

	*p++ = 0xbb;							/* mov $at, %ebx */
	memcpy(p, &at, 4);
	p += 4;
	if (one_in(4))
		*p++ = "\x66\xf0\xf3\xf2"[next_random() % 4];
	if (one_in(3))
		*p++ = 0x48;
	while (*op)
		*p++ = *op++;
	*p++ = 3 | regs[next_random() % ARRAY_LEN(regs)] << 3;		/* (%rbx) */
	if (one_in(8)) {						/* rdi, rcx: string instructions */
		static const uint8_t moves[] = { 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xae };

		memcpy(p, "\x89\xdf\xbe\x00\x00\x40\x00\xb9\x03\x00\x00\x00\xf3", 13);
		p += 13;
		*p++ = moves[next_random() % ARRAY_LEN(moves)];
	}
	return p;
}

/* Instructions with an immediate take the first bytes of what follows for one: it is random all the same. */
static void put_accesses(uint8_t *ram, int vcpu)
{
	uint8_t *start = ram + CODE + vcpu * 0x1000, *p = start;

	*p++ = 0xfb;							/* sti */
	for (int i = 0; i < N_INSNS; i++) {
		starts[vcpu][i] = p - ram;
		p = put_access(p);
	}
	*p++ = 0xe9;							/* jmp start */
	*(int32_t *)p = start - (p + 4);
}

static bool stop;

/* The threads' own randomness: Numerical Recipes' generator. */
static uint32_t slot_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* On with some instruction: the last one ended in an exception, which the test's IDT reports, or killed the vCPU. */
static void restart(struct vcpu *vcpu, uint32_t *state)
{
	vcpu_long_mode(vcpu, (void (*)(void))(uintptr_t)starts[vcpu->id][slot_random(state) % N_INSNS]);
}

/* A thread that is not in KVM_RUN yet is told by immediate_exit, which it takes back. */
static void interrupt(struct vcpu *vcpu, pthread_t thread)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(thread, SIGALRM);
}

static void *run_accesses(void *arg)
{
	struct vcpu *vcpu = arg;
	uint32_t state = vcpu->id;

	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		int r = vcpu_run(vcpu);
		uint32_t reason = vcpu->run->exit_reason;

		if (r == -EINTR) {
			/* Out of HLT, which is the low byte of some addresses: nothing else wakes it. */
			__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
			if (xioctl(vcpu->fd, KVM_SET_MP_STATE, &(struct kvm_mp_state){ KVM_MP_STATE_RUNNABLE }))
				return strerror(errno);
			continue;
		}
		if (r)
			return strerror(-r);
		__atomic_fetch_add(&exits[reason % ARRAY_LEN(exits)], 1, __ATOMIC_RELAXED);
		if (is_death(reason) && what_is_wrong_with_death(vcpu))
			return (void *)what_is_wrong_with_death(vcpu);
		if (reason == KVM_EXIT_IO || is_death(reason))
			restart(vcpu, &state);
		else if (reason == KVM_EXIT_MMIO)
			memset(vcpu->run->mmio.data, slot_random(&state), 8);
		else
			return (void *)exit_name(reason);
	}
	return NULL;
}

TEST(random_device_accesses_while_slots_come_and_go_end_as_the_abi_says)
{
	unsigned long rounds = from_environment("KILN_ROUNDS", 6);
	uint64_t seed = seed_guests(_metadata->name);
	void *page = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, page);
	for (rounds_done = 0; rounds_done < rounds; rounds_done++) {
		struct vm *vm = vm_create(VM_IRQCHIP);
		uint32_t state = seed + rounds_done;
		pthread_t threads[2];
		void *wrong[2];

		set_seed(seed + rounds_done);
		for (int i = 0; i < 2; i++) {
			put_accesses(vm->ram, i);
			vcpu_long_mode(vm_add_vcpu(vm), (void (*)(void))(CODE + i * 0x1000));
		}
		ASSERT_IOCTL(0, vm->vcpu[1].fd, KVM_SET_MP_STATE, &(struct kvm_mp_state){ 0 });
		stop = false;
		sigaction(SIGALRM, &(struct sigaction){ .sa_handler = nothing }, NULL);
		for (int i = 0; i < 2; i++)
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, run_accesses, &vm->vcpu[i]));
		for (int i = 0; i < 40; i++) {
			uint64_t at = DEVICE + slot_random(&state) % 2 * 0x1000;
			uint32_t flags = slot_random(&state) % 2 ? KVM_MEM_READONLY : 0;

			ASSERT_EQ(0, vm_set_slot(vm, 1, flags, at, 0x1000, page));
			usleep(slot_random(&state) % 1000);
			if (slot_random(&state) % 2)
				ASSERT_EQ(0, vm_set_slot(vm, 1, flags, DEVICE + 0x1000, 0x1000, page));
			ASSERT_EQ(0, vm_set_slot(vm, 1, 0, at, 0, page));
			interrupt(&vm->vcpu[i % 2], threads[i % 2]);
		}
		__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
		for (int i = 0; i < 2; i++) {
			interrupt(&vm->vcpu[i], threads[i]);
			pthread_join(threads[i], &wrong[i]);
			EXPECT_EQ(NULL, wrong[i]) {
				TH_LOG("KILN_SEED=%llu KILN_ROUNDS=1: vCPU %d: %s",
				       (unsigned long long)seed + rounds_done, i, (char *)wrong[i]);
			}
		}
		vm_destroy(vm);
	}
	show_counts();
}

TEST_HARNESS_MAIN
