/* SPDX-License-Identifier: Apache-2.0
 *
 * The few fields of the kernel's structures that are read here. Only names and
 * types count: where a field lies is asked of the running kernel's BTF when an
 * object is loaded (CO-RE).
 */
#pragma once

#include "../../../libs/bpf/include/base.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	s64 counter;
} atomic64_t;

typedef atomic64_t atomic_long_t;

struct kernfs_node {
	u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

struct page_counter {
	atomic_long_t usage;
	unsigned long max;
	struct page_counter *parent;
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
	struct page_counter memsw;
	atomic_long_t memory_events_local[9];
	_Bool oom_group;
	_Bool oom_lock;
};

struct task_struct;

struct percpu_counter {
	s64 count;
};

/* Since Linux 6.2. */
struct mm_struct {
	struct task_struct *owner;
	struct percpu_counter rss_stat[4];
};

/* Before. */
struct mm_rss_stat {
	atomic_long_t count[4];
};

struct mm_struct___before {
	struct mm_rss_stat rss_stat;
};

struct signal_struct {
	int group_exit_code;
	struct mm_struct *oom_mm;
};

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *group_leader;
	u64 start_boottime;
	char comm[16];
	struct mm_struct *mm;
	struct signal_struct *signal;
	struct css_set *cgroups;
};

enum cgroup_subsys_id {
	memory_cgrp_id = 4,
};

enum memcg_memory_event {
	MEMCG_OOM_KILL = 5,
	MEMCG_OOM_GROUP_KILL = 6,
};

#pragma clang attribute pop

/* enum in include/linux/mm_types_task.h: the same since 4.5. */
enum {
	MM_FILEPAGES = 0,
	MM_ANONPAGES = 1,
	MM_SHMEMPAGES = 3,
};
