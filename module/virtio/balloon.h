/* SPDX-License-Identifier: GPL-2.0-only */
/* Between the balloon's queues and the owner's memory. */
#ifndef KILN_VIRTIO_BALLOON_H
#define KILN_VIRTIO_BALLOON_H

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uio.h>

#include "../compat.h"
#include "private.h"

/**
 * struct kiln_balloon_memory - where memory is given back
 * @mm: the owner's
 * @zap: the host's function for anonymous memory
 */
struct kiln_balloon_memory {
	struct mm_struct *mm;
	typeof(KILN_ZAP) *zap;
};

/**
 * kiln_balloon_memory_init() - find out how
 * @memory: to be initialised
 * @mm: the owner's; outlives @memory
 *
 * Return: 0; -EOPNOTSUPP: this kernel lets no module give memory back.
 */
int kiln_balloon_memory_init(struct kiln_balloon_memory *memory,
			     struct mm_struct *mm);
void kiln_balloon_memory_exit(struct kiln_balloon_memory *memory);

/**
 * kiln_balloon_give_back() - what is in a range is not needed any more
 * @memory: of the device
 * @start: address of the owner's, of a page
 * @len: bytes, whole pages; not beyond the end of user space
 *
 * It reads as zeroes afterwards, or as it was where that cannot be done.
 *
 * Return: how many bytes were given back. Others are in no mapping, or in one
 * that is locked, is device memory, belongs to a userfaultfd, is a private or
 * read-only mapping of a file, or has huge pages of which these are a part.
 * Context: process, in @memory's mm, which is kept alive; may sleep.
 */
u64 kiln_balloon_give_back(struct kiln_balloon_memory *memory,
			   unsigned long start, u64 len);

/* What kiln_balloon_drop_zeroes() looks at in one go: a huge page. */
#define KILN_BALLOON_LOOK	PMD_SIZE
#define KILN_BALLOON_LOOK_PAGES	(KILN_BALLOON_LOOK >> PAGE_SHIFT)

/**
 * kiln_balloon_drop_zeroes() - give back what holds nothing
 * @memory: of the device
 * @start: address of the owner's, of a page
 * @end: one past the last; both in one aligned piece of KILN_BALLOON_LOOK bytes
 * @pages: room for KILN_BALLOON_LOOK_PAGES
 *
 * Whoever reads it afterwards finds what was there, zeroes. Pages that somebody
 * has a reference of stay, since what he writes would be lost; so does a part of
 * a huge page, and all that is not private anonymous memory.
 *
 * The caller sees to it that nobody writes there meanwhile.
 *
 * Return: how many bytes were given back.
 * Context: process, in @memory's mm, which is kept alive; may sleep.
 */
u64 kiln_balloon_drop_zeroes(struct kiln_balloon_memory *memory,
			     unsigned long start, unsigned long end,
			     struct page **pages);

/* Pieces of hints that wait for the worker; a chain has half as many at most. */
#define KILN_HINTS_MAX		256

/**
 * struct kiln_hints - free page hints of a balloon
 * @memory: [c] how memory is given back
 * @lock: guards what has [l]
 * @state: [l] KILN_BALLOON_HINT_*
 * @id: [l] command id of the latest round
 * @live: [l] the driver has begun that round, hints are for it
 * @over: [l] and has ended it
 * @hinted: [l] bytes hinted in it
 * @returned: [l] and given back
 * @owner: the queue whose worker has [w], or NULL; a driver that starts anew may
 *	have another one for hints
 * @generation: [w] of the slots when @piece was filled
 * @nr: [w] how many pieces there are
 * @piece: [w] what was hinted and not looked at yet
 * @pages: [w] scratch
 *
 * Locks: [c] const; [l] @lock; [w] the worker's that serves @owner.
 */
struct kiln_hints {
	struct kiln_balloon_memory *memory;
	spinlock_t lock;		/* [l] */
	u32 state;
	u32 id;
	bool live;
	bool over;
	u64 hinted;
	u64 returned;
	struct kiln_queue *owner;
	unsigned long generation;
	u32 nr;
	struct iovec piece[KILN_HINTS_MAX];
	struct page *pages[KILN_BALLOON_LOOK_PAGES];
};

void kiln_hints_init(struct kiln_hints *hints,
		     struct kiln_balloon_memory *memory);

/* ops->serve() of their queue, and ops->served() of any. */
bool kiln_hints_serve(struct kiln_hints *hints, struct kiln_queue *queue,
		      unsigned int *budget);
void kiln_hints_served(struct kiln_hints *hints, struct kiln_queue *queue);

/* The driver starts anew: there was no round. dev->lock. */
void kiln_hints_reset(struct kiln_hints *hints, struct kiln_virtio *dev);

/* KILN_VIRTIO_SET_HINT and _GET_HINT. dev->lock. */
long kiln_hints_set(struct kiln_hints *hints, struct kiln_virtio *dev,
		    void __user *user);
long kiln_hints_get(struct kiln_hints *hints, void __user *user);

#endif /* KILN_VIRTIO_BALLOON_H */
