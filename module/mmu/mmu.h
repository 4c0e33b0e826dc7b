/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: memory slots, the second-stage page tables built from them,
 * and access to guest memory for the rest of the module.
 *
 * This room knows nothing of VMX or SVM, of VMs or of vCPUs. Its two objects,
 * struct kiln_mmu and struct kiln_mmu_cpu, are embedded in theirs; the format
 * of a page-table entry and the way to flush translations are handed to it.
 */
#ifndef KILN_MMU_H
#define KILN_MMU_H

#include <linux/bits.h>
#include <linux/kvm.h>
#include <linux/mm_types.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "span.h"

struct kiln_mmu_link;
struct kiln_slot;
struct kiln_slot_array;

/* KVM_CAP_NR_MEMSLOTS */
#define KILN_NR_SLOTS		32764

/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
#define KILN_DIRTY_LOG_FLAGS	(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | \
				 KVM_DIRTY_LOG_INITIALLY_SET)

/* What kiln_mmu_gpa_to_hva() answers where there is no memory. */
#define KILN_HVA_BAD		(~0UL)

/*
 * How the guest touched memory. The values are those of bits 2:0 of the exit
 * qualification of an EPT violation (SDM vol. 3, table 27-7).
 */
#define KILN_ACCESS_READ	BIT(0)
#define KILN_ACCESS_WRITE	BIT(1)
#define KILN_ACCESS_EXEC	BIT(2)

enum kiln_memtype {
	KILN_MEMTYPE_WB,	/* RAM */
	KILN_MEMTYPE_UC,	/* anything else */
	KILN_NR_MEMTYPES
};

/* Levels of a radix tree, leaf first: 4K, 2M, 1G pages. */
#define KILN_PT_4K		1
#define KILN_PT_2M		2
#define KILN_PT_1G		3
#define KILN_PT_MAX_LEVEL	5

/**
 * struct kiln_pt_format - what a second-stage page-table entry looks like
 * @present_mask: with @present_value: an entry e translates (is a table or a
 *	leaf) if (e & @present_mask) == @present_value
 * @present_value: see @present_mask
 * @table: bits of an entry that refers to a table
 * @leaf: bits every leaf has
 * @write: set where writes are allowed
 * @exec: set where instruction fetch is allowed
 * @noexec: set where it is not
 * @large: set in a leaf above level 1
 * @accessed: set by hardware on first use; 0 if hardware does not
 * @dirty: set by hardware on first write; 0 if hardware does not
 * @memtype: bits of a leaf, by enum kiln_memtype
 * @mmio_mask: with @mmio_value: an entry e marks device addresses if
 *	(e & @mmio_mask) == @mmio_value
 * @mmio_value: the marker; causes an exit of its own kind, never translates,
 *	is not cached by the processor, and holds no address
 * @addr: bits holding the physical address
 * @sw_tracked: ignored by hardware: the page's accessed and dirty state
 *	belongs to the host's page (see kiln_pt.gone)
 * @max_level: levels of the tree, 4 or 5
 * @leaf_levels: bit per level on which a leaf may stand
 * @small_exec: only 4K leaves may be executed from: on processors that take a
 *	machine check where an instruction page changes its size under them
 *	(CVE-2018-12207, iTLB multihit) a guest could stop the host
 *
 * Constant once given to kiln_mmu_init().
 */
struct kiln_pt_format {
	u64 present_mask;
	u64 present_value;
	u64 table;
	u64 leaf;
	u64 write;
	u64 exec;
	u64 noexec;
	u64 large;
	u64 accessed;
	u64 dirty;
	u64 memtype[KILN_NR_MEMTYPES];
	u64 mmio_mask;
	u64 mmio_value;
	u64 addr;
	u64 sw_tracked;
	u8 max_level;
	u8 leaf_levels;
	bool small_exec;
};

/**
 * kiln_pt_format_ept() - describe the entries of Intel's extended page tables
 * @fmt: filled in
 * @ad: EPTP enables accessed and dirty flags
 * @huge_2m: IA32_VMX_EPT_VPID_CAP has 2-Mbyte pages
 * @huge_1g: IA32_VMX_EPT_VPID_CAP has 1-Gbyte pages
 *
 * Four levels, write-back tables (SDM vol. 3 §28.3).
 */
void kiln_pt_format_ept(struct kiln_pt_format *fmt, bool ad, bool huge_2m,
			bool huge_1g);

/**
 * kiln_pt_format_npt() - describe the entries of AMD's nested page tables
 * @fmt: filled in
 * @levels: 4 or 5, as many as the host's own page tables have (APM vol. 2
 *	§15.25.3)
 * @huge_1g: CPUID Fn8000_0001_EDX has 1-Gbyte pages
 *
 * Write-back tables; encrypted, as is RAM, where the host encrypts its memory.
 */
void kiln_pt_format_npt(struct kiln_pt_format *fmt, u8 levels, bool huge_1g);

/**
 * kiln_pt_format_npt_of() - the same, for a machine that is described
 * @fmt: filled in
 * @levels: 4 or 5
 * @huge_1g: 1-Gbyte pages
 * @phys_bits: width of a physical address, CPUID Fn8000_0008_EAX[7:0]
 * @encryption: the address bit that means encryption, or 0
 * @mask: @encryption if it is in use, else 0
 */
void kiln_pt_format_npt_of(struct kiln_pt_format *fmt, u8 levels, bool huge_1g,
			   unsigned int phys_bits, u64 encryption, u64 mask);

/**
 * struct kiln_pt - one radix tree; see pgtable.h
 * @fmt: [c] format of its entries
 * @root: [c] the top-level table
 * @gone: [c] told of each leaf with @fmt.sw_tracked that was removed, or NULL
 */
struct kiln_pt {
	const struct kiln_pt_format *fmt;
	u64 *root;
	void (*gone)(u64 pfn, int level, bool accessed, bool dirty);
};

#define KILN_PT_CACHE_PAGES	(KILN_PT_MAX_LEVEL - 1)

/**
 * struct kiln_pt_cache - zeroed pages for tables, so that none has to be
 * allocated under a lock
 * @page: the first @nr are available
 * @nr: 0 to KILN_PT_CACHE_PAGES
 */
struct kiln_pt_cache {
	void *page[KILN_PT_CACHE_PAGES];
	unsigned int nr;
};

/**
 * struct kiln_slots - the memory slots of a VM; see slots.h
 * @array: [l, RCU] sorted by guest address
 * @generation: [l, RCU] changes whenever a slot does; never 0
 * @by_hva: [l] interval tree by host virtual address
 * @by_id: [s] by slot number
 * @gpa_bits: [c] width of a guest-physical address
 * @logged: [l] how many slots have a dirty log; read by any
 * @manual: [s] KVM_DIRTY_LOG_*: how user space wants dirty logs
 *
 * The letters are those of struct kiln_mmu.
 */
struct kiln_slots {
	struct kiln_slot_array __rcu *array;
	unsigned long generation;
	struct rb_root_cached by_hva;
	struct xarray by_id;
	unsigned int gpa_bits;
	unsigned int logged;
	u64 manual;
};

/**
 * struct kiln_mmu - guest memory of one VM
 * @link: [c] the mmu lock and the MMU notifier; lives on after this struct
 * @mm: [c] owner of the memory; the VM holds mm_count
 * @flush: [l] see kiln_mmu_init()
 * @pt: [l] the second-stage page table
 * @slots_lock: held for writing while slots change, and for reading across
 *	accesses to guest memory that may sleep
 * @slots: see struct kiln_slots
 * @frozen_start: host addresses that kiln_mmu_freeze() has taken from all; read
 *	under RCU
 * @frozen_end: see @frozen_start; 0: none. Both are written under slots_lock
 * @zaps: [l] leaves removed
 * @flushes: [l] calls of @flush
 * @devices: memory that is not RAM was mapped once; set under the read side of
 *	the mmu lock, read by anyone
 *
 * Locks: [l] the mmu lock, link->lock, a reader/writer spinlock: entries are
 * added and made more permissive under the read side, everything else is done
 * under the write side; [s] slots_lock; [c] constant after kiln_mmu_init().
 * Order: slots_lock, then mmap_lock, then the mmu lock, which nests inside
 * the host's page-table locks. The mmu lock is never taken with interrupts
 * off: its holder may be waiting in @flush for this CPU's answer to an IPI.
 */
struct kiln_mmu {
	struct kiln_mmu_link *link;
	struct mm_struct *mm;
	void (*flush)(struct kiln_mmu *mmu);
	struct kiln_pt pt;
	struct rw_semaphore slots_lock;
	struct kiln_slots slots;
	unsigned long frozen_start;
	unsigned long frozen_end;
	u64 zaps;
	u64 flushes;
	bool devices;
};

/**
 * struct kiln_mmu_cpu - what one vCPU keeps to make faults and lookups cheap
 * @slot: the slot found last; valid while @generation is the VM's
 * @generation: see @slot
 * @cache: pages for new tables
 * @mapped: faults that ended with a new or more permissive leaf, by level
 * @spurious: faults that found the access allowed already
 * @mmio: device entries installed
 * @host_faults: faults for which the host's page had to be made first
 *
 * All of it belongs to the thread that holds the vCPU. Zeroed memory is an
 * initialised struct. Counters may be read by anyone (they may lag).
 */
struct kiln_mmu_cpu {
	const struct kiln_slot *slot;
	unsigned long generation;
	struct kiln_pt_cache cache;
	u64 mapped[KILN_PT_1G + 1];
	u64 spurious;
	u64 mmio;
	u64 host_faults;
};

/**
 * kiln_mmu_init() - prepare guest memory of a new VM: no slots, empty tables
 * @mmu: to be initialised
 * @mm: the caller's mm; the caller keeps mm_count while @mmu lives
 * @fmt: entry format; must outlive @mmu
 * @flush: makes every vCPU of the VM drop its second-stage translations and
 *	page-walk caches (INVEPT) and returns when none can use old ones any
 *	more. Called with the mmu lock held, or by the notifier: must not sleep,
 *	must not call back into this room.
 *
 * The root's page may have been another VM's before: a CPU must flush what it
 * holds for kiln_mmu_root() before it enters this guest for the first time.
 *
 * Return: 0, -ENOMEM, or -EINTR (a signal is pending).
 * Context: process; takes mmap_lock for writing.
 */
int kiln_mmu_init(struct kiln_mmu *mmu, struct mm_struct *mm,
		  const struct kiln_pt_format *fmt,
		  void (*flush)(struct kiln_mmu *mmu));

/**
 * kiln_mmu_destroy() - free all of it
 * @mmu: no vCPU of it runs any more and nobody else uses it
 *
 * Does not call the flush function. Waits for no grace period: the memory of
 * @mmu may be freed upon return. The part that the MMU notifier may still look
 * at is freed later; unloading the module waits for that in kiln_mmu_exit().
 *
 * Context: process, any mm.
 */
void kiln_mmu_destroy(struct kiln_mmu *mmu);

/**
 * kiln_mmu_exit() - wait for what kiln_mmu_destroy() left behind
 *
 * To be called on module unload, after the last kiln_mmu_destroy().
 */
void kiln_mmu_exit(void);

/**
 * kiln_mmu_cpu_destroy() - give back the pages a vCPU kept
 * @cpu: of a vCPU that runs no more
 */
void kiln_mmu_cpu_destroy(struct kiln_mmu_cpu *cpu);

/**
 * kiln_mmu_root() - where the top-level table is
 * @mmu: the VM's
 *
 * Return: its physical address, constant while @mmu lives.
 */
phys_addr_t kiln_mmu_root(const struct kiln_mmu *mmu);

/**
 * kiln_mmu_set_region() - KVM_SET_USER_MEMORY_REGION
 * @mmu: the VM's
 * @region: copied from user space, otherwise unchecked
 *
 * Creates, moves or deletes a slot, or switches its dirty log on or off, as
 * api.rst §4.35 says. Upon return from a move or a delete nothing of kiln uses the
 * old one any more; once a log is switched on, all writes that follow are in it.
 * Writes that bypass this room (see kiln_mmu_wrote()) are held meanwhile.
 *
 * Return: 0; -EINVAL: misaligned, out of range, wrapping or unknown flags, an
 * attribute that cannot change, or deletion of a slot that is not there; -EEXIST:
 * overlaps another slot; -ENOMEM; -EINTR: fatal signal.
 * Context: process, of the VM's mm; may sleep.
 */
int kiln_mmu_set_region(struct kiln_mmu *mmu,
			const struct kvm_userspace_memory_region *region);

/**
 * kiln_mmu_set_manual() - KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2
 * @mmu: the VM's
 * @manual: KVM_DIRTY_LOG_*
 *
 * Logs that are switched on already keep their bits.
 *
 * Return: 0; -EINVAL: unknown bits, or INITIALLY_SET without ENABLE; -EINTR.
 * Context: process; may sleep.
 */
int kiln_mmu_set_manual(struct kiln_mmu *mmu, u64 manual);

/**
 * kiln_mmu_get_dirty() - KVM_GET_DIRTY_LOG
 * @mmu: the VM's
 * @id: slot number
 * @to: user memory for a bit per page, in words of 64
 *
 * Unless clearing is the caller's own business (kiln_mmu_set_manual()) the bits
 * handed out are cleared and their pages watched again: what the guest writes
 * from then on is in the next log.
 *
 * Return: 0; -EINVAL: no such slot number; -ENOENT: no slot, or none that is
 * logged; -EFAULT: what could not be handed out is still in the log; -ENOMEM;
 * -EINTR: fatal signal.
 * Context: process, of the VM's mm; may sleep.
 */
int kiln_mmu_get_dirty(struct kiln_mmu *mmu, u32 id, void __user *to);

/**
 * kiln_mmu_clear_dirty() - KVM_CLEAR_DIRTY_LOG
 * @mmu: the VM's
 * @id: slot number
 * @first: page of the slot, a multiple of 64
 * @nr: pages, a multiple of 64 unless the slot ends there
 * @from: user memory with a bit for each page to be cleared and watched again
 *
 * Return: 0; -EINVAL: no such slot number, or pages that are not as above;
 * -ENOENT, -EFAULT, -ENOMEM, -EINTR: as kiln_mmu_get_dirty(); then nothing has
 * changed.
 * Context: process, of the VM's mm; may sleep.
 */
int kiln_mmu_clear_dirty(struct kiln_mmu *mmu, u32 id, u64 first, u64 nr,
			 const void __user *from);

/* kiln_mmu_wrote() with a log; nothing in slots that have none. */
void kiln_mmu_log_write(struct kiln_mmu *mmu, unsigned long hva, u64 len);

/**
 * kiln_mmu_logging() - is there a dirty log?
 * @mmu: the VM's
 *
 * Return: whether any slot is logged; does not change while slots do not.
 */
static inline bool kiln_mmu_logging(const struct kiln_mmu *mmu)
{
	return unlikely(READ_ONCE(mmu->slots.logged));
}

/**
 * kiln_mmu_wrote() - guest memory was written through user space's mapping
 * @mmu: the VM's
 * @hva: user address
 * @len: bytes; may cross slots, and be in none
 *
 * For whoever does not use kiln_mmu_write() and its like, which do that
 * themselves. Only after the write. The caller keeps slots from changing from
 * before the write until after this, or knows that the call that changes them
 * waits for it.
 *
 * Context: process, interrupts on; does not sleep. Takes the mmu lock if there
 * is a log.
 */
static inline void kiln_mmu_wrote(struct kiln_mmu *mmu, unsigned long hva,
				  u64 len)
{
	if (kiln_mmu_logging(mmu))
		kiln_mmu_log_write(mmu, hva, len);
}

/**
 * kiln_mmu_freeze() - nobody of kiln's touches a range until kiln_mmu_thaw()
 * @mmu: the VM's
 * @start: host address, of a page
 * @end: one past the last, of a page
 *
 * vCPUs that do fault again and again, accesses of this room wait, and slots stay
 * as they are. Whoever bypasses this room (see kiln_mmu_wrote()) is the caller's
 * business.
 *
 * Return: 0 with slots_lock held for writing; -EINTR: fatal signal.
 * Context: process, of the VM's mm; may sleep. For a short time only.
 */
int kiln_mmu_freeze(struct kiln_mmu *mmu, unsigned long start,
		    unsigned long end);
void kiln_mmu_thaw(struct kiln_mmu *mmu);

/**
 * kiln_mmu_frozen() - is some of a range frozen?
 * @mmu: the VM's
 * @hva: host address
 * @len: bytes
 *
 * Return: true: use a variant that waits. False: the range is not frozen until the
 * caller leaves the RCU read side.
 * Context: RCU read side.
 */
static inline bool kiln_mmu_frozen(const struct kiln_mmu *mmu,
				   unsigned long hva, size_t len)
{
	/* Pairs with kiln_mmu_freeze(). */
	unsigned long end = smp_load_acquire(&mmu->frozen_end);

	return unlikely(end) && hva < end &&
	       READ_ONCE(mmu->frozen_start) < hva + len;
}

enum kiln_fault {
	KILN_FAULT_MAPPED,	/* let the guest try again */
	KILN_FAULT_MMIO,	/* not memory for this access: emulate it */
};

/**
 * kiln_mmu_fault() - the guest touched what its tables do not allow
 * @mmu: the VM's
 * @cpu: the faulting vCPU's
 * @gpa: what was touched; any value
 * @access: KILN_ACCESS_* bits
 *
 * Where there is no slot, a device entry is installed: later accesses there
 * leave the guest by another exit (EPT misconfiguration), which needs no call
 * of this function. Writes to a read-only slot are KILN_FAULT_MMIO each time.
 * A host page that is poisoned raises SIGBUS (BUS_MCEERR_AR) as well.
 *
 * Return: enum kiln_fault; -EFAULT: no host memory (or not writable) behind the
 * slot; -EHWPOISON; -ENOMEM; -EINTR: fatal signal.
 * Context: process, of the VM's mm, interrupts on; may sleep.
 */
int kiln_mmu_fault(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		   u32 access);

/*
 * Access to guest memory. current->mm must be the VM's: a thread of the VM's
 * process or a kernel thread that did kthread_use_mm(); -EFAULT otherwise. @cpu
 * is the calling vCPU's, or NULL. Accesses may cross pages and slots.
 * Naturally aligned accesses of 1, 2, 4 or 8 bytes are single accesses. The
 * guest (and user space) may change the memory at any time: what is read
 * twice may differ.
 */

/**
 * kiln_mmu_read() - read guest memory
 * @mmu: the VM's
 * @cpu: the calling vCPU's, or NULL
 * @gpa: guest-physical address; any value
 * @buf: where to put it; contents undefined on failure
 * @len: bytes
 *
 * Return: 0; -EFAULT: part of it has no slot or no host memory behind it;
 * -EINTR: fatal signal.
 * Context: process; may sleep.
 */
int kiln_mmu_read(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		  void *buf, size_t len);

/**
 * kiln_mmu_read_atomic() - read guest memory that the host has at hand
 * @mmu: the VM's
 * @cpu: the calling vCPU's, or NULL
 * @gpa: guest-physical address; any value
 * @buf: where to put it; contents undefined on failure
 * @len: bytes
 *
 * Return: 0, or -EFAULT, also where kiln_mmu_read() would have slept.
 * Context: any but NMI.
 */
int kiln_mmu_read_atomic(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu,
			 u64 gpa, void *buf, size_t len);

/**
 * struct kiln_mmu_word - eight bytes of guest memory, as they were
 * @hva: where user space has them; inside one page
 * @val: what they held
 */
struct kiln_mmu_word {
	unsigned long hva;
	u64 val;
};

/**
 * kiln_mmu_generation() - of the memory slots
 * @mmu: the VM's
 *
 * Return: a number that is another one after each change of the slots.
 */
static inline unsigned long kiln_mmu_generation(const struct kiln_mmu *mmu)
{
	/* before the slots: pairs with kiln_slots_publish() */
	return smp_load_acquire(&mmu->slots.generation);
}

/**
 * kiln_mmu_unchanged() - does guest memory hold what it held?
 * @mmu: the VM's
 * @generation: of the slots when the words' addresses were found
 * @words: the words; addresses from kiln_mmu_gpa_to_hva()
 * @nr: how many
 *
 * Return: true if it does; false if not, if the slots have changed since, or
 * if the host does not have the memory at hand.
 * Context: the VM's mm; does not sleep.
 */
bool kiln_mmu_unchanged(struct kiln_mmu *mmu, unsigned long generation,
			const struct kiln_mmu_word *words, unsigned int nr);

/**
 * kiln_mmu_write() - write guest memory
 * @mmu: the VM's
 * @cpu: the calling vCPU's, or NULL
 * @gpa: guest-physical address; any value
 * @buf: what to write
 * @len: bytes
 *
 * Return: 0; -EFAULT: part of it has no slot, a read-only slot, or no
 * writable host memory behind it (earlier parts may have been written);
 * -EINTR: fatal signal.
 * Context: process; may sleep.
 */
int kiln_mmu_write(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		   const void *buf, size_t len);

/**
 * kiln_mmu_cmpxchg() - compare and exchange guest memory atomically
 * @mmu: the VM's
 * @cpu: the calling vCPU's, or NULL
 * @gpa: guest-physical address, aligned to @size
 * @old: what is expected; replaced by what was found if that differs
 * @new: what to put there
 * @size: 1, 2, 4 or 8 bytes
 * @ok: set: whether memory was as expected and has been changed
 *
 * Return: 0; -EINVAL: misaligned or another size; -EFAULT: as
 * kiln_mmu_write(); -EINTR: fatal signal.
 * Context: process; may sleep.
 */
int kiln_mmu_cmpxchg(struct kiln_mmu *mmu, struct kiln_mmu_cpu *cpu, u64 gpa,
		     u64 *old, u64 new, unsigned int size, bool *ok);

/**
 * kiln_mmu_gpa_to_hva() - where user space has a guest address
 * @mmu: the VM's
 * @cpu: the calling vCPU's, or NULL
 * @gpa: guest-physical address; any value
 * @writable: set: whether the guest may write there; may be NULL
 *
 * The answer is a hint: slots may change as soon as it is given.
 *
 * Return: host virtual address, or KILN_HVA_BAD where there is no slot.
 * Context: any.
 */
unsigned long kiln_mmu_gpa_to_hva(struct kiln_mmu *mmu,
				  struct kiln_mmu_cpu *cpu, u64 gpa,
				  bool *writable);

/**
 * struct kiln_gpa_cache - a piece of guest memory that is accessed often
 * @gpa: where it is
 * @generation: of the slots when @hva was found; 0: never, or all the rest is
 *	about to change
 * @slot: it is in; valid while @generation is the VM's
 * @hva: of @gpa, or KILN_HVA_BAD if it is not inside one slot
 * @len: bytes
 * @writable: the guest may write there
 *
 * Belongs to one thread at a time (the vCPU's), and to the scheduler in its
 * name: kiln_gpa_cache_write_atomic(), which may come at any instruction.
 */
struct kiln_gpa_cache {
	u64 gpa;
	unsigned long generation;
	const struct kiln_slot *slot;
	unsigned long hva;
	u32 len;
	bool writable;
};

/**
 * kiln_gpa_cache_init() - choose the memory
 * @mmu: the VM's
 * @cache: to be initialised; need not be freed
 * @gpa: guest-physical address; any value
 * @len: bytes, at least 1
 *
 * Return: 0, or -EFAULT: not all of it is in slots (@cache is usable all the
 * same: slots may come).
 * Context: any.
 */
int kiln_gpa_cache_init(struct kiln_mmu *mmu, struct kiln_gpa_cache *cache,
			u64 gpa, u32 len);

/**
 * kiln_gpa_cache_read() - read part of it
 * @mmu: the VM's
 * @cache: the memory
 * @offset: into it
 * @buf: where to put it
 * @len: bytes; @offset + @len is at most cache->len
 *
 * Return and context: as kiln_mmu_read(); -EINVAL: not within @cache.
 */
int kiln_gpa_cache_read(struct kiln_mmu *mmu, struct kiln_gpa_cache *cache,
			u32 offset, void *buf, u32 len);

/**
 * kiln_gpa_cache_write() - write part of it
 * @mmu: the VM's
 * @cache: the memory
 * @offset: into it
 * @buf: what to write
 * @len: bytes; @offset + @len is at most cache->len
 *
 * Return and context: as kiln_mmu_write(); -EINVAL: not within @cache.
 */
int kiln_gpa_cache_write(struct kiln_mmu *mmu, struct kiln_gpa_cache *cache,
			 u32 offset, const void *buf, u32 len);

/**
 * kiln_gpa_cache_write_atomic() - write part of it if the host has it at hand
 * @mmu: the VM's
 * @cache: the memory
 * @offset: into it
 * @buf: what to write
 * @len: bytes; @offset + @len is at most cache->len
 *
 * Return: 0, or -EFAULT, also where kiln_gpa_cache_write() would have slept or
 * looked for the slot again.
 * Context: any but NMI; also with locks of the scheduler held.
 */
int kiln_gpa_cache_write_atomic(struct kiln_mmu *mmu,
				struct kiln_gpa_cache *cache, u32 offset,
				const void *buf, u32 len);

#endif /* KILN_MMU_H */
