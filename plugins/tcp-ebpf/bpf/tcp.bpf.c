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
 * One event a connection, at its end. What is open is counted by iterators, which
 * write into the same ring: what it says of a connection is in its order, and an
 * iterator is interrupted for want of room a hundred times less often than by its
 * own buffer of 32 KiB.
 */
#include "sock.h"

char LICENSE[] SEC("license") = "GPL";

/* Bytes that wait when a wake-up of the reader is worth its cost; it looks by
 * itself too. Set by who loads it: a part of the ring. */
const volatile u32 wake_at = 256 << 10;

/* Bytes that may wait when an iterator writes more: the rest is for events. */
const volatile u32 scan_most = 2 << 20;

/* Where the ring was when the reader was woken last. */
u64 woken_at = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

enum {
	LOST_RING = 0,	     /* the ring was full */
	LOST_CONNECTION = 1, /* nothing could be kept of a socket */
	LOST_LISTENING = 2,  /* it could not be kept where somebody began to listen */
	LOST_KINDS = 3,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOST_KINDS);
	__type(key, u32);
	__type(value, u64);
} lost SEC(".maps");

/* Where somebody listens, or did a while ago, and when that was seen last: by that a
 * socket that was taken there is known, where it does not say itself that it was not.
 * User space takes away what is old. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u64);
} listening SEC(".maps");

/* What tcp_adopt looks for. */
enum {
	LOOK_LISTENING = 0, /* sockets that listen */
	LOOK_OTHERS = 1,    /* all others; where nothing can be kept it is to be asked again */
	LOOK_ONCE = 2,	    /* the same; that is a loss */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} looks_for SEC(".maps");

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

/* It may be there of the connection that the socket was before, which ended. It is
 * replaced, and not written over: what an iterator on another processor finds is
 * whole at once, in whatever order processors see what others write. */
ALWAYS_INLINE long begin(struct sock *sk, struct connection *as)
{
	struct connection *connection = bpf_sk_storage_get(&connections, sk, as, BPF_SK_STORAGE_GET_F_CREATE);

	if (connection && connection->opened_at != as->opened_at) {
		bpf_sk_storage_delete(&connections, sk);
		connection = bpf_sk_storage_get(&connections, sk, as, BPF_SK_STORAGE_GET_F_CREATE);
	}
	return connection ? 0 : -1;
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

ALWAYS_INLINE void describe(struct record *record, u32 kind, u64 at, struct connection *of)
{
	record->kind = kind;
	record->at = at;
	record->opened_at = of->opened_at;
	record->established_at = of->established_at;
	record->owner = of->owner;
	record->flags |= of->flags;
}

ALWAYS_INLINE void tell(struct sock *sk, struct tcp_sock *tp, u32 kind, u64 at, struct connection *of, u32 flags)
{
	struct record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record) {
		count_lost(LOST_RING);
		return;
	}
	FILL(record, sk, tp, PLAIN);
	describe(record, kind, at, of);
	record->flags |= flags;
	submit(record);
}

ALWAYS_INLINE u64 place_of(u32 netns, u16 port)
{
	return (u64)netns << 32 | port;
}

/* 0: it is kept. Where bind() chose none, the port comes after the event. */
ALWAYS_INLINE long note_listening(u32 netns, u16 port, u64 at)
{
	u64 place = place_of(netns, port);

	return port ? bpf_map_update_elem(&listening, &place, &at, BPF_ANY) : 0;
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

	if (!connection || connection->closed_at)
		return;
	/* Before the event has its place in the ring: an iterator that finds a later one
	 * sees this. */
	u64 now = bpf_ktime_get_ns();

	connection->closed_at = now;
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	if (from != TCP_SYN_SENT && from != TCP_SYN_RECV)
		flags |= FLAG_ESTABLISHED;
	else if (sk->sk_socket && sk->sk_socket->state == SS_UNCONNECTED)
		flags |= FLAG_SYNCHRONOUS;
	tell(sk, tp, KIND_CLOSED, now, connection, flags);
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
	u64 now = bpf_ktime_get_ns();

	if (kind == KIND_LISTENS) {
		fill_owner_here(&of.owner);
		/* Looks find it again and again, and do not count it. */
		if (note_listening(sk->__sk_common.skc_net.net->ns.inum, sk->__sk_common.skc_num, now))
			count_lost(LOST_LISTENING);
	}
	tell(sk, tp, kind, now, &of, is_v6_only(sk));
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

/* What an iterator answers: the next one, or the same one again once the ring was read. */
enum {
	NEXT = 0,
	SAME = 1,
};

/* A place for what an iterator tells. NULL: there is none for now. */
ALWAYS_INLINE struct record *room(void)
{
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > scan_most)
		return NULL;
	return bpf_ringbuf_reserve(&events, sizeof(struct record), 0);
}

ALWAYS_INLINE void found(struct record *record, u32 kind, struct connection *of)
{
	if (record->state != TCP_SYN_SENT && record->state != TCP_SYN_RECV)
		record->flags |= FLAG_ESTABLISHED;
	describe(record, kind, bpf_ktime_get_ns(), of);
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
	struct connection of;

	if (!in || !value)
		return NEXT;
	u64 key = *in;
	struct tcp_sock *tp = (void *)key;
	struct sock *sk = (void *)tp;

	of = *value;
	if (of.closed_at)
		return NEXT;
	struct record *record = room();
	if (!record)
		return SAME;
	FILL(record, sk, tp, READ);
	struct connection *now = bpf_map_lookup_elem(&connections, &key);
	if (!now || AGAIN(now->closed_at) || now->opened_at != of.opened_at)
		goto nothing;
	/* The tracepoint comes before the change: for a moment one that begins is closed still. */
	if (record->state == TCP_CLOSE && bpf_ktime_get_ns() - of.opened_at < SECOND)
		goto nothing;
	if (record->state == TCP_CLOSE || record->state == TCP_LISTEN || record->remote_port != of.remote_port ||
	    record->netns != of.netns || (of.local_port && record->local_port != of.local_port)) {
		/* Its end was missed. */
		bpf_map_delete_elem(&connections, &key);
		goto nothing;
	}
	found(record, KIND_LIVE, &of);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return NEXT;
nothing:
	bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
	return NEXT;
}
#else
SEC("iter/bpf_sk_storage_map")
int tcp_live(struct bpf_iter__bpf_sk_storage_map *context)
{
	struct connection *of = context->value;
	struct sock *sk = context->sk;

	if (!sk || !of || of->closed_at || sk->__sk_common.skc_state == TCP_CLOSE)
		return NEXT;
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return NEXT;
	struct record *record = room();
	if (!record)
		return SAME;
	FILL(record, sk, tp, PLAIN);
	found(record, KIND_LIVE, of);
	/* Its end may have been told since: what says that it is open must not come after. */
	if (AGAIN(of->closed_at))
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
	else
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return NEXT;
}
#endif

/* Whether it is followed: one that ended is, until its socket had the time to say so. */
ALWAYS_INLINE int is_known(struct sock *sk)
{
	struct connection *known = find(sk);

	return known && (!known->closed_at || bpf_ktime_get_ns() - known->closed_at < SECOND);
}

/* Whether it may have been taken where somebody listens. One whose port bind() asked for
 * was not; nor one for which connect() chose it, among ports of which no bucket can be
 * shared with a socket that listens (__inet_hash_connect). */
ALWAYS_INLINE int may_be_taken(struct sock *sk)
{
	if (READ_BITS(sk, sk->sk_userlocks) & SOCK_BINDPORT_LOCK)
		return 0;
	struct inet_connection_sock *socket = (void *)sk;
	struct inet_bind_bucket *bucket = READ(socket->icsk_bind_hash);

	return !bucket || READ(bucket->fastreuse) >= 0;
}

/* From here on the end of it is told. 0: it is kept; BEGUN: somebody connected it
 * meanwhile, and it is followed by that. */
#define BEGUN 1
#ifdef TCP_HASH
ALWAYS_INLINE long keep(struct sock *sk, struct connection *as)
{
	u64 key = (u64)sk;

	as->remote_port = __builtin_bswap16(READ(sk->__sk_common.skc_dport));
	as->local_port = READ(sk->__sk_common.skc_num);
	struct net *net = READ(sk->__sk_common.skc_net.net);
	as->netns = READ(net->ns.inum);
	if (!bpf_map_update_elem(&connections, &key, as, BPF_NOEXIST))
		return 0;
	return bpf_map_lookup_elem(&connections, &key) ? BEGUN : -1;
}

ALWAYS_INLINE void give_up(struct sock *sk)
{
	u64 key = (u64)sk;

	bpf_map_delete_elem(&connections, &key);
}
#else
ALWAYS_INLINE long keep(struct sock *sk, struct connection *as)
{
	struct connection *connection = find(sk);

	if (connection && !connection->closed_at)
		return BEGUN;
	return begin(sk, as);
}

ALWAYS_INLINE void give_up(struct sock *sk)
{
	bpf_sk_storage_delete(&connections, sk);
}
#endif

/* All sockets that processes hold: those that listen, and then those that were
 * connected before the programs were there, or whose beginning was missed, but for
 * those that were taken where somebody listens. */
SEC("iter/task_file")
int tcp_adopt(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	u32 zero = 0;

	if (!task || !file || (file->f_inode->i_mode & S_IFMT) != S_IFSOCK)
		return NEXT;
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
		return NEXT;
	u32 *looks = bpf_map_lookup_elem(&looks_for, &zero);
	u32 state = FIELD_OF_SOCK(sk->__sk_common.skc_state);
	u16 port = FIELD_OF_SOCK(sk->__sk_common.skc_num);
	struct net *net = FIELD_OF_SOCK(sk->__sk_common.skc_net.net);
	u32 netns = FIELD_OF_SOCK(net->ns.inum);

	if (!looks || state == TCP_CLOSE || (state == TCP_LISTEN) != (*looks == LOOK_LISTENING))
		return NEXT;
	if (state == TCP_LISTEN) {
		note_listening(netns, port, bpf_ktime_get_ns());
	} else {
		u64 place = place_of(netns, port);

		if (is_known(sk) || (bpf_map_lookup_elem(&listening, &place) && may_be_taken(sk)))
			return NEXT;
	}
#ifndef TCP_HASH
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return NEXT;
#endif
	struct record *record = room();
	if (!record)
		return SAME;
	struct connection of = {};
	struct css_set *set = FIELD_OF_TASK(task->cgroups);
	struct cgroup *cgroup = FIELD_OF_TASK(set->dfl_cgrp);

	fill_owner(&of.owner, task, set);
	of.owner.cgroup2 = id_of(cgroup);
	FILL(record, sk, tp, FIELD_OF_SOCK);
	if (state == TCP_LISTEN) {
		found(record, KIND_LISTENING, &of);
		record->flags |= is_v6_only(sk);
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
		return NEXT;
	}
	of.flags = FLAG_ADOPTED;
	of.opened_at = bpf_ktime_get_ns();
	found(record, KIND_ADOPTED, &of);
	/* Its place in the ring is before that of its end, which is told from here on. */
	long kept = keep(sk, &of);
	if (kept) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		if (kept == BEGUN)
			return NEXT;
		/* In an iterator the kernel takes memory out of a reserve, which fills by itself. */
		if (*looks == LOOK_OTHERS)
			return SAME;
		count_lost(LOST_CONNECTION);
		return NEXT;
	}
	/* It may have ended before, and then nothing takes this away. */
	if (FIELD_OF_SOCK(sk->__sk_common.skc_state) == TCP_CLOSE) {
		give_up(sk);
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return NEXT;
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return NEXT;
}
