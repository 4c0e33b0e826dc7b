// SPDX-License-Identifier: GPL-2.0-only
#include "ending.h"

#include <stdio.h>

#include "loop.h"

void ending_init(struct ending *ending, int wake)
{
	pthread_mutex_init(&ending->lock, NULL);
	ending->wake = wake;
	ending->over = false;
	ending->status = 0;
	ending->sentence[0] = '\0';
}

bool end_run(struct ending *ending, int status, const char *sentence)
{
	bool first;

	pthread_mutex_lock(&ending->lock);
	first = !ending->over;
	if (first) {
		ending->over = true;
		ending->status = status;
		snprintf(ending->sentence, sizeof(ending->sentence), "%s", sentence);
	}
	pthread_mutex_unlock(&ending->lock);
	if (first && ending->wake >= 0)
		loop_wake(ending->wake);
	return first;
}
