// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver for the first virtio rng on the PCI bus, without interrupts, and
 * drivers that break the rules. Each says what became of it:
 *
 *	rng		asks for 32 bytes
 *	rng-moved	the same after the BAR was moved
 *	rng-config	the same with the kick through configuration space
 *	rng-far		rings beyond the guest's memory
 *	rng-loop	a chain of descriptors that never ends
 *	rng-again	the same, then a reset and 32 bytes
 */
#include "guest.h"

#define BYTES		32
#define SIZE		8	/* entries of the ring */
#define POLLS		200000u

enum { STATUS = 20, SELECT = 22, QUEUE_SIZE = 24, ENABLE = 28, DESC = 32, DRIVER = 40, DEVICE = 48 };
enum { NEEDS_RESET = 0x40, WRITE = 2, NEXT = 1 };

static struct {
	struct {
		uint64_t address;
		uint32_t length;
		uint16_t flags, next;
	} desc[SIZE];
	struct {
		uint16_t flags, index, ring[SIZE], event;
	} avail;
	struct {
		uint16_t flags;
		volatile uint16_t index;
		struct {
			uint32_t id, length;
		} ring[SIZE];
		uint16_t event;
	} used __attribute__((aligned(4)));
} ring __attribute__((aligned(4096)));

static volatile uint8_t bytes[BYTES];
static uint32_t slot, bar, common, doorbell, window;

static uint32_t config_read(uint32_t at)
{
	outl(0xcf8, 0x80000000 | slot << 11 | (at & 0xfc));
	return inl(0xcfc);
}

static void config_write(uint32_t at, uint32_t value)
{
	outl(0xcf8, 0x80000000 | slot << 11 | (at & 0xfc));
	outl(0xcfc, value);
}

static int find(void)
{
	for (slot = 1; slot < 32; slot++)
		if (config_read(0) == 0x10441af4)
			return 1;
	return 0;
}

/* Where the structures lie in the BAR. */
static void read_capabilities(void)
{
	for (uint32_t at = config_read(0x34) & 0xff; at; at = config_read(at) >> 8 & 0xff) {
		if ((config_read(at) & 0xff) != 9)
			continue;
		switch (config_read(at) >> 24) {
		case 1:
			common = bar + config_read(at + 8);
			break;
		case 2:
			doorbell = bar + config_read(at + 8);
			break;
		case 5:
			window = at;
			break;
		}
	}
}

static void set_up(uint32_t move_to)
{
	if (move_to)
		config_write(0x10, move_to);
	bar = config_read(0x10) & ~15u;
	config_write(4, 6);
	read_capabilities();
}

static uint8_t status(void)
{
	return *(volatile uint8_t *)(common + STATUS);
}

static void set_status(uint8_t value)
{
	*(volatile uint8_t *)(common + STATUS) = value;
}

static void set16(uint32_t field, uint16_t value)
{
	*(volatile uint16_t *)(common + field) = value;
}

static void set64(uint32_t field, uint64_t value)
{
	*(volatile uint32_t *)(common + field) = (uint32_t)value;
	*(volatile uint32_t *)(common + field + 4) = (uint32_t)(value >> 32);
}

/* VERSION_1 and nothing else. */
static void negotiate(void)
{
	set_status(0);
	set_status(3);
	for (uint32_t i = 0; i < 2; i++) {
		*(volatile uint32_t *)(common + 8) = i;
		*(volatile uint32_t *)(common + 12) = i;
	}
	set_status(11);
}

static void start(uint64_t desc)
{
	negotiate();
	ring.avail.index = 0;
	ring.used.index = 0;
	set16(SELECT, 0);
	set16(QUEUE_SIZE, SIZE);
	set64(DESC, desc);
	set64(DRIVER, (uint32_t)&ring.avail);
	set64(DEVICE, (uint32_t)&ring.used);
	set16(ENABLE, 1);
	set_status(15);
}

static void kick_by_config(void)
{
	config_write(window + 4, 0);
	config_write(window + 8, doorbell - bar);
	config_write(window + 12, 2);
	config_write(window + 16, 0);
}

/* Offers descriptor 0; says what came of it. */
static void request(int by_config)
{
	uint32_t polls = 0;

	ring.avail.ring[0] = 0;
	asm volatile("" : : : "memory");
	ring.avail.index = 1;
	asm volatile("mfence" : : : "memory");
	if (by_config)
		kick_by_config();
	else
		*(volatile uint16_t *)doorbell = 0;
	while (!ring.used.index && !(status() & NEEDS_RESET) && ++polls < POLLS)
		;
	if (ring.used.index) {
		say("rng: bytes 0x");
		say_hex(ring.used.ring[0].length);
	} else {
		say("rng: status 0x");
		say_hex(status());
	}
	say("\n");
}

static void ask(int by_config)
{
	ring.desc[0].address = (uint32_t)bytes;
	ring.desc[0].length = BYTES;
	ring.desc[0].flags = WRITE;
	start((uint32_t)ring.desc);
	request(by_config);
}

static void loop(void)
{
	for (uint32_t i = 0; i < SIZE; i++) {
		ring.desc[i].address = (uint32_t)bytes;
		ring.desc[i].length = 1;
		ring.desc[i].flags = WRITE | NEXT;
		ring.desc[i].next = (i + 1) % SIZE;
	}
	start((uint32_t)ring.desc);
	request(0);
}

static void far(void)
{
	start(0xfee00000);
	say("rng: status 0x");
	say_hex(status());
	say("\n");
}

void act_rng(const char *word)
{
	const char *how = after(word, "rng");

	if (!how)
		return;
	if (!find()) {
		say("rng: none\n");
		return;
	}
	set_up(after(how, "-moved") ? 0xd8000000 : 0);
	if (after(how, "-far"))
		far();
	else if (after(how, "-loop"))
		loop();
	else if (after(how, "-again"))
		loop();
	else
		ask(after(how, "-config") != 0);
	if (after(how, "-again"))
		ask(0);
}
