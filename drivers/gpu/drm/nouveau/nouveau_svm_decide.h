/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Decisions of nouveau's shared virtual memory: what an entry of the fault
 * buffer says, which faults are served together, what is mapped for them, and
 * what becomes of them.
 *
 * Pure: no side effects, no locks and no hardware, so that the same file is
 * built by the driver, by KUnit and by tools/testing/hmm.
 *
 * Vocabulary:
 *   instance	the channel's context, by which a fault names its address space
 *   block	2 MiB of an address space, aligned: what one entry of the GPU's
 *		second level maps, and the most that is served at once
 *   unmanaged	the range that userspace keeps for mappings of its own, which
 *		does not mirror the CPU's
 *   managed	the part of a block that the GPU shares with the CPU
 *   window	the part of a block that is faulted in and mapped for a batch
 */
#ifndef __NOUVEAU_SVM_DECIDE_H__
#define __NOUVEAU_SVM_DECIDE_H__

#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/sort.h>
#include <linux/types.h>

#include <nvif/if000c.h>

#define NOUVEAU_SVM_FAULT_WORDS	8
#define NOUVEAU_SVM_FAULT_VALID	BIT(31)	/* of the last word */

/* The page shifts for which the GPU's page tables can be written by address. */
#define NOUVEAU_SVM_PAGE_SHIFT	12
#define NOUVEAU_SVM_BLOCK_SHIFT	21

#define NOUVEAU_SVM_BLOCK_SIZE	((u64)SZ_2M)
#define NOUVEAU_SVM_WINDOW_SIZE	((u64)SZ_64K)

/* What a fault wants, or an entry allows. Each includes those before it. */
enum nouveau_svm_access {
	NOUVEAU_SVM_NONE,
	NOUVEAU_SVM_PREFETCH,
	NOUVEAU_SVM_READ,
	NOUVEAU_SVM_WRITE,
	NOUVEAU_SVM_ATOMIC,
};

enum nouveau_svm_verdict {
	NOUVEAU_SVM_REPLAY,	/* let the GPU try again */
	NOUVEAU_SVM_CANCEL,	/* fail the access, and with it the channel */
	NOUVEAU_SVM_IGNORE,	/* nothing waits for it */
};

/**
 * struct nouveau_svm_fault - an entry of the fault buffer
 * @inst: the instance that faulted
 * @addr: where, to the byte
 * @gpc: the processing cluster, if not @hub
 * @hub: the fault came from a unit of the hub
 * @client: the unit within @gpc or the hub
 * @reason: why the GPU's page table did not do
 * @access: enum nouveau_svm_access
 */
struct nouveau_svm_fault {
	u64 inst;
	u64 addr;
	u8 gpc;
	u8 hub;
	u8 client;
	u8 reason;
	u8 access;
};

/**
 * struct nouveau_svm_span - a part of an address space
 * @start: the first byte
 * @end: exclusive
 */
struct nouveau_svm_span {
	unsigned long start;
	unsigned long end;
};

/*
 * Has the GPU finished the entry whose last word is @info? It writes that word
 * last.
 */
static inline bool nouveau_svm_fault_valid(u32 info)
{
	return info & NOUVEAU_SVM_FAULT_VALID;
}

/* Access that is unknown counts as a write: that meets all but an atomic. */
static inline enum nouveau_svm_access nouveau_svm_decode_access(u32 info)
{
	switch (info >> 16 & 0xf) {
	case 0:
		return NOUVEAU_SVM_READ;
	case 2:
		return NOUVEAU_SVM_ATOMIC;
	case 3:
		return NOUVEAU_SVM_PREFETCH;
	default:
		return NOUVEAU_SVM_WRITE;
	}
}

/* The fault in the NOUVEAU_SVM_FAULT_WORDS words of a valid entry. */
static inline struct nouveau_svm_fault nouveau_svm_decode(const u32 *words)
{
	u32 info = words[7];

	return (struct nouveau_svm_fault){
		.inst = (u64)words[1] << 32 | words[0],
		.addr = (u64)words[3] << 32 | words[2],
		.gpc = info >> 24 & 0x1f,
		.hub = info >> 20 & 1,
		.client = info >> 8 & 0x7f,
		.reason = info & 0x1f,
		.access = nouveau_svm_decode_access(info),
	};
}

/*
 * The order in which faults are served, for sort(): faults of an instance and
 * a page are neighbours, and the greatest access comes first.
 */
static inline int nouveau_svm_fault_cmp(const void *a, const void *b)
{
	const struct nouveau_svm_fault *fa = a, *fb = b;
	u64 page_a = fa->addr >> PAGE_SHIFT, page_b = fb->addr >> PAGE_SHIFT;

	/* No differences: that of two u64 does not fit an int. */
	if (fa->inst != fb->inst)
		return cmp_int(fa->inst, fb->inst);
	if (page_a != page_b)
		return cmp_int(page_a, page_b);
	return cmp_int(fb->access, fa->access);
}

/*
 * How many of the @nr >= 1 faults, which are sorted, belong to the instance and
 * the block of the first one?
 */
static inline unsigned int
nouveau_svm_same_block(const struct nouveau_svm_fault *faults, unsigned int nr)
{
	u64 block = faults[0].addr >> NOUVEAU_SVM_BLOCK_SHIFT;
	unsigned int i;

	for (i = 1; i < nr; i++)
		if (faults[i].inst != faults[0].inst ||
		    faults[i].addr >> NOUVEAU_SVM_BLOCK_SHIFT != block)
			break;
	return i;
}

/*
 * Is @addr managed? If so, @span is what is managed of its block, in one piece
 * that contains @addr. Otherwise @span is left alone.
 *
 * The unmanaged range, [@unmanaged_start, @unmanaged_end), comes from userspace
 * and may be anything: it is rounded outwards to pages, may be empty, and
 * reaches to the top if its end is below its start. Nothing from @task_size on is
 * managed; it is page aligned, and not in the topmost block.
 */
static inline bool nouveau_svm_managed(u64 addr, u64 unmanaged_start,
				       u64 unmanaged_end, u64 task_size,
				       struct nouveau_svm_span *span)
{
	u64 start = ALIGN_DOWN(addr, NOUVEAU_SVM_BLOCK_SIZE);
	u64 end = min(start + NOUVEAU_SVM_BLOCK_SIZE, task_size);

	if (addr >= task_size)
		return false;
	if (unmanaged_start != unmanaged_end) {
		u64 first = ALIGN_DOWN(unmanaged_start, PAGE_SIZE);
		/* The last byte: an end may not fit, once rounded. */
		u64 last = unmanaged_end < unmanaged_start ? U64_MAX :
			   (unmanaged_end - 1) | (PAGE_SIZE - 1);

		if (addr < first)
			end = min(end, first);
		else if (addr > last)
			start = max(start, last + 1);
		else
			return false;
	}
	span->start = start;
	span->end = end;
	return true;
}

/*
 * For each of the @npages pages from @start, which is page aligned: the
 * greatest access that @faults want, NOUVEAU_SVM_NONE if none is there. Faults
 * elsewhere are ignored.
 */
static inline void nouveau_svm_want(const struct nouveau_svm_fault *faults,
				    unsigned int nr, unsigned long start,
				    unsigned int npages, u8 *access)
{
	unsigned int i;
	u64 page;

	for (page = 0; page < npages; page++)
		access[page] = NOUVEAU_SVM_NONE;
	for (i = 0; i < nr; i++) {
		/* Below @start, the difference wraps: such a page is too far. */
		page = (faults[i].addr - start) >> PAGE_SHIFT;
		if (page < npages)
			access[page] = max(access[page], faults[i].access);
	}
}

/*
 * The smallest part of @managed, up to rounding outwards to 64 KiB, that holds
 * every fault in it. Faults elsewhere are ignored; if there are no others, the
 * window is empty.
 */
static inline struct nouveau_svm_span
nouveau_svm_window(const struct nouveau_svm_fault *faults, unsigned int nr,
		   const struct nouveau_svm_span *managed)
{
	u64 low = managed->end, high = managed->start;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		u64 addr = faults[i].addr;

		if (addr < managed->start || addr >= managed->end)
			continue;
		low = min(low, addr);
		high = max(high, addr);
	}
	if (low > high)
		return (struct nouveau_svm_span){ high, high };

	low = ALIGN_DOWN(low, NOUVEAU_SVM_WINDOW_SIZE);
	high = ALIGN_DOWN(high, NOUVEAU_SVM_WINDOW_SIZE) +
	       NOUVEAU_SVM_WINDOW_SIZE;
	return (struct nouveau_svm_span){
		.start = max(low, managed->start),
		.end = min(high, managed->end),
	};
}

/*
 * The page shift by which the GPU can map the page at @addr, whose physical
 * address is @phys and which the CPU maps by an entry of 2^@order pages: the
 * whole block, if the CPU's entry covers it and it is managed as a whole. Both
 * addresses are page aligned. The CPU's entry implies that they have the same
 * offset in 2 MiB; with HMM_RANGE_PTE_ORDERS, the order does not.
 *
 * With CPU pages larger than 4 KiB, shift 12 means several entries a page.
 */
static inline unsigned int
nouveau_svm_shift(unsigned long addr, u64 phys, unsigned int order,
		  const struct nouveau_svm_span *managed)
{
	u64 block = ALIGN_DOWN(addr, NOUVEAU_SVM_BLOCK_SIZE);

	if (order + PAGE_SHIFT < NOUVEAU_SVM_BLOCK_SHIFT)
		return NOUVEAU_SVM_PAGE_SHIFT;
	if (block < managed->start ||
	    block + NOUVEAU_SVM_BLOCK_SIZE > managed->end)
		return NOUVEAU_SVM_PAGE_SHIFT;
	if ((addr ^ phys) & (NOUVEAU_SVM_BLOCK_SIZE - 1))
		return NOUVEAU_SVM_PAGE_SHIFT;
	return NOUVEAU_SVM_BLOCK_SHIFT;
}

/* Does an entry that allows @have meet a fault that wants @want? */
static inline bool nouveau_svm_satisfied(enum nouveau_svm_access have,
					 enum nouveau_svm_access want)
{
	return have >= want;
}

/*
 * What becomes of a fault, after an attempt to serve it ended with @err. An
 * attempt that lost against invalidations or was interrupted is repeated, by
 * the GPU, which faults again: that is no reason to kill a channel.
 */
static inline enum nouveau_svm_verdict
nouveau_svm_verdict(int err, enum nouveau_svm_access access)
{
	switch (err) {
	case 0:
	case -EBUSY:
	case -EAGAIN:
	case -EINTR:
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
	case -ERESTART_RESTARTBLOCK:
		return NOUVEAU_SVM_REPLAY;
	}
	return access == NOUVEAU_SVM_PREFETCH ? NOUVEAU_SVM_IGNORE :
						NOUVEAU_SVM_CANCEL;
}

/*
 * The argument of NVIF_VMM_V0_PFNMAP for a page at @phys, which is in the GPU's
 * memory if @vram, and which the GPU may use for @access. Without access, the
 * entry is not valid.
 */
static inline u64 nouveau_svm_entry(u64 phys, bool vram,
				    enum nouveau_svm_access access)
{
	u64 entry = (phys & NVIF_VMM_PFNMAP_V0_ADDR) | NVIF_VMM_PFNMAP_V0_V;

	if (access == NOUVEAU_SVM_NONE)
		return NVIF_VMM_PFNMAP_V0_NONE;
	if (vram)
		entry |= NVIF_VMM_PFNMAP_V0_VRAM;
	if (access >= NOUVEAU_SVM_WRITE)
		entry |= NVIF_VMM_PFNMAP_V0_W;
	if (access >= NOUVEAU_SVM_ATOMIC)
		entry |= NVIF_VMM_PFNMAP_V0_A;
	return entry;
}

/* What an entry allows, the reverse */
static inline enum nouveau_svm_access nouveau_svm_entry_access(u64 entry)
{
	if (!(entry & NVIF_VMM_PFNMAP_V0_V))
		return NOUVEAU_SVM_NONE;
	if (entry & NVIF_VMM_PFNMAP_V0_A)
		return NOUVEAU_SVM_ATOMIC;
	return entry & NVIF_VMM_PFNMAP_V0_W ? NOUVEAU_SVM_WRITE :
					      NOUVEAU_SVM_READ;
}

#endif /* __NOUVEAU_SVM_DECIDE_H__ */
