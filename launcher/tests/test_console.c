// SPDX-License-Identifier: GPL-2.0-only
/*
 * Consoles with a UART in front and the loop on a thread of its own, as in a
 * run; the test is the guest on one side and the user on the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../console.h"
#include "../error.h"
#include "../status.h"
#include "../terminal.h"
#include "../util.h"
#include "tap.h"

static struct {
	struct console console;
	struct uart uart;
	struct irq_line irq;
	struct loop loop;
	struct ending ending;
	struct loop_source over;
	pthread_t thread;
} m;

static void set_irq(struct irq_line *line, bool level)
{
	(void)line;
	(void)level;
}

static void over_ready(struct loop_source *source, uint32_t events)
{
	(void)source;
	(void)events;
	loop_stop(&m.loop);
}

static void *run_loop(void *arg)
{
	(void)arg;
	loop_run(&m.loop);
	return NULL;
}

static uint8_t in(uint16_t offset)
{
	return (uint8_t)m.uart.port.read(&m.uart.port, offset, 1);
}

static void out(uint16_t offset, uint8_t value)
{
	m.uart.port.write(&m.uart.port, offset, 1, value);
}

/* Everything up to the running loop, without a thread. */
static bool connect_up(const char *spec)
{
	memset(&m, 0, sizeof(m));
	if (console_open(&m.console, spec))
		return false;
	if (loop_create(&m.loop))
		return false;
	m.over = (struct loop_source){ loop_eventfd(), over_ready };
	ending_init(&m.ending, m.over.fd);
	m.irq.set = set_irq;
	uart_init(&m.uart, &m.irq, &m.console.peer);
	return !loop_add(&m.loop, &m.over, EPOLLIN) &&
	       !console_start(&m.console, &m.uart.guest, &m.loop, &m.ending);
}

static bool start(const char *spec)
{
	if (!connect_up(spec) || pthread_create(&m.thread, NULL, run_loop, NULL))
		return false;
	out(2, 0x01);
	out(4, 0x0b);
	return true;
}

static void take_down(void)
{
	console_close(&m.console);
	close(m.over.fd);
	loop_destroy(&m.loop);
}

static void stop(void)
{
	end_run(&m.ending, STATUS_OFF, "");
	pthread_join(m.thread, NULL);
	take_down();
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* As a driver does: a FIFO's worth whenever THR is empty. False when that takes 10 s. */
static bool transmit(const char *bytes, size_t count)
{
	unsigned int naps = 0;

	for (size_t i = 0; i < count;) {
		if (!(in(5) & 0x20)) {
			if (naps++ > 10000)
				return false;
			nap();
			continue;
		}
		for (unsigned int n = 0; n < UART_FIFO && i < count; n++)
			out(0, (uint8_t)bytes[i++]);
	}
	return true;
}

/* Polls the receiver for @count bytes. */
static bool receives(const char *bytes, size_t count)
{
	unsigned int naps = 0;

	for (size_t i = 0; i < count;) {
		if (in(5) & 0x01) {
			if (in(0) != (uint8_t)bytes[i++])
				return false;
		} else if (++naps > 5000) {
			return false;
		} else {
			nap();
		}
	}
	return true;
}

static bool reads(int fd, const char *bytes, size_t count)
{
	char got[4096];

	for (size_t i = 0; i < count;) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		size_t want = count - i < sizeof(got) ? count - i : sizeof(got);
		ssize_t n;

		if (poll(&poll_fd, 1, 5000) != 1)
			return false;
		n = read(fd, got, want);
		if (n <= 0 || memcmp(got, bytes + i, (size_t)n))
			return false;
		i += (size_t)n;
	}
	return true;
}

static const char *long_text(size_t size)
{
	static char text[300000];

	for (size_t i = 0; i < size; i++)
		text[i] = (char)('!' + i * 7 % 90);
	return text;
}

static void a_file_gets_every_byte(void)
{
	const char *text = long_text(200000);
	char spec[300], path[256];
	int fd;

	snprintf(path, sizeof(path), "%s", test_path("console.txt"));
	snprintf(spec, sizeof(spec), "file:%s", path);
	CHECK(start(spec));
	CHECK(transmit(text, 200000));
	stop();
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && reads(fd, text, 200000));
	CHECK(read(fd, &(char){ 0 }, 1) == 0);
	close(fd);
}

static void a_file_is_emptied_only_when_the_run_starts(void)
{
	char spec[300], path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s", test_file("old text", 8));
	snprintf(spec, sizeof(spec), "file:%s", path);
	CHECK(!console_open(&m.console, spec));
	console_close(&m.console);
	CHECK(!stat(path, &st) && st.st_size == 8);
	CHECK(start(spec));
	stop();
	CHECK(!stat(path, &st) && st.st_size == 0);
}

static void a_file_made_for_a_run_that_fails_goes_again(void)
{
	char spec[300], path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s", test_path("never"));
	snprintf(spec, sizeof(spec), "file:%s", path);
	CHECK(!console_open(&m.console, spec));
	CHECK(!stat(path, &st));
	console_close(&m.console);
	CHECK(stat(path, &st) && errno == ENOENT);
}

static void null_takes_everything_at_once(void)
{
	const char *text = long_text(100000);

	CHECK(start("null"));
	for (size_t i = 0; i < 100000; i++)
		out(0, (uint8_t)text[i]);
	CHECK(in(5) & 0x20);
	CHECK(!m.console.lost && m.console.count == CONSOLE_RING);
	stop();
}

static int client(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

static char socket_file[200], socket_spec[256];

static bool start_socket(const char *name)
{
	snprintf(socket_file, sizeof(socket_file), "%s", test_path(name));
	snprintf(socket_spec, sizeof(socket_spec), "socket:%s", socket_file);
	return start(socket_spec);
}

static void a_socket_carries_both_ways(void)
{
	struct stat st;
	int fd;

	CHECK(start_socket("s1"));
	CHECK(transmit("before", 6));
	fd = client(socket_file);
	CHECK(fd >= 0 && reads(fd, "before", 6));
	CHECK(transmit("hello", 5) && reads(fd, "hello", 5));
	CHECK(write(fd, "01234567890123456789", 20) == 20);
	CHECK(receives("01234567890123456789", 20));
	close(fd);
	stop();
	CHECK(stat(socket_file, &st) && errno == ENOENT);
}

static void socket_clients_come_one_after_the_other(void)
{
	char byte;
	int first, second;

	CHECK(start_socket("s2"));
	first = client(socket_file);
	CHECK(first >= 0 && transmit("a", 1) && reads(first, "a", 1));
	second = client(socket_file);
	CHECK(second >= 0 && read(second, &byte, 1) == 0);
	close(second);
	close(first);
	for (unsigned int i = 0; i < 1000 && m.console.in.fd >= 0; i++)
		nap();
	second = client(socket_file);
	CHECK(second >= 0 && transmit("b", 1) && reads(second, "b", 1));
	close(second);
	stop();
}

static void late_clients_see_the_latest_output(void)
{
	const char *text = long_text(100000);
	int fd;

	CHECK(start_socket("s3"));
	CHECK(transmit(text, 100000));
	fd = client(socket_file);
	CHECK(fd >= 0 && reads(fd, text + 100000 - CONSOLE_RING, CONSOLE_RING));
	close(fd);
	stop();
}

/* A reader that stops holds the guest back; it costs neither memory nor bytes. */
static void a_stuck_reader_makes_the_line_busy_and_loses_nothing(void)
{
	const char *text = long_text(300000);
	size_t sent = 0;
	unsigned int naps = 0;
	int fd;

	CHECK(start_socket("s4"));
	fd = client(socket_file);
	CHECK(fd >= 0 && transmit("x", 1) && reads(fd, "x", 1));
	/* Until the line stays busy for 100 ms: socket and ring are full. */
	while (sent + UART_FIFO <= 300000 && naps < 100) {
		if (in(5) & 0x20) {
			for (unsigned int n = 0; n < UART_FIFO; n++)
				out(0, (uint8_t)text[sent++]);
			naps = 0;
		} else {
			nap();
			naps++;
		}
	}
	CHECK(naps == 100 || sent + UART_FIFO > 300000);
	CHECK(m.console.count <= CONSOLE_RING && !m.console.lost);
	CHECK(reads(fd, text, sent));
	CHECK(transmit("end", 3) && reads(fd, "end", 3));
	close(fd);
	stop();
}

static void bytes_written_while_busy_are_lost_and_counted(void)
{
	int fd;

	CHECK(start_socket("s5"));
	fd = client(socket_file);
	CHECK(fd >= 0 && transmit("x", 1) && reads(fd, "x", 1));
	for (unsigned int i = 0; i < 3000000 && !m.console.lost; i++)
		out(0, 'y');
	CHECK(m.console.lost && m.console.count <= CONSOLE_RING);
	close(fd);
	stop();
}

static void a_socket_left_by_a_killed_run_is_replaced(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char spec[256];

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", test_path("stale"));
	CHECK(!bind(fd, (struct sockaddr *)&address, sizeof(address)));
	close(fd);
	CHECK(start_socket("stale"));
	snprintf(spec, sizeof(spec), "%s", socket_spec);
	{
		static struct console second;

		CHECK(console_open(&second, spec));	/* one in use is not */
		CHECK_ERROR("socket:");
	}
	fd = client(socket_file);
	CHECK(fd >= 0);
	close(fd);
	stop();
}

static void a_pty_carries_both_ways(void)
{
	char name[64];
	int fd;

	if (!freopen("/dev/null", "w", stderr))		/* it names the pty there */
		return;
	CHECK(start("pty"));
	CHECK(!ptsname_r(m.console.in.fd, name, sizeof(name)));
	CHECK(transmit("early", 5));
	fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(fd >= 0 && reads(fd, "early", 5));
	CHECK(write(fd, "\x1d\x03ok", 4) == 4);
	CHECK(receives("\x1d\x03ok", 4));
	CHECK(!m.ending.over);
	close(fd);
	CHECK(transmit("again", 5));
	nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
	fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(fd >= 0 && reads(fd, "again", 5));
	close(fd);
	stop();
}

static void paths_that_cannot_be_opened_are_named(void)
{
	static const char *const specs[] = { "file:/nonexistent/x", "file:/", "socket:/nonexistent/x",
					     "socket:/" };
	static const char *const unknown[] = { "", "stdio:", "stdiox", "pty:", "file:", "file",
					       "socket:", "nul", "tcp:1" };
	char longest[300];

	for (unsigned int i = 0; i < ARRAY_SIZE(specs); i++) {
		CHECK(console_open(&m.console, specs[i]));
		CHECK_ERROR(specs[i]);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(unknown); i++) {
		CHECK(!console_spec_valid(unknown[i]));
		CHECK(console_open(&m.console, unknown[i]));
		CHECK_ERROR("unknown");
	}
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "socket:/", 8);
	longest[sizeof(longest) - 1] = '\0';
	CHECK(console_open(&m.console, longest));
	CHECK_ERROR("longer than");
}

/* ---- the terminal: a child has a pty as its own ---- */

/* Runs @body in a child on the terminal whose master is returned. */
static int on_a_terminal(pid_t *pid, void (*body)(void))
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int slave;

	if (master < 0 || grantpt(master) || unlockpt(master))
		abort();
	fflush(stdout);
	*pid = fork();
	if (*pid)
		return master;
	setsid();
	slave = open(ptsname(master), O_RDWR);
	ioctl(slave, TIOCSCTTY, 0);
	dup2(slave, STDIN_FILENO);
	dup2(slave, STDOUT_FILENO);
	body();
	_exit(99);
}

static void run_stdio(void)
{
	if (!connect_up("stdio"))
		_exit(98);
	out(2, 0x01);
	out(4, 0x0b);
	transmit("ready", 5);
	loop_run(&m.loop);
	take_down();
	_exit(m.ending.status);
}

static void crash_while_raw(void)
{
	if (terminal_raw() || write(STDOUT_FILENO, "ready", 5) != 5)
		_exit(98);
	raise(SIGABRT);
}

static bool same_settings(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
	       a->c_lflag == b->c_lflag && !memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc));
}

static void ctrl_bracket_leaves_and_gives_the_terminal_back(void)
{
	struct termios before, during, after;
	pid_t pid;
	int status, master = on_a_terminal(&pid, run_stdio);

	CHECK(!tcgetattr(master, &before) && before.c_lflag & ICANON);
	CHECK(reads(master, "ready", 5));
	CHECK(!tcgetattr(master, &during) && !(during.c_lflag & (ICANON | ECHO | ISIG)));
	CHECK(write(master, "\x03text", 5) == 5);	/* Ctrl-C is the guest's */
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	CHECK(write(master, "\x1d", 1) == 1);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_ENDED);
	CHECK(!tcgetattr(master, &after) && same_settings(&before, &after));
	close(master);
}

/* A guest that does not listen fills the input; Ctrl-] is still seen behind all of it. */
static void run_deaf(void)
{
	if (!connect_up("stdio"))
		_exit(98);
	transmit("ready", 5);
	loop_run(&m.loop);
	take_down();
	_exit(m.ending.status);
}

static void ctrl_bracket_leaves_a_guest_that_does_not_listen(void)
{
	static char text[4000];
	pid_t pid;
	int status, master = on_a_terminal(&pid, run_deaf);

	CHECK(reads(master, "ready", 5));
	memset(text, 'x', sizeof(text));
	for (unsigned int i = 0; i < 4; i++)
		CHECK(write(master, text, sizeof(text)) == sizeof(text));
	CHECK(write(master, "\x1d", 1) == 1);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_ENDED);
	close(master);
}

static void a_crash_gives_the_terminal_back(void)
{
	struct termios before, after;
	pid_t pid;
	int status, master = on_a_terminal(&pid, crash_while_raw);

	CHECK(!tcgetattr(master, &before));
	CHECK(reads(master, "ready", 5));
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(!tcgetattr(master, &after) && same_settings(&before, &after));
	close(master);
}

static const struct test tests[] = {
	TEST(a_file_gets_every_byte),
	TEST(a_file_is_emptied_only_when_the_run_starts),
	TEST(a_file_made_for_a_run_that_fails_goes_again),
	TEST(null_takes_everything_at_once),
	TEST(a_socket_carries_both_ways),
	TEST(socket_clients_come_one_after_the_other),
	TEST(late_clients_see_the_latest_output),
	TEST(a_stuck_reader_makes_the_line_busy_and_loses_nothing),
	TEST(bytes_written_while_busy_are_lost_and_counted),
	TEST(a_socket_left_by_a_killed_run_is_replaced),
	TEST(ctrl_bracket_leaves_and_gives_the_terminal_back),
	TEST(ctrl_bracket_leaves_a_guest_that_does_not_listen),
	TEST(a_crash_gives_the_terminal_back),
	TEST(paths_that_cannot_be_opened_are_named),
	TEST(a_pty_carries_both_ways),
	TESTS_END
};

const struct suite suite_console = { "console", tests };
