// SPDX-License-Identifier: GPL-2.0-only
/*
 * Between the emulator, which knows instructions, and the vCPU: registers,
 * translation of the guest's addresses, memory and devices.
 *
 * Device accesses of an instruction that has to wait for user space are kept
 * in vcpu->mmio. The instruction is run again from its start afterwards and
 * gets the same answers, so a device sees each access once.
 */
#include <linux/sched.h>
#include <asm/debugreg.h>

#include "death.h"
#include "hw.h"
#include "io.h"
#include "irqchip/irqchip.h"
#include "state.h"
#include "trace.h"

#define XLATE_VALID	BIT(7)

static int walk_read(void *priv, u64 gpa, void *entry, unsigned int size)
{
	struct kiln_emul *e = priv;
	struct kiln_vcpu *vcpu = e->vcpu;
	int r = kiln_mmu_read(&vcpu->vm->mmu, &vcpu->mmu, gpa, entry, size);

	if (size == 8 && e->nr_seen < KILN_WALK_WORDS) {
		e->seen[e->nr_seen].gpa = gpa;
		memcpy(&e->seen[e->nr_seen].val, entry, size);
	}
	e->nr_seen++;
	/* gwalk() keeps -EFAULT for the guest's own faults. */
	return r == -EFAULT ? -ENXIO : r;
}

static int walk_cmpxchg(void *priv, u64 gpa, u64 old, u64 new,
			unsigned int size)
{
	struct kiln_vcpu *vcpu = ((struct kiln_emul *)priv)->vcpu;
	bool ok;
	int r = kiln_mmu_cmpxchg(&vcpu->vm->mmu, &vcpu->mmu, gpa, &old, new,
				 size, &ok);

	if (r == -EFAULT)
		return 0;	/* page tables in ROM: no effect */
	if (r)
		return r;
	return ok ? 0 : -EAGAIN;
}

static void walk_init(struct kiln_emul *e)
{
	struct kiln_vcpu *vcpu = e->vcpu;

	e->walk = (struct gwalk_state) {
		.cr0 = vcpu->cr0,
		.cr3 = kiln_reg_read(vcpu, KILN_CR3),
		.cr4 = vcpu->cr4,
		.efer = vcpu->efer,
		.rflags = e->ctxt.rflags,
		.cpl = e->ctxt.cpl,
		.phys_bits = vcpu->maxphyaddr ? vcpu->maxphyaddr : 36,
		.gbpages = kiln_guest_has(vcpu, X86_FEATURE_GBPAGES),
		.read_entry = walk_read,
		.cmpxchg_entry = walk_cmpxchg,
		.priv = e,
	};
	e->walk_ready = true;
}

enum emulate_result kiln_emul_xlate(struct kiln_emul *e, u64 linear,
				    u32 access, u64 *gpa)
{
	u32 how = (access & EMU_ACCESS_WRITE ? GWALK_WRITE : 0) |
		  (access & EMU_ACCESS_FETCH ? GWALK_FETCH : 0);
	struct gwalk_result res;
	int r;

	if (e->page == (linear & PAGE_MASK) &&
	    e->page_access == (access | XLATE_VALID)) {
		*gpa = e->frame | (linear & ~PAGE_MASK);
		return EMU_DONE;
	}
	if (!e->walk_ready)
		walk_init(e);
	r = gwalk(&e->walk, linear, how, &res);
	switch (r) {
	case 0:
		break;
	case -EFAULT:
		e->ctxt.fault = (struct emulate_fault) {
			.vector = EMU_VEC_PF,
			.has_error = true,
			.error = res.error_code,
			.cr2 = linear,
		};
		return EMU_FAULT;
	case -EAGAIN:
		return EMU_RETRY;
	case -ENXIO:
		return EMU_UNHANDLEABLE;
	default:
		e->error = r;
		return EMU_UNHANDLEABLE;
	}
	e->page = linear & PAGE_MASK;
	e->frame = res.gpa & PAGE_MASK;
	e->page_access = access | XLATE_VALID;
	*gpa = res.gpa;
	return EMU_DONE;
}

/* A device in the kernel: the local APIC's page, then the bus. */
bool kiln_mmio_kernel(struct kiln_vcpu *vcpu, u64 gpa, void *data, int len,
		      bool write)
{
	u32 offset = gpa & ~PAGE_MASK, val = 0;

	trace_kiln_mmio(vcpu->id, write, gpa, len);
	if (vcpu->lapic && lapic_mmio_active(vcpu, gpa)) {
		vcpu->stats.apic_access++;
		/* SDM vol. 3 §11.4.1: aligned 32-bit accesses, else undefined. */
		if (len != 4 || offset & 3) {
			if (!write)
				memset(data, 0, len);
			return true;
		}
		if (write) {
			memcpy(&val, data, 4);
			lapic_mmio_write(vcpu, offset, val);
		} else {
			lapic_mmio_read(vcpu, offset, &val);
			memcpy(data, &val, 4);
		}
		return true;
	}
	if (write)
		return !kiln_bus_write(vcpu->vm, KILN_BUS_MMIO, vcpu, gpa, len,
				       data);
	return !kiln_bus_read(vcpu->vm, KILN_BUS_MMIO, vcpu, gpa, len, data);
}

void kiln_mmio_user(struct kiln_vcpu *vcpu, u64 gpa, const void *data, int len,
		    bool write)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = gpa;
	run->mmio.len = len;
	run->mmio.is_write = write;
	if (write)
		memcpy(run->mmio.data, data, len);
}

static enum emulate_result device(struct kiln_emul *e, u64 gpa, void *data,
				  int len, bool write)
{
	struct kiln_vcpu *vcpu = e->vcpu;
	struct kiln_mmio *m = &vcpu->mmio;
	struct kiln_mmio_fragment *f = &m->done[m->next];

	if (m->next < m->nr_done) {
		if (f->gpa == gpa && f->len == len && f->write == write) {
			m->next++;
			if (!write)
				memcpy(data, f->data, len);
			return EMU_DONE;
		}
		/* The guest changed the instruction meanwhile: start over. */
		m->nr_done = m->next;
	}
	if (m->next == KILN_MMIO_FRAGMENTS)
		return EMU_UNHANDLEABLE;
	f->gpa = gpa;
	f->len = len;
	f->write = write;
	if (kiln_mmio_kernel(vcpu, gpa, data, len, write)) {
		if (!write)
			memcpy(f->data, data, len);
		m->nr_done++;
		m->next++;
		return EMU_DONE;
	}
	kiln_mmio_user(vcpu, gpa, data, len, write);
	return EMU_IO;
}

/* Is it memory that such an access goes to? */
static bool is_memory(struct kiln_vcpu *vcpu, u64 gpa, bool write)
{
	bool writable;

	return kiln_mmu_gpa_to_hva(&vcpu->vm->mmu, &vcpu->mmu, gpa,
				   &writable) != KILN_HVA_BAD &&
	       (!write || writable);
}

/*
 * Within one page. Where the slots changed between look and access, what was
 * memory may be a device by now.
 */
static enum emulate_result access_gpa(struct kiln_emul *e, u64 gpa,
				      void *data, unsigned int len, u32 access)
{
	struct kiln_vcpu *vcpu = e->vcpu;
	struct kiln_mmu *mmu = &vcpu->vm->mmu;
	bool write = access & EMU_ACCESS_WRITE;
	unsigned long generation;
	int r;

	do {
		generation = kiln_mmu_generation(mmu);
		if (!is_memory(vcpu, gpa, write))
			return access & EMU_ACCESS_FETCH ? EMU_UNHANDLEABLE :
			       device(e, gpa, data, len, write);
		if (write)
			r = kiln_mmu_write(mmu, &vcpu->mmu, gpa, data, len);
		else
			r = kiln_mmu_read(mmu, &vcpu->mmu, gpa, data, len);
	} while (r == -EFAULT && generation != kiln_mmu_generation(mmu));
	if (!r)
		return EMU_DONE;
	e->error = r;
	return EMU_UNHANDLEABLE;
}

static struct kiln_emul *to_emul(struct emulate_ctxt *ctxt)
{
	return container_of(ctxt, struct kiln_emul, ctxt);
}

/* Both pages are translated before the first is touched. */
static enum emulate_result access_linear(struct kiln_emul *e, u64 linear,
					 void *data, unsigned int len,
					 u32 check, u32 access)
{
	unsigned int first = min_t(u64, len,
				   PAGE_SIZE - (linear & ~PAGE_MASK));
	u64 gpa, gpa2 = 0, next = linear + first;
	enum emulate_result r;

	r = kiln_emul_xlate(e, linear, check, &gpa);
	if (r != EMU_DONE)
		return r;
	if (first < len) {
		if (e->ctxt.mode != EMU_MODE_LONG64)
			next = (u32)next;
		r = kiln_emul_xlate(e, next, check, &gpa2);
		if (r != EMU_DONE)
			return r;
	}
	r = access_gpa(e, gpa, data, first, access);
	if (r != EMU_DONE || first == len)
		return r;
	return access_gpa(e, gpa2, data + first, len - first, access);
}

static enum emulate_result op_read(struct emulate_ctxt *ctxt, u64 linear,
				   void *buf, unsigned int len,
				   unsigned int access)
{
	return access_linear(to_emul(ctxt), linear, buf, len, access,
			     access & ~EMU_ACCESS_WRITE);
}

static enum emulate_result op_write(struct emulate_ctxt *ctxt, u64 linear,
				    const void *buf, unsigned int len)
{
	u8 data[8];

	memcpy(data, buf, len);
	return access_linear(to_emul(ctxt), linear, data, len,
			     EMU_ACCESS_WRITE, EMU_ACCESS_WRITE);
}

/*
 * Atomic where memory is RAM and the operand does not cross its natural
 * alignment; split locks and devices get a plain store.
 */
static enum emulate_result op_cmpxchg(struct emulate_ctxt *ctxt, u64 linear,
				      const void *old, const void *new,
				      unsigned int len)
{
	struct kiln_emul *e = to_emul(ctxt);
	struct kiln_vcpu *vcpu = e->vcpu;
	u64 gpa, was = 0, val = 0;
	enum emulate_result r;
	bool ok;
	int err;

	r = kiln_emul_xlate(e, linear, EMU_ACCESS_WRITE, &gpa);
	if (r != EMU_DONE)
		return r;
	if (gpa & (len - 1) || !is_memory(vcpu, gpa, true))
		return op_write(ctxt, linear, new, len);
	memcpy(&was, old, len);
	memcpy(&val, new, len);
	err = kiln_mmu_cmpxchg(&vcpu->vm->mmu, &vcpu->mmu, gpa, &was, val, len,
			       &ok);
	if (err == -EFAULT && !is_memory(vcpu, gpa, true))
		return EMU_RETRY;	/* it was, a moment ago */
	if (err) {
		e->error = err;
		return EMU_UNHANDLEABLE;
	}
	return ok ? EMU_DONE : EMU_RETRY;
}

static void op_segment(struct emulate_ctxt *ctxt, enum emulate_seg seg,
		       struct emulate_segment *out)
{
	struct kvm_segment s;

	/* Both enums are in the order of the instruction encoding. */
	kiln_hw->get_segment(to_emul(ctxt)->vcpu, (enum kiln_seg)seg, &s);
	*out = (struct emulate_segment) {
		.base = s.base,
		.limit = s.limit,
		.type = s.type,
		.db = s.db,
		.unusable = s.unusable,
	};
}

static const struct emulate_ops ops = {
	.read = op_read,
	.write = op_write,
	.exchange = op_cmpxchg,
	.segment = op_segment,
};

static enum emulate_mode mode_of(struct kiln_vcpu *vcpu, u64 rflags)
{
	u32 cs;

	if (!(vcpu->cr0 & X86_CR0_PE))
		return EMU_MODE_REAL;
	if (rflags & X86_EFLAGS_VM)
		return EMU_MODE_VM86;
	cs = kiln_hw->get_cs_flags(vcpu);
	if ((vcpu->efer & EFER_LMA) && (cs & KILN_CS_L))
		return EMU_MODE_LONG64;
	return cs & KILN_CS_DB ? EMU_MODE_PROT32 : EMU_MODE_PROT16;
}

void kiln_emul_init(struct kiln_emul *e, struct kiln_vcpu *vcpu)
{
	struct emulate_ctxt *c = &e->ctxt;

	e->vcpu = vcpu;
	e->page_access = 0;
	e->walk_ready = false;
	e->error = 0;
	e->len = 0;
	e->nr_seen = 0;
	c->ops = &ops;
	c->gpr = vcpu->regs;
	c->rip = kiln_rip(vcpu);
	c->rflags = kiln_reg_read(vcpu, KILN_RFLAGS);
	c->mode = mode_of(vcpu, c->rflags);
	c->cpl = c->mode == EMU_MODE_VM86 ? 3 : kiln_hw->get_cpl(vcpu);
	c->linear_bits = vcpu->cr4 & X86_CR4_LA57 ? 57 : 48;
	c->check_alignment = c->cpl == 3 && (vcpu->cr0 & X86_CR0_AM) &&
			     (c->rflags & X86_EFLAGS_AC);
	c->again = false;
}

void kiln_emul_resume(struct kiln_emul *e, struct kiln_vcpu *vcpu,
		      const struct kiln_insn *insn, u8 mode)
{
	struct emulate_ctxt *c = &e->ctxt;

	e->vcpu = vcpu;
	c->gpr = vcpu->regs;
	c->rip = kiln_rip(vcpu);
	c->rflags = kiln_reg_read(vcpu, KILN_RFLAGS);
	c->mode = mode;
	c->insn = *insn;
	if (emulate_uses_rsp(insn))
		kiln_reg_read(vcpu, KILN_RSP);
}

static struct kiln_insn_memo *memo_of(struct kiln_vcpu *vcpu, u64 linear)
{
	return &vcpu->memo[(linear ^ linear >> 6) & (KILN_INSN_MEMOS - 1)];
}

/* What was decoded at @linear, if it would be decoded to the same again. */
static struct kiln_insn_memo *recall(struct kiln_vcpu *vcpu, u64 linear,
				     u8 cpl)
{
	struct kiln_insn_memo *m = memo_of(vcpu, linear);

	if (m->linear != linear || m->cpl != cpl ||
	    m->cr3 != kiln_reg_read(vcpu, KILN_CR3) ||
	    m->cr0 != vcpu->cr0 || m->cr4 != vcpu->cr4 ||
	    m->efer != vcpu->efer ||
	    !kiln_mmu_unchanged(&vcpu->vm->mmu, m->generation, m->word, m->nr))
		return NULL;
	return m;
}

unsigned int kiln_insn_known(struct kiln_vcpu *vcpu)
{
	struct kiln_insn_memo *m;

	if (!(vcpu->efer & EFER_LMA) ||
	    !(kiln_hw->get_cs_flags(vcpu) & KILN_CS_L))
		return 0;
	m = recall(vcpu, kiln_rip(vcpu), kiln_hw->get_cpl(vcpu));
	return m ? m->insn.length : 0;
}

static bool remember_word(struct kiln_emul *e, struct kiln_mmu_word *w, u64 gpa,
			  u64 val)
{
	struct kiln_vcpu *vcpu = e->vcpu;

	w->val = val;
	w->hva = kiln_mmu_gpa_to_hva(&vcpu->vm->mmu, &vcpu->mmu, gpa, NULL);
	return w->hva != KILN_HVA_BAD;
}

/*
 * What was walked, in word[]; then the code, which must still be what was
 * decoded.
 */
static bool remember_words(struct kiln_emul *e, struct kiln_insn_memo *m)
{
	struct kiln_vcpu *vcpu = e->vcpu;
	u64 gpa = e->frame | (e->ctxt.rip & ~PAGE_MASK);
	u64 code[KILN_CODE_WORDS];
	int i;

	for (i = 0; i < e->nr_seen; i++)
		if (!remember_word(e, &m->word[i], e->seen[i].gpa,
				   e->seen[i].val))
			return false;
	if (kiln_mmu_read(&vcpu->vm->mmu, &vcpu->mmu, gpa, code, sizeof(code)) ||
	    memcmp(code, e->bytes, e->ctxt.insn.length))
		return false;
	m->nr = e->nr_seen + KILN_CODE_WORDS;
	return remember_word(e, &m->word[i], gpa, code[0]) &&
	       remember_word(e, &m->word[i + 1], gpa + 8, code[1]);
}

static void remember(struct kiln_emul *e)
{
	struct kiln_vcpu *vcpu = e->vcpu;
	u64 linear = e->ctxt.rip;
	struct kiln_insn_memo *m = memo_of(vcpu, linear);

	m->linear = 0;
	if (!e->nr_seen || e->nr_seen > KILN_WALK_WORDS ||
	    (linear & ~PAGE_MASK) > PAGE_SIZE - 8 * KILN_CODE_WORDS)
		return;
	m->generation = kiln_mmu_generation(&vcpu->vm->mmu);
	m->cr0 = vcpu->cr0;
	m->cr3 = kiln_reg_read(vcpu, KILN_CR3);
	m->cr4 = vcpu->cr4;
	m->efer = vcpu->efer;
	m->cpl = e->ctxt.cpl;
	m->insn = e->ctxt.insn;
	if (remember_words(e, m))
		m->linear = linear;
}

enum emulate_result kiln_emul_fetch(struct kiln_emul *e)
{
	bool plain = e->ctxt.mode == EMU_MODE_LONG64;
	struct kiln_insn_memo *m = NULL;
	enum emulate_result r;

	if (plain)
		m = recall(e->vcpu, e->ctxt.rip, e->ctxt.cpl);
	if (m) {
		e->ctxt.insn = m->insn;
	} else {
		r = emulate_fetch_insn(&e->ctxt, e->bytes, &e->len);
		if (r != EMU_DONE)
			return r;
		if (plain)
			remember(e);
	}
	if (emulate_uses_rsp(&e->ctxt.insn))
		kiln_reg_read(e->vcpu, KILN_RSP);
	return EMU_DONE;
}

void kiln_emul_commit(struct kiln_emul *e)
{
	struct kiln_vcpu *vcpu = e->vcpu;
	u32 blocking;

	vcpu->stats.insn_emulated++;
	if (e->ctxt.rflags != vcpu->regs[KILN_RFLAGS])
		kiln_reg_write(vcpu, KILN_RFLAGS, e->ctxt.rflags);
	if (emulate_uses_rsp(&e->ctxt.insn))
		vcpu->regs_dirty |= BIT(KILN_RSP);
	if (e->ctxt.rip == vcpu->regs[KILN_RIP])
		return;
	kiln_reg_write(vcpu, KILN_RIP, e->ctxt.rip);
	blocking = kiln_hw->get_blocking(vcpu);
	if (blocking & KILN_BLOCK_SHADOW)
		kiln_hw->set_blocking(vcpu, blocking & ~KILN_BLOCK_SHADOW);
	if (e->ctxt.rflags & X86_EFLAGS_TF)
		kiln_inject_db(vcpu, DR_STEP);
}

static void inject_fault(struct kiln_vcpu *vcpu, const struct emulate_fault *f)
{
	if (f->vector == EMU_VEC_PF)
		kiln_inject_pf(vcpu, f->error, f->cr2);
	else
		kiln_queue_exception(vcpu, f->vector, f->has_error, f->error);
}

int kiln_emul_failed(struct kiln_emul *e, enum emulate_result result)
{
	struct kiln_vcpu *vcpu = e->vcpu;

	vcpu->mmio.nr_done = 0;
	switch (result) {
	case EMU_FAULT:
		inject_fault(vcpu, &e->ctxt.fault);
		return KILN_RESUME;
	case EMU_RETRY:
		return KILN_RESUME;
	default:
		break;
	}
	if (e->error == -EFAULT)
		return kiln_die_memory(vcpu, e->error,
				       "no host memory behind an operand of the instruction at RIP");
	if (e->error)
		return e->error;
	return kiln_die(vcpu, KILN_DEATH_EMULATION,
			"an instruction on device memory that kiln does not emulate");
}

unsigned int kiln_insn_bytes(struct kiln_vcpu *vcpu, u8 *buf)
{
	struct kiln_emul e;
	unsigned int n;
	u64 linear, gpa;

	kiln_emul_init(&e, vcpu);
	for (n = 0; n < EMU_INSN_MAX; n++) {
		if (emulate_linear(&e.ctxt, EMU_CS, e.ctxt.rip + n, 1,
				   EMU_ACCESS_FETCH, &linear) != EMU_DONE ||
		    kiln_emul_xlate(&e, linear, EMU_ACCESS_FETCH, &gpa) !=
		    EMU_DONE ||
		    kiln_mmu_read(&vcpu->vm->mmu, &vcpu->mmu, gpa, buf + n, 1))
			break;
	}
	return n;
}
