/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The event loop: epoll over everything that is not a vCPU. Sources are
 * embedded in their owners, who find themselves with container_of(). Only the
 * main thread runs the loop and changes the set.
 */
#ifndef KILN_LOOP_H
#define KILN_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop_source {
	int fd;
	/* Called with EPOLL* bits. */
	void (*ready)(struct loop_source *source, uint32_t events);
};

struct loop {
	int fd;
	bool stopped;
};

/* All return 0, or -1 with a sentence. */
int loop_create(struct loop *loop);
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events);
int loop_modify(struct loop *loop, struct loop_source *source, uint32_t events);
int loop_run(struct loop *loop);	/* until loop_stop() */

void loop_remove(struct loop *loop, struct loop_source *source);
void loop_stop(struct loop *loop);
void loop_destroy(struct loop *loop);

/* An eventfd to wake the loop from any thread; non-blocking. -1 with a sentence. */
int loop_eventfd(void);
void loop_wake(int eventfd);
/* Takes what was signalled, so that the source rests again. */
void loop_consume(int eventfd);

#endif
