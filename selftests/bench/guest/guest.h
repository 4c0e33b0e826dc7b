/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest that measures devices: what its parts share. It runs on one CPU in 64-bit mode, as Linux does, with the
 * first 4 GiB mapped one to one, so an address is a physical one. It drives virtio-pci devices (modern, split rings,
 * event index, MSI-X) as Linux does, too: halted while it waits, one kick for what it has at hand, one interrupt for
 * what came back meanwhile.
 */
#ifndef KILN_BENCH_GUEST_H
#define KILN_BENCH_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE	4096u

/* ---- the CPU ---- */

static inline void outb(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
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

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* The low half: no measurement takes 2^32 ticks. */
static inline uint32_t ticks(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return low;
}

static inline void barrier(void)
{
	asm volatile("" : : : "memory");
}

/* Stores before it are seen before loads after it. */
static inline void full_barrier(void)
{
	asm volatile("lock; addl $0, (%%rsp)" : : : "memory", "cc");
}

/* ---- main.c ---- */

/* Says why, and ends the run with an error. */
void fail(const char *what) __attribute__((noreturn));
/* A character of output: to the serial port, unless somebody has set it to more. */
extern void (*put)(char c);
void print(const char *text);
void print_number(uint32_t value);
char *copy(void *to, const void *from, uint32_t len);
void fill(void *to, uint8_t byte, uint32_t len);

/* Memory for good, aligned to a page and zero. */
void *pages(uint32_t bytes);

/* 32 bits that look random, the same in each run. */
uint32_t noise(void);

/* Halts until the condition holds; interrupts are on only meanwhile. */
#define wait_until(condition)					\
	while (!(condition))					\
		asm volatile("sti; hlt; cli" : : : "memory")

/* ---- virtio.c ---- */

#define MSI_VECTOR	0x50

#define VIRTIO_NET	1
#define VIRTIO_BLOCK	2
#define VIRTIO_CONSOLE	3

#define QUEUES	2
#define NUM	256

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define DESC_NEXT	1
#define DESC_WRITE	2
#define DESC_INDIRECT	4

struct used_elem {
	uint32_t id, len;
};

/* Of @num entries; avail and used end with the other side's event index. */
struct queue {
	uint32_t num;
	struct desc *desc;
	volatile uint16_t *avail;	/* flags, index, ring, used_event */
	volatile uint16_t *used;	/* flags, index, struct used_elem ring, avail_event */
	volatile uint16_t *doorbell;
	uint16_t number;
	uint16_t added, kicked, seen;
};

struct device {
	uint16_t where;			/* bus, slot, function */
	volatile uint8_t *common, *config, *notify;
	uint32_t multiplier;
	struct queue queues[QUEUES];
};

/* The devices of a type, in the order of the bus; returns how many. Each works when it returns. */
unsigned int devices_start(uint32_t type, uint32_t features, struct device *devices, unsigned int max);

/* Makes a descriptor available, and later the device told of all of them. */
void queue_add(struct queue *q, uint16_t head);
void queue_kick(struct queue *q);

static inline bool queue_has_used(const struct queue *q)
{
	return q->used[1] != q->seen;
}

/* Takes one that was used, which there is. Returns its descriptor. */
uint16_t queue_take(struct queue *q, uint32_t *len);

/* From now on an interrupt comes with the @nr'th that is used. */
void queue_want(struct queue *q, uint16_t nr);

/* ---- the measurements: each prints its result ---- */

struct words {
	const char *name;		/* the whole word, as it was given */
	char op;
	uint32_t numbers[3];		/* what follows it */
};

void measure_block(const struct words *w);
void measure_net(const struct words *w);
void measure_line(const struct words *w);

/* "NAME: TICKS / OPERATIONS" */
void report(const struct words *w, uint32_t ticks, uint32_t operations);

#endif
