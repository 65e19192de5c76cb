// SPDX-License-Identifier: Apache-2.0
/*
 * Who the kernel kills for want of memory, and whose limit was reached.
 *
 * All is read while the kernel holds the victim: its cgroup may be gone some
 * milliseconds later, and its memory is.
 *
 * The tracepoint gives the victim's task since Linux 6.9, and where that was
 * ported back; before, its pid alone. BY_PID makes the object for those: the
 * kernel sends its SIGKILL just before it marks, in the same task, and that
 * tracepoint has always given the victim. Each object is refused where the other
 * fits, by the types of the tracepoint's arguments.
 */
#include "record.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 << 10);
} events SEC(".maps");

/* Events for which the ring had no room. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} lost SEC(".maps");

/* How far below its limit a cgroup may be that is at it: processors take memory
 * for a cgroup in batches (MEMCG_CHARGE_BATCH, 32 or 64 pages), and what is
 * asked for last may be up to 8 pages. */
#define SLACK 128

/* Cgroups above a victim that are looked at. */
#define LEVELS 64

ALWAYS_INLINE u64 id_of(struct cgroup *cgroup)
{
	struct kernfs_node *node = READ(cgroup->kn);

	return READ(node->id);
}

ALWAYS_INLINE struct mem_cgroup *memory_of(struct css_set *set)
{
	u64 offset = field_offset(set->subsys) + enum_value(enum cgroup_subsys_id, memory_cgrp_id) * sizeof(void *);
	struct cgroup_subsys_state *state = READ(*(struct cgroup_subsys_state **)((void *)set + offset));
	struct mem_cgroup *memory = NULL;

	return (void *)state - field_offset(memory->css);
}

ALWAYS_INLINE u64 event(struct mem_cgroup *memory, u64 which)
{
	u64 count = 0, offset = field_offset(memory->memory_events_local) + which * sizeof(atomic_long_t);

	bpf_probe_read_kernel(&count, sizeof(count), (void *)memory + offset);
	return count;
}

ALWAYS_INLINE void fill_kills(struct record *to, struct mem_cgroup *memory, struct mm_struct *mm)
{
	if (!field_exists(memory->memory_events_local) || !enum_value_exists(enum memcg_memory_event, MEMCG_OOM_KILL))
		return;
	/* The kernel counts it where the memory's owner is: with memory that is shared
	 * with a process elsewhere, that is another cgroup. */
	struct task_struct *owner = mm ? READ(mm->owner) : NULL;

	if (!owner || memory_of(READ(owner->cgroups)) != memory)
		return;
	to->kills = event(memory, enum_value(enum memcg_memory_event, MEMCG_OOM_KILL));
	to->flags |= HAS_KILLS;
	/* Since Linux 5.17. */
	if (enum_value_exists(enum memcg_memory_event, MEMCG_OOM_GROUP_KILL)) {
		to->groups = event(memory, enum_value(enum memcg_memory_event, MEMCG_OOM_GROUP_KILL));
		to->flags |= HAS_GROUPS;
	}
}

ALWAYS_INLINE _Bool is_full(struct page_counter *counter, u64 *limit)
{
	*limit = READ(counter->max);
	return (u64)READ(counter->usage.counter) + SLACK >= *limit;
}

ALWAYS_INLINE void fill_limit(struct record *to, struct mem_cgroup *memory)
{
	struct mem_cgroup *of = NULL;
	u64 limit = 0;

	for (int level = 0; level < LEVELS; level++) {
		struct page_counter *counter = (void *)memory + field_offset(memory->memory);

		/* Of those up to the one at its limit. */
		if (field_exists(memory->oom_group) && READ(memory->oom_group))
			to->flags |= GROUP;
		if (is_full(counter, &limit)) {
			of = memory;
			to->limit_pages = limit;
			to->flags &= ~LIMIT_SWAP;
			break;
		}
		if (to->hierarchy && field_exists(memory->memsw) &&
		    is_full((void *)memory + field_offset(memory->memsw), &limit)) {
			of = memory;
			to->limit_pages = limit;
			to->flags |= LIMIT_SWAP;
			break;
		}
		/* Others gave memory back meanwhile. All cgroups below the one at its limit
		 * are locked as long as somebody is killed for that: it is the highest. */
		if (field_exists(memory->oom_lock) && READ(memory->oom_lock)) {
			of = memory;
			to->limit_pages = READ(counter->max);
		}
		struct page_counter *parent = READ(counter->parent);

		if (!parent)
			break;
		memory = (void *)parent - field_offset(memory->memory);
	}
	if (!of)
		return;
	struct cgroup *cgroup = READ(of->css.cgroup);

	to->limit_of = id_of(cgroup);
	to->limit_level = READ(cgroup->level);
}

ALWAYS_INLINE void fill_rss(struct record *to, struct mm_struct *mm)
{
	struct mm_rss_stat *stat = NULL;

	if (field_exists(stat->count)) {
		struct mm_struct___before *before = (void *)mm;

		to->anon = READ(before->rss_stat.count[MM_ANONPAGES].counter);
		to->file = READ(before->rss_stat.count[MM_FILEPAGES].counter);
		to->shmem = READ(before->rss_stat.count[MM_SHMEMPAGES].counter);
	} else {
		to->anon = READ(mm->rss_stat[MM_ANONPAGES].count);
		to->file = READ(mm->rss_stat[MM_FILEPAGES].count);
		to->shmem = READ(mm->rss_stat[MM_SHMEMPAGES].count);
	}
}

ALWAYS_INLINE int tell(struct task_struct *victim)
{
	u32 first = 0;
	struct record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record) {
		u64 *count = bpf_map_lookup_elem(&lost, &first);

		if (count)
			(*count)++;
		return 0;
	}
	__builtin_memset(record, 0, sizeof(*record));
	struct task_struct *leader = READ(victim->group_leader);
	struct signal_struct *signal = READ(victim->signal);
	struct css_set *set = READ(victim->cgroups);
	struct mm_struct *mm = READ(victim->mm);

	if (!mm)
		mm = READ(signal->oom_mm);
	record->version = VERSION;
	record->pid = READ(victim->pid);
	record->tgid = READ(victim->tgid);
	record->start = READ(leader->start_boottime);
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), (void *)leader + field_offset(leader->comm));
	record->exit_code = READ(signal->group_exit_code);
	record->cgroup = id_of(READ(set->dfl_cgrp));
	if (mm)
		fill_rss(record, mm);
	if (enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		struct mem_cgroup *memory = memory_of(set);
		struct cgroup *cgroup = READ(memory->css.cgroup);
		struct cgroup_root *root = READ(cgroup->root);

		record->hierarchy = READ(root->hierarchy_id);
		record->memory = id_of(cgroup);
		if (record->hierarchy)
			record->cgroup = record->memory;
		fill_kills(record, memory, mm);
		fill_limit(record, memory);
	}
	bpf_ringbuf_submit(record, 0);
	return 0;
}

#ifndef BY_PID
SEC("tp_btf/mark_victim")
int oom_mark(u64 *ctx)
{
	struct task_struct *victim = (void *)ctx[0];

	/* Read as what it is: a number in its place is refused. A task has a pid. */
	return victim->pid ? tell(victim) : 0;
}
#else

#define SIGKILL 9
#define SEND_SIG_PRIV 1

/* By who sends: whom it sent the kernel's own SIGKILL last. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u64);
} killing SEC(".maps");

SEC("tp_btf/signal_generate")
int oom_signal(u64 *ctx)
{
	/* int sig, struct kernel_siginfo *info, struct task_struct *task, … */
	if ((u32)ctx[0] != SIGKILL || ctx[1] != SEND_SIG_PRIV)
		return 0;
	u64 sender = bpf_get_current_task(), victim = ctx[2];

	bpf_map_update_elem(&killing, &sender, &victim, BPF_ANY);
	return 0;
}

SEC("tp_btf/mark_victim")
int oom_mark(u64 *ctx)
{
	u64 sender = bpf_get_current_task();
#ifdef PID_OF_TASK
	struct task_struct *task = (void *)ctx[0];
	u32 pid = task->pid;
#else
	/* No kernel lets a program shift an address: one that gives the task refuses this. */
	u64 word = *(volatile u64 *)&ctx[0];
	u32 pid = (word << 32) >> 32;
#endif
	u64 *found = bpf_map_lookup_elem(&killing, &sender);

	/* Who is marked without being sent anything is ending anyhow. */
	if (!found)
		return 0;
	struct task_struct *victim = (void *)*found;

	bpf_map_delete_elem(&killing, &sender);
	return (u32)READ(victim->pid) == pid ? tell(victim) : 0;
}
#endif
