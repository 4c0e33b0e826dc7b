// SPDX-License-Identifier: GPL-2.0-only
/*
 * What can be refused is tried in the order of its cost: the memory's size,
 * the kernel and initrd, the disks, the console, the device; a packed kernel
 * is unpacked when nothing is in its way any more. The machine is one set of
 * steps up and the same set down; machine_close() takes down however much
 * was set up. Signals that end a run are blocked from the start and seen to
 * where a step takes long; else the event loop finds them.
 */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "acpi.h"
#include "bus.h"
#include "console.h"
#include "control.h"
#include "devices.h"
#include "ending.h"
#include "error.h"
#include "loop.h"
#include "mmio.h"
#include "pci.h"
#include "pm.h"
#include "ports.h"
#include "reserve.h"
#include "rtc.h"
#include "say.h"
#include "signals.h"
#include "status.h"
#include "uart.h"
#include "vcpu.h"
#include "vm.h"

struct machine {
	const struct run_config *config;
	struct guest_memory memory;
	struct boot_request request;
	struct boot_state boot;
	struct vm vm;
	struct loop loop;
	struct loop_source over;	/* the eventfd of @ending */
	struct ending ending;
	struct bus bus;
	struct mmio mmio;
	struct pci_host pci;
	struct devices devices;
	struct console console;
	struct uart uart;
	struct rtc rtc;
	struct pm pm;
	struct end_port keyboard, debug_exit;
	struct irq_line uart_irq, rtc_irq, pm_irq, pci_irqs[PCI_GSIS];
	struct signals signals;
	struct vcpu *vcpus;
	struct control control;
};

static int load_guest(struct machine *machine)
{
	const struct run_config *config = machine->config;
	int64_t tables;

	if (guest_memory_check(config->memory) ||
	    guest_memory_create(&machine->memory, config->memory))
		return -1;
	tables = acpi_build(guest_ptr(&machine->memory, BIOS_BASE, BIOS_END - BIOS_BASE),
			    BIOS_END - BIOS_BASE, BIOS_BASE, config->cpus);
	if (tables < 0)
		return -1;
	return boot_load(&machine->memory, &machine->request, &machine->boot);
}

static void over_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = container_of(source, struct machine, over);

	(void)events;
	loop_stop(&machine->loop);
}

static int start_loop(struct machine *machine)
{
	if (loop_create(&machine->loop))
		return -1;
	machine->over = (struct loop_source){ loop_eventfd(), over_ready };
	if (machine->over.fd < 0)
		return -1;
	ending_init(&machine->ending, machine->over.fd);
	return loop_add(&machine->loop, &machine->over, EPOLLIN);
}

/* The serial port's peer while the console is another device's: takes everything, says nothing. */
static size_t nobody_room(struct uart_peer *peer)
{
	(void)peer;
	return UART_FIFO;
}

static void nobody_put(struct uart_peer *peer, uint8_t byte)
{
	(void)peer;
	(void)byte;
}

static void nobody_listen(struct uart_peer *peer)
{
	(void)peer;
}

static struct uart_peer nobody = { nobody_room, nobody_put, nobody_listen };

static void add_devices(struct machine *machine)
{
	struct bus *bus = &machine->bus;

	vm_irq_init(&machine->vm, &machine->uart_irq, UART_COM1_GSI);
	vm_irq_init(&machine->vm, &machine->rtc_irq, RTC_GSI);
	vm_irq_init(&machine->vm, &machine->pm_irq, PM_GSI);
	for (unsigned int i = 0; i < PCI_GSIS; i++)
		vm_irq_init(&machine->vm, &machine->pci_irqs[i], PCI_GSI + i);
	uart_init(&machine->uart, &machine->uart_irq,
		  machine->config->devices.console ? &nobody : &machine->console.peer);
	rtc_init(&machine->rtc, &machine->rtc_irq, clock_realtime, machine->memory.low_size,
		 machine->memory.high_size);
	pm_init(&machine->pm, &machine->pm_irq, &machine->ending, clock_monotonic);
	machine->rtc.alarm = pm_rtc_alarm;
	machine->rtc.alarm_context = &machine->pm;
	keyboard_init(&machine->keyboard, &machine->ending);
	debug_exit_init(&machine->debug_exit, &machine->ending);
	mmio_init(&machine->mmio);
	pci_host_init(&machine->pci, &machine->mmio, machine->pci_irqs);
	/* Looked up in this order: the busiest first. */
	bus_add(bus, &machine->uart.port);
	bus_add(bus, &machine->pm.port);
	bus_add(bus, &machine->rtc.port);
	bus_add(bus, &machine->keyboard.port);
	/* Lies in the middle of the PCI bridge's ports, so it is asked first. */
	bus_add(bus, &machine->pm.reset);
	bus_add(bus, &machine->pci.ports);
	if (machine->config->debug_exit)
		bus_add(bus, &machine->debug_exit.port);
}

static int create_vcpus(struct machine *machine)
{
	unsigned int cpus = machine->config->cpus;
	struct vcpu_config config = {
		.vm = &machine->vm,
		.memory = &machine->memory,
		.bus = &machine->bus,
		.mmio = &machine->mmio,
		.ending = &machine->ending,
		.gate = &machine->control.gate,
		.boot = &machine->boot,
		.cpus = cpus,
	};

	machine->vcpus = calloc(cpus, sizeof(*machine->vcpus));
	if (!machine->vcpus)
		return error_set("out of memory; free some");
	for (unsigned int i = 0; i < cpus; i++)
		machine->vcpus[i].fd = -1;
	for (unsigned int i = 0; i < cpus; i++)
		if (vcpu_create(&machine->vcpus[i], &config, i))
			return -1;
	return 0;
}

static int start_devices(struct machine *machine)
{
	vcpu_prepare_signal();
	if (signals_start(&machine->signals, &machine->loop, &machine->ending, &machine->pm) ||
	    rtc_start(&machine->rtc, &machine->loop) || pm_start(&machine->pm, &machine->loop))
		return -1;
	machine->signals.resized = devices_resized;
	machine->signals.resized_context = &machine->devices;
	return console_start(&machine->console,
			     machine->devices.console ? &machine->devices.vconsole.guest
						      : &machine->uart.guest,
			     &machine->loop, &machine->ending);
}

static int start_control(struct machine *machine)
{
	struct guest guest = {
		.config = machine->config,
		.vm = &machine->vm,
		.vcpus = machine->vcpus,
		.devices = &machine->devices,
		.pm = &machine->pm,
		.ending = &machine->ending,
		.console = &machine->console,
	};

	return control_start(&machine->control, &guest);
}

/* Where there is no socket there may be a name all the same. */
static const char *guest_name(const struct machine *machine)
{
	if (*machine->control.name)
		return machine->control.name;
	return machine->config->name ? machine->config->name : "vm";
}

static int set_up(struct machine *machine)
{
	const struct run_config *config = machine->config;

	if (control_open(&machine->control, config->name) || load_guest(machine) ||
	    devices_open(&machine->devices, guest_name(machine)) ||
	    console_open(&machine->console, config->console) ||
	    vm_open(&machine->vm, config->device, config->cpus) ||
	    boot_unpack(&machine->memory, &machine->request, &machine->boot))
		return -1;
	say("%s: %s", config->device, machine->vm.version.name);
	if (start_loop(machine) ||
	    control_make_gate(&machine->control, &machine->loop, config->cpus) ||
	    vm_create(&machine->vm, &machine->memory))
		return -1;
	add_devices(machine);
	if (devices_create(&machine->devices, &machine->vm, &machine->pci, &machine->memory,
			   &machine->loop, &machine->console) ||
	    create_vcpus(machine) || start_devices(machine) || start_control(machine))
		return -1;
	say("%u vCPU%s, %llu MiB", config->cpus, config->cpus > 1 ? "s" : "",
	    (unsigned long long)(config->memory / MIB));
	return 0;
}

static int start_vcpus(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->config->cpus; i++)
		if (vcpu_start(&machine->vcpus[i]))
			return -1;
	return 0;
}

static void stop_vcpus(struct machine *machine)
{
	for (unsigned int i = 0; machine->vcpus && i < machine->config->cpus; i++)
		vcpu_stop(&machine->vcpus[i]);
	for (unsigned int i = 0; machine->vcpus && i < machine->config->cpus; i++)
		vcpu_join(&machine->vcpus[i]);
}

static void machine_init(struct machine *machine, const struct run_config *config)
{
	machine->config = config;
	machine->request = config->boot;
	machine->request.rsdp = BIOS_BASE;
	machine->vm.fd = machine->vm.device_fd = -1;
	machine->loop.fd = machine->over.fd = -1;
	machine->rtc.tick.fd = machine->pm.carry.fd = -1;
	machine->signals.source.fd = machine->signals.reminder.fd = -1;
	control_init(&machine->control);
	console_init(&machine->console);
	devices_init(&machine->devices, &config->devices);
}

static void machine_close(struct machine *machine)
{
	stop_vcpus(machine);
	boot_close(&machine->boot);
	control_stop(&machine->control);
	devices_close(&machine->devices);
	console_close(&machine->console);
	signals_close(&machine->signals);
	pm_close(&machine->pm);
	rtc_close(&machine->rtc);
	for (unsigned int i = 0; machine->vcpus && i < machine->config->cpus; i++)
		vcpu_destroy(&machine->vcpus[i]);
	vm_close(&machine->vm);
	if (machine->over.fd >= 0)
		close(machine->over.fd);
	guest_memory_destroy(&machine->memory);
	control_close(&machine->control, machine->ending.over ? &machine->ending : NULL);
	loop_destroy(&machine->loop);
}

/* With the console closed and the terminal back. */
static void report(const struct machine *machine)
{
	const struct ending *ending = &machine->ending;

	if (*ending->sentence && ending->status != STATUS_DEATH)
		fprintf(stderr, "kiln: %s\n", ending->sentence);
	for (unsigned int i = 0; i < machine->config->cpus; i++)
		if (machine->vcpus[i].died)
			death_print(&machine->vcpus[i].death, stderr);
}

static bool is_wanted_again(const struct machine *machine)
{
	int status = machine->ending.status;

	return machine->control.rebooter && (status == STATUS_OFF || status == STATUS_RESET);
}

static int run(struct machine *machine, bool *again)
{
	bool ran;

	signals_block();
	if (set_up(machine)) {
		int number = signals_pending();

		machine_close(machine);
		if (!number)
			return -1;
		fprintf(stderr, "kiln: ended by SIG%s\n", sigabbrev_np(number));
		return STATUS_ENDED;
	}
	ran = !sandbox_enter(&machine->config->sandbox) && !start_vcpus(machine);
	if (ran) {
		say("the guest runs");
		if (loop_run(&machine->loop))
			end_run(&machine->ending, STATUS_FAILED, error_text());
		stop_vcpus(machine);
		/* No thread changes the ending any more. */
		*again = machine->control.again = is_wanted_again(machine);
	}
	machine_close(machine);
	if (!ran)
		return -1;
	if (!*again)
		report(machine);
	return machine->ending.status;
}

/* One run; the guest's name is put into @name. */
static int run_once(const struct run_config *config, char name[RUNTIME_NAME_MAX + 1], bool *again)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	int status;

	if (!machine)
		return error_set("out of memory; free some");
	machine_init(machine, config);
	status = run(machine, again);
	strcpy(name, machine->control.name);
	free(machine->vcpus);
	free(machine);
	return status;
}

static int run_again(void *context, const char *name, bool *again)
{
	struct run_config config = *(const struct run_config *)context;
	char same[RUNTIME_NAME_MAX + 1];

	config.name = name;
	return run_once(&config, same, again);
}

int machine_run(const struct run_config *config)
{
	struct run_config copy = *config;
	char name[RUNTIME_NAME_MAX + 1];
	struct reserve reserve;
	bool again = false;
	int status;

	reserve_make(&reserve, run_again, &copy);
	status = run_once(config, name, &again);
	if (again)
		status = reserve_go(&reserve, name);
	reserve_dismiss(&reserve);
	return status;
}
