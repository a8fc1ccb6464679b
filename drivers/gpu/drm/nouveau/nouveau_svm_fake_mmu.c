// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The page tables of the fake GPU, with the rules of nvkm's vmm.c.
 *
 *  - Entries have 4 KiB or 2 MiB; other shifts, and misaligned ranges, are
 *    refused with -EINVAL.
 *  - Where nothing can be mapped, PFNMAP clears phys[] and returns 0.
 *  - An entry that is written over another one loses that one's DMA address.
 *  - Entries of 4 KiB and 2 MiB must not touch: the records of what is mapped
 *    are merged, with one size.
 *  - PFNCLR counts size >> shift entries: of a part of 2 MiB, none. It forgets
 *    that the part was mapped, and so never clears the entry later.
 */
#include "nouveau_svm_fake.h"

#include <nvif/if000c.h>

#include <linux/sched/mm.h>

#define SHIFT_LARGE	21
#define SIZE_LARGE	BIT_ULL(SHIFT_LARGE)
#define LIMIT		BIT_ULL(49)
#define PFNMAP_VRAM	NVIF_VMM_PFNMAP_V0_VRAM

struct fake_vmm *fake_vmm_new(struct fake_gpu *gpu, u64 handle)
{
	struct fake_vmm *vmm = kzalloc_obj(*vmm);

	if (!vmm)
		return NULL;
	vmm->handle = handle;
	vmm->mm = current->mm;
	if (vmm->mm)
		mmgrab(vmm->mm);
	xa_init(&vmm->small);
	xa_init(&vmm->large);
	mutex_lock(&gpu->lock);
	list_add_tail(&vmm->head, &gpu->vmms);
	mutex_unlock(&gpu->lock);
	return vmm;
}

/* How many writable and other entries map a physical page, in one value */
#define RMAP_WRITE	BIT(24)

static void fake_rmap(struct fake_gpu *gpu, u64 phys, u8 shift, int count)
{
	struct xarray *rmap = shift == SHIFT_LARGE ? &gpu->rmap_large :
						     &gpu->rmap_small;
	unsigned long index = phys >> shift;
	unsigned long value;
	void *old;

	if (phys & PFNMAP_VRAM)
		index |= 1UL << 52;
	old = xa_load(rmap, index);
	value = old ? xa_to_value(old) : 0;
	value += count * (phys & NVIF_VMM_PFNMAP_V0_W ? RMAP_WRITE : 1);
	if (value)
		xa_store(rmap, index, xa_mk_value(value), FAKE_GFP);
	else
		xa_erase(rmap, index);
}

/* Whether an entry maps a physical page, or maps it writable */
bool fake_phys_is_mapped(struct fake_gpu *gpu, u64 phys, bool vram, bool write)
{
	unsigned long bit = vram ? 1UL << 52 : 0;
	void *small = xa_load(&gpu->rmap_small, phys >> PAGE_SHIFT | bit);
	void *large = xa_load(&gpu->rmap_large, phys >> SHIFT_LARGE | bit);
	unsigned long least = write ? RMAP_WRITE : 1;

	return (small && xa_to_value(small) >= least) ||
	       (large && xa_to_value(large) >= least);
}

static void fake_pte_del(struct fake_gpu *gpu, struct xarray *table,
			 unsigned long index, u8 shift)
{
	struct fake_pte *pte = xa_erase(table, index);

	if (pte)
		fake_rmap(gpu, pte->phys, shift, -1);
	kfree(pte);
}

void fake_vmm_del(struct fake_gpu *gpu, struct fake_vmm *vmm)
{
	struct fake_pte *pte;
	unsigned long index;

	mutex_lock(&gpu->lock);
	list_del(&vmm->head);
	xa_for_each(&vmm->small, index, pte)
		fake_pte_del(gpu, &vmm->small, index, PAGE_SHIFT);
	xa_for_each(&vmm->large, index, pte)
		fake_pte_del(gpu, &vmm->large, index, SHIFT_LARGE);
	mutex_unlock(&gpu->lock);
	xa_destroy(&vmm->small);
	xa_destroy(&vmm->large);
	if (vmm->mm)
		mmdrop(vmm->mm);
	kfree(vmm);
}

struct fake_vmm *fake_vmm_find(struct fake_gpu *gpu, u64 handle)
{
	struct fake_vmm *vmm, *found = NULL;

	mutex_lock(&gpu->lock);
	list_for_each_entry(vmm, &gpu->vmms, head) {
		if (vmm->handle == handle)
			found = vmm;
	}
	mutex_unlock(&gpu->lock);
	return found;
}

struct fake_vmm *fake_vmm_of_inst(struct fake_gpu *gpu, u64 inst)
{
	struct fake_vmm *vmm;

	lockdep_assert_held(&gpu->lock);
	list_for_each_entry(vmm, &gpu->vmms, head) {
		if (vmm->inst == inst || (vmm->inst2 && vmm->inst2 == inst))
			return vmm;
	}
	return NULL;
}

static bool fake_is_unmanaged(struct fake_vmm *vmm, u64 addr)
{
	return addr >= vmm->unmanaged_start && addr < vmm->unmanaged_end;
}

/*
 * A 4 KiB entry conflicts with 2 MiB above it or beside it, and the other way
 * round: nvkm merges the records of neighbours, whatever their sizes.
 */
static bool fake_is_mixed(struct fake_vmm *vmm, u64 addr, u8 shift)
{
	unsigned long index = (addr - PAGE_SIZE) >> PAGE_SHIFT;

	if (shift == PAGE_SHIFT)
		return xa_load(&vmm->large, addr >> SHIFT_LARGE) ||
		       xa_load(&vmm->large,
			       (addr - PAGE_SIZE) >> SHIFT_LARGE) ||
		       xa_load(&vmm->large, (addr + PAGE_SIZE) >> SHIFT_LARGE);
	return xa_find(&vmm->small, &index, index + SIZE_LARGE / PAGE_SIZE + 1,
		       XA_PRESENT);
}

static int fake_pte_set(struct fake_gpu *gpu, struct fake_vmm *vmm, u64 addr,
			u8 shift, u64 phys)
{
	struct xarray *table = shift == PAGE_SHIFT ? &vmm->small : &vmm->large;
	u64 offset = (phys & NVIF_VMM_PFNMAP_V0_ADDR) & ((1ULL << shift) - 1);
	struct fake_pte *pte, *old;

	if (offset || fake_is_mixed(vmm, addr, shift)) {
		fake_violation(gpu, offset ? FAKE_BAD_PFNMAP : FAKE_MIXED,
			       "%llx shift %u phys %llx", addr, shift, phys);
		return -EINVAL;
	}
	old = xa_load(table, addr >> shift);
	if (old && old->torn)
		return 0;
	if (old && !(old->phys & PFNMAP_VRAM))
		fake_violation(gpu, FAKE_OVERWRITE, "%llx: %llx by %llx", addr,
			       old->phys, phys);
	pte = kzalloc_obj(*pte, FAKE_GFP);
	if (!pte)
		return -ENOMEM;
	fake_pte_del(gpu, table, addr >> shift, shift);
	pte->phys = phys;
	pte->stamp = ++gpu->stamp;
	xa_store(table, addr >> shift, pte, FAKE_GFP);
	fake_rmap(gpu, phys, shift, 1);
	return 0;
}

int fake_pfnmap(struct fake_gpu *gpu, struct fake_vmm *vmm, void *argv,
		u32 argc)
{
	struct nvif_vmm_pfnmap_v0 *args = argv;
	struct fake_event *event = fake_log(gpu, FAKE_PFNMAP);
	u64 step = 1ULL << args->page;
	u64 nr = args->size >> args->page;
	u64 i, addr;

	event->addr = args->addr;
	event->size = args->size;
	event->shift = args->page;
	if (argc != sizeof(*args) + nr * sizeof(args->phys[0]) ||
	    (args->page != PAGE_SHIFT && args->page != SHIFT_LARGE) ||
	    !IS_ALIGNED(args->addr | args->size, step) ||
	    args->addr + args->size > LIMIT) {
		fake_violation(gpu, FAKE_BAD_PFNMAP,
			       "%llx+%llx shift %u argc %u", args->addr,
			       args->size, args->page, argc);
		return -EINVAL;
	}
	for (i = 0, addr = args->addr; i < nr; i++, addr += step) {
		if (fake_is_unmanaged(vmm, addr)) {
			args->phys[i] = NVIF_VMM_PFNMAP_V0_NONE;
		} else if (!(args->phys[i] & NVIF_VMM_PFNMAP_V0_V)) {
			fake_pte_del(gpu, step == PAGE_SIZE ? &vmm->small :
							      &vmm->large,
				     addr >> args->page, args->page);
		} else if (fake_pte_set(gpu, vmm, addr, args->page,
					args->phys[i])) {
			args->phys[i] = NVIF_VMM_PFNMAP_V0_NONE;
		} else {
			event->valid = true;
		}
	}
	return 0;
}

static bool fake_clear_small(struct fake_gpu *gpu, struct fake_vmm *vmm,
			     u64 addr, u64 end)
{
	struct fake_pte *pte;
	unsigned long index;
	bool found = false;

	xa_for_each_range(&vmm->small, index, pte, addr >> PAGE_SHIFT,
			  (end - 1) >> PAGE_SHIFT) {
		fake_pte_del(gpu, &vmm->small, index, PAGE_SHIFT);
		found = true;
	}
	return found;
}

static bool fake_clear_large(struct fake_gpu *gpu, struct fake_vmm *vmm,
			     u64 addr, u64 end)
{
	struct fake_pte *pte;
	unsigned long index;
	bool found = false;

	xa_for_each_range(&vmm->large, index, pte, addr >> SHIFT_LARGE,
			  (end - 1) >> SHIFT_LARGE) {
		u64 start = (u64)index << SHIFT_LARGE;

		found = true;
		if (start < addr || start + SIZE_LARGE > end) {
			fake_violation(gpu, FAKE_PARTIAL_CLEAR,
				       "%llx-%llx of the entry at %llx",
				       addr, end, start);
			pte->torn = true;
		}
		if (!pte->torn)
			fake_pte_del(gpu, &vmm->large, index, SHIFT_LARGE);
	}
	return found;
}

int fake_pfnclr(struct fake_gpu *gpu, struct fake_vmm *vmm, u64 addr, u64 size)
{
	struct fake_event *event = fake_log(gpu, FAKE_PFNCLR);
	u64 end = min(addr + size, LIMIT);

	event->addr = addr;
	event->size = size;
	if (addr >= LIMIT)
		return -EINVAL;
	if (!size)
		return 0;
	event->before_mapped = fake_clear_small(gpu, vmm, addr, end);
	event->before_mapped |= fake_clear_large(gpu, vmm, addr, end);
	return 0;
}

/* The entry for an address, as for a 4 KiB page; 0 if there is none */
u64 fake_translate(struct fake_vmm *vmm, u64 addr, u64 *stamp)
{
	struct fake_pte *pte = xa_load(&vmm->large, addr >> SHIFT_LARGE);
	u64 offset = addr & (SIZE_LARGE - 1) & PAGE_MASK;

	if (!pte) {
		pte = xa_load(&vmm->small, addr >> PAGE_SHIFT);
		offset = 0;
	}
	if (!pte)
		return 0;
	if (stamp)
		*stamp = pte->stamp;
	return pte->phys + offset;
}

unsigned long fake_live_large(struct fake_vmm *vmm)
{
	unsigned long index, count = 0;
	struct fake_pte *pte;

	xa_for_each(&vmm->large, index, pte)
		count++;
	return count;
}

unsigned long fake_live_entries(struct fake_vmm *vmm)
{
	unsigned long index, count = fake_live_large(vmm);
	struct fake_pte *pte;

	xa_for_each(&vmm->small, index, pte)
		count++;
	return count;
}

static unsigned int fake_stale_in(struct xarray *table, u8 shift, u64 start,
				  u64 end, u64 stamp, bool only_writable)
{
	unsigned int count = 0;
	struct fake_pte *pte;
	unsigned long index;

	xa_for_each_range(table, index, pte, start >> shift,
			  (end - 1) >> shift) {
		if (pte->stamp <= stamp &&
		    (!only_writable || (pte->phys & NVIF_VMM_PFNMAP_V0_W)))
			count++;
	}
	return count;
}

/* How many entries of the range were made at the stamp or before */
unsigned int fake_stale(struct fake_vmm *vmm, u64 start, u64 end, u64 stamp,
			bool only_writable)
{
	return fake_stale_in(&vmm->small, PAGE_SHIFT, start, end, stamp,
			     only_writable) +
	       fake_stale_in(&vmm->large, SHIFT_LARGE, start, end, stamp,
			     only_writable);
}

static void fake_compare_one(struct fake_gpu *gpu, struct fake_vmm *vmm,
			     u64 addr, u64 phys)
{
	if (!fake_entry_is_right(vmm, addr, phys,
				 phys & NVIF_VMM_PFNMAP_V0_W))
		fake_violation(gpu, FAKE_STALE, "entry %llx -> %llx", addr,
			       phys);
}

/* Each entry of the GPU must be what the CPU has, with no more rights. */
void fake_compare(struct fake_gpu *gpu)
{
	struct fake_vmm *vmm;
	struct fake_pte *pte;
	unsigned long index;
	u64 i;

	mutex_lock(&gpu->lock);
	list_for_each_entry(vmm, &gpu->vmms, head) {
		xa_for_each(&vmm->small, index, pte)
			fake_compare_one(gpu, vmm, (u64)index << PAGE_SHIFT,
					 pte->phys);
		xa_for_each(&vmm->large, index, pte) {
			for (i = 0; i < SIZE_LARGE; i += PAGE_SIZE)
				fake_compare_one(gpu, vmm,
						 ((u64)index << SHIFT_LARGE) +
						 i, pte->phys + i);
		}
	}
	mutex_unlock(&gpu->lock);
}
