/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KILN_XFER_H
#define KILN_XFER_H

/**
 * kiln_xfer_work() - do what __xfer_to_guest_mode_work_pending() spoke of
 *
 * Return: 0, or -EINTR: a signal is pending.
 * Context: the vCPU's thread, IRQs on; may sleep.
 */
int kiln_xfer_work(void);

#endif /* KILN_XFER_H */
