// SPDX-License-Identifier: GPL-2.0
/*
 * A file system of one file, in memory, that counts the calls of its operations. It may
 * attach a record to each of its folios; what becomes of those is counted, too.
 */
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_probe_move.h"

#define FILE_FLAGS	(HMM_FILE_RECORDS | HMM_FILE_UNMOVED)

/**
 * struct probe_file - one file
 * @flags: HMM_FILE_*
 * @dirtied: calls of its dirty_folio()
 * @records: how many there are
 */
struct probe_file {
	u64 flags;
	atomic64_t dirtied;
	atomic64_t records;
};

/* What is attached to a folio */
struct probe_record {
	pgoff_t index;
};

static struct probe_file *file_of(const struct address_space *mapping)
{
	return mapping->host->i_private;
}

static int fs_read_folio(struct file *file, struct folio *folio)
{
	struct probe_file *own = file_of(folio->mapping);
	struct probe_record *record;

	folio_zero_range(folio, 0, folio_size(folio));
	if (own->flags & HMM_FILE_RECORDS) {
		record = kmalloc_obj(*record);
		if (!record) {
			folio_unlock(folio);
			return -ENOMEM;
		}
		record->index = folio->index;
		folio_attach_private(folio, record);
		atomic64_inc(&own->records);
	}
	folio_mark_uptodate(folio);
	folio_unlock(folio);
	return 0;
}

static bool fs_dirty_folio(struct address_space *mapping, struct folio *folio)
{
	atomic64_inc(&file_of(mapping)->dirtied);
	return filemap_dirty_folio(mapping, folio);
}

static void fs_invalidate_folio(struct folio *folio, size_t offset, size_t len)
{
	struct probe_file *own = file_of(folio->mapping);
	struct probe_record *record;

	if (offset || len != folio_size(folio))
		return;
	record = folio_detach_private(folio);
	if (!record)
		return;
	atomic64_dec(&own->records);
	kfree(record);
}

/* The records are needed as long as the folios. */
static bool fs_release_folio(struct folio *folio, gfp_t gfp)
{
	return false;
}

static const struct address_space_operations fs_moved_aops = {
	.read_folio = fs_read_folio,
	.dirty_folio = fs_dirty_folio,
	.invalidate_folio = fs_invalidate_folio,
	.release_folio = fs_release_folio,
	.migrate_folio = filemap_migrate_folio,
};

static const struct address_space_operations fs_unmoved_aops = {
	.read_folio = fs_read_folio,
	.dirty_folio = fs_dirty_folio,
	.invalidate_folio = fs_invalidate_folio,
	.release_folio = fs_release_folio,
};

/* The last user of the file */
static int fs_release(struct inode *inode, struct file *file)
{
	struct probe_file *own = file->private_data;

	truncate_inode_pages(&inode->i_data, 0);
	kfree(own);
	return 0;
}

/* Records that their folios have */
static u64 count_attached(struct address_space *mapping, unsigned long npages)
{
	u64 attached = 0;
	pgoff_t i;

	for (i = 0; i < npages; i++) {
		struct folio *folio = filemap_lock_folio(mapping, i);
		struct probe_record *record;

		if (IS_ERR(folio))
			continue;
		record = folio_get_private(folio);
		attached += record && record->index == i;
		folio_unlock(folio);
		folio_put(folio);
	}
	return attached;
}

static long fs_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct probe_file *own = file->private_data;
	struct inode *inode = file_inode(file);
	struct hmm_file_state state = {
		.dirtied = atomic64_read(&own->dirtied),
		.records = atomic64_read(&own->records),
	};

	if (cmd != HMM_FILE_STATE)
		return -ENOTTY;
	state.attached = count_attached(inode->i_mapping,
					i_size_read(inode) >> PAGE_SHIFT);
	return copy_to_user((void __user *)arg, &state, sizeof(state)) ?
		-EFAULT : 0;
}

static const struct vm_operations_struct fs_vm_ops = {
	.fault = filemap_fault,
	.map_pages = filemap_map_pages,
};

static int fs_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &fs_vm_ops;
	return 0;
}

static const struct file_operations fs_fops = {
	.owner = THIS_MODULE,
	.mmap = fs_mmap,
	.release = fs_release,
	.unlocked_ioctl = fs_ioctl,
};

int probe_file_open(const struct hmm_file __user *arg)
{
	struct probe_file *own;
	struct hmm_file args;
	struct inode *inode;
	struct file *file;
	int fd;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if (args.flags & ~FILE_FLAGS || args.npages > HMM_MOVE_MAX_PAGES)
		return -EINVAL;
	own = kzalloc_obj(*own);
	if (!own)
		return -ENOMEM;
	own->flags = args.flags;
	file = anon_inode_create_getfile("[hmm_probe]", &fs_fops, own, O_RDWR,
					 NULL);
	if (IS_ERR(file)) {
		kfree(own);
		return PTR_ERR(file);
	}
	inode = file_inode(file);
	inode->i_mapping->a_ops = args.flags & HMM_FILE_UNMOVED ?
		&fs_unmoved_aops : &fs_moved_aops;
	inode->i_private = own;
	i_size_write(inode, args.npages << PAGE_SHIFT);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		fput(file);
	else
		fd_install(fd, file);
	return fd;
}
