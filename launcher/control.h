/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control socket of a running guest (Documentation/control.rst): a line
 * asks, a line of JSON answers. The event loop serves it; nothing here waits
 * for a vCPU or a client. What a client may cost is bounded: their number, the
 * length of a line, and one reply at a time, which has to be taken before the
 * next line is read.
 */
#ifndef KILN_CONTROL_H
#define KILN_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "console.h"
#include "devices.h"
#include "ending.h"
#include "loop.h"
#include "machine.h"
#include "pause.h"
#include "pm.h"
#include "runtime.h"
#include "vcpu.h"
#include "vm.h"

#define CONTROL_PROTOCOL	1
#define CONTROL_CLIENTS		16
#define CONTROL_LINE		256
#define CONTROL_WORDS		4
#define CONTROL_JSON		(JSON_COMPACT | JSON_REAL_PRECISION(9))

/* What the commands act on; all of it the machine's. */
struct guest {
	const struct run_config *config;
	const struct vm *vm;
	struct vcpu *vcpus;
	struct devices *devices;
	struct pm *pm;
	struct ending *ending;
	struct console *console;
};

enum control_state { CONTROL_RUNNING, CONTROL_SUSPENDING, CONTROL_SUSPENDED };

struct control;

struct control_client {
	struct loop_source source;
	struct control *control;
	uint32_t events;		/* asked of the loop */
	char line[CONTROL_LINE];
	size_t count;
	char *reply;			/* NULL: none under way */
	size_t reply_len, sent;
	bool waits;			/* for a reply that comes later */
	bool ends;			/* closed once its reply is out */
};

/* All of it is the loop's. */
struct control {
	struct runtime runtime;
	char name[RUNTIME_NAME_MAX + 1];	/* "": there is no socket */
	struct loop *loop;
	struct loop_source listener;
	struct loop_source stands;	/* eventfd: all vCPUs stand at the gate */
	int spare;			/* closed to turn a client away where descriptors are short */
	struct control_client *clients[CONTROL_CLIENTS];

	struct guest guest;
	struct gate gate;
	enum control_state state;
	struct paused_devices paused;
	int64_t started;		/* ns, monotonic */
	struct control_client *rebooter;	/* waits for the guest to end and to run again; NULL: none */
	bool again;			/* it has ended and will */
	bool pressed;			/* the power button, by us */
	int memory;			/* /proc/self/smaps_rollup: what statm says lags behind; -1: none */
	json_t *facts;			/* what `info` says that does not change */
	struct kiln_counters *counters;	/* room for @room of them */
	uint32_t room;
};

/* As if nothing were open. */
void control_init(struct control *control);

/*
 * Takes @name for this guest and listens; without one (NULL) takes one that
 * is free, and does without a socket where there can be none. -1 with a sentence.
 */
int control_open(struct control *control, const char *name);

/* The gate its vCPUs get, before they are made. -1 with a sentence. */
int control_make_gate(struct control *control, struct loop *loop, unsigned int vcpus);

/* Serves @guest from now on. -1 with a sentence. */
int control_start(struct control *control, const struct guest *guest);

/* Takes the name away: the guest has ended. Clients stay connected. */
void control_stop(struct control *control);

/* Tells the clients how it ended (@ending may be NULL: it was never started) and lets them go. */
void control_close(struct control *control, const struct ending *ending);

/* ---- control_verbs.c ---- */

/*
 * Does what a line asks for. Returns the reply, a new reference; NULL: with
 * @client->waits set it comes later, else error_text() says why not.
 */
json_t *control_do(struct control *control, struct control_client *client, char *line);

/* All vCPUs stand: finishes a suspend. NULL with a sentence. */
json_t *control_suspended(struct control *control);

/* @text as JSON, whatever bytes it has: those that are no UTF-8 become '?'. */
json_t *control_text(const char *text);

/* Says what does not change. NULL with a sentence. */
json_t *control_facts(const struct control *control);

#endif
