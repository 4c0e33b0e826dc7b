/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stated cause for every guest death.
 */
#ifndef KILN_DEATH_H
#define KILN_DEATH_H

#include <linux/compiler.h>

#include "vcpu.h"

/**
 * kiln_die() - this vCPU cannot go on
 * @vcpu: the vCPU
 * @kind: KILN_DEATH_*
 * @fmt: a sentence without full stop or newline
 *
 * Records cause, exit fields, registers and the bytes at RIP for
 * KILN_GET_DEATH and fills in vcpu->run with the exit that KVM's ABI has for
 * the kind.
 *
 * Return: KILN_EXIT_USER.
 * Context: the vCPU's thread, vCPU loaded; may sleep.
 */
__printf(3, 4)
int kiln_die(struct kiln_vcpu *vcpu, u32 kind, const char *fmt, ...);

/**
 * kiln_die_memory() - guest memory is not to be had
 * @vcpu: the vCPU
 * @err: negative errno that KVM_RUN returns
 * @fmt: a sentence
 *
 * Return: @err. Context: as kiln_die().
 */
__printf(3, 4)
int kiln_die_memory(struct kiln_vcpu *vcpu, int err, const char *fmt, ...);

#endif /* KILN_DEATH_H */
