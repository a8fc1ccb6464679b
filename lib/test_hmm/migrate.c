// SPDX-License-Identifier: GPL-2.0
/*
 * Migration to the device and back.
 *
 * All directions work on a *batch*: the core has locked and unmapped the pages
 * in its source array, the driver supplies destinations and copies, and the core
 * finishes. A page without a destination is not migrated, so that nothing must
 * be undone when memory is exhausted.
 *
 * If no large folio can be allocated for a large source, small ones are, all of
 * them or none: the core then splits the source.
 *
 * This stores nothing in a device page table, see mirror.c.
 */
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "test_hmm.h"

/* @order: of an allocation, 0 for any other step */
static bool dmirror_batch_fails(struct dmirror_batch *batch, unsigned int point, unsigned int order)
{
	if (batch->file)
		return dmirror_fails_alloc(batch->file, point, order);
	return batch->vma && dmirror_mm_fails(batch->device, batch->vma->vm_mm, point, order);
}

/* The number of pages of entry @i of the batch */
static unsigned int dmirror_entry_pages(const struct dmirror_batch *batch, unsigned long i)
{
	struct page *page = migrate_pfn_to_page(batch->src[i]);

	if (!(batch->src[i] & MIGRATE_PFN_COMPOUND))
		return 1;
	return page ? folio_nr_pages(page_folio(page)) : HPAGE_PMD_NR;
}

/* Memory on the device for a folio of the batch */
static struct folio *dmirror_device_folio(struct dmirror_batch *batch, unsigned long i,
					  unsigned int order)
{
	if (dmirror_batch_fails(batch, HMM_DMIRROR_FAIL_DEVICE_ALLOC, order))
		return NULL;
	if (order > batch->device->max_order)
		return NULL;
	return dmirror_devmem_alloc(batch->device, order);
}

/* System memory for a folio of the batch */
static struct folio *dmirror_system_folio(struct dmirror_batch *batch, unsigned long i,
					  unsigned int order)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE;
	struct folio *folio;

	if (dmirror_batch_fails(batch, HMM_DMIRROR_FAIL_SYSTEM_ALLOC, order))
		return NULL;
	if (order)
		gfp |= __GFP_NORETRY | __GFP_NOWARN;
	else if (!batch->faulting)
		gfp |= __GFP_RETRY_MAYFAIL | __GFP_NOWARN;

	if (batch->vma)
		folio = vma_alloc_folio(gfp, order, batch->vma, batch->start + (i << PAGE_SHIFT));
	else
		folio = folio_alloc(gfp, order);
	if (folio)
		folio_lock(folio);
	return folio;
}

typedef struct folio *(*dmirror_alloc_t)(struct dmirror_batch *batch, unsigned long i,
					 unsigned int order);
typedef bool (*dmirror_wanted_t)(struct dmirror_batch *batch, const struct page *source);

/* Copy, or clear where there is no source. */
static bool dmirror_dst_fill(struct dmirror_batch *batch, struct folio *folio, struct page *source)
{
	struct page *to = dmirror_backing(folio_page(folio, 0));
	unsigned int i, nr = folio_nr_pages(folio);
	struct page *from = NULL;

	if (dmirror_batch_fails(batch, HMM_DMIRROR_FAIL_COPY, 0))
		goto fail;
	if (source) {
		from = dmirror_backing(source);
		if (!from)
			goto fail;
	}
	for (i = 0; i < nr; i++) {
		if (from)
			copy_highpage(to + i, from + i);
		else
			clear_highpage(to + i);
	}
	return true;
fail:
	batch->failed = true;
	batch->copy_failed = true;
	return false;
}

/* One destination folio for entry @i, of @order, with the data of @source */
static bool dmirror_dst_set(struct dmirror_batch *batch, unsigned long i, unsigned int order,
			    struct page *source, dmirror_alloc_t allocate)
{
	struct folio *folio = allocate(batch, i, order);

	if (!folio)
		return false;
	batch->dst[i] = migrate_pfn(folio_pfn(folio));
	if (order)
		batch->dst[i] |= MIGRATE_PFN_COMPOUND;
	if (dmirror_dst_fill(batch, folio, source))
		return true;
	migrate_discard(&batch->dst[i], 1);
	return false;
}

/* Small destinations for the large entry @i; all or none */
static bool dmirror_dst_set_small(struct dmirror_batch *batch, unsigned long i, unsigned int nr,
				  struct page *source, dmirror_alloc_t allocate)
{
	unsigned int done;

	for (done = 0; done < nr; done++)
		if (!dmirror_dst_set(batch, i + done, 0, source ? source + done : NULL, allocate))
			break;
	if (done == nr) {
		dmirror_count(batch->device, DMIRROR_FALLBACKS, 1);
		return true;
	}
	migrate_discard(&batch->dst[i], done);
	return false;
}

/* Destinations for entry @i, which has @nr pages */
static void dmirror_entry_supply(struct dmirror_batch *batch, unsigned long i, unsigned int nr,
				 dmirror_alloc_t allocate)
{
	struct page *source = migrate_pfn_to_page(batch->src[i]);

	if (dmirror_dst_set(batch, i, ilog2(nr), source, allocate))
		return;
	if (nr > 1 && !batch->copy_failed &&
	    dmirror_dst_set_small(batch, i, nr, source, allocate))
		return;
	batch->failed = true;
	dmirror_count(batch->device, DMIRROR_ALLOC_FAILURES, 1);
}

/* Anonymous system memory goes to the device; page cache never can. */
static bool dmirror_wants_in(struct dmirror_batch *batch, const struct page *source)
{
	return !source || (!is_zone_device_page(source) && PageAnon(source));
}

/*
 * An eviction may also find destinations that were not used, after they are
 * unlocked and before they are freed: they hold no data.
 */
static bool dmirror_wants_out(struct dmirror_batch *batch, const struct page *source)
{
	return source && PageAnon(source) && dmirror_page_device(source) == batch->device;
}

/* Supply destinations for all pages of a batch that qualify. */
static void dmirror_batch_supply(struct dmirror_batch *batch, dmirror_alloc_t allocate,
				 dmirror_wanted_t wanted)
{
	unsigned long i, nr;

	for (i = 0; i < batch->npages; i += nr) {
		nr = dmirror_entry_pages(batch, i);
		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (wanted(batch, migrate_pfn_to_page(batch->src[i])))
			dmirror_entry_supply(batch, i, nr, allocate);
		cond_resched();
	}
}

/**
 * dmirror_batch_supply_device() - supply device memory for the pages of a batch
 * @batch: the batch
 *
 * Context: Process context, may sleep. Takes the device's chunk_lock.
 */
void dmirror_batch_supply_device(struct dmirror_batch *batch)
{
	dmirror_batch_supply(batch, dmirror_device_folio, dmirror_wants_in);
}

/* The number of pages that have moved, between migrate_vma_pages() and the finalize step */
static unsigned long dmirror_batch_moved(const struct dmirror_batch *batch)
{
	unsigned long i, moved = 0;

	for (i = 0; i < batch->npages; i++) {
		struct page *to = migrate_pfn_to_page(batch->dst[i]);

		if (to && batch->src[i] & MIGRATE_PFN_MIGRATE)
			moved += folio_nr_pages(page_folio(to));
	}
	return moved;
}

/* Run mapped pages through the core. */
static int dmirror_batch_run(struct dmirror_batch *batch, struct migrate_vma *args,
			     dmirror_alloc_t allocate,
			     dmirror_wanted_t wanted, unsigned long *moved)
{
	int ret;

	*moved = 0;
	args->vma = batch->vma;
	args->src = batch->src;
	args->dst = batch->dst;
	args->pgmap_owner = batch->device;
	batch->start = args->start;

	ret = migrate_vma_setup(args);
	if (ret)
		return ret;
	batch->npages = args->npages;
	if (args->cpages)
		dmirror_batch_supply(batch, allocate, wanted);
	migrate_vma_pages(args);
	*moved = dmirror_batch_moved(batch);
	migrate_vma_finalize(args);
	return 0;
}

static enum migrate_vma_direction dmirror_select_flag(const struct dmirror_device *device)
{
	return device->coherent ? MIGRATE_VMA_SELECT_DEVICE_COHERENT :
				  MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
}

/* Migrate a part of one VMA. Returns the number of pages moved, or an errno. */
static long dmirror_migrate_part(struct dmirror_batch *batch, unsigned long start,
				 unsigned long end, bool to_device)
{
	struct migrate_vma args = {
		.start = start,
		.end = end,
		.flags = MIGRATE_VMA_SELECT_FOLIOS |
			 (to_device ? MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_TO_DEVICE |
				      MIGRATE_VMA_SWAP_IN :
				      dmirror_select_flag(batch->device)),
	};
	dmirror_alloc_t allocate = to_device ? dmirror_device_folio : dmirror_system_folio;
	dmirror_wanted_t wanted = to_device ? dmirror_wants_in : dmirror_wants_out;
	unsigned long moved;
	int ret;

	batch->failed = false;
	batch->copy_failed = false;
	ret = dmirror_batch_run(batch, &args, allocate, wanted, &moved);
	return ret ?: moved;
}

/*
 * One step of a command, at most to the end of the VMA at *@addr. Returns the
 * number of pages moved, or an errno.
 */
static long dmirror_migrate_step(struct dmirror_call *call, struct dmirror_batch *batch,
				 bool to_device,
				 unsigned long *addr)
{
	struct mm_struct *mm = call->mirror->notifier.mm;
	unsigned long start = *addr;
	long ret = -EINVAL;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	batch->vma = vma_lookup(mm, start);
	if (batch->vma && batch->vma->vm_flags & VM_READ) {
		*addr = min(dmirror_step_end(start, call->end), batch->vma->vm_end);
		ret = dmirror_migrate_part(batch, start, *addr, to_device);
	}
	mmap_read_unlock(mm);
	return ret;
}

/*
 * Migrate a command's range; pages moved are counted in @counter. @reached is
 * where it ended, which is before the range's end only with an errno.
 */
static int dmirror_migrate_call(struct dmirror_call *call, bool to_device,
				enum dmirror_counter counter,
				unsigned long *total, unsigned long *reached)
{
	struct dmirror_batch batch = { .device = call->mirror->device, .file = call->file };
	unsigned long addr = call->start;
	long ret = 0;

	*total = 0;
	*reached = addr;

	batch.src = kcalloc(2 * DMIRROR_STEP_PAGES, sizeof(*batch.src), GFP_KERNEL);
	if (!batch.src)
		return -ENOMEM;
	batch.dst = batch.src + DMIRROR_STEP_PAGES;

	while (addr < call->end && ret >= 0) {
		ret = fatal_signal_pending(current) ? -EINTR :
		      dmirror_migrate_step(call, &batch, to_device, &addr);
		if (ret > 0) {
			dmirror_count(batch.device, counter, ret);
			*total += ret;
		}
		/* Pages that stay in system memory are no error; those on the device are. */
		if (batch.failed && !to_device && ret >= 0)
			ret = batch.copy_failed ? -EIO : -ENOMEM;
		cond_resched();
	}
	kfree(batch.src);
	*reached = addr;
	return min(ret, 0L);
}

/**
 * dmirror_migrate_to_device() - HMM_DMIRROR_MIGRATE_TO_DEV
 * @call: the command
 *
 * If the migration ended early, this still reports how far it got.
 *
 * Return: 0, -ENOENT if a part of the range is not on the device, or another
 * errno.
 */
int dmirror_migrate_to_device(struct dmirror_call *call)
{
	unsigned long moved, reached;
	int ret, seen;

	ret = dmirror_migrate_call(call, true, DMIRROR_MIGRATED_IN, &moved, &reached);
	/* The rest of the range may be terabytes. */
	call->end = reached;
	seen = dmirror_read_device(call);
	return ret ?: seen;
}

/**
 * dmirror_migrate_to_system() - HMM_DMIRROR_MIGRATE_TO_SYS
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int dmirror_migrate_to_system(struct dmirror_call *call)
{
	unsigned long moved, reached;
	int ret;

	ret = dmirror_migrate_call(call, false, DMIRROR_MIGRATED_OUT, &moved, &reached);
	call->cpages = moved;
	return ret;
}

/**
 * dmirror_cpu_fault() - migrate a folio that the CPU cannot access
 * @vmf: the fault; its page is locked and referenced
 *
 * Migrates the whole folio, if it is mapped as a whole, or otherwise what is
 * mapped around the fault where the folio would be.
 *
 * Return: 0 to repeat the access, or the result of the fault.
 */
vm_fault_t dmirror_cpu_fault(struct vm_fault *vmf)
{
	struct dmirror_batch batch = {
		.device = dmirror_page_device(vmf->page),
		.vma = vmf->vma,
		.faulting = true,
	};
	struct migrate_vma args;
	unsigned long moved, nr;
	int ret;

	dmirror_count(batch.device, DMIRROR_CPU_FAULTS, 1);
	migrate_vma_init_fault(&args, vmf);
	nr = (args.end - args.start) >> PAGE_SHIFT;
	batch.src = kcalloc(2 * nr, sizeof(*batch.src), GFP_KERNEL);
	if (!batch.src)
		return VM_FAULT_OOM;
	batch.dst = batch.src + nr;

	ret = dmirror_batch_run(&batch, &args, dmirror_system_folio, dmirror_wants_out, &moved);
	dmirror_count(batch.device, DMIRROR_FAULTED_OUT, moved);
	kfree(batch.src);

	if (ret || batch.copy_failed)
		return VM_FAULT_SIGBUS;
	return batch.failed ? VM_FAULT_OOM : 0;
}

/**
 * struct dmirror_eviction - eviction of a chunk
 * @evict: the pages of the chunk
 * @device: the device
 * @file: the file whose fault points apply, or NULL
 */
struct dmirror_eviction {
	struct migrate_evict	evict;
	struct dmirror_device	*device;
	struct dmirror_file	*file;
};

static void dmirror_eviction_supply(struct migrate_evict *evict, unsigned long *src,
				    unsigned long *dst,
				    unsigned long npages)
{
	struct dmirror_eviction *eviction = container_of(evict, struct dmirror_eviction, evict);
	struct dmirror_batch batch = {
		.device = eviction->device,
		.file = eviction->file,
		.src = src,
		.dst = dst,
		.npages = npages,
	};

	dmirror_batch_supply(&batch, dmirror_system_folio, dmirror_wants_out);
}

/**
 * dmirror_evict_chunk() - migrate the pages of a chunk to system memory
 * @file: the file whose fault points apply, or NULL
 * @chunk: the chunk, which the caller keeps from being freed
 * @deadline: when to give up, in jiffies
 *
 * Pages that are locked or referenced by others do not migrate.
 *
 * Return: the number of pages that have migrated.
 */
unsigned long dmirror_evict_chunk(struct dmirror_file *file, struct dmirror_chunk *chunk,
				  unsigned long deadline)
{
	unsigned long now = jiffies;
	struct dmirror_eviction eviction = {
		.evict = {
			.start = chunk->first_pfn,
			.npages = chunk->nr_blocks * HPAGE_PMD_NR,
			.timeout = time_before(now, deadline) ? deadline - now : 0,
			.supply = dmirror_eviction_supply,
		},
		.device = chunk->device,
		.file = file,
	};

	migrate_device_evict(&eviction.evict);
	dmirror_count(chunk->device, DMIRROR_EVICTED, eviction.evict.moved);
	return eviction.evict.moved;
}
