// SPDX-License-Identifier: Apache-2.0
/* For Linux 5.10, where no tracing program can keep anything at a socket. */
#define TCP_HASH
#include "tcp.bpf.c"
