// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of virtio.h.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio.h"

int virtio_fd(struct vm *vm, uint32_t type, uint32_t n)
{
	struct kiln_virtio_create arg = { .type = type, .nr_queues = n };

	return xioctl(vm->fd, KILN_CREATE_VIRTIO, &arg);
}

static void must(int r, const char *what)
{
	if (r < 0)
		die("%s: %s", what, strerror(-r));
}

struct virtio virtio_create(struct vm *vm, uint32_t type, unsigned int n)
{
	struct virtio v = { .vm = vm, .n = n, .fd = virtio_fd(vm, type, n) };

	must(v.fd, "KILN_CREATE_VIRTIO");
	must(xioctl(v.fd, VHOST_SET_OWNER, NULL), "VHOST_SET_OWNER");
	for (unsigned int i = 0; i < n; i++) {
		struct vhost_vring_file f = { .index = i };

		f.fd = v.kick[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		must(xioctl(v.fd, VHOST_SET_VRING_KICK, &f), "VHOST_SET_VRING_KICK");
		f.fd = v.call[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		must(xioctl(v.fd, VHOST_SET_VRING_CALL, &f), "VHOST_SET_VRING_CALL");
	}
	return v;
}

void virtio_destroy(struct virtio *v)
{
	close(v->fd);
	for (unsigned int i = 0; i < v->n; i++) {
		close(v->kick[i]);
		close(v->call[i]);
	}
}

int virtio_set_ring(struct virtio *v, unsigned int i)
{
	struct ring *r = &v->ring[i];
	struct vhost_vring_state num = { .index = i, .num = r->num };
	struct vhost_vring_state base = { .index = i, .num = r->packed ? 0x80008000 : 0 };
	struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = r->base + r->desc,
		.avail_user_addr = r->base + r->avail,
		.used_user_addr = r->base + r->used,
	};

	return xioctl(v->fd, VHOST_SET_VRING_NUM, &num) ?: xioctl(v->fd, VHOST_SET_VRING_ADDR, &addr) ?:
	       xioctl(v->fd, VHOST_SET_VRING_BASE, &base);
}

int virtio_enable(struct virtio *v, unsigned int i, unsigned int on)
{
	struct vhost_vring_state s = { .index = i, .num = on };

	return xioctl(v->fd, VHOST_VDPA_SET_VRING_ENABLE, &s);
}

int virtio_status(struct virtio *v, uint8_t status)
{
	return xioctl(v->fd, VHOST_VDPA_SET_STATUS, &status);
}

uint8_t virtio_get_status(struct virtio *v)
{
	uint8_t status = 0;

	must(xioctl(v->fd, VHOST_VDPA_GET_STATUS, &status), "VHOST_VDPA_GET_STATUS");
	return status;
}

void virtio_set_up(struct virtio *v, uint64_t features)
{
	v->features = features;
	must(xioctl(v->fd, VHOST_SET_FEATURES, &features), "VHOST_SET_FEATURES");
	must(virtio_status(v, READY), "VHOST_VDPA_SET_STATUS");
	for (unsigned int i = 0; i < v->n; i++) {
		memset(v->vm->ram + VIRTIO_RING(i), 0, RING_SIZE(VIRTIO_NUM));
		ring_init(&v->ring[i], (uintptr_t)v->vm->ram, VIRTIO_RING(i), VIRTIO_NUM, features & PACKED,
			  features & EVENT_IDX);
		must(virtio_set_ring(v, i), "ring");
		must(virtio_enable(v, i, 1), "VHOST_VDPA_SET_VRING_ENABLE");
	}
}

int virtio_start(struct virtio *v, uint64_t features)
{
	virtio_set_up(v, features);
	return virtio_status(v, RUNNING);
}

int virtio_doorbell(struct virtio *v, unsigned int i, uint64_t addr, uint32_t flags)
{
	struct kiln_virtio_doorbell d = { .index = i, .flags = flags, .addr = addr };

	return xioctl(v->fd, KILN_VIRTIO_SET_DOORBELL, &d);
}

int virtio_msi(struct virtio *v, unsigned int i, uint8_t vector, uint32_t flags)
{
	struct kiln_virtio_msi m = { .index = i, .flags = flags, .address = APIC_PHYS, .data = vector };

	return xioctl(v->fd, KILN_VIRTIO_SET_MSI, &m);
}

void virtio_kick(struct virtio *v, unsigned int i)
{
	uint64_t one = 1;

	if (write(v->kick[i], &one, 8) != 8)
		die("write to a kick eventfd: %s", strerror(errno));
}

uint64_t virtio_wait(struct virtio *v, unsigned int i, int ms)
{
	struct pollfd p = { .fd = v->call[i], .events = POLLIN };
	uint64_t n = 0;

	poll(&p, 1, ms);
	return read(v->call[i], &n, 8) == 8 ? n : 0;
}

uint32_t virtio_finish(struct virtio *v, unsigned int i, uint32_t *id)
{
	uint32_t len = 0, unused;

	virtio_kick(v, i);
	for (int ms = 0; ms < 20000; ms++) {
		if (ring_collect(&v->ring[i], id ?: &unused, &len))
			return len;
		if (*virtio_broken(v))
			die("the device is broken: %s", virtio_broken(v));
		usleep(1000);
	}
	die("a request on queue %u was not served", i);
}

const char *virtio_broken(struct virtio *v)
{
	static struct kiln_virtio_broken b;

	if (xioctl(v->fd, KILN_VIRTIO_GET_BROKEN, &b))
		return "";
	return b.cause;
}

static bool is_named(const char *pid, const char *name)
{
	char path[300], comm[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(comm, sizeof(comm), f))
		comm[0] = 0;
	fclose(f);
	comm[strcspn(comm, "\n")] = 0;
	return !strcmp(comm, name);
}

pid_t virtio_thread(const char *name, unsigned int i)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char thread[64];
	pid_t pid = 0;

	if (!proc)
		die("/proc: %s", strerror(errno));
	snprintf(thread, sizeof(thread), "kiln-%d-%s%u", getpid(), name, i);
	while (!pid && (entry = readdir(proc)))
		if (atoi(entry->d_name) && is_named(entry->d_name, thread))
			pid = atoi(entry->d_name);
	closedir(proc);
	return pid;
}
