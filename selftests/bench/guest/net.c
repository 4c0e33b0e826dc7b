// SPDX-License-Identifier: GPL-2.0-only
/*
 * A network card: send:BYTES:BURST times packets from their being made until all of a burst are used; get:BYTES:BURST
 * times packets that the peer at the other end of the wire (peer.c) sends on request, a burst for each request, from
 * the request to the last of them.
 */
#include "guest.h"
#include "wire.h"

#define PACKETS		4096u
#define BURST_MAX	128u
#define F_MRG_RXBUF	15
#define HEADER		12u		/* struct virtio_net_hdr_v1 */
#define RX_BYTES	2048u
#define LONGEST		(HEADER + 1514)
#define PATIENCE	10000000u	/* ticks until a request is repeated while the peer is not up */

static struct device card;
static struct queue *rx, *tx;
static uint8_t *rx_buffers, *tx_buffers;

static void give(uint16_t slot)
{
	rx->desc[slot] = (struct desc){ (uintptr_t)(rx_buffers + slot * RX_BYTES), RX_BYTES, DESC_WRITE, 0 };
	queue_add(rx, slot);
}

static void make_packet(uint16_t slot, uint16_t type, uint32_t bytes)
{
	uint8_t *p = tx_buffers + slot * RX_BYTES;

	fill(p, 0, HEADER);
	fill(p + HEADER, 0xff, 6);
	copy(p + HEADER + 6, "\x52\x4b\0\0\0\1", 6);
	p[HEADER + 12] = type >> 8;
	p[HEADER + 13] = type;
	tx->desc[slot] = (struct desc){ (uintptr_t)p, HEADER + bytes, 0, 0 };
}

/* Sends those made in slots 0 to n - 1, and waits until they are gone. */
static void send(uint32_t n)
{
	for (uint16_t slot = 0; slot < n; slot++)
		queue_add(tx, slot);
	queue_want(tx, n);
	queue_kick(tx);
	while (n) {
		wait_until(queue_has_used(tx));
		for (; n && queue_has_used(tx); n--)
			queue_take(tx, NULL);
		queue_want(tx, n ? n : 1);
	}
}

/* Takes what has come, and gives the buffers back. Returns how many were the peer's, which have to be @bytes long. */
static uint32_t receive(uint32_t bytes)
{
	uint32_t n = 0, len;

	do {
		while (queue_has_used(rx)) {
			uint16_t slot = queue_take(rx, &len);
			const uint8_t *p = rx_buffers + slot * RX_BYTES + HEADER;

			if (p[12] == WIRE_ANSWER >> 8 && p[13] == (WIRE_ANSWER & 0xff)) {
				if (len != HEADER + bytes)
					fail("a packet has another length");
				n++;
			}
			give(slot);
		}
		queue_want(rx, 1);
	} while (queue_has_used(rx));
	queue_kick(rx);
	return n;
}

static void request(uint32_t bytes, uint32_t n)
{
	struct wire_request *r = (void *)(tx_buffers + HEADER + 14);

	make_packet(0, WIRE_REQUEST, 64);
	r->bytes = bytes;
	r->packets = n;
	send(1);
}

/* Nobody knows when the peer is up; an answer says that it is. */
static void find_peer(void)
{
	uint32_t begin;

	for (;;) {
		request(64, 1);
		for (begin = ticks(); ticks() - begin < PATIENCE;)
			if (receive(64))
				return;
	}
}

static void card_init(void)
{
	if (devices_start(VIRTIO_NET, 1u << F_MRG_RXBUF, &card, 1) != 1)
		fail("no network card");
	rx = &card.queues[0];
	tx = &card.queues[1];
	rx_buffers = pages(NUM * RX_BYTES);
	tx_buffers = pages(BURST_MAX * RX_BYTES);
	for (uint16_t slot = 0; slot < NUM; slot++)
		give(slot);
	queue_want(rx, 1);
	queue_kick(rx);
	find_peer();
}

static void get(uint32_t bytes, uint32_t burst)
{
	uint32_t n = 0;

	request(bytes, burst);
	for (;;) {
		n += receive(bytes);
		if (n == burst)
			return;
		wait_until(queue_has_used(rx));
	}
}

static uint32_t run(char op, uint32_t bytes, uint32_t burst, uint32_t packets)
{
	uint32_t begin = ticks();

	for (; packets; packets -= burst) {
		if (op == 'g') {
			get(bytes, burst);
			continue;
		}
		for (uint16_t slot = 0; slot < burst; slot++)
			make_packet(slot, WIRE_DATA, bytes);
		send(burst);
	}
	return ticks() - begin;
}

void measure_net(const struct words *w)
{
	uint32_t bytes = w->numbers[0], burst = w->numbers[1];

	if (bytes < 64 || HEADER + bytes > LONGEST || !burst || burst > BURST_MAX || PACKETS % burst)
		fail("no such packets");
	if (!rx)
		card_init();
	run(w->op, bytes, burst, PACKETS / 4);
	report(w, run(w->op, bytes, burst, PACKETS), PACKETS);
}
