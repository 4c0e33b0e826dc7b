/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exit statuses, the one table. --debug-exit owns the odd numbers (2N+1), so
 * all of ours are even: a script that uses both can tell them apart. (`kiln
 * check` and the commands on running guests answer 0 or 1.)
 */
#ifndef KILN_STATUS_H
#define KILN_STATUS_H

enum status {
	STATUS_OFF	= 0,	/* the guest powered off; or help was given */
	STATUS_USAGE	= 2,	/* bad input: nothing was run */
	STATUS_RESET	= 4,	/* the guest asked for a reset */
	STATUS_DEATH	= 6,	/* the guest died, the cause is on stderr */
	STATUS_FAILED	= 8,	/* the host failed under a running guest */
	STATUS_ENDED	= 10,	/* ended from outside: Ctrl-], SIGINT, SIGTERM, ... */
};

/* Commands on running guests: understood, but it did not happen. They run no guest themselves. */
#define STATUS_NOT_DONE		1
#define STATUS_CHECK_FAILED	1	/* `kiln check`: something is missing */

/* What a write of @value to the --debug-exit port ends the run with. */
static inline int status_of_debug_exit(unsigned int value)
{
	return (int)((value * 2 + 1) & 0xff);
}

#endif
