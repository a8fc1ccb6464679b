// SPDX-License-Identifier: GPL-2.0
/*
 * Migrations as they were ordered, and CPU faults.
 */
#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hmm_probe_move.h"

/**
 * struct probe_batch - the pages of a migration
 * @src: as the API gives it
 * @dst: as the API wants it
 * @npages: entries of both
 * @order: of the largest destination
 * @join: they are all of that order
 * @to_device: to device memory, not to system memory
 * @nowhere: without destinations: all is put back
 * @mover: the caller, which owns the first page
 * @stay: where it stays
 * @flags: HMM_MOVE_* of the order
 */
struct probe_batch {
	unsigned long *src;
	unsigned long *dst;
	unsigned long npages;
	unsigned int order;
	bool join;
	bool to_device;
	bool nowhere;
	struct probe_mover *mover;
	struct probe_stay *stay;
	u64 flags;
};

/* What follows the entries of src must stay 0. */
#define GUARD_ENTRIES	HPAGE_PMD_NR

static int batch_init(struct probe_batch *batch, unsigned long npages)
{
	batch->npages = npages;
	batch->dst = kvcalloc(2 * npages + GUARD_ENTRIES, sizeof(*batch->dst),
			      GFP_KERNEL);
	batch->src = batch->dst + npages;
	return batch->dst ? 0 : -ENOMEM;
}

#define KNOWN_BITS	(MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE | \
			 MIGRATE_PFN_WRITE | MIGRATE_PFN_COMPOUND | \
			 ~0UL << MIGRATE_PFN_SHIFT)

static void check_bits(const struct probe_batch *batch, struct hmm_move *move)
{
	unsigned long i;

	for (i = 0; i < batch->npages; i++)
		move->undefined += !!(batch->src[i] & ~KNOWN_BITS);
}

static void batch_destroy(struct probe_batch *batch, struct hmm_move *move)
{
	const unsigned long *guard = batch->src + batch->npages;
	unsigned int i;

	check_bits(batch, move);
	for (i = 0; i < GUARD_ENTRIES; i++)
		move->undefined += !!guard[i];
	kvfree(batch->dst);
}

static unsigned long entry_pages(unsigned long entry)
{
	struct page *page = migrate_pfn_to_page(entry);

	if (!(entry & MIGRATE_PFN_COMPOUND))
		return 1;
	return page ? folio_nr_pages(page_folio(page)) : HPAGE_PMD_NR;
}

static struct folio *destination_alloc(const struct probe_batch *batch,
				       unsigned int order)
{
	struct folio *folio;

	if (batch->to_device)
		return batch->flags & HMM_MOVE_COHERENT ?
			probe_coherent_alloc(order) : probe_memory_alloc(order);
	folio = folio_alloc(GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, order);
	if (folio)
		folio_lock(folio);
	return folio;
}

/* Returns how many pages it is for; they stay if there is no memory. */
static unsigned long supply_at(struct probe_batch *batch, unsigned long i,
			       unsigned int order, struct page *from)
{
	struct folio *folio = destination_alloc(batch, order);

	if (folio) {
		probe_memory_copy(folio, from);
		batch->dst[i] = migrate_pfn(folio_pfn(folio));
		if (order && !(batch->flags & HMM_MOVE_UNMARKED))
			batch->dst[i] |= MIGRATE_PFN_COMPOUND;
	}
	return 1UL << order;
}

/* Returns how many pages were dealt with. */
static unsigned long supply_entry(struct probe_batch *batch, unsigned long i)
{
	struct page *from = migrate_pfn_to_page(batch->src[i]);
	unsigned long at, nr = entry_pages(batch->src[i]);
	unsigned int order = min_t(unsigned int, batch->order, ilog2(nr));

	if (batch->join && !from) {
		order = batch->order;
		nr = max(nr, 1UL << order);
	}
	if (nr > batch->npages - i) {
		if (batch->flags & HMM_MOVE_CUT_OFF)
			supply_at(batch, i, 0, from);
		return nr;
	}
	if (batch->flags & HMM_MOVE_OVERSIZED) {
		/* To be refused: there is nothing to copy. */
		supply_at(batch, i, batch->order, NULL);
		return nr;
	}
	for (at = 0; at < nr; at += 1UL << order)
		supply_at(batch, i + at, order, from ? from + at : NULL);
	return nr;
}

static void supply(struct probe_batch *batch)
{
	unsigned long i, nr;

	for (i = 0; i < batch->npages && !batch->nowhere; i += nr) {
		nr = entry_pages(batch->src[i]);
		if (batch->src[i] & MIGRATE_PFN_MIGRATE)
			nr = supply_entry(batch, i);
	}
}

static void count_offers(const struct probe_batch *batch, struct hmm_move *move)
{
	unsigned long i, nr;

	check_bits(batch, move);

	for (i = 0; i < batch->npages; i += nr) {
		nr = entry_pages(batch->src[i]);
		if (!(batch->src[i] & (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE)))
			move->stray += !!batch->src[i];
		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (batch->src[i] & MIGRATE_PFN_VALID)
			move->offered += nr;
		else
			move->holes += nr;
	}
}

/* As long as they are locked */
static void count_moves(const struct probe_batch *batch, struct hmm_move *move)
{
	unsigned long i;

	check_bits(batch, move);
	for (i = 0; i < batch->npages; i++) {
		struct page *to = migrate_pfn_to_page(batch->dst[i]);
		unsigned long nr;

		if (!to || !(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		nr = folio_nr_pages(page_folio(to));
		move->moved += nr;
		if (nr > 1)
			move->whole += nr;
	}
}

/* No sooner: a reference would keep it from moving. */
static void keep_first(const struct probe_batch *batch)
{
	struct page *page = migrate_pfn_to_page(batch->src[0]);

	if (page && batch->src[0] & MIGRATE_PFN_MIGRATE)
		probe_move_keep(batch->mover, page_folio(page));
}

static void stay(struct probe_batch *batch, u64 where)
{
	if (batch->flags & where)
		probe_stay(batch->stay, batch->flags & HMM_MOVE_STUBBORN);
}

/* By address */

static unsigned long select_by(u64 flags)
{
	unsigned long selected = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;

	if (flags & (HMM_MOVE_TO_DEVICE | HMM_MOVE_WITHIN))
		selected = MIGRATE_VMA_SELECT_SYSTEM;
	else if (flags & HMM_MOVE_COHERENT)
		selected = MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	if (flags & HMM_MOVE_COMPOUND)
		selected |= MIGRATE_VMA_SELECT_COMPOUND;
	if (flags & HMM_MOVE_FOLIOS)
		selected |= SELECT_FOLIOS;
	if (flags & HMM_MOVE_HINT &&
	    flags & (HMM_MOVE_TO_DEVICE | HMM_MOVE_WITHIN))
		selected |= TO_DEVICE;
	return selected;
}

static void move_batch(struct probe_batch *batch, struct migrate_vma *migrate,
		       struct hmm_move *move)
{
	migrate->src = batch->src;
	migrate->dst = batch->dst;
	migrate->pgmap_owner = &probe_pagemap;
	move->rc = migrate_vma_setup(migrate);
	if (move->rc)
		return;
	stay(batch, HMM_MOVE_STAY_UNMAPPED);
	count_offers(batch, move);
	if (!(batch->flags & HMM_MOVE_GIVE_UP)) {
		supply(batch);
		migrate_vma_pages(migrate);
		stay(batch, HMM_MOVE_STAY_MOVED);
		count_moves(batch, move);
	}
	if (batch->flags & HMM_MOVE_KEEP)
		keep_first(batch);
	migrate_vma_finalize(migrate);
}

static int move_by_address(struct probe_batch *batch, struct hmm_move *move)
{
	struct mm_struct *mm = current->mm;
	struct migrate_vma migrate = {
		.start = move->addr,
		.end = move->addr + (move->npages << PAGE_SHIFT),
		.flags = select_by(move->flags),
	};
	int rc = mmap_read_lock_killable(mm);

	if (rc)
		return rc;
	migrate.vma = vma_lookup(mm, migrate.start);
	if (migrate.vma && migrate.end <= migrate.vma->vm_end)
		move_batch(batch, &migrate, move);
	else
		rc = -EFAULT;
	mmap_read_unlock(mm);
	return rc;
}

/* By page frame */

#ifdef MIGRATE_VMA_SELECT_FOLIOS
static int take_in_steps(struct probe_batch *batch, struct probe_mover *mover,
			 unsigned long pfn)
{
	unsigned long i;

	for (i = 0; i < batch->npages; i += entry_pages(batch->src[i]))
		batch->src[i] = migrate_device_pfn_lock(pfn + i);
	probe_move_let_go(mover);
	migrate_device_unmap(batch->src, batch->npages, NULL);
	return 0;
}

int probe_lock(struct hmm_lock *lock)
{
	u64 calls;

	lock->locked = 0;
	lock->freed = 0;
	for (calls = 0; calls < lock->calls; calls++) {
		unsigned long entry, nowhere = 0;

		probe_memory_watch();
		entry = migrate_device_pfn_lock(lock->pfn);
		lock->freed += probe_memory_unwatch();
		if (entry) {
			lock->locked++;
			migrate_device_unmap(&entry, 1, NULL);
			migrate_device_finalize(&entry, &nowhere, 1);
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}
#else
static int take_in_steps(struct probe_batch *batch, struct probe_mover *mover,
			 unsigned long pfn)
{
	return -EOPNOTSUPP;
}

int probe_lock(struct hmm_lock *lock)
{
	return -EOPNOTSUPP;
}
#endif

static int move_by_pfn(struct probe_batch *batch, struct probe_mover *mover,
		       struct hmm_move *move)
{
	if (move->flags & HMM_MOVE_IN_STEPS)
		move->rc = take_in_steps(batch, mover, move->addr);
	else
		move->rc = migrate_device_range(batch->src, move->addr,
						batch->npages);
	if (move->rc)
		return 0;
	stay(batch, HMM_MOVE_STAY_UNMAPPED);
	count_offers(batch, move);
	supply(batch);
	migrate_device_pages(batch->src, batch->dst, batch->npages);
	stay(batch, HMM_MOVE_STAY_MOVED);
	count_moves(batch, move);
	migrate_device_finalize(batch->src, batch->dst, batch->npages);
	return 0;
}

#ifdef MIGRATE_VMA_SELECT_FOLIOS
struct probe_evict {
	struct migrate_evict evict;
	struct hmm_move *move;
	struct probe_stay *stay;
};

static void evict_supply(struct migrate_evict *evict, unsigned long *src,
			 unsigned long *dst, unsigned long npages)
{
	struct probe_evict *probe = container_of(evict, struct probe_evict,
						 evict);
	struct probe_batch batch = {
		.src = src,
		.dst = dst,
		.npages = npages,
		.order = probe->move->order,
		.stay = probe->stay,
		.flags = probe->move->flags,
	};

	if (!probe->move->supplies++)
		stay(&batch, HMM_MOVE_STAY_UNMAPPED);
	count_offers(&batch, probe->move);
	supply(&batch);
}

static void evict_holds_out(struct migrate_evict *evict, unsigned long pfn,
			    enum migrate_holdout why)
{
	struct hmm_move *move = container_of(evict, struct probe_evict,
					     evict)->move;

	switch (why) {
	case MIGRATE_HELD_LOCKED:
		move->locked++;
		break;
	case MIGRATE_HELD_REFERENCED:
		move->referenced++;
		break;
	case MIGRATE_HELD_NO_DESTINATION:
		move->unsupplied++;
		break;
	}
}

static int evict_all(struct probe_mover *mover, struct hmm_move *move)
{
	struct probe_evict probe = {
		.evict = {
			.start = move->addr,
			.npages = move->npages,
			.timeout = move->timeout_ms ?
				msecs_to_jiffies(move->timeout_ms) :
				MAX_SCHEDULE_TIMEOUT,
			.supply = evict_supply,
			.holds_out = evict_holds_out,
		},
		.move = move,
		.stay = &mover->stay,
	};

	move->rc = migrate_device_evict(&probe.evict);
	move->moved = probe.evict.moved;
	return 0;
}
#else
static int evict_all(struct probe_mover *mover, struct hmm_move *move)
{
	return -EOPNOTSUPP;
}
#endif

int probe_migrate(struct probe_mover *mover, struct hmm_move *move)
{
	u64 flushes = atomic64_read(&mover->flushes);
	struct probe_batch batch = {
		.order = move->order,
		.join = move->flags & HMM_MOVE_JOIN,
		.to_device = move->flags & HMM_MOVE_TO_DEVICE,
		.nowhere = move->flags & HMM_MOVE_NOWHERE,
		.mover = mover,
		.stay = &mover->stay,
		.flags = move->flags,
	};
	int rc;

	if (move->flags & HMM_MOVE_EVICT)
		return evict_all(mover, move);
	rc = batch_init(&batch, move->npages);
	if (rc)
		return rc;
	rc = move->flags & HMM_MOVE_BY_PFN ?
		move_by_pfn(&batch, mover, move) :
		move_by_address(&batch, move);
	batch_destroy(&batch, move);
	move->flushes = atomic64_read(&mover->flushes) - flushes;
	return rc;
}

/* CPU faults */

static struct hmm_serve serving = { .pages = 1 };
static atomic64_t served;
static atomic64_t next_stays;	/* HMM_MOVE_STAY_* of the next fault */

void probe_serve_so(const struct hmm_serve *serve)
{
	serving = *serve;
	atomic64_set(&served, 0);
	atomic64_set(&next_stays, serve->flags & PROBE_STAY_FLAGS);
	probe_memory_forgive();
}

u64 probe_served(void)
{
	return atomic64_read(&served);
}

static void choose_window(struct migrate_vma *migrate, unsigned long addr)
{
	unsigned long size = serving.pages << PAGE_SHIFT;

	if (serving.limit && atomic64_read(&served) > serving.limit) {
		migrate->flags |= MIGRATE_VMA_SELECT_COMPOUND;
		size = HPAGE_PMD_SIZE;
	}
	migrate->start = max(ALIGN_DOWN(addr, size), migrate->vma->vm_start);
	migrate->end = min(ALIGN_DOWN(addr, size) + size, migrate->vma->vm_end);
}

vm_fault_t probe_serve(struct vm_fault *vmf)
{
	struct probe_batch batch = {
		.order = HPAGE_PMD_ORDER,
		.stay = &probe_fault_stay,
		.flags = atomic64_xchg(&next_stays, 0),
	};
	struct migrate_vma migrate = {
		.vma = vmf->vma,
		.flags = select_by(serving.flags),
		.fault_page = vmf->page,
	};
	struct hmm_move move = {};

	atomic64_inc(&served);
	choose_window(&migrate, vmf->address);
	if (batch_init(&batch, (migrate.end - migrate.start) >> PAGE_SHIFT))
		return VM_FAULT_OOM;
	move_batch(&batch, &migrate, &move);
	batch_destroy(&batch, &move);
	return move.rc ? VM_FAULT_SIGBUS : 0;
}
