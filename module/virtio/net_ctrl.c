// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control queue (virtio 1.2 §5.1.6.5), and the filter the driver sets up
 * through it. A command is its class, its number and its data; the answer is
 * one byte.
 *
 * Receiving looks at the filter for each packet, on other queues, so it is
 * changed under a sequence lock: who reads it meanwhile reads it again.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "../compat.h"
#include "net.h"

/* ----------------------------------------------------------------- filter */

void kiln_net_reset_filter(struct kiln_virtio *dev)
{
	const struct virtio_net_config *config = (const void *)dev->config;
	struct nic *nic = dev->priv;
	struct net_filter *filter = &nic->filter;

	write_seqlock(&nic->filter_lock);
	memset(filter, 0, sizeof(*filter));
	memcpy(filter->mac, config->mac, ETH_ALEN);
	/* §5.1.6.5.1.1: all of it, until the driver says otherwise. */
	filter->mode = NET_PROMISC;
	filter->by_vlan = kiln_virtio_has(dev, VIRTIO_NET_F_CTRL_VLAN);
	write_sequnlock(&nic->filter_lock);
}

static bool listed(const struct net_macs *macs, const u8 *mac)
{
	u32 i, nr = min_t(u32, READ_ONCE(macs->nr), NET_MACS);

	for (i = 0; i < nr; i++) {
		if (ether_addr_equal_unaligned(macs->mac[i], mac))
			return true;
	}
	return macs->overflow;
}

static bool vlan_passes(const struct net_filter *filter, const u8 *head)
{
	const struct vlan_ethhdr *eth = (const void *)head;
	__be16 proto = get_unaligned(&eth->h_vlan_proto);

	if (!filter->by_vlan || !eth_type_vlan(proto))
		return true;
	return test_bit(get_unaligned_be16(&eth->h_vlan_TCI) & VLAN_VID_MASK,
			filter->vlans);
}

static bool mac_passes(const struct net_filter *filter, const u8 *mac)
{
	u32 mode = filter->mode;

	if (is_broadcast_ether_addr(mac))
		return !(mode & NET_NOBCAST);
	if (is_multicast_ether_addr(mac))
		return !(mode & NET_NOMULTI) &&
		       (mode & NET_ALLMULTI || listed(&filter->multicast, mac));
	return !(mode & NET_NOUNI) &&
	       (mode & NET_ALLUNI ||
		ether_addr_equal_unaligned(filter->mac, mac) ||
		listed(&filter->unicast, mac));
}

static bool passes(const struct net_filter *filter, void *packet)
{
	u8 buf[VLAN_ETH_HLEN];
	const u8 *head;

	if (filter->mode & NET_PROMISC)
		return true;
	head = kiln_tap_head(packet, buf);
	return head && vlan_passes(filter, head) && mac_passes(filter, head);
}

bool kiln_net_wanted(struct nic *nic, void *packet)
{
	unsigned int seq;
	bool wanted;

	do {
		seq = read_seqbegin(&nic->filter_lock);
		wanted = passes(&nic->filter, packet);
	} while (read_seqretry(&nic->filter_lock, seq));
	return wanted;
}

/* --------------------------------------------------------------- commands */

/* What is left of a command must be exactly @len bytes. */
static bool take(struct iov_iter *data, void *to, size_t len)
{
	return iov_iter_count(data) == len && copy_from_iter_full(to, len, data);
}

static bool set_mode(struct kiln_virtio *dev, u8 cmd, struct iov_iter *data)
{
	int needs = cmd <= VIRTIO_NET_CTRL_RX_ALLMULTI ?
		    VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA;
	struct nic *nic = dev->priv;
	u8 on;

	if (cmd > VIRTIO_NET_CTRL_RX_NOBCAST || !kiln_virtio_has(dev, needs) ||
	    !take(data, &on, sizeof(on)) || on > 1)
		return false;
	write_seqlock(&nic->filter_lock);
	nic->filter.mode &= ~BIT(cmd);
	nic->filter.mode |= on << cmd;
	write_sequnlock(&nic->filter_lock);
	return true;
}

/* One of the two tables of §5.1.6.5.2. */
static bool take_macs(struct iov_iter *data, struct net_macs *macs)
{
	__le32 nr;
	size_t len;

	if (!copy_from_iter_full(&nr, sizeof(nr), data) ||
	    le32_to_cpu(nr) > iov_iter_count(data) / ETH_ALEN)
		return false;
	macs->nr = le32_to_cpu(nr);
	macs->overflow = macs->nr > NET_MACS;
	if (macs->overflow) {
		iov_iter_advance(data, (size_t)macs->nr * ETH_ALEN);
		macs->nr = 0;
		return true;
	}
	len = macs->nr * ETH_ALEN;
	return !len || copy_from_iter_full(macs->mac, len, data);
}

static bool set_table(struct kiln_virtio *dev, struct iov_iter *data)
{
	struct nic *nic = dev->priv;
	struct net_macs *unicast = &nic->scratch[0];
	struct net_macs *multicast = &nic->scratch[1];

	if (!kiln_virtio_has(dev, VIRTIO_NET_F_CTRL_RX) ||
	    !take_macs(data, unicast) || !take_macs(data, multicast) ||
	    iov_iter_count(data))
		return false;
	write_seqlock(&nic->filter_lock);
	nic->filter.unicast = *unicast;
	nic->filter.multicast = *multicast;
	write_sequnlock(&nic->filter_lock);
	return true;
}

static bool set_address(struct kiln_virtio *dev, struct iov_iter *data)
{
	struct virtio_net_config *config = (void *)dev->config;
	struct nic *nic = dev->priv;
	u8 mac[ETH_ALEN];

	if (!kiln_virtio_has(dev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    !take(data, mac, sizeof(mac)) || is_multicast_ether_addr(mac))
		return false;
	write_seqlock(&nic->filter_lock);
	memcpy(nic->filter.mac, mac, sizeof(mac));
	write_sequnlock(&nic->filter_lock);
	/* A driver that reads it before it has the answer gets either. */
	memcpy(config->mac, mac, sizeof(mac));
	return true;
}

static bool mac_command(struct kiln_virtio *dev, u8 cmd, struct iov_iter *data)
{
	switch (cmd) {
	case VIRTIO_NET_CTRL_MAC_TABLE_SET:
		return set_table(dev, data);
	case VIRTIO_NET_CTRL_MAC_ADDR_SET:
		return set_address(dev, data);
	default:
		return false;
	}
}

static bool vlan_command(struct kiln_virtio *dev, u8 cmd, struct iov_iter *data)
{
	struct nic *nic = dev->priv;
	__le16 id;

	if (cmd > VIRTIO_NET_CTRL_VLAN_DEL ||
	    !kiln_virtio_has(dev, VIRTIO_NET_F_CTRL_VLAN) ||
	    !take(data, &id, sizeof(id)) || le16_to_cpu(id) > VLAN_VID_MASK)
		return false;
	write_seqlock(&nic->filter_lock);
	__assign_bit(le16_to_cpu(id), nic->filter.vlans,
		     cmd == VIRTIO_NET_CTRL_VLAN_ADD);
	write_sequnlock(&nic->filter_lock);
	return true;
}

static bool pairs_command(struct kiln_virtio *dev, u8 cmd,
			  struct iov_iter *data)
{
	struct nic *nic = dev->priv;
	__le16 pairs;

	if (cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
	    !kiln_virtio_has(dev, VIRTIO_NET_F_MQ) ||
	    !take(data, &pairs, sizeof(pairs)) || !pairs ||
	    le16_to_cpu(pairs) > nic->nr_pairs)
		return false;
	/* No packet comes to the others once this is answered (§5.1.6.5). */
	kiln_net_set_active(dev, le16_to_cpu(pairs));
	return true;
}

/* Of all taps; if one of them will not, those before it get back what they had. */
static bool set_offloads(struct nic *nic, u64 offloads)
{
	u32 i;

	for (i = 0; i < nic->nr_pairs; i++) {
		if (kiln_tap_set_offloads(&nic->taps[i], offloads))
			break;
	}
	if (i == nic->nr_pairs) {
		nic->offloads = offloads;
		return true;
	}
	while (i--)
		kiln_tap_set_offloads(&nic->taps[i], nic->offloads);
	return false;
}

static bool offloads_command(struct kiln_virtio *dev, u8 cmd,
			     struct iov_iter *data)
{
	struct nic *nic = dev->priv;
	__le64 raw;
	u64 offloads;

	if (cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !kiln_virtio_has(dev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    !take(data, &raw, sizeof(raw)))
		return false;
	offloads = le64_to_cpu(raw);
	if (offloads & ~(dev->features & NET_GUEST_OFFLOADS))
		return false;
	if (offloads == nic->offloads)
		return true;
	return __ratelimit(&nic->changes) && set_offloads(nic, offloads);
}

static const struct {
	u8 class;
	bool (*command)(struct kiln_virtio *dev, u8 cmd, struct iov_iter *data);
} classes[] = {
	{ VIRTIO_NET_CTRL_RX, set_mode },
	{ VIRTIO_NET_CTRL_MAC, mac_command },
	{ VIRTIO_NET_CTRL_VLAN, vlan_command },
	{ VIRTIO_NET_CTRL_MQ, pairs_command },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, offloads_command },
};

static u8 obey(struct kiln_virtio *dev, struct iov_iter *data)
{
	struct virtio_net_ctrl_hdr header;
	int i;

	if (!copy_from_iter_full(&header, sizeof(header), data))
		return VIRTIO_NET_ERR;
	for (i = 0; i < ARRAY_SIZE(classes); i++) {
		if (classes[i].class == header.class)
			return classes[i].command(dev, header.cmd, data) ?
			       VIRTIO_NET_OK : VIRTIO_NET_ERR;
	}
	return VIRTIO_NET_ERR;
}

static void serve_one(struct kiln_queue *queue,
		      const struct kiln_vring_chain *chain)
{
	struct virtio_net_ctrl_hdr *header;
	struct iov_iter data, to;
	bool answered;
	u8 answer;

	if (chain->out_len < sizeof(*header) || !chain->in_len) {
		kiln_queue_push(queue, chain, 0);
		kiln_virtio_break(queue, -EINVAL, chain->in_len ?
				  "a network command has no header" :
				  "a network command has no room for its answer");
		return;
	}
	iov_iter_init(&data, ITER_SOURCE, chain->iov, chain->nr_out,
		      chain->out_len);
	iov_iter_init(&to, ITER_DEST, chain->iov + chain->nr_out, chain->nr_in,
		      chain->in_len);
	answer = obey(queue->dev, &data);
	answered = copy_to_iter(&answer, sizeof(answer), &to);
	kiln_queue_wrote(queue, chain->iov + chain->nr_out, chain->nr_in,
			 sizeof(answer));
	kiln_queue_push(queue, chain, answered);
	if (!answered)
		kiln_virtio_break(queue, -EFAULT,
				  "the answer to a network command cannot be written");
}

bool kiln_net_serve_ctrl(struct kiln_queue *queue, unsigned int *budget)
{
	struct kiln_vring_chain chain;

	for (; *budget; --*budget) {
		if (!kiln_queue_pop(queue, &chain))
			return false;
		serve_one(queue, &chain);
	}
	return true;
}
