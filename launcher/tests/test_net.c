// SPDX-License-Identifier: GPL-2.0-only
#include "../error.h"
#include "../net.h"
#include "../util.h"
#include "tap.h"

static struct net_config net;

static void a_tap_alone_is_a_card(void)
{
	CHECK(!net_parse(&net, "tap"));
	CHECK(!*net.tap && !*net.bridge && !net.has_mac && net.queues == 1 && !net.vhost);
}

static void words_follow_the_tap(void)
{
	static const uint8_t mac[NET_MAC] = { 0x52, 0x4b, 1, 2, 0xab, 0xcd };

	CHECK(!net_parse(&net, "tap=card0,bridge=br0,mac=52:4b:01:2:AB:cd,queues=8,vhost=kiln"));
	CHECK(!strcmp(net.tap, "card0") && !strcmp(net.bridge, "br0") && net.has_mac);
	CHECK(!memcmp(net.mac, mac, NET_MAC) && net.queues == 8 && !net.vhost);
	CHECK(!net_parse(&net, "tap,vhost=kernel,queues=2") && net.vhost && net.queues == 2);
}

static void bad_words_are_named(void)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "", "give tap" },
		{ "tun", "give tap" },
		{ "tapx", "give tap" },
		{ "tap=", "no name of an interface" },
		{ "tap=123456789012345x", "give 1 to 15" },
		{ "tap=a/b", "no name of an interface" },
		{ "tap=a%d", "no name of an interface" },
		{ "tap,", "is unknown" },
		{ "tap,bridge", "bridge is unknown" },
		{ "tap,bridge=", "no name of an interface" },
		{ "tap,speed=1", "speed= is unknown" },
		{ "tap,mac=52:4b:1:2:3", "no MAC address" },
		{ "tap,mac=52:4b:1:2:3:4:5", "no MAC address" },
		{ "tap,mac=53:4b:1:2:3:4", "address of a group" },
		{ "tap,queues=0", "out of range" },
		{ "tap,queues=9", "out of range" },
		{ "tap,vhost=user", "vhost=user: unknown" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK(net_parse(&net, rows[i].text) == -1);
		CHECK(strstr(error_text(), rows[i].says));
	}
}

static void an_address_follows_from_the_name(void)
{
	uint8_t first[NET_MAC], again[NET_MAC], second[NET_MAC], other[NET_MAC];

	net_mac("vm0", 0, first);
	net_mac("vm0", 0, again);
	net_mac("vm0", 1, second);
	net_mac("vm1", 0, other);
	CHECK(!memcmp(first, again, NET_MAC));
	CHECK(memcmp(first, second, NET_MAC) && memcmp(first, other, NET_MAC));
	/* Of one card, and given by hand (IEEE 802 §8.4). */
	CHECK((first[0] & 3) == 2);
}

static void the_back_end_is_told_all_of_it(void)
{
	struct net_tap tap = { .fds = { 5, 6 }, .count = 2, .mac = { 2, 1 }, .mtu = 9000 };
	struct kiln_virtio_net back_end;

	net_back_end(&tap, &back_end);
	CHECK(back_end.nr_pairs == 2 && back_end.fd[0] == 5 && back_end.fd[1] == 6);
	CHECK(back_end.fd[2] == -1 && back_end.mtu == 9000 && back_end.link == 1);
	CHECK(!memcmp(back_end.mac, tap.mac, NET_MAC));
}

static const struct test tests[] = {
	TEST(a_tap_alone_is_a_card),
	TEST(words_follow_the_tap),
	TEST(bad_words_are_named),
	TEST(an_address_follows_from_the_name),
	TEST(the_back_end_is_told_all_of_it),
	TESTS_END
};

const struct suite suite_net = { "net", tests };
