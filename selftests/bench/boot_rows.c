// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows of whole boots: from before the fork of the launcher to the line that the guest's init writes to its console,
 * for a Linux kernel as it is packaged and for what is inside, decompressed. On kiln the launcher is `kiln run`, whose
 * first run of a packaged kernel unpacks it and whose later runs find it unpacked; beside it stands QEMU's smallest
 * machine, where a run is as the first. The files are in the directory that --boot names: vmlinuz, vmlinux, initrd and
 * qboot.rom.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "guest.h"
#include "vm.h"

#define MARKER		"Linux guest "	/* what lab/guest/report.c says first */
#define MEMORY		"512M"

/*
 * Without paravirtual page faults, which a boot does not have: stock KVM interrupts the guest when it switches them on, to
 * wake everyone up, and where QEMU TCG delivers that twice the guest waits for its own spin lock for ever.
 */
#define COMMAND_LINE	"console=ttyS0 panic=-1 quiet no-kvmapf"

/* Of the variants tried the one that boots soonest: without an RTC the guest executes a fifth more. */
#define MICROVM		"microvm,acpi=off,pit=off,pic=off,rtc=on,x-option-roms=off,isa-serial=on"

/* Half as much again as the slowest boot takes; a guest that has not come up by then will not. */
#define BOOT_LIMIT	10000000000	/* ticks */

/* Where kiln keeps unpacked kernels here. */
#define KERNELS		"/tmp/bench-kernels"

const char *bench_boot;

static void exec_kiln(const char *kernel, const char *initrd)
{
	execlp("kiln", "kiln", "run", "--device", device_path(), "--kernel", kernel, "--initrd", initrd, "--append",
	       COMMAND_LINE, "--cpus", "1", "--memory", MEMORY, "--console", "stdio", "--kernel-cache", KERNELS, NULL);
}

static void exec_qemu(const char *kernel, const char *initrd)
{
	execlp("qemu-system-x86_64", "qemu-system-x86_64", "-M", MICROVM, "-accel", "kvm", "-cpu", "host", "-L", bench_boot,
	       "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
	       "-kernel", kernel, "-initrd", initrd, "-append", COMMAND_LINE, "-smp", "1", "-m", MEMORY, NULL);
}

typedef void (*launcher_t)(const char *kernel, const char *initrd);

/* The launcher, with nothing on its input and its console in a pipe, whose other end is *out. */
static pid_t start(launcher_t launcher, const char *kernel, int *out)
{
	char kernel_path[PATH_MAX], initrd_path[PATH_MAX];
	int fds[2];
	pid_t pid;

	snprintf(kernel_path, sizeof(kernel_path), "%s/%s", bench_boot, kernel);
	snprintf(initrd_path, sizeof(initrd_path), "%s/initrd", bench_boot);
	if (pipe(fds) || (pid = fork()) < 0)
		return -1;
	if (!pid) {
		dup2(open("/dev/null", O_RDWR), 0);
		dup2(fds[1], 1);
		close(fds[0]);
		launcher(kernel_path, initrd_path);
		perror("bench: the launcher");
		_exit(127);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

/* Reads the guest's console up to the line that MARKER begins, and leaves its last line in @line. True if it came. */
static bool came_up(int console, uint64_t deadline, char *line, size_t size)
{
	struct pollfd input = { .fd = console, .events = POLLIN };
	size_t length = 0;
	char byte;

	while (host_tsc() < deadline) {
		if (poll(&input, 1, 100) <= 0)
			continue;
		if (read(console, &byte, 1) != 1)
			return false;
		if (byte == '\n') {
			if (!strncmp(line, MARKER, strlen(MARKER)))
				return true;
			length = 0;
		} else if (length < size - 1) {
			line[length++] = byte;
			line[length] = 0;
		}
	}
	return false;
}

static int64_t boot(launcher_t launcher, const char *kernel)
{
	uint64_t begin, ticks;
	char line[128] = "";
	pid_t pid;
	char byte;
	int out;
	bool up;

	/* Soon after the machine's own boot, the first to ask for random bytes gathers the entropy for everyone. */
	if (getrandom(&byte, 1, 0) != 1)
		return not_measured("no random bytes: %s", strerror(errno));
	begin = host_tsc();
	pid = start(launcher, kernel, &out);
	if (pid < 0)
		return not_measured("no launcher: %s", strerror(errno));
	up = came_up(out, begin + BOOT_LIMIT, line, sizeof(line));
	ticks = host_tsc() - begin;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(out);
	if (up)
		return ticks;
	return not_measured("the guest did not come up in %llu million instructions; its last line: %.60s",
			    (unsigned long long)ticks / 1000000, line);
}

static launcher_t device_launcher(void)
{
	return device_is_kiln() ? exec_kiln : exec_qemu;
}

/* As before any run, and as after one. */
static int empty_cache(void)
{
	return system("rm -rf " KERNELS) ? -1 : 0;
}

static int fill_cache(void)
{
	char command[PATH_MAX + 64];

	snprintf(command, sizeof(command), "kiln unpack --kernel-cache " KERNELS " %s/vmlinuz >/dev/null", bench_boot);
	return system(command) ? -1 : 0;
}

int64_t bench_boot_first(void)
{
	return empty_cache() ? not_measured("%s cannot be removed", KERNELS) : boot(device_launcher(), "vmlinuz");
}

/* QEMU's are as its first. */
int64_t bench_boot_later(void)
{
	return fill_cache() ? not_measured("kiln unpack failed") : boot(device_launcher(), "vmlinuz");
}

int64_t bench_boot_vmlinux(void)
{
	return boot(device_launcher(), "vmlinux");
}

int64_t bench_boot_kiln(void)
{
	return fill_cache() ? not_measured("kiln unpack failed") : boot(exec_kiln, "vmlinuz");
}
