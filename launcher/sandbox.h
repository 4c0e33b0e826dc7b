/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the launcher gives up before the guest's first instruction: other
 * users' rights, capabilities, new privileges by execve(), and all system
 * calls but those it needs (sandbox.c has the list). What a running guest
 * could make of it then is bounded by the descriptors that are open.
 */
#ifndef KILN_SANDBOX_H
#define KILN_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

enum sandbox_seccomp {
	SANDBOX_DEFAULT,	/* on where the kernel has it */
	SANDBOX_ON,
	SANDBOX_LOG,		/* forbidden calls are made, and noted in the kernel's log */
	SANDBOX_OFF,
};

struct sandbox_config {
	enum sandbox_seccomp seccomp;
	bool change_user;
	uid_t uid;
	gid_t gid;
};

/* on, log or off. -1 with a sentence. */
int sandbox_parse_seccomp(struct sandbox_config *config, const char *text);

/* A name of /etc/passwd, or UID or UID:GID. -1 with a sentence. */
int sandbox_parse_user(struct sandbox_config *config, const char *text);

/*
 * For good, for this thread and those it starts; there is no other yet. -1
 * with a sentence; some of it may be done then.
 */
int sandbox_enter(const struct sandbox_config *config);

/*
 * For a child that has all it needs in memory: no privileges, and no system
 * calls but those for anonymous memory and its end; another one kills it. A
 * kernel without seccomp takes the privileges alone. -1 with a sentence.
 */
int sandbox_confine(void);

/* What sandbox_enter() does about system calls here: "on", "log", "off", "not in this kernel". */
const char *sandbox_seccomp_state(const struct sandbox_config *config);

#endif
