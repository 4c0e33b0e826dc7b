// SPDX-License-Identifier: GPL-2.0-only
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

/* Per thread: vCPU threads fail on their own and hand their sentence over with the ending. */
static _Thread_local char sentence[512];

int error_set(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);
	/* A file name may hold a newline; one error stays one line. */
	for (char *p = sentence; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = '?';
	return -1;
}

const char *error_text(void)
{
	return sentence;
}
