// SPDX-License-Identifier: GPL-2.0-only
/* The transport before a kernel that only writes down what it is told. */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../error.h"
#include "../virtio.h"
#include "tap.h"

#define QUEUES 2
#define OFFERED                                                                          \
	(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_RING_PACKED |                     \
	 1ULL << VIRTIO_F_RING_RESET | 1ULL << VIRTIO_RING_F_EVENT_IDX | 1)

/* ---- the kernel ---- */

struct kernel_queue {
	unsigned int num, base, enabled;
	struct vhost_vring_addr addr;
	int kick, call, err;
	bool doorbell;
	uint64_t doorbell_at;
	struct kiln_virtio_msi msi;
	uint32_t pending;
};

static struct kernel {
	uint64_t features;
	uint8_t status;
	uint8_t config[8];
	int config_call;
	struct kernel_queue queues[QUEUES + 1];	/* the last: the configuration's message */
	struct kiln_virtio_broken broken;
	struct kvm_msi signalled;
	unsigned int msi_calls, resets;
	unsigned long refuse;			/* this call fails */
	bool hangs;				/* resets wait */
} kernel;

/* A reset that waits for a disk which does not answer: until the test has seen enough, or for long. */
#define HUNG_SECONDS 10

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool waits, answers, given_up;	/* [lock] */
} hung = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void hang(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += HUNG_SECONDS;
	pthread_mutex_lock(&hung.lock);
	hung.waits = true;
	pthread_cond_broadcast(&hung.changed);
	while (!hung.answers && !hung.given_up)
		hung.given_up = pthread_cond_timedwait(&hung.changed, &hung.lock, &until);
	pthread_mutex_unlock(&hung.lock);
}

static struct kernel_queue *queue_of(uint32_t index)
{
	return &kernel.queues[index < QUEUES ? index : QUEUES];
}

static int fail(int err)
{
	errno = err;
	return -1;
}

static int set_kernel_status(uint8_t status)
{
	kernel.status = status;
	if (status)
		return 0;
	if (kernel.hangs)
		hang();
	kernel.resets++;
	kernel.features = 0;
	for (unsigned int i = 0; i < QUEUES; i++) {
		kernel.queues[i].enabled = 0;
		kernel.queues[i].doorbell = false;
	}
	return 0;
}

static int set_doorbell(const struct kiln_virtio_doorbell *doorbell)
{
	struct kernel_queue *queue = queue_of(doorbell->index);

	if (doorbell->flags & KILN_VIRTIO_DOORBELL_DEASSIGN) {
		if (!queue->doorbell || queue->doorbell_at != doorbell->addr)
			return fail(ENOENT);
		queue->doorbell = false;
		return 0;
	}
	if (queue->doorbell)
		return fail(EEXIST);
	queue->doorbell = true;
	queue->doorbell_at = doorbell->addr;
	return 0;
}

static int ring_call(unsigned long request, void *arg)
{
	const struct vhost_vring_state *state = arg;
	const struct vhost_vring_file *file = arg;
	const struct vhost_vring_addr *addr = arg;

	switch (request) {
	case VHOST_SET_VRING_NUM:
		queue_of(state->index)->num = state->num;
		return 0;
	case VHOST_SET_VRING_BASE:
		queue_of(state->index)->base = state->num;
		return 0;
	case VHOST_VDPA_SET_VRING_ENABLE:
		queue_of(state->index)->enabled = state->num;
		return 0;
	case VHOST_SET_VRING_KICK:
		queue_of(file->index)->kick = file->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		queue_of(file->index)->call = file->fd;
		return 0;
	case VHOST_SET_VRING_ERR:
		queue_of(file->index)->err = file->fd;
		return 0;
	case VHOST_SET_VRING_ADDR:
		queue_of(addr->index)->addr = *addr;
		return 0;
	default:
		return fail(ENOTTY);
	}
}

static int config_call(unsigned long request, struct vhost_vdpa_config *config)
{
	if (config->off + config->len > sizeof(kernel.config))
		return fail(EINVAL);
	if (request == VHOST_VDPA_SET_CONFIG)
		memcpy(kernel.config + config->off, config->buf, config->len);
	else
		memcpy(config->buf, kernel.config + config->off, config->len);
	return 0;
}

static int fake_call(int fd, unsigned long request, void *arg)
{
	struct kiln_virtio_msi *msi = arg;

	(void)fd;
	if (request == kernel.refuse)
		return fail(EIO);
	switch (request) {
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = OFFERED | 1ULL << VIRTIO_F_SR_IOV;
		return 0;
	case VHOST_SET_FEATURES:
		kernel.features = *(uint64_t *)arg;
		return 0;
	case VHOST_VDPA_GET_VRING_NUM:
		*(uint16_t *)arg = 256;
		return 0;
	case VHOST_VDPA_GET_CONFIG_SIZE:
		*(uint32_t *)arg = sizeof(kernel.config);
		return 0;
	case VHOST_VDPA_GET_CONFIG:
	case VHOST_VDPA_SET_CONFIG:
		return config_call(request, arg);
	case VHOST_VDPA_SET_CONFIG_CALL:
		kernel.config_call = *(int *)arg;
		return 0;
	case VHOST_VDPA_GET_STATUS:
		*(uint8_t *)arg = kernel.status;
		return 0;
	case VHOST_VDPA_SET_STATUS:
		return set_kernel_status(*(uint8_t *)arg);
	case KILN_VIRTIO_SET_DOORBELL:
		return set_doorbell(arg);
	case KILN_VIRTIO_SET_MSI:
		kernel.msi_calls++;
		queue_of(msi->index)->msi = *msi;
		return 0;
	case KILN_VIRTIO_GET_MSI:
		msi->pending = queue_of(msi->index)->pending;
		return 0;
	case KILN_VIRTIO_GET_BROKEN:
		*(struct kiln_virtio_broken *)arg = kernel.broken;
		return 0;
	case KVM_SIGNAL_MSI:
		kernel.signalled = *(struct kvm_msi *)arg;
		return 0;
	default:
		return ring_call(request, arg);
	}
}

/* ---- the machine ---- */

static struct mmio mmio;
static struct pci_host host;
static struct irq_line irqs[PCI_GSIS];
static struct loop loop = { .fd = -1 };
static struct guest_memory memory;
static struct virtio virtio;
static uint64_t base;
static bool ready;

static void set_line(struct irq_line *line, bool level)
{
	(void)line;
	(void)level;
}

static void tear_down(void)
{
	if (ready) {
		virtio_close(&virtio);
		loop_destroy(&loop);
	}
	ready = false;
}

static void power_on(void)
{
	tear_down();
	kernel = (struct kernel){ 0 };
	mmio_init(&mmio);
	for (unsigned int i = 0; i < PCI_GSIS; i++)
		irqs[i] = (struct irq_line){ .set = set_line };
	pci_host_init(&host, &mmio, irqs);
	loop_create(&loop);
	memory = (struct guest_memory){ .base = (uint8_t *)0x10000000, .low_size = 16 * MIB };
	virtio_init(&virtio, "--disk test");
	virtio.call = fake_call;
	virtio.nr_queues = QUEUES;
	if (virtio_attach(&virtio, &host, &memory, &loop, VIRTIO_ID_BLOCK))
		puts("# virtio_attach failed");
	ready = true;
	base = PCI_WINDOW;
	pci_config_write(&virtio.pci, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static uint64_t get(uint64_t at, uint8_t size)
{
	uint64_t value = 0;

	mmio_read(&mmio, base + at, size, (uint8_t *)&value);
	return value;
}

static void put(uint64_t at, uint8_t size, uint64_t value)
{
	mmio_write(&mmio, base + at, size, (uint8_t *)&value);
}

/* The capability of @type; its address in configuration space, 0 for none. */
static unsigned int capability(uint8_t type)
{
	for (unsigned int at = virtio.pci.config[PCI_CAPABILITY_LIST]; at;
	     at = virtio.pci.config[at + 1])
		if (virtio.pci.config[at] == PCI_CAP_ID_VNDR && virtio.pci.config[at + 3] == type)
			return at;
	return 0;
}

/* Where in the BAR the structure of @type is. */
static uint64_t structure(uint8_t type)
{
	return pci_get32(&virtio.pci, capability(type) + 8);
}

static uint64_t device_config(void)
{
	return structure(VIRTIO_PCI_CAP_DEVICE_CFG);
}

static uint64_t doorbell(unsigned int queue)
{
	return structure(VIRTIO_PCI_CAP_NOTIFY_CFG) +
	       queue * pci_get32(&virtio.pci, capability(VIRTIO_PCI_CAP_NOTIFY_CFG) + 16);
}

static uint64_t table(void)
{
	return pci_get32(&virtio.pci, virtio.msix.capability + PCI_MSIX_TABLE);
}

static uint64_t pending(void)
{
	return pci_get32(&virtio.pci, virtio.msix.capability + PCI_MSIX_PBA);
}

static void set_msix_flags(uint16_t flags)
{
	pci_config_write(&virtio.pci, virtio.msix.capability + PCI_MSIX_FLAGS, 2, flags);
}

static void negotiate(uint64_t features)
{
	put(VIRTIO_PCI_COMMON_STATUS, 1, 1);
	put(VIRTIO_PCI_COMMON_STATUS, 1, 3);
	for (uint32_t i = 0; i < 2; i++) {
		put(VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		put(VIRTIO_PCI_COMMON_GF, 4, features >> (i * 32));
	}
	put(VIRTIO_PCI_COMMON_STATUS, 1, 11);
}

static void set_queue(unsigned int queue, uint64_t desc, uint64_t driver, uint64_t device)
{
	put(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 128);
	put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, desc & UINT32_MAX);
	put(VIRTIO_PCI_COMMON_Q_DESCHI, 4, desc >> 32);
	put(VIRTIO_PCI_COMMON_Q_AVAILLO, 8, driver);
	put(VIRTIO_PCI_COMMON_Q_USEDLO, 4, device & UINT32_MAX);
	put(VIRTIO_PCI_COMMON_Q_USEDHI, 4, device >> 32);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static void go_to_work(void)
{
	power_on();
	negotiate(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_RING_RESET);
	set_queue(0, 0x10000, 0x11000, 0x12000);
	set_queue(1, 0x20000, 0x21000, 0x22000);
	put(VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

/* One round of the event loop's work for @source. */
static void event(struct loop_source *source)
{
	loop_wake(source->fd);
	source->ready(source, 0);
}

static bool quiet_break(void)
{
	return get(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* ---- what it looks like ---- */

static void the_function_is_a_modern_disk(void)
{
	static const uint8_t types[] = {
		VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_CAP_ISR_CFG,
		VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_PCI_CFG,
	};

	power_on();
	CHECK(pci_config_read(&virtio.pci, 0, 4) == 0x10421af4);
	CHECK(pci_config_read(&virtio.pci, 8, 4) == 0x01800001);
	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
		CHECK(capability(types[i]));
		CHECK(virtio.pci.config[capability(types[i]) + 4] == 0);
	}
	CHECK(pci_get32(&virtio.pci, capability(VIRTIO_PCI_CAP_DEVICE_CFG) + 12) == 8);
	CHECK(pci_get16(&virtio.pci, virtio.msix.capability + 2) == QUEUES);
}

static void the_registers_start_as_the_kernel_says(void)
{
	power_on();
	CHECK(get(VIRTIO_PCI_COMMON_NUMQ, 2) == QUEUES);
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == 0);
	CHECK(get(VIRTIO_PCI_COMMON_MSIX, 2) == 0xffff);
	CHECK(get(VIRTIO_PCI_COMMON_Q_SIZE, 2) == 256);
	CHECK(get(VIRTIO_PCI_COMMON_Q_MSIX, 2) == 0xffff);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	CHECK(get(VIRTIO_PCI_COMMON_Q_NOFF, 2) == 1 && get(VIRTIO_PCI_COMMON_Q_SELECT, 2) == 1);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 2, QUEUES);
	CHECK(get(VIRTIO_PCI_COMMON_Q_SIZE, 2) == 0);
	CHECK(kernel.config_call == virtio.changed.fd);
}

static void features_are_offered_in_halves(void)
{
	power_on();
	put(VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	CHECK(get(VIRTIO_PCI_COMMON_DF, 4) == (uint32_t)OFFERED);
	put(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	CHECK(get(VIRTIO_PCI_COMMON_DF, 4) == OFFERED >> 32);	/* without SR_IOV */
	put(VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	CHECK(get(VIRTIO_PCI_COMMON_DF, 4) == 0);
}

static void fields_take_their_own_width_only(void)
{
	power_on();
	put(VIRTIO_PCI_COMMON_Q_SIZE, 1, 7);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 4, 7);
	CHECK(get(VIRTIO_PCI_COMMON_Q_SIZE, 2) == 256);
	put(VIRTIO_PCI_COMMON_Q_DESCLO, 2, 7);
	put(VIRTIO_PCI_COMMON_Q_DESCLO + 2, 4, 7);
	CHECK(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0);
	put(VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x11223344);
	put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x55667788);
	CHECK(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0x1122334455667788ULL);
	put(VIRTIO_PCI_COMMON_NUMQ, 2, 9);
	CHECK(get(VIRTIO_PCI_COMMON_NUMQ, 2) == QUEUES);
	CHECK(get(60, 4) == UINT32_MAX);	/* beyond the structure */
}

/* ---- status ---- */

static void features_agreed_on_reach_the_kernel(void)
{
	power_on();
	negotiate(1ULL << VIRTIO_F_VERSION_1 | 1);
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == 11 && kernel.status == 11);
	CHECK(kernel.features == (1ULL << VIRTIO_F_VERSION_1 | 1));
	put(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	put(VIRTIO_PCI_COMMON_GF, 4, 0);
	CHECK(get(VIRTIO_PCI_COMMON_GF, 4) == 1);
}

static void features_not_offered_are_not_agreed_on(void)
{
	power_on();
	negotiate(1ULL << VIRTIO_F_VERSION_1 | 2);
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == 3 && !kernel.features);
	power_on();
	negotiate(1);		/* a legacy driver */
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == 3);
	power_on();
	kernel.refuse = VHOST_SET_FEATURES;
	negotiate(1ULL << VIRTIO_F_VERSION_1);
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == 3);
}

static void status_bits_go_only_by_a_reset(void)
{
	power_on();
	put(VIRTIO_PCI_COMMON_STATUS, 1, 3);
	put(VIRTIO_PCI_COMMON_STATUS, 1, 1);
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == 3);
	put(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_NEEDS_RESET);
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == 3);
	put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == 0 && kernel.resets == 1);
}

static void a_reset_takes_everything_back(void)
{
	go_to_work();
	put(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	event(&virtio.used);
	CHECK(irqs[1].level);
	put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	CHECK(!irqs[1].level && !virtio.driver_features && kernel.resets == 1);
	CHECK(get(VIRTIO_PCI_COMMON_MSIX, 2) == 0xffff && get(VIRTIO_PCI_COMMON_Q_MSIX, 2) == 0xffff);
	CHECK(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 0 && get(VIRTIO_PCI_COMMON_Q_SIZE, 2) == 256);
	CHECK(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0);
	/* And it works again. */
	negotiate(1ULL << VIRTIO_F_VERSION_1);
	set_queue(0, 0x10000, 0x11000, 0x12000);
	CHECK(kernel.queues[0].enabled && kernel.queues[0].doorbell);
}

static void work_before_features_breaks_the_device(void)
{
	power_on();
	put(VIRTIO_PCI_COMMON_STATUS, 1, 7);
	CHECK(quiet_break() && !(kernel.status & VIRTIO_CONFIG_S_DRIVER_OK));
	power_on();
	set_queue(0, 0x10000, 0x11000, 0x12000);
	CHECK(quiet_break() && !kernel.queues[0].enabled);
	put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	CHECK(!quiet_break());
}

/* ---- queues ---- */

static void an_enabled_queue_is_known_to_the_kernel(void)
{
	const struct kernel_queue *queue = &kernel.queues[1];

	go_to_work();
	CHECK(queue->enabled && queue->num == 128 && queue->base == 0);
	CHECK(queue->addr.desc_user_addr == 0x10020000);
	CHECK(queue->addr.avail_user_addr == 0x10021000);
	CHECK(queue->addr.used_user_addr == 0x10022000);
	CHECK(queue->kick == virtio.queues[1].kick && queue->call == virtio.used.fd);
	CHECK(queue->err == virtio.broke.fd);
	CHECK(queue->doorbell && queue->doorbell_at == base + doorbell(1));
	CHECK(kernel.queues[0].doorbell_at == base + doorbell(0) && doorbell(0) != doorbell(1));
	CHECK(kernel.status == 15 && get(VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 1);
}

static void an_enabled_queue_does_not_change(void)
{
	go_to_work();
	put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
	put(VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0x999000);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	CHECK(get(VIRTIO_PCI_COMMON_Q_SIZE, 2) == 128);
	CHECK(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0x20000);
	CHECK(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 1);
}

static void a_packed_ring_starts_with_its_wrap_counters(void)
{
	power_on();
	negotiate(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_RING_PACKED);
	/* Event areas have four bytes: here the last of RAM. */
	set_queue(0, 0x10000, 16 * MIB - 4, 16 * MIB - 4);
	CHECK(kernel.queues[0].enabled && kernel.queues[0].base == 0x80008000u);
}

static void rings_lie_in_ram_or_break_the_device(void)
{
	/* Of 128 entries: descriptors 2048 bytes, driver area 260, device area 1028. */
	static const uint64_t bad[][3] = {
		{ 16 * MIB, 0x11000, 0x12000 },
		{ 16 * MIB - 2032, 0x11000, 0x12000 },
		{ 0x10000, 16 * MIB - 256, 0x12000 },
		{ 0x10000, 0x11000, 16 * MIB - 1024 },
		{ UINT64_MAX - 15, 0x11000, 0x12000 },
		{ 0x10000, PCI_MMCONFIG, 0x12000 },
		{ 0x10000, 0x11000, HIGH_RAM_BASE },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		power_on();
		negotiate(1ULL << VIRTIO_F_VERSION_1);
		set_queue(0, bad[i][0], bad[i][1], bad[i][2]);
		CHECK(quiet_break() && !kernel.queues[0].enabled && !kernel.queues[0].doorbell);
		CHECK(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 0);
		/* Nothing more comes of it until it is reset. */
		set_queue(0, 0x10000, 0x11000, 0x12000);
		CHECK(!kernel.queues[0].enabled);
	}
	power_on();
	negotiate(1ULL << VIRTIO_F_VERSION_1);
	set_queue(0, 16 * MIB - 2048, 0x11000, 16 * MIB - 1028);
	CHECK(!quiet_break() && kernel.queues[0].enabled);
}

static void what_the_kernel_refuses_breaks_the_device(void)
{
	static const unsigned long requests[] = {
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE,
		VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
		VHOST_VDPA_SET_VRING_ENABLE,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		power_on();
		negotiate(1ULL << VIRTIO_F_VERSION_1);
		kernel.refuse = requests[i];
		set_queue(0, 0x10000, 0x11000, 0x12000);
		CHECK(quiet_break() && !get(VIRTIO_PCI_COMMON_Q_ENABLE, 2));
		CHECK(!kernel.queues[0].enabled && !kernel.queues[0].doorbell);
	}
}

static void a_queue_can_be_reset_alone(void)
{
	go_to_work();
	put(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	CHECK(!kernel.queues[1].enabled && !kernel.queues[1].doorbell && kernel.queues[0].enabled);
	CHECK(get(VIRTIO_PCI_COMMON_Q_RESET, 2) == 0 && get(VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 0);
	CHECK(get(VIRTIO_PCI_COMMON_Q_SIZE, 2) == 256);
	set_queue(1, 0x30000, 0x31000, 0x32000);
	CHECK(kernel.queues[1].enabled && kernel.queues[1].addr.desc_user_addr == 0x10030000);
	/* Not where it was not agreed on. */
	power_on();
	negotiate(1ULL << VIRTIO_F_VERSION_1);
	set_queue(0, 0x10000, 0x11000, 0x12000);
	put(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	CHECK(kernel.queues[0].enabled && get(VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 1);
}

static void doorbells_follow_the_bar(void)
{
	go_to_work();
	pci_config_write(&virtio.pci, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	CHECK(kernel.queues[0].doorbell && kernel.queues[0].doorbell_at == 0xd0000000 + doorbell(0));
	CHECK(kernel.queues[1].doorbell_at == 0xd0000000 + doorbell(1));
	pci_config_write(&virtio.pci, PCI_COMMAND, 2, 0);
	CHECK(!kernel.queues[0].doorbell && !kernel.queues[1].doorbell);
	pci_config_write(&virtio.pci, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	CHECK(kernel.queues[0].doorbell_at == 0xd0000000 + doorbell(0) && kernel.queues[0].doorbell);
}

static void kicks_that_come_here_are_handed_on(void)
{
	eventfd_t count = 0;

	go_to_work();
	put(doorbell(1), 2, 1);
	CHECK(!eventfd_read(virtio.queues[1].kick, &count) && count == 1);
	CHECK(eventfd_read(virtio.queues[0].kick, &count) < 0);
	put(doorbell(QUEUES), 2, 1);	/* of no queue */
	power_on();
	put(doorbell(1), 2, 1);		/* of one that is not enabled */
	CHECK(eventfd_read(virtio.queues[1].kick, &count) < 0);
}

/* ---- interrupts ---- */

static void the_pin_goes_up_and_reading_isr_takes_it_down(void)
{
	uint64_t isr;

	go_to_work();
	isr = structure(VIRTIO_PCI_CAP_ISR_CFG);
	event(&virtio.used);
	CHECK(irqs[1].level);
	event(&virtio.changed);
	CHECK(get(isr, 1) == 3 && !irqs[1].level);
	CHECK(get(isr, 1) == 0);
}

static void messages_reach_the_kernel_as_the_guest_sets_them(void)
{
	const struct kiln_virtio_msi *msi = &kernel.queues[1].msi;

	go_to_work();
	set_msix_flags(PCI_MSIX_FLAGS_ENABLE);
	put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	CHECK(get(VIRTIO_PCI_COMMON_Q_MSIX, 2) == 2);
	CHECK(msi->flags == (KILN_VIRTIO_MSI_ENABLE | KILN_VIRTIO_MSI_MASKED));
	put(table() + 32, 4, 0xfee01000);
	put(table() + 36, 4, 0);
	put(table() + 40, 4, 0x4041);
	put(table() + 44, 4, 0);
	CHECK(msi->index == 1 && msi->flags == KILN_VIRTIO_MSI_ENABLE);
	CHECK(msi->address == 0xfee01000 && msi->data == 0x4041);
	put(table() + 44, 4, 1);
	CHECK(msi->flags == (KILN_VIRTIO_MSI_ENABLE | KILN_VIRTIO_MSI_MASKED));
	put(table() + 44, 4, 0);
	set_msix_flags(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	CHECK(msi->flags & KILN_VIRTIO_MSI_MASKED);
	set_msix_flags(0);
	CHECK(msi->flags == 0);
	set_msix_flags(PCI_MSIX_FLAGS_ENABLE);
	CHECK(msi->flags == KILN_VIRTIO_MSI_ENABLE && msi->data == 0x4041);
	put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 0xffff);
	CHECK(msi->flags == 0);
}

static void the_configuration_has_a_message_of_its_own(void)
{
	go_to_work();
	set_msix_flags(PCI_MSIX_FLAGS_ENABLE);
	put(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	put(table() + 12, 4, 0);
	CHECK(kernel.queues[QUEUES].msi.index == KILN_VIRTIO_CONFIG_INDEX);
	CHECK(kernel.queues[QUEUES].msi.flags == KILN_VIRTIO_MSI_ENABLE);
}

static void vectors_that_are_not_there_read_as_none(void)
{
	go_to_work();
	put(VIRTIO_PCI_COMMON_Q_MSIX, 2, QUEUES + 1);
	CHECK(get(VIRTIO_PCI_COMMON_Q_MSIX, 2) == 0xffff);
	put(VIRTIO_PCI_COMMON_MSIX, 2, 0xfffe);
	CHECK(get(VIRTIO_PCI_COMMON_MSIX, 2) == 0xffff);
}

static void a_masked_entry_is_told_once(void)
{
	unsigned int calls;

	go_to_work();
	set_msix_flags(PCI_MSIX_FLAGS_ENABLE);
	put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	calls = kernel.msi_calls;
	for (uint32_t i = 0; i < 100; i++)
		put(table() + 16, 4, 0xfee00000 + i * 16);
	CHECK(kernel.msi_calls == calls);
	put(table() + 28, 4, 0);
	CHECK(kernel.msi_calls == calls + 1 && kernel.queues[1].msi.address == 0xfee00000 + 99 * 16);
}

static void pending_bits_are_the_kernels(void)
{
	go_to_work();
	set_msix_flags(PCI_MSIX_FLAGS_ENABLE);
	put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	CHECK(get(pending(), 8) == 0);
	kernel.queues[1].pending = 1;
	CHECK(get(pending(), 8) == 4 && get(pending(), 4) == 4 && get(pending() + 4, 4) == 0);
	put(table() + 44, 4, 0);
	CHECK(get(pending(), 8) == 0);
}

static void with_messages_the_pin_stays_down(void)
{
	go_to_work();
	event(&virtio.used);
	CHECK(irqs[1].level);
	set_msix_flags(PCI_MSIX_FLAGS_ENABLE);
	CHECK(!irqs[1].level);
	event(&virtio.used);
	CHECK(!irqs[1].level);
}

/* ---- broken devices ---- */

static void the_kernels_word_shows_in_the_status(void)
{
	go_to_work();
	kernel.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	CHECK(get(VIRTIO_PCI_COMMON_STATUS, 1) == (15 | VIRTIO_CONFIG_S_NEEDS_RESET));
}

static void a_driver_at_work_is_told_that_its_device_broke(void)
{
	go_to_work();
	set_msix_flags(PCI_MSIX_FLAGS_ENABLE);
	put(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	put(table(), 8, 0xfee02000);
	put(table() + 8, 8, 0x51);
	put(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	set_queue(1, 0x20000, 0xfee00000, 0x22000);
	CHECK(quiet_break());
	CHECK(kernel.signalled.address_lo == 0xfee02000 && kernel.signalled.data == 0x51);
	go_to_work();
	put(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	set_queue(1, 0x20000, 0xfee00000, 0x22000);
	CHECK(irqs[1].level && get(structure(VIRTIO_PCI_CAP_ISR_CFG), 1) == VIRTIO_ISR_CONFIG);
}

static void what_the_kernel_saw_is_told_once(void)
{
	go_to_work();
	event(&virtio.broke);
	event(&virtio.broke);
	CHECK(virtio.reports_left == 9);
	put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	event(&virtio.broke);
	CHECK(virtio.reports_left == 8);
}

static void a_guest_cannot_flood_stderr(void)
{
	go_to_work();
	for (unsigned int i = 0; i < 1000; i++) {
		put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
		put(VIRTIO_PCI_COMMON_STATUS, 1, 7);
		CHECK(quiet_break());
	}
	CHECK(!virtio.reports_left);
}

/* ---- configuration ---- */

static void the_configuration_is_the_kernels(void)
{
	power_on();
	memcpy(kernel.config, "\1\2\3\4\5\6\7\10", 8);
	CHECK(get(device_config(), 8) == 0x0807060504030201ULL && get(device_config() + 5, 1) == 6);
	put(device_config() + 2, 2, 0xbbaa);
	CHECK(kernel.config[2] == 0xaa && kernel.config[3] == 0xbb);
	CHECK(get(device_config() + 8, 4) == UINT32_MAX && get(device_config() + 6, 4) == UINT32_MAX);
	put(device_config() + 8, 4, 1);
}

static void the_generation_counts_changes(void)
{
	uint64_t first;

	power_on();
	first = get(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	CHECK(get(VIRTIO_PCI_COMMON_CFGGENERATION, 1) == first);
	kernel.config[3] = 1;
	CHECK(get(VIRTIO_PCI_COMMON_CFGGENERATION, 1) != first);
}

static void the_bar_is_reached_through_configuration_space(void)
{
	unsigned int cap;
	eventfd_t count = 0;

	go_to_work();
	pci_config_write(&virtio.pci, PCI_COMMAND, 2, 0);
	cap = capability(VIRTIO_PCI_CAP_PCI_CFG);
	pci_config_write(&virtio.pci, cap + 8, 4, VIRTIO_PCI_COMMON_NUMQ);
	pci_config_write(&virtio.pci, cap + 12, 4, 2);
	CHECK(pci_config_read(&virtio.pci, cap + 16, 2) == QUEUES);
	pci_config_write(&virtio.pci, cap + 8, 4, VIRTIO_PCI_COMMON_Q_SELECT);
	pci_config_write(&virtio.pci, cap + 16, 2, 1);
	CHECK(virtio.queue_select == 1);
	pci_config_write(&virtio.pci, cap + 8, 4, (uint32_t)doorbell(1));
	pci_config_write(&virtio.pci, cap + 16, 2, 1);
	CHECK(!eventfd_read(virtio.queues[1].kick, &count));
}

static void bad_accesses_through_configuration_space_do_nothing(void)
{
	static const struct {
		uint32_t bar, offset, length;
	} bad[] = {
		{ 1, VIRTIO_PCI_COMMON_NUMQ, 2 }, { 0, VIRTIO_PCI_COMMON_NUMQ, 0 },
		{ 0, VIRTIO_PCI_COMMON_NUMQ, 3 }, { 0, VIRTIO_PCI_COMMON_NUMQ, 8 },
		{ 0, VIRTIO_PCI_COMMON_NUMQ, 0x102 }, { 0, VIRTIO_PCI_COMMON_NUMQ + 1, 2 },
		{ 0, 0x8000, 4 }, { 0, 0xfffffffc, 4 }, { 0xff, 0, 4 },
	};
	unsigned int cap;

	power_on();
	cap = capability(VIRTIO_PCI_CAP_PCI_CFG);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		pci_config_write(&virtio.pci, cap + 4, 1, bad[i].bar);
		pci_config_write(&virtio.pci, cap + 8, 4, bad[i].offset);
		pci_config_write(&virtio.pci, cap + 12, 4, bad[i].length);
		pci_config_write(&virtio.pci, cap + 16, 4, 0xabcd);
		CHECK(pci_config_read(&virtio.pci, cap + 16, 4) == 0xabcd);
	}
}

static void *write_reset(void *unused)
{
	put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	return unused;
}

/* A vCPU that resets the device, once the reset waits. */
static pthread_t start_reset(void)
{
	pthread_t vcpu;

	kernel.hangs = true;
	hung.waits = hung.answers = hung.given_up = false;
	pthread_create(&vcpu, NULL, write_reset, NULL);
	pthread_mutex_lock(&hung.lock);
	while (!hung.waits)
		pthread_cond_wait(&hung.changed, &hung.lock);
	pthread_mutex_unlock(&hung.lock);
	return vcpu;
}

/* Whether it waited all the time. */
static bool end_reset(pthread_t vcpu)
{
	bool waited;

	pthread_mutex_lock(&hung.lock);
	waited = !hung.given_up;
	hung.answers = true;
	pthread_cond_broadcast(&hung.changed);
	pthread_mutex_unlock(&hung.lock);
	pthread_join(vcpu, NULL);
	return waited;
}

static bool signalled(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) > 0;
}

static void the_loop_waits_for_no_reset(void)
{
	pthread_t vcpu;

	go_to_work();
	kernel.broken = (struct kiln_virtio_broken){ .queue = 1, .cause = "while it is reset" };
	vcpu = start_reset();
	event(&virtio.used);
	event(&virtio.changed);
	event(&virtio.broke);
	CHECK(end_reset(vcpu));
	/* What it did not look at then it is told to look at now. */
	CHECK(!virtio.isr && !virtio.reported && signalled(virtio.unlocked.fd));
	virtio.reports_left = 0;
	virtio.unlocked.ready(&virtio.unlocked, 0);
	CHECK(!signalled(virtio.unlocked.fd) && virtio.reported);
	CHECK(get(structure(VIRTIO_PCI_CAP_ISR_CFG), 1) == 3);
	/* Once, and nobody else is told that the lock is free. */
	virtio.unlocked.ready(&virtio.unlocked, 0);
	CHECK(!virtio.isr && !signalled(virtio.unlocked.fd));
}

/* Every register, every width, values of all kinds: nothing may crash, nor leave the rules. */
static void random_accesses_leave_the_device_whole(void)
{
	uint64_t seed = 12345;

	power_on();
	virtio.reports_left = 0;
	for (unsigned int i = 0; i < 200000; i++) {
		uint64_t r = seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		uint64_t at = (r >> 33) % 0x60 + ((r >> 20 & 7) << 12);
		uint8_t size = (uint8_t)(1u << (r >> 60 & 3));

		if (r >> 50 & 1)
			put(at, size, r >> 17 & 1 ? r >> 40 : r >> 62);
		else
			get(at, size);
		if (!(i % 64))
			pci_config_write(&virtio.pci, (unsigned int)(r >> 24 & 0xff), 1,
					 (uint32_t)(r >> 10 & 0xff));
		if (!(i % 1000))
			pci_config_write(&virtio.pci, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		base = virtio.pci.bars[0].mapped ? virtio.pci.bars[0].base : PCI_WINDOW;
	}
	CHECK(virtio.isr <= 3);
	for (unsigned int i = 0; i < QUEUES; i++) {
		CHECK(kernel.queues[i].enabled == virtio.queues[i].enabled);
		CHECK(kernel.queues[i].doorbell == virtio.queues[i].doorbell);
	}
	tear_down();
}

static const struct test tests[] = {
	TEST(the_function_is_a_modern_disk),
	TEST(the_registers_start_as_the_kernel_says),
	TEST(features_are_offered_in_halves),
	TEST(fields_take_their_own_width_only),
	TEST(features_agreed_on_reach_the_kernel),
	TEST(features_not_offered_are_not_agreed_on),
	TEST(status_bits_go_only_by_a_reset),
	TEST(a_reset_takes_everything_back),
	TEST(work_before_features_breaks_the_device),
	TEST(an_enabled_queue_is_known_to_the_kernel),
	TEST(an_enabled_queue_does_not_change),
	TEST(a_packed_ring_starts_with_its_wrap_counters),
	TEST(rings_lie_in_ram_or_break_the_device),
	TEST(what_the_kernel_refuses_breaks_the_device),
	TEST(a_queue_can_be_reset_alone),
	TEST(doorbells_follow_the_bar),
	TEST(kicks_that_come_here_are_handed_on),
	TEST(the_pin_goes_up_and_reading_isr_takes_it_down),
	TEST(messages_reach_the_kernel_as_the_guest_sets_them),
	TEST(the_configuration_has_a_message_of_its_own),
	TEST(vectors_that_are_not_there_read_as_none),
	TEST(a_masked_entry_is_told_once),
	TEST(pending_bits_are_the_kernels),
	TEST(with_messages_the_pin_stays_down),
	TEST(the_kernels_word_shows_in_the_status),
	TEST(a_driver_at_work_is_told_that_its_device_broke),
	TEST(what_the_kernel_saw_is_told_once),
	TEST(a_guest_cannot_flood_stderr),
	TEST(the_configuration_is_the_kernels),
	TEST(the_generation_counts_changes),
	TEST(the_bar_is_reached_through_configuration_space),
	TEST(bad_accesses_through_configuration_space_do_nothing),
	TEST(the_loop_waits_for_no_reset),
	TEST(random_accesses_leave_the_device_whole),
	TESTS_END
};

const struct suite suite_virtio_pci = { "virtio_pci", tests };
