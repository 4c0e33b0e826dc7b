// SPDX-License-Identifier: GPL-2.0-only
#include "console.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "say.h"
#include "status.h"
#include "terminal.h"
#include "util.h"

/* A pipe that poll() calls writable takes this much without blocking (pipe(7)). */
#define WRITE_CHUNK	PIPE_BUF
#define FLUSH_MS	1000
/*
 * Output waits this long for more: a wake of the loop costs more than many
 * exits, and a guest writes lines a byte at a time.
 */
#define DELAY_NS	2000000
/* A pty does not say when its slave is opened: look this often. */
#define RETRY_NS	200000000

/* ---- the vCPU side: called by the UART ---- */

static void kick(struct console *console)
{
	bool wake = !console->kicked;

	console->kicked = true;
	if (wake && console->wake.fd >= 0)
		loop_wake(console->wake.fd);
}

/* For output: soon, or now where the ring fills up. */
static void kick_output(struct console *console)
{
	struct itimerspec once = { .it_value.tv_nsec = DELAY_NS };

	if (console->count > CONSOLE_RING / 2) {
		kick(console);
	} else if (!console->delayed) {
		console->delayed = true;
		timerfd_settime(console->delay.fd, 0, &once, NULL);
	}
}

static size_t peer_room(struct uart_peer *peer)
{
	struct console *console = container_of(peer, struct console, peer);
	size_t room;

	pthread_mutex_lock(&console->lock);
	room = console->attached ? CONSOLE_RING - console->count : CONSOLE_RING;
	pthread_mutex_unlock(&console->lock);
	return room;
}

static void peer_put(struct uart_peer *peer, uint8_t byte)
{
	struct console *console = container_of(peer, struct console, peer);

	pthread_mutex_lock(&console->lock);
	if (console->count == CONSOLE_RING && !console->attached) {
		console->first = (console->first + 1) % CONSOLE_RING;
		console->count--;
	}
	if (console->count < CONSOLE_RING)
		console->ring[(console->first + console->count++) % CONSOLE_RING] = byte;
	else
		console->lost++;
	if (console->attached)
		kick_output(console);
	pthread_mutex_unlock(&console->lock);
}

static void peer_listen(struct uart_peer *peer)
{
	struct console *console = container_of(peer, struct console, peer);

	pthread_mutex_lock(&console->lock);
	kick(console);
	pthread_mutex_unlock(&console->lock);
}

/* ---- output: the loop's side ---- */

static void set_attached(struct console *console, bool attached)
{
	pthread_mutex_lock(&console->lock);
	console->attached = attached;
	pthread_mutex_unlock(&console->lock);
}

/* Copies the oldest bytes without taking them out. */
static size_t peek(struct console *console, uint8_t *bytes, size_t size)
{
	size_t count, head;

	pthread_mutex_lock(&console->lock);
	count = console->count < size ? console->count : size;
	head = CONSOLE_RING - console->first;
	if (head > count)
		head = count;
	memcpy(bytes, console->ring + console->first, head);
	memcpy(bytes + head, console->ring, count - head);
	pthread_mutex_unlock(&console->lock);
	return count;
}

static void take(struct console *console, size_t count)
{
	pthread_mutex_lock(&console->lock);
	console->first = (console->first + count) % CONSOLE_RING;
	console->count -= count;
	pthread_mutex_unlock(&console->lock);
}

static bool writable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };

	return poll(&poll_fd, 1, 0) == 1;
}

/* True while there is more to write and the descriptor takes no more. */
static bool drain(struct console *console)
{
	uint8_t bytes[WRITE_CHUNK];
	size_t count;

	while (console->attached && (count = peek(console, bytes, sizeof(bytes)))) {
		ssize_t n;

		if (!writable(console->out.fd))
			return true;
		n = write(console->out.fd, bytes, count);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n < 0) {
			say("console: output is lost from here on: %s", strerror(errno));
			set_attached(console, false);
			return false;
		}
		take(console, (size_t)n);
	}
	return false;
}

static void watch(struct console *console, struct loop_source *source, bool *watched,
		  uint32_t events, bool want)
{
	if (want == *watched || source->fd < 0)
		return;
	if (!want)
		loop_remove(console->loop, source);
	else if (loop_add(console->loop, source, events))
		return;
	*watched = want;
}

static void pump_output(struct console *console)
{
	bool more = drain(console);

	if (!console->out_plain)
		watch(console, &console->out, &console->out_watched, EPOLLOUT, more);
	console->guest->peer_ready(console->guest);
}

/* ---- input ---- */

static void feed(struct console *console)
{
	size_t taken = console->guest->receive(console->guest, console->input,
					       console->input_count);

	console->input_count -= taken;
	memmove(console->input, console->input + taken, console->input_count);
}

static void end_input(struct console *console)
{
	watch(console, &console->in, &console->in_watched, 0, false);
	close(console->in.fd);
	console->in.fd = -1;
}

static void detach(struct console *console);

static void end_of_input(struct console *console)
{
	if (console->is_pty || console->listener.fd >= 0)
		detach(console);
	else
		end_input(console);
}

/* Keeps what there is room for: on a terminal the rest is lost, like on any line. */
static void keep_input(struct console *console, const uint8_t *bytes, size_t count)
{
	size_t room = CONSOLE_INPUT - console->input_count;

	if (console->is_terminal && memchr(bytes, CONSOLE_LEAVE, count))
		end_run(console->ending, STATUS_ENDED, "left with Ctrl-]");
	if (count > room)
		count = room;
	memcpy(console->input + console->input_count, bytes, count);
	console->input_count += count;
}

/* One read. False at the end of the input or where there is none now. */
static bool read_input(struct console *console)
{
	uint8_t bytes[CONSOLE_INPUT];
	size_t room = CONSOLE_INPUT - console->input_count;
	ssize_t n = read(console->in.fd, bytes, console->is_terminal ? sizeof(bytes) : room);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		end_of_input(console);
		return false;
	}
	keep_input(console, bytes, (size_t)n);
	return true;
}

static bool want_input(const struct console *console)
{
	return console->in.fd >= 0 &&
	       (console->is_terminal || console->input_count < CONSOLE_INPUT);
}

static void pump_input(struct console *console)
{
	feed(console);
	while (console->in_plain && want_input(console) && read_input(console))
		feed(console);
	if (!console->in_plain && (!console->is_pty || console->attached))
		watch(console, &console->in, &console->in_watched, EPOLLIN, want_input(console));
}

static void input_ready(struct loop_source *source, uint32_t events)
{
	struct console *console = container_of(source, struct console, in);

	(void)events;
	if (want_input(console))
		read_input(console);
	pump_input(console);
}

static void output_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	pump_output(container_of(source, struct console, out));
}

static void delay_ready(struct loop_source *source, uint32_t events)
{
	struct console *console = container_of(source, struct console, delay);

	(void)events;
	loop_consume(source->fd);	/* a timerfd counts like an eventfd */
	pthread_mutex_lock(&console->lock);
	console->delayed = false;
	pthread_mutex_unlock(&console->lock);
	pump_output(console);
}

static void wake_ready(struct loop_source *source, uint32_t events)
{
	struct console *console = container_of(source, struct console, wake);

	(void)events;
	loop_consume(source->fd);
	pthread_mutex_lock(&console->lock);
	console->kicked = false;
	pthread_mutex_unlock(&console->lock);
	pump_input(console);
	pump_output(console);
}

/* ---- peers that come and go: pty slaves and socket clients ---- */

static void set_retry(struct console *console, bool on)
{
	struct itimerspec every = { 0 };

	if (on)
		every.it_value.tv_nsec = every.it_interval.tv_nsec = RETRY_NS;
	timerfd_settime(console->retry.fd, 0, &every, NULL);
}

static void attach(struct console *console)
{
	set_attached(console, true);
	say("console: attached");
	pump_input(console);
	pump_output(console);
}

static void detach(struct console *console)
{
	set_attached(console, false);
	say("console: detached");
	console->input_count = 0;
	watch(console, &console->in, &console->in_watched, 0, false);
	watch(console, &console->out, &console->out_watched, 0, false);
	if (console->is_pty) {
		set_retry(console, true);
		return;
	}
	close(console->in.fd);
	close(console->out.fd);
	console->in.fd = console->out.fd = -1;
}

static void retry_ready(struct loop_source *source, uint32_t events)
{
	struct console *console = container_of(source, struct console, retry);
	struct pollfd master = { .fd = console->in.fd };

	(void)events;
	loop_consume(source->fd);
	poll(&master, 1, 0);
	if (master.revents & POLLHUP)
		return;
	set_retry(console, false);
	attach(console);
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
	struct console *console = container_of(source, struct console, listener);
	int client = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (client < 0)
		return;
	/* One at a time: a second one is turned away. */
	if (console->in.fd < 0) {
		console->out.fd = dup(client);
		if (console->out.fd >= 0) {
			console->in.fd = client;
			attach(console);
			return;
		}
	}
	close(client);
}

/* ---- from open to close ---- */

void console_init(struct console *console)
{
	memset(console, 0, sizeof(*console));
	console->peer = (struct uart_peer){ peer_room, peer_put, peer_listen };
	pthread_mutex_init(&console->lock, NULL);
	console->in = (struct loop_source){ -1, input_ready };
	console->out = (struct loop_source){ -1, output_ready };
	console->wake = (struct loop_source){ -1, wake_ready };
	console->delay = (struct loop_source){ -1, delay_ready };
	console->listener = (struct loop_source){ -1, listener_ready };
	console->retry = (struct loop_source){ -1, retry_ready };
}

/* epoll refuses what never blocks (EPERM): regular files, /dev/null. */
static bool is_plain(struct loop *loop, struct loop_source *source)
{
	struct epoll_event event = { 0 };

	if (source->fd < 0)
		return false;
	if (epoll_ctl(loop->fd, EPOLL_CTL_ADD, source->fd, &event))
		return errno == EPERM;
	loop_remove(loop, source);
	return false;
}

static int add_timer(struct console *console, struct loop_source *timer)
{
	timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (timer->fd < 0)
		return error_set("timerfd_create: %s; free file descriptors (ulimit -n)",
				 strerror(errno));
	return loop_add(console->loop, timer, EPOLLIN);
}

static int start_pty(struct console *console)
{
	if (add_timer(console, &console->retry))
		return -1;
	set_retry(console, true);
	return 0;
}

/* What a user could not guess. */
static void say_where(const struct console *console)
{
	const char *name = console->is_pty ? ptsname(console->in.fd) : NULL;

	if (name)
		fprintf(stderr, "kiln: console: %s\n", name);
	if (console->is_terminal)
		fputs("kiln: console: this terminal, Ctrl-] leaves and ends the guest\n", stderr);
}

int console_start(struct console *console, struct uart_guest *guest, struct loop *loop,
		  struct ending *ending)
{
	console->guest = guest;
	console->loop = loop;
	console->ending = ending;
	console->wake.fd = loop_eventfd();
	if (console->wake.fd < 0 || loop_add(loop, &console->wake, EPOLLIN) ||
	    add_timer(console, &console->delay))
		return -1;
	console->in_plain = is_plain(loop, &console->in);
	console->out_plain = is_plain(loop, &console->out);
	/* A file is emptied only now that nothing else can fail; others refuse, which is right. */
	if (console->truncate && ftruncate(console->out.fd, 0) && errno != EINVAL)
		return error_set("--console file:%s: %s; name another file", console->file_path,
				 strerror(errno));
	console->file_created = false;
	if (console->listener.fd >= 0 && loop_add(loop, &console->listener, EPOLLIN))
		return -1;
	if (console->is_pty && start_pty(console))
		return -1;
	/* Only now: what fails before says one line, and no more. */
	say_where(console);
	if (console->is_terminal && terminal_raw())
		return -1;
	pump_input(console);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void flush(struct console *console)
{
	int64_t until = now_ms() + FLUSH_MS, left;

	while (drain(console) && (left = until - now_ms()) > 0) {
		struct pollfd out = { .fd = console->out.fd, .events = POLLOUT };

		poll(&out, 1, (int)left);
	}
	if (console->lost)
		say("console: %llu bytes found no room and were lost",
		    (unsigned long long)console->lost);
}

int console_direct_output(const struct console *console)
{
	return console->is_pty || console->listener.fd >= 0 ? -1 : console->out.fd;
}

bool console_is_null(const struct console *console)
{
	return console->in.fd < 0 && console->out.fd < 0 && console->listener.fd < 0;
}

void console_window(const struct console *console, uint16_t *cols, uint16_t *rows)
{
	struct winsize size = { 0 };

	if (console->is_terminal)
		ioctl(console->in.fd, TIOCGWINSZ, &size);
	*cols = size.ws_col;
	*rows = size.ws_row;
}

void console_close(struct console *console)
{
	struct loop_source *sources[] = { &console->in,	   &console->out,      &console->wake,
					  &console->delay, &console->listener, &console->retry };

	flush(console);
	terminal_restore();
	for (unsigned int i = 0; i < ARRAY_SIZE(sources); i++) {
		if (sources[i]->fd >= 0)
			close(sources[i]->fd);
		sources[i]->fd = -1;
	}
	if (*console->socket_path)
		unlink(console->socket_path);
	if (console->file_created)
		unlink(console->file_path);
}
