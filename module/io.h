/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Port and device-memory accesses of a guest, whoever answers them.
 *
 * All: the vCPU's thread, vcpu->mutex held, vCPU loaded; may sleep unless
 * said otherwise. Those that return int return KILN_RESUME, KILN_EXIT_USER
 * with vcpu->run filled in, or an errno for KVM_RUN.
 */
#ifndef KILN_IO_H
#define KILN_IO_H

#include "emulate/emulate.h"
#include "mmu/gwalk.h"
#include "vcpu.h"

/**
 * kiln_pio_kernel() - a port access that the kernel answers
 * @vcpu: the vCPU
 * @port: 0 to 0xffff
 * @size: 1, 2 or 4 bytes
 * @in: IN: the answer is put into RAX
 *
 * Return: true if a kernel device or an ioeventfd took it; RIP stays.
 * Context: IRQs may be off; does not sleep.
 */
bool kiln_pio_kernel(struct kiln_vcpu *vcpu, u16 port, int size, bool in);

/**
 * kiln_pio() - an exit for IN, OUT, INS or OUTS
 *
 * IN and OUT come here after kiln_pio_kernel() declined.
 *
 * @vcpu: the vCPU
 * @port: 0 to 0xffff
 * @size: 1, 2 or 4 bytes per item
 * @in: IN or INS
 * @string: INS or OUTS
 */
int kiln_pio(struct kiln_vcpu *vcpu, u16 port, int size, bool in, bool string);

/**
 * kiln_guest_fault() - the second-stage tables do not allow an access
 * @vcpu: the vCPU
 * @gpa: guest-physical address
 * @access: KILN_ACCESS_*
 * @vectoring: it happened while an event was being delivered
 * @walk: it was made by the processor walking the guest's page tables
 */
int kiln_guest_fault(struct kiln_vcpu *vcpu, u64 gpa, u32 access,
		     bool vectoring, bool walk);

/**
 * kiln_guest_mmio() - an access to device memory
 * @vcpu: the vCPU
 * @gpa: guest-physical address
 * @access: KILN_ACCESS_*, or 0 if the exit does not tell
 * @vectoring: it happened while an event was being delivered
 */
int kiln_guest_mmio(struct kiln_vcpu *vcpu, u64 gpa, u32 access,
		    bool vectoring);

/**
 * kiln_mmio_kernel() - a device access that the kernel answers
 * @vcpu: the vCPU
 * @gpa: guest-physical address
 * @data: @len bytes to write, or where the answer goes
 * @len: 1 to 8, within a page
 * @write: write access
 *
 * Return: true if the local APIC, a kernel device or an ioeventfd took it.
 */
bool kiln_mmio_kernel(struct kiln_vcpu *vcpu, u64 gpa, void *data, int len,
		      bool write);

/**
 * kiln_mmio_user() - fill in vcpu->run for KVM_EXIT_MMIO
 * @vcpu: the vCPU
 * @gpa: guest-physical address
 * @data: @len bytes, if @write
 * @len: 1 to 8
 * @write: write access
 */
void kiln_mmio_user(struct kiln_vcpu *vcpu, u64 gpa, const void *data, int len,
		    bool write);

/**
 * struct kiln_emul - the emulator's view of a vCPU
 * @ctxt: what emulate/ works on
 * @vcpu: whose
 * @walk: registers for translations; valid once @walk_ready
 * @page: guest-linear page translated last
 * @frame: its guest-physical address
 * @page_access: EMU_ACCESS_* bits it was checked for, plus 1 << 7 if valid
 * @walk_ready: see @walk
 * @nr_seen: page-table entries read so far, also beyond the room in @seen
 * @seen: their addresses and values
 * @error: errno for KVM_RUN where a callback met one
 * @bytes: instruction bytes
 * @len: how many
 */
struct kiln_emul {
	struct emulate_ctxt ctxt;
	struct kiln_vcpu *vcpu;
	struct gwalk_state walk;
	u64 page, frame;
	u8 page_access;
	bool walk_ready;
	u8 nr_seen;
	struct {
		u64 gpa, val;
	} seen[KILN_WALK_WORDS];
	int error;
	unsigned int len;
	u8 bytes[EMU_INSN_MAX];
};

/**
 * kiln_emul_init() - take the vCPU's registers
 * @e: filled
 * @vcpu: the vCPU
 */
void kiln_emul_init(struct kiln_emul *e, struct kiln_vcpu *vcpu);

/**
 * kiln_emul_fetch() - get the instruction at RIP
 * @e: initialised; ctxt.insn is filled, and RSP is at hand if it is used
 *
 * Return: what emulate_fetch_insn() says.
 */
enum emulate_result kiln_emul_fetch(struct kiln_emul *e);

/**
 * kiln_emul_resume() - take up an instruction that user space completed
 * @e: filled, as far as emulate_finish_load() needs it
 * @vcpu: the vCPU
 * @insn: the instruction
 * @mode: enum emulate_mode it was decoded in
 */
void kiln_emul_resume(struct kiln_emul *e, struct kiln_vcpu *vcpu,
		      const struct kiln_insn *insn, u8 mode);

/**
 * kiln_emul_commit() - give the registers back after an instruction
 * @e: after EMU_DONE
 */
void kiln_emul_commit(struct kiln_emul *e);

/**
 * kiln_emul_failed() - what to do where the emulator did not get through
 * @e: as it was left
 * @result: EMU_FAULT, EMU_RETRY or EMU_UNHANDLEABLE
 */
int kiln_emul_failed(struct kiln_emul *e, enum emulate_result result);

/**
 * kiln_emul_xlate() - translate a guest-linear address
 * @e: the emulator
 * @linear: address
 * @access: EMU_ACCESS_*
 * @gpa: out
 *
 * Return: EMU_DONE; EMU_FAULT: #PF is in ctxt.fault; EMU_UNHANDLEABLE:
 * page tables outside memory, or @e->error.
 */
enum emulate_result kiln_emul_xlate(struct kiln_emul *e, u64 linear,
				    u32 access, u64 *gpa);

/**
 * kiln_insn_known() - the length of the instruction at RIP, if it is known
 * @vcpu: the vCPU
 *
 * It is if kiln_emul_fetch() has decoded it before, in 64-bit mode, and neither
 * its bytes nor its translation changed since.
 *
 * Return: in bytes, or 0.
 * Context: IRQs may be off; does not sleep.
 */
unsigned int kiln_insn_known(struct kiln_vcpu *vcpu);

/**
 * kiln_insn_bytes() - the bytes at RIP, for a report
 * @vcpu: the vCPU
 * @buf: at least EMU_INSN_MAX
 *
 * Return: how many could be read.
 */
unsigned int kiln_insn_bytes(struct kiln_vcpu *vcpu, u8 *buf);

#endif /* KILN_IO_H */
