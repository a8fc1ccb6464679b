// SPDX-License-Identifier: GPL-2.0
/*
 * Pages to the device and back.
 *
 * All directions work on a *batch*: the core has locked and unmapped the pages
 * in its source array, we supply destinations and copy, the core finishes. A
 * destination that is missing leaves its page where it was, so that nothing
 * has to be undone when memory runs out.
 *
 * When no large folio can be had for a large source, small ones do, all of
 * them or none: the core then splits the source.
 *
 * Nothing is entered into a device page table here, see mirror.c.
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

/**
 * struct batch - pages under migration
 * @device: the device
 * @file: the file whose fault points apply, or NULL
 * @vma: where the pages are mapped, or NULL at eviction
 * @start: address of the first page, if @vma
 * @src: from the core: what to migrate
 * @dst: to the core: where to
 * @npages: entries in both
 * @faulting: a CPU fault waits for one of the pages
 * @failed: for want of memory, or of a working copy engine, pages stay
 * @copy_failed: the latter
 */
struct batch {
	struct thmm_device	*device;
	struct thmm_file	*file;
	struct vm_area_struct	*vma;
	unsigned long		start;
	unsigned long		*src;
	unsigned long		*dst;
	unsigned long		npages;
	bool			faulting;
	bool			failed;
	bool			copy_failed;
};

/* @order: of the memory wanted, 0 for another step than an allocation */
static bool batch_fails(struct batch *batch, unsigned int point, unsigned int order)
{
	if (batch->file)
		return thmm_fails_alloc(batch->file, point, order);
	return batch->vma && thmm_mm_fails(batch->device, batch->vma->vm_mm, point, order);
}

/* How many pages of the batch entry @i is about */
static unsigned int entry_pages(const struct batch *batch, unsigned long i)
{
	struct page *page = migrate_pfn_to_page(batch->src[i]);

	if (!(batch->src[i] & MIGRATE_PFN_COMPOUND))
		return 1;
	return page ? folio_nr_pages(page_folio(page)) : HPAGE_PMD_NR;
}

/* The device folio goes back to where it came from, unused. */
static void destination_drop(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/* Memory on the device for a folio of the batch */
static struct folio *device_folio(struct batch *batch, unsigned long i, unsigned int order)
{
	if (batch_fails(batch, HMM_DMIRROR_FAIL_DEVICE_ALLOC, order))
		return NULL;
	if (order > batch->device->max_order)
		return NULL;
	return thmm_devmem_alloc(batch->device, order);
}

/* System memory for a folio of the batch */
static struct folio *system_folio(struct batch *batch, unsigned long i, unsigned int order)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE;
	struct folio *folio;

	if (batch_fails(batch, HMM_DMIRROR_FAIL_SYSTEM_ALLOC, order))
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

typedef struct folio *(*allocate_t)(struct batch *batch, unsigned long i, unsigned int order);
typedef bool (*wanted_t)(struct batch *batch, const struct page *source);

/* Copy, or clear where there is no source. */
static bool destination_fill(struct batch *batch, struct folio *folio, struct page *source)
{
	struct page *to = thmm_backing(folio_page(folio, 0));
	unsigned int i, nr = folio_nr_pages(folio);
	struct page *from = NULL;

	if (batch_fails(batch, HMM_DMIRROR_FAIL_COPY, 0))
		goto fail;
	if (source) {
		from = thmm_backing(source);
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
static bool destination_set(struct batch *batch, unsigned long i, unsigned int order,
			    struct page *source, allocate_t allocate)
{
	struct folio *folio = allocate(batch, i, order);

	if (!folio)
		return false;
	if (!destination_fill(batch, folio, source)) {
		destination_drop(folio);
		return false;
	}
	batch->dst[i] = migrate_pfn(folio_pfn(folio));
	if (order)
		batch->dst[i] |= MIGRATE_PFN_COMPOUND;
	return true;
}

/* Small destinations for the large entry @i; all or none */
static bool destination_set_small(struct batch *batch, unsigned long i, unsigned int nr,
				  struct page *source, allocate_t allocate)
{
	unsigned int done;

	for (done = 0; done < nr; done++)
		if (!destination_set(batch, i + done, 0, source ? source + done : NULL, allocate))
			break;
	if (done == nr) {
		thmm_count(batch->device, THMM_FALLBACKS, 1);
		return true;
	}
	while (done--) {
		destination_drop(page_folio(migrate_pfn_to_page(batch->dst[i + done])));
		batch->dst[i + done] = 0;
	}
	return false;
}

/* Destinations for entry @i, which is about @nr pages */
static void entry_supply(struct batch *batch, unsigned long i, unsigned int nr,
			 allocate_t allocate)
{
	struct page *source = migrate_pfn_to_page(batch->src[i]);

	if (destination_set(batch, i, ilog2(nr), source, allocate))
		return;
	if (nr > 1 && !batch->copy_failed &&
	    destination_set_small(batch, i, nr, source, allocate))
		return;
	batch->failed = true;
	thmm_count(batch->device, THMM_ALLOC_FAILURES, 1);
}

/* Anonymous system memory goes to the device; page cache never can. */
static bool wants_in(struct batch *batch, const struct page *source)
{
	return !source || (!is_zone_device_page(source) && PageAnon(source));
}

/*
 * An eviction may also find destinations that were not used, after they are unlocked
 * and before they are freed: they hold no data.
 */
static bool wants_out(struct batch *batch, const struct page *source)
{
	return source && PageAnon(source) && thmm_page_device(source) == batch->device;
}

/* Supply destinations for all pages of a batch that qualify. */
static void batch_supply(struct batch *batch, allocate_t allocate, wanted_t wanted)
{
	unsigned long i, nr;

	for (i = 0; i < batch->npages; i += nr) {
		nr = entry_pages(batch, i);
		if (!(batch->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (wanted(batch, migrate_pfn_to_page(batch->src[i])))
			entry_supply(batch, i, nr, allocate);
		cond_resched();
	}
}

/* After the core's last word and before it lets go: pages that have moved */
static unsigned long batch_moved(const struct batch *batch)
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
static int batch_run(struct batch *batch, struct migrate_vma *args, allocate_t allocate,
		     wanted_t wanted, unsigned long *moved)
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
		batch_supply(batch, allocate, wanted);
	migrate_vma_pages(args);
	*moved = batch_moved(batch);
	migrate_vma_finalize(args);
	return 0;
}

static enum migrate_vma_direction select_device(const struct thmm_device *device)
{
	return device->coherent ? MIGRATE_VMA_SELECT_DEVICE_COHERENT :
				  MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
}

/* A part of one VMA; returns the pages moved, or an errno */
static long part_run(struct batch *batch, unsigned long start, unsigned long end, bool to_device)
{
	struct migrate_vma args = {
		.start = start,
		.end = end,
		.flags = MIGRATE_VMA_SELECT_FOLIOS |
			 (to_device ? MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_TO_DEVICE |
				      MIGRATE_VMA_SWAP_IN :
				      select_device(batch->device)),
	};
	allocate_t allocate = to_device ? device_folio : system_folio;
	wanted_t wanted = to_device ? wants_in : wants_out;
	unsigned long moved;
	int ret;

	batch->failed = false;
	batch->copy_failed = false;
	ret = batch_run(batch, &args, allocate, wanted, &moved);
	return ret ?: moved;
}

/* One step of a command, as far as the VMA at *@addr goes; the same */
static long step_run(struct thmm_call *call, struct batch *batch, bool to_device,
		     unsigned long *addr)
{
	struct mm_struct *mm = call->mirror->notifier.mm;
	unsigned long start = *addr;
	long ret = -EINVAL;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	batch->vma = vma_lookup(mm, start);
	if (batch->vma && batch->vma->vm_flags & VM_READ) {
		*addr = min(thmm_step_end(start, call->end), batch->vma->vm_end);
		ret = part_run(batch, start, *addr, to_device);
	}
	mmap_read_unlock(mm);
	return ret;
}

/*
 * Migrate a command's range; pages moved are counted in @counter. @reached is
 * where it ended, which is before the range's end only with an errno.
 */
static int call_run(struct thmm_call *call, bool to_device, enum thmm_counter counter,
		    unsigned long *total, unsigned long *reached)
{
	struct batch batch = { .device = call->mirror->device, .file = call->file };
	unsigned long addr = call->start;
	long ret = 0;

	*total = 0;
	*reached = addr;

	batch.src = kcalloc(2 * THMM_STEP_PAGES, sizeof(*batch.src), GFP_KERNEL);
	if (!batch.src)
		return -ENOMEM;
	batch.dst = batch.src + THMM_STEP_PAGES;

	while (addr < call->end && ret >= 0) {
		ret = fatal_signal_pending(current) ? -EINTR :
		      step_run(call, &batch, to_device, &addr);
		if (ret > 0) {
			thmm_count(batch.device, counter, ret);
			*total += ret;
		}
		/* What the device does not take is no error, what it keeps is. */
		if (batch.failed && !to_device && ret >= 0)
			ret = batch.copy_failed ? -EIO : -ENOMEM;
		cond_resched();
	}
	kfree(batch.src);
	*reached = addr;
	return min(ret, 0L);
}

/**
 * thmm_migrate_to_device() - HMM_DMIRROR_MIGRATE_TO_DEV
 * @call: the command
 *
 * Also where the migration ended early, the caller learns how far it came.
 *
 * Return: 0, -ENOENT when not all of the range is on the device now, or
 * another errno.
 */
int thmm_migrate_to_device(struct thmm_call *call)
{
	unsigned long moved, reached;
	int ret, seen;

	ret = call_run(call, true, THMM_MIGRATED_IN, &moved, &reached);
	/* The rest of the range may be terabytes. */
	call->end = reached;
	seen = thmm_read_device(call);
	return ret ?: seen;
}

/**
 * thmm_migrate_to_system() - HMM_DMIRROR_MIGRATE_TO_SYS
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int thmm_migrate_to_system(struct thmm_call *call)
{
	unsigned long moved, reached;
	int ret;

	ret = call_run(call, false, THMM_MIGRATED_OUT, &moved, &reached);
	call->cpages = moved;
	return ret;
}

/* Where the folio is that a fault is about, as far as it can be in this mapping */
static void fault_range(const struct vm_fault *vmf, struct migrate_vma *args)
{
	struct folio *folio = page_folio(vmf->page);
	unsigned long addr = ALIGN_DOWN(vmf->address, PAGE_SIZE);
	unsigned long before = folio_page_idx(folio, vmf->page) << PAGE_SHIFT;
	unsigned long behind = folio_size(folio) - before;

	/* A PMD is about the folio's first page. */
	if (!vmf->pte)
		addr = ALIGN_DOWN(addr, HPAGE_PMD_SIZE);
	args->start = addr - min(before, addr - vmf->vma->vm_start);
	args->end = addr + min(behind, vmf->vma->vm_end - addr);
}

/**
 * thmm_cpu_fault() - bring back what the CPU cannot reach
 * @vmf: the fault; its page is locked and referenced
 *
 * Brings the whole folio, if it is mapped as a whole, or else what is mapped next
 * to the fault where the folio would be.
 *
 * Return: 0 to try the access again, or what to do with the process.
 */
vm_fault_t thmm_cpu_fault(struct vm_fault *vmf)
{
	struct batch batch = {
		.device = thmm_page_device(vmf->page),
		.vma = vmf->vma,
		.faulting = true,
	};
	struct migrate_vma args = {
		.flags = select_device(batch.device) | MIGRATE_VMA_SELECT_FOLIOS,
		.fault_page = vmf->page,
	};
	unsigned long moved, nr;
	int ret;

	thmm_count(batch.device, THMM_CPU_FAULTS, 1);
	if (vmf->flags & FAULT_FLAG_VMA_LOCK)
		args.flags |= MIGRATE_VMA_UNDER_VMA_LOCK;
	fault_range(vmf, &args);
	nr = (args.end - args.start) >> PAGE_SHIFT;
	batch.src = kcalloc(2 * nr, sizeof(*batch.src), GFP_KERNEL);
	if (!batch.src)
		return VM_FAULT_OOM;
	batch.dst = batch.src + nr;

	ret = batch_run(&batch, &args, system_folio, wants_out, &moved);
	thmm_count(batch.device, THMM_FAULTED_OUT, moved);
	kfree(batch.src);

	if (ret || batch.copy_failed)
		return VM_FAULT_SIGBUS;
	return batch.failed ? VM_FAULT_OOM : 0;
}

/**
 * struct eviction - eviction of a chunk
 * @evict: the pages of the chunk
 * @device: the device
 * @file: the file whose fault points apply, or NULL
 */
struct eviction {
	struct migrate_evict	evict;
	struct thmm_device	*device;
	struct thmm_file	*file;
};

static void eviction_supply(struct migrate_evict *evict, unsigned long *src, unsigned long *dst,
			    unsigned long npages)
{
	struct eviction *eviction = container_of(evict, struct eviction, evict);
	struct batch batch = {
		.device = eviction->device,
		.file = eviction->file,
		.src = src,
		.dst = dst,
		.npages = npages,
	};

	batch_supply(&batch, system_folio, wants_out);
}

/**
 * thmm_evict_chunk() - migrate the pages of a chunk to system memory
 * @file: the file whose fault points apply, or NULL
 * @chunk: the chunk, which the caller keeps from being freed
 * @deadline: when to give up, in jiffies
 *
 * Pages that are locked or referenced by others do not migrate.
 *
 * Return: the number of pages that have migrated.
 */
unsigned long thmm_evict_chunk(struct thmm_file *file, struct thmm_chunk *chunk,
			       unsigned long deadline)
{
	unsigned long now = jiffies;
	struct eviction eviction = {
		.evict = {
			.start = chunk->first_pfn,
			.npages = chunk->nr_blocks * HPAGE_PMD_NR,
			.timeout = time_before(now, deadline) ? deadline - now : 0,
			.supply = eviction_supply,
		},
		.device = chunk->device,
		.file = file,
	};

	migrate_device_evict(&eviction.evict);
	thmm_count(chunk->device, THMM_EVICTED, eviction.evict.moved);
	return eviction.evict.moved;
}
