// SPDX-License-Identifier: GPL-2.0-only
#include "rtc.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "error.h"
#include "util.h"

/* Registers (table 3 of the datasheet; the century is the PC's own). */
enum {
	SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM,
	WEEKDAY, DAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D,
	CENTURY = 0x32,
};

#define A_UPDATING	0x80
#define A_RATE		0x0f
#define A_RESET		0x26	/* 32768 Hz, 1024 Hz */
#define B_SET		0x80
#define B_PERIODIC	0x40
#define B_ALARM		0x20
#define B_UPDATED	0x10
#define B_BINARY	0x04
#define B_24H		0x02
#define B_INTERRUPTS	(B_PERIODIC | B_ALARM | B_UPDATED)
#define C_IRQ		0x80
#define D_VALID		0x80
#define HOUR_PM		0x80
#define ALARM_ANY	0xc0	/* both bits set: matches every value */

/* An update takes 244 us before the second's edge in which the time must not be read. */
#define UPDATE_NS	244000
#define DAY_SECONDS	86400

/* Memory sizes that PC firmware leaves for kernels without a better source. */
#define CMOS_EXT_KIB	0x17	/* and 0x30: above 1 MiB, in KiB, at most 63 MiB */
#define CMOS_EXT_KIB2	0x30
#define CMOS_EXT_64KIB	0x34	/* above 16 MiB, in 64 KiB */
#define CMOS_HIGH_64KIB	0x5b	/* above 4 GiB, in 64 KiB, three bytes */

/* In seconds: in nanoseconds, the years that a guest may set would not fit. */
static int64_t guest_second(const struct rtc *rtc)
{
	return rtc->now() / NS_PER_SECOND + rtc->offset;
}

static uint8_t encode(const struct rtc *rtc, int value)
{
	if (rtc->ram[REG_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t value)
{
	if (rtc->ram[REG_B] & B_BINARY)
		return value;
	return (value >> 4) * 10 + (value & 0xf);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	if (rtc->ram[REG_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
	if (rtc->ram[REG_B] & B_24H)
		return decode(rtc, value);
	return decode(rtc, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

static void put_time(struct rtc *rtc, int64_t seconds)
{
	time_t t = seconds;
	struct tm tm = { 0 };

	gmtime_r(&t, &tm);
	rtc->ram[SECONDS] = encode(rtc, tm.tm_sec);
	rtc->ram[MINUTES] = encode(rtc, tm.tm_min);
	rtc->ram[HOURS] = encode_hour(rtc, tm.tm_hour);
	rtc->ram[WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->ram[DAY] = encode(rtc, tm.tm_mday);
	rtc->ram[MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->ram[YEAR] = encode(rtc, tm.tm_year % 100);
	rtc->ram[CENTURY] = encode(rtc, (tm.tm_year + 1900) / 100 % 100);
}

/* Any bytes will do: timegm() carries what is out of range. */
static int64_t get_time(const struct rtc *rtc)
{
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->ram[SECONDS]),
		.tm_min = decode(rtc, rtc->ram[MINUTES]),
		.tm_hour = decode_hour(rtc, rtc->ram[HOURS]),
		.tm_mday = decode(rtc, rtc->ram[DAY]),
		.tm_mon = decode(rtc, rtc->ram[MONTH]) - 1,
		.tm_year = decode(rtc, rtc->ram[CENTURY]) * 100 +
			   decode(rtc, rtc->ram[YEAR]) - 1900,
	};

	return timegm(&tm);
}

static bool is_time(uint8_t index)
{
	return index == CENTURY || (index <= YEAR && index != SECONDS_ALARM &&
				    index != MINUTES_ALARM && index != HOURS_ALARM);
}

static bool alarm_field(uint8_t alarm, uint8_t now)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == now;
}

static bool alarm_at(const struct rtc *rtc, int64_t second)
{
	int day = (int)(((second % DAY_SECONDS) + DAY_SECONDS) % DAY_SECONDS);

	return alarm_field(rtc->ram[SECONDS_ALARM], encode(rtc, day % 60)) &&
	       alarm_field(rtc->ram[MINUTES_ALARM], encode(rtc, day / 60 % 60)) &&
	       alarm_field(rtc->ram[HOURS_ALARM], encode_hour(rtc, day / 3600));
}

static void ring(struct rtc *rtc)
{
	rtc->ram[REG_C] |= B_ALARM;
	if (rtc->alarm && rtc->ram[REG_B] & B_ALARM)
		rtc->alarm(rtc->alarm_context);
}

/* Update-ended and alarm flags for the seconds since the last look. */
static void advance_seconds(struct rtc *rtc)
{
	int64_t second = guest_second(rtc);

	if (second == rtc->seen)
		return;
	rtc->ram[REG_C] |= B_UPDATED;
	/* The clock may have been set, either way; a day covers every alarm. */
	if (second < rtc->seen || second - rtc->seen > DAY_SECONDS)
		rtc->seen = second - 1;
	while (rtc->seen < second)
		if (alarm_at(rtc, ++rtc->seen))
			ring(rtc);
}

/* Length of the periodic interrupt's period (table 5), 0 for none. */
static int64_t period_ns(const struct rtc *rtc)
{
	int rate = rtc->ram[REG_A] & A_RATE;

	if (!rate)
		return 0;
	if (rate <= 2)		/* 1 and 2 repeat the rates of 8 and 9 at 32768 Hz */
		rate += 7;
	return NS_PER_SECOND / (32768 >> (rate - 1));
}

static void advance_period(struct rtc *rtc)
{
	int64_t period = period_ns(rtc), now = rtc->now();

	if (!period || (now >= rtc->period_start && now - rtc->period_start < period))
		return;
	rtc->ram[REG_C] |= B_PERIODIC;
	rtc->period_start = now - now % period;
}

static void update(struct rtc *rtc)
{
	bool irq;

	if (!(rtc->ram[REG_B] & B_SET))
		advance_seconds(rtc);
	advance_period(rtc);
	irq = rtc->ram[REG_C] & rtc->ram[REG_B] & B_INTERRUPTS;
	if (irq)
		rtc->ram[REG_C] |= C_IRQ;
	irq_set(rtc->irq, irq);
}

void rtc_update(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

/* The timer runs only while an interrupt is enabled: on the second, or on the period. */
static void set_timer(struct rtc *rtc)
{
	struct itimerspec every = { 0 };
	int64_t ns = 0, now;

	if (rtc->tick.fd < 0)
		return;
	if (rtc->ram[REG_B] & (B_ALARM | B_UPDATED))
		ns = NS_PER_SECOND;
	if (rtc->ram[REG_B] & B_PERIODIC && period_ns(rtc))
		ns = period_ns(rtc);
	if (ns) {
		now = rtc->now();
		now += ns - now % ns;
		every.it_value.tv_sec = now / NS_PER_SECOND;
		every.it_value.tv_nsec = now % NS_PER_SECOND;
		every.it_interval.tv_sec = ns / NS_PER_SECOND;
		every.it_interval.tv_nsec = ns % NS_PER_SECOND;
	}
	timerfd_settime(rtc->tick.fd, TFD_TIMER_ABSTIME, &every, NULL);
}

static uint8_t read_a(const struct rtc *rtc)
{
	bool updating = !(rtc->ram[REG_B] & B_SET) &&
			rtc->now() % NS_PER_SECOND >= NS_PER_SECOND - UPDATE_NS;

	return rtc->ram[REG_A] | (updating ? A_UPDATING : 0);
}

static uint8_t read_c(struct rtc *rtc)
{
	uint8_t c;

	update(rtc);
	c = rtc->ram[REG_C];
	rtc->ram[REG_C] = 0;
	irq_set(rtc->irq, false);
	return c;
}

static uint8_t read_register(struct rtc *rtc)
{
	if (is_time(rtc->index) && !(rtc->ram[REG_B] & B_SET))
		put_time(rtc, guest_second(rtc));
	switch (rtc->index) {
	case REG_A:
		return read_a(rtc);
	case REG_C:
		return read_c(rtc);
	case REG_D:
		return D_VALID;
	default:
		return rtc->ram[rtc->index];
	}
}

static void take_time(struct rtc *rtc)
{
	rtc->offset = get_time(rtc) - rtc->now() / NS_PER_SECOND;
	rtc->seen = guest_second(rtc);
}

static void write_time(struct rtc *rtc, uint8_t value)
{
	if (rtc->ram[REG_B] & B_SET) {
		rtc->ram[rtc->index] = value;
		return;
	}
	put_time(rtc, guest_second(rtc));
	rtc->ram[rtc->index] = value;
	take_time(rtc);
}

static void write_b(struct rtc *rtc, uint8_t value)
{
	uint8_t before = rtc->ram[REG_B];

	if (!(before & B_SET) && value & B_SET)
		put_time(rtc, guest_second(rtc));
	rtc->ram[REG_B] = value & B_SET ? value & ~B_UPDATED : value;
	if (before & B_SET && !(value & B_SET))
		take_time(rtc);
	update(rtc);
	set_timer(rtc);
}

static void write_register(struct rtc *rtc, uint8_t value)
{
	if (is_time(rtc->index)) {
		write_time(rtc, value);
		return;
	}
	switch (rtc->index) {
	case REG_A:
		rtc->ram[REG_A] = value & ~A_UPDATING;
		set_timer(rtc);
		break;
	case REG_B:
		write_b(rtc, value);
		break;
	case REG_C:
	case REG_D:
		break;	/* read-only */
	default:
		rtc->ram[rtc->index] = value;
	}
}

static uint32_t rtc_read(struct port_device *device, uint16_t offset, uint8_t size)
{
	struct rtc *rtc = container_of(device, struct rtc, port);
	uint8_t value;

	(void)size;
	if (!offset)
		return 0xff;	/* the index is write-only */
	pthread_mutex_lock(&rtc->lock);
	value = read_register(rtc);
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

static void rtc_write(struct port_device *device, uint16_t offset, uint8_t size, uint32_t value)
{
	struct rtc *rtc = container_of(device, struct rtc, port);

	(void)size;
	pthread_mutex_lock(&rtc->lock);
	if (offset)
		write_register(rtc, (uint8_t)value);
	else
		rtc->index = value & (RTC_RAM - 1);	/* bit 7 gates NMI on a PC */
	pthread_mutex_unlock(&rtc->lock);
}

static void tick_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	loop_consume(source->fd);
	rtc_update(container_of(source, struct rtc, tick));
}

static void put16(uint8_t *at, uint64_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

void rtc_init(struct rtc *rtc, struct irq_line *irq, clock_fn now, uint64_t low_size,
	      uint64_t high_size)
{
	memset(rtc, 0, sizeof(*rtc));
	rtc->port = (struct port_device){ "real-time clock", RTC_PORT, 2, true, rtc_read,
					  rtc_write };
	rtc->irq = irq;
	rtc->now = now;
	rtc->tick = (struct loop_source){ -1, tick_ready };
	rtc->ram[REG_A] = A_RESET;
	rtc->ram[REG_B] = B_24H;
	rtc->seen = guest_second(rtc);
	rtc->period_start = now();
	put16(rtc->ram + CMOS_EXT_KIB, min_u64((low_size - MIB) / KIB, 63 * KIB));
	put16(rtc->ram + CMOS_EXT_KIB2, min_u64((low_size - MIB) / KIB, 63 * KIB));
	if (low_size > 16 * MIB)
		put16(rtc->ram + CMOS_EXT_64KIB, (low_size - 16 * MIB) / (64 * KIB));
	put16(rtc->ram + CMOS_HIGH_64KIB, high_size / (64 * KIB));
	rtc->ram[CMOS_HIGH_64KIB + 2] = (uint8_t)(high_size / (64 * KIB) >> 16);
	pthread_mutex_init(&rtc->lock, NULL);
}

int rtc_start(struct rtc *rtc, struct loop *loop)
{
	rtc->tick.fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (rtc->tick.fd < 0)
		return error_set("timerfd_create: %s; free file descriptors (ulimit -n)",
				 strerror(errno));
	return loop_add(loop, &rtc->tick, EPOLLIN);
}

void rtc_close(struct rtc *rtc)
{
	if (rtc->tick.fd >= 0)
		close(rtc->tick.fd);
	rtc->tick.fd = -1;
}
