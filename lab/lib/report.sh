# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034 # for those who source it
# What in a kernel log means that something went wrong. At its time 0 kmemleak says that it was switched off by the command
# line; where it gave up so early, the machine's init finds that its scan fails, and says so.
REPORT='BUG:|kernel BUG at|\[#[0-9]+\]|(^|\] )WARNING:|KASAN:|UBSAN:|KCSAN:|Oops|general protection fault|Kernel panic|lockdep is turned off|turning off the locking correctness validator|INFO: (task|rcu|trying|possible|NMI|suspicious|HARDIRQ|SOFTIRQ)|suspicious RCU|possible (circular|recursive|irq lock)|inconsistent lock state|(self-)?detected stalls?|soft lockup|hard LOCKUP|blocked for more than|scheduling while atomic|sleeping function called|Bad page|unreferenced object|(^|[1-9][0-9]*\] )kmemleak: Kernel memory leak detector disabled|unable to handle|bad: scheduling|unchecked MSR access error|list_(add|del) corruption'
