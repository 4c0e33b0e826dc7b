// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory as the rest of the module uses it, through user space's mapping
 * of it: so the host's own page faults, dirty tracking and copy-on-write work.
 *
 * A piece that lies in one slot is first tried with page faults disabled, under
 * RCU: that is all there is to it while the host has the page. Otherwise it is
 * done once more, with page faults, under the read side of slots_lock. Either
 * keeps the slot from being deleted, that is, user space from using its memory
 * for something else, until the access is done.
 *
 * Host addresses need no access_ok(): slots.c has checked those of all slots.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "../compat.h"
#include "slots.h"

/* A piece of guest memory within one slot. */
struct guest_piece {
	const struct kiln_slot *slot;
	unsigned long hva;
	size_t len;
	bool writable;
};

#define read_word(type, buf, hva) ({					\
	type __v;							\
	int __r = __get_user(__v, (type __user *)(hva));		\
									\
	memcpy(buf, &__v, sizeof(__v));					\
	__r;								\
})

#define write_word(type, buf, hva) ({					\
	type __v;							\
									\
	memcpy(&__v, buf, sizeof(__v));					\
	__put_user(__v, (type __user *)(hva));				\
})

/* Return 0, or something else where page faults could not be resolved. */
static int user_read(void *buf, unsigned long hva, size_t len)
{
	switch (IS_ALIGNED(hva, len) ? len : 0) {
	case 1:
		return read_word(u8, buf, hva);
	case 2:
		return read_word(u16, buf, hva);
	case 4:
		return read_word(u32, buf, hva);
	case 8:
		return read_word(u64, buf, hva);
	}
	return __copy_from_user_inatomic(buf, (void __user *)hva, len) != 0;
}

static int user_write(const void *buf, unsigned long hva, size_t len)
{
	switch (IS_ALIGNED(hva, len) ? len : 0) {
	case 1:
		return write_word(u8, buf, hva);
	case 2:
		return write_word(u16, buf, hva);
	case 4:
		return write_word(u32, buf, hva);
	case 8:
		return write_word(u64, buf, hva);
	}
	return __copy_to_user_inatomic((void __user *)hva, buf, len) != 0;
}

/*
 * @gpa is in @slot. Of a write that fails part may have been done, so it is
 * logged as well.
 */
static int user_access(const struct kiln_slot *slot, u64 gpa, void *buf,
		       unsigned long hva, size_t len, bool write)
{
	int r;

	if (!write)
		return user_read(buf, hva, len);
	r = user_write(buf, hva, len);
	kiln_slot_wrote(slot, gpa, len);
	return r;
}

/* Context: RCU read side. */
static bool guest_find(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		       size_t len, struct guest_piece *piece)
{
	const struct kiln_slot *slot;
	u64 gfn = gpa >> PAGE_SHIFT;
	u64 room;

	slot = kiln_slots_find_cached(&mmu->slots, cpu, gfn);
	if (!slot)
		return false;
	piece->slot = slot;
	room = ((slot->gfn + slot->npages) << PAGE_SHIFT) - gpa;
	piece->hva = kiln_slot_hva(slot, gfn) + offset_in_page(gpa);
	piece->len = min_t(u64, room, len);
	piece->writable = !(slot->flags & KVM_MEM_READONLY);
	return true;
}

static int guest_access_nofault(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu,
				u64 gpa, void *buf, size_t len, bool write,
				struct guest_piece *piece)
{
	int r = -EFAULT;

	rcu_read_lock();
	if (guest_find(mmu, cpu, gpa, len, piece) &&
	    (!write || piece->writable)) {
		pagefault_disable();
		if (!kiln_mmu_frozen(mmu, piece->hva, piece->len))
			r = user_access(piece->slot, gpa, buf, piece->hva,
					piece->len, write);
		pagefault_enable();
		if (r)
			r = -EAGAIN;
	}
	rcu_read_unlock();
	return r;
}

/*
 * The lock the sleeping variants hold. What was found in the array under RCU
 * stays as it is while this is held.
 */
static int guest_find_locked(struct kiln_mmu *mmu, u64 gpa, size_t len,
			     bool write, struct guest_piece *piece)
{
	bool found;

	might_sleep();
	if (down_read_killable(&mmu->slots_lock))
		return -EINTR;
	rcu_read_lock();
	found = guest_find(mmu, NULL, gpa, len, piece);
	rcu_read_unlock();
	if (found && (!write || piece->writable))
		return 0;
	up_read(&mmu->slots_lock);
	return -EFAULT;
}

/*
 * Not being able to make the page is also how a fatal signal shows, which the
 * caller sees soon enough.
 */
static int guest_access_sleeping(struct kiln_mmu *mmu, u64 gpa, void *buf,
				 size_t len, bool write,
				 struct guest_piece *piece)
{
	int r = guest_find_locked(mmu, gpa, len, write, piece);

	if (r)
		return r;
	r = user_access(piece->slot, gpa, buf, piece->hva, piece->len, write) ?
	    -EFAULT : 0;
	up_read(&mmu->slots_lock);
	return r;
}

static int guest_access(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
			void *buf, size_t len, bool write, bool may_sleep)
{
	struct guest_piece piece;
	int r;

	if (unlikely(current->mm != mmu->mm || gpa + len < gpa))
		return -EFAULT;
	while (len) {
		r = guest_access_nofault(mmu, cpu, gpa, buf, len, write,
					 &piece);
		if (r == -EAGAIN)
			r = may_sleep ?
			    guest_access_sleeping(mmu, gpa, buf, len, write,
						  &piece) : -EFAULT;
		if (r)
			return r;
		gpa += piece.len;
		buf += piece.len;
		len -= piece.len;
	}
	return 0;
}

int kiln_mmu_read(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		  void *buf, size_t len)
{
	return guest_access(mmu, cpu, gpa, buf, len, false, true);
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_read);

int kiln_mmu_read_atomic(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu,
			 u64 gpa, void *buf, size_t len)
{
	return guest_access(mmu, cpu, gpa, buf, len, false, false);
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_read_atomic);

int kiln_mmu_write(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		   const void *buf, size_t len)
{
	/* only read from if writing to the guest */
	return guest_access(mmu, cpu, gpa, (void *)buf, len, true, true);
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_write);

/*
 * With preemption off, as the read side of RCU: the slots, and so what user
 * space has at their addresses, stay until this is over.
 */
bool kiln_mmu_unchanged(struct kiln_mmu *mmu, unsigned long generation,
			const struct kiln_mmu_word *words, unsigned int nr)
{
	bool same = false;
	u64 now, differ = 0;
	unsigned int i;

	if (unlikely(current->mm != mmu->mm))
		return false;
	preempt_disable();
	pagefault_disable();
	if (kiln_mmu_generation(mmu) != generation)
		goto out;
	__uaccess_begin_nospec();
	for (i = 0; i < nr; i++) {
		unsafe_get_user(now, (u64 __user *)words[i].hva, fault);
		differ |= now ^ words[i].val;
	}
	same = !differ;
fault:
	__uaccess_end();
out:
	pagefault_enable();
	preempt_enable();
	return same;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_unchanged);

/*
 * Leaves what was found in *@old. The macro of <linux/uaccess.h> tells sizes
 * apart by the type of its pointers; x86 is little-endian, so that the low bytes
 * of a u64 are where those of narrower types are.
 */
static int user_cmpxchg(const struct guest_piece *piece, u64 gpa, u64 *old,
			u64 new, unsigned int size, bool *ok)
{
	void __user *p = (void __user *)piece->hva;

	if (!user_access_begin(p, size))
		return -EFAULT;
	switch (size) {
	case 1:
		*ok = unsafe_try_cmpxchg_user((u8 __user *)p, (u8 *)old,
					      (u8)new, fault);
		break;
	case 2:
		*ok = unsafe_try_cmpxchg_user((u16 __user *)p, (u16 *)old,
					      (u16)new, fault);
		break;
	case 4:
		*ok = unsafe_try_cmpxchg_user((u32 __user *)p, (u32 *)old,
					      (u32)new, fault);
		break;
	case 8:
		*ok = unsafe_try_cmpxchg_user((u64 __user *)p, old, new,
					      fault);
		break;
	}
	user_access_end();
	if (*ok)
		kiln_slot_wrote(piece->slot, gpa, size);
	return 0;
fault:
	user_access_end();
	return -EFAULT;
}

int kiln_mmu_cmpxchg(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		     u64 *old, u64 new, unsigned int size, bool *ok)
{
	struct guest_piece piece;
	int r = -EFAULT;

	*ok = false;
	if (!is_power_of_2(size) || size > 8 || !IS_ALIGNED(gpa, size))
		return -EINVAL;
	if (unlikely(current->mm != mmu->mm))
		return -EFAULT;

	rcu_read_lock();
	if (guest_find(mmu, cpu, gpa, size, &piece) && piece.writable) {
		pagefault_disable();
		if (!kiln_mmu_frozen(mmu, piece.hva, size))
			r = user_cmpxchg(&piece, gpa, old, new, size, ok);
		pagefault_enable();
		if (r)
			r = -EAGAIN;
	}
	rcu_read_unlock();
	if (likely(r != -EAGAIN))
		return r;

	r = guest_find_locked(mmu, gpa, size, true, &piece);
	if (r)
		return r;
	r = user_cmpxchg(&piece, gpa, old, new, size, ok);
	up_read(&mmu->slots_lock);
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_cmpxchg);

unsigned long kiln_mmu_gpa_to_hva(struct kiln_mmu *mmu,
				  struct kiln_mmu_cpu *cpu, u64 gpa,
				  bool *writable)
{
	struct guest_piece piece = { .hva = KILN_HVA_BAD };

	rcu_read_lock();
	guest_find(mmu, cpu, gpa, 1, &piece);
	rcu_read_unlock();
	if (writable)
		*writable = piece.writable;
	return piece.hva;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_gpa_to_hva);

bool kiln_mmu_find_span(struct kiln_mmu *mmu, u64 gpa,
			struct kiln_mmu_span *span)
{
	const struct kiln_slot *slot;

	*span = (struct kiln_mmu_span) {
		/* first: pairs with kiln_slots_publish() */
		.generation = kiln_mmu_generation(mmu),
	};
	rcu_read_lock();
	slot = kiln_slots_find(&mmu->slots, gpa >> PAGE_SHIFT);
	if (slot) {
		span->gpa = slot->gfn << PAGE_SHIFT;
		span->len = slot->npages << PAGE_SHIFT;
		span->hva = slot->base;
		span->writable = !(slot->flags & KVM_MEM_READONLY);
	}
	rcu_read_unlock();
	return slot;
}

KILN_EXPORT_FOR_KUNIT(kiln_mmu_find_span);

/*
 * Wherever in here the thread is preempted, the scheduler may have it write by
 * the same cache: kiln_gpa_cache_write_atomic(). So a generation that is the
 * VM's says that all the rest is of it: it goes before anything changes, and
 * comes back when nothing will. It is one thread, hence only the compiler that
 * might see it otherwise.
 */
static void gpa_cache_forget(struct kiln_gpa_cache *cache)
{
	WRITE_ONCE(cache->generation, 0);
	barrier();
	cache->slot = NULL;
	cache->hva = KILN_HVA_BAD;
}

/* Context: RCU read side. */
static void gpa_cache_refresh(struct kiln_mmu *mmu,
			      struct kiln_gpa_cache *cache)
{
	/* first: pairs with kiln_slots_publish() */
	unsigned long generation = smp_load_acquire(&mmu->slots.generation);
	struct guest_piece piece;

	gpa_cache_forget(cache);
	if (guest_find(mmu, NULL, cache->gpa, cache->len, &piece) &&
	    piece.len >= cache->len) {
		cache->slot = piece.slot;
		cache->hva = piece.hva;
		cache->writable = piece.writable;
	}
	barrier();
	WRITE_ONCE(cache->generation, generation);
}

int kiln_gpa_cache_init(struct kiln_mmu *mmu, struct kiln_gpa_cache *cache,
			u64 gpa, u32 len)
{
	struct guest_piece piece;
	u64 end = gpa + len;
	int r = -EFAULT;

	gpa_cache_forget(cache);
	cache->gpa = gpa;
	cache->len = len;
	if (end < gpa || !len)
		return -EFAULT;
	rcu_read_lock();
	gpa_cache_refresh(mmu, cache);
	for (; gpa < end; gpa += piece.len)
		if (!guest_find(mmu, NULL, gpa, end - gpa, &piece))
			goto unlock;
	r = 0;
unlock:
	rcu_read_unlock();
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_gpa_cache_init);

/* Returns -EAGAIN if this is not one for the fast path. */
static int gpa_cache_access(struct kiln_mmu *mmu, struct kiln_gpa_cache *cache,
			    u32 offset, void *buf, u32 len, bool write)
{
	int r = -EAGAIN;

	if (offset > cache->len || len > cache->len - offset)
		return -EINVAL;
	if (unlikely(current->mm != mmu->mm))
		return -EFAULT;
	rcu_read_lock();
	if (unlikely(cache->generation != READ_ONCE(mmu->slots.generation)))
		gpa_cache_refresh(mmu, cache);
	if (likely(cache->hva != KILN_HVA_BAD &&
		   (!write || cache->writable) &&
		   !kiln_mmu_frozen(mmu, cache->hva + offset, len))) {
		pagefault_disable();
		r = user_access(cache->slot, cache->gpa + offset, buf,
				cache->hva + offset, len, write);
		pagefault_enable();
		if (r)
			r = -EAGAIN;
	}
	rcu_read_unlock();
	return r;
}

int kiln_gpa_cache_read(struct kiln_mmu *mmu, struct kiln_gpa_cache *cache,
			u32 offset, void *buf, u32 len)
{
	int r = gpa_cache_access(mmu, cache, offset, buf, len, false);

	if (likely(r != -EAGAIN))
		return r;
	return kiln_mmu_read(mmu, NULL, cache->gpa + offset, buf, len);
}

KILN_EXPORT_FOR_KUNIT(kiln_gpa_cache_read);

int kiln_gpa_cache_write(struct kiln_mmu *mmu, struct kiln_gpa_cache *cache,
			 u32 offset, const void *buf, u32 len)
{
	/* only read from if writing to the guest */
	int r = gpa_cache_access(mmu, cache, offset, (void *)buf, len, true);

	if (likely(r != -EAGAIN))
		return r;
	return kiln_mmu_write(mmu, NULL, cache->gpa + offset, buf, len);
}

KILN_EXPORT_FOR_KUNIT(kiln_gpa_cache_write);

/*
 * Neither refreshed nor retried: looking the slot up takes no lock, but who is
 * called by the scheduler has other things to do.
 */
int kiln_gpa_cache_write_atomic(struct kiln_mmu *mmu,
				struct kiln_gpa_cache *cache, u32 offset,
				const void *buf, u32 len)
{
	int r = -EFAULT;

	if (current->mm != mmu->mm)
		return -EFAULT;
	rcu_read_lock();
	/* first: the thread may have come to a halt while it changes the rest */
	if (READ_ONCE(cache->generation) == READ_ONCE(mmu->slots.generation) &&
	    cache->hva != KILN_HVA_BAD && cache->writable &&
	    offset <= cache->len && len <= cache->len - offset &&
	    !kiln_mmu_frozen(mmu, cache->hva + offset, len)) {
		r = copy_to_user_nofault((void __user *)cache->hva + offset,
					 buf, len);
		kiln_slot_wrote(cache->slot, cache->gpa + offset, len);
	}
	rcu_read_unlock();
	return r;
}

KILN_EXPORT_FOR_KUNIT(kiln_gpa_cache_write_atomic);
