/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A memory cgroup for a test, in a mount of its own.
 */
#ifndef _HMM_GROUP_H
#define _HMM_GROUP_H

#include <stdbool.h>
#include <stddef.h>

struct group {
	char mount[32];
	char path[64];
	bool mounted;
	bool enabled;		/* by us */
	bool made;
};

bool group_make(struct group *group);
/* False when processes are still in it */
bool group_remove(struct group *group);
void group_unmount(struct group *group);
/* The whole text, or nothing: false, with errno */
bool group_write(const char *folder, const char *name, const char *text);
bool group_read(const char *folder, const char *name, char *text, size_t size);

#endif /* _HMM_GROUP_H */
