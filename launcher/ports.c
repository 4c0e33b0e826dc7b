// SPDX-License-Identifier: GPL-2.0-only
#include "ports.h"

#include "status.h"
#include "util.h"

#define KEYBOARD_PULSE_RESET 0xfe

static uint32_t keyboard_read(struct port_device *device, uint16_t offset, uint8_t size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;	/* both buffers empty: a kernel waits for that before it pulses */
}

static void keyboard_write(struct port_device *device, uint16_t offset, uint8_t size,
			   uint32_t value)
{
	struct end_port *keyboard = container_of(device, struct end_port, port);

	(void)offset;
	(void)size;
	if (value == KEYBOARD_PULSE_RESET)
		end_run(keyboard->ending, STATUS_RESET,
			"the guest reset the machine through the keyboard controller");
}

void keyboard_init(struct end_port *device, struct ending *ending)
{
	device->port = (struct port_device){ "keyboard controller", KEYBOARD_PORT, 1, true,
					     keyboard_read, keyboard_write };
	device->ending = ending;
}

static uint32_t debug_exit_read(struct port_device *device, uint16_t offset, uint8_t size)
{
	(void)device;
	(void)offset;
	(void)size;
	return ~0u;
}

static void debug_exit_write(struct port_device *device, uint16_t offset, uint8_t size,
			     uint32_t value)
{
	struct end_port *debug_exit = container_of(device, struct end_port, port);

	(void)offset;
	(void)size;
	end_run(debug_exit->ending, status_of_debug_exit(value), "");
}

void debug_exit_init(struct end_port *device, struct ending *ending)
{
	/* Any width within four ports, as guests written for QEMU's device use it. */
	device->port = (struct port_device){ "debug exit", DEBUG_EXIT_PORT, 4, false,
					     debug_exit_read, debug_exit_write };
	device->ending = ending;
}
