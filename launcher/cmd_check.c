// SPDX-License-Identifier: GPL-2.0-only
/*
 * `kiln check`: one line per thing that a run needs, in the order in which
 * they depend on each other, each with its remedy where it is missing; then
 * what only some options and commands want.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd.h"
#include "error.h"
#include "host.h"
#include "opts.h"
#include "status.h"
#include "vm.h"

struct check {
	const char *device;
	struct host host;
	int fd;			/* of the device, -1 while it is not open */
	bool speaks;		/* it answered with the right version */
	unsigned int missing;
};

enum answer { FINE, MISSING, UNKNOWN, ABSENT };

static void answer(struct check *check, enum answer answer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void answer(struct check *check, enum answer answer, const char *fmt, ...)
{
	static const char *const words[] = { "ok", "missing", "unknown", "absent" };
	va_list args;

	check->missing += answer == MISSING;
	printf("%-8s ", words[answer]);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

static void check_cpu(struct check *check)
{
	const struct host *host = &check->host;

	if (host->vendor == HOST_OTHER)
		answer(check, MISSING, "CPU: %s", host_virt_problem(host));
	else if (host->kernel_virt)
		answer(check, FINE, "CPU: has %s", host_extension(host));
	else if (host->locked_off == HOST_YES)
		answer(check, FINE, "CPU: has %s, see firmware", host_extension(host));
	else
		answer(check, MISSING, "CPU: %s", host_virt_problem(host));
}

static void check_firmware(struct check *check)
{
	switch (check->host.locked_off) {
	case HOST_YES:
		answer(check, MISSING, "firmware: %s", host_virt_problem(&check->host));
		break;
	case HOST_NO:
		answer(check, FINE, "firmware: leaves %s on", host_extension(&check->host));
		break;
	default:
		answer(check, UNKNOWN, "firmware: whether it leaves %s on; run `modprobe msr` and this as root to know",
		       host_extension(&check->host));
	}
}

/* What a guest's processor lacks may be its hypervisor's choice. */
static const char *feature_remedy(const struct host *host)
{
	if (host->nested)
		return "have this machine's hypervisor offer it";
	return host->vendor == HOST_AMD ? "use a machine that has it (AMD since 2008)"
					: "use a machine that has it (Intel since 2010)";
}

static void check_feature(struct check *check, enum host_answer has, const char *name)
{
	switch (has) {
	case HOST_YES:
		answer(check, FINE, "CPU: %s", name);
		break;
	case HOST_NO:
		answer(check, MISSING, "CPU: no %s; %s", name, feature_remedy(&check->host));
		break;
	default:
		answer(check, UNKNOWN, "CPU: whether it has %s; /proc/cpuinfo does not say", name);
	}
}

static void check_paging(struct check *check)
{
	if (check->host.vendor == HOST_AMD) {
		check_feature(check, check->host.second_level, "nested paging");
		return;
	}
	check_feature(check, check->host.second_level, "EPT");
	check_feature(check, check->host.unrestricted, "unrestricted guest");
}

static void check_module(struct check *check)
{
	const char *module = "kiln";

	if (strcmp(check->device, "/dev/kiln")) {
		if (strcmp(check->device, "/dev/kvm"))
			return;	/* whose module that is, nobody knows */
		module = check->host.vendor == HOST_AMD ? "kvm_amd" : "kvm_intel";
	}
	if (host_module_loaded("", module))
		answer(check, FINE, "module: %s is loaded", module);
	else
		answer(check, MISSING, "module: %s is not loaded; run `modprobe %s` as root%s", module, module,
		       strcmp(module, "kiln") ? "" : ", and `make install` before it if this kernel has none");
}

static void check_others(struct check *check)
{
	char name[64], problem[256];
	enum host_other other = host_other_hypervisor("", check->device, name, sizeof(name));

	if (other == HOST_OTHER_NONE) {
		answer(check, FINE, "other hypervisors: none has the CPU's virtualization");
		return;
	}
	host_other_problem(other, name, problem, sizeof(problem));
	answer(check, MISSING, "other hypervisors: the CPU's virtualization is %s", problem);
}

static void check_node(struct check *check)
{
	check->fd = open(check->device, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (check->fd >= 0) {
		answer(check, FINE, "device: %s can be opened", check->device);
		return;
	}
	host_explain_open("", check->device, errno);
	answer(check, MISSING, "device: %s", error_text());
}

static void check_version(struct check *check)
{
	struct kiln_version who;
	int version;

	if (check->fd < 0)
		return;
	version = ioctl(check->fd, KVM_GET_API_VERSION, 0);
	check->speaks = version == KVM_API_VERSION;
	vm_get_version(check->fd, &who);
	if (check->speaks)
		answer(check, FINE, "ABI: version %d, spoken by %s", version, who.name);
	else if (version < 0)
		answer(check, MISSING, "ABI: %s does not speak the KVM ABI; name /dev/kiln or /dev/kvm with --device",
		       check->device);
	else
		answer(check, MISSING, "ABI: version %d, not %d; load a matching module", version,
		       KVM_API_VERSION);
}

static void check_capabilities(struct check *check)
{
	for (const struct vm_need *need = vm_needs; check->speaks && need->name; need++) {
		if (ioctl(check->fd, KVM_CHECK_EXTENSION, (unsigned long)need->capability) > 0)
			answer(check, FINE, "capability: %s (%s)", need->name, need->what);
		else
			answer(check, MISSING, "capability: %s (%s); load a newer module",
			       need->name, need->what);
	}
}

static void check_vm(struct check *check)
{
	int vm;

	if (!check->speaks)
		return;
	vm = vm_ioctl(check->fd, KVM_CREATE_VM, NULL);
	if (vm >= 0) {
		close(vm);
		answer(check, FINE, "VM: can be created");
		return;
	}
	host_explain_create("", check->device, errno);
	answer(check, MISSING, "VM: %s", error_text());
}

/* ---- what is not for everybody ---- */

/* 0 or an errno. */
static int find_device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* As execvp() and, since users' paths have them not, in the directories of root's. */
static int find_program(const char *name)
{
	const char *path = getenv("PATH") ?: "";
	char dirs[PATH_MAX], file[PATH_MAX];
	char *rest = dirs, *dir;

	snprintf(dirs, sizeof(dirs), "%s:/usr/sbin:/sbin", path);
	while ((dir = strsep(&rest, ":"))) {
		if (*dir && (size_t)snprintf(file, sizeof(file), "%s/%s", dir, name) < sizeof(file) &&
		    !access(file, X_OK))
			return 0;
	}
	return ENOENT;
}

static const struct extra {
	const char *use;
	int (*find)(const char *name);
	const char *name;
	const char *remedy;
} extras[] = {
	{ "network cards", find_device, "/dev/net/tun", "run `modprobe tun` as root" },
	{ "network cards with vhost=kernel", find_device, "/dev/vhost-net", "run `modprobe vhost_net` as root" },
	{ "kiln net", find_program, "nft", "install nftables" },
	{ "addresses by DHCP on kiln net", find_program, "dnsmasq", "install dnsmasq-base" },
	{ "disk images that are not raw", find_program, "qemu-storage-daemon", "install qemu-system-common" },
	{ "disk images that are not raw", find_device, "/dev/fuse", "run `modprobe fuse` as root" },
};

static void check_extras(struct check *check)
{
	for (const struct extra *extra = extras; extra < extras + ARRAY_SIZE(extras); extra++) {
		int err = extra->find(extra->name);

		if (!err)
			answer(check, FINE, "%s: %s", extra->use, extra->name);
		else if (err == EACCES || err == EPERM)
			answer(check, ABSENT, "%s: %s: permission denied; run as root, or let your group use it",
			       extra->use, extra->name);
		else
			answer(check, ABSENT, "%s: no %s; %s", extra->use, extra->name, extra->remedy);
	}
}

static void (*const checks[])(struct check *check) = {
	check_cpu,   check_firmware, check_paging,	 check_module, check_others,
	check_node,  check_version,  check_capabilities, check_vm,     check_extras,
};

static int set_device(void *config, const char *value)
{
	((struct check *)config)->device = value;
	return 0;
}

static const struct opt options[] = {
	{ "device", "PATH", "the hypervisor (default /dev/kiln)", set_device },
	{ NULL, NULL, NULL, NULL },
};

void cmd_check_help(FILE *out)
{
	fprintf(out, "Usage: kiln check [OPTION...]\n\n"
		     "Says what a run needs and whether this machine has it, with the remedy for what\n"
		     "is missing. What only some options and commands want is said to be absent.\n"
		     "Exit status 0: all is there that each run needs; 1: something is missing.\n\n");
	opts_print(options, out);
}

int cmd_check(int argc, char **argv)
{
	struct check check = { .device = "/dev/kiln", .fd = -1 };

	if (opts_parse(options, &check, argc, argv))
		return -1;
	host_read(&check.host, "");
	for (unsigned int i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&check);
	if (check.fd >= 0)
		close(check.fd);
	if (check.missing) {
		printf("\nThis machine cannot run guests yet: %u missing.\n", check.missing);
		return STATUS_CHECK_FAILED;
	}
	printf("\nThis machine can run guests.\n");
	return STATUS_OFF;
}
