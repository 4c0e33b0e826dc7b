// SPDX-License-Identifier: GPL-2.0-only
#include "say.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

static bool enabled;
static struct timespec start;

void say_enable(void)
{
	clock_gettime(CLOCK_MONOTONIC, &start);
	enabled = true;
}

void say(const char *fmt, ...)
{
	struct timespec now;
	char line[512];
	double seconds;
	va_list args;

	if (!enabled)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	seconds = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	fprintf(stderr, "kiln: [%9.6f] %s\n", seconds, line);
}
