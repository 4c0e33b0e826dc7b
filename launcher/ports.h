/* SPDX-License-Identifier: GPL-2.0-only */
/* Two devices of one register each, by which guests end a run. */
#ifndef KILN_PORTS_H
#define KILN_PORTS_H

#include "bus.h"
#include "ending.h"

#define KEYBOARD_PORT	0x64
#define DEBUG_EXIT_PORT	0xf4

struct end_port {
	struct port_device port;
	struct ending *ending;
};

/*
 * The keyboard controller, as far as it resets the machine: command 0xfe
 * pulses the reset line. Its status reads as idle.
 */
void keyboard_init(struct end_port *device, struct ending *ending);

/* --debug-exit: a write of N ends the run with status 2N+1. */
void debug_exit_init(struct end_port *device, struct ending *ending);

#endif
