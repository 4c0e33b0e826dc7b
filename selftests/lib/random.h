/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Randomness that can be had again: every random test prints its seed, and KILN_SEED repeats it. KILN_ROUNDS multiplies
 * how long the random suites go on.
 */
#ifndef KILN_SELFTESTS_RANDOM_H
#define KILN_SELFTESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_state;

static inline void set_seed(uint64_t seed)
{
	random_state = seed * 2 + 1;
}

/* The seed of a test: the given one, or one from the clock. */
static inline uint64_t seed_random(const char *what)
{
	const char *given = getenv("KILN_SEED");
	uint64_t seed = given && *given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

	printf("# %s: KILN_SEED=%llu\n", what, (unsigned long long)seed);
	fflush(stdout);
	set_seed(seed);
	return seed;
}

static inline unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *given = getenv(name);
	unsigned long v = given ? strtoul(given, NULL, 0) : 0;

	return v ? v : otherwise;
}

/* Marsaglia's xorshift: every bit is as good as the others. */
static inline uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static inline bool one_in(unsigned int n)
{
	return next_random() % n == 0;
}

static inline void fill_random(void *p, size_t size)
{
	uint8_t *bytes = p;

	while (size--)
		*bytes++ = next_random() >> 24;
}

static inline void random_bit(void *p, size_t size)
{
	uint64_t bit = next_random() % (size * 8);

	((uint8_t *)p)[bit / 8] ^= 1 << bit % 8;
}

#endif
