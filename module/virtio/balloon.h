/* SPDX-License-Identifier: GPL-2.0-only */
/* Between the balloon's queues and the owner's memory. */
#ifndef KILN_VIRTIO_BALLOON_H
#define KILN_VIRTIO_BALLOON_H

#include <linux/mm.h>
#include <linux/module.h>

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

#endif /* KILN_VIRTIO_BALLOON_H */
