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
 * struct cargo - the pages of a migration
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
struct cargo {
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
#define CARGO_GUARD	HPAGE_PMD_NR

static int cargo_init(struct cargo *cargo, unsigned long npages)
{
	cargo->npages = npages;
	cargo->dst = kvcalloc(2 * npages + CARGO_GUARD, sizeof(*cargo->dst),
			      GFP_KERNEL);
	cargo->src = cargo->dst + npages;
	return cargo->dst ? 0 : -ENOMEM;
}

#define KNOWN_BITS	(MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE | \
			 MIGRATE_PFN_WRITE | MIGRATE_PFN_COMPOUND | \
			 ~0UL << MIGRATE_PFN_SHIFT)

static void check_bits(const struct cargo *cargo, struct hmm_move *move)
{
	unsigned long i;

	for (i = 0; i < cargo->npages; i++)
		move->undefined += !!(cargo->src[i] & ~KNOWN_BITS);
}

static void cargo_destroy(struct cargo *cargo, struct hmm_move *move)
{
	const unsigned long *guard = cargo->src + cargo->npages;
	unsigned int i;

	check_bits(cargo, move);
	for (i = 0; i < CARGO_GUARD; i++)
		move->undefined += !!guard[i];
	kvfree(cargo->dst);
}

static unsigned long entry_pages(unsigned long entry)
{
	struct page *page = migrate_pfn_to_page(entry);

	if (!(entry & MIGRATE_PFN_COMPOUND))
		return 1;
	return page ? folio_nr_pages(page_folio(page)) : HPAGE_PMD_NR;
}

static struct folio *destination_alloc(const struct cargo *cargo,
				       unsigned int order)
{
	struct folio *folio;

	if (cargo->to_device)
		return cargo->flags & HMM_MOVE_COHERENT ?
			probe_coherent_alloc(order) : probe_memory_alloc(order);
	folio = folio_alloc(GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, order);
	if (folio)
		folio_lock(folio);
	return folio;
}

/* Returns how many pages it is for; they stay if there is no memory. */
static unsigned long supply_at(struct cargo *cargo, unsigned long i,
			       unsigned int order, struct page *from)
{
	struct folio *folio = destination_alloc(cargo, order);

	if (folio) {
		probe_memory_copy(folio, from);
		cargo->dst[i] = migrate_pfn(folio_pfn(folio));
		if (order && !(cargo->flags & HMM_MOVE_UNMARKED))
			cargo->dst[i] |= MIGRATE_PFN_COMPOUND;
	}
	return 1UL << order;
}

/* Returns how many pages were dealt with. */
static unsigned long supply_entry(struct cargo *cargo, unsigned long i)
{
	struct page *from = migrate_pfn_to_page(cargo->src[i]);
	unsigned long at, nr = entry_pages(cargo->src[i]);
	unsigned int order = min_t(unsigned int, cargo->order, ilog2(nr));

	if (cargo->join && !from) {
		order = cargo->order;
		nr = max(nr, 1UL << order);
	}
	if (nr > cargo->npages - i) {
		if (cargo->flags & HMM_MOVE_CUT_OFF)
			supply_at(cargo, i, 0, from);
		return nr;
	}
	if (cargo->flags & HMM_MOVE_OVERSIZED) {
		/* To be refused: there is nothing to copy. */
		supply_at(cargo, i, cargo->order, NULL);
		return nr;
	}
	for (at = 0; at < nr; at += 1UL << order)
		supply_at(cargo, i + at, order, from ? from + at : NULL);
	return nr;
}

static void supply(struct cargo *cargo)
{
	unsigned long i, nr;

	for (i = 0; i < cargo->npages && !cargo->nowhere; i += nr) {
		nr = entry_pages(cargo->src[i]);
		if (cargo->src[i] & MIGRATE_PFN_MIGRATE)
			nr = supply_entry(cargo, i);
	}
}

static void count_offers(const struct cargo *cargo, struct hmm_move *move)
{
	unsigned long i, nr;

	check_bits(cargo, move);

	for (i = 0; i < cargo->npages; i += nr) {
		nr = entry_pages(cargo->src[i]);
		if (!(cargo->src[i] & (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE)))
			move->stray += !!cargo->src[i];
		if (!(cargo->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (cargo->src[i] & MIGRATE_PFN_VALID)
			move->offered += nr;
		else
			move->holes += nr;
	}
}

/* As long as they are locked */
static void count_moves(const struct cargo *cargo, struct hmm_move *move)
{
	unsigned long i;

	check_bits(cargo, move);
	for (i = 0; i < cargo->npages; i++) {
		struct page *to = migrate_pfn_to_page(cargo->dst[i]);
		unsigned long nr;

		if (!to || !(cargo->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		nr = folio_nr_pages(page_folio(to));
		move->moved += nr;
		if (nr > 1)
			move->whole += nr;
	}
}

/* No sooner: a reference would keep it from moving. */
static void keep_first(const struct cargo *cargo)
{
	struct page *page = migrate_pfn_to_page(cargo->src[0]);

	if (page && cargo->src[0] & MIGRATE_PFN_MIGRATE)
		probe_move_keep(cargo->mover, page_folio(page));
}

static void stay(struct cargo *cargo, u64 where)
{
	if (cargo->flags & where)
		probe_stay(cargo->stay, cargo->flags & HMM_MOVE_STUBBORN);
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
	if (flags & HMM_MOVE_HINT && flags & HMM_MOVE_TO_DEVICE)
		selected |= TO_DEVICE;
	return selected;
}

static void carry_vma(struct cargo *cargo, struct migrate_vma *migrate,
		      struct hmm_move *move)
{
	migrate->src = cargo->src;
	migrate->dst = cargo->dst;
	migrate->pgmap_owner = &probe_pagemap;
	move->rc = migrate_vma_setup(migrate);
	if (move->rc)
		return;
	stay(cargo, HMM_MOVE_STAY_UNMAPPED);
	count_offers(cargo, move);
	supply(cargo);
	migrate_vma_pages(migrate);
	stay(cargo, HMM_MOVE_STAY_MOVED);
	count_moves(cargo, move);
	if (cargo->flags & HMM_MOVE_KEEP)
		keep_first(cargo);
	migrate_vma_finalize(migrate);
}

static int carry_by_address(struct cargo *cargo, struct hmm_move *move)
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
		carry_vma(cargo, &migrate, move);
	else
		rc = -EFAULT;
	mmap_read_unlock(mm);
	return rc;
}

/* By page frame */

#ifdef MIGRATE_VMA_SELECT_FOLIOS
static int take_in_steps(struct cargo *cargo, struct probe_mover *mover,
			 unsigned long pfn)
{
	unsigned long i;

	for (i = 0; i < cargo->npages; i += entry_pages(cargo->src[i]))
		cargo->src[i] = migrate_device_pfn_lock(pfn + i);
	probe_move_let_go(mover);
	migrate_device_unmap(cargo->src, cargo->npages, NULL);
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
static int take_in_steps(struct cargo *cargo, struct probe_mover *mover,
			 unsigned long pfn)
{
	return -EOPNOTSUPP;
}

int probe_lock(struct hmm_lock *lock)
{
	return -EOPNOTSUPP;
}
#endif

static int carry_by_pfn(struct cargo *cargo, struct probe_mover *mover,
			struct hmm_move *move)
{
	if (move->flags & HMM_MOVE_IN_STEPS)
		move->rc = take_in_steps(cargo, mover, move->addr);
	else
		move->rc = migrate_device_range(cargo->src, move->addr,
						cargo->npages);
	if (move->rc)
		return 0;
	stay(cargo, HMM_MOVE_STAY_UNMAPPED);
	count_offers(cargo, move);
	supply(cargo);
	migrate_device_pages(cargo->src, cargo->dst, cargo->npages);
	stay(cargo, HMM_MOVE_STAY_MOVED);
	count_moves(cargo, move);
	migrate_device_finalize(cargo->src, cargo->dst, cargo->npages);
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
	struct cargo cargo = {
		.src = src,
		.dst = dst,
		.npages = npages,
		.order = probe->move->order,
		.stay = probe->stay,
		.flags = probe->move->flags,
	};

	if (!probe->move->supplies++)
		stay(&cargo, HMM_MOVE_STAY_UNMAPPED);
	count_offers(&cargo, probe->move);
	supply(&cargo);
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

static int carry_all(struct probe_mover *mover, struct hmm_move *move)
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
static int carry_all(struct probe_mover *mover, struct hmm_move *move)
{
	return -EOPNOTSUPP;
}
#endif

int probe_carry(struct probe_mover *mover, struct hmm_move *move)
{
	u64 flushes = atomic64_read(&mover->flushes);
	struct cargo cargo = {
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
		return carry_all(mover, move);
	rc = cargo_init(&cargo, move->npages);
	if (rc)
		return rc;
	rc = move->flags & HMM_MOVE_BY_PFN ?
		carry_by_pfn(&cargo, mover, move) :
		carry_by_address(&cargo, move);
	cargo_destroy(&cargo, move);
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
	struct cargo cargo = {
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
	if (cargo_init(&cargo, (migrate.end - migrate.start) >> PAGE_SHIFT))
		return VM_FAULT_OOM;
	carry_vma(&cargo, &migrate, &move);
	cargo_destroy(&cargo, &move);
	return move.rc ? VM_FAULT_SIGBUS : 0;
}
