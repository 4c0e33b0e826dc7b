// SPDX-License-Identifier: GPL-2.0-only
/*
 * Port I/O: IN and OUT are done from the exit's own words; INS and OUTS are
 * decoded, because segment, address size and REP are in the instruction.
 *
 * User space gets string items in batches, through the page behind kvm_run.
 */
#include "hw.h"
#include "io.h"
#include "irqchip/irqchip.h"
#include "state.h"
#include "trace.h"

/* Of a port access. A size the compiler knows needs no call. */
static void copy_item(void *to, const void *from, int size)
{
	switch (size) {
	case 1:
		memcpy(to, from, 1);
		break;
	case 2:
		memcpy(to, from, 2);
		break;
	default:
		memcpy(to, from, 4);
	}
}

/* IN of 8 or 16 bits leaves the rest of RAX, of 32 bits clears its top. */
static void set_rax(struct kiln_vcpu *vcpu, u32 val, int size)
{
	if (size == 4)
		vcpu->regs[KILN_RAX] = val;
	else
		copy_item(&vcpu->regs[KILN_RAX], &val, size);
}

bool kiln_pio_kernel(struct kiln_vcpu *vcpu, u16 port, int size, bool in)
{
	u32 val = 0;

	if (in) {
		if (kiln_bus_read(vcpu->vm, KILN_BUS_PIO, vcpu, port, size,
				  &val))
			return false;
		set_rax(vcpu, val, size);
	} else {
		val = vcpu->regs[KILN_RAX];
		if (kiln_bus_write(vcpu->vm, KILN_BUS_PIO, vcpu, port, size,
				   &val))
			return false;
	}
	vcpu->stats.pio++;
	trace_kiln_pio(vcpu->id, !in, port, size, 1);
	return true;
}

static int to_user(struct kiln_vcpu *vcpu, u16 port, int size, bool in,
		   u32 count)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = count;
	run->io.data_offset = KVM_PIO_PAGE_OFFSET * PAGE_SIZE;
	vcpu->stats.pio++;
	trace_kiln_pio(vcpu->id, !in, port, size, count);
	return KILN_EXIT_USER;
}

static void wait_for_user(struct kiln_vcpu *vcpu,
			  int (*complete)(struct kiln_vcpu *vcpu))
{
	vcpu->complete = complete;
	vcpu->complete_rip = kiln_rip(vcpu);
}

static int complete_in(struct kiln_vcpu *vcpu)
{
	u32 val = 0;

	copy_item(&val, vcpu->pio.data, vcpu->pio.size);
	set_rax(vcpu, val, vcpu->pio.size);
	kiln_hw->skip_insn(vcpu);
	return KILN_RESUME;
}

/*
 * A string instruction under way: registers are counted on item by item and
 * written back when the batch is over.
 */
struct string_io {
	struct kiln_emul e;
	u64 mask;		/* of the address size */
	u64 step;		/* added to the index, modulo @mask + 1 */
	u64 left;		/* items left; 1 without REP */
	u64 index;		/* RSI or RDI */
	u16 port;
	u8 size;
	bool in;
	bool rep;
};

static void string_init(struct string_io *s, struct kiln_vcpu *vcpu, u16 port,
			int size, bool in)
{
	const struct kiln_insn *insn = &s->e.ctxt.insn;

	s->mask = insn->addr_size == 8 ? ~0ull :
		  BIT_ULL(insn->addr_size * 8) - 1;
	s->step = s->e.ctxt.rflags & X86_EFLAGS_DF ? -(u64)size : size;
	s->rep = insn->prefixes & (EMU_PREFIX_REP | EMU_PREFIX_REPNE);
	s->left = s->rep ? vcpu->regs[KILN_RCX] & s->mask : 1;
	s->index = vcpu->regs[in ? KILN_RDI : KILN_RSI] & s->mask;
	s->port = port;
	s->size = size;
	s->in = in;
}

/* A register of which only the address size's bits change. */
static void put_masked(struct kiln_vcpu *vcpu, enum kiln_reg reg, u64 val,
		       u64 mask)
{
	/* A 32-bit result clears the upper half. */
	if (mask == U32_MAX)
		vcpu->regs[reg] = val & mask;
	else
		vcpu->regs[reg] = (vcpu->regs[reg] & ~mask) | (val & mask);
}

/* @n items were moved: registers, and RIP if it was the last. */
static void string_advance(struct string_io *s, u32 n)
{
	struct kiln_vcpu *vcpu = s->e.vcpu;

	s->left -= n;
	s->index = (s->index + n * s->step) & s->mask;
	put_masked(vcpu, s->in ? KILN_RDI : KILN_RSI, s->index, s->mask);
	if (s->rep)
		put_masked(vcpu, KILN_RCX, s->left, s->mask);
	if (!s->left)
		kiln_hw->skip_insn(vcpu);
}

/* Where item @i of the batch lies in guest memory. */
static enum emulate_result item_gpa(struct string_io *s, u32 i, u64 *gpa)
{
	struct emulate_ctxt *c = &s->e.ctxt;
	enum emulate_seg seg = s->in ? EMU_ES : c->insn.seg;
	u32 access = s->in ? EMU_ACCESS_WRITE : EMU_ACCESS_READ;
	enum emulate_result r;
	u64 linear;

	r = emulate_linear(c, seg, (s->index + i * s->step) & s->mask,
			   s->size, access, &linear);
	if (r != EMU_DONE)
		return r;
	return kiln_emul_xlate(&s->e, linear, access, gpa);
}

/* An item may lie across two pages; ops->read and ->write handle that. */
static enum emulate_result item_linear(struct string_io *s, u32 i, u64 *linear)
{
	struct emulate_ctxt *c = &s->e.ctxt;

	return emulate_linear(c, s->in ? EMU_ES : c->insn.seg,
			      (s->index + i * s->step) & s->mask, s->size,
			      s->in ? EMU_ACCESS_WRITE : EMU_ACCESS_READ,
			      linear);
}

/* Each item is an access of its own, should its memory be a device's. */
static void forget_accesses(struct string_io *s)
{
	s->e.vcpu->mmio.next = 0;
	s->e.vcpu->mmio.nr_done = 0;
}

static enum emulate_result get_item(struct string_io *s, u32 i, void *buf)
{
	enum emulate_result r;
	u64 linear;

	r = item_linear(s, i, &linear);
	if (r != EMU_DONE)
		return r;
	forget_accesses(s);
	r = s->e.ctxt.ops->read(&s->e.ctxt, linear, buf, s->size, 0);
	return r == EMU_IO ? EMU_UNHANDLEABLE : r;
}

static enum emulate_result put_item(struct string_io *s, u32 i,
				    const void *buf)
{
	enum emulate_result r;
	u64 linear;

	r = item_linear(s, i, &linear);
	if (r != EMU_DONE)
		return r;
	forget_accesses(s);
	r = s->e.ctxt.ops->write(&s->e.ctxt, linear, buf, s->size);
	return r == EMU_IO ? EMU_UNHANDLEABLE : r;
}

static bool kernel_item(struct string_io *s, void *data)
{
	struct kiln_vcpu *vcpu = s->e.vcpu;

	if (s->in)
		return !kiln_bus_read(vcpu->vm, KILN_BUS_PIO, vcpu, s->port,
				      s->size, data);
	return !kiln_bus_write(vcpu->vm, KILN_BUS_PIO, vcpu, s->port, s->size,
			       data);
}

/* Items that fit into the page shared with user space. */
static u32 batch(const struct string_io *s)
{
	return min_t(u64, s->left, PAGE_SIZE / s->size);
}

static int string_out(struct string_io *s)
{
	struct kiln_vcpu *vcpu = s->e.vcpu;
	u32 n = batch(s), i;
	enum emulate_result r = EMU_DONE;
	u32 val = 0;

	for (i = 0; i < n; i++) {
		r = get_item(s, i, &val);
		if (r != EMU_DONE)
			break;
		if (!i && kernel_item(s, &val)) {
			string_advance(s, 1);
			return KILN_RESUME;
		}
		copy_item(vcpu->pio.data + i * s->size, &val, s->size);
	}
	/* What came before a fault is output; the fault comes again. */
	if (!i)
		return kiln_emul_failed(&s->e, r);
	string_advance(s, i);
	return to_user(vcpu, s->port, s->size, false, i);
}

static int decode_string(struct kiln_emul *e, struct kiln_vcpu *vcpu)
{
	enum emulate_result r;

	kiln_emul_init(e, vcpu);
	r = emulate_fetch_insn(&e->ctxt, e->bytes, &e->len);
	if (r == EMU_DONE && e->ctxt.insn.kind != EMU_KIND_STRING_IO)
		r = EMU_RETRY;	/* another vCPU changed it meanwhile */
	return r == EMU_DONE ? KILN_RESUME + 1 : kiln_emul_failed(e, r);
}

/* User space has filled the page. */
static int complete_ins(struct kiln_vcpu *vcpu)
{
	struct kiln_pio *p = &vcpu->pio;
	enum emulate_result res;
	struct string_io s;
	u32 i;
	int r;

	r = decode_string(&s.e, vcpu);
	if (r <= KILN_RESUME)
		return r;
	string_init(&s, vcpu, p->port, p->size, true);
	for (i = 0; i < min_t(u64, p->count, s.left); i++) {
		res = put_item(&s, i, p->data + i * p->size);
		if (res != EMU_DONE) {
			if (i)
				string_advance(&s, i);
			return kiln_emul_failed(&s.e, res);
		}
	}
	if (i)
		string_advance(&s, i);
	return KILN_RESUME;
}

/*
 * Input is asked for only as far as it can be stored: what user space hands
 * out cannot be given back to the device.
 */
static int string_in(struct string_io *s)
{
	struct kiln_vcpu *vcpu = s->e.vcpu;
	u32 n = batch(s), i;
	enum emulate_result r = EMU_DONE;
	u32 val = 0;
	u64 gpa;

	for (i = 0; i < n; i++) {
		r = item_gpa(s, i, &gpa);
		if (r != EMU_DONE)
			break;
	}
	if (!i)
		return kiln_emul_failed(&s->e, r);
	if (kernel_item(s, &val)) {
		r = put_item(s, 0, &val);
		if (r != EMU_DONE)
			return kiln_emul_failed(&s->e, r);
		string_advance(s, 1);
		return KILN_RESUME;
	}
	vcpu->pio.port = s->port;
	vcpu->pio.size = s->size;
	vcpu->pio.count = i;
	wait_for_user(vcpu, complete_ins);
	return to_user(vcpu, s->port, s->size, true, i);
}

static int string_io(struct kiln_vcpu *vcpu, u16 port, int size, bool in)
{
	struct string_io s;
	int r;

	r = decode_string(&s.e, vcpu);
	if (r <= KILN_RESUME)
		return r;
	string_init(&s, vcpu, port, size, in);
	if (!s.left) {
		kiln_hw->skip_insn(vcpu);
		return KILN_RESUME;
	}
	return in ? string_in(&s) : string_out(&s);
}

int kiln_pio(struct kiln_vcpu *vcpu, u16 port, int size, bool in, bool string)
{
	if (string)
		return string_io(vcpu, port, size, in);
	if (in) {
		vcpu->pio.size = size;
		wait_for_user(vcpu, complete_in);
	} else {
		copy_item(vcpu->pio.data, &vcpu->regs[KILN_RAX], size);
		kiln_hw->skip_insn(vcpu);
	}
	return to_user(vcpu, port, size, in, 1);
}
