// SPDX-License-Identifier: Apache-2.0
/* Where the tracepoint gives the victim's pid alone. */
#define BY_PID
#include "oom.bpf.c"
