// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../util.h"
#include "../vconsole.h"
#include "tap.h"

static struct console console;
static struct vconsole vconsole;
static struct loop loop = { .fd = -1 };

/* A peer whose room the test sets. */
static size_t space, got, listens;
static uint8_t last;

static size_t room(struct uart_peer *peer)
{
	(void)peer;
	return space;
}

static void put(struct uart_peer *peer, uint8_t byte)
{
	(void)peer;
	last = byte;
	got++;
	space--;
}

static void listen(struct uart_peer *peer)
{
	(void)peer;
	listens++;
}

static bool set_up(const char *spec)
{
	space = got = listens = 0;
	vconsole_init(&vconsole);
	if (loop_create(&loop) || console_open(&console, spec))
		return false;
	console.peer = (struct uart_peer){ room, put, listen };
	return !vconsole_open(&vconsole, &console, &loop);
}

static void tear_down(void)
{
	vconsole_close(&vconsole);
	console_close(&console);
	loop_destroy(&loop);
}

static void a_file_gets_output_without_us(void)
{
	char path[256], bytes[3];
	char spec[300];
	int fd;

	snprintf(path, sizeof(path), "%s", test_path("vconsole"));
	snprintf(spec, sizeof(spec), "file:%s", path);
	CHECK(set_up(spec));
	CHECK(vconsole.out.fd < 0 && vconsole.kernel_in >= 0);
	CHECK(write(vconsole.kernel_out, "abc", 3) == 3);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(read(fd, bytes, 3) == 3 && !memcmp(bytes, "abc", 3));
	close(fd);
	tear_down();
}

static void null_takes_and_gives_nothing(void)
{
	CHECK(set_up("null"));
	CHECK(vconsole.kernel_in < 0 && vconsole.kernel_out < 0);
	CHECK(vconsole.guest.receive(&vconsole.guest, (const uint8_t *)"x", 1) == 1);
	tear_down();
}

static void input_waits_until_the_guest_takes_it(void)
{
	static uint8_t bytes[4096];
	char spec[300];
	size_t all = 0, n;

	snprintf(spec, sizeof(spec), "socket:%s", test_path("vsocket"));
	CHECK(set_up(spec));
	while ((n = vconsole.guest.receive(&vconsole.guest, bytes, sizeof(bytes))) == sizeof(bytes))
		all += n;
	all += n;
	CHECK(all >= 4096 && vconsole.in_watched);
	CHECK(vconsole.guest.receive(&vconsole.guest, bytes, 1) == 0);
	for (size_t taken = 0; taken < all; taken += n) {
		n = (size_t)read(vconsole.kernel_in, bytes, sizeof(bytes));
		CHECK(n <= sizeof(bytes));
	}
	vconsole.in.ready(&vconsole.in, 0);
	CHECK(listens == 1 && !vconsole.in_watched);
	CHECK(vconsole.guest.receive(&vconsole.guest, bytes, 5) == 5);
	tear_down();
}

static void output_waits_until_the_peer_has_room(void)
{
	char spec[300];

	snprintf(spec, sizeof(spec), "socket:%s", test_path("vsocket"));
	CHECK(set_up(spec));
	CHECK(vconsole.out.fd >= 0 && !vconsole.out_watched);
	CHECK(write(vconsole.kernel_out, "abcde", 5) == 5);
	space = 3;
	vconsole.guest.peer_ready(&vconsole.guest);
	CHECK(vconsole.out_watched);
	vconsole.out.ready(&vconsole.out, 0);
	CHECK(got == 3 && last == 'c' && !vconsole.out_watched);
	space = 100;
	vconsole.guest.peer_ready(&vconsole.guest);
	CHECK(vconsole.out_watched);
	vconsole.out.ready(&vconsole.out, 0);
	CHECK(got == 5 && last == 'e' && vconsole.out_watched);
	CHECK(write(vconsole.kernel_out, "xy", 2) == 2);
	vconsole_flush(&vconsole);
	CHECK(got == 7 && last == 'y');
	tear_down();
}

static const struct test tests[] = {
	TEST(a_file_gets_output_without_us),
	TEST(null_takes_and_gives_nothing),
	TEST(input_waits_until_the_guest_takes_it),
	TEST(output_waits_until_the_peer_has_room),
	TESTS_END
};

const struct suite suite_vconsole = { "vconsole", tests };
