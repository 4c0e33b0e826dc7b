/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this machine has to offer, read from /proc, /sys and /dev/cpu. `kiln
 * check` reports it; `kiln run` uses it to say why the device is not there.
 */
#ifndef KILN_HOST_H
#define KILN_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum host_vendor { HOST_OTHER, HOST_INTEL, HOST_AMD };
enum host_answer { HOST_UNKNOWN, HOST_NO, HOST_YES };

struct host {
	enum host_vendor vendor;
	bool cpuid_virt;		/* CPUID itself says VMX or SVM */
	bool kernel_virt;		/* the kernel lets it be used */
	bool nested;			/* this machine is itself a guest */
	enum host_answer locked_off;	/* by firmware */
	enum host_answer second_level;	/* EPT or NPT */
	enum host_answer unrestricted;	/* unrestricted guest; on AMD no question */
};

/* @root is "" but in tests. */
void host_read(struct host *host, const char *root);

/* "VMX" or "SVM". */
const char *host_extension(const struct host *host);

/* Whether @module (with underscores) is loaded. */
bool host_module_loaded(const char *root, const char *module);

/* Users of @module, -1 where it is not loaded or does not say. */
int host_module_users(const char *root, const char *module);

enum host_other {
	HOST_OTHER_NONE,
	HOST_OTHER_GUESTS,	/* runs guests */
	HOST_OTHER_HOLDS,	/* runs none, and leaves the CPU to nobody else all the same */
};

/*
 * Another hypervisor that has the CPU's virtualization, by the name of its
 * module, into @name; our own @device's does not count.
 */
enum host_other host_other_hypervisor(const char *root, const char *device, char *name, size_t size);

/* A sentence's second half, after "the CPU's virtualization is": by whom it is held and what to do. */
void host_other_problem(enum host_other other, const char *name, char *text, size_t size);

/*
 * The sentence for a @device that open() refused with @err: what is missing
 * and what to do. Always returns -1.
 */
int host_explain_open(const char *root, const char *device, int err);

/* The same for KVM_CREATE_VM. */
int host_explain_create(const char *root, const char *device, int err);

/* Where virtualization is missing or off, a sentence's second half; else NULL. */
const char *host_virt_problem(const struct host *host);

#endif
