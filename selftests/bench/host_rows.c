// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows measured from outside of the guest: creation and end of a VM, the launcher's start, and the host memory that a
 * VM takes besides its RAM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "guest.h"
#include "vm.h"

#define CREATIONS	21
#define LAUNCHES	11
#define MEMORY_VMS	8
#define MEMORY_MIB	512

int64_t bench_create_destroy(void)
{
	uint64_t values[CREATIONS];
	int dev = device_open();

	for (int i = -3; i < CREATIONS; i++) {
		uint64_t start = host_tsc();
		int vm = xioctl(dev, KVM_CREATE_VM, NULL), vcpu;

		if (vm < 0)
			return not_measured("KVM_CREATE_VM: %s", strerror(-vm));
		vcpu = xioctl(vm, KVM_CREATE_VCPU, NULL);
		if (vcpu < 0)
			return not_measured("KVM_CREATE_VCPU: %s", strerror(-vcpu));
		close(vcpu);
		close(vm);
		if (i >= 0)
			values[i] = host_tsc() - start;
	}
	close(dev);
	return median(values, CREATIONS);
}

/* ---- the launcher ---- */

/* A file that lies beside this program. */
static const char *beside(const char *name)
{
	static char path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);

	if (n < 0)
		return name;
	path[n] = '\0';
	strcpy(path, dirname(path));
	strcat(path, "/");
	return strcat(path, name);
}

static bool launcher_exists(void)
{
	return system("command -v kiln >/dev/null") == 0;
}

/* "kiln run" with its serial port in a pipe, whose other end is *out. */
static pid_t launch(const char *guest, const char *memory, int *out)
{
	int fds[2];
	pid_t pid;

	if (pipe(fds) || (pid = fork()) < 0)
		return -1;
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(fds[1], 1);
		dup2(null, 2);
		close(fds[0]);
		execlp("kiln", "kiln", "run", "--device", device_path(), "--kernel", guest, "--memory", memory, "--cpus",
		       "1", "--console", "stdio", "--debug-exit", NULL);
		_exit(127);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

/* What tiny.elf prints: struct pvclock_vcpu_time_info and struct pvclock_wall_clock of msr.rst, after the TSC. */
struct report {
	uint32_t tsc[2];
	struct {
		uint32_t version, pad, tsc[2], system[2], mul;
		int8_t shift;
		uint8_t flags, pad2[2];
	} clock;
	struct {
		uint32_t version, sec, nsec;
	} wall;
};

static bool read_report(int fd, struct report *r)
{
	uint32_t *word = (uint32_t *)r;
	FILE *f = fdopen(fd, "r");
	unsigned int i;

	for (i = 0; f && i < sizeof(*r) / 4; i++)
		if (fscanf(f, "%x", &word[i]) != 1)
			break;
	if (f)
		fclose(f);
	return i == sizeof(*r) / 4;
}

/*
 * The time of the guest's TSC reading on the host's wall clock: the page tells the VM's time at some TSC and how fast
 * ticks become nanoseconds, and the wall clock when the VM's time was zero. The first instruction came before the page
 * was filled, so the difference is signed.
 */
static int64_t first_instruction_ns(const struct report *r)
{
	int64_t ticks = (r->tsc[0] | (uint64_t)r->tsc[1] << 32) - (r->clock.tsc[0] | (uint64_t)r->clock.tsc[1] << 32);
	int64_t system = r->clock.system[0] | (uint64_t)r->clock.system[1] << 32;

	ticks = r->clock.shift >= 0 ? ticks << r->clock.shift : ticks >> -r->clock.shift;
	return r->wall.sec * 1000000000LL + r->wall.nsec + system + (int64_t)((__int128)ticks * r->clock.mul >> 32);
}

static int64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Ticks per nanosecond, over a time long enough for the clock's grain. */
static double ticks_per_ns(void)
{
	uint64_t tsc = host_tsc();
	int64_t ns = wall_ns();

	usleep(100000);
	return (double)(host_tsc() - tsc) / (wall_ns() - ns);
}

int64_t bench_launch(void)
{
	char guest[PATH_MAX];
	uint64_t values[LAUNCHES];
	double rate;

	if (!launcher_exists())
		return not_measured("no launcher: kiln is not on the PATH");
	snprintf(guest, sizeof(guest), "%s", beside("tiny.elf"));
	rate = ticks_per_ns();
	for (int i = -1; i < LAUNCHES; i++) {
		struct report report;
		int64_t start = wall_ns();
		int out, status;
		pid_t pid = launch(guest, "128M", &out);
		bool complete;

		if (pid < 0)
			return not_measured("fork: %s", strerror(errno));
		complete = read_report(out, &report);
		waitpid(pid, &status, 0);
		if (!complete || !WIFEXITED(status) || WEXITSTATUS(status) != 1)
			return not_measured("kiln run %s ended with wait status %#x", guest, status);
		if (report.clock.version == 0 || report.wall.sec == 0)
			return not_measured("no paravirtual clock to tell the time by");
		if (i >= 0)
			values[i] = (first_instruction_ns(&report) - start) * rate;
	}
	return median(values, LAUNCHES);
}

/* ---- memory ---- */

static long meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long value = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			value = atol(line + strlen(name) + 1);
	if (f)
		fclose(f);
	return value;
}

/* A write to a file of /proc/sys/vm, where this kernel has it. */
static void tell_vm(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	fd = open(path, O_WRONLY);
	if (fd >= 0) {
		if (write(fd, "1", 1) < 0)
			perror(path);
		close(fd);
	}
}

/* KiB of free pages that CPUs keep on lists of their own: MemFree leaves them out. */
static long kept_kib(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	char line[128];
	long pages, total = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %ld", &pages) == 1)
			total += pages;
	if (f)
		fclose(f);
	return total * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Caches are dropped first, and the counters, kept per CPU, are summed up. */
static long used_kib_now(void)
{
	usleep(200000);
	tell_vm("drop_caches");
	tell_vm("stat_refresh");
	return meminfo("MemTotal") - meminfo("MemFree") - kept_kib();
}

#define SETTLED_KIB	16
#define SETTLED_TIMES	3

/* KiB in use, once it no longer changes: much is freed late. */
static long used_kib(void)
{
	long last = used_kib_now();

	for (int same = 0, tries = 0; same < SETTLED_TIMES && tries < 40; tries++) {
		long now = used_kib_now();

		same = labs(now - last) <= SETTLED_KIB ? same + 1 : 0;
		last = now;
	}
	return last;
}

/* KiB that guest RAM has in a process: its mappings of the guest's size and more. */
static long guest_ram_kib(pid_t pid, long mib)
{
	char path[64], line[256];
	long size = 0, rss, total = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Size: %ld", &size) == 1)
			continue;
		if (sscanf(line, "Rss: %ld", &rss) == 1 && size >= mib * 1024)
			total += rss;
	}
	if (f)
		fclose(f);
	return total;
}

static __guest void halts(void)
{
	guest_done();
}

/* VMs of one vCPU, an irqchip and 512 MiB that nobody touches, in this process: what the kernel takes for them. */
int64_t bench_memory_kernel(void)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, halts);
	long before, after, ram = 0;

	/* The first VM pays for what all share. */
	if (strcmp(vcpu_outcome(vcpu), "done"))
		return not_measured("the guest ended with: %s", vcpu->outcome);
	before = used_kib();
	for (int i = 0; i < MEMORY_VMS; i++) {
		vcpu = vm_create_one(VM_IRQCHIP, halts);
		vm_map(vcpu->vm, 1, 0x40000000, MEMORY_MIB << 20);
		if (strcmp(vcpu_outcome(vcpu), "done"))
			return not_measured("the guest ended with: %s", vcpu->outcome);
	}
	after = used_kib();
	ram = guest_ram_kib(getpid(), VM_RAM_SIZE >> 20) / (MEMORY_VMS + 1) * MEMORY_VMS;
	return (after - before - ram) / MEMORY_VMS;
}

/* Launchers with a guest that halts at once; the pages the launcher shares with others count once, for the first. */
int64_t bench_memory_launcher(void)
{
	char guest[PATH_MAX], memory[16], up[3];
	pid_t pid[MEMORY_VMS + 1];
	long before = 0, ram = 0;
	int out[MEMORY_VMS + 1];
	int64_t kib;

	if (!launcher_exists())
		return not_measured("no launcher: kiln is not on the PATH");
	snprintf(guest, sizeof(guest), "%s", beside("idle.elf"));
	snprintf(memory, sizeof(memory), "%dM", MEMORY_MIB);
	for (int i = 0; i <= MEMORY_VMS; i++) {
		pid[i] = launch(guest, memory, &out[i]);
		if (pid[i] < 0 || read(out[i], up, sizeof(up)) <= 0)
			return not_measured("kiln run %s did not come up", guest);
		if (i == 0)
			before = used_kib();
		else
			ram += guest_ram_kib(pid[i], MEMORY_MIB);
	}
	kib = (used_kib() - before - ram) / MEMORY_VMS;
	for (int i = 0; i <= MEMORY_VMS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
		close(out[i]);
	}
	return kib;
}
