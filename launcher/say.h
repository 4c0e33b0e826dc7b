/* SPDX-License-Identifier: GPL-2.0-only */
/* What --verbose prints: seconds since the start and what is being done. */
#ifndef KILN_SAY_H
#define KILN_SAY_H

/* Prints nothing until say_enable(); the clock starts there. */
void say_enable(void);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
