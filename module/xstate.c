// SPDX-License-Identifier: GPL-2.0-only
/*
 * FPU and extended state. The registers live in a struct fpu_guest, which the
 * kernel swaps with the task's own around KVM_RUN; the ioctls here work on that
 * memory while it is not in the registers. In it a component may be left in its
 * initial configuration without its bytes being written, so everything goes
 * through the kernel's copy functions, which know.
 */
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include <asm/processor.h>

#include "compat.h"
#include "cpuid.h"
#include "state.h"
#include "vcpu.h"

#define FP_AND_SSE	(XFEATURE_MASK_FP | XFEATURE_MASK_SSE)

/*
 * Components a guest may have. MPX is gone, PKRU and CET need switching of
 * their own, AMX needs its permission model.
 */
#define GUEST_XFEATURES							\
	(XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM |	\
	 XFEATURE_MASK_AVX512)

#define XSAVE_HEADER_END	(512 + 64)	/* SDM vol. 1 §13.4 */

/* CPUID leaf 0xd, a row per component; const after kiln_xstate_init(). */
static struct component {
	u32 size;
	u32 offset;		/* in the standard form */
	bool aligned;		/* to 64 bytes in the compacted form */
} components[XFEATURE_MAX] __ro_after_init;

static u64 supported_xcr0 __ro_after_init;

void __init kiln_xstate_init(void)
{
	u32 size, offset, flags, unused;
	int i;

	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		return;
	supported_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK) & GUEST_XFEATURES;
	for (i = XFEATURE_YMM; i < XFEATURE_MAX; i++) {
		cpuid_count(0xd, i, &size, &offset, &flags, &unused);
		components[i].size = size;
		components[i].offset = offset;
		components[i].aligned = flags & BIT(1);
	}
}

u64 kiln_xstate_supported(void)
{
	return supported_xcr0;
}

KILN_EXPORT_FOR_KUNIT(kiln_xstate_supported);

u32 kiln_xstate_size(u64 features, bool compacted)
{
	u32 end = XSAVE_HEADER_END;
	int i;

	for (i = XFEATURE_YMM; i < XFEATURE_MAX; i++) {
		const struct component *c = &components[i];

		if (!(features & BIT_ULL(i)))
			continue;
		if (!compacted)
			end = max(end, c->offset + c->size);
		else
			end = (c->aligned ? ALIGN(end, 64) : end) + c->size;
	}
	return end;
}

KILN_EXPORT_FOR_KUNIT(kiln_xstate_size);

int kiln_xstate_create(struct kiln_vcpu *vcpu)
{
	if (!fpu_alloc_guest_fpstate(&vcpu->fpu))
		return -ENOMEM;
	vcpu->xcr0 = XFEATURE_MASK_FP;
	return 0;
}

void kiln_xstate_free(struct kiln_vcpu *vcpu)
{
	if (vcpu->fpu.fpstate)
		fpu_free_guest_fpstate(&vcpu->fpu);
}

/* SDM vol. 1 §13.3: which combinations of bits XSETBV takes. */
static bool xcr0_valid(struct kiln_vcpu *vcpu, u64 xcr0)
{
	if (!(xcr0 & XFEATURE_MASK_FP))
		return false;
	if (xcr0 & ~(vcpu->guest_supported_xcr0 | XFEATURE_MASK_FP))
		return false;
	if ((xcr0 & XFEATURE_MASK_YMM) && !(xcr0 & XFEATURE_MASK_SSE))
		return false;
	if (xcr0 & XFEATURE_MASK_AVX512) {
		if (!(xcr0 & XFEATURE_MASK_YMM))
			return false;
		if ((xcr0 & XFEATURE_MASK_AVX512) != XFEATURE_MASK_AVX512)
			return false;
	}
	return true;
}

int kiln_xcr_set(struct kiln_vcpu *vcpu, u32 xcr, u64 val)
{
	if (xcr != XCR_XFEATURE_ENABLED_MASK || !xcr0_valid(vcpu, val))
		return 1;
	if (vcpu->xcr0 == val)
		return 0;
	vcpu->xcr0 = val;
	kiln_cpuid_refresh(vcpu);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_xcr_set);

void kiln_xcrs_get(struct kiln_vcpu *vcpu, struct kvm_xcrs *xcrs)
{
	memset(xcrs, 0, sizeof(*xcrs));
	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		return;
	xcrs->nr_xcrs = 1;
	xcrs->xcrs[0].xcr = XCR_XFEATURE_ENABLED_MASK;
	xcrs->xcrs[0].value = vcpu->xcr0;
}

int kiln_xcrs_set(struct kiln_vcpu *vcpu, const struct kvm_xcrs *xcrs)
{
	u32 i;

	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		return -EINVAL;
	if (xcrs->nr_xcrs > KVM_MAX_XCRS || xcrs->flags)
		return -EINVAL;
	/* Others than XCR0 are let pass: there are none to set. */
	for (i = 0; i < xcrs->nr_xcrs; i++)
		if (xcrs->xcrs[i].xcr == XCR_XFEATURE_ENABLED_MASK)
			return kiln_xcr_set(vcpu, XCR_XFEATURE_ENABLED_MASK,
					    xcrs->xcrs[i].value) ? -EINVAL : 0;
	return 0;
}

/*
 * The state as user space would see it: the standard form of XSAVE, initial
 * components filled in. One kilobyte of words is the ABI's size; a component
 * that does not fit would have to be asked for first.
 */
static union fpregs_state *xstate_copy(struct kiln_vcpu *vcpu)
{
	union fpregs_state *state;

	state = kvzalloc(vcpu->fpu.uabi_size, GFP_KERNEL_ACCOUNT);
	if (state)
		fpu_copy_guest_fpstate_to_uabi(&vcpu->fpu, state,
					       vcpu->fpu.uabi_size,
					       supported_xcr0 |
					       FP_AND_SSE,
					       vcpu->pkru);
	return state;
}

static int xstate_put(struct kiln_vcpu *vcpu, const union fpregs_state *state)
{
	return fpu_copy_uabi_to_guest_fpstate(&vcpu->fpu, state,
					      supported_xcr0 |
					      FP_AND_SSE,
					      &vcpu->pkru);
}

/* struct kvm_fpu holds the abridged tag word, as FXSAVE does. */
static void fpu_from_fxsave(struct kvm_fpu *fpu, const struct fxregs_state *fx)
{
	memcpy(fpu->fpr, fx->st_space, sizeof(fpu->fpr));
	memcpy(fpu->xmm, fx->xmm_space, sizeof(fpu->xmm));
	fpu->fcw = fx->cwd;
	fpu->fsw = fx->swd;
	fpu->ftwx = fx->twd;
	fpu->last_opcode = fx->fop;
	fpu->last_ip = fx->rip;
	fpu->last_dp = fx->rdp;
	fpu->mxcsr = fx->mxcsr;
}

static void fxsave_from_fpu(struct fxregs_state *fx, const struct kvm_fpu *fpu)
{
	memcpy(fx->st_space, fpu->fpr, sizeof(fpu->fpr));
	memcpy(fx->xmm_space, fpu->xmm, sizeof(fpu->xmm));
	fx->cwd = fpu->fcw;
	fx->swd = fpu->fsw;
	fx->twd = fpu->ftwx;
	fx->fop = fpu->last_opcode;
	fx->rip = fpu->last_ip;
	fx->rdp = fpu->last_dp;
	fx->mxcsr = fpu->mxcsr;
}

int kiln_fpu_get(struct kiln_vcpu *vcpu, struct kvm_fpu *fpu)
{
	union fpregs_state *state = xstate_copy(vcpu);

	if (!state)
		return -ENOMEM;
	memset(fpu, 0, sizeof(*fpu));
	fpu_from_fxsave(fpu, &state->fxsave);
	kvfree(state);
	return 0;
}

int kiln_fpu_set(struct kiln_vcpu *vcpu, const struct kvm_fpu *fpu)
{
	union fpregs_state *state = xstate_copy(vcpu);
	int ret;

	if (!state)
		return -ENOMEM;
	fxsave_from_fpu(&state->fxsave, fpu);
	state->xsave.header.xfeatures |= FP_AND_SSE;
	ret = xstate_put(vcpu, state);
	kvfree(state);
	return ret;
}

int kiln_xsave_get(struct kiln_vcpu *vcpu, struct kvm_xsave __user *user)
{
	union fpregs_state *state;
	int ret = 0;

	if (vcpu->fpu.uabi_size > sizeof(struct kvm_xsave))
		return -EINVAL;
	state = xstate_copy(vcpu);
	if (!state)
		return -ENOMEM;
	if (copy_to_user(user, state, sizeof(struct kvm_xsave)))
		ret = -EFAULT;
	kvfree(state);
	return ret;
}

int kiln_xsave_set(struct kiln_vcpu *vcpu, struct kvm_xsave __user *user)
{
	size_t size = max_t(size_t, vcpu->fpu.uabi_size,
			    sizeof(struct kvm_xsave));
	void *state;
	int ret;

	state = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!state)
		return -ENOMEM;
	ret = copy_from_user(state, user, sizeof(struct kvm_xsave)) ?
		-EFAULT : xstate_put(vcpu, state);
	kvfree(state);
	return ret;
}
