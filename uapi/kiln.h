/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What /dev/kiln adds to the KVM ABI.
 *
 * Everything in <linux/kvm.h> that kiln implements keeps its number, layout
 * and meaning. The calls below have numbers of their own (type KILNIO), so a
 * program can tell kiln from KVM by asking: on stock KVM they return -ENOTTY.
 */
#ifndef _UAPI_KILN_H
#define _UAPI_KILN_H

#include <linux/ioctl.h>
#include <linux/kvm.h>
#include <linux/types.h>

/* ioctl type, unused in Documentation/userspace-api/ioctl/ioctl-number.rst */
#define KILNIO			0xDC

/**
 * struct kiln_version - answer of KILN_GET_VERSION
 * @major: changes when a call below changes its meaning
 * @minor: grows when something is added
 * @vendor: one of KILN_VENDOR_*, the hardware backend in use
 * @reserved: zero
 * @name: "kiln" and the version as text, NUL-terminated
 */
struct kiln_version {
	__u16 major;
	__u16 minor;
	__u32 vendor;
	__u64 reserved;
	char name[48];
};

#define KILN_VENDOR_INTEL	1
#define KILN_VENDOR_AMD		2

/* On /dev/kiln, a VM or a vCPU. -EFAULT; -EIO: a VM or vCPU of another process. */
#define KILN_GET_VERSION	_IOR(KILNIO, 0x00, struct kiln_version)

#define KILN_DEATH_CAUSE_LEN	192
#define KILN_DEATH_INSN_LEN	15

/* struct kiln_death.kind */
#define KILN_DEATH_TRIPLE_FAULT	1	/* KVM_EXIT_SHUTDOWN */
#define KILN_DEATH_FAIL_ENTRY	2	/* KVM_EXIT_FAIL_ENTRY */
#define KILN_DEATH_EMULATION	3	/* KVM_EXIT_INTERNAL_ERROR, EMULATION */
#define KILN_DEATH_UNEXPECTED	4	/* any other KVM_EXIT_INTERNAL_ERROR */
#define KILN_DEATH_MEMORY	5	/* KVM_RUN returned -EFAULT or -ENOMEM */

/**
 * struct kiln_death - why a vCPU cannot go on
 * @kind: one of KILN_DEATH_*
 * @exit_reason: VMX: the exit reason, all 32 bits (SDM vol. 3 app. C).
 *	SVM: the lower half of EXITCODE (APM vol. 2 app. C); 0xffffffff where
 *	VMRUN refused the guest or could not be executed
 * @qualification: VMX: exit qualification (SDM vol. 3 §27.2.1).
 *	SVM: EXITINFO1
 * @gpa: guest-physical address of the exit, where it has one, else 0.
 *	SVM: EXITINFO2 of a nested page fault
 * @linear: guest-linear address of the exit, where it has one, else 0.
 *	SVM: always 0
 * @intr_info: VMX: VM-exit interruption information, bit 31 says valid.
 *	SVM: always 0; an intercepted exception's vector is in the code
 * @intr_error: its error code
 * @idt_info: what was being delivered when the exit came, bit 31 says valid.
 *	VMX: IDT-vectoring information. SVM: EXITINTINFO
 * @idt_error: its error code
 * @insn_error: VMX: VM-instruction error number (SDM vol. 3 §31.4), 0 for
 *	none. SVM: always 0
 * @entry_info: what was to be injected by the entry, bit 31 says valid. VMX:
 *	VM-entry interruption information. SVM: EVENTINJ
 * @insn_len: how many of @insn are valid, 0 if RIP could not be read
 * @insn: the bytes at RIP
 * @regs: general registers as of the exit
 * @sregs: special registers as of the exit
 * @cause: a sentence, NUL-terminated
 *
 * Which of both it is KILN_GET_VERSION says. Of a triple fault SVM leaves
 * registers undefined (APM vol. 2 §15.14.3): they are what the processor left.
 */
struct kiln_death {
	__u32 kind;
	__u32 exit_reason;
	__u64 qualification;
	__u64 gpa;
	__u64 linear;
	__u32 intr_info;
	__u32 intr_error;
	__u32 idt_info;
	__u32 idt_error;
	__u32 insn_error;
	__u32 entry_info;
	__u8 insn_len;
	__u8 insn[KILN_DEATH_INSN_LEN];
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	char cause[KILN_DEATH_CAUSE_LEN];
};

/*
 * On a vCPU: the cause of the latest death. -ENODATA while the vCPU has not
 * died since it was created. A vCPU that is run again after its registers
 * were set keeps the record until its next death.
 */
#define KILN_GET_DEATH		_IOR(KILNIO, 0x01, struct kiln_death)

#define KILN_COUNTER_NAME_LEN	32

/**
 * struct kiln_counter - one counter
 * @name: what is counted, NUL-terminated, stable
 * @value: since the object was created
 */
struct kiln_counter {
	char name[KILN_COUNTER_NAME_LEN];
	__u64 value;
};

/**
 * struct kiln_counters - argument of KILN_GET_COUNTERS
 * @nr: in: entries there is room for; out: entries there are
 * @reserved: must be zero
 * @counters: filled up to the smaller of both
 */
struct kiln_counters {
	__u32 nr;
	__u32 reserved;
	struct kiln_counter counters[];
};

/*
 * On a VM (its own and the sum of its vCPUs') or a vCPU. -E2BIG with @nr set
 * where there is too little room, -EINVAL for a non-zero @reserved.
 */
#define KILN_GET_COUNTERS	_IOWR(KILNIO, 0x02, struct kiln_counters)

/*
 * Virtio devices whose queues the kernel serves.
 *
 * KILN_CREATE_VIRTIO on a VM makes a device and returns its descriptor. The
 * device is the VM's for good: guest memory is the VM's slots, so there is no
 * VHOST_SET_MEM_TABLE. The descriptor answers these calls of <linux/vhost.h>,
 * with vhost's errnos (ring addresses are addresses of the caller, the
 * addresses in descriptors are the guest's):
 *
 *   VHOST_SET_OWNER, VHOST_RESET_OWNER, VHOST_GET_FEATURES,
 *   VHOST_SET_FEATURES, VHOST_SET_VRING_NUM, _ADDR, _BASE, _KICK, _CALL,
 *   _ERR, VHOST_GET_VRING_BASE, VHOST_VDPA_GET_DEVICE_ID, _GET_STATUS,
 *   _SET_STATUS, _GET_CONFIG, _SET_CONFIG, _GET_CONFIG_SIZE,
 *   _SET_VRING_ENABLE, _GET_VRING_NUM, _GET_VQS_COUNT, _SET_CONFIG_CALL,
 *   _SUSPEND
 *
 * and those below. VHOST_SET_OWNER comes before all of them but VHOST_GET_FEATURES,
 * VHOST_SET_FEATURES, VHOST_VDPA_GET_*, KILN_VIRTIO_GET_BROKEN and those of the
 * back ends (numbers from 0x20 on): -EPERM. It makes a thread for each queue;
 * -EAGAIN: there are as many as the module's parameter max_queue_threads allows.
 * A call from another process: -EIO.
 *
 * A device works from the moment VIRTIO_CONFIG_S_DRIVER_OK is
 * set in its status, on the queues that are enabled. VHOST_VDPA_SUSPEND takes
 * that bit away once no request is in flight; setting it again goes on where
 * it stopped. Disabling a queue does the same for one queue; after a reset of
 * the queue it takes VHOST_SET_VRING_BASE, or it goes on as well. Status 0 resets
 * the device: features, rings, messages and doorbells are gone, the eventfds and
 * the back end stay. VHOST_RESET_OWNER takes the eventfds, too.
 *
 * VHOST_VDPA_GET_STATUS and KILN_VIRTIO_GET_BROKEN do not wait for another call.
 * Status 0 is there once the reset is done, which waits for the requests that have
 * begun; until then the status is what it was.
 *
 * VHOST_VDPA_SET_STATUS answers -EINVAL where a bit is taken away other than by
 * 0, to FEATURES_OK without VIRTIO_F_VERSION_1, and to DRIVER_OK without
 * FEATURES_OK or while the device is broken; to DRIVER_OK also what the rings
 * (-EFAULT, -EINVAL) or a missing back end (-ENXIO) are worth. Nothing has changed
 * then. -EBUSY: VHOST_SET_FEATURES after FEATURES_OK; VHOST_SET_VRING_NUM, _ADDR
 * and _BASE of a queue at work.
 *
 * The base of a packed ring (VHOST_SET_VRING_BASE) is the next available index
 * in bits 0-14, its wrap counter in bit 15, the next used index in bits 16-30
 * and its wrap counter in bit 31: a ring begins at 0x80008000. Of a split ring it
 * is the available index; the used index is read from the ring.
 */

/* struct kiln_virtio_create.type: VIRTIO_ID_* of <linux/virtio_ids.h> */

/**
 * struct kiln_virtio_create - argument of KILN_CREATE_VIRTIO
 * @type: VIRTIO_ID_NET, _BLOCK, _CONSOLE, _RNG or _BALLOON
 * @nr_queues: 1 to what the type allows
 * @flags: zero
 * @reserved: zero
 */
struct kiln_virtio_create {
	__u32 type;
	__u32 nr_queues;
	__u32 flags;
	__u32 reserved[5];
};

/*
 * On a VM. Returns the descriptor. -EINVAL: unknown type, nr_queues out of
 * range, a bit or field set that must be zero; -ENOSPC: more than 1024 queues in
 * the VM; -EMFILE; -ENOMEM.
 */
#define KILN_CREATE_VIRTIO	_IOW(KILNIO, 0x10, struct kiln_virtio_create)

#define KILN_VIRTIO_CONFIG_INDEX	0xffffffffu	/* not a queue: configuration changes */

#define KILN_VIRTIO_DOORBELL_PIO	0x1	/* @addr is a port */
#define KILN_VIRTIO_DOORBELL_DEASSIGN	0x2

/**
 * struct kiln_virtio_doorbell - argument of KILN_VIRTIO_SET_DOORBELL
 * @index: the queue
 * @flags: KILN_VIRTIO_DOORBELL_*
 * @addr: guest-physical address or port; a guest's write to it, of whatever
 *	size and value, kicks the queue
 */
struct kiln_virtio_doorbell {
	__u32 index;
	__u32 flags;
	__u64 addr;
};

/*
 * On a device. One doorbell a queue. -EINVAL: no such queue, unknown flag, a port
 * above 0xffff; -EEXIST: the queue has one, or the address is taken, be it by an
 * ioeventfd; -ENOENT: DEASSIGN of what is not there; -ENOSPC: as for KVM_IOEVENTFD;
 * -ENOMEM.
 */
#define KILN_VIRTIO_SET_DOORBELL	_IOW(KILNIO, 0x11, struct kiln_virtio_doorbell)

#define KILN_VIRTIO_MSI_ENABLE	0x1	/* else the call eventfd is used */
#define KILN_VIRTIO_MSI_MASKED	0x2	/* remember, do not send */

/**
 * struct kiln_virtio_msi - argument of KILN_VIRTIO_SET_MSI and _GET_MSI
 * @index: the queue, or KILN_VIRTIO_CONFIG_INDEX
 * @flags: KILN_VIRTIO_MSI_*
 * @address: message address
 * @data: message data
 * @pending: SET: zero. GET: a message is remembered
 */
struct kiln_virtio_msi {
	__u32 index;
	__u32 flags;
	__u64 address;
	__u32 data;
	__u32 pending;
};

/*
 * On a device: which message a used buffer (or a change of the configuration)
 * raises. Clearing MASKED sends what was remembered. -EINVAL: no such queue,
 * unknown flag, @pending set; -ENXIO: the VM has no in-kernel local APICs.
 */
#define KILN_VIRTIO_SET_MSI	_IOW(KILNIO, 0x12, struct kiln_virtio_msi)
#define KILN_VIRTIO_GET_MSI	_IOWR(KILNIO, 0x12, struct kiln_virtio_msi)

#define KILN_VIRTIO_CAUSE_LEN	128

/**
 * struct kiln_virtio_broken - answer of KILN_VIRTIO_GET_BROKEN
 * @queue: which queue broke the rules
 * @error: errno
 * @cause: a sentence, NUL-terminated
 */
struct kiln_virtio_broken {
	__u32 queue;
	__s32 error;
	char cause[KILN_VIRTIO_CAUSE_LEN];
};

/*
 * On a device whose status has VIRTIO_CONFIG_S_NEEDS_RESET: why. -ENODATA on
 * one that is whole. The eventfds of VHOST_SET_VRING_ERR and the configuration
 * message tell when it happens.
 */
#define KILN_VIRTIO_GET_BROKEN	_IOR(KILNIO, 0x13, struct kiln_virtio_broken)

#define KILN_BLOCK_RO		0x1	/* VIRTIO_BLK_F_RO */
/* A volatile cache, which the guest flushes; else a write done is durable. */
#define KILN_BLOCK_WRITEBACK	0x2
/* One request at a time goes to @fd, whose server cannot do with several. */
#define KILN_BLOCK_SERIAL	0x4

/**
 * struct kiln_virtio_block - back end of a block device
 * @fd: regular file or block device; O_DIRECT is honoured; the call takes a
 *	reference of its own. -1 takes the back end away
 * @flags: KILN_BLOCK_*
 * @sectors: capacity in units of 512 bytes; 0: as large as @fd
 * @block_size: logical, bytes, a power of two from 512 to 4096; 0: as @fd
 * @physical_block_size: bytes, a power of two; 0: as @fd
 * @iops: requests per second, 0: no limit
 * @bps: bytes read and written per second, zeroes that have to be written
 *	included; 0: no limit
 * @id: VIRTIO_BLK_T_GET_ID, padded with NULs
 * @reserved: zero
 */
struct kiln_virtio_block {
	__s32 fd;
	__u32 flags;
	__u64 sectors;
	__u32 block_size;
	__u32 physical_block_size;
	__u64 iops;
	__u64 bps;
	__u8 id[20];
	__u32 reserved[5];
};

/*
 * On a device of the type. The device must not be at work (-EBUSY), except
 * that the limits @iops and @bps may change at any time. -EBADF: no descriptor, or
 * not open for reading or, without KILN_BLOCK_RO, for writing; -EINVAL: another kind
 * of file, more sectors than it has, a field out of its range. Nothing has changed
 * then.
 */
#define KILN_VIRTIO_SET_BLOCK	_IOW(KILNIO, 0x20, struct kiln_virtio_block)

/**
 * struct kiln_virtio_net - back end of a network device
 * @fd: per queue pair a descriptor of a tap (tun or macvtap) with IFF_NO_PI,
 *	IFF_VNET_HDR and a header of 12 bytes (TUNSETVNETHDRSZ), and with
 *	IFF_MULTI_QUEUE if there are several; the call takes references of its own.
 *	Offloads are set by the device
 * @nr_pairs: how many of @fd are given, 1 to 8, at most (nr_queues - 1) / 2; 0
 *	takes the back end away
 * @mtu: 68 to 65535, 0: not told to the guest
 * @mac: of the guest, not a group's
 * @link: 1: up
 * @reserved: zero
 */
struct kiln_virtio_net {
	__s32 fd[8];
	__u32 nr_pairs;
	__u32 mtu;
	__u8 mac[6];
	__u8 link;
	__u8 reserved[17];
};

/*
 * On a device of the type, which has 3 to 17 queues: two to a pair, and the
 * control queue behind those of all pairs, or behind those of the first if the
 * driver does without VIRTIO_NET_F_MQ. The device must not be at work (-EBUSY),
 * except that @link may change at any time; nor may @nr_pairs change once
 * features are negotiated (-EBUSY). -EBADF: not open for both ways; -EBADFD: a
 * tap that has no interface; -EINVAL: no tap, or a field out of its range;
 * -ENOMEM. Nothing has changed then.
 *
 * A tap whose interface is deleted takes the link down. What the tap or the
 * guest would not have is dropped, and counted in virtio_drop.
 */
#define KILN_VIRTIO_SET_NET	_IOW(KILNIO, 0x21, struct kiln_virtio_net)

/**
 * struct kiln_virtio_console - back end of a console
 * @in: descriptor the guest's input is read from, -1 for none
 * @out: descriptor the guest's output is written to, -1: thrown away
 * @cols: window size, may change at any time
 * @rows: the same
 * @reserved: zero
 */
struct kiln_virtio_console {
	__s32 in;
	__s32 out;
	__u16 cols;
	__u16 rows;
	__u32 reserved[5];
};

/*
 * On a device of the type, at any time. Each descriptor is a regular file, a pipe or
 * FIFO, a socket, or a character device (a terminal); the call takes references of its
 * own, and leaves the descriptor's flags as they are: FIFOs and terminals are opened
 * once more, with O_NONBLOCK. The master side of a pty cannot be opened once more,
 * so it has to be O_NONBLOCK, and to stay so.
 *
 * Output that nobody takes any more (EPIPE, a hang-up, a full disk) is thrown away; a
 * pipe that is full holds the guest back. At the end of @in there is no more
 * input until somebody else opens the other side.
 *
 * -EBADF: no descriptor, or not open for that direction; -EINVAL: another kind of
 * file, a pty's master that is not O_NONBLOCK, @reserved set; -ENOMEM, or what opening
 * once more says (-ENXIO: a FIFO that nobody has open for reading). Nothing has changed
 * then.
 */
#define KILN_VIRTIO_SET_CONSOLE	_IOW(KILNIO, 0x22, struct kiln_virtio_console)

/**
 * struct kiln_virtio_console_counts - answer of KILN_VIRTIO_GET_CONSOLE
 * @received: bytes the guest was given
 * @sent: bytes of the guest's that were written
 * @dropped: bytes of the guest's that were thrown away
 * @reserved: zero
 */
struct kiln_virtio_console_counts {
	__u64 received;
	__u64 sent;
	__u64 dropped;
	__u64 reserved[5];
};

/* On a device of the type, at any time. */
#define KILN_VIRTIO_GET_CONSOLE	_IOR(KILNIO, 0x22, struct kiln_virtio_console_counts)

/**
 * struct kiln_virtio_rng - back end of an entropy device
 * @bps: bytes per second, 0: no limit
 * @reserved: zero
 */
struct kiln_virtio_rng {
	__u64 bps;
	__u64 reserved[3];
};

/* On a device of the type, at any time. -EINVAL: @reserved set. */
#define KILN_VIRTIO_SET_RNG	_IOW(KILNIO, 0x23, struct kiln_virtio_rng)

#define KILN_BALLOON_STATS	10	/* room for VIRTIO_BALLOON_S_* */

/**
 * struct kiln_virtio_balloon - argument of KILN_VIRTIO_SET_BALLOON, _GET_BALLOON
 * @num_pages: SET: how many 4 KiB pages the guest is asked to give. GET: the
 *	same
 * @actual: GET: how many it says it gave
 * @reported: GET: bytes given back by free page reporting so far
 * @stats_seconds: SET: 0: no statistics, else ask for them this often
 * @stats_valid: GET: bit N: @stats[N] was given
 * @stats: GET: VIRTIO_BALLOON_S_*, in bytes or events
 * @inflated: GET: how many 4 KiB pages it gave and did not take back, as they were
 *	counted here
 * @refused: GET: bytes it gave or reported so far that stayed: in no slot or a
 *	read-only one, in memory that is locked, or part of a huge page
 * @reserved: zero
 */
struct kiln_virtio_balloon {
	__u32 num_pages;
	__u32 actual;
	__u64 reported;
	__u32 stats_seconds;
	__u32 stats_valid;
	__u64 stats[KILN_BALLOON_STATS];
	__u64 inflated;
	__u64 refused;
	__u64 reserved[2];
};

/*
 * On a device of the type, at any time. What is of GET only is ignored by SET.
 * -EINVAL: @reserved set. A device has 2 to 5 queues: statistics are offered
 * from 3 on, reporting and hints with 5. KILN_CREATE_VIRTIO says -EOPNOTSUPP on a kernel that lets
 * no module give a process' memory back.
 */
#define KILN_VIRTIO_SET_BALLOON	_IOW(KILNIO, 0x24, struct kiln_virtio_balloon)
#define KILN_VIRTIO_GET_BALLOON	_IOR(KILNIO, 0x24, struct kiln_virtio_balloon)

/* struct kiln_virtio_hint.command */
#define KILN_BALLOON_HINT_START	0	/* the driver is asked for a round of hints */
#define KILN_BALLOON_HINT_STOP	1	/* no more of it; the driver keeps its pages */
#define KILN_BALLOON_HINT_DONE	2	/* no more of it; the driver takes them back */

/* struct kiln_virtio_hint.state */
#define KILN_BALLOON_HINT_NONE	0	/* there was no round since the last reset */
#define KILN_BALLOON_HINT_ASKED	1	/* the driver has not begun */
#define KILN_BALLOON_HINT_BEGUN	2
#define KILN_BALLOON_HINT_FINISHED	3	/* by the driver, and it has its pages back */
#define KILN_BALLOON_HINT_STOPPED	4	/* by STOP or DONE */

/**
 * struct kiln_virtio_hint - argument of KILN_VIRTIO_SET_HINT, _GET_HINT
 * @command: SET: KILN_BALLOON_HINT_START, _STOP or _DONE
 * @state: GET: KILN_BALLOON_HINT_NONE and those that follow it
 * @id: GET: the command id of the latest round
 * @hinted: GET: bytes that were hinted in it so far
 * @returned: GET: those of them that held zeroes and went back to the host
 * @reserved0: zero
 * @reserved: zero
 */
struct kiln_virtio_hint {
	__u32 command;
	__u32 state;
	__u32 id;
	__u32 reserved0;
	__u64 hinted;
	__u64 returned;
	__u64 reserved[4];
};

/*
 * On a device of the type with 5 queues: free page hints. What of the memory that the
 * driver hints holds nothing but zeroes goes back at once, whoever may use it by
 * then; the rest stays, as does all that is not private anonymous memory, or is a
 * part of a huge page. Nobody finds anything else there than before, if no one else
 * writes to the guest's memory while a round is on than vCPUs, devices made by
 * KILN_CREATE_VIRTIO, and calls of the VM: not the caller itself, nor the kernel for
 * it (vhost, I/O of its own). What is written so in between may be lost.
 *
 * When the driver has no more to hint the round is over without a call: @state says
 * so. What is of GET only is ignored by SET. -EINVAL: unknown @command, @reserved
 * set; -EOPNOTSUPP: there is no driver at work that took
 * VIRTIO_BALLOON_F_FREE_PAGE_HINT; -EBUSY: START while a round is on.
 */
#define KILN_VIRTIO_SET_HINT	_IOW(KILNIO, 0x25, struct kiln_virtio_hint)
#define KILN_VIRTIO_GET_HINT	_IOR(KILNIO, 0x25, struct kiln_virtio_hint)

#endif /* _UAPI_KILN_H */
