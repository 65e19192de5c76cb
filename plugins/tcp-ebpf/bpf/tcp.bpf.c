// SPDX-License-Identifier: Apache-2.0
/*
 * The life of TCP connections.
 *
 * What is known of a socket is kept by the socket itself (SK_STORAGE): it is
 * gone when the socket is, so that nothing is left over where an event was
 * missed. Linux before 5.11 has that for no tracing program; TCP_HASH makes
 * the object for those, with a hash by the socket's address, whose left-overs
 * an iterator finds.
 *
 * One event a connection, at its end. What is open is counted by iterators.
 */
#include "sock.h"

char LICENSE[] SEC("license") = "GPL";

/* Bytes that wait when a wake-up of the reader is worth its cost; it looks by
 * itself too. Set by who loads it: a part of the ring. */
const volatile u32 wake_at = 256 << 10;

/* Where the ring was when the reader was woken last. */
u64 woken_at = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

enum {
	LOST_RING = 0,	     /* the ring was full */
	LOST_CONNECTION = 1, /* nothing could be kept of a socket */
	LOST_ADOPTION = 2,   /* the same of one that was there before: it is tried again */
	LOST_KINDS = 3,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOST_KINDS);
	__type(key, u32);
	__type(value, u64);
} lost SEC(".maps");

#ifdef TCP_HASH
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, u64);
	__type(value, struct connection);
} connections SEC(".maps");
#else
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} connections SEC(".maps");
#endif

ALWAYS_INLINE void count_lost(u32 kind)
{
	u64 *count = bpf_map_lookup_elem(&lost, &kind);

	if (count)
		(*count)++;
}

#ifdef TCP_HASH
#define FIELD_OF_TASK READ

ALWAYS_INLINE struct task_struct *current_task(void)
{
	return (void *)bpf_get_current_task();
}

ALWAYS_INLINE struct connection *find(struct sock *sk)
{
	u64 key = (u64)sk;

	return bpf_map_lookup_elem(&connections, &key);
}

/* Whole at once: an iterator must not find a part of it. */
ALWAYS_INLINE long begin(struct sock *sk, struct connection *as)
{
	u64 key = (u64)sk;

	as->remote_port = __builtin_bswap16(sk->__sk_common.skc_dport);
	as->netns = sk->__sk_common.skc_net.net->ns.inum;
	return bpf_map_update_elem(&connections, &key, as, BPF_ANY);
}
#else
#define FIELD_OF_TASK PLAIN

ALWAYS_INLINE struct task_struct *current_task(void)
{
	return bpf_get_current_task_btf();
}

ALWAYS_INLINE struct connection *find(struct sock *sk)
{
	return bpf_sk_storage_get(&connections, sk, NULL, 0);
}

/* It may be there of the connection that the socket was before, which ended: it
 * is so for iterators until all of the next one is there. */
ALWAYS_INLINE long begin(struct sock *sk, struct connection *as)
{
	struct connection *connection = bpf_sk_storage_get(&connections, sk, as, BPF_SK_STORAGE_GET_F_CREATE);

	if (!connection)
		return -1;
	connection->owner = as->owner;
	connection->established_at = 0;
	connection->flags = 0;
	connection->opened_at = as->opened_at;
	BARRIER;
	connection->is_closed = 0;
	return 0;
}
#endif

/* Of version 1 only the memory controller's hierarchy: runtimes put containers
 * into all of them. Its place in the array is a number of the running kernel. */
ALWAYS_INLINE struct cgroup *memory_cgroup(struct css_set *set)
{
	u64 offset = __builtin_preserve_field_info(set->subsys, 0) +
		     enum_value(enum cgroup_subsys_id, memory_cgrp_id) * sizeof(void *);
	struct cgroup_subsys_state *state = FIELD_OF_TASK(*(struct cgroup_subsys_state **)((void *)set + offset));

	return FIELD_OF_TASK(state->cgroup);
}

ALWAYS_INLINE u64 id_of(struct cgroup *cgroup)
{
	struct kernfs_node *node = FIELD_OF_TASK(cgroup->kn);

	return FIELD_OF_TASK(node->id);
}

ALWAYS_INLINE void fill_owner(struct owner *to, struct task_struct *task, struct css_set *set)
{
	struct task_struct *leader = FIELD_OF_TASK(task->group_leader);

	to->tgid = FIELD_OF_TASK(task->tgid);
	to->start = FIELD_OF_TASK(leader->start_boottime);
	to->hierarchy = 0;
	to->cgroup1 = 0;
	if (!enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return;
	struct cgroup *cgroup = memory_cgroup(set);
	struct cgroup_root *root = FIELD_OF_TASK(cgroup->root);
	u32 hierarchy = FIELD_OF_TASK(root->hierarchy_id);

	if (hierarchy) {
		to->hierarchy = hierarchy;
		to->cgroup1 = id_of(cgroup);
	}
}

ALWAYS_INLINE void fill_owner_here(struct owner *to)
{
	struct task_struct *task = current_task();

	fill_owner(to, task, FIELD_OF_TASK(task->cgroups));
	to->cgroup2 = bpf_get_current_cgroup_id();
}

ALWAYS_INLINE void submit(struct record *record)
{
	u64 flags = BPF_RB_NO_WAKEUP;

	/* Once for as much as that, however many processors tell at the same time and
	 * however slow the reader is. Two at once may both do it, which is no harm. */
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wake_at) {
		u64 told = bpf_ringbuf_query(&events, BPF_RB_PROD_POS);

		if (told - woken_at >= wake_at) {
			woken_at = told;
			flags = BPF_RB_FORCE_WAKEUP;
		}
	}
	bpf_ringbuf_submit(record, flags);
}

ALWAYS_INLINE void tell(struct sock *sk, struct tcp_sock *tp, u32 kind, struct connection *of, u32 flags)
{
	struct record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record) {
		count_lost(LOST_RING);
		return;
	}
	FILL(record, sk, tp, PLAIN);
	record->kind = kind;
	record->at = bpf_ktime_get_ns();
	record->opened_at = of->opened_at;
	record->established_at = of->established_at;
	record->owner = of->owner;
	record->flags |= flags | of->flags;
	submit(record);
}

ALWAYS_INLINE void opens(struct sock *sk)
{
	struct connection as = {};

	fill_owner_here(&as.owner);
	as.opened_at = bpf_ktime_get_ns();
	if (begin(sk, &as))
		count_lost(LOST_CONNECTION);
}

ALWAYS_INLINE void closes(struct sock *sk, u32 from)
{
	struct connection *connection = find(sk);
	u32 flags = 0;

	if (!connection || connection->is_closed)
		return;
	/* Before the event is there: who reads it must not find the connection open. */
	connection->is_closed = 1;
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	if (from != TCP_SYN_SENT && from != TCP_SYN_RECV)
		flags |= FLAG_ESTABLISHED;
	else if (sk->sk_socket && sk->sk_socket->state == SS_UNCONNECTED)
		flags |= FLAG_SYNCHRONOUS;
	tell(sk, tp, KIND_CLOSED, connection, flags);
#ifdef TCP_HASH
	u64 key = (u64)sk;

	bpf_map_delete_elem(&connections, &key);
#endif
}

ALWAYS_INLINE void listens(struct sock *sk, u32 kind)
{
	struct connection of = {};
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (!tp)
		return;
	if (kind == KIND_LISTENS)
		fill_owner_here(&of.owner);
	tell(sk, tp, kind, &of, 0);
}

SEC("tp_btf/inet_sock_set_state")
int tcp_state(u64 *context)
{
	struct sock *sk = (void *)context[0];
	int from = context[1];
	int to = context[2];

	/* Most changes are none of these, and end here. */
	if (to == TCP_CLOSE) {
		if (sk->sk_protocol != IPPROTO_TCP)
			return 0;
		if (from == TCP_LISTEN)
			listens(sk, KIND_LISTENED);
		else
			closes(sk, from);
	} else if (to == TCP_SYN_SENT) {
		if (sk->sk_protocol == IPPROTO_TCP)
			opens(sk);
	} else if (to == TCP_ESTABLISHED && from == TCP_SYN_SENT) {
		struct connection *connection = find(sk);

		if (connection) {
#ifdef TCP_HASH
			connection->local_port = sk->__sk_common.skc_num;
#endif
			connection->established_at = bpf_ktime_get_ns();
		}
	} else if (to == TCP_LISTEN && sk->sk_protocol == IPPROTO_TCP) {
		listens(sk, KIND_LISTENS);
	}
	return 0;
}

/* 0: it is written. Else there was no room: the kernel asks for it once more. */
ALWAYS_INLINE long write(struct bpf_iter_meta *meta, struct record *record, u32 kind, struct connection *of)
{
	if (record->state != TCP_SYN_SENT && record->state != TCP_SYN_RECV)
		record->flags |= FLAG_ESTABLISHED;
	record->kind = kind;
	record->at = bpf_ktime_get_ns();
	record->opened_at = of->opened_at;
	record->established_at = of->established_at;
	record->owner = of->owner;
	record->flags |= of->flags;
	return bpf_seq_write(meta->seq, record, sizeof(*record));
}

#ifdef TCP_HASH
/* The pointer may be of a socket that is gone: memory of sockets stays that of
 * sockets (SLAB_TYPESAFE_BY_RCU), so what is read is a socket's, maybe
 * another's, and often one of the next connection to the same place. So its own
 * port must be the same as well; and what is kept must be there still after the
 * socket was read: it goes before the socket does. */
SEC("iter/bpf_map_elem")
int tcp_live(struct bpf_iter__bpf_map_elem *context)
{
	u64 *in = context->key;
	struct connection *value = context->value;
	struct record record = {};
	struct connection of;

	if (!in || !value)
		return 0;
	u64 key = *in;
	struct tcp_sock *tp = (void *)key;
	struct sock *sk = (void *)tp;

	of = *value;
	if (of.is_closed)
		return 0;
	FILL(&record, sk, tp, READ);
	struct connection *now = bpf_map_lookup_elem(&connections, &key);
	if (!now || now->is_closed || now->opened_at != of.opened_at)
		return 0;
	/* The tracepoint comes before the change: for a moment one that begins is closed still. */
	if (record.state == TCP_CLOSE && bpf_ktime_get_ns() - of.opened_at < SECOND)
		return 0;
	if (record.state == TCP_CLOSE || record.state == TCP_LISTEN || record.remote_port != of.remote_port ||
	    record.netns != of.netns || (of.local_port && record.local_port != of.local_port)) {
		/* Its end was missed. */
		bpf_map_delete_elem(&connections, &key);
		return 0;
	}
	write(context->meta, &record, KIND_LIVE, &of);
	return 0;
}
#else
SEC("iter/bpf_sk_storage_map")
int tcp_live(struct bpf_iter__bpf_sk_storage_map *context)
{
	struct connection *of = context->value;
	struct sock *sk = context->sk;
	struct record record = {};

	if (!sk || !of || of->is_closed || sk->__sk_common.skc_state == TCP_CLOSE)
		return 0;
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	FILL(&record, sk, tp, PLAIN);
	write(context->meta, &record, KIND_LIVE, of);
	return 0;
}
#endif

/* All sockets that processes hold: tells those that listen, and adopts those
 * that were connected before the programs were there. */
SEC("iter/task_file")
int tcp_adopt(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct record record = {};
	struct connection of = {};

	if (!task || !file || (file->f_inode->i_mode & S_IFMT) != S_IFSOCK)
		return 0;
#ifdef TCP_HASH
	struct socket *socket = file->private_data;
	struct sock *sk = READ(socket->sk);
	u32 type = sk ? READ(sk->sk_type) : 0;
	u32 protocol = sk ? READ(sk->sk_protocol) : 0;
	u32 family = sk ? READ(sk->__sk_common.skc_family) : 0;
	struct tcp_sock *tp = (void *)sk;
#define FIELD_OF_SOCK READ
#else
	struct socket *socket = bpf_sock_from_file(file);
	struct sock *sk = socket ? socket->sk : NULL;
	u32 type = sk ? sk->sk_type : 0;
	u32 protocol = sk ? sk->sk_protocol : 0;
	u32 family = sk ? sk->__sk_common.skc_family : 0;
#define FIELD_OF_SOCK PLAIN
#endif
	if (!sk || type != SOCK_STREAM || protocol != IPPROTO_TCP || (family != AF_INET && family != AF_INET6))
		return 0;
#ifndef TCP_HASH
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
#endif
	FILL(&record, sk, tp, FIELD_OF_SOCK);
	if (record.state == TCP_CLOSE)
		return 0;
	struct css_set *set = FIELD_OF_TASK(task->cgroups);
	struct cgroup *cgroup = FIELD_OF_TASK(set->dfl_cgrp);

	fill_owner(&of.owner, task, set);
	of.owner.cgroup2 = id_of(cgroup);
	if (record.state == TCP_LISTEN) {
		write(context->meta, &record, KIND_LISTENS, &of);
		return 0;
	}
	if (find(sk))
		return 0; /* the programs saw it begin, or it was adopted */
	of.flags |= FLAG_ADOPTED;
	of.opened_at = bpf_ktime_get_ns();
	/* It is known from when it is written on, or what found no room would be known
	 * when its turn comes again. */
	if (write(context->meta, &record, KIND_LIVE, &of))
		return 0;
#ifdef TCP_HASH
	of.remote_port = record.remote_port;
	of.local_port = record.local_port;
	of.netns = record.netns;
	u64 key = (u64)sk;

	if (bpf_map_update_elem(&connections, &key, &of, BPF_NOEXIST) && !find(sk))
		count_lost(LOST_ADOPTION);
	/* It may have ended since it was looked at, and then nothing takes this away. */
	if (READ(sk->__sk_common.skc_state) == TCP_CLOSE)
		bpf_map_delete_elem(&connections, &key);
#else
	if (!bpf_sk_storage_get(&connections, sk, &of, BPF_SK_STORAGE_GET_F_CREATE))
		count_lost(LOST_ADOPTION);
#endif
	return 0;
}
