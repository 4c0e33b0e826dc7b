// SPDX-License-Identifier: GPL-2.0-only
#include "../rtc.h"
#include "../util.h"
#include "tap.h"

/* 2026-11-21 13:14:15 UTC, a Saturday. */
#define START 1795266855LL

static int64_t hands;
static struct irq_line irq;
static unsigned int irqs, alarms;
static struct rtc rtc;

static int64_t now(void)
{
	return hands;
}

static void set_irq(struct irq_line *line, bool level)
{
	(void)line;
	irqs += level;
}

static void alarm_rang(void *context)
{
	(void)context;
	alarms++;
}

static void set_up(void)
{
	hands = START * NS_PER_SECOND;
	irq = (struct irq_line){ .set = set_irq };
	irqs = alarms = 0;
	rtc_init(&rtc, &irq, now, 512 * MIB, GIB);
	rtc.alarm = alarm_rang;
	rtc.ram[0x0a] = 0x20;	/* no periodic flag, which else comes 1024 times a second */
}

static uint8_t get(uint8_t index)
{
	rtc.port.write(&rtc.port, 0, 1, index);
	return (uint8_t)rtc.port.read(&rtc.port, 1, 1);
}

static void set(uint8_t index, uint8_t value)
{
	rtc.port.write(&rtc.port, 0, 1, index);
	rtc.port.write(&rtc.port, 1, 1, value);
}

static void pass(int64_t ns)
{
	hands += ns;
	rtc_update(&rtc);
}

static void it_tells_the_hosts_time_in_bcd(void)
{
	set_up();
	CHECK(get(0) == 0x15 && get(2) == 0x14 && get(4) == 0x13);
	CHECK(get(6) == 7 && get(7) == 0x21 && get(8) == 0x11 && get(9) == 0x26);
	CHECK(get(0x32) == 0x20 && get(0x0d) == 0x80);
	hands += 50 * NS_PER_SECOND;
	CHECK(get(0) == 0x05 && get(2) == 0x15);
}

static void formats_are_binary_and_12_hours_on_demand(void)
{
	set_up();
	set(0x0b, 0x06);
	CHECK(get(0) == 15 && get(4) == 13 && get(9) == 26);
	set(0x0b, 0x00);
	CHECK(get(4) == 0x81);		/* 1 PM */
	hands += 11 * 3600 * NS_PER_SECOND;
	CHECK(get(4) == 0x12);		/* 12 AM */
}

static void a_guest_can_set_it(void)
{
	set_up();
	set(0x0b, 0x82);
	set(0x32, 0x19);
	set(9, 0x99);
	set(8, 0x12);
	set(7, 0x31);
	set(4, 0x23);
	set(2, 0x59);
	set(0, 0x58);
	hands += 100 * NS_PER_SECOND;
	CHECK(get(0) == 0x58);		/* stopped while SET is set */
	set(0x0b, 0x02);
	hands += 3 * NS_PER_SECOND;
	CHECK(get(0) == 0x01 && get(2) == 0 && get(4) == 0 && get(7) == 1 && get(8) == 1);
	CHECK(get(9) == 0 && get(0x32) == 0x20);
}

static void updates_are_announced(void)
{
	set_up();
	CHECK(!(get(0x0a) & 0x80));
	hands += NS_PER_SECOND - 100000;
	CHECK(get(0x0a) & 0x80);
	hands += 100000;
	CHECK(!(get(0x0a) & 0x80));
}

static void an_update_interrupts_where_enabled(void)
{
	set_up();
	pass(NS_PER_SECOND);
	CHECK(!irqs && get(0x0c) == 0x10 && get(0x0c) == 0);
	set(0x0b, 0x12);
	pass(NS_PER_SECOND);
	CHECK(irqs == 1 && irq.level && get(0x0c) == 0x90 && !irq.level);
	pass(NS_PER_SECOND / 2);
	CHECK(irqs == 1);
}

static void an_alarm_rings_at_its_time(void)
{
	set_up();
	set(1, 0x20);
	set(3, 0x14);
	set(5, 0x13);
	set(0x0b, 0x22);
	pass(4 * NS_PER_SECOND);
	CHECK(!irqs && !alarms);
	pass(NS_PER_SECOND);
	CHECK(irqs == 1 && alarms == 1 && get(0x0c) == 0xb0);
	pass(NS_PER_SECOND);
	CHECK(irqs == 1);
	pass(86400 * NS_PER_SECOND);
	CHECK(irqs == 2 && alarms == 2);
}

static void alarm_fields_may_match_anything(void)
{
	set_up();
	set(1, 0x30);
	set(3, 0xff);
	set(5, 0xc0);
	set(0x0b, 0x22);
	pass(15 * NS_PER_SECOND);
	CHECK(irqs == 1);
	get(0x0c);
	pass(60 * NS_PER_SECOND);
	CHECK(irqs == 2);
}

static void the_periodic_interrupt_has_its_rate(void)
{
	set_up();
	set(0x0a, 0x2f);	/* 2 Hz */
	set(0x0b, 0x42);
	get(0x0c);
	pass(499 * NS_PER_SECOND / 1000);
	CHECK(!irqs);
	pass(NS_PER_SECOND / 1000);
	CHECK(irqs == 1 && get(0x0c) & 0x40);
	set(0x0a, 0x20);	/* off */
	pass(NS_PER_SECOND);
	CHECK(!(get(0x0c) & 0x40));
}

static void the_rest_is_memory(void)
{
	set_up();
	set(0x40, 0xa5);
	CHECK(get(0x40) == 0xa5 && get(0xc0) == 0xa5);
	CHECK(get(0x17) == 0x00 && get(0x18) == 0xfc);		/* 63 MiB in KiB */
	CHECK(get(0x34) == 0x00 && get(0x35) == 0x1f);		/* 496 MiB in 64 KiB */
	CHECK(get(0x5b) == 0x00 && get(0x5c) == 0x40 && get(0x5d) == 0);
}

/* The fields of a time may be any bytes. */
static void random_accesses_do_no_damage(void)
{
	uint32_t seed = 3;

	set_up();
	for (unsigned int i = 0; i < 50000; i++) {
		seed = seed * 1664525 + 1013904223;
		hands += seed >> 8;
		if (seed >> 31)
			set(seed >> 16 & 0x3f, (uint8_t)(seed >> 24));
		else
			get(seed >> 16 & 0xff);
	}
	set(0x0b, 0x02);
	CHECK(get(0x0d) == 0x80);
}

static const struct test tests[] = {
	TEST(it_tells_the_hosts_time_in_bcd),
	TEST(formats_are_binary_and_12_hours_on_demand),
	TEST(a_guest_can_set_it),
	TEST(updates_are_announced),
	TEST(an_update_interrupts_where_enabled),
	TEST(an_alarm_rings_at_its_time),
	TEST(alarm_fields_may_match_anything),
	TEST(the_periodic_interrupt_has_its_rate),
	TEST(the_rest_is_memory),
	TEST(random_accesses_do_no_damage),
	TESTS_END
};

const struct suite suite_rtc = { "rtc", tests };
