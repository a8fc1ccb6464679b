// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Install: after the driver's copy, the destination replaces the source in its
 * mapping, and gets its flags and its memory cgroup. Page tables keep their
 * migration entries, but holes are filled, and if a source is split, its PMD
 * migration entries become PTEs.
 *
 * Source and destination must have the same order. If the driver supplies
 * smaller destinations than the source, the source is split.
 */
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "../swap.h"
#include "migrate.h"

/* Folios */

/* The folio's order, because drivers may omit MIGRATE_PFN_COMPOUND */
static unsigned int migrate_install_order(unsigned long entry)
{
	struct folio *folio = migrate_folio_of(entry);

	return folio ? folio_order(folio) : 0;
}

/* Is there a destination for any of the pages? */
static bool migrate_install_has_dst(const struct migrate_vma *migrate,
				    unsigned long i, unsigned long nr)
{
	unsigned long end = min(i + nr, migrate->npages);

	for (; i < end; i++)
		if (migrate_pfn_to_page(migrate->dst[i]))
			return true;
	return false;
}

/* Split the source to the order of its destination. False if that fails. */
static bool migrate_install_match_orders(struct migrate_vma *migrate,
					 unsigned long i)
{
	unsigned int from = migrate_install_order(migrate->src[i]);
	unsigned int to = migrate_install_order(migrate->dst[i]);

	if (to < from &&
	    migrate_split_folio(migrate, i, to, MIGRATE_INSTALL))
		return false;
	return to <= from;
}

/* Device memory cannot be in the swap cache: free the swap space. */
static bool migrate_install_leave_swap(struct folio *folio)
{
	return !folio_test_swapcache(folio) || folio_free_swap(folio);
}

static bool migrate_install_may_replace(const struct migrate_vma *migrate,
					struct folio *to, struct folio *from)
{
	if (folio_test_writeback(from))
		return false;
	if (!folio_is_zone_device(to))
		return !(migrate->flags & MIGRATE_VMA_TO_DEVICE);
	if (!folio_is_device_private(to) && !folio_is_device_coherent(to))
		return false;
	/* KSM reads its pages by page frame. */
	if (folio_test_ksm(from))
		return false;
	return folio_test_anon(from) && migrate_install_leave_swap(from);
}

/*
 * Only the file system can move the private data that it may have attached to
 * the folio. It copies the folio's contents once more. MIGRATE_ASYNC: do not
 * wait for buffers, as other folios are locked.
 */
static bool migrate_install_move_file(struct folio *to, struct folio *from)
{
	struct address_space *mapping = folio_mapping(from);
	int ret;

	if (!mapping || mapping_inaccessible(mapping))
		return false;
	if (mapping->a_ops->migrate_folio) {
		ret = mapping->a_ops->migrate_folio(mapping, to, from,
						    MIGRATE_ASYNC);
	} else {
		/* Other users in the file system hold a reference. */
		if (folio_test_dirty(from) ||
		    !filemap_release_folio(from, GFP_NOWAIT))
			return false;
		ret = migrate_folio(mapping, to, from, MIGRATE_ASYNC);
	}
	if (ret)
		return false;
	/*
	 * Point of no return: @from has left the page cache, and will be freed.
	 */
	from->mapping = NULL;
	return true;
}

/*
 * Writes of the device leave no trace in page table entries, so the folio must
 * be dirty from now on. It must not be freed lazily, either: MADV_FREE applied
 * to its old contents. Droppable memory, however, is never swapped.
 */
static void migrate_install_mark_dirty(const struct migrate_vma *migrate,
				       struct folio *folio)
{
	if (!folio_test_dirty(folio))
		folio_set_dirty(folio);
	if (!folio_test_swapbacked(folio) && migrate->vma &&
	    !(migrate->vma->vm_flags & VM_DROPPABLE))
		folio_set_swapbacked(folio);
}

static bool migrate_install_move(const struct migrate_vma *migrate,
				 struct folio *to, struct folio *from)
{
	struct address_space *mapping = NULL;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(from), from);
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(to), to);
	if (!migrate_install_may_replace(migrate, to, from))
		return false;
	if (!folio_test_anon(from))
		return migrate_install_move_file(to, from);
	/* Fails if there is an unexpected reference. */
	if (!folio_is_zone_device(to))
		mapping = folio_mapping(from);
	if (folio_migrate_mapping(mapping, to, from, 0))
		return false;
	/* Point of no return: @to has replaced @from. */
	folio_migrate_flags(to, from);
	if (folio_is_zone_device(to))
		migrate_install_mark_dirty(migrate, to);
	return true;
}

/* Why a folio that could be migrated after unmap cannot be now */
static enum migrate_refusal
migrate_install_refusal(const struct migrate_vma *migrate, unsigned long i)
{
	struct folio *folio = migrate_folio_of(migrate->src[i]);

	if (folio_ref_count(folio) != folio_expected_ref_count(folio) + 1)
		return MIGRATE_PINNED;
	return MIGRATE_NO_DESTINATION;
}

/* Not inline: the loop over all entries keeps its registers. */
static noinline void migrate_install_cancel(struct migrate_vma *migrate,
					    unsigned long i)
{
	if (tracepoint_enabled(migrate_refuse))
		__migrate_trace_refuse(migrate, i, MIGRATE_INSTALL,
				       migrate_install_refusal(migrate, i));
	migrate_cancel(migrate, i, MIGRATE_INSTALL);
}

static void migrate_install_folio(struct migrate_vma *migrate, unsigned long i)
{
	unsigned long from = migrate->src[i];
	struct folio *to = migrate_folio_of(migrate->dst[i]);

	if ((migrate_is_large(from) || (to && folio_test_large(to))) &&
	    (!migrate_install_has_dst(migrate, i, migrate_entry_pages(from)) ||
	     !migrate_install_match_orders(migrate, i)))
		to = NULL;
	if (!to || !migrate_install_move(migrate, to,
					 migrate_folio_of(migrate->src[i])))
		migrate_install_cancel(migrate, i);
}

/* Holes */

/* A large hole that is not filled as a whole becomes many small ones. */
static void migrate_install_split_hole(struct migrate_vma *migrate,
				       unsigned long i)
{
	unsigned long nr = migrate_entry_pages(migrate->src[i]), at;

	migrate->src[i] &= ~MIGRATE_PFN_COMPOUND;
	for (at = 1; at < nr; at++)
		migrate_set(migrate, i + at, MIGRATE_INSTALL,
			    MIGRATE_PFN_MIGRATE);
}

static bool migrate_install_are_holes(const struct migrate_vma *migrate,
				      unsigned long i, unsigned long nr)
{
	if (nr > migrate->npages - i)
		return false;
	while (nr--)
		if (migrate_state_of(migrate->src[i++]) != MIGRATE_ENTRY_HOLE)
			return false;
	return true;
}

/* A large folio fills many small holes: the first entry stands for all. */
static bool migrate_install_join_holes(struct migrate_vma *migrate,
				       unsigned long i, unsigned long nr)
{
	unsigned long at;

	if (!migrate_install_are_holes(migrate, i, nr))
		return false;
	for (at = 1; at < nr; at++)
		migrate_set(migrate, i + at, MIGRATE_INSTALL, 0);
	return true;
}

/* Returns the number of entries processed. */
static unsigned long migrate_install_hole(struct migrate_vma *migrate,
					  unsigned long i)
{
	unsigned long hole = migrate_entry_pages(migrate->src[i]);
	struct folio *to = migrate_folio_of(migrate->dst[i]);
	unsigned long nr = to ? folio_nr_pages(to) : 1;

	if (!migrate_install_has_dst(migrate, i, hole)) {
		migrate_cancel_hole(migrate, i);
		return hole;
	}
	if (nr < hole)
		migrate_install_split_hole(migrate, i);
	if (!to || (nr > 1 && nr != hole &&
		    !migrate_install_join_holes(migrate, i, nr))) {
		migrate_cancel_hole(migrate, i);
		return 1;
	}
	if (!migrate_populate(migrate, i, to))
		migrate_cancel_hole(migrate, i);
	return nr;
}

/*
 * How many entries from @i on, of pages in one page table, have no holes but
 * those that small folios fill. Holes without a destination are cancelled.
 */
static unsigned long migrate_install_small_holes(struct migrate_vma *migrate,
						 unsigned long i)
{
	unsigned long addr = migrate->start + (i << PAGE_SHIFT), at;
	unsigned long end = i + ((pmd_addr_end(addr, migrate->end) - addr) >>
				 PAGE_SHIFT);

	for (at = i; at < end;) {
		unsigned long entry = migrate->src[at];
		struct folio *to;

		if (migrate_state_of(entry) != MIGRATE_ENTRY_HOLE) {
			at += migrate_entry_pages(entry);
			continue;
		}
		to = migrate_folio_of(migrate->dst[at]);
		if (migrate_is_large(entry) || (to && folio_test_large(to)))
			break;
		if (!to)
			migrate_cancel_hole(migrate, at);
		at++;
	}
	return min(at, end) - i;
}

static void migrate_install_all_holes(struct migrate_vma *migrate,
				      unsigned long first)
{
	unsigned long i, nr;

	for (i = first; i < migrate->npages; i += nr) {
		nr = migrate_entry_pages(migrate->src[i]);
		if (migrate_state_of(migrate->src[i]) != MIGRATE_ENTRY_HOLE)
			continue;
		nr = migrate_install_small_holes(migrate, i);
		if (nr)
			migrate_populate_small(migrate, i, nr);
		else
			nr = migrate_install_hole(migrate, i);
	}
}

static void migrate_install_holes(struct migrate_vma *migrate,
				  unsigned long first)
{
	struct mmu_notifier_range range;

	if (!migrate_invalidates_holes(migrate)) {
		migrate_install_all_holes(migrate, first);
		return;
	}

	mmu_notifier_range_init_owner(&range, MMU_NOTIFY_MIGRATE, 0,
				      migrate->vma->vm_mm,
				      migrate->start + (first << PAGE_SHIFT),
				      migrate->end, migrate->pgmap_owner);
	mmu_notifier_invalidate_range_start(&range);
	migrate_install_all_holes(migrate, first);
	mmu_notifier_invalidate_range_end(&range);
}

/**
 * migrate_install() - replace sources by destinations
 * @migrate: the migration; its dst as filled by the driver
 *
 * Afterwards, MIGRATE_PFN_MIGRATE is still set in each entry of src whose page
 * has migrated or whose hole is filled.
 *
 * Context: Process context, may sleep. With holes, mmap_lock is held, or the
 * VMA's lock.
 */
void migrate_install(struct migrate_vma *migrate)
{
	unsigned long i, nr, hole = migrate->npages;

	for (i = 0; i < migrate->npages; i += nr) {
		enum migrate_state state = migrate_state_of(migrate->src[i]);

		if (state == MIGRATE_ENTRY_LOCKED)
			migrate_install_folio(migrate, i);
		nr = migrate_entry_pages(migrate->src[i]);
		if (state != MIGRATE_ENTRY_HOLE || hole < i)
			continue;
		/* If no hole has a destination, no invalidation is needed. */
		if (migrate_install_has_dst(migrate, i, nr))
			hole = i;
		else
			migrate_cancel_hole(migrate, i);
	}
	if (hole < migrate->npages)
		migrate_install_holes(migrate, hole);
	migrate_trace_install(migrate);
}
