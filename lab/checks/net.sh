# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Debian's kernel as guest with a network card: a network of `kiln net`, two guests on it, files and streams both ways, and what is beyond
# the host.

! has_backend amd || check guest/amd-net "build/module-stock build/launcher kernel/stock" check_guest_net amd
! has_backend intel || slow_check guest/intel-net "build/module-stock build/launcher kernel/stock" "two guests at once in Bochs take long" \
	check_guest_net intel

NET_MODULES="virtio_pci virtio_net virtio_rng af_packet"

# net_initrd KERNEL_DIR: prints the path of an initrd that gets its address by DHCP and then is a server or a client.
net_initrd() {
	local initrd=$BUILD/lab/net.cpio tree
	mkdir -p "$BUILD/lab"
	tree=$(mktemp -d)
	mkdir -p "$tree"/{proc,sys,dev,tmp,www,lib/modules/"$(cat "$1/release")"}
	put_busybox "$tree"
	put_program "$(command -v iperf3)" "$tree" bin/iperf3
	IMAGE_MODULES=$NET_MODULES add_modules "$1" "$tree" >&2
	cat >"$tree/dhcp" <<-'END'
		#!/bin/sh
		[ "$1" = bound ] || exit 0
		ip addr add "$ip/$mask" dev "$interface"
		ip route add default via "$router"
		echo "$ip $router" >/tmp/lease
	END
	cat >"$tree/init" <<-'END'
		#!/bin/sh
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		for device in /sys/bus/pci/devices/*; do
			modprobe -q "$(cat "$device/modalias")"
		done
		for device in /sys/bus/virtio/devices/*; do
			modprobe -q "$(cat "$device/modalias")"
		done
		modprobe -q af_packet
		role=$(sed 's/.*role=\([^ ]*\).*/\1/' /proc/cmdline)
		ip link set eth0 up
		if [ "$role" = alone ]; then
			ip addr add 192.0.2.2/24 dev eth0
			echo "alone: mac $(cat /sys/class/net/eth0/address)"
			nc -l -p 7001 -e /bin/true
			poweroff -f
		fi
		udhcpc -q -n -t 20 -T 1 -i eth0 -s /dhcp >/dev/null 2>&1
		read -r ip router </tmp/lease
		echo "$role: mac $(cat /sys/class/net/eth0/address) mtu $(cat /sys/class/net/eth0/mtu) lease ${ip:+yes}"
		if [ "$role" = server ]; then
			dd if=/dev/urandom of=/www/file bs=1M count=8 2>/dev/null
			echo "server: sum $(sha256sum </www/file | cut -c1-64)"
			httpd -p 80 -h /www
			nc -l -p 7001 -e /bin/true
			poweroff -f
		fi
		peer=$(sed 's/.*peer=\([^ ]*\).*/\1/' /proc/cmdline)
		ping -q -c 5 "$router" | sed -n 's/^\(.*\) packets transmitted, \(.*\) packets received.*/client: ping \1 \2/p'
		wget -q -O - "http://$router/file" | sha256sum | sed 's/ .*//; s/^/client: host /'
		wget -q -O /tmp/file "http://$peer/file"
		sha256sum </tmp/file | sed 's/ .*//; s/^/client: peer /'
		nc "$router" 7002 </tmp/file
		wget -q -O - http://198.51.100.2/cgi-bin/who | sed 's/$/\n/; s/^/client: beyond it is /'
		iperf3 -c "$router" -t 2 >/tmp/stream && sed -n 's/.*sec  *\([0-9].*sec\) .*receiver/client: sends \1/p' /tmp/stream
		iperf3 -R -c "$router" -t 2 >/tmp/stream && sed -n 's/.*sec  *\([0-9].*sec\) .*receiver/client: receives \1/p' /tmp/stream
		for cpu in 0 1; do
			[ -d /sys/class/net/eth0/queues/rx-1 ] || break
			taskset $((1 << cpu)) timeout 60 wget -q -O - "http://$router/file" | sha256sum | sed "s/ .*//; s/^/client: by CPU $cpu /"
		done
		awk '/virtio[0-9]+-input\.[0-9]$/ && $2 + $3 > 10 { n++ } END { print "client: receives by " n }' /proc/interrupts
		ip link set eth0 down && ip link set eth0 up && sleep 1
		ping -q -c 1 "$router" | sed -n 's/.*, \(.*\) packets received.*/client: again \1/p'
		echo "client: complaints $(dmesg -r | grep -E '^<[0-4]>' | grep -ciE 'pci|virtio.*:|eth0|net_ratelimit')"
		echo bye | nc "$peer" 7001
		poweroff -f
	END
	chmod 755 "$tree/init" "$tree/dhcp"
	pack "$tree" >"$initrd.$$" && mv "$initrd.$$" "$initrd"
	rm -rf "$tree"
	echo "$initrd"
}

# What is the same with the host's vhost-net, on kiln and on stock KVM.
check guest/amd-vhost-net-kiln "build/module-stock build/launcher kernel/stock" check_guest_vhost kiln
check guest/amd-vhost-net-kvm "build/launcher kernel/stock" check_guest_vhost kvm

# net_host: prints the path of what the machine runs.
net_host() {
	local script=$BUILD/lab/net-host
	cat >"$script" <<-'END'
		. /lab/network
		make_outside || exit 1
		mkdir /www && dd if=/dev/urandom of=/www/file bs=1M count=8 2>/dev/null
		echo "host: sum $(sha256sum </www/file | cut -c1-64)"
		[ -z "$MODULES" ] || modprobe -a $MODULES
		# A card without a bridge, whose address is given; and a bridge where there is nobody to give addresses.
		alone() {
			card= tries=0
			guest alone tap,mac=02:00:5e:10:00:01 none >/tmp/alone 2>&1 &
			guest=$!
			until [ -n "$card" ] || [ $((tries += 1)) = 600 ]; do
				sleep 0.1
				card=$(ls /sys/class/net | grep '^kiln[0-9]')
			done
			ip addr add 192.0.2.1/24 dev "$card"
			until ping -q -c 1 -W 1 192.0.2.2 >/dev/null || [ $((tries += 1)) -ge 600 ]; do
				:
			done
			ping -q -c 3 192.0.2.2 | sed -n 's/^\(.*\) packets transmitted, \(.*\) packets received.*/host: pings alone \1 \2/p'
			echo bye | nc 192.0.2.2 7001
			wait "$guest"
			echo "host: alone ended with $?"
			cat /tmp/alone
			mv /bin/dnsmasq /bin/dnsmasq.away
			kiln net create br1 --subnet 10.30.0.0/24 | sed 's/^/host: /'
			kiln net list | sed -n 's/^br1 */host: second net /p'
			kiln net delete br1 && ip link | grep -cE 'br1|kiln[0-9]' | sed 's/^/host: of those two left /'
			mv /bin/dnsmasq.away /bin/dnsmasq
		}
		kiln net create br0 --subnet 10.20.0.0/24 || exit 1
		kiln net list | sed -n 's/^br0 */host: net /p'
		nft list ruleset | grep -c masquerade | sed 's/^/host: rules /'
		httpd -p 80 -h /www
		iperf3 -s >/dev/null &
		guest() {
			name=$1
			shift
			kiln run --name "$name" --kernel /guest/vmlinuz --initrd /guest/initrd --memory 256M --cpus "${CPUS:-1}" --net "$1" $OPTIONS \
				--append "console=ttyS0 quiet panic=-1 no-kvmapf role=$name peer=$2"
		}
		[ -z "$ALONE" ] || alone
		# The client's card is stopped and goes on, again and again, until there is no client any more.
		stop_and_go() {
			times=0
			until kiln info client >/dev/null 2>&1; do sleep 0.2; done
			while kiln suspend client >/tmp/suspend 2>&1; do
				kiln resume client >/tmp/suspend 2>&1 || break
				times=$((times + 1))
				sleep 0.3
			done
			echo "host: $(cat /tmp/suspend)"
			echo "host: stopped the client $times times"
		}
		printf '#!/bin/sh\nsha256sum | sed "s/ .*//; s/^/host: from client /" >/tmp/sum\n' >/bin/receive
		chmod 755 /bin/receive
		nc -l -p 7002 -e /bin/receive &
		guest server "tap,bridge=br0,vhost=$VHOST" none >/tmp/server 2>&1 &
		server=$! tries=0 peer=
		until wget -q -O /dev/null "http://$peer/file" 2>/dev/null || [ $((tries += 1)) = 600 ]; do
			sleep 1
			peer=$(cut -d' ' -f3 /run/kiln-net/br0.leases)
		done
		stop_and_go &
		stopper=$!
		guest client "tap=card0,bridge=br0,$CLIENT" "$peer" 2>&1
		echo "host: client ended with $?"
		wait "$server"
		echo "host: server ended with $?"
		wait "$stopper"
		cat /tmp/server /tmp/sum
		kiln net delete br0 && ip link | grep -cE 'br0|card0|kiln' | sed 's/^/host: left /'
		nft list ruleset | grep -c kiln | sed 's/^/host: rules left /'
	END
	echo "$script"
}

sum_of() { sed -n "s/^$1 \([0-9a-f]\{64\}\)$/\1/p" "$log"; }
same_sums() { [ -n "$(sum_of "$1")" ] && [ "$(sum_of "$1")" = "$(sum_of "$2")" ]; }

# run_net SHELL-ASSIGNMENTS LAB-VM-OPTION...
run_net() {
	local dir settings=$1 options
	shift
	need network
	mapfile -t options < <(network_options)
	dir=$(kernel_dir stock)
	"$LAB/vm" "$@" --kernel stock --timeout 1800 "${options[@]}" --add "$(command -v iperf3)" --add "$dir/vmlinuz:/guest/vmlinuz" \
		--unpacked "$dir/vmlinuz" --add "$(net_initrd "$dir"):/guest/initrd" --add "$(net_host):/guest/host" -- \
		sh -c "$settings; . /guest/host" | stdbuf -oL tr -d '\r' | tee "$log"
}

# check_guest_net CPU
check_guest_net() {
	local log=$LOGS/${CHECK_NAME//\//.}.txt
	run_net 'VHOST=kiln CLIENT=queues=2 ALONE=1' --cpu "$1"
	expect_net
	expect "$CHECK_NAME: a card has the address it is given" grep -qx 'alone: mac 02:00:5e:10:00:01' "$log"
	expect "$CHECK_NAME: and needs no bridge" grep -qx 'host: pings alone 3 3' "$log"
	expect "$CHECK_NAME: its guest powers off" grep -qx 'host: alone ended with 0' "$log"
	expect "$CHECK_NAME: without dnsmasq a network says that it has no DHCP" \
		grep -q '^host: no DHCP: dnsmasq is not installed' "$log"
	expect "$CHECK_NAME: and is one" grep -qx 'host: second net 10.30.0.0/24 *0' "$log"
	expect "$CHECK_NAME: both are gone then" grep -qx 'host: of those two left 0' "$log"
}

# check_guest_vhost kiln|kvm
check_guest_vhost() {
	local log=$LOGS/${CHECK_NAME//\//.}.txt
	case $1 in
	kiln) run_net 'VHOST=kernel CLIENT=vhost=kernel,queues=2 CPUS=2 MODULES=vhost_net' --cpu amd ;;
	kvm)
		run_net 'VHOST=kernel CLIENT=vhost=kernel,queues=2 CPUS=2 MODULES="vhost_net kvm_amd" OPTIONS="--device /dev/kvm"' \
			--cpu amd --no-load
		;;
	esac
	expect_net
	expect "$CHECK_NAME: a file comes by the first pair of queues" same_sums 'host: sum' 'client: by CPU 0'
	expect "$CHECK_NAME: and one by the second" same_sums 'host: sum' 'client: by CPU 1'
	expect "$CHECK_NAME: both interrupt" grep -qx 'client: receives by 2' "$log"
}

# The same for all of them, in $log.
expect_net() {
	expect "$CHECK_NAME: the network is made and listed" grep -qx 'host: net 10.20.0.0/24 *0' "$log"
	expect "$CHECK_NAME: with NAT" grep -qx 'host: rules 1' "$log"
	expect "$CHECK_NAME: guests get addresses by DHCP" test "$(grep -cE '^(client|server): .* lease yes$' "$log")" = 2
	expect "$CHECK_NAME: cards have addresses of their own" \
		test "$(sed -n 's/^\(client\|server\): mac \(52:4b:[0-9a-f:]*\) mtu 1500 .*/\2/p' "$log" | sort -u | wc -l)" = 2
	expect "$CHECK_NAME: no ping is lost" grep -qx 'client: ping 5 5' "$log"
	expect "$CHECK_NAME: a file comes from the host" same_sums 'host: sum' 'client: host'
	expect "$CHECK_NAME: a file comes from the other guest" same_sums 'server: sum' 'client: peer'
	expect "$CHECK_NAME: a file goes to the host" same_sums 'server: sum' 'host: from client'
	expect "$CHECK_NAME: beyond the host guests have the host's address" grep -qx 'client: beyond it is 198.51.100.1' "$log"
	expect "$CHECK_NAME: a stream to the host" grep -qE '^client: sends .* [1-9][0-9.]* [MG]bits/sec$' "$log"
	expect "$CHECK_NAME: a stream from the host" grep -qE '^client: receives .* [1-9][0-9.]* [MG]bits/sec$' "$log"
	expect "$CHECK_NAME: its card is stopped and started meanwhile" grep -qE '^host: stopped the client ([5-9]|[1-9][0-9]+) times$' "$log"
	expect "$CHECK_NAME: down and up again" grep -qx 'client: again 1' "$log"
	expect "$CHECK_NAME: the guest complains of nothing" grep -qx 'client: complaints 0' "$log"
	expect "$CHECK_NAME: both power off" test "$(grep -cxE 'host: (client|server) ended with 0' "$log")" = 2
	expect "$CHECK_NAME: the network is deleted" grep -qx 'host: left 0' "$log"
	expect "$CHECK_NAME: and its rules" grep -qx 'host: rules left 0' "$log"
}
