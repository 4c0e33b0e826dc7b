// SPDX-License-Identifier: GPL-2.0-only
#include "../pm.h"
#include "../status.h"
#include "tap.h"

static int64_t hands;
static struct irq_line irq;
static struct ending ending;
static struct pm pm;

static int64_t now(void)
{
	return hands;
}

static void set_irq(struct irq_line *line, bool level)
{
	(void)line;
	(void)level;
}

static void set_up(void)
{
	hands = 1000;
	irq = (struct irq_line){ .set = set_irq };
	ending_init(&ending, -1);
	pm_init(&pm, &irq, &ending, now);
}

static uint32_t in(uint16_t offset, uint8_t size)
{
	uint32_t value = pm.port.read(&pm.port, offset, size);

	return size == 4 ? value : value & ((1u << size * 8) - 1);
}

static void out(uint16_t offset, uint8_t size, uint32_t value)
{
	pm.port.write(&pm.port, offset, size, value);
}

static void the_timer_runs_at_its_frequency(void)
{
	set_up();
	CHECK(in(8, 4) == 0);
	hands += NS_PER_SECOND;
	CHECK(in(8, 4) == PM_TIMER_HZ);
	hands += 3600 * NS_PER_SECOND;
	CHECK(in(8, 4) == (uint32_t)(3601ULL * PM_TIMER_HZ));
	CHECK(in(9, 1) == (in(8, 4) >> 8 & 0xff));
	out(8, 4, 0);
	CHECK(in(8, 4) == (uint32_t)(3601ULL * PM_TIMER_HZ));
}

static void the_timers_carry_interrupts_where_enabled(void)
{
	set_up();
	out(2, 2, 1);
	CHECK(!irq.level);
	hands += 600 * NS_PER_SECOND;	/* 2^31 ticks take 599.9 s */
	CHECK(in(0, 2) & 1 && irq.level);
	out(0, 2, 1);
	CHECK(!(in(0, 2) & 1) && !irq.level);
}

static void the_button_interrupts_until_it_is_taken(void)
{
	set_up();
	pm_press_button(&pm);
	CHECK(!irq.level && pm_button_state(&pm) == PM_BUTTON_NOT_ENABLED);
	out(2, 2, 0x100);
	CHECK(irq.level && pm_button_state(&pm) == PM_BUTTON_PENDING);
	out(0, 2, 0x001);
	CHECK(irq.level);
	out(0, 2, 0x100);
	CHECK(!irq.level && pm_button_state(&pm) == PM_BUTTON_TAKEN);
}

static void registers_can_be_had_in_bytes_and_at_once(void)
{
	set_up();
	pm_press_button(&pm);
	CHECK(in(1, 1) == 1 && in(0, 1) == 0);
	out(3, 1, 1);
	CHECK(in(2, 2) == 0x100 && irq.level);
	CHECK(in(0, 4) == 0x01000100);
	out(0, 1, 0xff);	/* the low byte clears nothing of the high one */
	CHECK(in(0, 2) == 0x100);
	out(1, 1, 1);
	CHECK(in(0, 2) == 0);
}

static void acpi_mode_is_always_on(void)
{
	set_up();
	CHECK(in(4, 2) == 1);
	out(4, 2, 0);
	CHECK(in(4, 2) == 1);
}

static void s5_powers_off(void)
{
	set_up();
	out(4, 2, PM_SLEEP_OFF << 10);
	CHECK(!ending.over);
	out(4, 2, 0x2000 | 3 << 10);
	CHECK(!ending.over);
	out(4, 2, 0x2000 | PM_SLEEP_OFF << 10);
	CHECK(ending.over && ending.status == STATUS_OFF);
}

static void the_reset_register_resets(void)
{
	set_up();
	pm.reset.write(&pm.reset, 0, 1, 2);
	CHECK(!ending.over && pm.reset.read(&pm.reset, 0, 1) == 2);
	pm.reset.write(&pm.reset, 0, 1, 6);
	CHECK(ending.over && ending.status == STATUS_RESET);
}

static void random_accesses_do_no_damage(void)
{
	static const uint8_t sizes[] = { 1, 2, 4, 1 };
	uint32_t seed = 11;

	set_up();
	for (unsigned int i = 0; i < 100000; i++) {
		uint8_t size;
		uint16_t offset;

		seed = seed * 1664525 + 1013904223;
		size = sizes[seed >> 30];
		offset = (uint16_t)((seed >> 20) % (12 - size + 1));
		hands += seed;
		if (seed >> 16 & 1)
			out(offset, size, seed & ~0x20202020u);
		else
			in(offset, size);
	}
	CHECK(!ending.over);
}

static const struct test tests[] = {
	TEST(the_timer_runs_at_its_frequency),
	TEST(the_timers_carry_interrupts_where_enabled),
	TEST(the_button_interrupts_until_it_is_taken),
	TEST(registers_can_be_had_in_bytes_and_at_once),
	TEST(acpi_mode_is_always_on),
	TEST(s5_powers_off),
	TEST(the_reset_register_resets),
	TEST(random_accesses_do_no_damage),
	TESTS_END
};

const struct suite suite_pm = { "pm", tests };
