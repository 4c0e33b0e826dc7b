/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that stands still: its vCPUs wait at a gate outside of the kernel,
 * its devices work on no request. The loop closes and opens the gate; it never
 * waits for the vCPUs, the last of them to arrive wakes it.
 */
#ifndef KILN_PAUSE_H
#define KILN_PAUSE_H

#include <pthread.h>
#include <stdbool.h>

#include "devices.h"

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	bool closed;			/* atomic; changes with [lock] */
	unsigned int expected;		/* vCPUs, set before they run */
	unsigned int waiting;		/* [lock] of them, how many stand at the gate */
	int wake;			/* eventfd: all do; -1: nobody to wake */
};

void gate_init(struct gate *gate, unsigned int vcpus, int wake);

/* The loop's side. After gate_close() vCPUs have to be got out of the kernel (vcpu_kick()). */
void gate_close(struct gate *gate);
void gate_open(struct gate *gate);
bool gate_all_wait(struct gate *gate);

/* A vCPU's side: whether it has to go there, and waiting there until it opens or @stop is set. */
static inline bool gate_is_closed(const struct gate *gate)
{
	return __atomic_load_n(&gate->closed, __ATOMIC_ACQUIRE);
}

void gate_wait(struct gate *gate, const bool *stop);

/* Wakes who waits, so that it looks at its @stop. */
void gate_shake(struct gate *gate);

/* What the devices were at when they were stopped. */
struct paused_devices {
	unsigned char status[PCI_SLOTS];	/* virtio status, 0: was not at work */
	struct virtio_position queues[PCI_SLOTS][VIRTIO_QUEUES_MAX];
};

/*
 * Stops the queues that the kernel serves, once their requests are done. All
 * vCPUs wait at the gate. -1 with a sentence, and all of them work on.
 */
int pause_devices(struct paused_devices *paused, const struct devices *devices);
void resume_devices(struct paused_devices *paused, const struct devices *devices);

#endif
