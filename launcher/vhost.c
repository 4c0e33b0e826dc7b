// SPDX-License-Identifier: GPL-2.0-only
#include "vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "error.h"
#include "loop.h"
#include "util.h"
#include "vhost_ctrl.h"
#include "vm.h"

#define QUEUES_MAX	(2 * NET_PAIRS_MAX + 1)	/* receive and transmit of each pair, and the control queue */
#define QUEUE_MAX	1024
#define CONFIG_SIZE	offsetof(struct virtio_net_config, speed)

/* Interrupt lines: those of the controllers come first, and messages behind them. */
#define PIC_PINS	16
#define IOAPIC_PINS	24
#define MESSAGES	(NETS_MAX * QUEUES_MAX)

#define BIT64(n)	(1ULL << (n))
#define RING_FEATURES                                                             \
	(BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) |          \
	 BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_NET_F_MRG_RXBUF))
/* What the tap does, and what the configuration has. */
#define CARD_FEATURES                                                             \
	(BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_HOST_TSO4) |                \
	 BIT64(VIRTIO_NET_F_HOST_TSO6) | BIT64(VIRTIO_NET_F_HOST_ECN) |            \
	 BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_GUEST_TSO4) |         \
	 BIT64(VIRTIO_NET_F_GUEST_TSO6) | BIT64(VIRTIO_NET_F_GUEST_ECN) |          \
	 BIT64(VIRTIO_NET_F_MAC) | BIT64(VIRTIO_NET_F_STATUS) | BIT64(VIRTIO_NET_F_MTU))
/* What is answered here, where there are several pairs. */
#define PAIRS_FEATURES	(BIT64(VIRTIO_NET_F_MQ) | BIT64(VIRTIO_NET_F_CTRL_VQ))

struct queue {
	bool enabled;
	int kick, used;		/* the transport's */
	int irq;		/* becomes a message in the kernel */
	int held;		/* counts while the message is masked */
	struct kiln_virtio_msi msi;	/* written with @routing, too */
	bool bound;		/* @irq is the VM's */
	uint64_t doorbell;	/* where @kick is, if anywhere */
};

/* vhost-net knows one pair of queues to a descriptor. */
struct pair {
	int fd, tap;
	bool detached;		/* the tap gives it no packets */
};

/* All of it: the lock of the virtio device, but for the descriptors and counts, which are constant. */
static struct vhost {
	int vm_fd;
	struct pair pairs[NET_PAIRS_MAX];
	unsigned int nr_pairs, nr_queues;
	unsigned int active;	/* pairs in use, the first ones */
	struct vhost_ctrl ctrl;
	uint8_t status;
	uint64_t features;	/* the driver's */
	struct virtio_net_config config;
	struct queue queues[QUEUES_MAX];
} cards[NETS_MAX];
static unsigned int nr_cards;

/* The VM's table of messages is written by all of them. */
static pthread_mutex_t routing = PTHREAD_MUTEX_INITIALIZER;

static struct vhost *find(int fd)
{
	for (unsigned int i = 0; i < nr_cards; i++)
		if (cards[i].pairs[0].fd == fd)
			return &cards[i];
	return NULL;
}

static int fail(int err)
{
	errno = err;
	return -1;
}

/* §5.1.2: behind those of all pairs, or of the first for a driver that takes no more. */
static bool is_control(const struct vhost *card, uint32_t index)
{
	if (index == card->nr_queues - 1)
		return card->nr_pairs > 1;
	return index == 2 && card->features & BIT64(VIRTIO_NET_F_CTRL_VQ) &&
	       !(card->features & BIT64(VIRTIO_NET_F_MQ));
}

/* ---- creation ---- */

static int make_queue(struct queue *queue)
{
	*queue = (struct queue){ .kick = -1, .used = -1 };
	queue->irq = loop_eventfd();
	queue->held = loop_eventfd();
	return queue->irq < 0 || queue->held < 0 ? fail(EMFILE) : 0;
}

static int open_pair(struct vhost *card)
{
	struct pair *pair = &card->pairs[card->nr_pairs];

	*pair = (struct pair){ .tap = -1 };
	pair->fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	if (pair->fd < 0)
		return -1;
	card->nr_pairs++;
	return 0;
}

/* Those of the first are the device's. */
static void close_pairs(struct vhost *card, unsigned int first)
{
	int err = errno;

	for (unsigned int i = first; i < card->nr_pairs; i++)
		close(card->pairs[i].fd);
	errno = err;
}

static int create(int vm_fd, const struct kiln_virtio_create *args)
{
	struct vhost *card = &cards[nr_cards];
	unsigned int pairs = args->nr_queues / 2;

	/* With several pairs there is a control queue. */
	if (args->type != VIRTIO_ID_NET || nr_cards == NETS_MAX || !pairs ||
	    pairs > NET_PAIRS_MAX || args->nr_queues != 2 * pairs + (pairs > 1))
		return fail(EINVAL);
	*card = (struct vhost){ .vm_fd = vm_fd, .nr_queues = args->nr_queues, .active = 1 };
	while (card->nr_pairs < pairs) {
		if (open_pair(card)) {
			close_pairs(card, 0);
			return -1;
		}
	}
	nr_cards++;
	for (unsigned int i = 0; i < card->nr_queues; i++)
		if (make_queue(&card->queues[i]))
			return -1;
	return card->pairs[0].fd;
}

/* The same for all pairs. */
static int call_all(const struct vhost *card, unsigned long request, void *arg)
{
	for (unsigned int i = 0; i < card->nr_pairs; i++)
		if (vm_ioctl(card->pairs[i].fd, request, arg))
			return -1;
	return 0;
}

void vhost_close(void)
{
	for (unsigned int i = 0; i < nr_cards; i++) {
		close_pairs(&cards[i], 1);
		for (unsigned int j = 0; j < cards[i].nr_pairs; j++)
			if (cards[i].pairs[j].tap >= 0)
				close(cards[i].pairs[j].tap);
		for (unsigned int j = 0; j < cards[i].nr_queues; j++) {
			close(cards[i].queues[j].irq);
			close(cards[i].queues[j].held);
		}
	}
	nr_cards = 0;
}

/* ---- interrupts ---- */

static unsigned int gsi_of(const struct vhost *card, unsigned int index)
{
	return (unsigned int)(IOAPIC_PINS + (card - cards) * QUEUES_MAX + index);
}

static void route_pin(struct kvm_irq_routing *table, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	table->entries[table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { chip, pin },
	};
}

static void route_message(struct kvm_irq_routing *table, uint32_t gsi,
			  const struct kiln_virtio_msi *msi)
{
	if (!(msi->flags & KILN_VIRTIO_MSI_ENABLE))
		return;
	table->entries[table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { (uint32_t)msi->address, (uint32_t)(msi->address >> 32), msi->data, { 0 } },
	};
}

/* The table is replaced as a whole: the pins as they are at first, and the messages. */
static int route(int vm_fd)
{
	union {
		struct kvm_irq_routing table;
		char room[sizeof(struct kvm_irq_routing) +
			  (PIC_PINS + IOAPIC_PINS + MESSAGES) * sizeof(struct kvm_irq_routing_entry)];
	} u = { .table.nr = 0 };

	for (uint32_t i = 0; i < IOAPIC_PINS; i++) {
		route_pin(&u.table, i, KVM_IRQCHIP_IOAPIC, i);
		if (i < PIC_PINS)
			route_pin(&u.table, i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				  i % 8);
	}
	for (unsigned int i = 0; i < nr_cards; i++)
		for (unsigned int j = 0; j < cards[i].nr_queues; j++)
			route_message(&u.table, gsi_of(&cards[i], j), &cards[i].queues[j].msi);
	return vm_ioctl(vm_fd, KVM_SET_GSI_ROUTING, &u.table);
}

static int set_message(struct queue *queue, int vm_fd, const struct kiln_virtio_msi *msi)
{
	int ret;

	pthread_mutex_lock(&routing);
	queue->msi = *msi;
	ret = route(vm_fd);
	pthread_mutex_unlock(&routing);
	return ret;
}

static int bind_irq(struct vhost *card, unsigned int index, bool bound)
{
	struct queue *queue = &card->queues[index];
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)queue->irq,
		.gsi = gsi_of(card, index),
		.flags = bound ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	if (queue->bound == bound)
		return 0;
	queue->bound = bound;
	return vm_ioctl(card->vm_fd, KVM_IRQFD, &irqfd);
}

/* Where a used buffer is signalled. */
static int signal_of(const struct queue *queue)
{
	if (queue->msi.flags & KILN_VIRTIO_MSI_MASKED)
		return queue->held;
	return queue->msi.flags & KILN_VIRTIO_MSI_ENABLE ? queue->irq : queue->used;
}

static int direct(struct vhost *card, unsigned int index)
{
	struct vhost_vring_file file = { .index = index % 2, .fd = signal_of(&card->queues[index]) };

	if (is_control(card, index))
		return 0;
	return vm_ioctl(card->pairs[index / 2].fd, VHOST_SET_VRING_CALL, &file);
}

static bool is_held(const struct queue *queue)
{
	struct pollfd fd = { .fd = queue->held, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

static int set_msi(struct vhost *card, const struct kiln_virtio_msi *msi)
{
	struct queue *queue;

	/* The configuration never changes, so there is nothing to send. */
	if (msi->index == KILN_VIRTIO_CONFIG_INDEX)
		return 0;
	if (msi->index >= card->nr_queues)
		return fail(EINVAL);
	queue = &card->queues[msi->index];
	if (set_message(queue, card->vm_fd, msi) ||
	    bind_irq(card, msi->index, msi->flags & KILN_VIRTIO_MSI_ENABLE) ||
	    direct(card, msi->index))
		return -1;
	if (!(msi->flags & KILN_VIRTIO_MSI_MASKED) && is_held(queue)) {
		loop_consume(queue->held);
		if (msi->flags & KILN_VIRTIO_MSI_ENABLE)
			loop_wake(queue->irq);
	}
	return 0;
}

static int get_msi(struct vhost *card, struct kiln_virtio_msi *msi)
{
	uint32_t index = msi->index;

	if (index >= card->nr_queues) {
		*msi = (struct kiln_virtio_msi){ .index = index };
		return 0;
	}
	*msi = card->queues[index].msi;
	msi->pending = is_held(&card->queues[index]);
	return 0;
}

/* ---- kicks ---- */

static int set_doorbell(struct vhost *card, const struct kiln_virtio_doorbell *bell)
{
	struct kvm_ioeventfd ioeventfd = { .addr = bell->addr };

	if (bell->index >= card->nr_queues)
		return fail(EINVAL);
	/* Its kicks go to vhost_kicked(). */
	if (is_control(card, bell->index))
		return fail(EOPNOTSUPP);
	ioeventfd.fd = card->queues[bell->index].kick;
	if (bell->flags & KILN_VIRTIO_DOORBELL_DEASSIGN)
		ioeventfd.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	if (vm_ioctl(card->vm_fd, KVM_IOEVENTFD, &ioeventfd))
		return -1;
	card->queues[bell->index].doorbell = ioeventfd.flags ? 0 : bell->addr;
	return 0;
}

/* A reset takes it away, as that of a device of kiln's does: the next driver's queues may be others. */
static void drop_doorbell(struct vhost *card, unsigned int index)
{
	struct kvm_ioeventfd ioeventfd = {
		.addr = card->queues[index].doorbell, .fd = card->queues[index].kick,
		.flags = KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	if (card->queues[index].doorbell)
		vm_ioctl(card->vm_fd, KVM_IOEVENTFD, &ioeventfd);
	card->queues[index].doorbell = 0;
}

/* ---- the status ---- */

/* Of a pair that is not active, the tap has no queue that could be polled. */
static int set_backend(struct vhost *card, unsigned int index, bool on)
{
	const struct pair *pair = &card->pairs[index / 2];
	struct vhost_vring_file file = { .index = index % 2, .fd = on ? pair->tap : -1 };

	if (is_control(card, index) || (on && pair->detached))
		return 0;
	return vm_ioctl(pair->fd, VHOST_NET_SET_BACKEND, &file);
}

static int set_pair(struct vhost *card, unsigned int number, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };
	struct pair *pair = &card->pairs[number];

	if (pair->detached == !on)
		return 0;
	for (unsigned int i = 2 * number; !on && i < 2 * number + 2; i++)
		set_backend(card, i, false);
	if (vm_ioctl(pair->tap, TUNSETQUEUE, &ifr))
		return -1;
	pair->detached = !on;
	if (!on || !(card->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return 0;
	for (unsigned int i = 2 * number; i < 2 * number + 2; i++)
		if (card->queues[i].enabled && set_backend(card, i, true))
			return -1;
	return 0;
}

/* No packet comes to the others once this is done (§5.1.6.5.5). */
static int set_active(struct vhost *card, unsigned int pairs)
{
	for (unsigned int i = 0; i < card->nr_pairs; i++)
		if (set_pair(card, i, i < pairs))
			return -1;
	card->active = pairs;
	return 0;
}

static int set_offloads(const struct vhost *card)
{
	static const struct {
		unsigned int feature;
		unsigned long flag;
	} rows[] = {
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	unsigned long flags = 0;

	if (card->features & BIT64(VIRTIO_NET_F_GUEST_CSUM)) {
		flags = TUN_F_CSUM;
		for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
			if (card->features & BIT64(rows[i].feature))
				flags |= rows[i].flag;
	}
	return vm_ioctl(card->pairs[0].tap, TUNSETOFFLOAD, (void *)flags);
}

static int start(struct vhost *card)
{
	if (set_offloads(card))
		return -1;
	for (unsigned int i = 0; i < card->nr_queues; i++)
		if (card->queues[i].enabled && set_backend(card, i, true))
			return -1;
	return 0;
}

static int stop(struct vhost *card)
{
	for (unsigned int i = 0; i < card->nr_queues; i++)
		set_backend(card, i, false);
	card->status &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	return 0;
}

static int reset(struct vhost *card)
{
	struct kiln_virtio_msi none = { 0 };
	int ret = 0;

	stop(card);
	if (set_active(card, 1))
		ret = -1;
	for (unsigned int i = 0; i < card->nr_queues; i++) {
		drop_doorbell(card, i);
		bind_irq(card, i, false);
		card->queues[i].enabled = false;
		none.index = i;
		if (set_message(&card->queues[i], card->vm_fd, &none))
			ret = -1;
		loop_consume(card->queues[i].held);
	}
	card->status = 0;
	card->features = 0;
	return ret;
}

static int set_status(struct vhost *card, uint8_t status)
{
	if (!status)
		return reset(card);
	if (status & VIRTIO_CONFIG_S_FEATURES_OK && !(card->features & BIT64(VIRTIO_F_VERSION_1)))
		return fail(EINVAL);
	if (status & ~card->status & VIRTIO_CONFIG_S_DRIVER_OK && start(card)) {
		int err = errno;

		stop(card);
		return fail(err);
	}
	card->status = status;
	return 0;
}

static int set_enable(struct vhost *card, const struct vhost_vring_state *state)
{
	if (state->index >= card->nr_queues)
		return fail(ENOBUFS);
	card->queues[state->index].enabled = state->num;
	if (!(card->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return 0;
	return set_backend(card, state->index, state->num);
}

/* ---- the back end ---- */

static int set_memory(const struct vhost *card, const struct guest_memory *memory)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region regions[2];
	} table = {
		.head.nregions = memory->high_size ? 2 : 1,
		.regions = {
			{ .memory_size = memory->low_size, .userspace_addr = (uintptr_t)memory->base },
			{ .guest_phys_addr = HIGH_RAM_BASE, .memory_size = memory->high_size,
			  .userspace_addr = (uintptr_t)memory->base + memory->low_size },
		},
	};

	return call_all(card, VHOST_SET_MEM_TABLE, &table);
}

int vhost_set_net(int fd, struct net_tap *tap, const struct guest_memory *memory)
{
	struct vhost *card = find(fd);

	if (set_memory(card, memory))
		return error_set("--net tap=%s: vhost-net does not take the guest's memory: %s; use vhost=kiln",
				 tap->name, strerror(errno));
	card->ctrl.memory = memory;
	for (unsigned int i = 0; i < card->nr_pairs; i++)
		card->pairs[i].tap = tap->fds[i];
	tap->count = 0;
	if (set_active(card, 1))
		return error_set("--net tap=%s: a queue of it cannot be detached: %s; use vhost=kiln",
				 tap->name, strerror(errno));
	memcpy(card->config.mac, tap->mac, NET_MAC);
	card->config.status = VIRTIO_NET_S_LINK_UP;
	card->config.max_virtqueue_pairs = (uint16_t)card->nr_pairs;
	card->config.mtu = (uint16_t)tap->mtu;
	return 0;
}

/* ---- features and configuration ---- */

static int get_features(struct vhost *card, uint64_t *features)
{
	if (vm_ioctl(card->pairs[0].fd, VHOST_GET_FEATURES, features))
		return -1;
	*features = (*features & RING_FEATURES) | CARD_FEATURES;
	if (card->nr_pairs > 1)
		*features |= PAIRS_FEATURES;
	return 0;
}

static int set_features(struct vhost *card, const uint64_t *features)
{
	uint64_t rings = *features & ~(CARD_FEATURES | PAIRS_FEATURES);

	if (call_all(card, VHOST_SET_FEATURES, &rings))
		return -1;
	card->features = *features;
	card->ctrl.event_idx = *features & BIT64(VIRTIO_RING_F_EVENT_IDX);
	return 0;
}

static int get_config(const struct vhost *card, struct vhost_vdpa_config *range)
{
	if (range->off > CONFIG_SIZE || range->len > CONFIG_SIZE - range->off)
		return fail(EINVAL);
	memcpy(range->buf, (const uint8_t *)&card->config + range->off, range->len);
	return 0;
}

/* ---- commands ---- */

static bool obey(void *opaque, const uint8_t bytes[VHOST_CTRL_BYTES], size_t len)
{
	struct vhost *card = opaque;
	unsigned int pairs = bytes[2] | bytes[3] << 8;

	if (len != sizeof(struct virtio_net_ctrl_hdr) + sizeof(struct virtio_net_ctrl_mq) ||
	    bytes[0] != VIRTIO_NET_CTRL_MQ || bytes[1] != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
	    !(card->features & BIT64(VIRTIO_NET_F_MQ)) || !pairs || pairs > card->nr_pairs)
		return false;
	if (!set_active(card, pairs))
		return true;
	set_active(card, card->active);
	return false;
}

const char *vhost_kicked(int fd, unsigned int index)
{
	struct vhost *card = find(fd);
	const char *cause;
	bool notify;

	if (!is_control(card, index) || !(card->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return NULL;
	cause = vhost_ctrl_serve(&card->ctrl, obey, card, &notify);
	if (notify)
		loop_wake(signal_of(&card->queues[index]));
	return cause;
}

/* ---- calls ---- */

/* What starts with the number of a queue, which is another one to vhost-net. */
static int pass_on(const struct vhost *card, unsigned long request, unsigned int *index)
{
	unsigned int number = *index;
	int ret;

	*index = number % 2;
	ret = vm_ioctl(card->pairs[number / 2].fd, request, index);
	*index = number;
	return ret;
}

/* Those of rings are the kernel's own; two descriptors are kept for what is made of them. */
static int ring_call(struct vhost *card, unsigned long request, void *arg)
{
	unsigned int *index = arg;
	const struct vhost_vring_file *file = arg;

	if (*index >= card->nr_queues)
		return fail(ENOBUFS);
	if (request == VHOST_SET_VRING_KICK)
		card->queues[*index].kick = file->fd;
	if (request == VHOST_SET_VRING_CALL) {
		card->queues[*index].used = file->fd;
		return direct(card, *index);	/* the message may have been there first */
	}
	if (!is_control(card, *index))
		return pass_on(card, request, index);
	if (request == VHOST_SET_VRING_KICK || request == VHOST_SET_VRING_ERR)
		return 0;
	return vhost_ctrl_call(&card->ctrl, request, arg);
}

static int answer(struct vhost *card, unsigned long request, void *arg)
{
	switch (request) {
	case VHOST_GET_FEATURES:
		return get_features(card, arg);
	case VHOST_SET_FEATURES:
		return set_features(card, arg);
	case VHOST_VDPA_GET_DEVICE_ID:
		*(uint32_t *)arg = VIRTIO_ID_NET;
		return 0;
	case VHOST_VDPA_GET_STATUS:
		*(uint8_t *)arg = card->status;
		return 0;
	case VHOST_VDPA_SET_STATUS:
		return set_status(card, *(uint8_t *)arg);
	case VHOST_VDPA_SUSPEND:
		return stop(card);
	case VHOST_VDPA_GET_CONFIG:
		return get_config(card, arg);
	case VHOST_VDPA_GET_CONFIG_SIZE:
		*(uint32_t *)arg = CONFIG_SIZE;
		return 0;
	case VHOST_VDPA_GET_VRING_NUM:
		*(uint16_t *)arg = QUEUE_MAX;
		return 0;
	case VHOST_VDPA_SET_CONFIG_CALL:
		return 0;	/* it never changes */
	case VHOST_VDPA_SET_VRING_ENABLE:
		return set_enable(card, arg);
	case KILN_VIRTIO_SET_DOORBELL:
		return set_doorbell(card, arg);
	case KILN_VIRTIO_SET_MSI:
		return set_msi(card, arg);
	case KILN_VIRTIO_GET_MSI:
		return get_msi(card, arg);
	case KILN_VIRTIO_GET_BROKEN:
		return fail(ENODATA);	/* vhost-net does not say */
	case VHOST_SET_OWNER:
		return call_all(card, request, arg);
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_ADDR:
	case VHOST_SET_VRING_BASE:
	case VHOST_GET_VRING_BASE:
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		return ring_call(card, request, arg);
	default:
		return fail(ENOTTY);
	}
}

int vhost_call(int fd, unsigned long request, void *arg)
{
	struct vhost *card = find(fd);

	if (request == KILN_CREATE_VIRTIO)
		return create(fd, arg);
	/* Or the VM's own. */
	return card ? answer(card, request, arg) : vm_ioctl(fd, request, arg);
}
