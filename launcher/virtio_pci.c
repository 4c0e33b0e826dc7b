// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI function of a virtio device (virtio 1.2 §4.1). One BAR has all
 * structures; each queue has a doorbell address of its own in it, which the
 * kernel serves. Interrupts are messages that the kernel sends, once the guest
 * switched MSI-X on, or else the pin: then the kernel tells us by eventfd, and
 * we set the ISR status and the line.
 */
#include "virtio.h"

#include <linux/vhost.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <string.h>

#define BAR			0
#define BAR_SIZE		(32 * KIB)

/* A page for each, so that none shares one with the doorbells. */
#define COMMON			0x0000
#define COMMON_SIZE		60
#define ISR			0x1000
#define ISR_SIZE		1
#define CONFIG			0x2000
#define TABLE			0x3000
#define TABLE_SIZE		0x800
#define PENDING			0x3800
#define PENDING_SIZE		8	/* a bit for each of MSIX_VECTORS_MAX */
#define DOORBELLS		0x4000
#define DOORBELL_STRIDE		4
#define DOORBELLS_SIZE		(VIRTIO_QUEUES_MAX * DOORBELL_STRIDE)

#define VENDOR_VIRTIO		0x1af4
#define DEVICE_MODERN		0x1040	/* plus the type */

/* ---- interrupts ---- */

static void update_pin(struct virtio *virtio)
{
	pci_set_interrupt(&virtio->pci, virtio->isr && !msix_enabled(&virtio->msix));
}

void virtio_pci_raise(struct virtio *virtio, uint8_t isr)
{
	/* With MSI-X, a vector that is none means no interrupt. */
	if (msix_enabled(&virtio->msix))
		return;
	virtio->isr |= isr;
	update_pin(virtio);
}

void virtio_pci_lower(struct virtio *virtio)
{
	virtio->isr = 0;
	update_pin(virtio);
}

static struct virtio_message *message_of(struct virtio *virtio, uint32_t index)
{
	return index == KILN_VIRTIO_CONFIG_INDEX ? &virtio->message
						 : &virtio->queues[index].message;
}

void virtio_pci_tell(struct virtio *virtio, uint32_t index)
{
	struct virtio_message *message = message_of(virtio, index);
	struct kiln_virtio_msi msi = { .index = index };
	struct msix_message entry;

	if (msix_enabled(&virtio->msix) && message->vector != VIRTIO_NO_VECTOR) {
		entry = msix_message(&virtio->msix, message->vector);
		msi.flags = KILN_VIRTIO_MSI_ENABLE;
		msi.address = entry.address;
		msi.data = entry.data;
		if (msix_masked(&virtio->msix, message->vector))
			msi.flags |= KILN_VIRTIO_MSI_MASKED;
		/* A masked entry that is rewritten word by word is told once, when it is unmasked. */
		if (msi.flags & message->told.flags & KILN_VIRTIO_MSI_MASKED)
			return;
	}
	msi.index = message->told.index = index;
	if (!memcmp(&msi, &message->told, sizeof(msi)))
		return;
	if (!virtio->call(virtio->fd, KILN_VIRTIO_SET_MSI, &msi))
		message->told = msi;
}

static void tell_all(struct virtio *virtio)
{
	virtio_pci_tell(virtio, KILN_VIRTIO_CONFIG_INDEX);
	for (unsigned int i = 0; i < virtio->nr_queues; i++)
		virtio_pci_tell(virtio, i);
}

static uint64_t pending_bit(struct virtio *virtio, uint32_t index)
{
	const struct virtio_message *message = message_of(virtio, index);
	struct kiln_virtio_msi msi = { .index = index };

	if (!(message->told.flags & KILN_VIRTIO_MSI_MASKED) ||
	    message->vector == VIRTIO_NO_VECTOR ||
	    virtio->call(virtio->fd, KILN_VIRTIO_GET_MSI, &msi))
		return 0;
	return msi.pending ? 1ULL << message->vector : 0;
}

/* ---- the structures in the BAR ---- */

static uint64_t isr_read(struct virtio *virtio, uint64_t offset, uint8_t size)
{
	uint8_t isr = virtio->isr;

	(void)offset;
	(void)size;
	virtio_pci_lower(virtio);	/* reading acknowledges (§4.1.4.5.1) */
	return isr;
}

union config_argument {
	struct vhost_vdpa_config head;
	uint8_t bytes[sizeof(struct vhost_vdpa_config) + sizeof(uint64_t)];
};

static bool in_config(const struct virtio *virtio, uint64_t offset, uint8_t size)
{
	return offset + size <= virtio->config_size;
}

static uint64_t config_read(struct virtio *virtio, uint64_t offset, uint8_t size)
{
	union config_argument argument = { .head = { (uint32_t)offset, size } };
	uint64_t value = 0;

	if (!in_config(virtio, offset, size) ||
	    virtio->call(virtio->fd, VHOST_VDPA_GET_CONFIG, &argument))
		return ~0ULL;
	memcpy(&value, argument.head.buf, size);
	return value;
}

static void config_write(struct virtio *virtio, uint64_t offset, uint8_t size, uint64_t value)
{
	union config_argument argument = { .head = { (uint32_t)offset, size } };

	if (!in_config(virtio, offset, size))
		return;
	memcpy(argument.head.buf, &value, size);
	/* A field that is not the driver's to write stays as it is. */
	virtio->call(virtio->fd, VHOST_VDPA_SET_CONFIG, &argument);
}

static uint64_t table_read(struct virtio *virtio, uint64_t offset, uint8_t size)
{
	return msix_table_read(&virtio->msix, offset, size);
}

static void table_write(struct virtio *virtio, uint64_t offset, uint8_t size, uint64_t value)
{
	unsigned int vector = msix_table_write(&virtio->msix, offset, size, value);

	if (virtio->message.vector == vector)
		virtio_pci_tell(virtio, KILN_VIRTIO_CONFIG_INDEX);
	for (unsigned int i = 0; i < virtio->nr_queues; i++)
		if (virtio->queues[i].message.vector == vector)
			virtio_pci_tell(virtio, i);
}

static uint64_t pending_read(struct virtio *virtio, uint64_t offset, uint8_t size)
{
	uint64_t bits = pending_bit(virtio, KILN_VIRTIO_CONFIG_INDEX);

	for (unsigned int i = 0; i < virtio->nr_queues; i++)
		bits |= pending_bit(virtio, i);
	return size < 4 ? 0 : bits >> offset * 8;
}

static uint64_t doorbell_read(struct virtio *virtio, uint64_t offset, uint8_t size)
{
	(void)virtio;
	(void)offset;
	(void)size;
	return 0;
}

static void doorbell_write(struct virtio *virtio, uint64_t offset, uint8_t size, uint64_t value)
{
	uint64_t index = offset / DOORBELL_STRIDE;

	(void)size;
	(void)value;
	if (index < virtio->nr_queues)
		virtio_queue_kick(virtio, (unsigned int)index);
}

static const struct structure {
	uint32_t at, size;
	uint8_t type;		/* VIRTIO_PCI_CAP_*, 0 for none */
	uint64_t (*read)(struct virtio *virtio, uint64_t offset, uint8_t size);
	void (*write)(struct virtio *virtio, uint64_t offset, uint8_t size, uint64_t value);
} structures[] = {
	{ COMMON, COMMON_SIZE, VIRTIO_PCI_CAP_COMMON_CFG, virtio_common_read, virtio_common_write },
	{ ISR, ISR_SIZE, VIRTIO_PCI_CAP_ISR_CFG, isr_read, NULL },
	{ CONFIG, VIRTIO_CONFIG_MAX, VIRTIO_PCI_CAP_DEVICE_CFG, config_read, config_write },
	{ DOORBELLS, DOORBELLS_SIZE, VIRTIO_PCI_CAP_NOTIFY_CFG, doorbell_read, doorbell_write },
	{ TABLE, TABLE_SIZE, 0, table_read, table_write },
	{ PENDING, PENDING_SIZE, 0, pending_read, NULL },
};

static const struct structure *find(uint64_t offset, uint8_t size)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(structures); i++)
		if (offset >= structures[i].at &&
		    offset + size <= (uint64_t)structures[i].at + structures[i].size)
			return &structures[i];
	return NULL;
}

static struct virtio *virtio_of(struct pci_device *device)
{
	return container_of(device, struct virtio, pci);
}

static uint64_t bar_read(struct pci_device *device, unsigned int bar, uint64_t offset, uint8_t size)
{
	const struct structure *structure = find(offset, size);

	(void)bar;
	return structure ? structure->read(virtio_of(device), offset - structure->at, size) : ~0ULL;
}

static void bar_write(struct pci_device *device, unsigned int bar, uint64_t offset, uint8_t size,
		      uint64_t value)
{
	const struct structure *structure = find(offset, size);

	(void)bar;
	if (structure && structure->write)
		structure->write(virtio_of(device), offset - structure->at, size, value);
}

uint64_t virtio_pci_doorbell(const struct virtio *virtio, unsigned int index)
{
	const struct pci_bar *bar = &virtio->pci.bars[BAR];

	return bar->mapped ? bar->base + DOORBELLS + index * DOORBELL_STRIDE : 0;
}

static void bar_moved(struct pci_device *device, unsigned int bar)
{
	struct virtio *virtio = virtio_of(device);

	(void)bar;
	for (unsigned int i = 0; i < virtio->nr_queues; i++)
		virtio_queue_move(virtio, i);
}

/* ---- the BAR through configuration space (§4.1.4.9), for firmware that maps none ---- */

#define CFG_BAR		offsetof(struct virtio_pci_cap, bar)
#define CFG_OFFSET	offsetof(struct virtio_pci_cap, offset)
#define CFG_LENGTH	offsetof(struct virtio_pci_cap, length)
#define CFG_DATA	sizeof(struct virtio_pci_cap)

/* Whether [at, at + size) has some of the data, and the access described is one that may be. */
static bool cfg_access(const struct virtio *virtio, unsigned int at, unsigned int size,
		       uint64_t *offset, uint8_t *length)
{
	const struct pci_device *pci = &virtio->pci;
	unsigned int cap = virtio->cfg_access;
	uint32_t len = pci_get32(pci, cap + CFG_LENGTH);

	if (at >= cap + CFG_DATA + 4 || at + size <= cap + CFG_DATA)
		return false;
	*offset = pci_get32(pci, cap + CFG_OFFSET);
	*length = (uint8_t)len;
	return pci->config[cap + CFG_BAR] == BAR && (len == 1 || len == 2 || len == 4) &&
	       !(*offset % len) && *offset + len <= BAR_SIZE;
}

static void config_space_read(struct pci_device *device, unsigned int at, unsigned int size)
{
	struct virtio *virtio = virtio_of(device);
	uint64_t offset;
	uint8_t length;

	if (cfg_access(virtio, at, size, &offset, &length))
		pci_set32(device, virtio->cfg_access + CFG_DATA,
			  (uint32_t)pci_bar_read(device, BAR, offset, length));
}

static void config_space_written(struct pci_device *device, unsigned int at, unsigned int size)
{
	struct virtio *virtio = virtio_of(device);
	unsigned int flags = virtio->msix.capability + PCI_MSIX_FLAGS;
	uint64_t offset, value, mask;
	uint8_t length;

	if (at < flags + 2 && flags < at + size) {
		tell_all(virtio);
		update_pin(virtio);
	}
	if (!cfg_access(virtio, at, size, &offset, &length))
		return;
	mask = length == 4 ? UINT32_MAX : (1u << length * 8) - 1;
	value = pci_get32(device, virtio->cfg_access + CFG_DATA) & mask;
	pci_bar_write(device, BAR, offset, length, value);
}

/* ---- making it ---- */

static const struct pci_ops ops = {
	.read = bar_read,
	.write = bar_write,
	.moved = bar_moved,
	.config_read = config_space_read,
	.config_written = config_space_written,
};

/* Base class and subclass by which tools and drivers that know no virtio call it. */
static uint32_t class_of(uint32_t type)
{
	switch (type) {
	case VIRTIO_ID_NET:
		return 0x020000;	/* Ethernet controller */
	case VIRTIO_ID_BLOCK:
		return 0x018000;	/* other mass storage */
	case VIRTIO_ID_CONSOLE:
		return 0x078000;	/* other communication */
	default:
		return 0xff0000;	/* none of those there are */
	}
}

static void add_structure(struct virtio *virtio, const struct structure *structure)
{
	bool notify = structure->type == VIRTIO_PCI_CAP_NOTIFY_CFG;
	bool config = structure->type == VIRTIO_PCI_CAP_DEVICE_CFG;
	struct virtio_pci_notify_cap cap = {
		.cap = {
			.cap_len = notify ? sizeof(cap) : sizeof(cap.cap),
			.cfg_type = structure->type,
			.bar = BAR,
			.offset = structure->at,
			.length = config ? virtio->config_size : structure->size,
		},
		.notify_off_multiplier = DOORBELL_STRIDE,
	};
	unsigned int at = pci_add_capability(&virtio->pci, PCI_CAP_ID_VNDR, cap.cap.cap_len);

	/* ID and link are there already. */
	memcpy(virtio->pci.config + at + 2, (const uint8_t *)&cap + 2, cap.cap.cap_len - 2u);
}

static void add_cfg_access(struct virtio *virtio)
{
	struct pci_device *pci = &virtio->pci;
	unsigned int len = CFG_DATA + 4;
	unsigned int at = pci_add_capability(pci, PCI_CAP_ID_VNDR, len);

	virtio->cfg_access = at;
	pci->config[at + 2] = (uint8_t)len;
	pci->config[at + 3] = VIRTIO_PCI_CAP_PCI_CFG;
	pci_make_writable(pci, at + CFG_BAR, 1);
	pci_make_writable(pci, at + CFG_OFFSET, 4);
	pci_make_writable(pci, at + CFG_LENGTH, 4);
	pci_make_writable(pci, at + CFG_DATA, 4);
}

void virtio_pci_init(struct virtio *virtio, uint32_t type)
{
	const struct pci_identity identity = {
		.vendor = VENDOR_VIRTIO,
		.device = (uint16_t)(DEVICE_MODERN + type),
		.subsystem_vendor = VENDOR_VIRTIO,
		.subsystem = (uint16_t)(DEVICE_MODERN + type),
		.class = class_of(type),
		.revision = 1,		/* §4.1.2.1: not a transitional device */
	};

	pci_device_init(&virtio->pci, virtio->name, &ops, &identity);
	pci_add_bar(&virtio->pci, BAR, BAR_SIZE);
	pci_add_pin(&virtio->pci);
	for (unsigned int i = 0; i < ARRAY_SIZE(structures); i++)
		if (structures[i].type && (structures[i].type != VIRTIO_PCI_CAP_DEVICE_CFG ||
					   virtio->config_size))
			add_structure(virtio, &structures[i]);
	add_cfg_access(virtio);
	msix_init(&virtio->msix, &virtio->pci, virtio->nr_queues + 1, BAR, TABLE, PENDING);
	virtio->message.vector = VIRTIO_NO_VECTOR;
}
