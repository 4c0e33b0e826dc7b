// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSI-X (PCI 3.0 §6.8.2): a table of messages, each with a mask, and a switch
 * and a mask for all of them in configuration space. Who sends the messages,
 * and keeps those that are masked, is the device.
 */
#include "pci.h"

#include <assert.h>
#include <string.h>

/* Words of a table entry. */
enum { ADDRESS_LOW, ADDRESS_HIGH, MESSAGE_DATA, CONTROL };

#define CONTROL_MASKED 1u

void msix_init(struct msix *msix, struct pci_device *device, unsigned int count, unsigned int bar,
	       uint32_t table, uint32_t pending)
{
	assert(count >= 1 && count <= MSIX_VECTORS_MAX);
	memset(msix, 0, sizeof(*msix));
	msix->device = device;
	msix->count = count;
	msix->capability = pci_add_capability(device, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	pci_set16(device, msix->capability + PCI_MSIX_FLAGS, (uint16_t)(count - 1));
	pci_set32(device, msix->capability + PCI_MSIX_TABLE, table | bar);
	pci_set32(device, msix->capability + PCI_MSIX_PBA, pending | bar);
	device->writable[msix->capability + PCI_MSIX_FLAGS + 1] =
		(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	for (unsigned int i = 0; i < count; i++)
		msix->table[i][CONTROL] = CONTROL_MASKED;
}

static bool is_access(const struct msix *msix, uint64_t offset, uint8_t size)
{
	return (size == 4 || size == 8) && !(offset % size) &&
	       offset < (uint64_t)msix->count * MSIX_ENTRY;
}

uint64_t msix_table_read(const struct msix *msix, uint64_t offset, uint8_t size)
{
	uint64_t value = 0;

	if (is_access(msix, offset, size))
		memcpy(&value, (const uint8_t *)msix->table + offset, size);
	return value;
}

unsigned int msix_table_write(struct msix *msix, uint64_t offset, uint8_t size, uint64_t value)
{
	unsigned int vector = (unsigned int)(offset / MSIX_ENTRY);

	if (!is_access(msix, offset, size))
		return msix->count;
	memcpy((uint8_t *)msix->table + offset, &value, size);
	/* Reserved bits stay zero; a message's address is one of whole words. */
	msix->table[vector][ADDRESS_LOW] &= ~3u;
	msix->table[vector][CONTROL] &= CONTROL_MASKED;
	return vector;
}

bool msix_enabled(const struct msix *msix)
{
	return pci_get16(msix->device, msix->capability + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE;
}

bool msix_masked(const struct msix *msix, unsigned int vector)
{
	uint16_t flags = pci_get16(msix->device, msix->capability + PCI_MSIX_FLAGS);

	return flags & PCI_MSIX_FLAGS_MASKALL || msix->table[vector][CONTROL] & CONTROL_MASKED;
}

struct msix_message msix_message(const struct msix *msix, unsigned int vector)
{
	const uint32_t *entry = msix->table[vector];

	return (struct msix_message){
		.address = entry[ADDRESS_LOW] | (uint64_t)entry[ADDRESS_HIGH] << 32,
		.data = entry[MESSAGE_DATA],
	};
}
