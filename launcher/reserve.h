/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a guest is started again (`kiln reboot`) by a launcher that has given up
 * what that takes (sandbox.h): a process made before anything was opened,
 * which waits, holding nothing. Told to, it runs the guest from its beginning
 * in children, as often as that is asked for, and the launcher stands in for
 * it: it passes signals on and ends as the last of them does. Where it is
 * never told to, it goes with the launcher, however that ends.
 */
#ifndef KILN_RESERVE_H
#define KILN_RESERVE_H

#include <stdbool.h>
#include <sys/types.h>

struct reserve {
	pid_t pid;	/* 0: none */
	int pipe;	/* what it is told; its end is its end */
};

/* Runs a guest called @name. Returns its exit status, -1 with a sentence; *@again: once more. */
typedef int (*reserve_run_fn)(void *context, const char *name, bool *again);

/* Makes the process. Where it cannot be made, a guest is just not started again. */
void reserve_make(struct reserve *reserve, reserve_run_fn run, void *context);

/* Lets it go. */
void reserve_dismiss(struct reserve *reserve);

/* Has it run the guest again. Its exit status, or -1 with a sentence. */
int reserve_go(struct reserve *reserve, const char *name);

#endif
