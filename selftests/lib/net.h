/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A network device under test between its two ends, both the test's: a guest that is played on the rings, and the wire, a
 * tap with a packet socket on it.
 */
#ifndef KILN_SELFTESTS_NET_H
#define KILN_SELFTESTS_NET_H

#include <linux/virtio_net.h>
#include <net/if.h>

#include "virtio.h"

#define HDR		12
#define ETH		14

#define RX		0
#define TX		1
#define TX_DATA		VIRTIO_DATA
#define RX_DATA		(VIRTIO_DATA + 0x40000UL)
#define CTRL_DATA	(VIRTIO_DATA + 0x30000UL)

#define F(n)		BIT64(VIRTIO_NET_F_##n)

/* Younger than Debian 12's headers. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4	5
#define VIRTIO_NET_F_GUEST_USO4		54
#define VIRTIO_NET_F_GUEST_USO6		55
#define VIRTIO_NET_F_HOST_USO		56
#endif

static const uint8_t guest_mac[6] __attribute__((unused)) = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t other_mac[6] __attribute__((unused)) = { 0x52, 0x54, 0, 9, 9, 9 };
static const uint8_t group_mac[6] __attribute__((unused)) = { 0x33, 0x33, 0, 0, 0, 7 };
static const uint8_t all_macs[6] __attribute__((unused)) = { 255, 255, 255, 255, 255, 255 };

struct hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

/* ---- the wire ---- */

#define WIRE_TAPS	2

struct wire {
	char name[IFNAMSIZ];
	int tap[WIRE_TAPS], n;
	int sock;	/* packets with a header of 10 bytes: PACKET_VNET_HDR */
};

/*
 * The tap with several queues is the same from the first test to the last, held by a queue that is not in use: it has
 * queueing disciplines for 256, which a kernel with lockdep takes seconds to make and to undo. A constructor of the suite
 * calls this.
 */
void wire_hold_many_queues(void);

/* A wire with @n taps. False if this kernel has none. */
bool wire_open(struct wire *w, int n);
void wire_close(struct wire *w);
void wire_set_up(struct wire *w, bool up);

/* The tap's interface goes, and its descriptors stay. */
void wire_delete(struct wire *w);

/* A frame to the guest, after its header, which may be NULL. */
void wire_send(struct wire *w, const struct hdr *h, const void *frame, size_t len);

/* The next frame the guest sent: its length, or 0 after @ms. Others are not the test's. */
size_t wire_recv(struct wire *w, struct hdr *h, void *frame, size_t max, int ms);

/* ---- frames ---- */

void make_frame(uint8_t *frame, const uint8_t *to, size_t len, uint8_t seed);

/* TCP from the one end of the wire to the other, its checksum that of the pseudo-header, and the header for it. */
void make_tcp(uint8_t *f, const uint8_t *to, size_t payload, uint16_t mss, uint16_t port, struct hdr *h);

/* UDP to be split into packets of @mss bytes of payload each. */
void make_udp(uint8_t *f, const uint8_t *to, size_t payload, uint16_t mss, struct hdr *h);

/* Of TCP or UDP. */
bool ip_sum_right(const uint8_t *f, size_t len);

/* ---- the guest ---- */

/* For KILN_VIRTIO_SET_NET, with the wire's taps. */
struct kiln_virtio_net net_args(const struct wire *w);

/* Send from guest memory at TX_DATA. */
void guest_send(struct virtio *v, unsigned int queue, const struct hdr *h, const void *frame, size_t len);

/* Buffer i is RX_DATA + i * @size. */
void guest_add_buffers(struct virtio *v, unsigned int queue, unsigned int first, unsigned int n, uint32_t size);

/* A used buffer: its length, or 0 after @ms. */
uint32_t guest_recv(struct virtio *v, unsigned int queue, int ms);

/* A command: make it available, with its answer's place at the result; and the same, with its answer. */
volatile uint8_t *put_command(struct virtio *v, uint8_t class, uint8_t cmd, const void *data, size_t len);
uint8_t command(struct virtio *v, uint8_t class, uint8_t cmd, const void *data, size_t len);
uint8_t rx_mode(struct virtio *v, uint8_t cmd, uint8_t on);
uint8_t set_pairs(struct virtio *v, uint16_t pairs);
uint8_t set_offloads(struct virtio *v, uint64_t offloads);

struct virtio_net_config net_config(struct virtio *v);
bool broken_soon(struct virtio *v);

/* The counter of that name. */
uint64_t drops(struct vm *vm);

#endif
