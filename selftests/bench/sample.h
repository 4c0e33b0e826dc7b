/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Samples that a guest takes of itself, for the rows that are guest code. Variables and functions marked __guest are
 * the guest's; the host reads them by GUEST() of vm.h.
 */
#ifndef KILN_BENCH_SAMPLE_H
#define KILN_BENCH_SAMPLE_H

#include "guest.h"
#include "vm.h"

#define SAMPLES		1001
#define WARM_UP		50
#define VECTOR		0x71
#define TOUCH_GPA	0x40000000UL

extern uint64_t samples[SAMPLES];
extern uint64_t overhead;		/* of reading the TSC twice with nothing between */
extern volatile uint64_t stamp;		/* a handler's, or the sum of the touches */
extern uint64_t touch_start, touch_pages, touch_stride;

__guest void calibrate(void);		/* sets overhead */
__guest void stamp_eoi(struct trap *t);	/* set stamp at their first step */
__guest void stamp_x2eoi(struct trap *t);
__guest void touches(void);		/* touch_pages writes from touch_start on, touch_stride bytes apart */

/* GUEST_ROW(name, preparation, operation): the guest code of a row. */
#define GUEST_ROW(name, prepare, operation)				\
static __guest void name##_guest(void)					\
{									\
	uint32_t r[4];							\
									\
	(void)r;							\
	calibrate();							\
	prepare;							\
	for (int i = -WARM_UP; i < SAMPLES; i++) {			\
		uint64_t t = rdtsc();					\
									\
		operation;						\
		t = rdtsc() - t;					\
		if (i >= 0)						\
			samples[i] = t;					\
	}								\
	guest_done();							\
}

/* IPI_GUEST(...): interrupts one at a time, each taken before the next; "value" of each is a sample. */
#define IPI_GUEST(name, prepare, handler, send, value)			\
static __guest void name##_guest(void)					\
{									\
	calibrate();							\
	prepare;							\
	guest_handlers[VECTOR] = handler;				\
	sti();								\
	for (int i = -WARM_UP; i < SAMPLES; i++) {			\
		uint64_t t;						\
									\
		stamp = 0;						\
		t = rdtsc();						\
		send;							\
		while (!stamp)						\
			pause_cpu();					\
		t = value;						\
		if (i >= 0)						\
			samples[i] = t;					\
	}								\
	cli();								\
	guest_done();							\
}

bool serve(struct vcpu *vcpu);		/* to the guest's end; false: it was another end than "done" */
int64_t sampled(struct vcpu *vcpu);	/* serves a GUEST_ROW or IPI_GUEST; the median of its samples */
int64_t touched(struct vcpu *vcpu);	/* serves touches(); the mean of them */

/* Aligned to 2M and with huge pages or without, as advised; NULL where there is none. */
void *touch_memory(size_t size, int advice);

#endif
