/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How the vring engine touches memory: the rings are user memory of the current
 * mm, buffers are guest memory. Tests put vring_memory.h in the place of this.
 *
 * Every access is of one size and done once, whatever the guest does to the
 * memory meanwhile. Rings lie where access_ok() has been asked, once.
 */
#ifndef KILN_VIRTIO_VRING_ACCESS_H
#define KILN_VIRTIO_VRING_ACCESS_H

#include <asm/barrier.h>
#include <linux/bits.h>
#include <linux/bug.h>
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "../mmu/mmu.h"
#include "vring.h"

/* A descriptor as it lies in memory: the address, and all the rest. */
struct vring_raw {
	u64 addr;
	u64 rest;
};

static inline bool vring_may_access(const struct kiln_vring *vr,
				    unsigned long addr, size_t len)
{
	return access_ok((void __user *)addr, len);
}

static inline int vring_get16(const struct kiln_vring *vr, unsigned long addr,
			      u16 *val)
{
	__le16 raw;

	if (unlikely(__get_user(raw, (__le16 __user *)addr)))
		return -EFAULT;
	*val = le16_to_cpu(raw);
	return 0;
}

static inline int vring_get32(const struct kiln_vring *vr, unsigned long addr,
			      u32 *val)
{
	__le32 raw;

	if (unlikely(__get_user(raw, (__le32 __user *)addr)))
		return -EFAULT;
	*val = le32_to_cpu(raw);
	return 0;
}

static inline int vring_get64(const struct kiln_vring *vr, unsigned long addr,
			      u64 *val)
{
	__le64 raw;

	if (unlikely(__get_user(raw, (__le64 __user *)addr)))
		return -EFAULT;
	*val = le64_to_cpu(raw);
	return 0;
}

static inline int vring_get_raw(const struct kiln_vring *vr, unsigned long addr,
				struct vring_raw *val)
{
	__le64 __user *p = (__le64 __user *)addr;
	__le64 first, second;

	__uaccess_begin_nospec();
	unsafe_get_user(first, p, fault);
	unsafe_get_user(second, p + 1, fault);
	__uaccess_end();
	val->addr = le64_to_cpu(first);
	val->rest = le64_to_cpu(second);
	return 0;
fault:
	__uaccess_end();
	return -EFAULT;
}

/*
 * All that the engine itself writes to memory of the guest goes through here;
 * what back ends write goes through the iovecs (kiln_queue_wrote()).
 */
static inline int vring_wrote(struct kiln_vring *vr, unsigned long addr,
			      size_t len, int failed)
{
	if (unlikely(failed))
		return -EFAULT;
	kiln_mmu_wrote(vr->mmu, addr, len);
	return 0;
}

static inline int vring_put16(struct kiln_vring *vr, unsigned long addr,
			      u16 val)
{
	return vring_wrote(vr, addr, sizeof(val),
			   __put_user(cpu_to_le16(val), (__le16 __user *)addr));
}

static inline int vring_put32(struct kiln_vring *vr, unsigned long addr,
			      u32 val)
{
	return vring_wrote(vr, addr, sizeof(val),
			   __put_user(cpu_to_le32(val), (__le32 __user *)addr));
}

static inline int vring_put64(struct kiln_vring *vr, unsigned long addr,
			      u64 val)
{
	return vring_wrote(vr, addr, sizeof(val),
			   __put_user(cpu_to_le64(val), (__le64 __user *)addr));
}

/*
 * The piece of guest memory that begins at @gpa: 0 and where it is and how long
 * it is, up to @len; -EFAULT if there is none.
 */
static inline int vring_translate(struct kiln_vring *vr, u64 gpa, u64 len,
				  bool write, unsigned long *hva, u64 *piece)
{
	struct kiln_mmu_span *span = &vr->span;
	u64 offset = gpa - span->gpa;

	if (unlikely(offset >= span->len ||
		     span->generation != kiln_mmu_generation(vr->mmu))) {
		if (!kiln_mmu_find_span(vr->mmu, gpa, span))
			return -EFAULT;
		offset = gpa - span->gpa;
	}
	if (unlikely(write && !span->writable))
		return -EPERM;
	*hva = span->hva + offset;
	*piece = min(len, span->len - offset);
	return 0;
}

/* A descriptor of an indirect table, which may straddle slots. */
static inline int vring_get_guest(struct kiln_vring *vr, u64 gpa,
				  struct vring_raw *val)
{
	unsigned long hva;
	u64 piece;

	if (unlikely(vring_translate(vr, gpa, sizeof(*val), false, &hva,
				     &piece)))
		return -EFAULT;
	if (likely(piece == sizeof(*val)))
		return vring_get_raw(vr, hva, val);
	return kiln_mmu_read(vr->mmu, NULL, gpa, val, sizeof(*val));
}

#endif /* KILN_VIRTIO_VRING_ACCESS_H */
