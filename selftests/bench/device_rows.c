// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows of virtio devices: what a request, a packet or a line costs, guest and host together. A guest of our own
 * (guest/) drives the devices and reads the TSC; it runs on kiln by `kiln run`, beside it by what serves such devices on
 * stock KVM: QEMU with an iothread for disks, `kiln run` with the host's vhost-net for cards, and for a line of text the
 * 16550 of `kiln run`.
 *
 * For streams of TCP the guest is Debian's kernel with lab/guest/stream.c, and both have the same one.
 *
 * A group is one run of a launcher, whose guest measures the rows of all the group. Its output stays in a file, where the
 * rows find their numbers. What QEMU can do in more than one way it does in each, and the best counts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "vm.h"

#define TAP		"bench0"
#define MAX_ARGS	160
#define MAX_WAYS	2

/* DIR of --devices: the guest, and QEMU's firmware. */
const char *bench_devices;

static char logs[] = "/tmp/bench-devices.XXXXXX";

/* ---- command lines ---- */

struct command {
	char *args[MAX_ARGS];
	unsigned int n;
};

static __attribute__((format(printf, 2, 3))) void add(struct command *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (c->n == MAX_ARGS - 1 || vasprintf(&c->args[c->n++], fmt, ap) < 0)
		die("no room for a command line");
	va_end(ap);
}

/* Words as they are, each an argument of its own. */
static void add_words(struct command *c, const char *words)
{
	char *copy = strdup(words);

	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		add(c, "%s", word);
	free(copy);
}

struct group {
	const char *name;
	const char *words[2];		/* the guest's, on kiln and on its peer */
	unsigned int mib, disks;
	bool net, console;
	bool streams;			/* the guest is Linux, the words are its command line */
};

static void kiln_run(struct command *c, const struct group *g, const char *log)
{
	bool kiln = device_is_kiln();

	add_words(c, "kiln run --debug-exit --name bench --cpus 1 --device");
	add(c, "%s", device_path());
	add(c, "--kernel");
	add(c, "%s/%s", bench_devices, g->streams ? "vmlinux" : "bench-guest.elf");
	if (g->streams) {
		add(c, "--initrd");
		add(c, "%s/stream.cpio", bench_devices);
	}
	add(c, "--memory");
	add(c, "%uM", g->mib);
	add(c, "--console");
	add(c, "%sfile:%s", g->console && kiln ? "virtio:" : "", log);
	if (kiln)
		add_words(c, "--rng off");
	for (unsigned int i = 0; i < g->disks; i++) {
		add(c, "--disk");
		add(c, "/dev/ram%u,cache=none", i);
	}
	if (g->net) {
		add(c, "--net");
		add(c, "tap=" TAP ",vhost=%s", kiln ? "kiln" : "kernel");
	}
}

/* One iothread: on one CPU more of them cost more. Eight disks are the functions of one slot, of which there are 32. */
static void qemu(struct command *c, const struct group *g, const char *log, unsigned int way)
{
	static const char *const aio[MAX_WAYS] = { "native", "io_uring" };

	add_words(c, "qemu-system-x86_64 -M pc -accel kvm -cpu host -smp 1 -nodefaults -no-user-config -display none "
		     "-no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 -object iothread,id=io -L");
	add(c, "%s", bench_devices);
	add(c, "-kernel");
	add(c, "%s/bench-guest.elf", bench_devices);
	add(c, "-m");
	add(c, "%u", g->mib);
	add(c, "-serial");
	add(c, "file:%s", log);
	for (unsigned int i = 0; i < g->disks; i++) {
		add(c, "-blockdev");
		add(c, "driver=host_device,node-name=disk%u,filename=/dev/ram%u,cache.direct=on,aio=%s", i, i, aio[way]);
		add(c, "-device");
		add(c, "virtio-blk-pci,drive=disk%u,iothread=io,disable-legacy=on,multifunction=on,addr=%x.%x", i,
		    2 + i / 8, i % 8);
	}
}

/* ---- runs ---- */

static void log_path(char path[PATH_MAX], const struct group *g, unsigned int way)
{
	snprintf(path, PATH_MAX, "%s/%s-%s-%u", logs, device_is_kiln() ? "kiln" : "kvm", g->name, way);
}

/* The other end of the wire. */
static pid_t start_peer(const struct group *g)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(g->streams ? bench_stream_peer : bench_peer)(TAP);
		_exit(1);
	}
	return pid;
}

static void start(struct command *c, const char *log)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!freopen("/dev/null", "r", stdin) || !freopen(log, "w", stdout) || dup2(1, 2) < 0)
		_exit(127);
	execvp(c->args[0], c->args);
	perror(c->args[0]);
	_exit(127);
}

/*
 * In instructions, as the machine's clock differs: more than Linux takes as a guest, and than it takes to any event. Others
 * come to their end.
 */
#define RUN_LIMIT	4000000000
#define SILENCE_LIMIT	250000000

/*
 * What stock KVM has counted that a guest which waits for ever does not do; else it has a timer's interrupt all the time.
 * Where nothing is counted that is always something else.
 */
static uint64_t kvm_events(void)
{
	static const char *const names[] = { "irq_injections", "halt_exits", "io_exits", "mmio_exits" };
	unsigned long long sum = 0, value;
	char path[64];

	for (unsigned int i = 0; i < sizeof(names) / sizeof(*names); i++) {
		FILE *f;

		snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%s", names[i]);
		f = fopen(path, "r");
		if (!f)
			return host_tsc();
		if (fscanf(f, "%llu", &value) == 1)
			sum += value;
		fclose(f);
	}
	return sum;
}

/* The launcher's exit status; -1 if it had to be killed. */
static int wait_for_end(pid_t pid, bool linux_guest)
{
	struct pollfd end = { .fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	uint64_t begin = host_tsc(), last = begin, events = 0;
	int status;

	if (!linux_guest)
		poll(&end, 1, -1);
	while (!poll(&end, 1, 100) && host_tsc() - begin < RUN_LIMIT && host_tsc() - last < SILENCE_LIMIT) {
		uint64_t now = device_is_kiln() ? host_tsc() : kvm_events();

		if (now != events)
			last = host_tsc();
		events = now;
	}
	if (poll(&end, 1, 0) != 1)
		kill(pid, SIGKILL);
	close(end.fd);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* True if the guest came to its end. What the launcher has to say goes to a file of its own. */
static bool run(const struct group *g, unsigned int way)
{
	char log[PATH_MAX], said[PATH_MAX + 8];
	struct command c = { .n = 0 };
	pid_t pid, peer = 0;
	int status = -1;

	log_path(log, g, way);
	unlink(log);
	snprintf(said, sizeof(said), "%s.said", log);
	if (g->disks && !device_is_kiln())
		qemu(&c, g, log, way);
	else
		kiln_run(&c, g, log);
	add(&c, device_is_kiln() || !g->disks ? "--append" : "-append");
	add(&c, "%s%s", g->streams ? "" : "@ ", g->words[!device_is_kiln()]);
	if (g->net)
		peer = start_peer(g);
	pid = fork();
	if (!pid)
		start(&c, said);
	if (pid > 0)
		status = wait_for_end(pid, g->streams);
	if (peer > 0) {
		kill(peer, SIGKILL);
		waitpid(peer, NULL, 0);
	}
	return status == 1;
}

/*
 * QEMU TCG may deliver an interrupt to a guest a second time (Documentation/lab.rst says why), and the guest then waits for
 * its own spin lock for ever. A little later it goes well.
 */
static bool run_in_the_end(const struct group *g, unsigned int way)
{
	for (int i = 0; i < 3; i++) {
		if (run(g, way))
			return true;
		if (i < 2)
			fprintf(stderr, "%s on %s: the guest did not come to its end; once more\n", g->name, device_path());
	}
	return false;
}

/* The last line of what went wrong. */
static void last_line(char *line, size_t size, const char *path)
{
	FILE *f = fopen(path, "r");

	*line = '\0';
	while (f && fgets(line, size, f))
		;
	if (f)
		fclose(f);
	line[strcspn(line, "\r\n")] = '\0';
}

static int64_t failed(const char *log)
{
	char said[PATH_MAX + 8], guest[80], launcher[80];

	snprintf(said, sizeof(said), "%s.said", log);
	last_line(guest, sizeof(guest), log);
	last_line(launcher, sizeof(launcher), said);
	return not_measured("the guest: %s; the launcher: %s", guest, launcher);
}

/* Ticks per operation, from the guest's "WORD: TICKS / OPERATIONS". */
static int64_t look_up(const char *log, const char *word)
{
	FILE *f = fopen(log, "r");
	char line[256], *rest;
	unsigned long long spent, operations;
	int64_t value = NOT_MEASURED;

	while (f && fgets(line, sizeof(line), f)) {
		rest = strstr(line, ": ");
		if (!rest || strncmp(line, word, rest - line) || word[rest - line])
			continue;
		if (sscanf(rest, ": %llu / %llu", &spent, &operations) == 2 && operations)
			value = (spent + operations / 2) / operations;
	}
	if (f)
		fclose(f);
	return value != NOT_MEASURED ? value : failed(log);
}

/* ---- groups and rows ---- */

#define DEPTHS		"read:1:1:1 write:1:1:1 read:32:1:1 write:32:1:1 read:4:1:1 read:128:1:1"
#define PACKETS		"send:64:1 send:64:32 send:1448:1 send:1448:32 get:64:1 get:64:32 get:1448:1 get:1448:32"

#define KERNEL		"console=ttyS0 quiet panic=-1 no-kvmapf ipv6.disable=1"

static const struct group groups[] = {
	{ "disk", { DEPTHS, DEPTHS }, 64, 1 },
	{ "disk-256", { "read:1:1:224", "read:1:1:224" }, 256, 1 },
	{ "disk-1024", { "read:1:1:960", "read:1:1:960" }, 1024, 1 },
	{ "disks-8", { "read:1:1:1 read:1:8:1", "read:1:1:1 read:1:8:1" }, 64, 8 },
	{ "disks-31", { "read:1:1:1 read:1:31:1", "read:1:1:1 read:1:31:1" }, 64, 31 },
	{ "net", { PACKETS, PACKETS }, 64, .net = true },
	{ "stream", { KERNEL, KERNEL }, 256, .net = true, .streams = true },
	{ "console", { "line:80", "uart:80" }, 64, .console = true },
	{ "uart", { "uart:80", "uart:80" }, 64 },
};

#define ROW(text, group_name, ...)	{ text, .device = &(const struct device_row){ group_name, { __VA_ARGS__ } } }

const struct bench_row bench_device_rows[] = {
	ROW("4 KiB read at depth 1", "disk", "read:1:1:1"),
	ROW("4 KiB write at depth 1", "disk", "write:1:1:1"),
	ROW("4 KiB read at depth 32", "disk", "read:32:1:1"),
	ROW("4 KiB write at depth 32", "disk", "write:32:1:1"),
	ROW("64-byte packet sent, one by one", "net", "send:64:1"),
	ROW("64-byte packet sent, in bursts of 32", "net", "send:64:32"),
	ROW("1,448-byte packet sent, one by one", "net", "send:1448:1"),
	ROW("1,448-byte packet sent, in bursts of 32", "net", "send:1448:32"),
	ROW("64-byte packet asked for and received", "net", "get:64:1"),
	ROW("64-byte packet received, in bursts of 32", "net", "get:64:32"),
	ROW("1,448-byte packet asked for and received", "net", "get:1448:1"),
	ROW("1,448-byte packet received, in bursts of 32", "net", "get:1448:32"),
	ROW("MiB of TCP sent", "stream", "stream-s"),
	ROW("MiB of TCP received", "stream", "stream-r"),
	ROW("line of 80, virtio console beside KVM's 16550", "console", "line:80", "uart:80"),
	ROW("line of 80, 16550", "uart", "uart:80"),
	ROW("4 KiB read, 1 deep", "disk", "read:1:1:1"),
	ROW("4 KiB read, 4 deep", "disk", "read:4:1:1"),
	ROW("4 KiB read, 32 deep", "disk", "read:32:1:1"),
	ROW("4 KiB read, 128 deep", "disk", "read:128:1:1"),
	ROW("4 KiB read on the first disk, 1 disk", "disk", "read:1:1:1"),
	ROW("4 KiB read on the first disk, 8 disks", "disks-8", "read:1:1:1"),
	ROW("4 KiB read on the first disk, 31 disks", "disks-31", "read:1:1:1"),
	ROW("4 KiB reads on all at once, 1 disk", "disk", "read:1:1:1"),
	ROW("4 KiB reads on all at once, 8 disks", "disks-8", "read:1:8:1"),
	ROW("4 KiB reads on all at once, 31 disks", "disks-31", "read:1:31:1"),
	ROW("4 KiB read to anywhere, 64 MiB", "disk", "read:1:1:1"),
	ROW("4 KiB read to anywhere, 256 MiB", "disk-256", "read:1:1:224"),
	ROW("4 KiB read to anywhere, 1,024 MiB", "disk-1024", "read:1:1:960"),
	{ 0 }
};

static const struct group *find_group(const char *name)
{
	for (unsigned int i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (!strcmp(groups[i].name, name))
			return &groups[i];
	die("no group %s", name);
}

int64_t bench_device(const struct device_row *row)
{
	const struct group *g = find_group(row->group);
	bool kiln = device_is_kiln();
	const char *word = row->words[!kiln && row->words[1]];
	unsigned int ways = !kiln && g->disks == 1 && g->mib == 64 ? MAX_WAYS : 1;
	int64_t best = NOT_MEASURED;

	for (unsigned int way = 0; way < ways; way++) {
		char log[PATH_MAX];
		int64_t value;

		log_path(log, g, way);
		if (access(log, F_OK) && !run_in_the_end(g, way))
			return failed(log);
		value = look_up(log, word);
		if (value == NOT_MEASURED)
			return value;
		if (best == NOT_MEASURED || value < best)
			best = value;
	}
	return best;
}

bool bench_devices_init(void)
{
	return mkdtemp(logs);
}
