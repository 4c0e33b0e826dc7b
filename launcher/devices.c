// SPDX-License-Identifier: GPL-2.0-only
/*
 * Disks come first on the bus, in the order given, so that the guest numbers
 * them alike whatever else it has: /dev/vda is the first --disk. Network cards
 * follow, whose names in the guest are made of their slots.
 */
#include "devices.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "say.h"
#include "vhost.h"

struct context {
	struct devices *devices;
	const struct vm *vm;
	struct pci_host *host;
	const struct guest_memory *memory;
	struct loop *loop;
	struct console *console;
	/* Of the devices that are made next. */
	int (*call)(int fd, unsigned long request, void *arg);
};

/* The sentence for a device the kernel does not make, by errno. */
static int explain_create(const struct vm *vm, const char *name, int err)
{
	if (err == ENOTTY && !vm->version.vendor)
		return error_set("%s: %s has no virtio devices in the kernel; use --device /dev/kiln%s, or leave it out",
				 name, vm->device, strncmp(name, "--net", 5) ? "" : ", or vhost=kernel");
	if (err == ENOTTY)
		return error_set("%s: the module behind %s has no virtio devices; load a newer module, or leave it out",
				 name, vm->device);
	if (err == EOPNOTSUPP)
		return error_set("%s: the host's kernel lets no module give memory back, Debian's do; leave it out",
				 name);
	if (err == EMFILE)
		return error_set("%s: too many open files; raise ulimit -n", name);
	return error_set("%s: the module makes no such device: %s; load a matching module", name,
			 strerror(err));
}

/* A device of @type with a list entry, closed with the others. NULL with a sentence, or with *@err set. */
static struct virtio *create(struct context *context, const char *name, uint32_t type,
			     unsigned int nr_queues, int *err)
{
	struct devices *devices = context->devices;
	struct virtio *virtio = calloc(1, sizeof(*virtio));

	*err = 0;
	if (!virtio) {
		error_set("out of memory; free some");
		return NULL;
	}
	virtio_init(virtio, name);
	virtio->call = context->call;
	if (virtio_create(virtio, context->vm->fd, type, nr_queues)) {
		*err = errno;
		virtio_close(virtio);
		free(virtio);
		return NULL;
	}
	devices->list[devices->count++] = virtio;
	return virtio;
}

static int attach(struct context *context, struct virtio *virtio, uint32_t type)
{
	return virtio_attach(virtio, context->host, context->memory, context->loop, type);
}

/* ---- disks ---- */

static int add_disk(struct context *context, unsigned int number)
{
	const struct disk_config *disk = &context->devices->config->disks[number];
	int err, *fd = &context->devices->disks[number].fd;
	struct kiln_virtio_block block;
	struct virtio *virtio;
	char name[256];

	snprintf(name, sizeof(name), "--disk %s", disk->path);
	virtio = create(context, name, VIRTIO_ID_BLOCK, disk->queues, &err);
	if (!virtio)
		return err ? explain_create(context->vm, name, err) : -1;
	disk_back_end(disk, *fd, &block);
	if (virtio->call(virtio->fd, KILN_VIRTIO_SET_BLOCK, &block))
		return error_set("%s: the module does not take it: %s; name a raw image or a block device, or load a matching module",
				 name, strerror(errno));
	/* The device has a reference of its own. */
	close(*fd);
	*fd = -1;
	return attach(context, virtio, VIRTIO_ID_BLOCK);
}

/* ---- network cards ---- */

static int set_kiln(struct context *context, struct virtio *virtio, struct net_tap *tap)
{
	struct kiln_virtio_net net;

	(void)context;
	net_back_end(tap, &net);
	if (virtio->call(virtio->fd, KILN_VIRTIO_SET_NET, &net))
		return error_set("%s: the module does not take it: %s; name another tap, or load a matching module",
				 virtio->name, strerror(errno));
	/* The device has references of its own. */
	net_tap_close(tap);
	return 0;
}

static int set_vhost(struct context *context, struct virtio *virtio, struct net_tap *tap)
{
	return vhost_set_net(virtio->fd, tap, context->memory);
}

static int explain_vhost(const char *name, int err)
{
	return error_set("%s: /dev/vhost-net: %s; load the module vhost_net, run as root, or use vhost=kiln",
			 name, strerror(err));
}

/* Two queues to a pair; the control queue is always kiln's, of vhost's cards only those with several pairs have one. */
static int add_net(struct context *context, unsigned int number)
{
	bool vhost = context->devices->config->nets[number].vhost;
	struct net_tap *tap = &context->devices->taps[number];
	unsigned int queues = 2 * tap->count + (!vhost || tap->count > 1);
	struct virtio *virtio;
	char name[64];
	int err;

	snprintf(name, sizeof(name), "--net tap=%s", tap->name);
	context->call = vhost ? vhost_call : vm_ioctl;
	virtio = create(context, name, VIRTIO_ID_NET, queues, &err);
	context->call = vm_ioctl;
	if (!virtio && err)
		return vhost ? explain_vhost(name, err) : explain_create(context->vm, name, err);
	if (virtio && vhost)
		virtio->kicked = vhost_kicked;
	if (!virtio || (vhost ? set_vhost : set_kiln)(context, virtio, tap))
		return -1;
	return attach(context, virtio, VIRTIO_ID_NET);
}

/* ---- the console ---- */

static int set_console(const struct devices *devices)
{
	struct kiln_virtio_console console = {
		.in = devices->vconsole.kernel_in,
		.out = devices->vconsole.kernel_out,
	};

	console_window(devices->vconsole.console, &console.cols, &console.rows);
	return devices->console->call(devices->console->fd, KILN_VIRTIO_SET_CONSOLE, &console);
}

static int add_console(struct context *context)
{
	struct devices *devices = context->devices;
	int err;

	if (!devices->config->console)
		return 0;
	devices->console = create(context, "--console virtio", VIRTIO_ID_CONSOLE, 2, &err);
	if (!devices->console)
		return err ? explain_create(context->vm, "--console virtio", err) : -1;
	if (vconsole_open(&devices->vconsole, context->console, context->loop))
		return -1;
	if (set_console(devices))
		return error_set("--console virtio: the module does not take it: %s; load a matching module",
				 strerror(errno));
	return attach(context, devices->console, VIRTIO_ID_CONSOLE);
}

void devices_resized(void *devices)
{
	if (((struct devices *)devices)->console)
		set_console(devices);
}

/* ---- the balloon ---- */

/* Inflate, deflate, statistics, hinting, reporting (virtio 1.2 §5.5.2). */
#define BALLOON_QUEUES 5

/* How old the guest's statistics may be that `kiln balloon` and `kiln info` show. */
#define BALLOON_STATS_SECONDS 10

static int add_balloon(struct context *context)
{
	/* Nothing is asked of the guest; pages that it reports free go back by themselves. */
	struct kiln_virtio_balloon balloon = { .stats_seconds = BALLOON_STATS_SECONDS };
	struct virtio *virtio;
	int err;

	if (!context->devices->config->balloon)
		return 0;
	virtio = create(context, "--balloon", VIRTIO_ID_BALLOON, BALLOON_QUEUES, &err);
	if (!virtio)
		return err ? explain_create(context->vm, "--balloon", err) : -1;
	if (virtio->call(virtio->fd, KILN_VIRTIO_SET_BALLOON, &balloon))
		return error_set("--balloon: the module does not take it: %s; load a matching module",
				 strerror(errno));
	return attach(context, virtio, VIRTIO_ID_BALLOON);
}

/* ---- entropy ---- */

static int add_rng(struct context *context)
{
	enum choice choice = context->devices->config->rng;
	struct kiln_virtio_rng rng = { 0 };
	struct virtio *virtio;
	int err;

	if (choice == CHOICE_OFF)
		return 0;
	virtio = create(context, "--rng", VIRTIO_ID_RNG, 1, &err);
	if (!virtio && err == ENOTTY && choice == CHOICE_DEFAULT) {
		say("no virtio devices in this kernel, so no rng");
		return 0;
	}
	if (!virtio)
		return err ? explain_create(context->vm, "--rng", err) : -1;
	if (virtio->call(virtio->fd, KILN_VIRTIO_SET_RNG, &rng))
		return error_set("--rng: the module does not take it: %s; load a matching module",
				 strerror(errno));
	return attach(context, virtio, VIRTIO_ID_RNG);
}

/* ---- all ---- */

void devices_init(struct devices *devices, const struct devices_config *config)
{
	memset(devices, 0, sizeof(*devices));
	devices->config = config;
	vconsole_init(&devices->vconsole);
	for (unsigned int i = 0; i < DISKS_MAX; i++)
		disk_init(&devices->disks[i]);
	for (unsigned int i = 0; i < NETS_MAX; i++)
		net_tap_init(&devices->taps[i]);
}

int devices_open(struct devices *devices, const char *name)
{
	const struct devices_config *config = devices->config;

	if (disks_open(config->disks, config->nr_disks, devices->disks))
		return -1;
	for (unsigned int i = 0; i < config->nr_nets; i++)
		if (net_open(&config->nets[i], name, i, &devices->taps[i]))
			return -1;
	return 0;
}

int devices_create(struct devices *devices, const struct vm *vm, struct pci_host *host,
		   const struct guest_memory *memory, struct loop *loop, struct console *console)
{
	struct context context = { devices, vm, host, memory, loop, console, vm_ioctl };

	for (unsigned int i = 0; i < devices->config->nr_disks; i++)
		if (add_disk(&context, i))
			return -1;
	for (unsigned int i = 0; i < devices->config->nr_nets; i++)
		if (add_net(&context, i))
			return -1;
	if (add_console(&context) || add_balloon(&context) || add_rng(&context))
		return -1;
	/* Only now: what fails before says one line, and no more. */
	for (unsigned int i = 0; i < devices->config->nr_disks; i++)
		disk_hint_at_format(&devices->config->disks[i]);
	return 0;
}

void devices_close(struct devices *devices)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		virtio_close(devices->list[i]);
		free(devices->list[i]);
	}
	vhost_close();
	devices->count = 0;
	devices->console = NULL;
	vconsole_flush(&devices->vconsole);
	vconsole_close(&devices->vconsole);
	for (unsigned int i = 0; i < NETS_MAX; i++)
		net_tap_close(&devices->taps[i]);
	for (unsigned int i = 0; i < DISKS_MAX; i++)
		disk_close(&devices->disks[i]);
}
