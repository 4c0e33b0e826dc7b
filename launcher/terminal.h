/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The terminal on stdin, raw while a guest has it. Whatever ends the process
 * but SIGKILL gives it back as it was: a return from main(), exit(), a crash.
 */
#ifndef KILN_TERMINAL_H
#define KILN_TERMINAL_H

#include <stdbool.h>

/* True where stdin is a terminal and we are in its foreground. */
bool terminal_is_ours(void);

/* Raw input; output processing stays, so that our own lines look right. -1 with a sentence. */
int terminal_raw(void);

/* Idempotent and async-signal-safe. */
void terminal_restore(void);

/* Gives the terminal back, stops the process, takes the terminal again when continued. */
void terminal_stop(void);

#endif
