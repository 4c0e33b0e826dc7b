/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In the place of vring_access.h: memory of a process and of a guest that are
 * made up, for KUnit and for user space. Faults where it is told to, counts what
 * is read, and can be changed behind the engine's back.
 */
#ifndef KILN_VIRTIO_VRING_MEMORY_H
#define KILN_VIRTIO_VRING_MEMORY_H

#include <asm/barrier.h>
#include <linux/bits.h>
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/string.h>

#include "vring.h"

/* User address of the memory's first byte. */
#define VRING_MEMORY_BASE	0x7f0000000000UL

#define VRING_MEMORY_SLOTS	3

/**
 * struct vring_memory_slot - a slot of the guest's
 * @gpa: guest-physical address
 * @len: bytes
 * @offset: where the memory has it
 * @readonly: the guest may not write there
 */
struct vring_memory_slot {
	u64 gpa;
	u64 len;
	size_t offset;
	bool readonly;
};

/**
 * struct vring_memory - all memory there is
 * @bytes: what it holds
 * @size: of @bytes
 * @slots: those with no @len are none
 * @hole: offset of a byte that cannot be read, or SIZE_MAX
 * @readonly: offset of a byte that cannot be written, or SIZE_MAX
 * @reads: how often each byte was read by the engine, if not NULL
 * @last_write: offset of what the engine wrote last
 * @after_read: if not NULL, called when @bytes at an offset were read
 */
struct vring_memory {
	u8 *bytes;
	size_t size;
	struct vring_memory_slot slots[VRING_MEMORY_SLOTS];
	size_t hole;
	size_t readonly;
	u8 *reads;
	size_t last_write;
	void (*after_read)(struct vring_memory *memory, size_t offset,
			   size_t len);
};

/* A descriptor as it lies in memory: the address, and all the rest. */
struct vring_raw {
	u64 addr;
	u64 rest;
};

/* The engine knows its memory by one pointer. */
static inline struct vring_memory *vring_memory(const struct kiln_vring *vr)
{
	return (struct vring_memory *)vr->mmu;
}

static inline struct kiln_mmu *vring_memory_mmu(struct vring_memory *memory)
{
	return (struct kiln_mmu *)memory;
}

static inline bool vring_may_access(const struct kiln_vring *vr,
				    unsigned long addr, size_t len)
{
	const struct vring_memory *memory = vring_memory(vr);
	unsigned long offset = addr - VRING_MEMORY_BASE;

	return offset <= memory->size && len <= memory->size - offset;
}

/**
 * vring_memory_read() - as get_user()
 * @memory: the memory
 * @addr: user address
 * @val: where to put it
 * @len: bytes
 *
 * Return: 0 or -EFAULT.
 */
int vring_memory_read(struct vring_memory *memory, unsigned long addr,
		      void *val, size_t len);

/**
 * vring_memory_write() - as put_user()
 * @memory: the memory
 * @addr: user address
 * @val: what to write
 * @len: bytes
 *
 * Return: 0 or -EFAULT.
 */
int vring_memory_write(struct vring_memory *memory, unsigned long addr,
		       const void *val, size_t len);

static inline int vring_get16(const struct kiln_vring *vr, unsigned long addr,
			      u16 *val)
{
	return vring_memory_read(vring_memory(vr), addr, val, sizeof(*val));
}

static inline int vring_get32(const struct kiln_vring *vr, unsigned long addr,
			      u32 *val)
{
	return vring_memory_read(vring_memory(vr), addr, val, sizeof(*val));
}

static inline int vring_get64(const struct kiln_vring *vr, unsigned long addr,
			      u64 *val)
{
	return vring_memory_read(vring_memory(vr), addr, val, sizeof(*val));
}

static inline int vring_get_raw(const struct kiln_vring *vr, unsigned long addr,
				struct vring_raw *val)
{
	return vring_memory_read(vring_memory(vr), addr, val, sizeof(*val));
}

static inline int vring_put16(struct kiln_vring *vr, unsigned long addr,
			      u16 val)
{
	return vring_memory_write(vring_memory(vr), addr, &val, sizeof(val));
}

static inline int vring_put32(struct kiln_vring *vr, unsigned long addr,
			      u32 val)
{
	return vring_memory_write(vring_memory(vr), addr, &val, sizeof(val));
}

static inline int vring_put64(struct kiln_vring *vr, unsigned long addr,
			      u64 val)
{
	return vring_memory_write(vring_memory(vr), addr, &val, sizeof(val));
}

/**
 * vring_translate() - as in vring_access.h
 * @vr: the ring
 * @gpa: guest-physical address
 * @len: bytes wanted
 * @write: they are to be written
 * @hva: set to the user address
 * @piece: set to how many bytes of @len there are
 *
 * Return: 0, -EFAULT, -EPERM.
 */
int vring_translate(struct kiln_vring *vr, u64 gpa, u64 len, bool write,
		    unsigned long *hva, u64 *piece);

/**
 * vring_get_guest() - as in vring_access.h
 * @vr: the ring
 * @gpa: guest-physical address of a descriptor
 * @val: the descriptor
 *
 * Return: 0 or -EFAULT.
 */
int vring_get_guest(struct kiln_vring *vr, u64 gpa, struct vring_raw *val);

#endif /* KILN_VIRTIO_VRING_MEMORY_H */
