// SPDX-License-Identifier: GPL-2.0-only
#include "pm.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "error.h"
#include "say.h"
#include "status.h"
#include "util.h"

/* Offsets from PM_PORT. */
#define EVENT_STATUS	0
#define EVENT_ENABLE	2
#define CONTROL		4
#define TIMER		8
#define PORTS		12

/* PM1 event (§4.8.4.1). */
#define PM1_TIMER	0x0001
#define PM1_GLOBAL	0x0020
#define PM1_BUTTON	0x0100
#define PM1_RTC		0x0400
#define PM1_ENABLES	(PM1_TIMER | PM1_GLOBAL | PM1_BUTTON | PM1_RTC)

/* PM1 control (§4.8.4.2). No SMI command port, so ACPI mode is all there is. */
#define PM1_SCI_ENABLE	0x0001
#define PM1_SLEEP_TYPE	0x1c00
#define PM1_SLEEP_SHIFT	10
#define PM1_SLEEP_GO	0x2000	/* write-only */

#define RESET_CPU	0x04	/* the bit of the PC's reset register that acts */

#define TIMER_CARRY	0x80000000u	/* TMR_STS: this bit of the timer changed */

static uint64_t ticks(const struct pm *pm)
{
	/* 128 bits: 64 would overflow after 43 minutes. */
	return (uint64_t)((unsigned __int128)(pm->now() - pm->start) * PM_TIMER_HZ /
			  NS_PER_SECOND);
}

static void update(struct pm *pm)
{
	uint64_t now = ticks(pm);

	if (now / TIMER_CARRY != pm->ticks_seen / TIMER_CARRY)
		pm->status |= PM1_TIMER;
	pm->ticks_seen = now;
	irq_set(pm->irq, pm->status & pm->enable);
}

static void set_carry_timer(struct pm *pm)
{
	struct itimerspec once = { 0 };
	int64_t ns;

	if (pm->carry.fd < 0)
		return;
	if (pm->enable & PM1_TIMER) {
		ns = (int64_t)(TIMER_CARRY - ticks(pm) % TIMER_CARRY) * NS_PER_SECOND /
		     PM_TIMER_HZ + 1;
		once.it_value.tv_sec = ns / NS_PER_SECOND;
		once.it_value.tv_nsec = ns % NS_PER_SECOND;
	}
	timerfd_settime(pm->carry.fd, 0, &once, NULL);
}

static void write_control(struct pm *pm, uint16_t value)
{
	unsigned int type = (value & PM1_SLEEP_TYPE) >> PM1_SLEEP_SHIFT;

	pm->control = (value & PM1_SLEEP_TYPE) | PM1_SCI_ENABLE;
	if (!(value & PM1_SLEEP_GO))
		return;
	if (type == PM_SLEEP_OFF)
		end_run(pm->ending, STATUS_OFF, "");
	else
		say("guest: sleep type %u is none of ours, ignored", type);
}

/* The register file as 16-bit words, so that byte accesses work as §4.8.4 allows. */
static uint16_t read_word(struct pm *pm, uint16_t offset)
{
	switch (offset) {
	case EVENT_STATUS:
		update(pm);
		return pm->status;
	case EVENT_ENABLE:
		return pm->enable;
	case CONTROL:
		return pm->control;
	default:
		return 0;
	}
}

static void write_word(struct pm *pm, uint16_t offset, uint16_t value)
{
	switch (offset) {
	case EVENT_STATUS:
		update(pm);
		pm->status &= (uint16_t)~value;	/* write one to clear */
		break;
	case EVENT_ENABLE:
		pm->enable = value & PM1_ENABLES;
		set_carry_timer(pm);
		break;
	case CONTROL:
		write_control(pm, value);
		break;
	}
	update(pm);
}

static uint32_t read_locked(struct pm *pm, uint16_t offset, uint8_t size)
{
	uint32_t value;

	if (offset >= TIMER)
		return (uint32_t)ticks(pm) >> (offset - TIMER) * 8;
	value = read_word(pm, offset & ~1u) >> (offset & 1) * 8;
	if (size == 4)
		value |= (uint32_t)read_word(pm, (offset & ~1u) + 2) << 16;
	return value;
}

static void write_byte(struct pm *pm, uint16_t offset, uint8_t value)
{
	unsigned int shift = (offset & 1) * 8;
	uint16_t word = offset & ~1u;
	uint16_t other = 0;

	/* The other half stays as it is; for status, a zero clears nothing. */
	if (word != EVENT_STATUS)
		other = read_word(pm, word) & (uint16_t)(0xff00 >> shift);
	write_word(pm, word, (uint16_t)(other | value << shift));
}

static void write_locked(struct pm *pm, uint16_t offset, uint8_t size, uint32_t value)
{
	if (offset >= TIMER)
		return;		/* read-only */
	if (size == 1) {
		write_byte(pm, offset, (uint8_t)value);
		return;
	}
	write_word(pm, offset & ~1u, (uint16_t)value);
	if (size == 4)
		write_word(pm, (offset & ~1u) + 2, (uint16_t)(value >> 16));
}

static uint32_t pm_read(struct port_device *device, uint16_t offset, uint8_t size)
{
	struct pm *pm = container_of(device, struct pm, port);
	uint32_t value;

	pthread_mutex_lock(&pm->lock);
	value = read_locked(pm, offset, size);
	pthread_mutex_unlock(&pm->lock);
	return value;
}

static void pm_write(struct port_device *device, uint16_t offset, uint8_t size, uint32_t value)
{
	struct pm *pm = container_of(device, struct pm, port);

	pthread_mutex_lock(&pm->lock);
	write_locked(pm, offset, size, value);
	pthread_mutex_unlock(&pm->lock);
}

static uint32_t reset_read(struct port_device *device, uint16_t offset, uint8_t size)
{
	struct pm *pm = container_of(device, struct pm, reset);
	uint8_t value;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&pm->lock);
	value = pm->reset_value;
	pthread_mutex_unlock(&pm->lock);
	return value;
}

static void reset_write(struct port_device *device, uint16_t offset, uint8_t size, uint32_t value)
{
	struct pm *pm = container_of(device, struct pm, reset);

	(void)offset;
	(void)size;
	pthread_mutex_lock(&pm->lock);
	pm->reset_value = (uint8_t)value;
	pthread_mutex_unlock(&pm->lock);
	if (value & RESET_CPU)
		end_run(pm->ending, STATUS_RESET, "the guest reset the machine");
}

static void carry_ready(struct loop_source *source, uint32_t events)
{
	struct pm *pm = container_of(source, struct pm, carry);

	(void)events;
	loop_consume(source->fd);
	pthread_mutex_lock(&pm->lock);
	update(pm);
	set_carry_timer(pm);
	pthread_mutex_unlock(&pm->lock);
}

void pm_init(struct pm *pm, struct irq_line *irq, struct ending *ending, clock_fn now)
{
	memset(pm, 0, sizeof(*pm));
	pm->port = (struct port_device){ "ACPI registers", PM_PORT, PORTS, false, pm_read,
					 pm_write };
	pm->reset = (struct port_device){ "reset register", PM_RESET_PORT, 1, true, reset_read,
					  reset_write };
	pm->irq = irq;
	pm->ending = ending;
	pm->now = now;
	pm->start = now();
	pm->control = PM1_SCI_ENABLE;
	pm->carry = (struct loop_source){ -1, carry_ready };
	pthread_mutex_init(&pm->lock, NULL);
}

int pm_start(struct pm *pm, struct loop *loop)
{
	pm->carry.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (pm->carry.fd < 0)
		return error_set("timerfd_create: %s; free file descriptors (ulimit -n)",
				 strerror(errno));
	return loop_add(loop, &pm->carry, EPOLLIN);
}

void pm_close(struct pm *pm)
{
	if (pm->carry.fd >= 0)
		close(pm->carry.fd);
	pm->carry.fd = -1;
}

static void raise_event(struct pm *pm, uint16_t event)
{
	pthread_mutex_lock(&pm->lock);
	pm->status |= event;
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

void pm_press_button(struct pm *pm)
{
	raise_event(pm, PM1_BUTTON);
}

void pm_rtc_alarm(void *pm)
{
	raise_event(pm, PM1_RTC);
}

enum pm_button pm_button_state(struct pm *pm)
{
	enum pm_button state = PM_BUTTON_TAKEN;

	pthread_mutex_lock(&pm->lock);
	if (pm->status & PM1_BUTTON)
		state = pm->enable & PM1_BUTTON ? PM_BUTTON_PENDING : PM_BUTTON_NOT_ENABLED;
	pthread_mutex_unlock(&pm->lock);
	return state;
}

const char *pm_button_explain(enum pm_button state)
{
	static const char *const reasons[] = {
		[PM_BUTTON_NOT_ENABLED] = "it never enabled the button: no ACPI in its kernel, or no button driver",
		[PM_BUTTON_PENDING] = "it has not taken the event: it hangs, or its interrupts are off",
		[PM_BUTTON_TAKEN] = "it took the event and is still running: nothing in it powers off on it",
	};

	return reasons[state];
}
