/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The real-time clock and its CMOS memory (MC146818A datasheet; IBM PC/AT for
 * the ports), ports 0x70 and 0x71, IRQ 8. It keeps the host's time in UTC,
 * shifted by what the guest sets.
 */
#ifndef KILN_RTC_H
#define KILN_RTC_H

#include <pthread.h>
#include <stdint.h>

#include "bus.h"
#include "clock.h"
#include "irq.h"
#include "loop.h"

#define RTC_PORT	0x70
#define RTC_GSI		8
#define RTC_RAM		128

struct rtc {
	struct port_device port;
	struct irq_line *irq;
	clock_fn now;		/* real time */
	struct loop_source tick;	/* timerfd, armed while an interrupt is wanted */
	/* Told when an enabled alarm goes off, with the lock held; NULL for nobody. */
	void (*alarm)(void *context);
	void *alarm_context;
	pthread_mutex_t lock;
	/* All below: [lock], reset by rtc_init(). */
	uint8_t index;
	uint8_t ram[RTC_RAM];	/* time registers are in it only while SET stops the clock */
	int64_t offset;		/* guest's seconds ahead of the host's */
	int64_t seen;		/* guest's second up to which flags are up to date */
	int64_t period_start;	/* ns; periodic flags up to date to here */
};

/* @low_size and @high_size: RAM, for the sizes that firmware leaves in CMOS. */
void rtc_init(struct rtc *rtc, struct irq_line *irq, clock_fn now, uint64_t low_size,
	      uint64_t high_size);

/* Gives it the timer that its interrupts need. -1 with a sentence. */
int rtc_start(struct rtc *rtc, struct loop *loop);
void rtc_close(struct rtc *rtc);

/* Brings flags and interrupt up to now; the timer calls it. */
void rtc_update(struct rtc *rtc);

#endif
