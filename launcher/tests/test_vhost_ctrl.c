// SPDX-License-Identifier: GPL-2.0-only
/* The control queue of vhost-net's cards, on a ring that the test fills. */
#include <errno.h>
#include <linux/vhost.h>
#include <stdlib.h>

#include "../vhost_ctrl.h"
#include "tap.h"

#define SIZE		4
#define DESC		0x1000
#define AVAIL		0x2000
#define USED		0x3000
#define COMMAND		0x4000
#define ANSWER		0x5000
#define TABLE		0x6008	/* indirect tables need no alignment */

static struct guest_memory memory;
static struct vhost_ctrl ctrl;
static uint8_t seen[VHOST_CTRL_BYTES];
static size_t seen_len;
static unsigned int commands;
static bool agrees, notified, adds;

static struct vring_desc *desc(unsigned int index)
{
	return (struct vring_desc *)(memory.base + DESC) + index;
}

static struct vring_avail *avail(void)
{
	return (void *)(memory.base + AVAIL);
}

static struct vring_used *used(void)
{
	return (void *)(memory.base + USED);
}

static void make_available(uint16_t head)
{
	avail()->ring[avail()->idx % SIZE] = head;
	avail()->idx++;
}

static bool obey(void *opaque, const uint8_t bytes[VHOST_CTRL_BYTES], size_t len)
{
	(void)opaque;
	if (adds)
		make_available(0);
	memcpy(seen, bytes, sizeof(seen));
	seen_len = len;
	commands++;
	return agrees;
}

static const char *serve(void)
{
	return vhost_ctrl_serve(&ctrl, obey, NULL, &notified);
}

static void put_desc(void *at, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc value = { addr, len, flags, next };

	memcpy(at, &value, sizeof(value));
}

/* A queue before its first command, which is put as Linux does: header, data, answer. */
static void power_on(void)
{
	struct vhost_vring_state state = { 0, SIZE };
	struct vhost_vring_addr addr = { .index = 0 };

	if (!memory.base && guest_memory_create(&memory, MEMORY_MIN))
		abort();
	memset(memory.base, 0, 0x10000);
	addr.desc_user_addr = (uintptr_t)memory.base + DESC;
	addr.avail_user_addr = (uintptr_t)memory.base + AVAIL;
	addr.used_user_addr = (uintptr_t)memory.base + USED;
	ctrl = (struct vhost_ctrl){ .memory = &memory };
	vhost_ctrl_call(&ctrl, VHOST_SET_VRING_NUM, &state);
	vhost_ctrl_call(&ctrl, VHOST_SET_VRING_ADDR, &addr);
	memcpy(memory.base + COMMAND, (uint8_t[]){ 4, 0, 2, 0 }, 4);
	memory.base[ANSWER] = 0xff;
	put_desc(desc(0), COMMAND, 2, VRING_DESC_F_NEXT, 1);
	put_desc(desc(1), COMMAND + 2, 2, VRING_DESC_F_NEXT, 2);
	put_desc(desc(2), ANSWER, 1, VRING_DESC_F_WRITE, 0);
	commands = 0;
	agrees = true;
	adds = false;
}

static bool was_seen(void)
{
	return commands == 1 && seen_len == 4 && !memcmp(seen, (uint8_t[]){ 4, 0, 2, 0 }, 4);
}

static void a_command_is_taken_and_answered(void)
{
	power_on();
	CHECK(!serve() && !commands && !notified);
	make_available(0);
	CHECK(!serve() && was_seen() && notified);
	CHECK(memory.base[ANSWER] == 0);
	CHECK(used()->idx == 1 && used()->ring[0].id == 0 && used()->ring[0].len == 1);
	CHECK(!serve() && commands == 1 && !notified);
}

static void one_that_is_refused_is_answered_so(void)
{
	power_on();
	agrees = false;
	make_available(0);
	CHECK(!serve() && memory.base[ANSWER] == 1 && used()->idx == 1);
}

static void the_ring_goes_round(void)
{
	struct vhost_vring_state base = { 0, 0xfffe };

	power_on();
	vhost_ctrl_call(&ctrl, VHOST_SET_VRING_BASE, &base);
	avail()->idx = 0xfffe;
	for (unsigned int i = 0; i < SIZE; i++)
		make_available(0);
	CHECK(!serve() && commands == SIZE && used()->idx == 2);
	CHECK(!vhost_ctrl_call(&ctrl, VHOST_GET_VRING_BASE, &base) && base.num == 2);
}

static void a_command_may_be_in_an_indirect_table(void)
{
	power_on();
	for (unsigned int i = 0; i < 3; i++)
		put_desc(memory.base + TABLE + i * 16, desc(i)->addr, desc(i)->len, desc(i)->flags,
			 desc(i)->next);
	put_desc(desc(3), TABLE, 48, VRING_DESC_F_INDIRECT, 0);
	make_available(3);
	CHECK(!serve() && was_seen() && used()->ring[0].id == 3);
}

static void of_a_long_one_the_start_is_seen(void)
{
	power_on();
	desc(1)->len = 1000;
	make_available(0);
	CHECK(!serve() && commands == 1 && seen_len == 1002 && seen[2] == 2);
}

static void a_driver_that_wants_no_interrupt_gets_none(void)
{
	power_on();
	avail()->flags = VRING_AVAIL_F_NO_INTERRUPT;
	make_available(0);
	CHECK(!serve() && commands == 1 && !notified);
}

static void an_event_index_is_kept_and_heeded(void)
{
	uint16_t *used_event, *avail_event;

	power_on();
	ctrl.event_idx = true;
	used_event = &avail()->ring[SIZE];
	avail_event = (uint16_t *)&used()->ring[SIZE];
	*used_event = 1;
	make_available(0);
	CHECK(!serve() && !notified && *avail_event == 1);
	make_available(0);
	CHECK(!serve() && notified && *avail_event == 2);
}

/* Another vCPU adds one while one is answered, each time: its kick, not this one, is for that. */
static void who_goes_on_adding_keeps_nobody(void)
{
	uint16_t *avail_event;

	power_on();
	ctrl.event_idx = true;
	avail_event = (uint16_t *)&used()->ring[SIZE];
	adds = true;
	make_available(0);
	make_available(0);
	CHECK(!serve() && commands == 2 && used()->idx == 2 && avail()->idx == 4);
	CHECK(*avail_event == 2);	/* so that the third was kicked for */
	adds = false;
	CHECK(!serve() && commands == 4 && used()->idx == 4 && *avail_event == 4);
}

static void what_no_ring_may_be_is_refused(void)
{
	static const unsigned int sizes[] = { 0, 3, 2048, 65536 };
	struct vhost_vring_addr addr = { .desc_user_addr = 8 };

	power_on();
	for (unsigned int i = 0; i < 4; i++) {
		struct vhost_vring_state state = { 0, sizes[i] };

		CHECK(vhost_ctrl_call(&ctrl, VHOST_SET_VRING_NUM, &state) == -1 && errno == EINVAL);
	}
	CHECK(vhost_ctrl_call(&ctrl, VHOST_SET_VRING_ADDR, &addr) == -1 && errno == EINVAL);
	CHECK(ctrl.size == SIZE);
}

static void rules_broken_are_named(void)
{
	static const struct {
		struct vring_desc desc[SIZE];
		uint16_t head, available;
		const char *says;
	} rows[] = {
		{ { { COMMAND, 4, 0, 0 } }, 0, 1, "no room for its answer" },
		{ { { COMMAND, 1, 1, 1 }, { ANSWER, 1, 2, 0 } }, 0, 1, "no header" },
		{ { { ANSWER, 1, 3, 1 }, { COMMAND, 4, 0, 0 } }, 0, 1, "follows one that is written" },
		{ { { COMMAND, 4, 1, 0 } }, 0, 1, "does not end" },
		{ { { COMMAND, 4, 1, SIZE } }, 0, 1, "not in its table" },
		{ { { COMMAND, 4, 0, 0 } }, SIZE, 1, "not in its table" },
		{ { { MEMORY_MIN - 2, 4, 0, 0 } }, 0, 1, "not in the guest's memory" },
		{ { { UINT64_MAX, 4, 2, 0 } }, 0, 1, "not in the guest's memory" },
		{ { { TABLE, 40, 4, 0 } }, 0, 1, "indirect table" },
		{ { { TABLE, 0, 4, 0 } }, 0, 1, "indirect table" },
		{ { { TABLE, 32, 5, 0 } }, 0, 1, "indirect table" },
		{ { { MEMORY_MIN, 32, 4, 0 } }, 0, 1, "indirect table" },
		{ { { DESC, 16, 4, 0 } }, 0, 1, "indirect table" },
		{ { { COMMAND, 4, 0, 0 } }, 0, SIZE + 1, "more commands" },
	};

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *cause;

		power_on();
		memcpy(desc(0), rows[i].desc, sizeof(rows[i].desc));
		avail()->ring[0] = rows[i].head;
		avail()->idx = rows[i].available;
		cause = serve();
		CHECK(cause && strstr(cause, rows[i].says));
		CHECK(!commands && !used()->idx && !notified);
	}
}

static const struct test tests[] = {
	TEST(a_command_is_taken_and_answered),
	TEST(one_that_is_refused_is_answered_so),
	TEST(the_ring_goes_round),
	TEST(a_command_may_be_in_an_indirect_table),
	TEST(of_a_long_one_the_start_is_seen),
	TEST(a_driver_that_wants_no_interrupt_gets_none),
	TEST(an_event_index_is_kept_and_heeded),
	TEST(who_goes_on_adding_keeps_nobody),
	TEST(what_no_ring_may_be_is_refused),
	TEST(rules_broken_are_named),
	TESTS_END
};

const struct suite suite_vhost_ctrl = { "vhost_ctrl", tests };
