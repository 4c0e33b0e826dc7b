#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The fuzzer's corpus as text: a line of hexadecimal digits for each input.
#
#	corpus.sh unpack FILE DIR	each line as a file in DIR
#	corpus.sh pack DIR		each file in DIR as a line, the shortest first
set -eu

unpack() {
	local line n=0
	mkdir -p "$2"
	rm -f "$2"/*
	while read -r line; do
		case $line in
		'#'* | '') continue ;;
		esac
		# shellcheck disable=SC2001,SC2059 # every second digit; the escapes are for printf
		printf "$(sed 's/../\\x&/g' <<<"$line")" >"$2/$n"
		n=$((n + 1))
	done <"$1"
}

pack() {
	local file
	echo "# SPDX-License-Identifier: GPL-2.0-only"
	echo "# Inputs of vring_fuzz that reach different code, see corpus.sh; made by make corpus."
	for file in "$1"/*; do
		od -An -v -tx1 "$file" | tr -d ' \n'
		echo
	done | awk '{ print length($0), $0 }' | sort -n -k 1,1 -k 2 | cut -d ' ' -f 2
}

"$@"
