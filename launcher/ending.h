/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a run ends. The first to end it decides; whoever comes later, on any
 * thread, is ignored. The loop learns of it through an eventfd.
 */
#ifndef KILN_ENDING_H
#define KILN_ENDING_H

#include <pthread.h>
#include <stdbool.h>

struct ending {
	pthread_mutex_t lock;
	int wake;		/* eventfd, or -1: nobody to wake */
	bool over;		/* [lock] the rest is set */
	int status;		/* [lock] exit status */
	char sentence[512];	/* [lock] why, "" where the status says it all */
};

void ending_init(struct ending *ending, int wake);

/* True where this call decided. @sentence may be "". */
bool end_run(struct ending *ending, int status, const char *sentence);

#endif
