// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "acpi.h"
#include "cmd.h"
#include "console.h"
#include "error.h"
#include "machine.h"
#include "opts.h"
#include "parse.h"
#include "say.h"
#include "status.h"

static int set_name(void *config, const char *value)
{
	((struct run_config *)config)->name = value;
	return 0;
}

static int set_kernel(void *config, const char *value)
{
	((struct run_config *)config)->boot.kernel = value;
	return 0;
}

static int set_initrd(void *config, const char *value)
{
	((struct run_config *)config)->boot.initrd = value;
	return 0;
}

/* FILE or FILE=ARGS; the value is argv's own and may be cut. */
static int set_module(void *config, const char *value)
{
	struct boot_request *boot = &((struct run_config *)config)->boot;
	char *equals = strchr(value, '=');

	if (boot->nr_modules == BOOT_MODULES_MAX)
		return error_set("--module %s: one too many; give at most %d", value,
				 BOOT_MODULES_MAX);
	if (equals)
		*equals = '\0';
	boot->modules[boot->nr_modules].path = value;
	boot->modules[boot->nr_modules++].args = equals ? equals + 1 : "";
	return 0;
}

static int set_append(void *config, const char *value)
{
	((struct run_config *)config)->boot.append = value;
	return 0;
}

static int set_unpack(void *config, const char *value)
{
	return unpacked_parse_where(&((struct run_config *)config)->boot.unpack, value);
}

static int set_kernel_cache(void *config, const char *value)
{
	return unpacked_parse_cache(&((struct run_config *)config)->boot.unpack, value);
}

static int set_cpus(void *config, const char *value)
{
	uint64_t cpus;

	if (parse_number("--cpus", value, 1, ACPI_CPUS_MAX, &cpus))
		return -1;
	((struct run_config *)config)->cpus = (unsigned int)cpus;
	return 0;
}

static int set_memory(void *config, const char *value)
{
	return parse_size("--memory", value, &((struct run_config *)config)->memory);
}

/* What follows @device and a colon in @value, "stdio" where @value is @device alone; else NULL. */
static const char *console_of(const char *device, const char *value)
{
	size_t len = strlen(device);

	if (strncmp(value, device, len) || (value[len] && value[len] != ':'))
		return NULL;
	return value[len] ? value + len + 1 : "stdio";
}

/* [serial|virtio][:]WHERE */
static int set_console(void *config, const char *value)
{
	struct run_config *run = config;
	const char *serial = console_of("serial", value), *virtio = console_of("virtio", value);
	const char *where = virtio ? virtio : serial ? serial : value;

	if (!console_spec_valid(where))
		return error_set("--console %s: unknown; give stdio, pty, socket:PATH, file:PATH or null, after serial: or virtio:",
				 value);
	run->devices.console = virtio;
	run->console = where;
	return 0;
}

/* PATH[,WORD]... */
static int set_disk(void *config, const char *value)
{
	struct devices_config *devices = &((struct run_config *)config)->devices;

	if (devices->nr_disks == DISKS_MAX)
		return error_set("--disk %s: one too many; give at most %d", value, DISKS_MAX);
	if (disk_parse(&devices->disks[devices->nr_disks], value, devices->nr_disks))
		return -1;
	devices->nr_disks++;
	return 0;
}

/* tap[=NAME][,WORD]... */
static int set_net(void *config, const char *value)
{
	struct devices_config *devices = &((struct run_config *)config)->devices;

	if (devices->nr_nets == NETS_MAX)
		return error_set("--net %s: one too many; give at most %d", value, NETS_MAX);
	if (net_parse(&devices->nets[devices->nr_nets], value))
		return -1;
	devices->nr_nets++;
	return 0;
}

static int set_balloon(void *config, const char *value)
{
	(void)value;
	((struct run_config *)config)->devices.balloon = true;
	return 0;
}

static int set_rng(void *config, const char *value)
{
	bool on = !strcmp(value, "on");

	if (!on && strcmp(value, "off"))
		return error_set("--rng %s: unknown; give on or off", value);
	((struct run_config *)config)->devices.rng = on ? CHOICE_ON : CHOICE_OFF;
	return 0;
}

static int set_device(void *config, const char *value)
{
	((struct run_config *)config)->device = value;
	return 0;
}

static int set_user(void *config, const char *value)
{
	return sandbox_parse_user(&((struct run_config *)config)->sandbox, value);
}

static int set_seccomp(void *config, const char *value)
{
	return sandbox_parse_seccomp(&((struct run_config *)config)->sandbox, value);
}

static int set_debug_exit(void *config, const char *value)
{
	(void)value;
	((struct run_config *)config)->debug_exit = true;
	return 0;
}

static int set_verbose(void *config, const char *value)
{
	(void)value;
	((struct run_config *)config)->verbose = true;
	return 0;
}

static const struct opt options[] = {
	{ "kernel", "FILE", "bzImage, ELF with a PVH note, or Multiboot 1 ELF", set_kernel },
	{ "initrd", "FILE", "initial RAM disk", set_initrd },
	{ "module", "FILE[=ARGS]", "module for a Multiboot kernel; may be repeated", set_module },
	{ "append", "TEXT", "the kernel's command line; Linux speaks on the serial\n"
	  "                             port only with console=ttyS0 in it", set_append },
	{ "unpack", "WHERE", "who unpacks a bzImage: the host, once (cache, the default)\n"
	  "                             or each time (memory), or the kernel itself (guest)", set_unpack },
	{ "kernel-cache", "DIR", "where unpacked kernels are kept", set_kernel_cache },
	{ "cpus", "N", "virtual CPUs, 1 to 255 (default 1)", set_cpus },
	{ "memory", "SIZE", "memory, like 512M or 1G (default 512M)", set_memory },
	{ "console", "[DEVICE:]WHERE", "serial (default) or virtio, to stdio, pty, socket:PATH,\n"
	  "                             file:PATH, null", set_console },
	{ "disk", "PATH[,WORD]...", "an image or a block device as virtio disk; may be repeated",
	  set_disk },
	{ "net", "tap[=NAME][,WORD]...", "a virtio network card on a tap of the host; may be repeated",
	  set_net },
	{ "balloon", NULL, "a virtio balloon: free memory goes back to the host", set_balloon },
	{ "rng", "on|off", "a virtio source of random numbers (default on, with kiln)", set_rng },
	{ "name", "NAME", "what the other commands call this guest (default vm0, vm1, ...)",
	  set_name },
	{ "device", "PATH", "the hypervisor (default /dev/kiln; /dev/kvm works too)", set_device },
	{ "user", "NAME|UID[:GID]", "who the launcher becomes once all is open (from root)", set_user },
	{ "seccomp", "on|log|off", "system calls it does not need are forbidden (default on)",
	  set_seccomp },
	{ "debug-exit", NULL, "a write of N to port 0xf4 ends the run with status 2N+1",
	  set_debug_exit },
	{ "verbose", NULL, "say what is done and when", set_verbose },
	{ NULL, NULL, NULL, NULL },
};

void cmd_run_help(FILE *out)
{
	fprintf(out, "Usage: kiln run --kernel FILE [OPTION...]\n\n"
		     "Runs a guest until it powers off.\n\n");
	opts_print(options, out);
	fprintf(out, "\nWords after a disk's path:\n"
		     "  ro                     read-only\n"
		     "  format=FORMAT          raw, qcow2, vmdk, vdi, vhdx, vpc, qed or qcow (default: by the\n"
		     "                         end of the file's name, else raw)\n"
		     "  cache=none|writeback   past the host's page cache, or through it (default)\n"
		     "  queues=N               request queues, 1 to 16 (default 1)\n"
		     "  id=TEXT                serial number, up to 20 bytes\n"
		     "  iops=N, bps=SIZE       at most so many requests and bytes per second\n");
	fprintf(out, "\nWords after a network card's tap:\n"
		     "  bridge=BR              put the tap on a bridge, see `kiln help net`\n"
		     "  mac=ADDRESS            of the guest's card (default: made of the guest's name)\n"
		     "  queues=N               pairs of queues, 1 to 8 (default 1)\n"
		     "  vhost=kiln|kernel      who moves its packets: kiln (default) or vhost-net\n");
	fprintf(out, "\nOn a terminal, Ctrl-] leaves; Ctrl-C goes to the guest. SIGTERM ends the guest,\n"
		     "SIGPWR presses its power button.\n\n"
		     "Exit status:\n");
	fprintf(out, "  %-4d the guest powered off\n", STATUS_OFF);
	fprintf(out, "  %-4d bad input, or something is missing; nothing was run\n", STATUS_USAGE);
	fprintf(out, "  %-4d the guest reset the machine\n", STATUS_RESET);
	fprintf(out, "  %-4d the guest died; the cause is on stderr\n", STATUS_DEATH);
	fprintf(out, "  %-4d the host failed under a running guest\n", STATUS_FAILED);
	fprintf(out, "  %-4d ended by Ctrl-], a signal or `kiln destroy`\n", STATUS_ENDED);
	fprintf(out, "  2N+1 --debug-exit, N was written\n");
}

int cmd_run(int argc, char **argv)
{
	struct run_config config = {
		.boot.append = "",
		.boot.unpack.where = UNPACK_CACHE,
		.cpus = 1,
		.memory = 512 * MIB,
		.console = "stdio",
		.device = "/dev/kiln",
	};

	int status = -1;

	if (opts_parse(options, &config, argc, argv))
		goto out;
	if (!config.boot.kernel) {
		error_set("--kernel is missing; give the file to boot");
		goto out;
	}
	if (config.verbose)
		say_enable();
	status = machine_run(&config);
out:
	for (unsigned int i = 0; i < config.devices.nr_disks; i++)
		disk_free(&config.devices.disks[i]);
	return status;
}
