/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio console between the kernel, which reads and writes descriptors,
 * and the peer that the serial port has as well (console.h). What the peer
 * receives goes through a pipe, so that it can look at it first (Ctrl-]). What
 * the guest writes goes from the kernel straight to the peer's descriptor where
 * that is one that stays, and through a pipe where peers come and go.
 */
#ifndef KILN_VCONSOLE_H
#define KILN_VCONSOLE_H

#include <stdbool.h>

#include "console.h"
#include "loop.h"
#include "uart.h"

struct vconsole {
	struct uart_guest guest;
	struct console *console;
	struct loop *loop;
	struct loop_source in, out;	/* our ends of the pipes; -1: none */
	int kernel_in, kernel_out;	/* its ends, kept for when it is told again; -1: none */
	bool in_watched, out_watched;
};

/* As if nothing were open. */
void vconsole_init(struct vconsole *vconsole);

/* Makes the ends for @console, which is open. -1 with a sentence. */
int vconsole_open(struct vconsole *vconsole, struct console *console, struct loop *loop);

/* Puts what the guest wrote last before the peer. No vCPU runs any more. */
void vconsole_flush(struct vconsole *vconsole);

void vconsole_close(struct vconsole *vconsole);

#endif
