// SPDX-License-Identifier: GPL-2.0
/*
 * Mirror another process than the one that opened the file.
 *
 * The kernel's own helpers for pidfds and for access to another process's
 * memory are not exported to modules; a pidfd is recognised by its file system.
 */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "test_hmm.h"

static struct task_struct *dmirror_pidfd_task(int pidfd)
{
	struct task_struct *task;
	struct inode *inode;

	CLASS(fd, f)(pidfd);
	if (fd_empty(f))
		return ERR_PTR(-EBADF);
	inode = file_inode(fd_file(f));
	if (inode->i_sb->s_magic != PID_FS_MAGIC || !inode->i_private)
		return ERR_PTR(-EINVAL);

	task = get_pid_task(inode->i_private, PIDTYPE_PID);
	return task ?: ERR_PTR(-ESRCH);
}

/* A process still exists after its first thread, which the pidfd names, has exited. */
static struct mm_struct *dmirror_process_mm(struct task_struct *task)
{
	struct task_struct *thread;
	struct mm_struct *mm = NULL;

	rcu_read_lock();
	for_each_thread(task, thread) {
		mm = get_task_mm(thread);
		if (mm)
			break;
	}
	rcu_read_unlock();
	return mm;
}

/* A capability in the initial user namespace is at least what ptrace requires. */
static bool dmirror_may_attach(struct mm_struct *mm)
{
	return mm == current->mm || capable(CAP_SYS_PTRACE) || capable(CAP_SYS_ADMIN);
}

/* The mm of a pidfd, with a reference */
static struct mm_struct *dmirror_pidfd_mm(int pidfd)
{
	struct task_struct *task = dmirror_pidfd_task(pidfd);
	struct mm_struct *mm;

	if (IS_ERR(task))
		return ERR_CAST(task);
	if (task->flags & PF_KTHREAD)
		mm = ERR_PTR(-EINVAL);
	else
		mm = dmirror_process_mm(task) ?: ERR_PTR(-ESRCH);
	put_task_struct(task);

	if (!IS_ERR(mm) && !dmirror_may_attach(mm)) {
		mmput(mm);
		return ERR_PTR(-EPERM);
	}
	return mm;
}

/**
 * dmirror_attach() - HMM_DMIRROR_ATTACH
 * @file: of the command
 * @args: its arguments
 *
 * Commands that are running continue with the process with which they began.
 *
 * Return: 0 or an errno.
 */
int dmirror_attach(struct dmirror_file *file, const struct hmm_dmirror_attach *args)
{
	struct dmirror *mirror;
	struct mm_struct *mm;

	if (args->flags)
		return -EINVAL;
	mm = dmirror_pidfd_mm(args->pidfd);
	if (IS_ERR(mm))
		return PTR_ERR(mm);
	mirror = dmirror_create(file->device, mm);
	mmput(mm);
	if (IS_ERR(mirror))
		return PTR_ERR(mirror);

	spin_lock(&file->device->files_lock);
	swap(file->mirror, mirror);
	spin_unlock(&file->device->files_lock);
	dmirror_put(mirror);
	return 0;
}
