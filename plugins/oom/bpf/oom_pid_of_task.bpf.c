// SPDX-License-Identifier: Apache-2.0
/* For tests alone: goes the way of a kernel that gives the pid, on one that gives the task. */
#define BY_PID
#define PID_OF_TASK
#include "oom.bpf.c"
