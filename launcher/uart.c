// SPDX-License-Identifier: GPL-2.0-only
#include "uart.h"

#include <string.h>

#include "util.h"

/* Registers by offset, DLAB clear / set (PC16550D table II). */
enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RX		0x01
#define IER_THR		0x02
#define IER_LINE	0x04
#define IER_MODEM	0x08
#define IER_BITS	0x0f

#define IIR_NONE	0x01
#define IIR_MODEM	0x00
#define IIR_THR		0x02
#define IIR_RX		0x04
#define IIR_LINE	0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFOS	0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_STAYS	0xc9	/* trigger level, DMA mode, enable; the rest clears itself */

#define LCR_DLAB	0x80

#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08	/* on a PC it gates the interrupt */
#define MCR_LOOP	0x10
#define MCR_BITS	0x1f

#define LSR_DATA	0x01
#define LSR_OVERRUN	0x02
#define LSR_THR_EMPTY	0x20
#define LSR_IDLE	0x40

#define MSR_RI_FELL	0x04
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

static bool thr_empty(struct uart *uart)
{
	if (uart->mcr & MCR_LOOP)
		return true;
	/* A driver may write a whole FIFO once it saw THRE. */
	uart->busy = uart->peer->room(uart->peer) < UART_FIFO;
	return !uart->busy;
}

static unsigned int capacity(const struct uart *uart)
{
	return uart->fcr & FCR_ENABLE ? UART_FIFO : 1;
}

static unsigned int trigger(const struct uart *uart)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return uart->fcr & FCR_ENABLE ? levels[uart->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority (table IV). */
static uint8_t pending(const struct uart *uart)
{
	if (uart->ier & IER_LINE && uart->errors)
		return IIR_LINE;
	if (uart->ier & IER_RX && uart->count >= trigger(uart))
		return IIR_RX;
	/* Below the trigger level: the four character times of the timeout have always passed. */
	if (uart->ier & IER_RX && uart->count)
		return IIR_TIMEOUT;
	if (uart->ier & IER_THR && uart->thr_interrupt)
		return IIR_THR;
	if (uart->ier & IER_MODEM && uart->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct uart *uart)
{
	bool gate = (uart->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	irq_set(uart->irq, gate && pending(uart) != IIR_NONE);
}

/* Four lines from the peer, always there; or in loop mode our own outputs (§8.6.7). */
static uint8_t modem_lines(const struct uart *uart)
{
	uint8_t lines = 0;

	if (!(uart->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	if (uart->mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (uart->mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (uart->mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (uart->mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

static void update_modem(struct uart *uart)
{
	uint8_t lines = modem_lines(uart);
	uint8_t changed = lines ^ uart->modem;

	/* The delta bits lie four below the lines; RI counts only when it falls. */
	uart->msr_delta |= (changed & (MSR_DCD | MSR_DSR | MSR_CTS)) >> 4;
	if (changed & MSR_RI && !(lines & MSR_RI))
		uart->msr_delta |= MSR_RI_FELL;
	uart->modem = lines;
}

static void fifo_push(struct uart *uart, uint8_t byte)
{
	if (uart->count == capacity(uart)) {
		uart->errors |= LSR_OVERRUN;
		return;
	}
	uart->fifo[(uart->first + uart->count++) % UART_FIFO] = byte;
}

static bool listening(const struct uart *uart)
{
	return (uart->mcr & (MCR_RTS | MCR_LOOP)) == MCR_RTS && uart->count < capacity(uart);
}

static uint8_t read_rbr(struct uart *uart)
{
	uint8_t byte = uart->fifo[uart->first % UART_FIFO];

	if (!uart->count)
		return 0;
	uart->first = (uart->first + 1) % UART_FIFO;
	/* Once per emptied FIFO, not once per byte: it wakes another thread. */
	if (!--uart->count && listening(uart))
		uart->peer->listen(uart->peer);
	return byte;
}

static uint8_t read_iir(struct uart *uart)
{
	uint8_t iir = pending(uart);

	if (iir == IIR_THR)
		uart->thr_interrupt = false;
	return iir | (uart->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
	uint8_t lsr = uart->errors;

	uart->errors = 0;
	if (uart->count)
		lsr |= LSR_DATA;
	if (thr_empty(uart))
		lsr |= LSR_THR_EMPTY | LSR_IDLE;
	return lsr;
}

static uint8_t read_msr(struct uart *uart)
{
	uint8_t msr = uart->modem | uart->msr_delta;

	uart->msr_delta = 0;
	return msr;
}

static uint8_t read_register(struct uart *uart, uint16_t offset)
{
	bool dlab = uart->lcr & LCR_DLAB;

	switch (offset) {
	case RBR_THR_DLL:
		return dlab ? uart->dll : read_rbr(uart);
	case IER_DLM:
		return dlab ? uart->dlm : uart->ier;
	case IIR_FCR:
		return read_iir(uart);
	case LCR:
		return uart->lcr;
	case MCR:
		return uart->mcr;
	case LSR:
		return read_lsr(uart);
	case MSR:
		return read_msr(uart);
	default:
		return uart->scr;
	}
}

static void write_thr(struct uart *uart, uint8_t byte)
{
	if (uart->mcr & MCR_LOOP)
		fifo_push(uart, byte);
	else
		uart->peer->put(uart->peer, byte);
	/* Sent at once: THR is empty again, unless the peer has no room. */
	uart->thr_interrupt = thr_empty(uart);
}

static void write_ier(struct uart *uart, uint8_t value)
{
	/* Enabling the THR interrupt while THR is empty raises it (§8.6.6). */
	if (value & ~uart->ier & IER_THR && thr_empty(uart))
		uart->thr_interrupt = true;
	uart->ier = value & IER_BITS;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	/* Changing the mode clears the FIFOs (§8.6.5). */
	if (value & FCR_CLEAR_RX || (value ^ uart->fcr) & FCR_ENABLE)
		uart->count = 0;
	uart->fcr = value & FCR_ENABLE ? value & FCR_STAYS : 0;
	if (listening(uart))
		uart->peer->listen(uart->peer);
}

static void write_mcr(struct uart *uart, uint8_t value)
{
	bool before = listening(uart);

	uart->mcr = value & MCR_BITS;
	update_modem(uart);
	if (!before && listening(uart))
		uart->peer->listen(uart->peer);
}

static void write_register(struct uart *uart, uint16_t offset, uint8_t value)
{
	bool dlab = uart->lcr & LCR_DLAB;

	switch (offset) {
	case RBR_THR_DLL:
		if (dlab)
			uart->dll = value;
		else
			write_thr(uart, value);
		break;
	case IER_DLM:
		if (dlab)
			uart->dlm = value;
		else
			write_ier(uart, value);
		break;
	case IIR_FCR:
		write_fcr(uart, value);
		break;
	case LCR:
		uart->lcr = value;
		break;
	case MCR:
		write_mcr(uart, value);
		break;
	case SCR:
		uart->scr = value;
		break;
	}
}

static uint32_t uart_read(struct port_device *device, uint16_t offset, uint8_t size)
{
	struct uart *uart = container_of(device, struct uart, port);
	uint8_t value;

	(void)size;
	pthread_mutex_lock(&uart->lock);
	value = read_register(uart, offset);
	update_irq(uart);
	pthread_mutex_unlock(&uart->lock);
	return value;
}

static void uart_write(struct port_device *device, uint16_t offset, uint8_t size, uint32_t value)
{
	struct uart *uart = container_of(device, struct uart, port);

	(void)size;
	pthread_mutex_lock(&uart->lock);
	write_register(uart, offset, (uint8_t)value);
	update_irq(uart);
	pthread_mutex_unlock(&uart->lock);
}

static size_t guest_receive(struct uart_guest *guest, const uint8_t *bytes, size_t count)
{
	return uart_receive(container_of(guest, struct uart, guest), bytes, count);
}

static void guest_peer_ready(struct uart_guest *guest)
{
	uart_peer_ready(container_of(guest, struct uart, guest));
}

void uart_init(struct uart *uart, struct irq_line *irq, struct uart_peer *peer)
{
	memset(uart, 0, sizeof(*uart));
	uart->guest = (struct uart_guest){ guest_receive, guest_peer_ready };
	uart->port = (struct port_device){ "serial port", UART_COM1, 8, true, uart_read,
					   uart_write };
	uart->irq = irq;
	uart->peer = peer;
	uart->dll = 12;		/* 9600 baud; the rate changes nothing here */
	uart->modem = modem_lines(uart);
	pthread_mutex_init(&uart->lock, NULL);
}

size_t uart_room(struct uart *uart)
{
	size_t room;

	pthread_mutex_lock(&uart->lock);
	room = listening(uart) ? capacity(uart) - uart->count : 0;
	pthread_mutex_unlock(&uart->lock);
	return room;
}

size_t uart_receive(struct uart *uart, const uint8_t *bytes, size_t count)
{
	size_t taken = 0;

	pthread_mutex_lock(&uart->lock);
	while (taken < count && listening(uart))
		fifo_push(uart, bytes[taken++]);
	update_irq(uart);
	pthread_mutex_unlock(&uart->lock);
	return taken;
}

void uart_peer_ready(struct uart *uart)
{
	pthread_mutex_lock(&uart->lock);
	if (uart->busy && thr_empty(uart)) {
		uart->thr_interrupt = true;
		update_irq(uart);
	}
	pthread_mutex_unlock(&uart->lock);
}
