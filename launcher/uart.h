/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The serial port: a 16550A (National PC16550D datasheet) at 0x3f8, IRQ 4.
 *
 * It never waits. What the guest transmits goes into its peer's bounded
 * buffer; when that has no room for a FIFO's worth, the transmitter is "busy"
 * (THRE clear) until the peer made room, and a byte written all the same is
 * lost, as on the wire. What the peer receives comes in only as far as the
 * receive FIFO has room and the guest raises RTS, so nothing is lost before a
 * driver listens.
 */
#ifndef KILN_UART_H
#define KILN_UART_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "irq.h"

#define UART_COM1	0x3f8
#define UART_COM1_GSI	4
#define UART_FIFO	16

/* The other end of the line. Called with the UART's lock held, so it must not call back. */
struct uart_peer {
	size_t (*room)(struct uart_peer *peer);
	void (*put)(struct uart_peer *peer, uint8_t byte);
	/* The guest is ready for more input than it was. */
	void (*listen)(struct uart_peer *peer);
};

/* The guest's end, whatever device that is (vconsole.h is another). Called by the event loop only. */
struct uart_guest {
	/* Bytes from the peer; returns how many were taken. */
	size_t (*receive)(struct uart_guest *guest, const uint8_t *bytes, size_t count);
	/* The peer has room again. */
	void (*peer_ready)(struct uart_guest *guest);
};

struct uart {
	struct port_device port;
	struct uart_guest guest;
	struct irq_line *irq;
	struct uart_peer *peer;
	pthread_mutex_t lock;
	/* All below: [lock], reset by uart_init(). */
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t errors;		/* LSR bits that reading LSR clears */
	uint8_t msr_delta;	/* MSR bits 0-3, cleared by reading MSR */
	uint8_t modem;		/* MSR bits 4-7 as last seen */
	bool thr_interrupt;	/* THR became empty and nobody has seen it */
	bool busy;		/* the guest was told or shown that THR is full */
	uint8_t fifo[UART_FIFO];
	unsigned int first, count;
};

void uart_init(struct uart *uart, struct irq_line *irq, struct uart_peer *peer);

/* How many bytes uart_receive() would take now. */
size_t uart_room(struct uart *uart);

/* Bytes from the peer; returns how many were taken. */
size_t uart_receive(struct uart *uart, const uint8_t *bytes, size_t count);

/* The peer has room again. */
void uart_peer_ready(struct uart *uart);

#endif
