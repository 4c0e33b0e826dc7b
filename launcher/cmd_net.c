// SPDX-License-Identifier: GPL-2.0-only
/*
 * Networks for guests: a bridge with the host's address in a subnet, whose
 * other addresses reach the world through the host's (nftables), and which a
 * DHCP server hands out where dnsmasq is there. All there is to know of a
 * network is kept by the kernel: its bridge's alias is "kiln" and the subnet.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "error.h"
#include "net.h"
#include "netlink.h"
#include "opts.h"
#include "parse.h"
#include "status.h"
#include "util.h"

#define ALIAS		"kiln "
#define NET_DIR		"/run/kiln-net"
#define DEFAULT_SUBNET	"192.168.150.0/24"

/* For net_mac(): no guest has so many cards. */
#define BRIDGE_NUMBER	255

struct net_args {
	const char *subnet;
};

static int set_subnet(void *config, const char *value)
{
	((struct net_args *)config)->subnet = value;
	return 0;
}

static const struct opt options[] = {
	{ "subnet", "A.B.C.D/BITS", "addresses of the network (default " DEFAULT_SUBNET ")", set_subnet },
	{ NULL, NULL, NULL, NULL },
};

void cmd_net_help(FILE *out)
{
	fprintf(out, "Usage: kiln net create BR [--subnet A.B.C.D/BITS]\n"
		     "       kiln net list\n"
		     "       kiln net delete BR\n\n"
		     "Makes a bridge for `kiln run --net tap,bridge=BR`, lists those it made, or deletes one.\n"
		     "The host has the first address of the subnet; what guests send further goes out under\n"
		     "the host's own addresses (NAT, by nft). Where dnsmasq is installed, guests get their\n"
		     "addresses and names from it by DHCP. All but list takes root.\n\n");
	opts_print(options, out);
	fprintf(out, "\nExit status: %d; %d for bad input or a network that is not there, %d where it was\n"
		     "not done.\n", STATUS_OFF, STATUS_USAGE, STATUS_NOT_DONE);
}

/* ---- subnets ---- */

static int parse_subnet(const char *text, struct subnet *subnet)
{
	char copy[32], *slash;
	struct in_addr address;
	uint64_t bits;

	snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	if (strlen(text) >= sizeof(copy) || !slash)
		return error_set("--subnet %s: no subnet; give one like " DEFAULT_SUBNET, text);
	*slash = '\0';
	if (inet_pton(AF_INET, copy, &address) != 1)
		return error_set("--subnet %s: no subnet; give one like " DEFAULT_SUBNET, text);
	if (parse_number("--subnet bits", slash + 1, 8, 29, &bits))
		return -1;
	subnet->bits = (unsigned int)bits;
	/* The first one is the host's. */
	subnet->address = (ntohl(address.s_addr) & subnet_mask(subnet)) + 1;
	return 0;
}

/* @number of the subnet's addresses, 0 is that of the subnet itself. */
static const char *address_text(const struct subnet *subnet, uint32_t number,
				char text[INET_ADDRSTRLEN])
{
	struct in_addr address = { htonl((subnet->address & subnet_mask(subnet)) + number) };

	return inet_ntop(AF_INET, &address, text, INET_ADDRSTRLEN);
}

/* ---- programs ---- */

/* With descriptors 0 to 2 as they are to be. Does not return. */
static void become(char *const argv[], int in)
{
	int null = open("/dev/null", O_RDWR);

	dup2(in >= 0 ? in : null, STDIN_FILENO);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Runs a program with @input; its status, 127 if it is not there, -1 with a sentence. */
static int run(char *const argv[], const char *input)
{
	size_t len = strlen(input);
	int fds[2], status;
	ssize_t put = 0;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return error_set("%s: cannot be run: %s", argv[0], strerror(errno));
	pid = fork();
	if (!pid)
		become(argv, fds[0]);
	close(fds[0]);
	/* Less than a pipe holds, and no SIGPIPE if nobody reads it. */
	signal(SIGPIPE, SIG_IGN);
	if (pid > 0)
		put = write(fds[1], input, len);
	close(fds[1]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return error_set("%s: cannot be run: %s", argv[0], strerror(errno));
	if (put != (ssize_t)len && !WEXITSTATUS(status))
		return error_set("%s: took not all of its input", argv[0]);
	return WEXITSTATUS(status);
}

/* ---- NAT ---- */

static int nft(const char *rules)
{
	char *argv[] = { "nft", "-f", "-", NULL };
	int status = run(argv, rules);

	if (status == 127)
		return error_set("nft: not found; install nftables");
	if (status > 0)
		return error_set("nft: ended with status %d; what it said is above", status);
	return status;
}

static int add_nat(const char *bridge, const struct subnet *subnet)
{
	char net[INET_ADDRSTRLEN], rules[1024];

	address_text(subnet, 0, net);
	snprintf(rules, sizeof(rules),
		 "table ip kiln-%s {\n"
		 "	chain postrouting {\n"
		 "		type nat hook postrouting priority srcnat;\n"
		 "		ip saddr %s/%u ip daddr != %s/%u masquerade\n"
		 "	}\n"
		 "}\n",
		 bridge, net, subnet->bits, net, subnet->bits);
	return nft(rules);
}

static int delete_nat(const char *bridge)
{
	char rules[128];

	/* Adding what there is changes nothing, so that deleting always works. */
	snprintf(rules, sizeof(rules), "add table ip kiln-%s\ndelete table ip kiln-%s\n", bridge,
		 bridge);
	return nft(rules);
}

static int forward(void)
{
	static const char path[] = "/proc/sys/net/ipv4/ip_forward";
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, "1", 1);
	int err = errno;

	if (fd >= 0)
		close(fd);
	return n == 1 ? 0 : error_set("%s: cannot be set: %s; run as root", path, strerror(err));
}

/* ---- DHCP ---- */

static void dhcp_path(const char *bridge, const char *what, char *path, size_t size)
{
	snprintf(path, size, NET_DIR "/%s.%s", bridge, what);
}

/* Without dnsmasq there is none, and that is said. */
static int start_dhcp(const char *bridge, const struct subnet *subnet)
{
	uint32_t last = ~subnet_mask(subnet) - 1;
	char from[INET_ADDRSTRLEN], to[INET_ADDRSTRLEN];
	char pid[80], leases[80], pid_arg[100], leases_arg[100], range[100], interface[40];
	char *argv[] = { "dnsmasq", "--conf-file=/dev/null", "--bind-interfaces",
			 "--except-interface=lo", interface, range, pid_arg, leases_arg, NULL };
	int status;

	mkdir(NET_DIR, 0755);
	dhcp_path(bridge, "pid", pid, sizeof(pid));
	dhcp_path(bridge, "leases", leases, sizeof(leases));
	snprintf(interface, sizeof(interface), "--interface=%s", bridge);
	snprintf(range, sizeof(range), "--dhcp-range=%s,%s,12h", address_text(subnet, 2, from),
		 address_text(subnet, last, to));
	snprintf(pid_arg, sizeof(pid_arg), "--pid-file=%s", pid);
	snprintf(leases_arg, sizeof(leases_arg), "--dhcp-leasefile=%s", leases);
	status = run(argv, "");
	if (status == 127) {
		printf("no DHCP: dnsmasq is not installed; give guests addresses by hand\n");
		return 0;
	}
	return status > 0 ? error_set("dnsmasq: ended with status %d; what it said is above",
				      status)
			  : status;
}

/* Is it dnsmasq still, or has somebody else got its number? */
static bool is_dnsmasq(pid_t pid)
{
	char path[64], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	return !strcmp(name, "dnsmasq\n");
}

static void stop_dhcp(const char *bridge)
{
	char path[80];
	FILE *file;
	pid_t pid;

	dhcp_path(bridge, "pid", path, sizeof(path));
	file = fopen(path, "re");
	if (file && fscanf(file, "%d", &pid) == 1 && pid > 1 && is_dnsmasq(pid))
		kill(pid, SIGTERM);
	if (file)
		fclose(file);
	unlink(path);
	dhcp_path(bridge, "leases", path, sizeof(path));
	unlink(path);
}

/* ---- the verbs ---- */

static int check_name(const char *bridge)
{
	size_t len = strlen(bridge);

	if (!len || len >= IFNAMSIZ || strspn(bridge, "abcdefghijklmnopqrstuvwxyz"
					      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != len)
		return error_set("%s: no name for a bridge; give 1 to %d letters, digits, - and _",
				 bridge, IFNAMSIZ - 1);
	return 0;
}

static int set_up(const char *bridge, const struct subnet *subnet, const char *alias)
{
	uint8_t mac[NET_MAC];
	char first[512];

	net_mac(bridge, BRIDGE_NUMBER, mac);
	if (netlink_bridge_create(bridge, mac, subnet, alias))
		return -1;
	if (!forward() && !add_nat(bridge, subnet) && !start_dhcp(bridge, subnet))
		return 0;
	/* What went wrong first is what is said. */
	snprintf(first, sizeof(first), "%s", error_text());
	delete_nat(bridge);
	netlink_bridge_delete(bridge);
	return error_set("%s", first);
}

static int create(const char *bridge, const struct net_args *args)
{
	char alias[64], net[INET_ADDRSTRLEN], host[INET_ADDRSTRLEN], other[IFNAMSIZ];
	struct subnet subnet;

	if (check_name(bridge) || parse_subnet(args->subnet ?: DEFAULT_SUBNET, &subnet) ||
	    netlink_find_subnet(&subnet, other))
		return -1;
	address_text(&subnet, 0, net);
	if (*other)
		return error_set("--subnet %s/%u: %s is in it already; give another one", net,
				 subnet.bits, other);
	snprintf(alias, sizeof(alias), ALIAS "%s/%u", net, subnet.bits);
	if (set_up(bridge, &subnet, alias))
		return VERB_NOT_DONE;
	printf("%s: %s/%u, the host is %s\n", bridge, net, subnet.bits,
	       address_text(&subnet, 1, host));
	return STATUS_OFF;
}

static void print_network(const char *name, const char *alias, unsigned int ports, void *context)
{
	(void)context;
	if (!strncmp(alias, ALIAS, strlen(ALIAS)))
		printf("%-15s %-18s %u\n", name, alias + strlen(ALIAS), ports);
}

static int list(void)
{
	printf("%-15s %-18s %s\n", "NAME", "SUBNET", "GUESTS");
	return netlink_bridge_list(print_network, NULL) ? VERB_NOT_DONE : STATUS_OFF;
}

struct search {
	const char *name;
	bool found;
};

static void compare(const char *name, const char *alias, unsigned int ports, void *context)
{
	struct search *search = context;

	(void)ports;
	search->found |= !strcmp(name, search->name) && !strncmp(alias, ALIAS, strlen(ALIAS));
}

static int delete(const char *bridge)
{
	struct search search = { .name = bridge };

	if (check_name(bridge) || netlink_bridge_list(compare, &search))
		return -1;
	if (!search.found)
		return error_set("%s: no network of ours; `kiln net list` says what there is",
				 bridge);
	stop_dhcp(bridge);
	return delete_nat(bridge) || netlink_bridge_delete(bridge) ? VERB_NOT_DONE : STATUS_OFF;
}

int cmd_net(int argc, char **argv)
{
	const char *words[2] = { NULL, NULL };
	struct net_args args = { NULL };
	bool named;

	if (opts_parse_operands(options, &args, argc, argv, words, 2))
		return -1;
	if (!words[0])
		return error_set("net: create, list or delete is missing; see `kiln help net`");
	named = words[1];
	if (!strcmp(words[0], "list") && !named && !args.subnet)
		return list();
	if (!strcmp(words[0], "create") && named)
		return create(words[1], &args);
	if (!strcmp(words[0], "delete") && named && !args.subnet)
		return delete(words[1]);
	if (!named && (!strcmp(words[0], "create") || !strcmp(words[0], "delete")))
		return error_set("net %s: the bridge's name is missing; give one, like br0", words[0]);
	return error_set("net %s: not understood; see `kiln help net`", words[0]);
}
