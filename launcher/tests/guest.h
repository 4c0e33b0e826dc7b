/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the test guest share. */
#ifndef KILN_TESTS_GUEST_H
#define KILN_TESTS_GUEST_H

#include <stdint.h>

static inline void outb(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t value)
{
	asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t value;

	asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

void say(const char *text);
void say_hex(uint64_t value);

/* What follows @word in @text where it begins with it, else 0. */
const char *after(const char *text, const char *word);

/* A driver for the virtio rng, and what it does wrong (guest_rng.c): "rng", "rng-..." */
void act_rng(const char *word);

#endif
