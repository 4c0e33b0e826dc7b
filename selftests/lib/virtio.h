/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio device under test: its descriptor, and its queues as the test drives them from the host's side.
 */
#ifndef KILN_SELFTESTS_VIRTIO_H
#define KILN_SELFTESTS_VIRTIO_H

#include "ring.h"
#include "vm.h"

#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <sys/types.h>

#include "kiln.h"

#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif

#define BIT64(n)	(1ULL << (n))
#define V1		BIT64(VIRTIO_F_VERSION_1)
#define PACKED		BIT64(VIRTIO_F_RING_PACKED)
#define EVENT_IDX	BIT64(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT	BIT64(VIRTIO_RING_F_INDIRECT_DESC)

#define VIRTIO_QUEUES	5
#define VIRTIO_NUM	64		/* descriptors of a queue */
#define VIRTIO_MEMORY	VM_FREE		/* where the rings are; each has a page and more */
#define VIRTIO_RING(i)	(VIRTIO_MEMORY + (i) * 0x2000UL)
#define VIRTIO_DATA	(VIRTIO_MEMORY + 0x10000UL)	/* tests' own, to the end of RAM */

#define READY	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define RUNNING	(READY | VIRTIO_CONFIG_S_DRIVER_OK)

struct virtio {
	struct vm *vm;
	int fd;
	uint64_t features;
	unsigned int n;
	struct ring ring[VIRTIO_QUEUES];
	int kick[VIRTIO_QUEUES], call[VIRTIO_QUEUES];
};

/* KILN_CREATE_VIRTIO: the descriptor or -errno. */
int virtio_fd(struct vm *vm, uint32_t type, uint32_t n);

/* A device that is owned, its queues with eventfds; not running. abort() where that fails. */
struct virtio virtio_create(struct vm *vm, uint32_t type, unsigned int n);
void virtio_destroy(struct virtio *v);

/* Features and rings; the same and DRIVER_OK: 0 or -errno of that. */
void virtio_set_up(struct virtio *v, uint64_t features);
int virtio_start(struct virtio *v, uint64_t features);

int virtio_status(struct virtio *v, uint8_t status);
uint8_t virtio_get_status(struct virtio *v);
int virtio_set_ring(struct virtio *v, unsigned int i);		/* num, addresses and base of ring[i] */
int virtio_enable(struct virtio *v, unsigned int i, unsigned int on);
int virtio_doorbell(struct virtio *v, unsigned int i, uint64_t addr, uint32_t flags);
int virtio_msi(struct virtio *v, unsigned int i, uint8_t vector, uint32_t flags);

void virtio_kick(struct virtio *v, unsigned int i);
/* Wait for the call eventfd: how often it was signalled; 0 after @ms. */
uint64_t virtio_wait(struct virtio *v, unsigned int i, int ms);

/* Kick and wait until a chain is used; abort() after seconds. */
uint32_t virtio_finish(struct virtio *v, unsigned int i, uint32_t *id);

/* Why it is broken, or "" if it is not. */
const char *virtio_broken(struct virtio *v);

/*
 * The thread that serves a queue of a device of this process, kiln-PID-NAMEi: its id, or 0. Where there are several devices
 * of that kind it is one of theirs.
 */
pid_t virtio_thread(const char *name, unsigned int i);

#endif
