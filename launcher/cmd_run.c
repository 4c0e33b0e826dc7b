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

static int set_console(void *config, const char *value)
{
	if (!console_spec_valid(value))
		return error_set("--console %s: unknown; give stdio, pty, socket:PATH, file:PATH or null",
				 value);
	((struct run_config *)config)->console = value;
	return 0;
}

static int set_device(void *config, const char *value)
{
	((struct run_config *)config)->device = value;
	return 0;
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
	{ "append", "TEXT", "the kernel's command line", set_append },
	{ "cpus", "N", "virtual CPUs, 1 to 255 (default 1)", set_cpus },
	{ "memory", "SIZE", "memory, like 512M or 1G (default 512M)", set_memory },
	{ "console", "WHERE", "the serial port: stdio, pty, socket:PATH, file:PATH, null",
	  set_console },
	{ "device", "PATH", "the hypervisor (default /dev/kiln; /dev/kvm works too)", set_device },
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
	fprintf(out, "\nOn a terminal, Ctrl-] leaves; Ctrl-C goes to the guest. SIGTERM ends the guest,\n"
		     "SIGPWR presses its power button.\n\n"
		     "Exit status:\n");
	fprintf(out, "  %-4d the guest powered off\n", STATUS_OFF);
	fprintf(out, "  %-4d bad input; nothing was run\n", STATUS_USAGE);
	fprintf(out, "  %-4d the guest reset the machine\n", STATUS_RESET);
	fprintf(out, "  %-4d the guest died; the cause is on stderr\n", STATUS_DEATH);
	fprintf(out, "  %-4d the host failed under a running guest\n", STATUS_FAILED);
	fprintf(out, "  %-4d ended by Ctrl-] or a signal\n", STATUS_ENDED);
	fprintf(out, "  2N+1 --debug-exit, N was written\n");
}

int cmd_run(int argc, char **argv)
{
	struct run_config config = {
		.boot.append = "",
		.cpus = 1,
		.memory = 512 * MIB,
		.console = "stdio",
		.device = "/dev/kiln",
	};

	if (opts_parse(options, &config, argc, argv))
		return -1;
	if (!config.boot.kernel)
		return error_set("--kernel is missing; give the file to boot");
	if (config.verbose)
		say_enable();
	return machine_run(&config);
}
