/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VMCS accessors, one per width of field (SDM vol. 3 §25.11.2). The width is
 * part of the encoding, so a wrong accessor does not compile. A VMREAD or
 * VMWRITE that fails is reported once and yields 0; one that faults, because
 * a reboot or crash took VMX away under us, is silent.
 */
#ifndef KILN_VMX_VMCS_H
#define KILN_VMX_VMCS_H

#include <linux/build_bug.h>
#include <linux/types.h>
#include <asm/asm.h>
#include <asm/vmx.h>

/* For an instruction at label 1 that faults once VMX is gone. */
#define VMX_EXTABLE_GONE	_ASM_EXTABLE(1b, %l[gone])

#define VMCS_WIDTH(field)	(((field) >> 13) & 3)
#define VMCS_WIDTH_16		0
#define VMCS_WIDTH_64		1
#define VMCS_WIDTH_32		2
#define VMCS_WIDTH_NATURAL	3

void vmcs_read_failed(unsigned long field);
void vmcs_write_failed(unsigned long field, unsigned long val);

static __always_inline unsigned long __vmcs_read(unsigned long field)
{
	unsigned long val;

	asm volatile goto("1: vmread %[field], %[val]\n\t"
			  "jna %l[failed]\n\t"
			  VMX_EXTABLE_GONE
			  : [val] "=r" (val) : [field] "r" (field)
			  : "cc" : failed, gone);
	return val;
failed:
	vmcs_read_failed(field);
gone:
	return 0;
}

static __always_inline void __vmcs_write(unsigned long field,
					 unsigned long val)
{
	asm volatile goto("1: vmwrite %[val], %[field]\n\t"
			  "jna %l[failed]\n\t"
			  VMX_EXTABLE_GONE
			  : : [val] "rm" (val), [field] "r" (field)
			  : "cc" : failed, gone);
	return;
failed:
	vmcs_write_failed(field, val);
gone:
	return;
}

#define VMCS_CHECK(field, width) \
	BUILD_BUG_ON_MSG(__builtin_constant_p(field) && \
			 VMCS_WIDTH(field) != (width), \
			 "VMCS accessor does not fit " #field)

static __always_inline u16 vmcs_read16(unsigned long field)
{
	VMCS_CHECK(field, VMCS_WIDTH_16);
	return __vmcs_read(field);
}

static __always_inline u32 vmcs_read32(unsigned long field)
{
	VMCS_CHECK(field, VMCS_WIDTH_32);
	return __vmcs_read(field);
}

static __always_inline u64 vmcs_read64(unsigned long field)
{
	VMCS_CHECK(field, VMCS_WIDTH_64);
	return __vmcs_read(field);
}

static __always_inline unsigned long vmcs_readl(unsigned long field)
{
	VMCS_CHECK(field, VMCS_WIDTH_NATURAL);
	return __vmcs_read(field);
}

static __always_inline void vmcs_write16(unsigned long field, u16 val)
{
	VMCS_CHECK(field, VMCS_WIDTH_16);
	__vmcs_write(field, val);
}

static __always_inline void vmcs_write32(unsigned long field, u32 val)
{
	VMCS_CHECK(field, VMCS_WIDTH_32);
	__vmcs_write(field, val);
}

static __always_inline void vmcs_write64(unsigned long field, u64 val)
{
	VMCS_CHECK(field, VMCS_WIDTH_64);
	__vmcs_write(field, val);
}

static __always_inline void vmcs_writel(unsigned long field, unsigned long val)
{
	VMCS_CHECK(field, VMCS_WIDTH_NATURAL);
	__vmcs_write(field, val);
}

#endif /* KILN_VMX_VMCS_H */
