// SPDX-License-Identifier: GPL-2.0-only
#include "loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "error.h"

int loop_create(struct loop *loop)
{
	loop->stopped = false;
	loop->fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->fd < 0)
		return error_set("epoll_create1: %s; free file descriptors (ulimit -n)",
				 strerror(errno));
	return 0;
}

static int control(struct loop *loop, int op, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (epoll_ctl(loop->fd, op, source->fd, &event))
		return error_set("epoll_ctl: %s; free memory or file descriptors",
				 strerror(errno));
	return 0;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	return control(loop, EPOLL_CTL_ADD, source, events);
}

int loop_modify(struct loop *loop, struct loop_source *source, uint32_t events)
{
	return control(loop, EPOLL_CTL_MOD, source, events);
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	epoll_ctl(loop->fd, EPOLL_CTL_DEL, source->fd, NULL);
}

int loop_run(struct loop *loop)
{
	while (!loop->stopped) {
		/* One at a time: a handler may remove another source, and wakes are rare. */
		struct epoll_event event;
		int n = epoll_wait(loop->fd, &event, 1, -1);

		if (n < 0 && errno != EINTR)
			return error_set("epoll_wait: %s", strerror(errno));
		if (n > 0) {
			struct loop_source *source = event.data.ptr;

			source->ready(source, event.events);
		}
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}

void loop_destroy(struct loop *loop)
{
	if (loop->fd >= 0)
		close(loop->fd);
	loop->fd = -1;
}

int loop_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return error_set("eventfd: %s; free file descriptors (ulimit -n)",
				 strerror(errno));
	return fd;
}

void loop_wake(int fd)
{
	/* EAGAIN means that 2^64-2 wakes wait already: awake enough. */
	while (eventfd_write(fd, 1) && errno == EINTR)
		continue;
}

void loop_consume(int fd)
{
	eventfd_t count;

	eventfd_read(fd, &count);
}
