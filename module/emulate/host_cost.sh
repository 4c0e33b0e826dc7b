#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Instructions per operation: two runs under callgrind, and their difference.
# Usage: host_cost.sh PROGRAM
set -eu

program=$1
[ -x "$(command -v valgrind)" ] || {
	echo "host_cost.sh: valgrind is missing (Debian package valgrind)" >&2
	exit 1
}

count() {
	valgrind --tool=callgrind --callgrind-out-file=/dev/null \
		"$program" "$1" "$2" 2>&1 | sed -n 's/.*Collected : //p'
}

for name in $("$program"); do
	few=$(count "$name" 1000)
	many=$(count "$name" 2000)
	echo "$name $(((many - few) / 1000))"
done
