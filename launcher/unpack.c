// SPDX-License-Identifier: GPL-2.0-only
/*
 * The decompressors read what somebody else may have made, before the
 * launcher is in its sandbox. So a child calls them that has no descriptors,
 * no privileges, limited memory and no system calls but those for memory and
 * its end (sandbox_confine()): what goes wrong there costs the guest nothing
 * but the time to unpack itself.
 */
#include "unpack.h"

#include <errno.h>
#include <lzma.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "error.h"
#include "sandbox.h"
#include "signals.h"
#include "util.h"

/* The largest dictionaries that kernels are built with have 128 MiB. */
#define DECODER_MAX	(256 * MIB)
#define CPU_SECONDS	900
#define SIZE_FIELD	4

/* The decoders return 0 once all @room bytes are there. */

static int drain_lzma(lzma_stream *stream, uint64_t room)
{
	lzma_ret ret;

	do {
		ret = lzma_code(stream, LZMA_RUN);
	} while (ret == LZMA_OK && stream->avail_in && stream->avail_out);
	/* An LZMA file need not say where it ends. */
	return (ret == LZMA_OK || ret == LZMA_STREAM_END) && stream->total_out == room ? 0 : -1;
}

static int from_xz(const uint8_t *packed, uint64_t size, uint8_t *to, uint64_t room)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret ret;

	if (lzma_stream_decoder(&stream, DECODER_MAX, 0) != LZMA_OK)
		return -1;
	stream.next_in = packed;
	stream.avail_in = size - SIZE_FIELD;
	stream.next_out = to;
	stream.avail_out = room;
	do {
		ret = lzma_code(&stream, LZMA_FINISH);
	} while (ret == LZMA_OK);
	/* At its end its checksum has been compared. */
	return ret == LZMA_STREAM_END && stream.total_out == room ? 0 : -1;
}

static int from_lzma(const uint8_t *packed, uint64_t size, uint8_t *to, uint64_t room)
{
	lzma_stream stream = LZMA_STREAM_INIT;

	if (lzma_alone_decoder(&stream, DECODER_MAX) != LZMA_OK)
		return -1;
	stream.next_in = packed;
	stream.avail_in = size - SIZE_FIELD;
	stream.next_out = to;
	stream.avail_out = room;
	return drain_lzma(&stream, room);
}

/* The size is part of the format here. */
static int from_gzip(const uint8_t *packed, uint64_t size, uint8_t *to, uint64_t room)
{
	z_stream stream = { 0 };

	/* Both have 32 bits in the header. */
	stream.next_in = (uint8_t *)(uintptr_t)packed;
	stream.avail_in = (uInt)size;
	stream.next_out = to;
	stream.avail_out = (uInt)room;
	if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
		return -1;
	return inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.total_out == room ? 0 : -1;
}

static int from_zstd(const uint8_t *packed, uint64_t size, uint8_t *to, uint64_t room)
{
	return ZSTD_decompress(to, room, packed, size - SIZE_FIELD) == room ? 0 : -1;
}

static const struct format {
	const char *name;
	uint8_t magic_size;
	uint8_t magic[6];
	int (*decode)(const uint8_t *packed, uint64_t size, uint8_t *to, uint64_t room);
} formats[] = {
	{ "XZ", 6, { 0xfd, '7', 'z', 'X', 'Z', 0 }, from_xz },
	{ "zstd", 4, { 0x28, 0xb5, 0x2f, 0xfd }, from_zstd },
	{ "gzip", 2, { 0x1f, 0x8b }, from_gzip },
	{ "LZMA", 3, { 0x5d, 0, 0 }, from_lzma },
};

static const struct format *find_format(const uint8_t *packed, uint64_t size)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(formats); i++)
		if (size > SIZE_FIELD + sizeof(formats[i].magic) &&
		    !memcmp(packed, formats[i].magic, formats[i].magic_size))
			return &formats[i];
	return NULL;
}

const char *unpack_format(const uint8_t *packed, uint64_t size)
{
	const struct format *format = find_format(packed, size);

	return format ? format->name : NULL;
}

static int limit(int resource, uint64_t value)
{
	struct rlimit to = { value, value };

	return setrlimit((__rlimit_resource_t)resource, &to);
}

/* What the child has besides: the program, the payload and its own stacks. */
static int limit_all(uint64_t size, uint64_t unpacked)
{
#ifdef __SANITIZE_ADDRESS__
	const uint64_t memory = RLIM_INFINITY;	/* its shadow is larger than any limit */
#else
	const uint64_t memory = size + unpacked + DECODER_MAX + 128 * MIB;
#endif

	(void)size;
	(void)unpacked;
	return limit(RLIMIT_AS, memory) || limit(RLIMIT_CORE, 0) || limit(RLIMIT_CPU, CPU_SECONDS);
}

static _Noreturn void child(const struct format *format, pid_t parent, const uint8_t *packed,
			    uint64_t size, uint8_t *to, uint64_t unpacked)
{
	int status = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent && !close_range(0, ~0U, 0) && !limit_all(size, unpacked) &&
	    !sandbox_confine())
		status = format->decode(packed, size, to, unpacked) ? 1 : 0;
	_exit(status);
}

int unpack(const uint8_t *packed, uint64_t size, uint8_t *to, uint64_t unpacked, const char *path)
{
	const struct format *format = find_format(packed, size);
	pid_t parent = getpid(), pid;
	int status;

	if (!format)
		return error_set("%s: packed in a format that is not unpacked here (XZ, zstd, gzip and LZMA are); let the guest do it",
				 path);
	pid = fork();
	if (!pid)
		child(format, parent, packed, size, to, unpacked);
	if (pid < 0)
		return error_set("no process can be made to unpack %s: %s; end some", path,
				 strerror(errno));
	status = signals_wait_child(pid);
	if (status < 0)
		return error_set("the process that unpacks %s is lost: %s; try again", path,
				 strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_set("%s: its payload (%s) cannot be unpacked; build or fetch it again",
				 path, format->name);
	return 0;
}
