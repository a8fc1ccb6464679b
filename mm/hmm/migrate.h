/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migration between system and device memory. The stages, each in a file:
 *
 *	migrate_swap.c		swap pages in, if asked to
 *	migrate_collect.c	replace page table entries by migration entries
 *	migrate_unmap.c		isolate folios, unmap them everywhere else
 *	migrate_install.c	after the copy: the destination replaces the
 *				source, holes are filled
 *	migrate_finalize.c	replace migration entries by page table entries
 *
 * Parts of stages:
 *
 *	migrate_split.c		split folios that do not migrate as a whole
 *	migrate_populate.c	fill holes
 *	migrate_trace.c		the tracepoints
 *	migrate_fill.c		between the stages, for drivers that leave it to
 *				the core: allocate destinations, see what to copy
 *
 * The interfaces, which call the stages in order:
 *
 *	migrate_vma.c		by address
 *	migrate_device.c	by page frame
 *	migrate_evict.c		evict a range of device memory
 *	migrate_hmm_range.c	a device fault: by address, with faults
 *	migrate_range.c		a range of any VMAs, all stages
 *	migrate_fault.c		a CPU fault, all stages
 *	migrate_folio.c		new folios of device memory
 *
 * All stages work on a struct migrate_vma, which has no VMA if the migration is
 * by page frame. migrate_entry.h has the states of an entry. A folio is locked
 * from collect to finalize, so that no stage has to look anything up again.
 *
 * &migrate_vma.fault_page is in the fault folio: the CPU fault handler holds
 * its lock and a reference. Migration uses both, and neither acquires nor
 * releases them.
 */
#ifndef _MM_HMM_MIGRATE_H
#define _MM_HMM_MIGRATE_H

#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>

#include "../internal.h"
#include "migrate_entry.h"
#include "migrate_trace.h"

struct hmm_walk;

/**
 * struct migrate_answers - for a walk that also records what is mapped
 * @walk: the slots and the requests
 * @requests: requests of the single pages, or %NULL if all have the same
 * @fill: holes are filled, and not faulted in
 */
struct migrate_answers {
	struct hmm_walk *walk;
	const unsigned long *requests;
	bool fill;
};

/*
 * Private flags of migrate_vma.flags, for hmm_range_migrate():
 *
 * MIGRATE_VMA_ANSWERS: the entries of pages that are not migrated have the
 * reason, and the range was invalidated for the holes, too.
 *
 * MIGRATE_VMA_ZEROES: the shared zero page is mapped in some of the holes.
 */
#define MIGRATE_VMA_ANSWERS	BIT(30)
#define MIGRATE_VMA_ZEROES	BIT(31)
#define MIGRATE_VMA_PRIVATE	(MIGRATE_VMA_ANSWERS | MIGRATE_VMA_ZEROES)

/*
 * Must holes be invalidated before they are filled? A device may have mapped
 * the zero page in a hole. If nothing is mapped there, it has not.
 */
static inline bool migrate_invalidates_holes(const struct migrate_vma *migrate)
{
	return !(migrate->flags & MIGRATE_VMA_ANSWERS) ||
	       migrate->flags & MIGRATE_VMA_ZEROES;
}

/* The entry of a page that is not migrated */
static inline unsigned long migrate_refused(enum migrate_refusal why)
{
	return (unsigned long)why << MIGRATE_PFN_SHIFT;
}

/* The same, if the caller wants the reason */
static inline unsigned long migrate_unmoved(const struct migrate_vma *migrate,
					    enum migrate_refusal why)
{
	return migrate->flags & MIGRATE_VMA_ANSWERS ? migrate_refused(why) : 0;
}

static inline struct folio *migrate_folio_of(unsigned long entry)
{
	if (!(entry & MIGRATE_PFN_VALID))
		return NULL;
	return page_folio(migrate_pfn_to_page(entry));
}

/*
 * Is the page one of the folio's, now? A free page of device memory may still
 * point at the head of a folio that it was in.
 */
static inline bool migrate_folio_has_pfn(const struct folio *folio,
					 unsigned long pfn)
{
	return pfn - folio_pfn(folio) < folio_nr_pages(folio);
}

static inline bool migrate_is_large(unsigned long entry)
{
	return entry & MIGRATE_PFN_COMPOUND;
}

/* How many entries @entry stands for, itself included */
static inline unsigned long migrate_entry_pages(unsigned long entry)
{
	if (!migrate_is_large(entry))
		return 1;
	if (entry & MIGRATE_PFN_VALID)
		return folio_nr_pages(migrate_folio_of(entry));
	return HPAGE_PMD_NR;
}

static inline void migrate_set(struct migrate_vma *migrate, unsigned long i,
			       enum migrate_stage stage, unsigned long entry)
{
	VM_WARN_ON_ONCE(!migrate_may_become(stage,
					    migrate_state_of(migrate->src[i]),
					    migrate_state_of(entry)));
	migrate->src[i] = entry;
}

/* The page does not migrate, or the hole is not filled. */
static inline void migrate_cancel(struct migrate_vma *migrate, unsigned long i,
				  enum migrate_stage stage)
{
	migrate_set(migrate, i, stage, migrate_entry_cancel(migrate->src[i]));
}

/* The hole is not filled. */
static inline void migrate_cancel_hole(struct migrate_vma *migrate,
				       unsigned long i)
{
	migrate_trace_refuse(migrate, i, MIGRATE_INSTALL,
			     MIGRATE_NO_DESTINATION);
	migrate_set(migrate, i, MIGRATE_INSTALL,
		    migrate_unmoved(migrate, MIGRATE_NO_DESTINATION));
}

/* Does the CPU fault handler hold the folio's lock and a reference? */
static inline bool migrate_is_fault_folio(const struct migrate_vma *migrate,
					  const struct folio *folio)
{
	return migrate->fault_page && page_folio(migrate->fault_page) == folio;
}

/* Unlock the folio and drop the reference of collect, which may free it. */
static inline void migrate_put_folio(const struct migrate_vma *migrate,
				     struct folio *folio)
{
	if (migrate_is_fault_folio(migrate, folio))
		return;
	folio_unlock(folio);
	folio_put(folio);
}

/*
 * In a migration by page frame, no lock protects an anonymous folio's anon_vma
 * once the folio is unmapped: the processes may exit. So each entry holds a
 * reference to the anon_vma, from before the folio is unmapped until the last
 * rmap walk. The folio stays locked in between, and so does its destination,
 * which has the same anon_vma.
 */
static inline bool migrate_has_anon_vma(const struct migrate_vma *migrate,
					const struct folio *folio)
{
	return !migrate->vma && folio_test_anon(folio) &&
	       !folio_test_ksm(folio);
}

/* Map @to where @from was, in all page tables. This is the last rmap walk. */
static inline void migrate_map(const struct migrate_vma *migrate,
			       struct folio *from, struct folio *to)
{
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(from), from);
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(to), to);
	remove_migration_ptes(from, to, 0);
	if (migrate_has_anon_vma(migrate, to))
		put_anon_vma(folio_anon_vma(to));
}

/* May a huge page fill a hole of the VMA? Only where a CPU fault may do so. */
static inline bool migrate_may_fill_huge(struct vm_area_struct *vma)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	return thp_vma_allowable_order(vma, vma->vm_flags, TVA_PAGEFAULT,
				       HPAGE_PMD_ORDER);
#else
	return false;
#endif
}

static inline unsigned long migrate_index(const struct migrate_vma *migrate,
					  unsigned long addr)
{
	return (addr - migrate->start) >> PAGE_SHIFT;
}

bool migrate_vma_is_migratable(struct vm_area_struct *vma);
void migrate_swap_in(const struct migrate_vma *migrate);
void migrate_collect(struct migrate_vma *migrate);
unsigned long migrate_collect_answering(struct migrate_vma *migrate,
					const struct migrate_answers *answers);
unsigned long migrate_unmap(struct migrate_vma *migrate);
void migrate_install(struct migrate_vma *migrate);
void migrate_finalize(struct migrate_vma *migrate);

/* Parts of stages */
bool migrate_populate(struct migrate_vma *migrate, unsigned long i,
		      struct folio *folio);
void migrate_populate_small(struct migrate_vma *migrate, unsigned long i,
			    unsigned long nr);
int migrate_split_folio(struct migrate_vma *migrate, unsigned long i,
			unsigned int order, enum migrate_stage stage);

#endif /* _MM_HMM_MIGRATE_H */
