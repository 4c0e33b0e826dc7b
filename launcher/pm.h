/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ACPI fixed hardware (ACPI 6.4 §4.8): PM1 event and control registers with
 * the power button, S5, the PM timer, and the reset register. acpi/fadt.asl
 * tells guests these ports.
 */
#ifndef KILN_PM_H
#define KILN_PM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "clock.h"
#include "ending.h"
#include "irq.h"
#include "loop.h"

#define PM_PORT		0x600	/* event 0x600, control 0x604, timer 0x608 */
#define PM_GSI		9
#define PM_RESET_PORT	0xcf9
#define PM_SLEEP_OFF	5	/* SLP_TYP of S5, as in acpi/dsdt.asl */
#define PM_TIMER_HZ	3579545

struct pm {
	struct port_device port, reset;
	struct irq_line *irq;
	struct ending *ending;
	clock_fn now;			/* monotonic */
	struct loop_source carry;	/* timerfd, armed while the timer's interrupt is enabled */
	int64_t start;			/* when the timer was 0 */
	pthread_mutex_t lock;
	/* All below: [lock], reset by pm_init(). */
	uint16_t status, enable, control;
	uint64_t ticks_seen;		/* of the timer, when TMR_STS was last brought up to date */
	uint8_t reset_value;
};

/* What became of the button. */
enum pm_button {
	PM_BUTTON_NOT_ENABLED,	/* the guest never asked for it */
	PM_BUTTON_PENDING,	/* the guest has not taken the event */
	PM_BUTTON_TAKEN,
};

void pm_init(struct pm *pm, struct irq_line *irq, struct ending *ending, clock_fn now);

/* Gives it the timer that its carry interrupt needs. -1 with a sentence. */
int pm_start(struct pm *pm, struct loop *loop);
void pm_close(struct pm *pm);

void pm_press_button(struct pm *pm);

/* The real-time clock's alarm went off: @pm is the struct pm, as rtc.h's alarm(). */
void pm_rtc_alarm(void *pm);

enum pm_button pm_button_state(struct pm *pm);

/* Half a sentence: why a guest with the button in this state runs on. */
const char *pm_button_explain(enum pm_button state);

#endif
