// SPDX-License-Identifier: GPL-2.0-only
#include "vconsole.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "error.h"
#include "util.h"

#define CHUNK 4096

static void watch(struct vconsole *vconsole, struct loop_source *source, bool *watched,
		  uint32_t events, bool want)
{
	if (want == *watched || source->fd < 0)
		return;
	if (!want)
		loop_remove(vconsole->loop, source);
	else if (loop_add(vconsole->loop, source, events))
		return;
	*watched = want;
}

static void close_source(struct loop_source *source)
{
	if (source->fd >= 0)
		close(source->fd);	/* epoll forgets it */
	source->fd = -1;
}

/* ---- from the peer to the guest ---- */

static size_t receive(struct uart_guest *guest, const uint8_t *bytes, size_t count)
{
	struct vconsole *vconsole = container_of(guest, struct vconsole, guest);
	ssize_t n;

	if (!count)
		return 0;
	if (vconsole->in.fd < 0)
		return count;
	n = write(vconsole->in.fd, bytes, count);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return count;	/* nobody reads it any more */
	watch(vconsole, &vconsole->in, &vconsole->in_watched, EPOLLOUT, n < (ssize_t)count);
	return n < 0 ? 0 : (size_t)n;
}

static void in_ready(struct loop_source *source, uint32_t events)
{
	struct vconsole *vconsole = container_of(source, struct vconsole, in);

	(void)events;
	/* Until a write finds it full again. */
	watch(vconsole, &vconsole->in, &vconsole->in_watched, EPOLLOUT, false);
	vconsole->console->peer.listen(&vconsole->console->peer);
}

/* ---- from the guest to the peer ---- */

/* One read of what there is room for. False where there is nothing now, or no room. */
static bool pass_on(struct vconsole *vconsole)
{
	struct uart_peer *peer = &vconsole->console->peer;
	size_t room = peer->room(peer);
	uint8_t bytes[CHUNK];
	ssize_t n;

	if (!room)
		return false;
	n = read(vconsole->out.fd, bytes, min_u64(room, sizeof(bytes)));
	for (ssize_t i = 0; i < n; i++)
		peer->put(peer, bytes[i]);
	return n > 0;
}

static void out_ready(struct loop_source *source, uint32_t events)
{
	struct vconsole *vconsole = container_of(source, struct vconsole, out);
	struct uart_peer *peer = &vconsole->console->peer;

	(void)events;
	pass_on(vconsole);
	/* The pipe holds the guest back while the peer is slow. */
	watch(vconsole, &vconsole->out, &vconsole->out_watched, EPOLLIN, peer->room(peer));
}

static void peer_ready(struct uart_guest *guest)
{
	struct vconsole *vconsole = container_of(guest, struct vconsole, guest);
	struct uart_peer *peer = &vconsole->console->peer;

	watch(vconsole, &vconsole->out, &vconsole->out_watched, EPOLLIN, peer->room(peer));
}

void vconsole_flush(struct vconsole *vconsole)
{
	while (vconsole->out.fd >= 0 && pass_on(vconsole))
		continue;
}

/* ---- from open to close ---- */

void vconsole_init(struct vconsole *vconsole)
{
	memset(vconsole, 0, sizeof(*vconsole));
	vconsole->guest = (struct uart_guest){ receive, peer_ready };
	vconsole->in = (struct loop_source){ -1, in_ready };
	vconsole->out = (struct loop_source){ -1, out_ready };
	vconsole->kernel_in = vconsole->kernel_out = -1;
}

static int make_pipe(int *read_end, int *write_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return error_set("--console: no pipe: %s; free file descriptors (ulimit -n)",
				 strerror(errno));
	*read_end = ends[0];
	*write_end = ends[1];
	return 0;
}

static int open_out(struct vconsole *vconsole)
{
	int fd = console_direct_output(vconsole->console);

	if (fd < 0)
		return make_pipe(&vconsole->out.fd, &vconsole->kernel_out);
	vconsole->kernel_out = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (vconsole->kernel_out < 0)
		return error_set("--console: %s; free file descriptors (ulimit -n)", strerror(errno));
	return 0;
}

int vconsole_open(struct vconsole *vconsole, struct console *console, struct loop *loop)
{
	vconsole->console = console;
	vconsole->loop = loop;
	if (console_is_null(console))
		return 0;
	if (make_pipe(&vconsole->kernel_in, &vconsole->in.fd) || open_out(vconsole))
		return -1;
	peer_ready(&vconsole->guest);
	return 0;
}

void vconsole_close(struct vconsole *vconsole)
{
	if (vconsole->kernel_in >= 0)
		close(vconsole->kernel_in);
	if (vconsole->kernel_out >= 0)
		close(vconsole->kernel_out);
	vconsole->kernel_in = vconsole->kernel_out = -1;
	close_source(&vconsole->in);
	close_source(&vconsole->out);
}
