/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Network cards whose queues the host's vhost-net serves, on any device that
 * speaks the KVM ABI: kicks reach it by ioeventfd, its interrupts the guest by
 * irqfd. To the transport (virtio.h) it looks like a device of kiln's: what the
 * transport asks by struct virtio's call is answered here, and only rings and
 * features go on to the kernel as they are. vhost-net has a descriptor for each
 * pair of queues; the control queue of several is ours (vhost_ctrl.h).
 */
#ifndef KILN_VHOST_H
#define KILN_VHOST_H

#include "memory.h"
#include "net.h"

/* For struct virtio's call: ioctl()'s answers. */
int vhost_call(int fd, unsigned long request, void *arg);

/* For struct virtio's kicked. */
const char *vhost_kicked(int fd, unsigned int index);

/*
 * In place of KILN_VIRTIO_SET_NET, on what KILN_CREATE_VIRTIO gave: takes
 * @tap's descriptors over. -1 with a sentence.
 */
int vhost_set_net(int fd, struct net_tap *tap, const struct guest_memory *memory);

/* After all their descriptors are closed. */
void vhost_close(void);

#endif
