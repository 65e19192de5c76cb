/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes to user space. src/record.rs reads it; a change of either needs a
 * new VERSION and the other.
 */
#pragma once

#include "kern.h"

#define VERSION 1

enum {
	HAS_KILLS = 1,	/* `kills` is that of the cgroup */
	LIMIT_SWAP = 2, /* the limit is that of memory and swap together */
	GROUP = 4,	/* all of a cgroup is killed together */
	HAS_GROUPS = 8, /* the kernel counts these */
};

struct record {
	u32 version;
	u32 flags;
	u64 start; /* of the process: nanoseconds since boot */
	u32 tgid;
	u32 pid; /* of the thread that was marked */
	s32 exit_code;
	u32 hierarchy;	 /* of the cgroups; 0: version 2 */
	u64 cgroup;	 /* where the process is */
	u64 memory;	 /* whose memory it uses: this one, or one above it */
	u64 kills;	 /* how many the kernel counted in that one, with this one */
	u64 groups;	 /* how often all of it was killed together */
	u64 limit_of;	 /* whose limit was reached; 0: none */
	u64 limit_pages;
	u32 limit_level; /* how far below the root that one is */
	u32 unused;
	s64 anon; /* in pages */
	s64 file;
	s64 shmem;
	char comm[16];
};
