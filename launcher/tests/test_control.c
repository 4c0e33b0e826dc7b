// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket's server, with the loop on a thread of its own as in a
 * run, and a guest whose vCPU is a thread that goes to the gate when told.
 * Its devices are functions of the test.
 */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../control.h"
#include "../error.h"
#include "../status.h"
#include "../util.h"
#include "tap.h"

#define MEMORY (64 * MIB)

static struct {
	struct run_config config;
	struct vm vm;
	struct vcpu vcpu;
	struct kvm_run run;
	struct devices devices;
	struct virtio balloon;
	struct pm pm;
	struct irq_line irq;
	struct ending ending;
	struct console console;
	struct control control;
	struct loop loop;
	struct loop_source over;
	pthread_t thread;
	bool vcpu_stop;
	/* The device's. */
	unsigned char status;
	unsigned int suspends;
	int suspend_error;
	unsigned int base[2];		/* of its queues */
	uint8_t ram[16];
	struct guest_memory memory;
	struct kiln_virtio_balloon told;
	struct kiln_virtio_hint hint;
	int hint_error;
} m;

static void set_irq(struct irq_line *line, bool level)
{
	(void)line;
	(void)level;
}

/* Runs in the loop's thread only, or while that waits. */
static int device_call(int fd, unsigned long request, void *arg)
{
	(void)fd;
	errno = ENOTTY;
	switch (request) {
	case VHOST_VDPA_GET_STATUS:
		*(unsigned char *)arg = m.status;
		return 0;
	case VHOST_VDPA_SET_STATUS:
		m.status = *(unsigned char *)arg;
		return 0;
	case VHOST_VDPA_SUSPEND:
		errno = m.suspend_error;
		if (m.suspend_error)
			return -1;
		m.suspends++;
		m.status &= (unsigned char)~VIRTIO_CONFIG_S_DRIVER_OK;
		return 0;
	case VHOST_GET_VRING_BASE:
		((struct vhost_vring_state *)arg)->num = m.base[((struct vhost_vring_state *)arg)->index];
		return 0;
	case VHOST_VDPA_GET_DEVICE_ID:
		*(uint32_t *)arg = VIRTIO_ID_BALLOON;
		return 0;
	case KILN_VIRTIO_SET_BALLOON:
		m.told = *(struct kiln_virtio_balloon *)arg;
		return 0;
	case KILN_VIRTIO_GET_BALLOON:
		*(struct kiln_virtio_balloon *)arg = m.told;
		return 0;
	case KILN_VIRTIO_SET_HINT:
		errno = m.hint_error;
		if (m.hint_error)
			return -1;
		m.hint.command = ((struct kiln_virtio_hint *)arg)->command;
		return 0;
	case KILN_VIRTIO_GET_HINT:
		*(struct kiln_virtio_hint *)arg = m.hint;
		return 0;
	default:
		return -1;
	}
}

static void over_ready(struct loop_source *source, uint32_t events)
{
	(void)source;
	(void)events;
	loop_stop(&m.loop);
}

static void *run_loop(void *arg)
{
	(void)arg;
	loop_run(&m.loop);
	return NULL;
}

/* What vcpu.c does, without a device. */
static void *run_vcpu(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&m.vcpu_stop, __ATOMIC_ACQUIRE)) {
		if (gate_is_closed(&m.control.gate))
			gate_wait(&m.control.gate, &m.vcpu_stop);
		usleep(1000);
	}
	return NULL;
}

static void make_guest(void)
{
	m.config = (struct run_config){ .cpus = 1, .memory = MEMORY, .console = "file:/nowhere/x",
					.device = "/dev/\xff", .boot.kernel = "k\xc3\xa4rnel",
					.boot.append = "quiet" };
	strcpy(m.vm.version.name, "test");
	m.vm.fd = m.vcpu.fd = -1;
	m.vcpu.run = &m.run;
	m.vcpu.gate = &m.control.gate;
	m.irq.set = set_irq;
	virtio_init(&m.balloon, "--balloon");
	pthread_mutex_init(&m.balloon.pci.lock, NULL);
	m.balloon.call = device_call;
	m.devices.list[0] = &m.balloon;
	m.devices.count = 1;
	m.status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK;
	console_init(&m.console);
}

static char name[RUNTIME_NAME_MAX + 1];

static bool set_up(void)
{
	struct guest guest = { &m.config, &m.vm, &m.vcpu, &m.devices, &m.pm, &m.ending, &m.console };

	memset(&m, 0, sizeof(m));
	snprintf(name, sizeof(name), "unit-test-%d", getpid());
	make_guest();
	control_init(&m.control);
	vcpu_prepare_signal();
	if (control_open(&m.control, name) || loop_create(&m.loop))
		return false;
	m.over = (struct loop_source){ loop_eventfd(), over_ready };
	ending_init(&m.ending, m.over.fd);
	pm_init(&m.pm, &m.irq, &m.ending, clock_monotonic);
	if (loop_add(&m.loop, &m.over, EPOLLIN) || control_make_gate(&m.control, &m.loop, 1) ||
	    pthread_create(&m.vcpu.thread, NULL, run_vcpu, NULL) ||
	    control_start(&m.control, &guest))
		return false;
	m.vcpu.running = true;
	return !pthread_create(&m.thread, NULL, run_loop, NULL);
}

static void take_down(void)
{
	end_run(&m.ending, STATUS_OFF, "");
	pthread_join(m.thread, NULL);
	__atomic_store_n(&m.vcpu_stop, true, __ATOMIC_RELEASE);
	gate_shake(&m.control.gate);
	pthread_join(m.vcpu.thread, NULL);
	control_stop(&m.control);
	control_close(&m.control, &m.ending);
	close(m.over.fd);
	loop_destroy(&m.loop);
}

/* ---- the client ---- */

static int dial(void)
{
	struct runtime runtime;
	int fd;

	if (runtime_open(&runtime, false))
		return -1;
	fd = runtime_connect(&runtime, name);
	close(runtime.fd);
	return fd;
}

/* The next line into @line; false at the end or after @ms. */
static bool get_line(int fd, char *line, size_t size, int ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	size_t used = 0;

	while (used + 1 < size && poll(&poll_fd, 1, ms) == 1 && read(fd, line + used, 1) == 1) {
		if (line[used] == '\n') {
			line[used] = '\0';
			return true;
		}
		used++;
	}
	return false;
}

static char reply[8192];

static bool ask(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
		return false;
	return get_line(fd, reply, sizeof(reply), 5000);
}

static bool says(const char *text)
{
	return strstr(reply, text) != NULL;
}

/* ---- the tests ---- */

static void info_says_what_the_guest_is(void)
{
	int fd;

	CHECK(set_up());
	fd = dial();
	CHECK(ask(fd, "info\n"));
	CHECK(says("\"ok\":true") && says("\"protocol\":1") && says("\"state\":\"running\""));
	CHECK(says("\"memory\":67108864") && says(name));
	CHECK(says("\"kind\":\"file\"") && says("\"path\":\"/nowhere/x\""));
	/* UTF-8 stays, other bytes do not get out. */
	CHECK(says("k\xc3\xa4rnel") && says("\"/dev/?\""));
	CHECK(says("\"at_work\":true") && !says("button"));
	CHECK(ask(fd, "stats\n") && says("\"vcpus\":[{") && !says("\"counters\""));
	close(fd);
	take_down();
}

static void bad_lines_get_sentences(void)
{
	static const struct {
		const char *line, *answer;
	} rows[] = {
		{ "\n", "an empty line" },
		{ "nonsense\n", "nonsense: no such command; info, stats" },
		{ "info now\n", "info: a word too many" },
		{ "balloon x\n", "balloon" },
		{ "balloon 67108865\n", "balloon" },
		{ "balloon 1 2\n", "balloon: a word too many" },
		{ "balloon hint 2\n", "balloon hint: 2 is not known" },
		{ "balloon hint end 2\n", "balloon: a word too many" },
		{ "a b c d e f g h\n", "a: no such command" },
		{ "\xff\xfe\n", "??: no such command" },
		{ "resume\n", "nothing to resume" },
	};
	int fd;

	CHECK(set_up());
	fd = dial();
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK(ask(fd, rows[i].line));
		CHECK(says("\"ok\":false") && says(rows[i].answer));
	}
	CHECK(ask(fd, "info\r\n") && says("\"ok\":true"));
	CHECK(!m.told.num_pages);
	close(fd);
	take_down();
}

static void a_line_without_end_ends_the_connection(void)
{
	char text[CONTROL_LINE + 1];
	int fd;

	CHECK(set_up());
	fd = dial();
	memset(text, 'x', sizeof(text));
	text[CONTROL_LINE] = '\0';
	CHECK(ask(fd, text) && says("\"ok\":false") && says("at most 256 bytes"));
	CHECK(!get_line(fd, reply, sizeof(reply), 5000));
	close(fd);
	take_down();
}

static void several_lines_get_as_many_answers(void)
{
	int fd;

	CHECK(set_up());
	fd = dial();
	CHECK(ask(fd, "info\nnonsense\nstats\ninf") && says("protocol"));
	CHECK(get_line(fd, reply, sizeof(reply), 5000) && says("no such command"));
	CHECK(get_line(fd, reply, sizeof(reply), 5000) && says("vcpus"));
	CHECK(!get_line(fd, reply, sizeof(reply), 50));
	CHECK(ask(fd, "o\n") && says("protocol"));
	close(fd);
	take_down();
}

/* It neither reads nor goes: others are served all the same. */
static void a_client_that_does_not_read_costs_one_answer(void)
{
	int lazy, fd;

	CHECK(set_up());
	lazy = dial();
	for (unsigned int i = 0; i < 20000; i++)
		if (send(lazy, "info\n", 5, MSG_NOSIGNAL | MSG_DONTWAIT) != 5)
			break;
	fd = dial();
	CHECK(ask(fd, "info\n") && says("\"ok\":true"));
	close(fd);
	close(lazy);
	take_down();
}

static void the_17th_client_is_turned_away(void)
{
	int fds[CONTROL_CLIENTS + 1];

	CHECK(set_up());
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial();
	CHECK(get_line(fds[CONTROL_CLIENTS], reply, sizeof(reply), 5000));
	CHECK(says("too many connections"));
	CHECK(ask(fds[CONTROL_CLIENTS - 1], "info\n") && says("\"ok\":true"));
	close(fds[3]);
	close(fds[CONTROL_CLIENTS]);
	for (unsigned int i = 0; i < 50; i++) {
		fds[3] = dial();
		if (ask(fds[3], "info\n") && says("\"ok\":true"))
			break;
		close(fds[3]);
		usleep(20000);
	}
	CHECK(says("\"ok\":true"));
	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++)
		close(fds[i]);
	take_down();
}

static void suspend_stops_vcpus_and_devices(void)
{
	int fd;

	CHECK(set_up());
	fd = dial();
	CHECK(ask(fd, "suspend\n") && says("\"ok\":true"));
	CHECK(gate_all_wait(&m.control.gate) && m.suspends == 1);
	CHECK(!(m.status & VIRTIO_CONFIG_S_DRIVER_OK));
	CHECK(ask(fd, "info\n") && says("\"state\":\"suspended\"") && says("\"at_work\":true"));
	CHECK(ask(fd, "suspend\n") && says("suspended already"));
	CHECK(ask(fd, "shutdown\n") && says("first"));
	CHECK(ask(fd, "resume\n") && says("\"ok\":true"));
	CHECK(m.status & VIRTIO_CONFIG_S_DRIVER_OK && !gate_is_closed(&m.control.gate));
	for (unsigned int i = 0; i < 50; i++) {
		CHECK(ask(fd, "suspend\n") && says("\"ok\":true"));
		CHECK(ask(fd, "resume\n") && says("\"ok\":true"));
	}
	CHECK(m.suspends == 51);
	close(fd);
	take_down();
}

static void a_suspended_guest_says_where_its_queues_are(void)
{
	static const uint16_t used_idx = 0xfffe;
	int fd;

	CHECK(set_up());
	m.memory = (struct guest_memory){ .base = m.ram, .low_size = sizeof(m.ram) };
	memcpy(m.ram + 10, &used_idx, sizeof(used_idx));
	m.balloon.memory = &m.memory;
	m.balloon.nr_queues = 3;
	m.balloon.queues[1] = (struct virtio_queue){ .size = 256, .enabled = true, .areas = { 0, 0, 8 } };
	m.base[1] = 0xffff;
	fd = dial();
	CHECK(ask(fd, "info\n") && !says("\"queues\""));
	CHECK(ask(fd, "suspend\n") && ask(fd, "info\n"));
	CHECK(says("\"queues\":[{\"index\":1,\"size\":256,\"avail\":65535,\"used\":65534}]"));
	CHECK(ask(fd, "resume\n") && ask(fd, "info\n") && !says("\"queues\""));
	/* Of a packed ring the device says both. */
	m.balloon.driver_features = 1ULL << VIRTIO_F_RING_PACKED;
	m.base[1] = 0x80058006;
	CHECK(ask(fd, "suspend\n") && ask(fd, "info\n"));
	CHECK(says("\"avail\":32774,\"used\":32773}"));
	close(fd);
	take_down();
}

static void a_device_that_does_not_stop_leaves_the_guest_running(void)
{
	int fd;

	CHECK(set_up());
	m.suspend_error = EIO;
	fd = dial();
	CHECK(ask(fd, "suspend\n") && says("\"ok\":false") && says("--balloon"));
	CHECK(ask(fd, "info\n") && says("\"state\":\"running\""));
	CHECK(!gate_is_closed(&m.control.gate) && m.status & VIRTIO_CONFIG_S_DRIVER_OK);
	close(fd);
	take_down();
}

static void two_may_suspend_at_once(void)
{
	int one, two;

	CHECK(set_up());
	one = dial();
	two = dial();
	CHECK(send(one, "suspend\n", 8, MSG_NOSIGNAL) == 8);
	CHECK(ask(two, "suspend\n"));
	CHECK(says("\"ok\":true") || says("suspended already"));
	CHECK(get_line(one, reply, sizeof(reply), 5000));
	CHECK(says("\"ok\":true") || says("suspended already"));
	CHECK(m.suspends == 1);
	close(one);
	close(two);
	take_down();
}

static void the_balloon_is_told_in_pages(void)
{
	int fd;

	CHECK(set_up());
	fd = dial();
	CHECK(ask(fd, "balloon\n") && says("\"target\":67108864") && says("\"now\":67108864"));
	m.told.stats_seconds = 5;
	CHECK(ask(fd, "balloon 16777216\n") && says("\"target\":16777216"));
	CHECK(m.told.num_pages == 48 * MIB / 4096 && m.told.stats_seconds == 5);
	m.told.actual = m.told.num_pages;
	m.told.stats_valid = 1 << 4;
	m.told.stats[4] = 1234;
	CHECK(ask(fd, "balloon\n") && says("\"now\":16777216") && says("\"free\":1234"));
	m.devices.count = 0;
	CHECK(ask(fd, "balloon\n") && says("has no balloon; start it with --balloon"));
	close(fd);
	take_down();
}

/* Its driver is there, though the device does not work for now. */
static void the_balloon_of_a_suspended_guest_has_a_driver(void)
{
	int fd;

	CHECK(set_up());
	fd = dial();
	CHECK(ask(fd, "balloon\n") && says("\"state\":\"running\"") && says("\"at_work\":true"));
	CHECK(ask(fd, "suspend\n") && says("\"ok\":true"));
	CHECK(ask(fd, "balloon 16777216\n") && says("\"state\":\"suspended\"") &&
	      says("\"at_work\":true") && says("\"target\":16777216"));
	CHECK(ask(fd, "resume\n") && says("\"ok\":true"));
	CHECK(ask(fd, "balloon\n") && says("\"state\":\"running\"") && says("\"at_work\":true"));
	close(fd);
	take_down();
}

static void the_balloon_asks_for_hints(void)
{
	int fd;

	CHECK(set_up());
	fd = dial();
	m.hint.command = ~0U;
	CHECK(ask(fd, "balloon\n") && says("\"state\":\"none\"") && m.hint.command == ~0U);
	m.hint.state = KILN_BALLOON_HINT_BEGUN;
	m.hint.hinted = 8192;
	m.hint.returned = 4096;
	CHECK(ask(fd, "balloon hint\n") && says("\"state\":\"begun\"") && says("\"hinted\":8192") &&
	      says("\"returned\":4096"));
	CHECK(m.hint.command == KILN_BALLOON_HINT_START);
	CHECK(ask(fd, "balloon hint end\n") && says("\"ok\":true"));
	CHECK(m.hint.command == KILN_BALLOON_HINT_DONE && m.told.num_pages == 0);
	/* One that is on already will do. */
	m.hint_error = EBUSY;
	CHECK(ask(fd, "balloon hint\n") && says("\"ok\":true"));
	m.hint_error = EOPNOTSUPP;
	CHECK(ask(fd, "balloon hint\n") && says("\"ok\":false") && says("no balloon driver at work that gives hints"));
	m.hint_error = ENOTTY;
	CHECK(ask(fd, "balloon hint\n") && says("load a matching module"));
	m.hint_error = 0;
	m.config.devices.nr_nets = 1;
	m.config.devices.nets[0].vhost = true;
	CHECK(ask(fd, "balloon hint\n") && says("vhost=kernel rules hints out"));
	m.config.devices.nr_nets = 0;
	CHECK(ask(fd, "suspend\n") && says("\"ok\":true"));
	CHECK(ask(fd, "balloon hint\n") && says("is suspended"));
	close(fd);
	take_down();
}

static void the_end_is_told_to_all(void)
{
	int one, two;

	CHECK(set_up());
	one = dial();
	two = dial();
	CHECK(ask(one, "shutdown\n") && says("\"state\":\"not enabled\"") && says("\"why\""));
	CHECK(ask(two, "destroy\n") && says("\"ok\":true"));
	take_down();
	CHECK(get_line(one, reply, sizeof(reply), 5000) && says("\"event\":\"ended\""));
	CHECK(says("\"status\":10") && says("ended by kiln destroy") && says("\"again\":false"));
	CHECK(get_line(two, reply, sizeof(reply), 5000) && says("\"event\":\"ended\""));
	CHECK(!get_line(one, reply, sizeof(reply), 5000));
	close(one);
	close(two);
}

static void a_reboot_is_wanted_while_its_client_stays(void)
{
	int fd, other;

	CHECK(set_up());
	fd = dial();
	other = dial();
	CHECK(ask(fd, "reboot\n") && says("\"ok\":true") && says("\"button\""));
	CHECK(ask(other, "info\n") && m.control.rebooter);
	close(fd);
	for (unsigned int i = 0; i < 50 && m.control.rebooter; i++)
		CHECK(ask(other, "info\n"));
	CHECK(!m.control.rebooter);
	close(other);
	take_down();
}

static const struct test tests[] = {
	TEST(info_says_what_the_guest_is),
	TEST(bad_lines_get_sentences),
	TEST(a_line_without_end_ends_the_connection),
	TEST(several_lines_get_as_many_answers),
	TEST(a_client_that_does_not_read_costs_one_answer),
	TEST(the_17th_client_is_turned_away),
	TEST(suspend_stops_vcpus_and_devices),
	TEST(a_suspended_guest_says_where_its_queues_are),
	TEST(a_device_that_does_not_stop_leaves_the_guest_running),
	TEST(two_may_suspend_at_once),
	TEST(the_balloon_is_told_in_pages),
	TEST(the_balloon_of_a_suspended_guest_has_a_driver),
	TEST(the_balloon_asks_for_hints),
	TEST(the_end_is_told_to_all),
	TEST(a_reboot_is_wanted_while_its_client_stays),
	TESTS_END
};

const struct suite suite_control = { "control", tests };
