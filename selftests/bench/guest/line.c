// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lines of text: line:BYTES by a virtio console, uart:BYTES by the 16550, each written as its driver in Linux does.
 * Where there is a virtio console, the serial port leads nowhere, and the result goes the same way as the lines.
 */
#include "guest.h"

#define LINES	1024u
#define LONGEST	256u

static struct device console;
static struct queue *tx;
static char *buffer;

/* The console's text is in @buffer. */
static void write_buffer(uint32_t bytes)
{
	tx->desc[0] = (struct desc){ (uintptr_t)buffer, bytes, 0, 0 };
	queue_add(tx, 0);
	queue_want(tx, 1);
	queue_kick(tx);
	wait_until(queue_has_used(tx));
	queue_take(tx, NULL);
}

static void put_console(char c)
{
	buffer[0] = c;
	write_buffer(1);
}

static void console_init(void)
{
	if (devices_start(VIRTIO_CONSOLE, 0, &console, 1) != 1)
		fail("no virtio console");
	buffer = pages(LONGEST);
	tx = &console.queues[1];
	put = put_console;
}

static void make_line(char *line, uint32_t bytes)
{
	fill(line, '.', bytes - 1);
	line[bytes - 1] = '\n';
}

void measure_line(const struct words *w)
{
	static char line[LONGEST];
	uint32_t bytes = w->numbers[0], begin = 0;

	if (!bytes || bytes > LONGEST)
		fail("no such lines");
	if (w->op == 'l' && !tx)
		console_init();
	make_line(tx ? buffer : line, bytes);
	for (uint32_t i = 0; i < LINES + LINES / 4; i++) {
		if (i == LINES / 4)
			begin = ticks();
		if (tx)
			write_buffer(bytes);
		else
			for (uint32_t at = 0; at < bytes; at++)
				put(line[at]);
	}
	report(w, ticks() - begin, LINES);
}
