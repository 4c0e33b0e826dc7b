// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second-stage faults: memory that has to be mapped, or a device.
 *
 * Nearly all instructions that touch devices are one plain load or store,
 * whose operand is what the exit's address says; those are done without
 * computing the address again. The others go through the emulator.
 */
#include "death.h"
#include "hw.h"
#include "io.h"
#include "irqchip/irqchip.h"
#include "state.h"
#include "trace.h"

/* Iterations of a REP done before the guest's interrupts get a chance. */
#define MAX_ITERATIONS	64

static int emulate(struct kiln_emul *e);

/* User space has answered: KVM_RUN came back. */
static int complete_mmio(struct kiln_vcpu *vcpu)
{
	struct kiln_mmio *m = &vcpu->mmio;
	struct kiln_mmio_fragment *f = &m->done[m->nr_done];
	struct kiln_emul e;
	u64 val = 0;

	if (!f->write)
		memcpy(f->data, vcpu->run->mmio.data, f->len);
	if (m->load) {
		memcpy(&val, f->data, f->len);
		kiln_emul_resume(&e, vcpu, &m->insn, m->mode);
		emulate_finish_load(&e.ctxt, val);
		kiln_emul_commit(&e);
		return KILN_RESUME;
	}
	m->nr_done++;
	kiln_emul_init(&e, vcpu);
	return emulate(&e);
}

static int wait_for_user(struct kiln_emul *e)
{
	struct kiln_vcpu *vcpu = e->vcpu;

	vcpu->complete = complete_mmio;
	vcpu->complete_rip = kiln_rip(vcpu);
	return KILN_EXIT_USER;
}

static int fetch(struct kiln_emul *e)
{
	enum emulate_result r;

	r = kiln_emul_fetch(e);
	return r == EMU_DONE ? KILN_RESUME + 1 : kiln_emul_failed(e, r);
}

static int execute(struct kiln_emul *e)
{
	struct kiln_mmio *m = &e->vcpu->mmio;
	enum emulate_result r;
	int i;

	m->load = false;
	for (i = 0; i < MAX_ITERATIONS; i++) {
		m->next = 0;
		r = emulate_insn(&e->ctxt);
		if (r == EMU_IO)
			return wait_for_user(e);
		if (r != EMU_DONE)
			return kiln_emul_failed(e, r);
		m->nr_done = 0;
		kiln_emul_commit(e);
		if (!e->ctxt.again || kiln_request_pending(e->vcpu))
			break;
	}
	return KILN_RESUME;
}

static int emulate(struct kiln_emul *e)
{
	int r = fetch(e);

	return r > KILN_RESUME ? execute(e) : r;
}

static bool whole(const struct kiln_insn *insn, u64 gpa)
{
	return insn->mem_size <= 8 &&
	       (gpa & ~PAGE_MASK) + insn->mem_size <= PAGE_SIZE;
}

/*
 * A plain load or store of which @gpa is the operand. The exit may not say
 * whether it was a write; then only the kernel, whose code no other vCPU's
 * user mode can change under it, is taken at its word for a store.
 *
 * Return: 2 if the instruction is not of that kind.
 */
static int plain(struct kiln_emul *e, u64 gpa, u32 access)
{
	struct kiln_insn *insn = &e->ctxt.insn;
	struct kiln_vcpu *vcpu = e->vcpu;
	struct kiln_mmio *m = &vcpu->mmio;
	struct kiln_mmio_fragment *f = &m->done[0];
	bool write;
	u64 val = 0;

	if (!whole(insn, gpa))
		return 2;
	if (emulate_is_load(insn) && !(access & KILN_ACCESS_WRITE))
		write = false;
	else if (emulate_is_store(insn) &&
		 (access & KILN_ACCESS_WRITE || (!access && !e->ctxt.cpl)))
		write = true;
	else
		return 2;

	f->gpa = gpa;
	f->len = insn->mem_size;
	f->write = write;
	m->nr_done = 0;
	m->next = 0;
	if (write) {
		val = emulate_store_value(&e->ctxt);
		memcpy(f->data, &val, sizeof(val));
	}
	if (kiln_mmio_kernel(vcpu, gpa, write ? (void *)&val : f->data, f->len,
			     write)) {
		if (write) {
			emulate_finish_store(&e->ctxt);
		} else {
			memcpy(&val, f->data, f->len);
			emulate_finish_load(&e->ctxt, val);
		}
		kiln_emul_commit(e);
		return KILN_RESUME;
	}
	kiln_mmio_user(vcpu, gpa, &val, f->len, write);
	if (write) {
		/* The instruction is over; user space only has to be told. */
		emulate_finish_store(&e->ctxt);
		kiln_emul_commit(e);
		return KILN_EXIT_USER;
	}
	m->load = true;
	m->mode = e->ctxt.mode;
	m->insn = *insn;
	return wait_for_user(e);
}

int kiln_guest_mmio(struct kiln_vcpu *vcpu, u64 gpa, u32 access, bool vectoring)
{
	struct kiln_emul e;
	int r;

	vcpu->stats.mmio++;
	if (unlikely(vectoring))
		return kiln_die(vcpu, KILN_DEATH_EMULATION,
				"an event was delivered through device memory at 0x%llx",
				gpa);
	if (unlikely(access & KILN_ACCESS_EXEC))
		return kiln_die(vcpu, KILN_DEATH_EMULATION,
				"instruction fetch from 0x%llx, where there is no memory",
				gpa);
	vcpu->mmio.nr_done = 0;
	kiln_emul_init(&e, vcpu);
	r = fetch(&e);
	if (r <= KILN_RESUME)
		return r;
	r = plain(&e, gpa, access);
	return r > KILN_RESUME ? execute(&e) : r;
}

int kiln_guest_fault(struct kiln_vcpu *vcpu, u64 gpa, u32 access,
		     bool vectoring, bool walk)
{
	int r = kiln_mmu_fault(&vcpu->vm->mmu, &vcpu->mmu, gpa, access);

	vcpu->stats.fault++;
	trace_kiln_fault(vcpu->id, gpa, access, r);
	switch (r) {
	case KILN_FAULT_MAPPED:
		return KILN_RESUME;
	case KILN_FAULT_MMIO:
		if (walk)
			return kiln_die(vcpu, KILN_DEATH_EMULATION,
					"the guest's page tables are at 0x%llx, where there is no memory to write",
					gpa);
		return kiln_guest_mmio(vcpu, gpa, access, vectoring);
	case -EFAULT:
	case -EHWPOISON:
	case -ENOMEM:
		return kiln_die_memory(vcpu, r,
				       "no host memory could be mapped at 0x%llx",
				       gpa);
	default:
		return r;
	}
}
