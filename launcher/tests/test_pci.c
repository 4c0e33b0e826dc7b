// SPDX-License-Identifier: GPL-2.0-only
#include "../error.h"
#include "../pci.h"
#include "tap.h"

#define BAR_SIZE 0x4000ULL

struct probe {
	struct pci_device pci;
	unsigned int moves, accesses, writes;
	uint64_t offset, value;
	uint8_t size;
};

static uint64_t probe_read(struct pci_device *device, unsigned int bar, uint64_t offset,
			   uint8_t size)
{
	struct probe *probe = container_of(device, struct probe, pci);

	(void)bar;
	probe->accesses++;
	probe->offset = offset;
	probe->size = size;
	return 0x77;
}

static void probe_write(struct pci_device *device, unsigned int bar, uint64_t offset, uint8_t size,
			uint64_t value)
{
	struct probe *probe = container_of(device, struct probe, pci);

	(void)bar;
	probe->accesses++;
	probe->offset = offset;
	probe->size = size;
	probe->value = value;
}

static void probe_moved(struct pci_device *device, unsigned int bar)
{
	struct probe *probe = container_of(device, struct probe, pci);

	(void)bar;
	probe->moves++;
}

static void probe_written(struct pci_device *device, unsigned int at, unsigned int size)
{
	struct probe *probe = container_of(device, struct probe, pci);

	(void)at;
	(void)size;
	probe->writes++;
}

static const struct pci_ops ops = {
	.read = probe_read, .write = probe_write, .moved = probe_moved,
	.config_written = probe_written,
};

static struct bus bus;
static struct mmio mmio;
static struct pci_host host;
static struct irq_line irqs[PCI_GSIS];
static struct probe probe, other;

static void set_line(struct irq_line *line, bool level)
{
	(void)line;
	(void)level;
}

static void set_up_probe(struct probe *p)
{
	static const struct pci_identity identity = {
		.vendor = 0x1234, .device = 0x5678, .subsystem_vendor = 0x9abc,
		.subsystem = 0xdef0, .class = 0x018000, .revision = 3,
	};

	memset(p, 0, sizeof(*p));
	pci_device_init(&p->pci, "probe", &ops, &identity);
	pci_add_bar(&p->pci, 0, BAR_SIZE);
	pci_add_pin(&p->pci);
}

static void set_up(void)
{
	bus = (struct bus){ 0 };
	for (unsigned int i = 0; i < PCI_GSIS; i++)
		irqs[i] = (struct irq_line){ .set = set_line, .gsi = PCI_GSI + i };
	mmio_init(&mmio);
	pci_host_init(&host, &mmio, irqs);
	bus_add(&bus, &host.ports);
	set_up_probe(&probe);
	pci_add(&host, &probe.pci);
}

/* Mechanism #1. */
static uint32_t read_port(unsigned int slot, unsigned int at, uint8_t size)
{
	uint32_t address = 0x80000000u | slot << 11 | (at & ~3u), value = 0;

	bus_write(&bus, 0xcf8, 4, (uint8_t *)&address);
	bus_read(&bus, (uint16_t)(0xcfc + (at & 3)), size, (uint8_t *)&value);
	return value;
}

static void write_port(unsigned int slot, unsigned int at, uint8_t size, uint32_t value)
{
	uint32_t address = 0x80000000u | slot << 11 | (at & ~3u);

	bus_write(&bus, 0xcf8, 4, (uint8_t *)&address);
	bus_write(&bus, (uint16_t)(0xcfc + (at & 3)), size, (uint8_t *)&value);
}

static uint32_t read_memory(unsigned int slot, unsigned int at, uint8_t size)
{
	uint32_t value = 0;

	mmio_read(&mmio, PCI_MMCONFIG + (slot << 15) + at, size, (uint8_t *)&value);
	return value;
}

static uint64_t bar(void)
{
	return (read_port(1, 0x10, 4) & ~0xfu) | (uint64_t)read_port(1, 0x14, 4) << 32;
}

static bool answers_at(uint64_t address)
{
	uint8_t data[4];

	mmio_read(&mmio, address, 4, data);
	return data[0] == 0x77;
}

static void both_ways_lead_to_the_same_registers(void)
{
	set_up();
	CHECK(read_port(1, 0, 4) == 0x56781234 && read_memory(1, 0, 4) == 0x56781234);
	CHECK(read_port(1, 2, 2) == 0x5678 && read_memory(1, 3, 1) == 0x56);
	CHECK(read_port(1, 8, 4) == 0x01800003);
	CHECK(read_port(1, 0x2c, 4) == 0xdef09abc);
	CHECK(read_port(0, 8, 4) == 0x06000000 && read_port(0, 0, 4) != ~0u);
	write_port(1, 0x3c, 1, 42);
	CHECK(read_memory(1, 0x3c, 2) == (0x100 | 42));
}

static void what_is_not_there_reads_as_ones(void)
{
	uint32_t address = 0x80000000u | 1u << 16 | 1u << 11, value = 0;

	set_up();
	CHECK(read_port(2, 0, 4) == ~0u && read_memory(2, 0, 4) == ~0u);
	/* Function 1, and bus 1. */
	CHECK(read_memory(1, 0x1000, 4) == ~0u);
	bus_write(&bus, 0xcf8, 4, (uint8_t *)&address);
	bus_read(&bus, 0xcfc, 4, (uint8_t *)&value);
	CHECK(value == ~0u);
	/* Beyond the 256 bytes, and over their end. */
	CHECK(read_memory(1, 0x100, 4) == ~0u && read_memory(1, 0xfe, 4) == ~0u);
	CHECK(read_memory(1, 0xfff, 1) == 0xff);
}

static void the_address_register_takes_whole_writes_only(void)
{
	uint32_t address = 0x80000800u, value = 0;

	set_up();
	bus_write(&bus, 0xcf8, 4, (uint8_t *)&address);
	bus_write(&bus, 0xcf9, 1, (const uint8_t *)"\x10");
	bus_write(&bus, 0xcf8, 2, (const uint8_t *)"\x10\x10");
	bus_read(&bus, 0xcf8, 4, (uint8_t *)&value);
	CHECK(value == address);
	address = 0x00000800;	/* not enabled */
	bus_write(&bus, 0xcf8, 4, (uint8_t *)&address);
	bus_read(&bus, 0xcfc, 4, (uint8_t *)&value);
	CHECK(value == ~0u);
	address = ~0u;
	bus_write(&bus, 0xcf8, 4, (uint8_t *)&address);
	bus_read(&bus, 0xcf8, 4, (uint8_t *)&value);
	CHECK(value == 0x80fffffc);
}

static void read_only_and_reserved_bits_stay(void)
{
	uint8_t before[PCI_CONFIG_SIZE];

	set_up();
	memcpy(before, probe.pci.config, sizeof(before));
	for (unsigned int at = 0; at < PCI_CONFIG_SIZE; at++) {
		/* Cache line size, BAR 0 and interrupt line are the guest's; the command is below. */
		if (at == 0xc || at == 0x3c || (at >= 0x10 && at < 0x18) || at == 4 || at == 5)
			continue;
		write_port(1, at, 1, (uint8_t)~before[at]);
		CHECK(probe.pci.config[at] == before[at]);
	}
	write_port(1, 4, 2, 0xffff);
	CHECK(read_port(1, 4, 2) == 0x0406);	/* memory, bus master, interrupt disable */
	write_port(1, 6, 2, 0xffff);
	CHECK(read_port(1, 6, 2) == 0);
}

static void bars_tell_their_size_and_type(void)
{
	set_up();
	CHECK((read_port(1, 0x10, 4) & 0xf) == 4);	/* memory, 64 bits */
	write_port(1, 0x10, 4, ~0u);
	write_port(1, 0x14, 4, ~0u);
	CHECK(read_port(1, 0x10, 4) == (uint32_t)(~(BAR_SIZE - 1) | 4));
	CHECK(read_port(1, 0x14, 4) == ~0u);
	write_port(1, 0x18, 4, ~0u);
	CHECK(read_port(1, 0x18, 4) == 0);		/* no such BAR */
	write_port(1, 0x30, 4, ~0u);
	CHECK(read_port(1, 0x30, 4) == 0);		/* no expansion ROM */
}

static void bars_lie_in_the_window_and_apart(void)
{
	set_up();
	set_up_probe(&other);
	CHECK(!pci_add(&host, &other.pci));
	CHECK(bar() >= PCI_WINDOW && bar() + BAR_SIZE <= PCI_WINDOW_END && !(bar() % BAR_SIZE));
	CHECK((read_port(2, 0x10, 4) & ~0xfu) >= bar() + BAR_SIZE);
}

static void bars_answer_while_memory_is_enabled(void)
{
	uint64_t at;

	set_up();
	at = bar();
	CHECK(!answers_at(at));
	write_port(1, 4, 2, PCI_COMMAND_MEMORY);
	CHECK(probe.moves == 1 && answers_at(at + 8) && probe.offset == 8 && probe.size == 4);
	CHECK(!answers_at(at + BAR_SIZE));
	write_port(1, 4, 1, 0);
	CHECK(probe.moves == 2 && !answers_at(at));
	write_port(1, 5, 1, 4);
	CHECK(probe.moves == 2);
}

static void bars_move_where_the_guest_puts_them(void)
{
	uint64_t at;

	set_up();
	at = bar();
	write_port(1, 4, 2, PCI_COMMAND_MEMORY);
	write_port(1, 0x10, 4, 0xd0000000);
	CHECK(probe.moves == 2 && answers_at(0xd0000000) && !answers_at(at));
	write_port(1, 0x10, 4, 0xd0000000);
	CHECK(probe.moves == 2);
	/* By single bytes, too: 0xd1000000. */
	write_port(1, 0x13, 1, 0xd1);
	CHECK(probe.moves == 3 && answers_at(0xd1000000));
}

static void bars_outside_of_the_window_answer_nowhere(void)
{
	static const uint64_t bad[] = {
		0, 0x1000000, PCI_WINDOW - BAR_SIZE, PCI_WINDOW_END, PCI_WINDOW_END - BAR_SIZE / 2,
		0xfec00000, 0xfee00000, 4 * GIB, 0xffffffffffffc000,
	};

	set_up();
	write_port(1, 4, 2, PCI_COMMAND_MEMORY);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		write_port(1, 0x10, 4, (uint32_t)bad[i]);
		write_port(1, 0x14, 4, (uint32_t)(bad[i] >> 32));
		/* Half a BAR is no place: the register has whole ones. */
		CHECK(probe.pci.bars[0].mapped == (bad[i] == PCI_WINDOW_END - BAR_SIZE / 2));
	}
	write_port(1, 0x14, 4, 0);
	write_port(1, 0x10, 4, 0xd0000000);
	CHECK(answers_at(0xd0000000));
}

static void slots_and_window_run_out_with_a_sentence(void)
{
	static struct probe many[PCI_SLOTS];
	static const struct pci_identity identity;
	unsigned int added = 0;

	set_up();
	for (; added < PCI_SLOTS; added++) {
		set_up_probe(&many[added]);
		if (pci_add(&host, &many[added].pci))
			break;
	}
	CHECK(added == PCI_SLOTS - 2);
	CHECK_ERROR("probe: the PCI bus has 32 devices");
	set_up();
	pci_device_init(&other.pci, "large", &ops, &identity);
	pci_add_bar(&other.pci, 0, 2 * GIB);
	CHECK(pci_add(&host, &other.pci));
	CHECK_ERROR("large: no room left");
}

static void lines_are_on_while_one_device_wants_it(void)
{
	static struct probe many[PCI_GSIS + 1];
	struct irq_line *line = &irqs[1];

	set_up();
	for (unsigned int i = 0; i < PCI_GSIS; i++) {
		set_up_probe(&many[i]);
		CHECK(!pci_add(&host, &many[i].pci));
	}
	CHECK(read_port(1, 0x3c, 1) == PCI_GSI + 1 && read_port(9, 0x3c, 1) == PCI_GSI + 1);
	pci_set_interrupt(&probe.pci, true);
	pci_set_interrupt(&many[7].pci, true);	/* device 9 */
	CHECK(line->level && !irqs[2].level);
	pci_set_interrupt(&probe.pci, false);
	CHECK(line->level);
	pci_set_interrupt(&many[7].pci, false);
	CHECK(!line->level);
}

static void the_pin_can_be_disabled_and_is_shown(void)
{
	set_up();
	write_port(1, 4, 2, PCI_COMMAND_INTX_DISABLE);
	pci_set_interrupt(&probe.pci, true);
	CHECK(!irqs[1].level && read_port(1, 6, 2) == PCI_STATUS_INTERRUPT);
	write_port(1, 4, 2, 0);
	CHECK(irqs[1].level);
	pci_set_interrupt(&probe.pci, false);
	CHECK(!irqs[1].level && !read_port(1, 6, 2));
}

static void capabilities_form_a_list(void)
{
	unsigned int first, second;

	set_up();
	first = pci_add_capability(&probe.pci, PCI_CAP_ID_VNDR, 17);
	second = pci_add_capability(&probe.pci, PCI_CAP_ID_MSIX, 12);
	CHECK(read_port(1, 6, 2) & PCI_STATUS_CAP_LIST);
	CHECK(read_port(1, 0x34, 1) == first && first == 0x40 && second == 0x54);
	CHECK(read_port(1, first, 2) == (second << 8 | PCI_CAP_ID_VNDR));
	CHECK(read_port(1, second, 2) == PCI_CAP_ID_MSIX);
}

/* ---- MSI-X ---- */

static struct msix msix;

static void set_up_msix(void)
{
	set_up();
	msix_init(&msix, &probe.pci, 3, 0, 0x1000, 0x1800);
}

static void msix_starts_off_and_masked(void)
{
	set_up_msix();
	CHECK(read_port(1, msix.capability + 2, 2) == 2);
	CHECK(read_port(1, msix.capability + 4, 4) == 0x1000);
	CHECK(read_port(1, msix.capability + 8, 4) == 0x1800);
	CHECK(!msix_enabled(&msix));
	for (unsigned int i = 0; i < 3; i++)
		CHECK(msix_masked(&msix, i) && msix_table_read(&msix, i * 16 + 12, 4) == 1);
}

static void msix_is_masked_by_entry_and_as_a_whole(void)
{
	set_up_msix();
	write_port(1, msix.capability + 2, 2, 0xffff);
	CHECK(read_port(1, msix.capability + 2, 2) == 0xc002);
	CHECK(msix_table_write(&msix, 16 + 12, 4, 0xfffffffe) == 1);
	CHECK(msix_enabled(&msix) && msix_masked(&msix, 1));
	write_port(1, msix.capability + 2, 2, 0x8000);
	CHECK(!msix_masked(&msix, 1) && msix_masked(&msix, 0));
}

static void msix_entries_keep_messages_and_no_reserved_bits(void)
{
	set_up_msix();
	CHECK(msix_table_write(&msix, 32, 8, 0x12345678fee01003ULL) == 2);
	CHECK(msix_table_write(&msix, 40, 8, 0xfffffffe00004321ULL) == 2);
	CHECK(msix_message(&msix, 2).address == 0x12345678fee01000ULL);
	CHECK(msix_message(&msix, 2).data == 0x4321 && !msix_masked(&msix, 2));
	CHECK(msix_table_read(&msix, 40, 8) == 0x4321);
	CHECK(msix_table_read(&msix, 36, 4) == 0x12345678);
}

static void msix_tables_take_whole_words_within_them(void)
{
	static const struct {
		uint64_t offset;
		uint8_t size;
	} bad[] = { { 0, 1 }, { 0, 2 }, { 2, 4 }, { 4, 8 }, { 48, 4 }, { 48, 8 }, { 1 << 20, 4 } };

	set_up_msix();
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(msix_table_write(&msix, bad[i].offset, bad[i].size, 0x1230) == 3);
		CHECK(!msix_table_read(&msix, bad[i].offset, bad[i].size));
	}
	CHECK(!msix_message(&msix, 0).address && !msix_message(&msix, 0).data);
}

static const struct test tests[] = {
	TEST(both_ways_lead_to_the_same_registers),
	TEST(what_is_not_there_reads_as_ones),
	TEST(the_address_register_takes_whole_writes_only),
	TEST(read_only_and_reserved_bits_stay),
	TEST(bars_tell_their_size_and_type),
	TEST(bars_lie_in_the_window_and_apart),
	TEST(bars_answer_while_memory_is_enabled),
	TEST(bars_move_where_the_guest_puts_them),
	TEST(bars_outside_of_the_window_answer_nowhere),
	TEST(slots_and_window_run_out_with_a_sentence),
	TEST(lines_are_on_while_one_device_wants_it),
	TEST(the_pin_can_be_disabled_and_is_shown),
	TEST(capabilities_form_a_list),
	TEST(msix_starts_off_and_masked),
	TEST(msix_is_masked_by_entry_and_as_a_whole),
	TEST(msix_entries_keep_messages_and_no_reserved_bits),
	TEST(msix_tables_take_whole_words_within_them),
	TESTS_END
};

const struct suite suite_pci = { "pci", tests };
