// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench: what operations cost on one hypervisor or on two, side by side.
 *
 *	bench [--device PATH]... [--json FILE] [--only TEXT] [--boot DIR | --devices DIR] [--list]
 *
 * Each row runs whole on one device before the next device is opened, since VMX has one owner at a time. The same guest
 * code and the same minimal user-space loop serve both devices.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define MAX_DEVICES	2
#define TIME_LIMIT	300	/* seconds of the machine, for a row on a device */

char bench_why[160];

#define AT(operation, what, function, ...)	{ operation ", " what, .measure_at = function, .size = { __VA_ARGS__ } }

#define BY_VCPUS(operation, function)				\
	AT(operation, "1 vCPU", function, 1, 1, 16),		\
	AT(operation, "8 vCPUs", function, 8, 1, 16),		\
	AT(operation, "64 vCPUs", function, 64, 1, 16)

#define BY_SLOTS(operation, function, mib)			\
	AT(operation, "10 slots", function, 1, 10, mib),	\
	AT(operation, "1,000 slots", function, 1, 1000, mib),	\
	AT(operation, "32,000 slots", function, 1, 32000, mib)

#define BY_MEMORY(operation, function)				\
	AT(operation, "16 MiB", function, 1, 1, 16),		\
	AT(operation, "256 MiB", function, 1, 1, 256),		\
	AT(operation, "1,024 MiB", function, 1, 1, 1024)

static const struct bench_row operation_rows[] = {
	{ "CPUID exit", bench_cpuid },
	{ "RDMSR exit (APIC base)", bench_rdmsr },
	{ "WRMSR exit (MTRR)", bench_wrmsr },
	{ "port read in the kernel (PIC ELCR)", bench_port_kernel },
	{ "port read in user space", bench_port_read_user },
	{ "port write in user space", bench_port_write_user },
	{ "MMIO read in user space", bench_mmio_read_user },
	{ "MMIO write in user space", bench_mmio_write_user },
	{ "ioeventfd, port write", bench_ioeventfd_port },
	{ "ioeventfd, MMIO write of length 0", bench_ioeventfd_mmio },
	{ "virtio kick of an idle queue, port write", bench_kick_port },
	{ "virtio kick of an idle queue, MMIO write", bench_kick_mmio },
	{ "virtio kick served, ioeventfd to a thread", bench_kick_heard },
	{ "64 bytes of entropy, kick to interrupt", bench_entropy },
	{ "EOI, xAPIC", bench_eoi_xapic },
	{ "EOI, x2APIC", bench_eoi_x2apic },
	{ "self-IPI, xAPIC", bench_self_ipi_xapic },
	{ "self-IPI, x2APIC", bench_self_ipi_x2apic },
	{ "HLT to timer interrupt, past the deadline", bench_hlt_timer },
	{ "first touch of 4K, absent in the host", bench_touch_4k_absent },
	{ "first touch of 4K, present in the host", bench_touch_4k_present },
	{ "first touch of 2M, clearing included", bench_touch_2m_absent },
	{ "first touch of 2M, present in the host", bench_touch_2m_present },
	{ "VM and vCPU, create and destroy", bench_create_destroy },
	{ "launcher start to the guest's first instruction", bench_launch },
	{ "KiB per VM beyond guest RAM, kernel only", bench_memory_kernel },
	{ "KiB per VM beyond guest RAM, launcher included", bench_memory_launcher },
	BY_VCPUS("CPUID exit", bench_exit_at),
	BY_VCPUS("fault on 4K, present in the host", bench_fault_at),
	BY_VCPUS("IPI to an x2APIC id", bench_ipi_at),
	BY_VCPUS("MSI by irqfd", bench_msi_at),
	BY_SLOTS("CPUID exit", bench_exit_at, 16),
	BY_SLOTS("fault on 4K, present in the host", bench_fault_at, 16),
	BY_SLOTS("faults each in another slot", bench_spread_at, 125),
	BY_SLOTS("IPI to an x2APIC id", bench_ipi_at, 16),
	BY_MEMORY("CPUID exit", bench_exit_at),
	BY_MEMORY("fault on 4K, present in the host", bench_fault_at),
	BY_MEMORY("IPI to an x2APIC id", bench_ipi_at),
	{ 0 }
};

static const struct bench_row boot_rows[] = {
	{ "vmlinuz to init, first run, by kiln run and QEMU microvm", bench_boot_first },
	{ "vmlinuz to init, later runs, by kiln run and QEMU microvm", bench_boot_later },
	{ "vmlinux to init, by kiln run and QEMU microvm", bench_boot_vmlinux },
	{ "vmlinuz to init, later runs, by kiln run on both", bench_boot_kiln },
	{ 0 }
};

/* What is measured of each size at once, as making a large VM takes longer than all of it. */
static int64_t (*const of_one_vm[])(const struct size *) = { bench_exit_at, bench_fault_at, bench_ipi_at };

#define OF_ONE_VM	(sizeof(of_one_vm) / sizeof(*of_one_vm))

/* Of which one is measured; the last row of each has no name. */
static const struct bench_row *const tables[] = { operation_rows, boot_rows, bench_device_rows };

struct options {
	const char *device[MAX_DEVICES];
	unsigned int n_devices;
	const char *json;
	const char *only;
};

int64_t not_measured(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(bench_why, sizeof(bench_why), fmt, ap);
	va_end(ap);
	return NOT_MEASURED;
}

int64_t not_there(const char *what)
{
	not_measured("%s", what);
	return NOT_THERE;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int64_t median(uint64_t *values, unsigned int n)
{
	qsort(values, n, sizeof(*values), compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

uint64_t host_tsc(void)
{
	uint32_t lo, hi;

	asm volatile("lfence; rdtsc; lfence" : "=a"(lo), "=d"(hi) : : "memory");
	return lo | (uint64_t)hi << 32;
}

struct answer {
	int64_t value;
	char why[sizeof(bench_why)];
};

static int64_t value_of(const struct bench_row *row)
{
	if (row->device)
		return bench_device(row->device);
	return row->measure ? row->measure() : row->measure_at(&row->size);
}

/* Fill n answers in a child, so that one that fails ends alone and leaves no memory mapped: of the row, or of its size. */
static void measure_in_child(const struct bench_row *row, const char *device, struct answer *answers, unsigned int n)
{
	int fds[2];
	pid_t pid;

	for (unsigned int i = 0; i < n; i++)
		answers[i] = (struct answer){ NOT_MEASURED, "the measurement failed" };
	fflush(NULL);
	if (pipe(fds) || (pid = fork()) < 0) {
		snprintf(answers->why, sizeof(answers->why), "no child: %s", strerror(errno));
		return;
	}
	if (!pid) {
		close(fds[0]);
		setenv("KILN_DEVICE", device, 1);
		alarm(TIME_LIMIT);
		for (unsigned int i = 0; i < n; i++) {
			answers[i].value = n > 1 ? of_one_vm[i](&row->size) : value_of(row);
			strcpy(answers[i].why, bench_why);
			if (write(fds[1], answers + i, sizeof(*answers)) != sizeof(*answers))
				_exit(1);
		}
		_exit(0);
	}
	close(fds[1]);
	for (unsigned int i = 0; i < n; i++) {
		struct answer answer;

		if (read(fds[0], &answer, sizeof(answer)) == sizeof(answer))
			answers[i] = answer;
	}
	close(fds[0]);
	waitpid(pid, NULL, 0);
}

static struct answer measure(const struct bench_row *row, const char *device)
{
	static struct {
		const char *device;
		struct size size;
		struct answer answers[OF_ONE_VM];
	} known[MAX_DEVICES * 16];
	static unsigned int n_known;
	struct answer answer;
	unsigned int part, i;

	for (part = 0; part < OF_ONE_VM && row->measure_at != of_one_vm[part]; part++)
		;
	if (part == OF_ONE_VM) {
		measure_in_child(row, device, &answer, 1);
		return answer;
	}
	for (i = 0; i < n_known; i++)
		if (known[i].device == device && !memcmp(&known[i].size, &row->size, sizeof(row->size)))
			return known[i].answers[part];
	if (i == sizeof(known) / sizeof(*known))
		abort();
	known[i].device = device;
	known[i].size = row->size;
	measure_in_child(row, device, known[i].answers, OF_ONE_VM);
	n_known++;
	return known[i].answers[part];
}

static void print_header(const struct options *o)
{
	printf("%-50s", "operation");
	for (unsigned int d = 0; d < o->n_devices; d++)
		printf(" %14s", o->device[d]);
	printf("%s\n", o->n_devices == 2 ? "   ratio" : "");
}

static void print_row(const struct options *o, const struct bench_row *row, const struct answer *a)
{
	printf("%-50s", row->name);
	for (unsigned int d = 0; d < o->n_devices; d++) {
		if (!measured(a[d].value))
			printf(" %14s", "-");
		else
			printf(" %14lld", (long long)a[d].value);
	}
	if (o->n_devices == 2 && measured(a[0].value) && a[1].value > 0)
		printf(" %7.2f", (double)a[0].value / a[1].value);
	putchar('\n');
	for (unsigned int d = 0; d < o->n_devices; d++)
		if (!measured(a[d].value))
			printf("    %s: %s\n", o->device[d], a[d].why);
	fflush(stdout);
}

/* Numbers that are not there are null; names hold no character that JSON would want escaped. */
static void json_number(FILE *f, const char *key, bool there, double value)
{
	if (!there)
		fprintf(f, ", \"%s\": null", key);
	else
		fprintf(f, ", \"%s\": %.10g", key, value);
}

static void json_row(FILE *f, bool first, const char *name, int64_t kiln, int64_t kvm)
{
	bool both = measured(kiln) && kvm > 0;

	fprintf(f, "%s\n  {\"name\": \"%s\"", first ? "" : ",", name);
	json_number(f, "kiln", measured(kiln), kiln);
	json_number(f, "kvm", measured(kvm), kvm);
	json_number(f, "ratio", both, both ? (double)(10000 * kiln / kvm) / 10000 : 0);
	fputc('}', f);
}

/* What could not be measured goes to missing, and is counted. */
static int run_row(const struct options *o, const struct bench_row *row, FILE *json, bool first, FILE *missing)
{
	struct answer answers[MAX_DEVICES];
	int n_missing = 0;

	for (unsigned int d = 0; d < o->n_devices; d++) {
		answers[d] = measure(row, o->device[d]);
		if (answers[d].value != NOT_MEASURED)
			continue;
		fprintf(missing, "bench: not measured: %s on %s: %s\n", row->name, o->device[d], answers[d].why);
		n_missing++;
	}
	print_row(o, row, answers);
	if (json)
		json_row(json, first, row->name, answers[0].value, o->n_devices == 2 ? answers[1].value : NOT_MEASURED);
	return n_missing;
}

/* Returns the number of cells that could not be measured. They are told of again behind the table. */
static int run(const struct options *o, FILE *json)
{
	const struct bench_row *row = tables[bench_devices ? 2 : bench_boot ? 1 : 0];
	bool first = true;
	char *text = NULL;
	size_t size;
	FILE *missing = open_memstream(&text, &size);
	int n_missing = 0;

	if (!missing) {
		perror("bench");
		return 1;
	}
	print_header(o);
	if (json)
		fputc('[', json);
	for (; row->name; row++) {
		if (o->only && !strcasestr(row->name, o->only))
			continue;
		n_missing += run_row(o, row, json, first, missing);
		first = false;
	}
	if (json)
		fputs("\n]\n", json);
	fclose(missing);
	fputs(text, stderr);
	free(text);
	return n_missing;
}

static int list(void)
{
	for (unsigned int i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct bench_row *row = tables[i]; row->name; row++)
			puts(row->name);
	return 0;
}

static int usage(FILE *f)
{
	fputs("Usage: bench [--device PATH]... [--json FILE] [--only TEXT] [--boot DIR | --devices DIR] [--list]\n"
	      "\n"
	      "Prints TSC ticks per operation (instructions, in an emulator), a column per device and their ratio.\n"
	      "  --device PATH  one or two devices (default /dev/kiln and /dev/kvm)\n"
	      "  --json FILE    also a list of {\"name\", \"kiln\", \"kvm\", \"ratio\"}\n"
	      "  --only TEXT    the rows whose name holds TEXT\n"
	      "  --boot DIR     instead, boots of DIR/vmlinuz and DIR/vmlinux with DIR/initrd; beside kiln by QEMU\n"
	      "  --devices DIR  instead, virtio devices, with DIR/bench-guest.elf; beside kiln by QEMU and vhost-net\n"
	      "  --peer NAME    instead, be the other end of the wire for interface NAME, until killed\n"
	      "  --list         the rows' names\n"
	      "Exit status: 0, 1 if anything could not be measured, 2 for bad usage.\n", f);
	return f == stderr ? 2 : 0;
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "device", required_argument, NULL, 'd' }, { "json", required_argument, NULL, 'j' },
		{ "only", required_argument, NULL, 'o' }, { "list", no_argument, NULL, 'l' },
		{ "boot", required_argument, NULL, 'b' }, { "devices", required_argument, NULL, 'v' },
		{ "peer", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct options o = { .n_devices = 0 };
	FILE *json = NULL;
	int c, missing;

	while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
		switch (c) {
		case 'd':
			if (o.n_devices == MAX_DEVICES)
				return usage(stderr);
			o.device[o.n_devices++] = optarg;
			break;
		case 'j':
			o.json = optarg;
			break;
		case 'o':
			o.only = optarg;
			break;
		case 'b':
			bench_boot = optarg;
			break;
		case 'v':
			bench_devices = optarg;
			break;
		case 'p':
			bench_peer(optarg);
			return 1;
		case 'l':
			return list();
		default:
			return usage(c == 'h' ? stdout : stderr);
		}
	}
	if (optind != argc || (bench_boot && bench_devices))
		return usage(stderr);
	if (bench_devices && !bench_devices_init()) {
		perror("bench: no place for what guests say");
		return 1;
	}
	if (!o.n_devices) {
		o.device[o.n_devices++] = "/dev/kiln";
		o.device[o.n_devices++] = "/dev/kvm";
	}
	if (o.json) {
		json = fopen(o.json, "w");
		if (!json) {
			fprintf(stderr, "bench: %s: %s\n", o.json, strerror(errno));
			return 2;
		}
	}
	missing = run(&o, json);
	if (json && fclose(json)) {
		fprintf(stderr, "bench: %s: %s\n", o.json, strerror(errno));
		return 1;
	}
	return missing != 0;
}
