/* SPDX-License-Identifier: Apache-2.0
 *
 * From a socket to a record. The pointer may be one that the verifier knows
 * (then its fields are plain loads) or not: FIELD says which.
 */
#pragma once

#include "record.h"

enum {
	AF_INET = 2,
	AF_INET6 = 10,
	IPPROTO_TCP = 6,
	SOCK_STREAM = 1,
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_CLOSE = 7,
	TCP_LISTEN = 10,
	SOCK_BINDPORT_LOCK = 8, /* in sk_userlocks: its port was asked for by bind() */
	SOCK_DONE = 1, /* a bit of skc_flags: the peer's FIN came */
	S_IFMT = 0170000,
	S_IFSOCK = 0140000,
};

ALWAYS_INLINE void set_v4(u32 to[4], u32 address)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = 0xffff0000; /* ::ffff:0:0/96, big endian on the wire */
	to[3] = address;
}

ALWAYS_INLINE u32 is_v6_only(struct sock *sk)
{
	return READ_BITS(sk, sk->__sk_common.skc_ipv6only) ? FLAG_V6_ONLY : 0;
}

#define FILL(record, sk, tp, FIELD) \
	do { \
		struct socket *socket_ = FIELD((sk)->sk_socket); \
		struct net *net_ = FIELD((sk)->__sk_common.skc_net.net); \
		(record)->version = VERSION; \
		(record)->state = FIELD((sk)->__sk_common.skc_state); \
		(record)->error = FIELD((sk)->sk_err); \
		(record)->sock = (u64)(sk); \
		(record)->netns = FIELD(net_->ns.inum); \
		(record)->local_port = __builtin_bswap16(FIELD((tp)->inet_conn.icsk_inet.inet_sport)); \
		(record)->remote_port = __builtin_bswap16(FIELD((sk)->__sk_common.skc_dport)); \
		if (FIELD((sk)->__sk_common.skc_family) == AF_INET6 && field_exists((sk)->__sk_common.skc_v6_daddr)) { \
			(record)->local[0] = FIELD((sk)->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[0]); \
			(record)->local[1] = FIELD((sk)->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[1]); \
			(record)->local[2] = FIELD((sk)->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[2]); \
			(record)->local[3] = FIELD((sk)->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[3]); \
			(record)->remote[0] = FIELD((sk)->__sk_common.skc_v6_daddr.in6_u.u6_addr32[0]); \
			(record)->remote[1] = FIELD((sk)->__sk_common.skc_v6_daddr.in6_u.u6_addr32[1]); \
			(record)->remote[2] = FIELD((sk)->__sk_common.skc_v6_daddr.in6_u.u6_addr32[2]); \
			(record)->remote[3] = FIELD((sk)->__sk_common.skc_v6_daddr.in6_u.u6_addr32[3]); \
		} else { \
			set_v4((record)->local, FIELD((sk)->__sk_common.skc_rcv_saddr)); \
			set_v4((record)->remote, FIELD((sk)->__sk_common.skc_daddr)); \
		} \
		/* A FIN takes a place in the sequence, and is no byte. The flag comes after \
		 * it: read in this order it may be a byte too few for a moment, not too many. */ \
		(record)->received = FIELD((tp)->bytes_received); \
		BARRIER; \
		if ((record)->received && (FIELD((sk)->__sk_common.skc_flags) >> SOCK_DONE & 1)) \
			(record)->received--; \
		(record)->sent = FIELD((tp)->bytes_sent); \
		(record)->resent = FIELD((tp)->bytes_retrans); \
		(record)->retransmits = FIELD((tp)->total_retrans); \
		(record)->rtt = FIELD((tp)->srtt_us) >> 3; \
		(record)->flags = socket_ ? 0 : FLAG_ORPHAN; \
	} while (0)

#define PLAIN(field) (field)
