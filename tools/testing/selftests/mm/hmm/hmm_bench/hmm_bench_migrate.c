// SPDX-License-Identifier: GPL-2.0
/*
 * Migration to the device and back, as a driver does it, but for the copy: the
 * memory's contents are lost. And exclusive access.
 */
#include <linux/gfp.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/slab.h>
#include <linux/timex.h>

#include "hmm_bench.h"

#ifdef MIGRATE_VMA_SELECT_FOLIOS
#define SELECT_FOLIOS	MIGRATE_VMA_SELECT_FOLIOS
#else
#define SELECT_FOLIOS	0
#endif

/* Destinations: a folio, locked, or NULL */

static struct folio *system_alloc(unsigned int order)
{
	struct folio *folio = folio_alloc(order ? GFP_TRANSHUGE :
						  GFP_HIGHUSER_MOVABLE, order);

	if (folio)
		folio_lock(folio);
	return folio;
}

static struct folio *source_of(unsigned long entry)
{
	return page_folio(migrate_pfn_to_page(entry));
}

static unsigned int order_of(unsigned long entry)
{
	if (!(entry & MIGRATE_PFN_COMPOUND))
		return 0;
	return entry & MIGRATE_PFN_VALID ? folio_order(source_of(entry)) :
					   HPAGE_PMD_ORDER;
}

static unsigned long destination_of(unsigned long entry,
				    struct folio *(*alloc)(unsigned int order))
{
	unsigned int order = order_of(entry);
	struct folio *to = alloc(order);

	if (!to)
		return 0;
	return migrate_pfn(folio_pfn(to)) | (order ? MIGRATE_PFN_COMPOUND : 0);
}

/* What no destination is found for stays where it is. */
void bench_supply(struct migrate_vma *migrate,
		  struct folio *(*alloc)(unsigned int order), bool holes)
{
	const unsigned long wanted = MIGRATE_PFN_MIGRATE |
				     (holes ? 0 : MIGRATE_PFN_VALID);
	unsigned long i, entry;

	for (i = 0; i < migrate->npages; i += 1UL << order_of(entry)) {
		entry = migrate->src[i];
		if ((entry & wanted) == wanted)
			migrate->dst[i] = destination_of(entry, alloc);
		else
			entry = 0;
	}
}

/* A CPU fault */

static void choose_page(struct migrate_vma *migrate, unsigned long addr)
{
	migrate->start = addr & PAGE_MASK;
	migrate->end = migrate->start + PAGE_SIZE;
}

/* The whole folio, if it is mapped in one piece and can go so */
static void choose_folio(struct migrate_vma *migrate,
			 const struct vm_fault *vmf)
{
	const struct vm_area_struct *vma = vmf->vma;
	struct folio *folio = page_folio(vmf->page);
	unsigned long page = folio_page_idx(folio, vmf->page);

	migrate->flags |= SELECT_FOLIOS;
	migrate->start = (vmf->address & PAGE_MASK) - page * PAGE_SIZE;
	migrate->end = migrate->start + folio_size(folio);
	if (!SELECT_FOLIOS || migrate->start < vma->vm_start ||
	    migrate->end > vma->vm_end)
		choose_page(migrate, vmf->address);
}

static void choose_range(struct migrate_vma *migrate,
			 const struct vm_fault *vmf)
{
	if (vmf->pte) {
		choose_folio(migrate, vmf);
		return;
	}
	migrate->flags |= MIGRATE_VMA_SELECT_COMPOUND;
	migrate->start = vmf->address & HPAGE_PMD_MASK;
	migrate->end = migrate->start + HPAGE_PMD_SIZE;
}

vm_fault_t bench_migrate_to_ram(struct vm_fault *vmf)
{
	struct migrate_vma migrate = {
		.vma = vmf->vma,
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.pgmap_owner = &bench_pagemap,
		.fault_page = vmf->page,
	};
	vm_fault_t rc = 0;
	unsigned long nr;

	if (vmf->flags & FAULT_FLAG_VMA_LOCK)
		migrate.flags |= UNDER_VMA_LOCK;
	choose_range(&migrate, vmf);
	nr = (migrate.end - migrate.start) >> PAGE_SHIFT;
	migrate.src = kmalloc_array(2 * nr, sizeof(*migrate.src), GFP_KERNEL);
	if (!migrate.src)
		return VM_FAULT_OOM;
	migrate.dst = migrate.src + nr;
	if (migrate_vma_setup(&migrate)) {
		rc = VM_FAULT_SIGBUS;
	} else {
		bench_supply(&migrate, system_alloc, !BENCH_HOLES);
		migrate_vma_pages(&migrate);
		migrate_vma_finalize(&migrate);
	}
	kfree(migrate.src);
	return rc;
}

/* Operations */

/* The only subscription of the address space that is called for flushes. */
static void count_flush(struct mmu_notifier *counter, struct mm_struct *mm,
			unsigned long start, unsigned long end)
{
	struct bench_job *job = container_of(counter, struct bench_job,
					     flush_counter);

	atomic64_inc(&job->flushes);
}

static const struct mmu_notifier_ops flush_counter_ops = {
	.arch_invalidate_secondary_tlbs = count_flush,
};

void bench_choose_memory(struct migrate_vma *migrate,
			 const struct hmm_bench_call *call)
{
	migrate->pgmap_owner = &bench_pagemap;
	migrate->flags = call->op == HMM_BENCH_MIGRATE_TO_SYSTEM ?
		MIGRATE_VMA_SELECT_DEVICE_PRIVATE : MIGRATE_VMA_SELECT_SYSTEM;
	if (call->flags & HMM_BENCH_COMPOUND)
		migrate->flags |= MIGRATE_VMA_SELECT_COMPOUND;
	if (call->flags & HMM_BENCH_FOLIOS)
		migrate->flags |= SELECT_FOLIOS;
}

static int find_vma_of(struct bench_job *job)
{
	struct migrate_vma *migrate = &job->migrate;
	int rc = mmap_read_lock_killable(job->mm);

	if (rc)
		return rc;
	migrate->start = job->range.start;
	migrate->end = job->range.end;
	migrate->vma = vma_lookup(job->mm, migrate->start);
	if (migrate->vma && migrate->vma->vm_end >= migrate->end)
		return 0;
	mmap_read_unlock(job->mm);
	return -EFAULT;
}

static int begin_to_count_flushes(struct bench_job *job)
{
	if (!(job->call.flags & HMM_BENCH_FLUSHES))
		return 0;
	atomic64_set(&job->flushes, 0);
	job->flush_counter.ops = &flush_counter_ops;
	return mmu_notifier_register(&job->flush_counter, job->mm);
}

static void end_to_count_flushes(struct bench_job *job)
{
	if (!(job->call.flags & HMM_BENCH_FLUSHES))
		return;
	mmu_notifier_unregister(&job->flush_counter, job->mm);
	job->call.flushes = atomic64_read(&job->flushes);
}

int bench_migrate_arm(struct bench_job *job)
{
	struct migrate_vma *migrate = &job->migrate;
	unsigned long nr = job->call.npages;
	int rc;

	migrate->src = kvcalloc(2 * nr, sizeof(*migrate->src), GFP_KERNEL);
	if (!migrate->src)
		return -ENOMEM;
	migrate->dst = migrate->src + nr;
	bench_choose_memory(migrate, &job->call);
	rc = begin_to_count_flushes(job);
	if (!rc) {
		rc = find_vma_of(job);
		if (!rc)
			return 0;
		end_to_count_flushes(job);
	}
	kvfree(migrate->src);
	return rc;
}

void bench_migrate_disarm(struct bench_job *job)
{
	mmap_read_unlock(job->mm);
	end_to_count_flushes(job);
	kvfree(job->migrate.src);
}

static u64 lap(u64 *since)
{
	u64 spent = get_cycles() - *since;

	*since += spent;
	return spent;
}

static int migrate_by(struct bench_job *job,
		      struct folio *(*alloc)(unsigned int order))
{
	u64 *phases = job->call.phases, since = get_cycles();
	struct migrate_vma *migrate = &job->migrate;
	int rc = migrate_vma_setup(migrate);

	if (rc)
		return rc;
	phases[HMM_BENCH_SETUP] = lap(&since);
	bench_supply(migrate, alloc, !BENCH_HOLES);
	phases[HMM_BENCH_ALLOC] = lap(&since);
	migrate_vma_pages(migrate);
	phases[HMM_BENCH_PAGES] = lap(&since);
	migrate_vma_finalize(migrate);
	phases[HMM_BENCH_FINALIZE] = lap(&since);
	return 0;
}

int bench_migrate_to_device(struct bench_job *job)
{
	return migrate_by(job, bench_device_alloc);
}

int bench_migrate_to_system(struct bench_job *job)
{
	return migrate_by(job, system_alloc);
}

/* Where things are now. The caller leaves them there meanwhile. */
void bench_migrate_count(struct bench_job *job)
{
	const struct migrate_vma *migrate = &job->migrate;
	struct hmm_bench_call *call = &job->call;
	unsigned long i;

	call->valid = 0;
	call->folio_order = UINT_MAX;
	for (i = 0; i < migrate->npages; i++) {
		struct folio *to;

		if (!(migrate->src[i] & MIGRATE_PFN_MIGRATE) ||
		    !migrate->dst[i])
			continue;
		to = page_folio(migrate_pfn_to_page(migrate->dst[i]));
		call->valid += folio_nr_pages(to);
		call->folio_order = min(call->folio_order, folio_order(to));
	}
}

/* Exclusive access */

int bench_exclusive_arm(struct bench_job *job)
{
	int rc;

	job->pages = kvcalloc(job->call.npages, sizeof(*job->pages),
			      GFP_KERNEL);
	if (!job->pages)
		return -ENOMEM;
	rc = begin_to_count_flushes(job);
	if (!rc) {
		rc = mmap_read_lock_killable(job->mm);
		if (!rc)
			return 0;
		end_to_count_flushes(job);
	}
	kvfree(job->pages);
	return rc;
}

void bench_exclusive_disarm(struct bench_job *job)
{
	mmap_read_unlock(job->mm);
	end_to_count_flushes(job);
	kvfree(job->pages);
}

/* Each page is asked for on its own. */
int bench_make_exclusive(struct bench_job *job)
{
	unsigned long addr;

	for (addr = job->range.start; addr < job->range.end;
	     addr += PAGE_SIZE) {
		struct folio *folio;
		struct page *page = make_device_exclusive(job->mm, addr,
							  &bench_pagemap,
							  &folio);

		if (IS_ERR(page))
			return PTR_ERR(page);
		folio_unlock(folio);
		folio_put(folio);
	}
	return 0;
}

#ifdef _LINUX_DEVICE_EXCLUSIVE_H
int bench_make_exclusive_range(struct bench_job *job)
{
	unsigned long nr = job->call.npages;
	long had = device_exclusive_make_range(job->mm, job->range.start,
					       job->range.end, job->pages,
					       &bench_pagemap);

	if (had < 0)
		return had;
	device_exclusive_put_range(job->pages, nr);
	return had == nr ? 0 : -EBUSY;
}
#else
int bench_make_exclusive_range(struct bench_job *job)
{
	return bench_make_exclusive(job);
}
#endif
