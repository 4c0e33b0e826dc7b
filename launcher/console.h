/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is at the other end of the serial line: the terminal, a pty, a socket,
 * a file or nothing. vCPU threads only ever touch a bounded ring under a short
 * lock; the event loop moves bytes between it and the descriptors.
 *
 * With somebody attached, a full ring holds the guest back (uart.h). With
 * nobody attached (no client, no slave open) the ring keeps the latest bytes,
 * so that a guest runs on and who comes late sees the end of its output.
 */
#ifndef KILN_CONSOLE_H
#define KILN_CONSOLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "ending.h"
#include "loop.h"
#include "uart.h"

#define CONSOLE_RING	(32 * 1024)
#define CONSOLE_INPUT	4096
#define CONSOLE_LEAVE	0x1d	/* Ctrl-] */

struct console {
	struct uart_peer peer;

	pthread_mutex_t lock;		/* below the UART's lock */
	uint8_t ring[CONSOLE_RING];	/* [lock] */
	size_t first, count;		/* [lock] */
	bool attached;			/* [lock] somebody reads what we write */
	bool kicked;			/* [lock] the loop was woken */
	bool delayed;			/* [lock] the loop will be, by @delay */
	uint64_t lost;			/* [lock] bytes that found no room */

	/* All below: set by console_open(), then the loop's. */
	struct uart_guest *guest;
	struct loop *loop;
	struct ending *ending;
	struct loop_source in, out, wake, delay, listener, retry;
	bool in_watched, out_watched;
	bool in_plain, out_plain;	/* cannot be polled: files, /dev/null */
	bool is_terminal;		/* Ctrl-] leaves, input is always read */
	bool is_pty;
	uint8_t input[CONSOLE_INPUT];
	size_t input_count;

	/* What was made and has to go again. */
	char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char file_path[256];
	bool file_created, truncate;
};

/*
 * Opens what @spec names: stdio, pty, socket:PATH, file:PATH, null. Nothing
 * moves yet. -1 with a sentence, and nothing is left behind.
 */
int console_open(struct console *console, const char *spec);

/* Connects it to the guest's end and the loop. -1 with a sentence. */
int console_start(struct console *console, struct uart_guest *guest, struct loop *loop,
		  struct ending *ending);

/* Gives what the guest wrote last a second to get out, then closes everything. */
void console_close(struct console *console);

/* Where output may go without us: a descriptor that stays for the run. -1: nowhere. */
int console_direct_output(const struct console *console);

/* Nobody at the other end, ever. */
bool console_is_null(const struct console *console);

/* The size of its window, 0 by 0 where it has none. */
void console_window(const struct console *console, uint16_t *cols, uint16_t *rows);

/* Between console.c and console_open.c. */
void console_init(struct console *console);
bool console_spec_valid(const char *spec);

#endif
