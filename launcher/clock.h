/* SPDX-License-Identifier: GPL-2.0-only */
/* Time for device models: nanoseconds from a function, so that tests can turn the hands. */
#ifndef KILN_CLOCK_H
#define KILN_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_SECOND 1000000000LL

typedef int64_t (*clock_fn)(void);

static inline int64_t clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static inline int64_t clock_monotonic(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static inline int64_t clock_realtime(void)
{
	return clock_ns(CLOCK_REALTIME);
}

#endif
