// SPDX-License-Identifier: GPL-2.0-only
#include "host.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "util.h"

/* SDM vol. 4 table 2-2; APM vol. 2 §15.30.1. */
#define MSR_FEATURE_CONTROL	0x3a
#define FEATURE_LOCKED		(1u << 0)
#define FEATURE_VMX		(1u << 2)	/* outside SMX */
#define MSR_VM_CR		0xc0010114
#define VM_CR_SVMDIS		(1u << 4)

#define CPUID1_ECX_VMX		(1u << 5)
#define CPUID81_ECX_SVM		(1u << 2)

/* Hypervisors that a Linux machine may run, by module; ours is told apart by its device. */
static const char *const hypervisors[] = {
	"kvm_intel", "kvm_amd", "kiln", "vboxdrv", "vmmon", "acrn_hsm", "jailhouse",
};

static int open_at(const char *root, const char *path, int flags)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return open(full, flags | O_CLOEXEC);
}

/* "name<tabs>: value" of the first CPU, value cut to @size. */
static bool cpuinfo_value(const char *line, const char *name, char *value, size_t size)
{
	size_t len = strlen(name);
	const char *colon;

	if (strncmp(line, name, len) || (line[len] != '\t' && line[len] != ' ' && line[len] != ':'))
		return false;
	colon = strchr(line, ':');
	if (!colon || strspn(line + len, "\t ") != (size_t)(colon - line) - len)
		return false;
	snprintf(value, size, "%s ", colon + 1);
	value[strcspn(value, "\n")] = ' ';
	return true;
}

static bool has_word(const char *words, const char *word)
{
	char spaced[40];

	snprintf(spaced, sizeof(spaced), " %s ", word);
	return strstr(words, spaced) != NULL;
}

static void take_line(struct host *host, const char *line)
{
	char value[4096];

	if (cpuinfo_value(line, "vendor_id", value, sizeof(value))) {
		if (has_word(value, "GenuineIntel"))
			host->vendor = HOST_INTEL;
		else if (has_word(value, "AuthenticAMD") || has_word(value, "HygonGenuine"))
			host->vendor = HOST_AMD;
	} else if (cpuinfo_value(line, "flags", value, sizeof(value))) {
		host->kernel_virt = has_word(value, "vmx") || has_word(value, "svm");
		host->nested = has_word(value, "hypervisor");
		if (has_word(value, "svm"))
			host->second_level = has_word(value, "npt") ? HOST_YES : HOST_NO;
	} else if (cpuinfo_value(line, "vmx flags", value, sizeof(value))) {
		host->second_level = has_word(value, "ept") ? HOST_YES : HOST_NO;
		host->unrestricted = has_word(value, "unrestricted_guest") ? HOST_YES : HOST_NO;
	}
}

static void read_cpuinfo(struct host *host, const char *root)
{
	int fd = open_at(root, "/proc/cpuinfo", O_RDONLY);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	char *line = NULL;
	size_t size = 0;

	if (!file) {
		if (fd >= 0)
			close(fd);
		return;
	}
	/* A blank line ends the first CPU; the others are alike. */
	while (getline(&line, &size, file) > 0 && *line != '\n')
		take_line(host, line);
	free(line);
	fclose(file);
}

static bool cpuid_virt(const struct host *host)
{
	unsigned int a, b, c, d;

	if (host->vendor == HOST_INTEL)
		return __get_cpuid(1, &a, &b, &c, &d) && c & CPUID1_ECX_VMX;
	return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & CPUID81_ECX_SVM;
}

/* Needs the msr module and root; false otherwise. */
static bool read_msr(const char *root, uint32_t index, uint64_t *value)
{
	int fd = open_at(root, "/dev/cpu/0/msr", O_RDONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = pread(fd, value, sizeof(*value), index) == sizeof(*value);
	close(fd);
	return ok;
}

static enum host_answer vmx_locked_off(const struct host *host, const char *root)
{
	uint64_t value;

	/* The kernel hides VMX that firmware locked off, CPUID does not. */
	if (host->cpuid_virt && !host->kernel_virt)
		return HOST_YES;
	if (read_msr(root, MSR_FEATURE_CONTROL, &value))
		return (value & (FEATURE_LOCKED | FEATURE_VMX)) == FEATURE_LOCKED ? HOST_YES
										  : HOST_NO;
	/* Linux itself looks at the MSR before it shows the flag. */
	return host->kernel_virt ? HOST_NO : HOST_UNKNOWN;
}

static enum host_answer svm_locked_off(const struct host *host, const char *root)
{
	uint64_t value;

	if (read_msr(root, MSR_VM_CR, &value))
		return value & VM_CR_SVMDIS ? HOST_YES : HOST_NO;
	/* Since 6.7 the kernel hides SVM that firmware switched off. */
	if (host->cpuid_virt && !host->kernel_virt)
		return HOST_YES;
	/* Older ones do not look; these two look when they are loaded, and refuse. */
	if (host_module_loaded(root, "kiln") || host_module_loaded(root, "kvm_amd"))
		return HOST_NO;
	return HOST_UNKNOWN;
}

static enum host_answer locked_off(const struct host *host, const char *root)
{
	switch (host->vendor) {
	case HOST_INTEL:
		return vmx_locked_off(host, root);
	case HOST_AMD:
		return svm_locked_off(host, root);
	default:
		return HOST_UNKNOWN;
	}
}

void host_read(struct host *host, const char *root)
{
	memset(host, 0, sizeof(*host));
	read_cpuinfo(host, root);
	/* A test's tree describes another CPU than the one we run on. */
	host->cpuid_virt = *root ? host->kernel_virt : cpuid_virt(host);
	host->locked_off = locked_off(host, root);
	if (host->vendor == HOST_AMD)
		host->unrestricted = HOST_YES;
}

const char *host_extension(const struct host *host)
{
	return host->vendor == HOST_AMD ? "SVM" : "VMX";
}

const char *host_virt_problem(const struct host *host)
{
	if (host->vendor == HOST_OTHER)
		return "this CPU is neither Intel's nor AMD's; use another machine";
	if (host->locked_off == HOST_YES)
		return host->vendor == HOST_INTEL ?
			       "firmware locked VMX off; switch on Intel Virtualization Technology in the firmware setup" :
			       "firmware switched SVM off; switch on SVM Mode in the firmware setup";
	if (host->kernel_virt)
		return NULL;
	if (host->nested)
		return "this machine is a guest and sees no VMX or SVM; switch on nested virtualization in its hypervisor";
	return "this CPU has no VMX or SVM; use a machine that has";
}

bool host_module_loaded(const char *root, const char *module)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/sys/module/%s", root, module);
	return !stat(path, &st);
}

int host_module_users(const char *root, const char *module)
{
	char path[256], text[32];
	int fd, users;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", module);
	fd = open_at(root, path, O_RDONLY);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	users = atoi(text);
	return n > 0 ? users : -1;
}

static bool is_own(const char *device, const char *module)
{
	if (!strcmp(device, "/dev/kvm"))
		return !strncmp(module, "kvm_", 4);
	return !strcmp(module, "kiln");
}

/* From Linux 6.12 on KVM may hold the CPU's virtualization from its load to its unload, guests or not. */
static bool kvm_holds(const char *root, const char *module)
{
	int fd = strncmp(module, "kvm_", 4) ? -1 : open_at(root, "/sys/module/kvm/parameters/enable_virt_at_load", O_RDONLY);
	char answer = 'N';

	if (fd < 0)
		return false;
	if (read(fd, &answer, 1) != 1)
		answer = 'N';
	close(fd);
	return answer == 'Y';
}

enum host_other host_other_hypervisor(const char *root, const char *device, char *name, size_t size)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(hypervisors); i++) {
		int users = is_own(device, hypervisors[i]) ? -1 : host_module_users(root, hypervisors[i]);

		if (users < 0 || (!users && !kvm_holds(root, hypervisors[i])))
			continue;
		snprintf(name, size, "%s", hypervisors[i]);
		return users ? HOST_OTHER_GUESTS : HOST_OTHER_HOLDS;
	}
	return HOST_OTHER_NONE;
}

void host_other_problem(enum host_other other, const char *name, char *text, size_t size)
{
	if (other == HOST_OTHER_HOLDS)
		snprintf(text, size, "in use by %s for as long as it is loaded; run `modprobe -r %s` as root, or load kvm with enable_virt_at_load=0",
			 name, name);
	else
		snprintf(text, size, "in use by %s; end its guests and run `modprobe -r %s` as root", name, name);
}

/* The device's module for the sentence and for /sys/module; NULL for paths we do not know. */
static const char *module_of(const char *device, const struct host *host)
{
	if (!strcmp(device, "/dev/kiln"))
		return "kiln";
	if (!strcmp(device, "/dev/kvm"))
		return host->vendor == HOST_AMD ? "kvm_amd" : "kvm_intel";
	return NULL;
}

static int explain_missing(const char *root, const char *device)
{
	struct host host;
	const char *module, *problem;

	host_read(&host, root);
	module = module_of(device, &host);
	problem = host_virt_problem(&host);
	if (!module)
		return error_set("%s: no such device; name another with --device", device);
	if (problem)
		return error_set("%s: not there: %s", device, problem);
	if (!host_module_loaded(root, module))
		return error_set("%s: not there: the module %s is not loaded; run `modprobe %s` as root",
				 device, module, module);
	return error_set("%s: not there although the module %s is loaded; mount devtmpfs on /dev or restart udev",
			 device, module);
}

int host_explain_open(const char *root, const char *device, int err)
{
	const char *group = !strcmp(device, "/dev/kvm") ? "kvm" : "kiln";

	switch (err) {
	case ENOENT:
	case ENOTDIR:
	case ENXIO:
	case ENODEV:
		return explain_missing(root, device);
	case EACCES:
	case EPERM:
		return error_set("%s: permission denied; add yourself to group %s (`usermod -aG %s $USER` as root) and log in again",
				 device, group, group);
	case EBUSY:
		return host_explain_create(root, device, err);
	default:
		return error_set("%s: %s; run `kiln check`", device, strerror(err));
	}
}

int host_explain_create(const char *root, const char *device, int err)
{
	char name[64], problem[256];
	enum host_other other;

	other = err == EBUSY ? host_other_hypervisor(root, device, name, sizeof(name)) : HOST_OTHER_NONE;
	if (other != HOST_OTHER_NONE) {
		host_other_problem(other, name, problem, sizeof(problem));
		return error_set("%s: the CPU's virtualization is %s", device, problem);
	}
	if (err == EBUSY)
		return error_set("%s: the CPU's virtualization is in use by another hypervisor; the kernel log (dmesg) names it",
				 device);
	return error_set("%s: no VM can be created: %s; run `kiln check` and see the kernel log (dmesg)",
			 device, strerror(err));
}
