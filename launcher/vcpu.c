// SPDX-License-Identifier: GPL-2.0-only
#include "vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpuid.h"
#include "error.h"
#include "say.h"
#include "status.h"

#define KICK SIGRTMIN

/* ---- exits ---- */

static void die(struct vcpu *vcpu, int err)
{
	struct death death;
	char sentence[32];

	death_collect(&death, vcpu, err);
	snprintf(sentence, sizeof(sentence), "the guest died on vCPU %u", vcpu->id);
	if (!end_run(vcpu->ending, STATUS_DEATH, sentence))
		return;
	vcpu->death = death;
	vcpu->died = true;
}

static void exit_io(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)vcpu->run + run->io.data_offset;

	/* A REP INS or OUTS comes as one exit with @count elements. */
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(vcpu->bus, run->io.port, run->io.size, data);
		else
			bus_read(vcpu->bus, run->io.port, run->io.size, data);
	}
}

static void exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.is_write)
		mmio_write(vcpu->mmio, run->mmio.phys_addr, (uint8_t)run->mmio.len, run->mmio.data);
	else
		mmio_read(vcpu->mmio, run->mmio.phys_addr, (uint8_t)run->mmio.len, run->mmio.data);
}

static void exit_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		end_run(vcpu->ending, STATUS_OFF, "");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		end_run(vcpu->ending, STATUS_RESET, "the guest reset the machine");
		break;
	default:
		die(vcpu, 0);
	}
}

static void exit_dead(struct vcpu *vcpu)
{
	die(vcpu, 0);
}

static void exit_nothing(struct vcpu *vcpu)
{
	(void)vcpu;
}

/* By exit reason; what is not here kills the guest with a sentence. */
static void (*const exits[])(struct vcpu *vcpu) = {
	[KVM_EXIT_IO] = exit_io,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_INTR] = exit_nothing,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = exit_nothing,
	[KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
};

static void handle_exit(struct vcpu *vcpu)
{
	uint32_t reason = vcpu->run->exit_reason;

	if (reason < ARRAY_SIZE(exits) && exits[reason])
		exits[reason](vcpu);
	else
		exit_dead(vcpu);
}

/* ---- the thread ---- */

static bool is_over(struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->stop, __ATOMIC_ACQUIRE);
}

/*
 * Stands still until it may go on. The exchange pairs with vcpu_stop(): who
 * takes its immediate_exit away sees its @stop.
 */
static void stand(struct vcpu *vcpu)
{
	gate_wait(vcpu->gate, &vcpu->stop);
	__atomic_exchange_n(&vcpu->run->immediate_exit, 0, __ATOMIC_ACQ_REL);
	/* So that its watchdogs know; EINVAL: it has no such clock (api.rst 4.70). */
	if (vcpu->tells_clock && !is_over(vcpu))
		ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KICK);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	while (!is_over(vcpu) && !vcpu->died) {
		if (gate_is_closed(vcpu->gate))
			stand(vcpu);
		else if (!ioctl(vcpu->fd, KVM_RUN, NULL))
			handle_exit(vcpu);
		/* EAGAIN: an application processor was woken by INIT (api.rst 4.38). */
		else if (errno != EINTR && errno != EAGAIN)
			die(vcpu, errno);
	}
	return NULL;
}

static void kicked(int signal_number)
{
	/* The system call it interrupts is all that is wanted. */
	(void)signal_number;
}

void vcpu_prepare_signal(void)
{
	struct sigaction action = { .sa_handler = kicked };

	sigaction(KICK, &action, NULL);
}

int vcpu_start(struct vcpu *vcpu)
{
	int err = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);

	if (err)
		return error_set("--cpus: no thread for vCPU %u: %s; give fewer, or raise ulimit -u",
				 vcpu->id, strerror(err));
	vcpu->running = true;
	return 0;
}

void vcpu_kick(struct vcpu *vcpu)
{
	/* Closes the gap between its look at @stop or the gate and KVM_RUN (api.rst, immediate_exit). */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
	pthread_kill(vcpu->thread, KICK);
}

void vcpu_stop(struct vcpu *vcpu)
{
	if (!vcpu->running)
		return;
	__atomic_store_n(&vcpu->stop, true, __ATOMIC_RELEASE);
	vcpu_kick(vcpu);
	gate_shake(vcpu->gate);
}

void vcpu_join(struct vcpu *vcpu)
{
	if (vcpu->running)
		pthread_join(vcpu->thread, NULL);
	vcpu->running = false;
}

/* ---- creation ---- */

static int set_cpuid(struct vcpu *vcpu, const struct vcpu_config *config)
{
	const struct vm *vm = config->vm;

	cpuid_adjust(vm->cpuid, vcpu->id, config->cpus, vm->tsc_deadline);
	if (vm_ioctl(vcpu->fd, KVM_SET_CPUID2, vm->cpuid))
		return error_set("vCPU %u: KVM_SET_CPUID2: %s; load a matching module", vcpu->id,
				 strerror(errno));
	return 0;
}

static int map_run(struct vcpu *vcpu, size_t size)
{
	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		return error_set("vCPU %u: its run area cannot be mapped: %s; give fewer --cpus",
				 vcpu->id, strerror(errno));
	}
	vcpu->run_size = size;
	return 0;
}

int vcpu_create(struct vcpu *vcpu, const struct vcpu_config *config, unsigned int id)
{
	vcpu->id = id;
	vcpu->bus = config->bus;
	vcpu->mmio = config->mmio;
	vcpu->memory = config->memory;
	vcpu->ending = config->ending;
	vcpu->gate = config->gate;
	vcpu->tells_clock = config->vm->kvmclock_ctrl;
	vcpu->fd = vm_ioctl(config->vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)id);
	if (vcpu->fd < 0)
		return error_set("--cpus: vCPU %u cannot be created: %s; give fewer", id,
				 strerror(errno));
	if (map_run(vcpu, config->vm->run_size) || set_cpuid(vcpu, config) ||
	    vcpu_set_firmware_state(vcpu))
		return -1;
	return id ? 0 : vcpu_set_boot_state(vcpu, config->memory, config->boot);
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	vcpu->run = NULL;
	vcpu->fd = -1;
}
