// SPDX-License-Identifier: GPL-2.0-only
/* What the lines of the control protocol do: one function and one row each. */
#include <errno.h>
#include <limits.h>
#include <linux/vhost.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "control.h"
#include "error.h"
#include "parse.h"
#include "say.h"
#include "status.h"
#include "util.h"

json_t *control_text(const char *text)
{
	json_t *string = json_string(text);
	char *copy;

	if (string)
		return string;
	copy = strdup(text);
	if (!copy)
		return json_null();
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p > '~')
			*p = '?';
	string = json_string(copy);
	free(copy);
	return string;
}

/* Adds what @value returns; a NULL, out of memory, is left out. */
static void put(json_t *object, const char *key, json_t *value)
{
	if (value)
		json_object_set_new(object, key, value);
}

static json_t *out_of_memory(void)
{
	error_set("out of memory; free some");
	return NULL;
}

/* ---- info ---- */

static json_t *describe_console(const struct guest *guest)
{
	const char *spec = guest->config->console, *colon = strchr(spec, ':');
	json_t *object = json_object();
	char path[PATH_MAX];

	put(object, "device", json_string(guest->config->devices.console ? "virtio" : "serial"));
	put(object, "kind", json_stringn(spec, colon ? (size_t)(colon - spec) : strlen(spec)));
	if (colon)
		put(object, "path", control_text(realpath(colon + 1, path) ? path : colon + 1));
	else if (guest->console->is_pty && !ptsname_r(guest->console->in.fd, path, sizeof(path)))
		put(object, "path", control_text(path));
	return object;
}

static json_t *describe_disks(const struct devices_config *config)
{
	json_t *disks = json_array();
	char path[PATH_MAX];

	for (unsigned int i = 0; i < config->nr_disks; i++) {
		const struct disk_config *disk = &config->disks[i];

		json_array_append_new(disks,
				      json_pack("{s:o, s:b, s:o}", "path",
						control_text(realpath(disk->path, path) ? path :
							     disk->path),
						"read_only", disk->read_only, "id",
						control_text(disk->id)));
	}
	return disks;
}

json_t *control_facts(const struct control *control)
{
	const struct guest *guest = &control->guest;
	const struct run_config *config = guest->config;
	json_t *facts = json_pack("{s:i, s:s, s:i, s:o, s:s, s:i, s:I, s:o}", "protocol",
				  CONTROL_PROTOCOL, "name", control->name, "pid", (int)getpid(),
				  "device", control_text(config->device), "hypervisor",
				  guest->vm->version.name, "cpus", (int)config->cpus, "memory",
				  (json_int_t)config->memory, "kernel",
				  control_text(config->boot.kernel));

	if (!facts)
		return out_of_memory();
	if (config->boot.initrd)
		put(facts, "initrd", control_text(config->boot.initrd));
	put(facts, "append", control_text(config->boot.append));
	put(facts, "seccomp", json_string(sandbox_seccomp_state(&config->sandbox)));
	put(facts, "uid", json_integer(config->sandbox.change_user ? config->sandbox.uid : geteuid()));
	put(facts, "console", describe_console(guest));
	put(facts, "disks", describe_disks(&config->devices));
	return facts;
}

static int virtio_call(const struct virtio *virtio, unsigned long request, void *arg)
{
	return virtio->call(virtio->fd, request, arg);
}

/* Of a device that stands still. */
static json_t *describe_queues(const struct virtio_position *queues, unsigned int count)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < count; i++)
		if (queues[i].size)
			json_array_append_new(array,
					      json_pack("{s:i, s:i, s:i, s:i}", "index", (int)i, "size",
							(int)queues[i].size, "avail", (int)queues[i].avail,
							"used", (int)queues[i].used));
	return array;
}

static json_t *describe_device(const struct control *control, unsigned int index)
{
	const struct virtio *virtio = control->guest.devices->list[index];
	struct kiln_virtio_broken broken;
	unsigned char status = 0;
	json_t *object = json_pack("{s:o}", "name", control_text(virtio->name));

	virtio_call(virtio, VHOST_VDPA_GET_STATUS, &status);
	/* A device that stands still was at work, or it would not be stopped. */
	status |= control->paused.status[index];
	put(object, "at_work", json_boolean(status & VIRTIO_CONFIG_S_DRIVER_OK));
	if (!virtio_call(virtio, KILN_VIRTIO_GET_BROKEN, &broken)) {
		broken.cause[sizeof(broken.cause) - 1] = '\0';
		put(object, "broken", control_text(broken.cause));
	}
	if (control->paused.status[index])
		put(object, "queues",
		    describe_queues(control->paused.queues[index], virtio->nr_queues));
	return object;
}

static json_t *describe_devices(const struct control *control)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < control->guest.devices->count; i++)
		json_array_append_new(array, describe_device(control, i));
	return array;
}

static const char *state_name(const struct control *control)
{
	static const char *const names[] = {
		[CONTROL_RUNNING] = "running",
		[CONTROL_SUSPENDING] = "suspending",
		[CONTROL_SUSPENDED] = "suspended",
	};

	return names[control->state];
}

static json_t *describe_button(struct pm *pm)
{
	static const char *const names[] = {
		[PM_BUTTON_NOT_ENABLED] = "not enabled",
		[PM_BUTTON_PENDING] = "pending",
		[PM_BUTTON_TAKEN] = "taken",
	};
	enum pm_button state = pm_button_state(pm);

	return json_pack("{s:s, s:s}", "state", names[state], "why", pm_button_explain(state));
}

static double seconds(int64_t ns)
{
	return (double)ns / NS_PER_SECOND;
}

static double cpu_seconds(const struct vcpu *vcpu)
{
	struct timespec time = { 0 };
	clockid_t clock;

	if (vcpu->running && !pthread_getcpuclockid(vcpu->thread, &clock))
		clock_gettime(clock, &time);
	return seconds(time.tv_sec * NS_PER_SECOND + time.tv_nsec);
}

static double all_cpu_seconds(const struct guest *guest)
{
	double sum = 0;

	for (unsigned int i = 0; i < guest->config->cpus; i++)
		sum += cpu_seconds(&guest->vcpus[i]);
	return sum;
}

static json_t *do_info(struct control *control, struct control_client *client, char **words)
{
	json_t *reply = json_copy(control->facts);

	(void)client;
	(void)words;
	if (!reply)
		return out_of_memory();
	put(reply, "state", json_string(state_name(control)));
	put(reply, "uptime", json_real(seconds(clock_monotonic() - control->started)));
	put(reply, "cpu_seconds", json_real(all_cpu_seconds(&control->guest)));
	put(reply, "devices", describe_devices(control));
	if (control->pressed)
		put(reply, "button", describe_button(control->guest.pm));
	return reply;
}

/* ---- stats ---- */

static int make_room(struct control *control, uint32_t room)
{
	size_t size = sizeof(*control->counters) + room * sizeof(control->counters->counters[0]);
	struct kiln_counters *more = realloc(control->counters, size);

	if (!more)
		return -1;
	control->counters = more;
	control->room = room;
	return 0;
}

static json_t *list_counters(struct kiln_counters *counters)
{
	json_t *object = json_object();

	for (uint32_t i = 0; i < counters->nr; i++) {
		struct kiln_counter *counter = &counters->counters[i];

		counter->name[sizeof(counter->name) - 1] = '\0';
		put(object, counter->name, json_integer((json_int_t)counter->value));
	}
	return object;
}

/* NULL where @fd has none. */
static json_t *counters_of(struct control *control, int fd)
{
	struct kiln_counters *counters;

	do {
		if (!control->counters && make_room(control, 1))
			return NULL;
		counters = control->counters;
		counters->nr = control->room;
		counters->reserved = 0;
		if (!vm_ioctl(fd, KILN_GET_COUNTERS, counters))
			return list_counters(counters);
	} while (errno == E2BIG && counters->nr > control->room &&
		 !make_room(control, counters->nr));
	return NULL;
}

static json_t *vcpu_stats(struct control *control)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < control->guest.config->cpus; i++) {
		struct vcpu *vcpu = &control->guest.vcpus[i];
		json_t *object = json_pack("{s:f}", "cpu_seconds", cpu_seconds(vcpu));

		put(object, "counters", counters_of(control, vcpu->fd));
		json_array_append_new(array, object);
	}
	return array;
}

/* Bytes of the launcher in memory, most of it the guest's. -1: unknown. */
static int64_t resident(const struct control *control)
{
	unsigned long long kib;
	char text[1024], *line;
	ssize_t n = control->memory < 0 ? -1 : pread(control->memory, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	line = strstr(text, "\nRss:");
	if (!line || sscanf(line, "\nRss: %llu", &kib) != 1)
		return -1;
	return (int64_t)(kib * KIB);
}

static json_t *do_stats(struct control *control, struct control_client *client, char **words)
{
	const struct guest *guest = &control->guest;
	int64_t rss = resident(control);
	json_t *reply = json_pack("{s:s, s:s, s:f, s:I}", "name", control->name, "state",
				  state_name(control), "uptime",
				  seconds(clock_monotonic() - control->started), "memory",
				  (json_int_t)guest->config->memory);

	(void)client;
	(void)words;
	if (!reply)
		return out_of_memory();
	if (rss >= 0)
		put(reply, "resident", json_integer(rss));
	put(reply, "counters", counters_of(control, guest->vm->fd));
	put(reply, "vcpus", vcpu_stats(control));
	put(reply, "devices", describe_devices(control));
	return reply;
}

/* ---- balloon ---- */

/* Its place among the devices; -1: there is none. */
static int find_device(const struct devices *devices, uint32_t type)
{
	for (unsigned int i = 0; i < devices->count; i++) {
		uint32_t id = 0;

		if (!virtio_call(devices->list[i], VHOST_VDPA_GET_DEVICE_ID, &id) && id == type)
			return (int)i;
	}
	return -1;
}

/* As in virtio 1.2 §5.5.6.3, with VIRTIO_BALLOON_S_NAMES' words. */
static json_t *balloon_stats(const struct kiln_virtio_balloon *balloon)
{
	static const char *const names[] = {
		[VIRTIO_BALLOON_S_SWAP_IN] = "swap_in",
		[VIRTIO_BALLOON_S_SWAP_OUT] = "swap_out",
		[VIRTIO_BALLOON_S_MAJFLT] = "major_faults",
		[VIRTIO_BALLOON_S_MINFLT] = "minor_faults",
		[VIRTIO_BALLOON_S_MEMFREE] = "free",
		[VIRTIO_BALLOON_S_MEMTOT] = "total",
		[VIRTIO_BALLOON_S_AVAIL] = "available",
		[VIRTIO_BALLOON_S_CACHES] = "caches",
		[VIRTIO_BALLOON_S_HTLB_PGALLOC] = "huge_allocated",
		[VIRTIO_BALLOON_S_HTLB_PGFAIL] = "huge_failed",
	};
	json_t *object = json_object();

	for (unsigned int i = 0; i < ARRAY_SIZE(names) && i < KILN_BALLOON_STATS; i++)
		if (balloon->stats_valid >> i & 1)
			put(object, names[i], json_integer((json_int_t)balloon->stats[i]));
	return object;
}

static int set_balloon(const struct control *control, struct virtio *virtio,
		       struct kiln_virtio_balloon *balloon, const char *text)
{
	uint64_t memory = control->guest.config->memory, size;

	if (parse_number("balloon", text, 0, memory, &size))
		return -1;
	balloon->num_pages = (uint32_t)((memory - size) / GUEST_PAGE);
	if (virtio_call(virtio, KILN_VIRTIO_SET_BALLOON, balloon))
		return error_set("the balloon does not take %s: %s; give another size", text,
				 strerror(errno));
	return 0;
}

static const char *hint_state(uint32_t state)
{
	static const char *const names[] = {
		[KILN_BALLOON_HINT_NONE] = "none",
		[KILN_BALLOON_HINT_ASKED] = "asked",
		[KILN_BALLOON_HINT_BEGUN] = "begun",
		[KILN_BALLOON_HINT_FINISHED] = "finished",
		[KILN_BALLOON_HINT_STOPPED] = "stopped",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

/* NULL: the module has none. */
static json_t *describe_hints(const struct virtio *virtio)
{
	struct kiln_virtio_hint hint;

	if (virtio_call(virtio, KILN_VIRTIO_GET_HINT, &hint))
		return NULL;
	return json_pack("{s:s, s:I, s:I}", "state", hint_state(hint.state), "hinted",
			 (json_int_t)hint.hinted, "returned", (json_int_t)hint.returned);
}

/* While hints are looked at nobody may write to the guest's memory whom the module does not know. */
static int check_hints(const struct control *control)
{
	const struct devices_config *config = &control->guest.config->devices;

	if (control->state != CONTROL_RUNNING)
		return error_set("%s is suspended; `kiln resume %s` first", control->name,
				 control->name);
	for (unsigned int i = 0; i < config->nr_nets; i++)
		if (config->nets[i].vhost)
			return error_set("a network card with vhost=kernel rules hints out; start %s with vhost=kiln",
					 control->name);
	return 0;
}

static int ask_for_hints(const struct control *control, struct virtio *virtio, const char *end)
{
	struct kiln_virtio_hint hint = { .command = KILN_BALLOON_HINT_START };

	if (end) {
		if (strcmp(end, "end"))
			return error_set("balloon hint: %s is not known; it takes end, or nothing", end);
		hint.command = KILN_BALLOON_HINT_DONE;
	}
	if (check_hints(control))
		return -1;
	/* A round that is on is as good. */
	if (!virtio_call(virtio, KILN_VIRTIO_SET_HINT, &hint) || errno == EBUSY)
		return 0;
	if (errno == EOPNOTSUPP)
		return error_set("%s has no balloon driver at work that gives hints (Linux has since 5.0); load virtio_balloon in the guest",
				 control->name);
	return error_set("the balloon does not ask for hints: %s; load a matching module",
			 strerror(errno));
}

static int change_balloon(const struct control *control, struct virtio *virtio,
			  struct kiln_virtio_balloon *balloon, char **words)
{
	if (!words[1])
		return 0;
	if (!strcmp(words[1], "hint"))
		return ask_for_hints(control, virtio, words[2]);
	if (words[2])
		return error_set("balloon: a word too many; it takes a size, or hint");
	return set_balloon(control, virtio, balloon, words[1]);
}

static json_t *describe_balloon(const struct control *control, unsigned int index,
				const struct kiln_virtio_balloon *balloon)
{
	uint64_t memory = control->guest.config->memory;
	json_t *reply = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "state",
				  state_name(control), "memory", (json_int_t)memory, "target",
				  (json_int_t)(memory - balloon->num_pages * GUEST_PAGE), "now",
				  (json_int_t)(memory - min_u64(memory, balloon->actual * GUEST_PAGE)),
				  "reported", (json_int_t)balloon->reported, "device",
				  describe_device(control, index), "guest", balloon_stats(balloon));

	if (reply)
		put(reply, "hints", describe_hints(control->guest.devices->list[index]));
	return reply;
}

static json_t *do_balloon(struct control *control, struct control_client *client, char **words)
{
	int index = find_device(control->guest.devices, VIRTIO_ID_BALLOON);
	struct kiln_virtio_balloon balloon;
	struct virtio *virtio;

	(void)client;
	if (index < 0) {
		error_set("%s has no balloon; start it with --balloon", control->name);
		return NULL;
	}
	virtio = control->guest.devices->list[index];
	if (virtio_call(virtio, KILN_VIRTIO_GET_BALLOON, &balloon)) {
		error_set("the balloon does not answer: %s; load a matching module",
			  strerror(errno));
		return NULL;
	}
	if (change_balloon(control, virtio, &balloon, words))
		return NULL;
	return describe_balloon(control, (unsigned int)index, &balloon);
}

/* ---- the power button and the hard ways ---- */

static json_t *do_shutdown(struct control *control, struct control_client *client, char **words)
{
	(void)client;
	(void)words;
	if (control->state != CONTROL_RUNNING) {
		error_set("%s is suspended; `kiln resume %s` first", control->name, control->name);
		return NULL;
	}
	say("control: power button pressed");
	pm_press_button(control->guest.pm);
	control->pressed = true;
	return json_pack("{s:o}", "button", describe_button(control->guest.pm));
}

/* What it asks for lasts as long as it stays: who gives up has not left a guest that comes back some day. */
static json_t *do_reboot(struct control *control, struct control_client *client, char **words)
{
	json_t *reply = do_shutdown(control, client, words);

	if (reply)
		control->rebooter = client;
	return reply;
}

static json_t *do_destroy(struct control *control, struct control_client *client, char **words)
{
	(void)client;
	(void)words;
	end_run(control->guest.ending, STATUS_ENDED, "ended by kiln destroy");
	return json_object();
}

/* ---- suspend and resume ---- */

static void kick_all(const struct guest *guest)
{
	for (unsigned int i = 0; i < guest->config->cpus; i++)
		vcpu_kick(&guest->vcpus[i]);
}

json_t *control_suspended(struct control *control)
{
	if (pause_devices(&control->paused, control->guest.devices)) {
		control->state = CONTROL_RUNNING;
		gate_open(&control->gate);
		return NULL;
	}
	say("control: suspended");
	control->state = CONTROL_SUSPENDED;
	return json_object();
}

static json_t *do_suspend(struct control *control, struct control_client *client, char **words)
{
	(void)words;
	if (control->state == CONTROL_SUSPENDED) {
		error_set("%s is suspended already; `kiln resume %s` lets it go on", control->name,
			  control->name);
		return NULL;
	}
	if (control->state == CONTROL_RUNNING) {
		control->state = CONTROL_SUSPENDING;
		gate_close(&control->gate);
		kick_all(&control->guest);
	}
	/* Those that never left the gate since the last time do not come to it again. */
	if (gate_all_wait(&control->gate))
		loop_wake(control->stands.fd);
	client->waits = true;
	return NULL;
}

static json_t *do_resume(struct control *control, struct control_client *client, char **words)
{
	(void)client;
	(void)words;
	if (control->state != CONTROL_SUSPENDED) {
		error_set("%s is %s; nothing to resume", control->name, state_name(control));
		return NULL;
	}
	resume_devices(&control->paused, control->guest.devices);
	control->state = CONTROL_RUNNING;
	gate_open(&control->gate);
	say("control: resumed");
	return json_object();
}

/* ---- all ---- */

static const struct {
	const char *name;
	unsigned int max;	/* words after it */
	json_t *(*act)(struct control *control, struct control_client *client, char **words);
} verbs[] = {
	{ "info", 0, do_info },		{ "stats", 0, do_stats },
	{ "balloon", 2, do_balloon },	{ "shutdown", 0, do_shutdown },
	{ "suspend", 0, do_suspend },	{ "resume", 0, do_resume },
	{ "reboot", 0, do_reboot },	{ "destroy", 0, do_destroy },
};

static unsigned int split(char *line, char *words[CONTROL_WORDS + 1])
{
	unsigned int count = 0;
	char *rest, *word;

	for (word = strtok_r(line, " \t\r", &rest); word && count < CONTROL_WORDS;
	     word = strtok_r(NULL, " \t\r", &rest))
		words[count++] = word;
	words[count] = NULL;
	return count;
}

json_t *control_do(struct control *control, struct control_client *client, char *line)
{
	char *words[CONTROL_WORDS + 1];
	unsigned int count = split(line, words);

	if (!count) {
		error_set("an empty line; send a command");
		return NULL;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, words[0]))
			continue;
		if (count - 1 <= verbs[i].max)
			return verbs[i].act(control, client, words);
		error_set("%s: a word too many; it takes %u", words[0], verbs[i].max);
		return NULL;
	}
	error_set("%s: no such command; info, stats, balloon, shutdown, reboot, suspend, resume and destroy are known",
		  words[0]);
	return NULL;
}
