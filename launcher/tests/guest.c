// SPDX-License-Identifier: GPL-2.0-only
/*
 * A Multiboot kernel that does what its command line says, one word after the
 * other, and reports on the serial port. tests/boot runs it.
 */
#include "guest.h"

#define COM1	0x3f8
#define PM	0x600

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr;
};

struct module {
	uint32_t start, end, string, reserved;
};

struct mmap {
	uint32_t size;
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

__attribute__((section(".multiboot"), used, aligned(4)))
static const uint32_t header[3] = { 0x1badb002, 3, -(0x1badb002u + 3) };

static uint8_t stack[16384] __attribute__((aligned(16), used));

static void put(char c)
{
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, (uint8_t)c);
}

void say(const char *text)
{
	while (*text)
		put(*text++);
}

void say_hex(uint64_t value)
{
	int shift = 60;

	while (shift && !(value >> shift & 15))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		put("0123456789abcdef"[value >> shift & 15]);
}

const char *after(const char *text, const char *word)
{
	while (*word)
		if (*text++ != *word++)
			return 0;
	return text;
}

static void report(const struct info *info)
{
	const struct module *module = (const struct module *)info->mods_addr;
	uint32_t at = info->mmap_addr;

	say("guest: ");
	say((const char *)info->cmdline);
	say("\n");
	while (at < info->mmap_addr + info->mmap_length) {
		const struct mmap *map = (const struct mmap *)at;

		say("map: ");
		say_hex(map->base);
		say(" ");
		say_hex(map->length);
		say(map->type == 1 ? " ram\n" : " reserved\n");
		at += map->size + 4;
	}
	for (uint32_t i = 0; i < info->mods_count; i++, module++) {
		say("module: ");
		say((const char *)module->string);
		say(": ");
		for (uint32_t p = module->start; p < module->end; p++)
			put(*(const char *)p);
		say("\n");
	}
}

static void triple_fault(void)
{
	const struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) none = { 0, 0 };

	asm volatile("lidt %0; ud2" : : "m"(none));
}

/* Waits for the power button and powers off, as a driver polling it would. */
static void wait_for_button(void)
{
	outw(PM + 2, 0x100);
	say("waiting\n");
	while (!(inw(PM) & 0x100))
		;
	outw(PM, 0x100);
	say("pressed\n");
	outw(PM + 4, 0x2000 | 5 << 10);
}

/* 100 KiB, so that buffers on the way fill up. */
static void flood(void)
{
	for (unsigned int line = 0; line < 1600; line++) {
		for (unsigned int i = 0; i < 63; i++)
			put((char)('!' + (line + i) % 90));
		put('\n');
	}
}

static void echo(void)
{
	uint8_t c = 0;

	outb(COM1 + 2, 1);
	outb(COM1 + 4, 3);
	say("listening\n");
	while (c != '\n') {
		while (!(inb(COM1 + 5) & 1))
			;
		c = inb(COM1);
		put((char)c);
	}
}

static void string_io(void)
{
	static const char text[] = "string output\n";
	const char *from = text;
	uint32_t count = sizeof(text) - 1;

	asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(COM1) : "memory");
}

/* Nothing is there: reads give ones and writes are swallowed. */
static void empty_bus(void)
{
	volatile uint32_t *nowhere = (volatile uint32_t *)0xd0000000;

	*nowhere = 1;
	say(*nowhere == 0xffffffff && inw(0x5000) == 0xffff ? "ones\n" : "something\n");
}

/*
 * With interrupts on, and none to come: while they are off, Bochs 2.7 holds
 * back the host's interrupts too, and the machine around the guest stands
 * still with it.
 */
static void spin(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	asm volatile("sti");
	for (volatile unsigned int count = 0;; count++)
		;
}

static void act(const char *word)
{
	const char *value = after(word, "exit=");

	if (value)
		outb(0xf4, (uint8_t)(*value - '0'));
	if (after(word, "off"))
		outw(PM + 4, 0x2000 | 5 << 10);
	if (after(word, "keyboard"))
		outb(0x64, 0xfe);
	if (after(word, "cf9"))
		outb(0xcf9, 6);
	if (after(word, "triple"))
		triple_fault();
	if (after(word, "button"))
		wait_for_button();
	if (after(word, "flood"))
		flood();
	if (after(word, "echo"))
		echo();
	if (after(word, "string"))
		string_io();
	if (after(word, "empty"))
		empty_bus();
	if (after(word, "spin"))
		spin();
	act_rng(word);
}

__attribute__((used, noreturn))
static void run(uint32_t magic, const struct info *info)
{
	const char *at = (const char *)info->cmdline;

	if (magic == 0x2badb002)
		report(info);
	while (*at) {
		act(at);
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	say("nothing left to do\n");
	for (;;)
		asm volatile("cli; hlt");
}

asm(".globl start\n"
    "start:\n"
    "	mov $stack + 16384, %esp\n"
    "	push %ebx\n"
    "	push %eax\n"
    "	call run\n");
