// SPDX-License-Identifier: GPL-2.0-only
#include "pause.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "error.h"
#include "loop.h"
#include "say.h"

/* ---- the gate ---- */

void gate_init(struct gate *gate, unsigned int vcpus, int wake)
{
	memset(gate, 0, sizeof(*gate));
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->opened, NULL);
	gate->expected = vcpus;
	gate->wake = wake;
}

static void set_closed(struct gate *gate, bool closed)
{
	pthread_mutex_lock(&gate->lock);
	__atomic_store_n(&gate->closed, closed, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&gate->opened);
	pthread_mutex_unlock(&gate->lock);
}

void gate_close(struct gate *gate)
{
	set_closed(gate, true);
}

void gate_open(struct gate *gate)
{
	set_closed(gate, false);
}

void gate_shake(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	pthread_cond_broadcast(&gate->opened);
	pthread_mutex_unlock(&gate->lock);
}

bool gate_all_wait(struct gate *gate)
{
	bool all;

	pthread_mutex_lock(&gate->lock);
	all = gate->waiting == gate->expected;
	pthread_mutex_unlock(&gate->lock);
	return all;
}

void gate_wait(struct gate *gate, const bool *stop)
{
	pthread_mutex_lock(&gate->lock);
	if (++gate->waiting == gate->expected && gate->wake >= 0)
		loop_wake(gate->wake);
	while (gate->closed && !__atomic_load_n(stop, __ATOMIC_ACQUIRE))
		pthread_cond_wait(&gate->opened, &gate->lock);
	gate->waiting--;
	pthread_mutex_unlock(&gate->lock);
}

/* ---- devices ---- */

static int pause_one(struct virtio *virtio, unsigned char *was, struct virtio_position *queues)
{
	unsigned char status = 0;
	int ret;

	*was = 0;
	pci_lock(&virtio->pci);
	ret = virtio->call(virtio->fd, VHOST_VDPA_GET_STATUS, &status);
	if (!ret && status & VIRTIO_CONFIG_S_DRIVER_OK) {
		ret = virtio->call(virtio->fd, VHOST_VDPA_SUSPEND, NULL);
		*was = ret ? 0 : status;
	}
	for (unsigned int i = 0; *was && i < virtio->nr_queues; i++)
		queues[i] = virtio_queue_position(virtio, i);
	pci_unlock(&virtio->pci);
	if (ret)
		return error_set("%s: its queues cannot be stopped: %s; load a matching module",
				 virtio->name, strerror(errno));
	return 0;
}

int pause_devices(struct paused_devices *paused, const struct devices *devices)
{
	memset(paused, 0, sizeof(*paused));
	for (unsigned int i = 0; i < devices->count; i++) {
		if (!pause_one(devices->list[i], &paused->status[i], paused->queues[i]))
			continue;
		resume_devices(paused, devices);
		return -1;
	}
	return 0;
}

void resume_devices(struct paused_devices *paused, const struct devices *devices)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		struct virtio *virtio = devices->list[i];
		unsigned char status = paused->status[i] & ~VIRTIO_CONFIG_S_NEEDS_RESET;

		paused->status[i] = 0;
		if (!status)
			continue;
		pci_lock(&virtio->pci);
		/* One that broke a rule meanwhile stays where it is, and the guest is told so. */
		if (virtio->call(virtio->fd, VHOST_VDPA_SET_STATUS, &status))
			say("%s: does not go on: %s", virtio->name, strerror(errno));
		pci_unlock(&virtio->pci);
	}
}
