// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>

#include "client.h"
#include "cmd.h"
#include "opts.h"
#include "status.h"

struct config {
	bool json;
};

static int set_json(void *config, const char *value)
{
	(void)value;
	((struct config *)config)->json = true;
	return 0;
}

static const struct opt options[] = {
	{ "json", NULL, "one line of JSON (Documentation/control.rst)", set_json },
	{ NULL, NULL, NULL, NULL },
};

void cmd_info_help(FILE *out)
{
	fprintf(out, "Usage: kiln info NAME [OPTION...]\n\nSays what a running guest is.\n\n");
	opts_print(options, out);
	fprintf(out, "\nExit status: %d; %d for bad input or a guest that is not there, %d for one\n"
		     "that does not answer.\n", STATUS_OFF, STATUS_USAGE, STATUS_NOT_DONE);
}

static void line(const char *key, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(const char *key, const char *fmt, ...)
{
	va_list args;

	printf("%-12s ", key);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

static void print_console(const json_t *console)
{
	const char *path = client_text(console, "path");

	line("console", "%s, %s%s%s", client_text(console, "device"), client_text(console, "kind"),
	     *path ? " " : "", path);
}

static void print_disk(const json_t *disk)
{
	line("disk", "%s%s", client_text(disk, "path"),
	     json_is_true(json_object_get(disk, "read_only")) ? " (read-only)" : "");
}

static void print_device(const json_t *device)
{
	const char *broken = client_text(device, "broken");

	line("device", "%s: %s%s%s", client_text(device, "name"),
	     json_is_true(json_object_get(device, "at_work")) ? "at work" : "no driver at work",
	     *broken ? "; broken: " : "", broken);
}

static void print_each(const json_t *array, void (*print)(const json_t *object))
{
	for (size_t i = 0; i < json_array_size(array); i++)
		print(json_array_get(array, i));
}

static void print_info(const json_t *info)
{
	char text[CLIENT_SIZE];

	line("name", "%s", client_text(info, "name"));
	line("state", "%s", client_text(info, "state"));
	line("pid", "%lld", (long long)client_number(info, "pid"));
	line("hypervisor", "%s (%s)", client_text(info, "device"), client_text(info, "hypervisor"));
	line("cpus", "%lld", (long long)client_number(info, "cpus"));
	line("memory", "%s", client_size(text, client_number(info, "memory")));
	line("up", "%s", client_duration(text, client_real(info, "uptime")));
	line("cpu time", "%s", client_duration(text, client_real(info, "cpu_seconds")));
	line("kernel", "%s", client_text(info, "kernel"));
	if (json_object_get(info, "initrd"))
		line("initrd", "%s", client_text(info, "initrd"));
	if (*client_text(info, "append"))
		line("append", "%s", client_text(info, "append"));
	line("user", "%lld", (long long)client_number(info, "uid"));
	line("seccomp", "%s", client_text(info, "seccomp"));
	print_console(json_object_get(info, "console"));
	print_each(json_object_get(info, "disks"), print_disk);
	print_each(json_object_get(info, "devices"), print_device);
}

int cmd_info(int argc, char **argv)
{
	struct config config = { 0 };
	const char *name = client_parse(options, &config, argc, argv);
	struct client client;
	json_t *info;

	if (!name || client_open(&client, name))
		return -1;
	info = client_ask(&client, "info");
	if (info && config.json)
		client_print_json(info);
	else if (info)
		print_info(info);
	client_close(&client);
	json_decref(info);
	return info ? STATUS_OFF : VERB_NOT_DONE;
}
