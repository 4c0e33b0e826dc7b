/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The benchmark's parts. A row is a name and a function that measures one device and returns TSC ticks (or another unit,
 * which the name says). In the emulators one tick is one instruction.
 *
 * Adding a measurement is adding a row to rows[] in bench.c.
 */
#ifndef KILN_BENCH_H
#define KILN_BENCH_H

#include <stdbool.h>
#include <stdint.h>

/* What a row returns where it cannot be measured here: bench_why then says why. */
#define NOT_MEASURED	INT64_MIN
extern char bench_why[160];
int64_t not_measured(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What a device does not have to have; nothing failed. */
#define NOT_THERE	(INT64_MIN + 1)
int64_t not_there(const char *what);

static inline bool measured(int64_t value)
{
	return value > NOT_THERE;
}

/* What a VM is made of, for the rows that tell what that costs. */
struct size {
	unsigned int vcpus, slots, mib;
};

/* What a guest with devices measures, in which run, on kiln and, where that differs, on what stands beside it. */
struct device_row {
	const char *group;
	const char *words[2];
};

/* A row has one of the two measure functions, or a device. */
struct bench_row {
	const char *name;
	int64_t (*measure)(void);
	int64_t (*measure_at)(const struct size *size);
	struct size size;
	const struct device_row *device;
};

int64_t median(uint64_t *values, unsigned int n);
uint64_t host_tsc(void);

/* guest_rows.c: a small guest measures itself. */
int64_t bench_cpuid(void);
int64_t bench_rdmsr(void);
int64_t bench_wrmsr(void);
int64_t bench_port_kernel(void);
int64_t bench_port_read_user(void);
int64_t bench_port_write_user(void);
int64_t bench_mmio_read_user(void);
int64_t bench_mmio_write_user(void);
int64_t bench_ioeventfd_port(void);
int64_t bench_ioeventfd_mmio(void);
int64_t bench_eoi_xapic(void);
int64_t bench_eoi_x2apic(void);
int64_t bench_self_ipi_xapic(void);
int64_t bench_self_ipi_x2apic(void);
int64_t bench_hlt_timer(void);
int64_t bench_touch_4k_absent(void);
int64_t bench_touch_4k_present(void);
int64_t bench_touch_2m_absent(void);
int64_t bench_touch_2m_present(void);

/* virtio_rows.c: kicks, and requests to their interrupt. */
int64_t bench_kick_port(void);
int64_t bench_kick_mmio(void);
int64_t bench_kick_heard(void);
int64_t bench_entropy(void);

/* host_rows.c: measured from outside. */
int64_t bench_create_destroy(void);
int64_t bench_launch(void);
int64_t bench_memory_kernel(void);
int64_t bench_memory_launcher(void);

/* scale_rows.c: the same operation in a larger VM. The first three are of one VM, in this order. */
int64_t bench_exit_at(const struct size *size);
int64_t bench_fault_at(const struct size *size);
int64_t bench_ipi_at(const struct size *size);
int64_t bench_spread_at(const struct size *size);
int64_t bench_msi_at(const struct size *size);

/* boot_rows.c: a whole boot of a kernel in the directory bench_boot. */
extern const char *bench_boot;
int64_t bench_boot_first(void);
int64_t bench_boot_later(void);
int64_t bench_boot_vmlinux(void);
int64_t bench_boot_kiln(void);

/* device_rows.c: a guest that drives virtio devices, from the directory bench_devices. */
extern const char *bench_devices;
extern const struct bench_row bench_device_rows[];	/* the last one has no name */
bool bench_devices_init(void);
int64_t bench_device(const struct device_row *row);

/* peer.c: the other end of a card's wire. Returns if there is none. */
void bench_peer(const char *name);
/* Returns when the interface of that name is up; fd is any socket. */
void bench_wait_up(int fd, const char *name);

/* stream.c: the host's end of a guest's TCP streams. Returns if there is none. */
#define STREAM_HOST	"192.168.77.1"
#define STREAM_PORT	7001
void bench_stream_peer(const char *name);

#endif
