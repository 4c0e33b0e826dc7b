// SPDX-License-Identifier: GPL-2.0-only
#include "../bus.h"
#include "../ending.h"
#include "../ports.h"
#include "../status.h"
#include "../util.h"
#include "tap.h"

struct probe {
	struct port_device port;
	unsigned int reads, writes;
	uint16_t offset;
	uint8_t size;
	uint32_t value;
};

static uint32_t probe_read(struct port_device *device, uint16_t offset, uint8_t size)
{
	struct probe *probe = container_of(device, struct probe, port);

	probe->reads++;
	probe->offset = offset;
	probe->size = size;
	return 0x11223340u + offset;
}

static void probe_write(struct port_device *device, uint16_t offset, uint8_t size, uint32_t value)
{
	struct probe *probe = container_of(device, struct probe, port);

	probe->writes++;
	probe->offset = offset;
	probe->size = size;
	probe->value = value;
}

static struct bus bus;
static struct probe probe;

static void set_up(uint16_t base, uint16_t len, bool bytes)
{
	bus = (struct bus){ 0 };
	probe = (struct probe){ .port = { "probe", base, len, bytes, probe_read, probe_write } };
	bus_add(&bus, &probe.port);
}

static void unclaimed_ports_read_as_ones(void)
{
	uint8_t data[4] = { 0 };

	set_up(0x100, 4, false);
	bus_read(&bus, 0xff, 1, data);
	CHECK(data[0] == 0xff && data[1] == 0);
	bus_read(&bus, 0x104, 4, data);
	CHECK(!memcmp(data, "\xff\xff\xff\xff", 4));
	bus_write(&bus, 0x104, 4, data);
	CHECK(!probe.reads && !probe.writes);
}

static void accesses_within_a_range_stay_whole(void)
{
	uint8_t data[4] = { 1, 2, 3, 4 };

	set_up(0x100, 4, false);
	bus_write(&bus, 0x100, 4, data);
	CHECK(probe.writes == 1 && probe.size == 4 && probe.value == 0x04030201);
	bus_read(&bus, 0x102, 2, data);
	CHECK(probe.reads == 1 && probe.offset == 2 && data[0] == 0x42 && data[1] == 0x33);
}

static void byte_devices_get_bytes(void)
{
	uint8_t data[4] = { 1, 2, 3, 4 };

	set_up(0x100, 8, true);
	bus_write(&bus, 0x101, 4, data);
	CHECK(probe.writes == 4 && probe.size == 1 && probe.offset == 4 && probe.value == 4);
	bus_read(&bus, 0x100, 2, data);
	CHECK(probe.reads == 2 && data[0] == 0x40 && data[1] == 0x41);
}

static void accesses_over_an_end_are_cut_there(void)
{
	uint8_t data[4] = { 0 };

	set_up(0x100, 2, false);
	bus_read(&bus, 0x101, 4, data);
	CHECK(probe.reads == 1 && probe.offset == 1);
	CHECK(data[0] == 0x41 && data[1] == 0xff && data[3] == 0xff);
	set_up(0xfffe, 2, false);
	bus_write(&bus, 0xffff, 4, data);
	CHECK(probe.writes == 1 && probe.offset == 1);
}

static void the_first_ending_decides(void)
{
	struct ending ending;

	ending_init(&ending, -1);
	CHECK(end_run(&ending, STATUS_RESET, "first"));
	CHECK(!end_run(&ending, STATUS_OFF, "second"));
	CHECK(ending.over && ending.status == STATUS_RESET && !strcmp(ending.sentence, "first"));
}

static void debug_exit_takes_any_width(void)
{
	struct end_port device;
	struct ending ending;
	uint8_t data[4] = { 21, 0, 0, 0 };

	for (uint8_t size = 1; size <= 4; size *= 2) {
		bus = (struct bus){ 0 };
		ending_init(&ending, -1);
		debug_exit_init(&device, &ending);
		bus_add(&bus, &device.port);
		bus_write(&bus, DEBUG_EXIT_PORT, size, data);
		CHECK(ending.over && ending.status == 43);
	}
}

static void only_the_pulse_resets(void)
{
	struct end_port device;
	struct ending ending;
	uint8_t value = 0xad, status = 0xff;

	bus = (struct bus){ 0 };
	ending_init(&ending, -1);
	keyboard_init(&device, &ending);
	bus_add(&bus, &device.port);
	bus_write(&bus, KEYBOARD_PORT, 1, &value);
	CHECK(!ending.over);
	bus_read(&bus, KEYBOARD_PORT, 1, &status);
	CHECK(status == 0);
	value = 0xfe;
	bus_write(&bus, KEYBOARD_PORT, 1, &value);
	CHECK(ending.over && ending.status == STATUS_RESET);
}

static const struct test tests[] = {
	TEST(unclaimed_ports_read_as_ones),
	TEST(accesses_within_a_range_stay_whole),
	TEST(byte_devices_get_bytes),
	TEST(accesses_over_an_end_are_cut_there),
	TEST(the_first_ending_decides),
	TEST(debug_exit_takes_any_width),
	TEST(only_the_pulse_resets),
	TESTS_END
};

const struct suite suite_bus = { "bus", tests };
