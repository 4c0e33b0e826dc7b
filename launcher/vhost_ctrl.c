// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest changes its memory while it is read here, so what is checked is
 * what was copied.
 */
#include "vhost_ctrl.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <string.h>

#define QUEUE_MAX	1024

static int fail(int err)
{
	errno = err;
	return -1;
}

/* ---- vhost's calls ---- */

static int set_num(struct vhost_ctrl *ctrl, unsigned int num)
{
	if (!num || num > QUEUE_MAX || num & (num - 1))
		return fail(EINVAL);
	ctrl->size = (uint16_t)num;
	return 0;
}

/* They are in the guest's memory: the transport looked. */
static int set_addr(struct vhost_ctrl *ctrl, const struct vhost_vring_addr *addr)
{
	if (addr->desc_user_addr % VRING_DESC_ALIGN_SIZE ||
	    addr->avail_user_addr % VRING_AVAIL_ALIGN_SIZE ||
	    addr->used_user_addr % VRING_USED_ALIGN_SIZE)
		return fail(EINVAL);
	ctrl->desc = (void *)(uintptr_t)addr->desc_user_addr;
	ctrl->avail = (void *)(uintptr_t)addr->avail_user_addr;
	ctrl->used = (void *)(uintptr_t)addr->used_user_addr;
	return 0;
}

int vhost_ctrl_call(struct vhost_ctrl *ctrl, unsigned long request, void *arg)
{
	struct vhost_vring_state *state = arg;

	switch (request) {
	case VHOST_SET_VRING_NUM:
		return set_num(ctrl, state->num);
	case VHOST_SET_VRING_ADDR:
		return set_addr(ctrl, arg);
	case VHOST_SET_VRING_BASE:
		ctrl->next = (uint16_t)state->num;
		return 0;
	case VHOST_GET_VRING_BASE:
		state->num = ctrl->next;
		return 0;
	default:
		return fail(ENOTTY);
	}
}

/* ---- a command ---- */

struct command {
	uint8_t bytes[VHOST_CTRL_BYTES];
	size_t len;
	uint8_t *answer;
};

static const char *take_buffer(struct vhost_ctrl *ctrl, const struct vring_desc *desc,
			       struct command *command)
{
	uint8_t *at = guest_ptr(ctrl->memory, desc->addr, desc->len);
	size_t taken = command->len < VHOST_CTRL_BYTES ? command->len : VHOST_CTRL_BYTES;
	size_t room = VHOST_CTRL_BYTES - taken;

	if (!desc->len)
		return NULL;
	if (!at)
		return "a buffer is not in the guest's memory";
	if (desc->flags & VRING_DESC_F_WRITE) {
		command->answer = command->answer ?: at;
		return NULL;
	}
	if (command->answer)
		return "a buffer that is read follows one that is written";
	memcpy(command->bytes + taken, at, room < desc->len ? room : desc->len);
	command->len += desc->len;
	return NULL;
}

/* Tables are bytes: an indirect one may be anywhere. */
static struct vring_desc copy_of(const uint8_t *table, unsigned int index)
{
	struct vring_desc desc;

	memcpy(&desc, table + index * sizeof(desc), sizeof(desc));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);	/* read once */
	return desc;
}

/* All of a chain whose descriptors are in one table. */
static const char *take_chain(struct vhost_ctrl *ctrl, const uint8_t *table,
			      unsigned int count, unsigned int index, bool indirect,
			      struct command *command)
{
	struct vring_desc desc;
	const char *cause;

	for (unsigned int i = 0; i < ctrl->size; i++) {
		if (index >= count)
			return "a descriptor is not in its table";
		desc = copy_of(table, index);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			table = guest_ptr(ctrl->memory, desc.addr, desc.len);
			if (indirect || desc.flags & VRING_DESC_F_NEXT || !table ||
			    desc.len % sizeof(desc) || !desc.len)
				return "an indirect table is not as it must be";
			return take_chain(ctrl, table, desc.len / (unsigned int)sizeof(desc), 0, true,
					  command);
		}
		cause = take_buffer(ctrl, &desc, command);
		if (cause || !(desc.flags & VRING_DESC_F_NEXT))
			return cause;
		index = desc.next;
	}
	return "a chain of descriptors does not end";
}

/* ---- the ring ---- */

static uint16_t available(const struct vhost_ctrl *ctrl)
{
	return __atomic_load_n(&ctrl->avail->idx, __ATOMIC_ACQUIRE);
}

static void push(struct vhost_ctrl *ctrl, uint16_t head)
{
	volatile struct vring_used_elem *elem = &ctrl->used->ring[ctrl->next % ctrl->size];

	elem->id = head;
	elem->len = sizeof(virtio_net_ctrl_ack);
	__atomic_store_n(&ctrl->used->idx, ++ctrl->next, __ATOMIC_RELEASE);
}

/* Of the answers from @old on; §2.7.7.2, §2.7.10. */
static bool wants_interrupt(const struct vhost_ctrl *ctrl, uint16_t old)
{
	if (ctrl->next == old)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* the answers are seen before it is read */
	if (ctrl->event_idx)
		return vring_need_event(__atomic_load_n(&ctrl->avail->ring[ctrl->size], __ATOMIC_RELAXED),
					ctrl->next, old);
	return !(__atomic_load_n(&ctrl->avail->flags, __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
}

/*
 * Where the commands end that this kick is for. Whoever makes another one
 * available kicks again: the index to kick at is never behind what was seen.
 */
static const char *find_end(const struct vhost_ctrl *ctrl, uint16_t *end)
{
	/* Commands may come meanwhile, but no more than there are entries. */
	for (unsigned int i = 0; i <= ctrl->size; i++) {
		*end = available(ctrl);
		if ((uint16_t)(*end - ctrl->next) > ctrl->size)
			break;
		if (ctrl->event_idx)
			__atomic_store_n((uint16_t *)&ctrl->used->ring[ctrl->size], *end,
					 __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (available(ctrl) == *end)
			return NULL;
	}
	return "more commands are available than it has entries";
}

static const char *answer_next(struct vhost_ctrl *ctrl,
			       bool (*obey)(void *opaque, const uint8_t bytes[VHOST_CTRL_BYTES],
					    size_t len),
			       void *opaque)
{
	uint16_t head = __atomic_load_n(&ctrl->avail->ring[ctrl->next % ctrl->size],
					__ATOMIC_RELAXED);
	struct command command = { .len = 0 };
	const char *cause;

	cause = take_chain(ctrl, (const uint8_t *)ctrl->desc, ctrl->size, head, false, &command);
	if (!cause && (command.len < sizeof(struct virtio_net_ctrl_hdr) || !command.answer))
		cause = "a command has no header, or no room for its answer";
	if (cause)
		return cause;
	*command.answer = obey(opaque, command.bytes, command.len) ? VIRTIO_NET_OK
								   : VIRTIO_NET_ERR;
	push(ctrl, head);
	return NULL;
}

const char *vhost_ctrl_serve(struct vhost_ctrl *ctrl,
			     bool (*obey)(void *opaque, const uint8_t bytes[VHOST_CTRL_BYTES], size_t len),
			     void *opaque, bool *notify)
{
	uint16_t old = ctrl->next, end;
	const char *cause = find_end(ctrl, &end);

	while (!cause && ctrl->next != end)
		cause = answer_next(ctrl, obey, opaque);
	*notify = wants_interrupt(ctrl, old);
	return cause;
}
