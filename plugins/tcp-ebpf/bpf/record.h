/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes to user space, of events and of iterators in one ring. src/record.rs reads
 * it; a change of either needs a new VERSION and the other.
 */
#pragma once

#include "kern.h"

#define VERSION 3

/* What a record tells. */
enum {
	KIND_LIVE = 1,	   /* a connection that is there, by an iterator */
	KIND_CLOSED = 2,   /* a connection ended, or did not come to be */
	KIND_LISTENS = 3,  /* a socket listens */
	KIND_LISTENED = 4, /* it does so no more */
	KIND_ADOPTED = 5,  /* a connection that was there before; it is followed from here on */
	KIND_LISTENING = 6, /* a socket that listens, by an iterator */
};

enum {
	FLAG_ADOPTED = 1,     /* it was there before the programs were */
	FLAG_ORPHAN = 2,      /* no process holds it any more */
	FLAG_V6_ONLY = 4,     /* it listens for version 6 alone */
	FLAG_ESTABLISHED = 8, /* it came to be */
	FLAG_SYNCHRONOUS = 16, /* it ended within connect() itself */
};

struct owner {
	u64 start; /* of the process: nanoseconds since boot */
	u64 cgroup2;
	u64 cgroup1; /* in the hierarchy of version 1 with the memory controller; 0: there is none */
	u32 hierarchy;
	u32 tgid;
};

struct record {
	u8 version;
	u8 kind;
	u8 state;
	u8 flags;
	s32 error;
	u64 sock;
	u64 at;
	u64 opened_at;
	u64 established_at;
	struct owner owner;
	u64 sent;
	u64 resent; /* of these; read after them, so that it may be too much for a moment */
	u64 received;
	u32 retransmits;
	u32 rtt; /* smoothed, in microseconds */
	u32 netns;
	u16 local_port;
	u16 remote_port;
	u32 local[4];
	u32 remote[4];
};

/* What is kept of a socket that a process of this machine opened. */
struct connection {
	u64 opened_at;
	u64 established_at;
	struct owner owner;
	u64 closed_at; /* 0: it is open */
	u32 flags;
	u32 unused;
#ifdef TCP_HASH
	/* By which it is known that the socket is still this connection's. */
	u32 remote_port;
	u32 local_port; /* 0: not chosen yet */
	u32 netns;
	u32 unused_too;
#endif
};
