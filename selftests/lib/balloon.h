/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the suites of the balloon share: its queues and features, a slot to give away, and what is left of memory.
 */
#ifndef KILN_SELFTESTS_BALLOON_H
#define KILN_SELFTESTS_BALLOON_H

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "virtio.h"

#ifndef VIRTIO_BALLOON_F_REPORTING
#define VIRTIO_BALLOON_F_REPORTING 5
#endif

enum { INFLATE, DEFLATE, STATS, HINTS, REPORTING, QUEUES };

#define PAGE	4096UL
#define GPA	0x40000000UL		/* of the slot that is given away or hinted */
#define OTHER	0x80000000UL		/* of a second slot */
#define FULL	0xa5

#define STATS_VQ	BIT64(VIRTIO_BALLOON_F_STATS_VQ)
#define HINT		BIT64(VIRTIO_BALLOON_F_FREE_PAGE_HINT)
#define POISON		BIT64(VIRTIO_BALLOON_F_PAGE_POISON)
#define REPORTS		BIT64(VIRTIO_BALLOON_F_REPORTING)

static inline void must(bool ok, const char *what)
{
	if (!ok)
		die("%s: %s", what, strerror(errno));
}

/* How many of these pages this process has. */
static inline unsigned int resident(const void *at, size_t pages)
{
	static unsigned char vec[8192];
	unsigned int n = 0;

	must(pages <= sizeof(vec) && !mincore((void *)at, pages * PAGE, vec), "mincore");
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}

static inline bool all(const uint8_t *p, uint8_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != value)
			return false;
	return true;
}

#endif
