/* SPDX-License-Identifier: Apache-2.0
 *
 * What programs of every plugin need: types, maps, helpers, and CO-RE. The
 * kernel's structures a plugin declares itself, each with the few fields that
 * it reads.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NULL ((void *)0)

/* Declarations of maps, as BTF-defined maps write them. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

/* Ids of helpers: include/uapi/linux/bpf.h, __BPF_FUNC_MAPPER. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static void *(*bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;

enum {
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_ANY = 0,
};

/* Asked of the kernel's BTF: enum bpf_enum_value_kind, enum bpf_field_info_kind. */
#define enum_value_exists(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 0)
#define enum_value(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 1)
#define field_offset(field) __builtin_preserve_field_info(field, 0)
#define field_exists(field) __builtin_preserve_field_info(field, 2)

/* For pointers that the verifier does not know the type of. */
#define READ(from) \
	({ \
		typeof(from) read_; \
		bpf_probe_read_kernel(&read_, sizeof(read_), __builtin_preserve_access_index(&(from))); \
		read_; \
	})
