// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest that measures devices. Each word of its command line is a measurement, OPERATION:NUMBER:NUMBER, whose
 * result it writes to the serial port as "WORD: TICKS / OPERATIONS". Then it ends the run through the debug-exit port:
 * with 0, or with 1 if something went wrong.
 */
#include "guest.h"

#define SERIAL		0x3f8
#define DEBUG_EXIT	0xf4

#define MEMORY_BEGIN	0x400000u	/* beyond the program; what follows is taken page by page */

/* ---- output ---- */

static void put_serial(char c)
{
	while (!(inb(SERIAL + 5) & 0x20))
		;
	outb(SERIAL, c);
}

void (*put)(char c) = put_serial;

void print(const char *text)
{
	for (; *text; text++)
		put(*text);
}

void print_number(uint32_t value)
{
	char digits[11], *p = digits + 10;

	*p = '\0';
	do {
		*--p = '0' + value % 10;
		value /= 10;
	} while (value);
	print(p);
}

static void end(uint32_t status)
{
	for (;;)
		outl(DEBUG_EXIT, status);
}

void fail(const char *what)
{
	print("failed: ");
	print(what);
	print("\n");
	end(1);
	__builtin_unreachable();
}

void report(const struct words *w, uint32_t spent, uint32_t operations)
{
	print(w->name);
	print(": ");
	print_number(spent);
	print(" / ");
	print_number(operations);
	print("\n");
}

/* ---- memory ---- */

char *copy(void *to, const void *from, uint32_t len)
{
	char *d = to;

	for (const char *s = from; len; len--)
		*d++ = *s++;
	return d;
}

void fill(void *to, uint8_t byte, uint32_t len)
{
	for (uint8_t *d = to; len; len--)
		*d++ = byte;
}

/* The compiler may ask for them. */
void *memset(void *to, int byte, size_t len)
{
	fill(to, byte, len);
	return to;
}

void *memcpy(void *to, const void *from, size_t len)
{
	copy(to, from, len);
	return to;
}

void *pages(uint32_t bytes)
{
	static uintptr_t next = MEMORY_BEGIN;
	void *p = (void *)next;

	next += (bytes + PAGE - 1) & -PAGE;
	fill(p, 0, bytes);
	return p;
}

uint32_t noise(void)
{
	static uint32_t x = 2463534242u;	/* xorshift */

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

/* ---- interrupts ---- */

#define MSR_APIC_BASE	0x1b
#define MSR_X2APIC_EOI	0x80b
#define MSR_X2APIC_SVR	0x80f
#define MSR_PV_EOI	0x4b564d04

static uint32_t pv_eoi;		/* bit 0: this interrupt needs none (msr.rst, MSR_KVM_PV_EOI_EN) */

static void wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static void cpuid(uint32_t leaf, uint32_t r[4])
{
	asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

void take_interrupt(void)
{
	bool done;

	asm volatile("btrl $0, %1" : "=@ccc"(done), "+m"(pv_eoi) : : "memory");
	if (!done)
		wrmsr(MSR_X2APIC_EOI, 0);
}

void take_exception(void)
{
	fail("an exception");
}

extern char interrupt[], exception[];

static void interrupts_init(void)
{
	static struct {
		uint16_t low, selector, flags, middle;
		uint32_t high, reserved;
	} idt[256];
	static struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} idtr = { sizeof(idt) - 1, (uintptr_t)idt };
	uint32_t r[4];

	for (int i = 0; i < 256; i++) {
		uintptr_t at = (uintptr_t)(i < 32 ? exception : interrupt);

		idt[i].low = at;
		idt[i].middle = at >> 16;
		idt[i].high = at >> 32;
		idt[i].selector = 8;
		idt[i].flags = 0x8e00;
	}
	asm volatile("lidt %0" : : "m"(idtr));
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	cpuid(1, r);
	if (!(r[2] & 1u << 21))
		fail("no x2APIC");
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0xc00);
	wrmsr(MSR_X2APIC_SVR, 0x1ff);
	/* As Linux does, where the hypervisor has it. */
	cpuid(0x40000000, r);
	if (r[1] != 0x4b4d564b || r[0] < 0x40000001)
		return;
	cpuid(0x40000001, r);
	if (r[0] & 1u << 6)
		wrmsr(MSR_PV_EOI, (uintptr_t)&pv_eoi | 1);
}

/* ---- the command line ---- */

/* One word; returns where the next one begins. */
static char *take_word(char *text, struct words *w)
{
	char *p = text;

	*w = (struct words){ .name = text, .op = *p };
	while (*p && *p != ' ' && *p != ':')
		p++;
	for (unsigned int i = 0; *p == ':' && i < 3; i++)
		for (p++; *p >= '0' && *p <= '9'; p++)
			w->numbers[i] = 10 * w->numbers[i] + *p - '0';
	if (*p && *p != ' ')
		fail("a word of the command line is none");
	while (*p == ' ')
		*p++ = '\0';
	return p;
}

static void measure(const struct words *w)
{
	switch (w->op) {
	case 'r':
	case 'w':
		measure_block(w);
		break;
	case 's':
	case 'g':
		measure_net(w);
		break;
	case 'l':
	case 'u':
		measure_line(w);
		break;
	default:
		fail("no such measurement");
	}
}

/* As the loader has it: addresses of 32 bits. */
struct multiboot {
	uint32_t flags, mem[2], boot_device, cmdline;
};

void guest_main(struct multiboot *info)
{
	static char text[512];
	const char *cmdline = (const char *)(uintptr_t)info->cmdline;
	struct words w;
	char *p = text;

	if (!(info->flags & 4))
		fail("no command line");
	for (uint32_t i = 0; i < sizeof(text) - 1 && cmdline[i]; i++)
		text[i] = cmdline[i];
	interrupts_init();
	/* QEMU puts the kernel's name before it. */
	while (*p && *p != '@')
		p++;
	if (!*p)
		fail("no @ before the first measurement");
	for (p++; *p == ' '; p++)
		;
	while (*p) {
		p = take_word(p, &w);
		measure(&w);
	}
	end(0);
}
