// SPDX-License-Identifier: GPL-2.0-only
/* See vring_memory.h. */
#include <linux/errno.h>

#include "vring_memory.h"

static bool touches(size_t offset, size_t len, size_t byte)
{
	return byte >= offset && byte - offset < len;
}

static bool outside(const struct vring_memory *memory, size_t offset,
		    size_t len)
{
	return offset > memory->size || len > memory->size - offset;
}

int vring_memory_read(struct vring_memory *memory, unsigned long addr,
		      void *val, size_t len)
{
	size_t i, offset = addr - VRING_MEMORY_BASE;

	if (outside(memory, offset, len) || touches(offset, len, memory->hole))
		return -EFAULT;
	memcpy(val, memory->bytes + offset, len);
	for (i = 0; memory->reads && i < len; i++)
		memory->reads[offset + i]++;
	if (memory->after_read)
		memory->after_read(memory, offset, len);
	return 0;
}

int vring_memory_write(struct vring_memory *memory, unsigned long addr,
		       const void *val, size_t len)
{
	size_t offset = addr - VRING_MEMORY_BASE;

	if (outside(memory, offset, len) ||
	    touches(offset, len, memory->readonly))
		return -EFAULT;
	memcpy(memory->bytes + offset, val, len);
	memory->last_write = offset;
	return 0;
}

int vring_translate(struct kiln_vring *vr, u64 gpa, u64 len, bool write,
		    unsigned long *hva, u64 *piece)
{
	const struct vring_memory_slot *slot = vring_memory(vr)->slots;
	unsigned int i;

	for (i = 0; i < VRING_MEMORY_SLOTS; i++, slot++) {
		if (gpa - slot->gpa >= slot->len)
			continue;
		if (write && slot->readonly)
			return -EPERM;
		*hva = VRING_MEMORY_BASE + slot->offset + (gpa - slot->gpa);
		*piece = min(len, slot->len - (gpa - slot->gpa));
		return 0;
	}
	return -EFAULT;
}

int vring_get_guest(struct kiln_vring *vr, u64 gpa, struct vring_raw *val)
{
	u64 piece, done;
	unsigned long hva;

	for (done = 0; done < sizeof(*val); done += piece) {
		if (vring_translate(vr, gpa + done, sizeof(*val) - done, false,
				    &hva, &piece) ||
		    vring_memory_read(vring_memory(vr), hva, (u8 *)val + done,
				      piece))
			return -EFAULT;
	}
	return 0;
}
