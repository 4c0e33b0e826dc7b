/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: /sys/kernel/tracing/events/kiln/. Each costs a NOP while off.
 */
#if !defined(KILN_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KILN_TRACE_H

#include <linux/tracepoint.h>

#undef TRACE_SYSTEM
#define TRACE_SYSTEM kiln

TRACE_EVENT(kiln_entry,
	TP_PROTO(u32 vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(__field(u32, vcpu)),
	TP_fast_assign(__entry->vcpu = vcpu;),
	TP_printk("vcpu %u", __entry->vcpu)
);

/* Exits that went back into the guest at once, see vmx/enter.c. */
TRACE_EVENT(kiln_fast_exit,
	TP_PROTO(u32 vcpu, u32 reason),
	TP_ARGS(vcpu, reason),
	TP_STRUCT__entry(__field(u32, vcpu) __field(u32, reason)),
	TP_fast_assign(__entry->vcpu = vcpu; __entry->reason = reason;),
	TP_printk("vcpu %u reason %u", __entry->vcpu, __entry->reason)
);

TRACE_EVENT(kiln_exit,
	TP_PROTO(u32 vcpu, u32 reason, u64 rip),
	TP_ARGS(vcpu, reason, rip),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u32, reason)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->reason = reason;
		__entry->rip = rip;
	),
	TP_printk("vcpu %u reason %u rip 0x%llx", __entry->vcpu,
		  __entry->reason, __entry->rip)
);

TRACE_EVENT(kiln_fault,
	TP_PROTO(u32 vcpu, u64 gpa, u32 access, int result),
	TP_ARGS(vcpu, gpa, access, result),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u32, access)
		__field(u64, gpa)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->access = access;
		__entry->gpa = gpa;
		__entry->result = result;
	),
	TP_printk("vcpu %u gpa 0x%llx access %s%s%s result %d", __entry->vcpu,
		  __entry->gpa, __entry->access & 1 ? "r" : "",
		  __entry->access & 2 ? "w" : "", __entry->access & 4 ? "x" : "",
		  __entry->result)
);

TRACE_EVENT(kiln_pio,
	TP_PROTO(u32 vcpu, bool write, u16 port, u32 size, u32 count),
	TP_ARGS(vcpu, write, port, size, count),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u16, port)
		__field(u16, size)
		__field(u32, count)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->port = port;
		__entry->size = size;
		__entry->count = count;
		__entry->write = write;
	),
	TP_printk("vcpu %u %s port 0x%x size %u count %u", __entry->vcpu,
		  __entry->write ? "out" : "in", __entry->port, __entry->size,
		  __entry->count)
);

TRACE_EVENT(kiln_mmio,
	TP_PROTO(u32 vcpu, bool write, u64 gpa, u32 len),
	TP_ARGS(vcpu, write, gpa, len),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u32, len)
		__field(u64, gpa)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->len = len;
		__entry->gpa = gpa;
		__entry->write = write;
	),
	TP_printk("vcpu %u %s gpa 0x%llx len %u", __entry->vcpu,
		  __entry->write ? "write" : "read", __entry->gpa,
		  __entry->len)
);

TRACE_EVENT(kiln_msr,
	TP_PROTO(u32 vcpu, bool write, u32 msr, u64 val, bool gp),
	TP_ARGS(vcpu, write, msr, val, gp),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u32, msr)
		__field(u64, val)
		__field(bool, write)
		__field(bool, gp)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->msr = msr;
		__entry->val = val;
		__entry->write = write;
		__entry->gp = gp;
	),
	TP_printk("vcpu %u %s msr 0x%x val 0x%llx%s", __entry->vcpu,
		  __entry->write ? "wrmsr" : "rdmsr", __entry->msr,
		  __entry->val, __entry->gp ? " #GP" : "")
);

TRACE_EVENT(kiln_inject,
	TP_PROTO(u32 vcpu, u8 vector, u8 type),
	TP_ARGS(vcpu, vector, type),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u8, vector)
		__field(u8, type)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->vector = vector;
		__entry->type = type;
	),
	TP_printk("vcpu %u vector %u type %u", __entry->vcpu, __entry->vector,
		  __entry->type)
);

/* A virtio queue's doorbell or eventfd; the type is VIRTIO_ID_*. */
TRACE_EVENT(kiln_virtio_kick,
	TP_PROTO(u32 type, u32 queue),
	TP_ARGS(type, queue),
	TP_STRUCT__entry(__field(u32, type) __field(u32, queue)),
	TP_fast_assign(__entry->type = type; __entry->queue = queue;),
	TP_printk("type %u queue %u", __entry->type, __entry->queue)
);

/* A chain was taken from a ring. */
TRACE_EVENT(kiln_virtio_request,
	TP_PROTO(u32 type, u32 queue, u16 id, u64 out, u64 in),
	TP_ARGS(type, queue, id, out, in),
	TP_STRUCT__entry(
		__field(u32, type)
		__field(u32, queue)
		__field(u64, out)
		__field(u64, in)
		__field(u16, id)
	),
	TP_fast_assign(
		__entry->type = type;
		__entry->queue = queue;
		__entry->out = out;
		__entry->in = in;
		__entry->id = id;
	),
	TP_printk("type %u queue %u id %u out %llu in %llu", __entry->type,
		  __entry->queue, __entry->id, __entry->out, __entry->in)
);

/* It was given back. */
TRACE_EVENT(kiln_virtio_done,
	TP_PROTO(u32 type, u32 queue, u16 id, u32 written),
	TP_ARGS(type, queue, id, written),
	TP_STRUCT__entry(
		__field(u32, type)
		__field(u32, queue)
		__field(u32, written)
		__field(u16, id)
	),
	TP_fast_assign(
		__entry->type = type;
		__entry->queue = queue;
		__entry->written = written;
		__entry->id = id;
	),
	TP_printk("type %u queue %u id %u written %u", __entry->type,
		  __entry->queue, __entry->id, __entry->written)
);

TRACE_EVENT(kiln_virtio_broken,
	TP_PROTO(u32 type, u32 queue, int error, const char *cause),
	TP_ARGS(type, queue, error, cause),
	TP_STRUCT__entry(
		__field(u32, type)
		__field(u32, queue)
		__field(int, error)
		__array(char, cause, 96)
	),
	TP_fast_assign(
		__entry->type = type;
		__entry->queue = queue;
		__entry->error = error;
		strscpy(__entry->cause, cause, sizeof(__entry->cause));
	),
	TP_printk("type %u queue %u error %d: %s", __entry->type,
		  __entry->queue, __entry->error, __entry->cause)
);

TRACE_EVENT(kiln_death,
	TP_PROTO(u32 vcpu, u32 kind, const char *cause),
	TP_ARGS(vcpu, kind, cause),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u32, kind)
		__array(char, cause, 96)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->kind = kind;
		strscpy(__entry->cause, cause, sizeof(__entry->cause));
	),
	TP_printk("vcpu %u kind %u: %s", __entry->vcpu, __entry->kind,
		  __entry->cause)
);

#endif /* KILN_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
