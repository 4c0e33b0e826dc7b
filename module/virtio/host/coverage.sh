#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# coverage.sh FILE PERCENT <output of gcov -t: how many lines of FILE were reached, and which were not. Fails below
# PERCENT.
awk -v file="$1" -v least="$2" -F : '
	$3 == "Source" { ours = $4 ~ "(^|/)" file "$" }
	!ours { next }
	$1 ~ /^ *[0-9]+\*?$/ { reached++ }
	$1 ~ /#####|=====/ { missed++; print "# not reached:" $2 ":" substr($0, index($0, $3)) }
	END {
		all = reached + missed
		if (!all)
			exit 1
		percent = reached * 100 / all
		printf "%s: %d of %d lines, %.1f %%\n", file, reached, all, percent
		exit percent < least
	}'
