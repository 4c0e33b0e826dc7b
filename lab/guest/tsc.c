// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints the frequency of this host's time stamp counter in kHz. It is that of
 * a machine in QEMU's TCG, whose kernel, on a busy host, would measure it wrong
 * by any factor, and keep time by that.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define WINDOW_NS	100000000

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Both clocks at once: the closest of some pairs, for what may come in between. */
static void read_pair(int64_t *ns, uint64_t *tsc)
{
	uint64_t best = UINT64_MAX;
	int i;

	for (i = 0; i < 200; i++) {
		uint64_t before = __rdtsc(), after;
		int64_t t = now_ns();

		after = __rdtsc();
		if (after - before >= best)
			continue;
		best = after - before;
		*ns = t;
		*tsc = before + best / 2;
	}
}

int main(void)
{
	int64_t ns[2];
	uint64_t tsc[2];

	read_pair(&ns[0], &tsc[0]);
	do
		nanosleep(&(struct timespec){ .tv_nsec = WINDOW_NS }, NULL);
	while (now_ns() - ns[0] < WINDOW_NS);
	read_pair(&ns[1], &tsc[1]);
	printf("%.0f\n", (double)(tsc[1] - tsc[0]) * 1e6 / (double)(ns[1] - ns[0]));
	return 0;
}
