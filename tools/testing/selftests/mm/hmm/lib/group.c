// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "group.h"

bool group_write(const char *folder, const char *name, const char *text)
{
	char path[128];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

bool group_read(const char *folder, const char *name, char *text, size_t size)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

bool group_make(struct group *group)
{
	char text[256];

	strcpy(group->mount, "/tmp/hmm-memcg-XXXXXX");
	if (!mkdtemp(group->mount)) {
		group->mount[0] = '\0';
		return false;
	}
	group->mounted = !mount("none", group->mount, "cgroup2", 0, NULL);
	if (!group->mounted)
		return false;
	if (!group_read(group->mount, "cgroup.subtree_control", text,
			sizeof(text)))
		return false;
	if (!strstr(text, "memory")) {
		group->enabled = group_write(group->mount,
					     "cgroup.subtree_control",
					     "+memory");
		if (!group->enabled)
			return false;
	}
	snprintf(group->path, sizeof(group->path), "%s/hmm-%d", group->mount,
		 getpid());
	group->made = !mkdir(group->path, 0755);
	return group->made && !access(group->path, W_OK);
}

bool group_remove(struct group *group)
{
	bool gone = !group->made || !rmdir(group->path);

	group->made = !gone;
	return gone;
}

void group_unmount(struct group *group)
{
	if (group->enabled)
		group_write(group->mount, "cgroup.subtree_control", "-memory");
	if (group->mounted)
		umount(group->mount);
	if (group->mount[0])
		rmdir(group->mount);
}
