/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest side of the self-tests: what guest functions (marked __guest, 64-bit, ring 0) may call. Nothing here may
 * reach outside guest_text and guest_data: no string literals, no library.
 */
#ifndef KILN_SELFTESTS_GUEST_H
#define KILN_SELFTESTS_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#define __guest		__attribute__((section("guest_text"), noinline, used))
#define __guest_data	__attribute__((section("guest_data"), used))
#define __always	static inline __attribute__((always_inline))

/* A write of one of these to UCALL_PORT ends a stretch of guest code; RBX, RCX, RDX carry the particulars. */
#define UCALL_PORT	0xe0
enum ucall {
	UCALL_DONE = 1,		/* nothing */
	UCALL_SYNC,		/* RBX: the number of the step reached */
	UCALL_FAIL,		/* RBX: source line, RCX: seen, RSI: expected */
	UCALL_TRAP,		/* RBX: vector, RCX: error code, RSI: RIP */
};

__always void ucall(enum ucall kind, uint64_t b, uint64_t c, uint64_t s)
{
	asm volatile("outl %%eax, $0xe0" : : "a"(kind), "b"(b), "c"(c), "S"(s) : "memory");
}

#define guest_done()	ucall(UCALL_DONE, 0, 0, 0)
#define guest_sync(n)	ucall(UCALL_SYNC, n, 0, 0)
#define guest_expect(expected, seen) do {						\
	uint64_t seen__ = (uint64_t)(seen), expected__ = (uint64_t)(expected);		\
	if (seen__ != expected__)							\
		ucall(UCALL_FAIL, __LINE__, seen__, expected__);			\
} while (0)
#define guest_assert(cond)	guest_expect(1, !!(cond))

/* Ports */
#define GUEST_PORT_IO(size, type, suffix, reg)						\
__always type in##suffix(uint16_t port)							\
{											\
	type v;										\
	asm volatile("in" #suffix " %1, %0" : "=a"(v) : "Nd"(port) : "memory");	\
	return v;									\
}											\
__always void out##suffix(uint16_t port, type v)					\
{											\
	asm volatile("out" #suffix " %0, %1" : : "a"(v), "Nd"(port) : "memory");	\
}
GUEST_PORT_IO(1, uint8_t, b, al)
GUEST_PORT_IO(2, uint16_t, w, ax)
GUEST_PORT_IO(4, uint32_t, l, eax)

/* Control and model-specific registers */
#define GUEST_CONTROL_REG(name)								\
__always uint64_t read_##name(void)							\
{											\
	uint64_t v;									\
	asm volatile("mov %%" #name ", %0" : "=r"(v) : : "memory");			\
	return v;									\
}											\
__always void write_##name(uint64_t v)							\
{											\
	asm volatile("mov %0, %%" #name : : "r"(v) : "memory");				\
}
GUEST_CONTROL_REG(cr0)
GUEST_CONTROL_REG(cr2)
GUEST_CONTROL_REG(cr3)
GUEST_CONTROL_REG(cr4)
GUEST_CONTROL_REG(cr8)
GUEST_CONTROL_REG(dr0)
GUEST_CONTROL_REG(dr1)
GUEST_CONTROL_REG(dr2)
GUEST_CONTROL_REG(dr3)
GUEST_CONTROL_REG(dr6)
GUEST_CONTROL_REG(dr7)

__always uint64_t rdmsr(uint32_t index)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(index) : "memory");
	return lo | (uint64_t)hi << 32;
}

__always void wrmsr(uint32_t index, uint64_t v)
{
	asm volatile("wrmsr" : : "c"(index), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

__always uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("lfence; rdtsc; lfence" : "=a"(lo), "=d"(hi) : : "memory");
	return lo | (uint64_t)hi << 32;
}

__always void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "0"(leaf), "2"(sub) : "memory");
}

/* A guest that spins must have its interrupts on: Bochs 2.7 interrupts none that has them off, so the host stalls. */
__always void sti(void) { asm volatile("sti" : : : "memory"); }
__always void cli(void) { asm volatile("cli" : : : "memory"); }
__always void hlt(void) { asm volatile("hlt" : : : "memory"); }
__always void sti_hlt(void) { asm volatile("sti; hlt" : : : "memory"); }
__always void pause_cpu(void) { asm volatile("pause" : : : "memory"); }
/* Interrupts taken and off again: what is pending is delivered at the second instruction. */
__always void irq_window(void) { asm volatile("sti; nop; nop; cli" : : : "memory"); }

/*
 * guest_catch("instruction", outputs, inputs…) runs one instruction and yields the vector of the exception it raised,
 * or NO_TRAP. The instruction must not touch R9 and R10, through which the trap entry finds the way back; R11 is free. Its error
 * code is then in guest_error_code.
 */
#define NO_TRAP			0x100
#define GUEST_CATCH_MAGIC	0x6b636174
#define ARGS(...)		__VA_ARGS__
#define guest_catch(insn, outs, ...) ({							\
	register uint64_t vector__ asm("r9");						\
	asm volatile("lea 771f(%%rip), %%r9\n\t"					\
		     "mov $0x6b636174, %%r10d\n\t"					\
		     insn "\n\t"							\
		     "mov $0x100, %%r9d\n"						\
		     "771: xor %%r10d, %%r10d"						\
		     : "=&r"(vector__) outs : __VA_ARGS__ : "r10", "r11", "memory", "cc");	\
	vector__; })

__always uint64_t catch_rdmsr(uint32_t index, uint64_t *v)
{
	uint32_t lo = 0, hi = 0;
	uint64_t vector = guest_catch("rdmsr", ARGS(, "+a"(lo), "+d"(hi)), "c"(index));

	*v = lo | (uint64_t)hi << 32;
	return vector;
}

__always uint64_t catch_wrmsr(uint32_t index, uint64_t v)
{
	return guest_catch("wrmsr", , "c"(index), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

/* Exceptions and interrupts */
struct trap {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

typedef void (*trap_handler_t)(struct trap *t);
extern trap_handler_t guest_handlers[256];	/* 0: the vector ends the test as "trap V error E at RIP" */
extern uint64_t guest_error_code;

enum { DE_VECTOR, DB_VECTOR, NMI_VECTOR, BP_VECTOR, OF_VECTOR, BR_VECTOR, UD_VECTOR, NM_VECTOR, DF_VECTOR,
       TS_VECTOR = 10, NP_VECTOR, SS_VECTOR, GP_VECTOR, PF_VECTOR, MF_VECTOR = 16, AC_VECTOR };

/* Interrupt controllers */
#define APIC_MSR	0x1b
#define APIC_PHYS	0xfee00000UL
#define APIC_ID		0x020
#define APIC_VERSION	0x030
#define APIC_TPR	0x080
#define APIC_PPR	0x0a0
#define APIC_EOI	0x0b0
#define APIC_LDR	0x0d0
#define APIC_DFR	0x0e0
#define APIC_SVR	0x0f0
#define APIC_ISR	0x100
#define APIC_TMR	0x180
#define APIC_IRR	0x200
#define APIC_ESR	0x280
#define APIC_ICR	0x300
#define APIC_ICR2	0x310
#define APIC_LVT_TIMER	0x320
#define APIC_LVT0	0x350
#define APIC_LVT1	0x360
#define APIC_TIMER_INIT	0x380
#define APIC_TIMER_CUR	0x390
#define APIC_TIMER_DIV	0x3e0
#define X2APIC(reg)	(0x800 + ((reg) >> 4))
#define X2APIC_SELF_IPI	0x83f
#define APIC_SELF	0x40000		/* ICR shorthands */
#define APIC_ALL	0x80000
#define APIC_OTHERS	0xc0000
#define APIC_PERIODIC	0x20000		/* LVT timer modes */
#define APIC_DEADLINE	0x40000
#define APIC_MASKED	0x10000

#define IOAPIC_PHYS	0xfec00000UL

__always uint32_t apic_read(uint32_t reg)
{
	return *(volatile uint32_t *)(APIC_PHYS + reg);
}

__always void apic_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(APIC_PHYS + reg) = v;
}

/*
 * Software-enable, spurious vector 0xff, TPR 0, no PIC at LINT0. IDT and GDT are touched, or else left as they are: a second-stage
 * fault that cuts the first delivery short is what a few tests are about, and beyond Bochs if APICv delivers.
 */
void apic_enable(void);
void apic_enable_untouched(void);
void x2apic_enable(void);
void ioapic_write(uint8_t reg, uint32_t v);
uint32_t ioapic_read(uint8_t reg);
void ioapic_route(uint8_t pin, uint64_t entry);
void pic_init(uint8_t master_vector, uint8_t slave_vector);	/* cascade on 2, everything unmasked */

/* Count interrupts: guest_count[vector] grows by one at each; the second one also writes the local APIC's EOI. */
extern volatile uint32_t guest_count[256];
void count_trap(struct trap *t);
void count_trap_eoi(struct trap *t);

/* Halt until guest_count[@vector] is not @n any more; returns it, with interrupts off. */
uint32_t halt_until_counted(uint8_t vector, uint32_t n);
void count_trap_x2eoi(struct trap *t);

/*
 * QEMU TCG delivers an interrupt that VMRUN injects a second time now and then, before the handler's first exit
 * (Documentation/lab.rst): with IF clear, as none comes otherwise.
 */
__always bool is_repeated(const struct trap *t)
{
	return !(t->rflags & 1 << 9);
}

/* Where an application processor started at vector 0x0f goes, in 64-bit mode; its argument is its APIC id. */
extern uint64_t ap_entry;
#define AP_PAGE		0x0f000UL
extern const uint8_t ap_start[], ap_start_end[];

#endif
