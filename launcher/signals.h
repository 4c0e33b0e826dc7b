/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Signals to the launcher, taken by the event loop. SIGINT, SIGTERM, SIGHUP
 * and SIGQUIT end the run; SIGPWR presses the guest's power button and says
 * so when the guest does not react; SIGTSTP stops with the terminal restored.
 */
#ifndef KILN_SIGNALS_H
#define KILN_SIGNALS_H

#include <sys/types.h>

#include "ending.h"
#include "loop.h"
#include "pm.h"

struct signals {
	struct loop_source source;	/* signalfd */
	struct loop_source reminder;	/* timerfd: the guest had its time to power off */
	struct ending *ending;
	struct pm *pm;
	/* The terminal's window has another size; NULL for nobody. */
	void (*resized)(void *context);
	void *resized_context;
};

/* Before any thread is created: they inherit what is blocked. */
void signals_block(void);

/* In a child that is not to inherit it. */
void signals_unblock(void);

/* A blocked signal that waits to end the run; 0 for none. */
int signals_pending(void);

/*
 * Waits for the child @pid, which is killed where a blocked signal is to end
 * the run. Its wait status, or -1 with errno.
 */
int signals_wait_child(pid_t pid);

int signals_start(struct signals *signals, struct loop *loop, struct ending *ending,
		  struct pm *pm);
void signals_close(struct signals *signals);

#endif
