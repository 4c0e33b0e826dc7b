// SPDX-License-Identifier: GPL-2.0-only
/*
 * From segment and offset to a linear address, and from RIP to a decoded
 * instruction.
 */
#include <linux/errno.h>
#include <linux/types.h>

#include "compat.h"
#include "emulate.h"

/* Segment types, SDM vol. 3 table 3-1 */
#define TYPE_CODE		0x8
#define TYPE_READABLE		0x2	/* of code */
#define TYPE_WRITABLE		0x2	/* of data */
#define TYPE_EXPAND_DOWN	0x4	/* of data */

#define PAGE_BYTES		4096

/* An exception with error code 0; real mode pushes none. */
static enum emulate_result fault_zero(struct emulate_ctxt *ctxt, u8 vector)
{
	ctxt->fault.vector = vector;
	ctxt->fault.has_error = ctxt->mode != EMU_MODE_REAL;
	ctxt->fault.error = 0;
	return EMU_FAULT;
}

static enum emulate_result fault_segment(struct emulate_ctxt *ctxt,
					 enum emulate_seg seg)
{
	return fault_zero(ctxt, seg == EMU_SS ? EMU_VEC_SS : EMU_VEC_GP);
}

static bool canonical(u64 linear, unsigned int bits)
{
	unsigned int unused = 64 - bits;

	return (u64)((s64)(linear << unused) >> unused) == linear;
}

static enum emulate_result linear_long(struct emulate_ctxt *ctxt,
				       enum emulate_seg seg, u64 offset,
				       unsigned int size, u64 *linear)
{
	struct emulate_segment segment;
	u64 address = offset;

	if (seg >= EMU_FS) {
		ctxt->ops->segment(ctxt, seg, &segment);
		address += segment.base;
	}
	if (!canonical(address, ctxt->linear_bits) ||
	    !canonical(address + size - 1, ctxt->linear_bits))
		return fault_segment(ctxt, seg);
	*linear = address;
	return EMU_DONE;
}

/* May @access be made through a segment of this type? */
static bool type_allows(const struct emulate_segment *segment,
			unsigned int access)
{
	if (segment->unusable)
		return false;
	if (access & EMU_ACCESS_FETCH)
		return true;
	if (segment->type & TYPE_CODE)
		return !(access & EMU_ACCESS_WRITE) &&
		       (segment->type & TYPE_READABLE);
	return !(access & EMU_ACCESS_WRITE) || (segment->type & TYPE_WRITABLE);
}

static bool limit_allows(const struct emulate_segment *segment, u64 first,
			 u64 last)
{
	if ((segment->type & (TYPE_CODE | TYPE_EXPAND_DOWN)) ==
	    TYPE_EXPAND_DOWN)
		return first > segment->limit &&
		       last <= (segment->db ? 0xffffffff : 0xffff);
	return last <= segment->limit;
}

static enum emulate_result linear_legacy(struct emulate_ctxt *ctxt,
					 enum emulate_seg seg, u32 offset,
					 unsigned int size,
					 unsigned int access, u64 *linear)
{
	bool typed = ctxt->mode >= EMU_MODE_PROT16;
	struct emulate_segment segment;

	ctxt->ops->segment(ctxt, seg, &segment);
	if (typed && !type_allows(&segment, access))
		return fault_segment(ctxt, seg);
	if (!limit_allows(&segment, offset, (u64)offset + size - 1))
		return fault_segment(ctxt, seg);
	*linear = (u32)(segment.base + offset);
	return EMU_DONE;
}

enum emulate_result emulate_linear(struct emulate_ctxt *ctxt,
				   enum emulate_seg seg, u64 offset,
				   unsigned int size, unsigned int access,
				   u64 *linear)
{
	enum emulate_result result;

	if (ctxt->mode == EMU_MODE_LONG64)
		result = linear_long(ctxt, seg, offset, size, linear);
	else
		result = linear_legacy(ctxt, seg, offset, size, access, linear);
	if (result != EMU_DONE)
		return result;
	if (ctxt->check_alignment && !(access & EMU_ACCESS_FETCH) &&
	    (*linear & (size - 1)))
		return fault_zero(ctxt, EMU_VEC_AC);
	return EMU_DONE;
}

KILN_EXPORT_FOR_KUNIT(emulate_linear);

/*
 * The instruction goes on in the next page. Only now may that page be read:
 * the instruction might have ended before it. The CS limit comes first, so
 * that #GP wins over #PF.
 */
static enum emulate_result fetch_rest(struct emulate_ctxt *ctxt, u8 *bytes,
				      unsigned int *len)
{
	unsigned int rest = EMU_INSN_MAX - *len;
	enum emulate_result result;
	u64 linear;

	result = emulate_linear(ctxt, EMU_CS, ctxt->rip + *len, 1,
				EMU_ACCESS_FETCH, &linear);
	if (result != EMU_DONE)
		return result;
	result = ctxt->ops->read(ctxt, linear, bytes + *len, rest,
				 EMU_ACCESS_FETCH);
	if (result != EMU_DONE)
		return result;
	*len = EMU_INSN_MAX;
	return EMU_DONE;
}

/* What emulate_decode() answered, as a result. */
static enum emulate_result decode_result(struct emulate_ctxt *ctxt, int err)
{
	u64 linear;

	switch (err) {
	case 0:
		if (ctxt->mode == EMU_MODE_LONG64)
			return EMU_DONE;
		return emulate_linear(ctxt, EMU_CS, ctxt->rip,
				      ctxt->insn.length, EMU_ACCESS_FETCH,
				      &linear);
	case -EINVAL:
		if (ctxt->insn.fault == EMU_VEC_GP)
			return fault_zero(ctxt, EMU_VEC_GP);
		ctxt->fault.vector = ctxt->insn.fault;
		ctxt->fault.has_error = false;
		return EMU_FAULT;
	default:
		return EMU_UNHANDLEABLE;
	}
}

enum emulate_result emulate_fetch_insn(struct emulate_ctxt *ctxt, u8 *bytes,
				       unsigned int *len)
{
	enum emulate_result result;
	unsigned int in_page;
	u64 linear;
	int err;

	*len = 0;
	result = emulate_linear(ctxt, EMU_CS, ctxt->rip, 1, EMU_ACCESS_FETCH,
				&linear);
	if (result != EMU_DONE)
		return result;
	in_page = PAGE_BYTES - (linear & (PAGE_BYTES - 1));
	if (in_page > EMU_INSN_MAX)
		in_page = EMU_INSN_MAX;
	result = ctxt->ops->read(ctxt, linear, bytes, in_page,
				 EMU_ACCESS_FETCH);
	if (result != EMU_DONE)
		return result;
	*len = in_page;

	err = emulate_decode(&ctxt->insn, bytes, in_page, ctxt->mode);
	if (err == -EAGAIN) {
		result = fetch_rest(ctxt, bytes, len);
		if (result != EMU_DONE)
			return result;
		err = emulate_decode(&ctxt->insn, bytes, *len, ctxt->mode);
	}
	return decode_result(ctxt, err);
}

KILN_EXPORT_FOR_KUNIT(emulate_fetch_insn);
