// SPDX-License-Identifier: GPL-2.0-only
#include "../uart.h"
#include "../util.h"
#include "tap.h"

static struct {
	struct uart_peer peer;
	size_t room;
	uint8_t out[256];
	size_t count;
	unsigned int listens;
} line;

static struct irq_line irq;
static unsigned int irqs;	/* rising edges */
static struct uart uart;

static size_t room(struct uart_peer *peer)
{
	(void)peer;
	return line.room;
}

static void put(struct uart_peer *peer, uint8_t byte)
{
	(void)peer;
	if (line.count < sizeof(line.out))
		line.out[line.count++] = byte;
	line.room -= line.room > 0;
}

static void listen(struct uart_peer *peer)
{
	(void)peer;
	line.listens++;
}

static void set_irq(struct irq_line *l, bool level)
{
	(void)l;
	irqs += level;
}

static uint8_t in(uint16_t offset)
{
	return (uint8_t)uart.port.read(&uart.port, offset, 1);
}

static void out(uint16_t offset, uint8_t value)
{
	uart.port.write(&uart.port, offset, 1, value);
}

static void set_up(void)
{
	memset(&line, 0, sizeof(line));
	line.peer = (struct uart_peer){ room, put, listen };
	line.room = 4096;
	irq = (struct irq_line){ .set = set_irq };
	irqs = 0;
	uart_init(&uart, &irq, &line.peer);
}

/* As a driver does: FIFOs on, DTR, RTS and OUT2. */
static void open_line(uint8_t fcr)
{
	set_up();
	out(2, fcr);
	out(4, 0x0b);
}

static size_t receive(const char *text)
{
	return uart_receive(&uart, (const uint8_t *)text, strlen(text));
}

static void it_looks_like_a_16550a(void)
{
	set_up();
	CHECK(in(2) == 0x01);
	out(2, 0x01);
	CHECK(in(2) == 0xc1);
	out(7, 0x5a);
	CHECK(in(7) == 0x5a);
	out(1, 0xff);
	CHECK(in(1) == 0x0f);
	CHECK(in(5) == 0x60);
	CHECK((in(6) & 0xf0) == 0xb0);
}

static void the_divisor_hides_data_and_interrupt_registers(void)
{
	set_up();
	out(1, 0x05);
	out(3, 0x83);
	out(0, 0x34);
	out(1, 0x12);
	CHECK(in(0) == 0x34 && in(1) == 0x12 && !line.count);
	out(3, 0x03);
	CHECK(in(1) == 0x05);
	out(0, 'x');
	CHECK(line.count == 1 && line.out[0] == 'x');
}

static void transmitted_bytes_reach_the_peer_in_order(void)
{
	open_line(0x01);
	for (unsigned int i = 0; i < 256; i++)
		out(0, (uint8_t)i);
	CHECK(line.count == 256);
	for (unsigned int i = 0; i < 256; i++)
		CHECK(line.out[i] == i);
}

static void an_empty_transmitter_interrupts_once(void)
{
	open_line(0x01);
	out(1, 0x02);
	CHECK(irqs == 1 && irq.level);
	CHECK(in(2) == 0xc2);
	CHECK(!irq.level && in(2) == 0xc1);
	out(0, 'a');
	CHECK(irqs == 2);
	out(0, 'b');
	CHECK(irqs == 2);
	CHECK(in(2) == 0xc2 && !irq.level);
}

static void a_full_peer_makes_the_transmitter_busy(void)
{
	open_line(0x01);
	out(1, 0x02);
	in(2);
	line.room = UART_FIFO;
	CHECK(in(5) & 0x20);
	for (unsigned int i = 0; i < UART_FIFO; i++)
		out(0, 'x');
	CHECK(line.count == UART_FIFO && !line.room);
	CHECK(!(in(5) & 0x60) && !irq.level);
	uart_peer_ready(&uart);
	CHECK(!irq.level);
	line.room = UART_FIFO;
	uart_peer_ready(&uart);
	CHECK(irq.level && in(2) == 0xc2);
	CHECK(in(5) & 0x20);
}

static void input_waits_for_rts(void)
{
	set_up();
	CHECK(!receive("early") && !uart_room(&uart));
	out(2, 0x01);
	out(4, 0x01);
	CHECK(!receive("early"));
	out(4, 0x03);
	CHECK(line.listens == 1 && uart_room(&uart) == UART_FIFO);
	CHECK(receive("late") == 4);
	CHECK(in(5) & 0x01 && in(0) == 'l' && in(0) == 'a');
}

static void input_is_taken_as_far_as_the_fifo_goes(void)
{
	open_line(0x01);
	line.listens = 0;
	CHECK(receive("0123456789abcdefXYZ") == UART_FIFO);
	CHECK(!uart_room(&uart));
	for (unsigned int i = 0; i < UART_FIFO; i++)
		CHECK(in(0) == "0123456789abcdef"[i]);
	CHECK(line.listens == 1 && !(in(5) & 0x03) && in(0) == 0);
	CHECK(receive("X") == 1 && in(0) == 'X');
	out(2, 0x00);
	CHECK(receive("XY") == 1);
}

static void received_bytes_interrupt_by_level_and_timeout(void)
{
	open_line(0x81);	/* trigger at 8 */
	out(1, 0x01);
	CHECK(receive("1234567") == 7);
	CHECK(irq.level && in(2) == 0xcc);
	CHECK(receive("8") == 1 && in(2) == 0xc4);
	for (unsigned int i = 0; i < 8; i++)
		in(0);
	CHECK(!irq.level && in(2) == 0xc1);
}

static void received_data_comes_before_transmitter_empty(void)
{
	open_line(0x01);
	out(1, 0x03);
	receive("x");
	CHECK(in(2) == 0xc4);
	in(0);
	CHECK(in(2) == 0xc2 && in(2) == 0xc1);
}

static void without_out2_no_interrupt_gets_out(void)
{
	open_line(0x01);
	out(4, 0x03);
	out(1, 0x03);
	receive("x");
	CHECK(!irqs && (in(2) & 0x01) == 0);
	out(4, 0x0b);
	CHECK(irqs == 1);
}

static void loop_mode_turns_everything_back(void)
{
	open_line(0x01);
	out(4, 0x1a);
	CHECK((in(6) & 0xf0) == 0x90);
	out(0, 'x');
	CHECK(!line.count && in(5) & 0x01 && in(0) == 'x');
	for (unsigned int i = 0; i <= UART_FIFO; i++)
		out(0, (uint8_t)i);
	CHECK(in(5) & 0x02);
	CHECK(!(in(5) & 0x02));
	CHECK(!receive("y"));
}

static void modem_changes_are_told_once(void)
{
	set_up();
	CHECK(!(in(6) & 0x0f));
	out(4, 0x10);		/* loop, all lines drop */
	CHECK((in(6) & 0x0f) == 0x0b);
	CHECK(!(in(6) & 0x0f));
	out(4, 0x14);
	CHECK(!(in(6) & 0x04));
	out(4, 0x10);
	CHECK(in(6) & 0x04);	/* ring indicator fell */
}

static void clearing_the_fifo_forgets_input(void)
{
	open_line(0x01);
	receive("old");
	out(2, 0x03);
	CHECK(!(in(5) & 0x01));
	receive("n");
	CHECK(in(0) == 'n');
}

/* Any register, any value: stays in bounds, and afterwards works as ever. */
static void random_accesses_do_no_damage(void)
{
	uint32_t seed = 7;

	set_up();
	for (unsigned int i = 0; i < 200000; i++) {
		seed = seed * 1664525 + 1013904223;
		line.room = seed >> 5 & 63;
		if (seed >> 31)
			out(seed >> 28 & 7, (uint8_t)(seed >> 16));
		else
			in(seed >> 28 & 7);
		if (seed >> 20 & 1)
			receive("noise");
		CHECK(uart.count <= UART_FIFO && uart.first < UART_FIFO);
	}
	line.room = 4096;
	line.count = 0;
	out(3, 0);
	out(4, 0x0b);
	out(2, 0x07);
	out(0, 'z');
	CHECK(line.count == 1 && line.out[0] == 'z');
}

static const struct test tests[] = {
	TEST(it_looks_like_a_16550a),
	TEST(the_divisor_hides_data_and_interrupt_registers),
	TEST(transmitted_bytes_reach_the_peer_in_order),
	TEST(an_empty_transmitter_interrupts_once),
	TEST(a_full_peer_makes_the_transmitter_busy),
	TEST(input_waits_for_rts),
	TEST(input_is_taken_as_far_as_the_fifo_goes),
	TEST(received_bytes_interrupt_by_level_and_timeout),
	TEST(received_data_comes_before_transmitter_empty),
	TEST(without_out2_no_interrupt_gets_out),
	TEST(loop_mode_turns_everything_back),
	TEST(modem_changes_are_told_once),
	TEST(clearing_the_fifo_forgets_input),
	TEST(random_accesses_do_no_damage),
	TESTS_END
};

const struct suite suite_uart = { "uart", tests };
