// SPDX-License-Identifier: GPL-2.0-only
#include "virtio.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "error.h"
#include "say.h"
#include "vm.h"

#define REPORTS_MAX 10

/*
 * Bits 24 to 49 belong to rings and transport (§6). Those here the kernel may
 * offer; of the others some would need a transport that knows them (SR_IOV,
 * NOTIF_CONFIG_DATA, ADMIN_VQ), so they are kept from the guest.
 */
#define TRANSPORT_FEATURES	0x0003ffffff000000ULL
#define TRANSPORT_KNOWN                                                                  \
	(1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_RING_F_EVENT_IDX |         \
	 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM |                 \
	 1ULL << VIRTIO_F_RING_PACKED | 1ULL << VIRTIO_F_IN_ORDER |                      \
	 1ULL << VIRTIO_F_ORDER_PLATFORM | 1ULL << VIRTIO_F_RING_RESET)

/* ---- broken devices ---- */

static void report(struct virtio *virtio, const char *cause)
{
	if (!virtio->reports_left)
		return;
	virtio->reports_left--;
	fprintf(stderr, "kiln: %s: %s; the guest has to reset the device%s\n", virtio->name, cause,
		virtio->reports_left ? "" : " (its further errors are not shown)");
}

/* The kernel sends what it finds out itself; this is for what only the transport sees. */
static void tell_guest(struct virtio *virtio)
{
	uint16_t vector = virtio->message.vector;
	struct msix_message message;
	struct kvm_msi msi = { 0 };

	if (!msix_enabled(&virtio->msix)) {
		virtio_pci_raise(virtio, VIRTIO_ISR_CONFIG);
		return;
	}
	if (vector == VIRTIO_NO_VECTOR || msix_masked(&virtio->msix, vector))
		return;
	message = msix_message(&virtio->msix, vector);
	msi.address_lo = (uint32_t)message.address;
	msi.address_hi = (uint32_t)(message.address >> 32);
	msi.data = message.data;
	virtio->call(virtio->vm_fd, KVM_SIGNAL_MSI, &msi);
}

void virtio_break(struct virtio *virtio, const char *fmt, ...)
{
	char cause[KILN_VIRTIO_CAUSE_LEN];
	va_list args;

	if (virtio->broken)
		return;
	virtio->broken = true;
	va_start(args, fmt);
	vsnprintf(cause, sizeof(cause), fmt, args);
	va_end(args);
	report(virtio, cause);
	/* §2.1.2: the notification is for drivers that are at work. */
	if (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK)
		tell_guest(virtio);
}

/* ---- what the kernel has to say ---- */

enum { USED = 1, CHANGED = 2, BROKE = 4 };

static void look_at_broken(struct virtio *virtio)
{
	struct kiln_virtio_broken broken;
	char cause[KILN_VIRTIO_CAUSE_LEN + 32];

	/* Each queue says so; and it may be whole again: the guest was faster. */
	if (virtio->reported || virtio->call(virtio->fd, KILN_VIRTIO_GET_BROKEN, &broken))
		return;
	broken.cause[sizeof(broken.cause) - 1] = '\0';
	virtio->reported = true;
	snprintf(cause, sizeof(cause), "queue %u: %s", broken.queue, broken.cause);
	report(virtio, cause);
}

/* Now, or when a guest's access to the device that waits is done. */
static void look_at(struct virtio *virtio, unsigned int events)
{
	virtio->waiting |= events;
	if (!virtio->waiting || !pci_try_lock(&virtio->pci))
		return;
	if (virtio->waiting & USED)
		virtio_pci_raise(virtio, VIRTIO_ISR_QUEUE);
	if (virtio->waiting & CHANGED)
		virtio_pci_raise(virtio, VIRTIO_ISR_CONFIG);
	if (virtio->waiting & BROKE)
		look_at_broken(virtio);
	virtio->waiting = 0;
	pci_unlock(&virtio->pci);
}

static void used_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	loop_consume(source->fd);
	look_at(container_of(source, struct virtio, used), USED);
}

static void changed_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	loop_consume(source->fd);
	look_at(container_of(source, struct virtio, changed), CHANGED);
}

static void broke_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	loop_consume(source->fd);
	look_at(container_of(source, struct virtio, broke), BROKE);
}

static void unlocked_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	loop_consume(source->fd);
	look_at(container_of(source, struct virtio, unlocked), 0);
}

/* ---- configuration ---- */

static int get_config(struct virtio *virtio, uint8_t *bytes)
{
	union {
		struct vhost_vdpa_config head;
		uint8_t bytes[sizeof(struct vhost_vdpa_config) + VIRTIO_CONFIG_MAX];
	} config = { .head = { .len = virtio->config_size } };

	if (!virtio->config_size)
		return 0;
	if (virtio->call(virtio->fd, VHOST_VDPA_GET_CONFIG, &config))
		return -1;
	memcpy(bytes, config.head.buf, virtio->config_size);
	return 0;
}

void virtio_refresh_config(struct virtio *virtio)
{
	uint8_t now[VIRTIO_CONFIG_MAX];

	if (get_config(virtio, now) || !memcmp(now, virtio->config, virtio->config_size))
		return;
	memcpy(virtio->config, now, virtio->config_size);
	virtio->generation++;
}

/* ---- life ---- */

void virtio_init(struct virtio *virtio, const char *name)
{
	memset(virtio, 0, sizeof(*virtio));
	snprintf(virtio->name, sizeof(virtio->name), "%s", name);
	virtio->call = vm_ioctl;
	virtio->fd = virtio->vm_fd = -1;
	virtio->used = (struct loop_source){ -1, used_ready };
	virtio->changed = (struct loop_source){ -1, changed_ready };
	virtio->broke = (struct loop_source){ -1, broke_ready };
	virtio->unlocked = (struct loop_source){ -1, unlocked_ready };
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		virtio->queues[i].kick = -1;
	virtio->reports_left = REPORTS_MAX;
}

int virtio_create(struct virtio *virtio, int vm_fd, uint32_t type, unsigned int nr_queues)
{
	struct kiln_virtio_create create = { .type = type, .nr_queues = nr_queues };

	virtio->vm_fd = vm_fd;
	virtio->nr_queues = nr_queues;
	virtio->fd = virtio->call(vm_fd, KILN_CREATE_VIRTIO, &create);
	if (virtio->fd < 0)
		return -1;
	return virtio->call(virtio->fd, VHOST_SET_OWNER, NULL);
}

static int ask(struct virtio *virtio)
{
	if (virtio->call(virtio->fd, VHOST_GET_FEATURES, &virtio->features) ||
	    virtio->call(virtio->fd, VHOST_VDPA_GET_VRING_NUM, &virtio->queue_max) ||
	    virtio->call(virtio->fd, VHOST_VDPA_GET_CONFIG_SIZE, &virtio->config_size))
		return error_set("%s: the module does not say what it can do: %s; load a matching module",
				 virtio->name, strerror(errno));
	if (virtio->config_size > VIRTIO_CONFIG_MAX)
		return error_set("%s: its configuration has %u bytes; load a matching module",
				 virtio->name, virtio->config_size);
	if (get_config(virtio, virtio->config))
		return error_set("%s: its configuration cannot be read: %s; load a matching module",
				 virtio->name, strerror(errno));
	virtio->features &= ~TRANSPORT_FEATURES | TRANSPORT_KNOWN;
	return 0;
}

static int listen_to(struct loop *loop, struct loop_source *source)
{
	source->fd = loop_eventfd();
	return source->fd < 0 ? -1 : loop_add(loop, source, EPOLLIN);
}

static int make_events(struct virtio *virtio, struct loop *loop)
{
	if (listen_to(loop, &virtio->used) || listen_to(loop, &virtio->changed) ||
	    listen_to(loop, &virtio->broke) || listen_to(loop, &virtio->unlocked))
		return -1;
	for (unsigned int i = 0; i < virtio->nr_queues; i++) {
		virtio->queues[i].kick = loop_eventfd();
		if (virtio->queues[i].kick < 0)
			return -1;
	}
	if (virtio->call(virtio->fd, VHOST_VDPA_SET_CONFIG_CALL, &virtio->changed.fd))
		return error_set("%s: VHOST_VDPA_SET_CONFIG_CALL: %s; load a matching module",
				 virtio->name, strerror(errno));
	return 0;
}

int virtio_attach(struct virtio *virtio, struct pci_host *host, const struct guest_memory *memory,
		  struct loop *loop, uint32_t type)
{
	virtio->memory = memory;
	if (ask(virtio) || make_events(virtio, loop))
		return -1;
	virtio_pci_init(virtio, type);
	virtio->pci.unlocked = virtio->unlocked.fd;
	for (unsigned int i = 0; i < virtio->nr_queues; i++)
		virtio_queue_init(virtio, i);
	if (pci_add(host, &virtio->pci))
		return -1;
	say("%s: device 00:%02x.0, %u queue%s of %u, features 0x%llx", virtio->name,
	    virtio->pci.slot, virtio->nr_queues, virtio->nr_queues > 1 ? "s" : "",
	    virtio->queue_max, (unsigned long long)virtio->features);
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void virtio_close(struct virtio *virtio)
{
	close_fd(&virtio->fd);
	close_fd(&virtio->used.fd);
	close_fd(&virtio->changed.fd);
	close_fd(&virtio->broke.fd);
	close_fd(&virtio->unlocked.fd);
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		close_fd(&virtio->queues[i].kick);
}
