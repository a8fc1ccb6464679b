// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Accesses of the fake GPU: translation, faults, replay and cancel.
 *
 * fake_run() repeats what faulted when the driver replays. An access that is
 * replayed many times without success ends with -ELOOP; one that is neither
 * replayed nor cancelled ends with -ETIME, after a time in which no driver
 * that works has to answer.
 */
#include "nouveau_svm_fake.h"
#include "nouveau_dmem.h"

#include <nvif/event.h>
#include <nvif/if000c.h>

#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/leafops.h>

#define ROUNDS		64
#define VALID		BIT(31)

static unsigned int hang_seconds = 60;
module_param(hang_seconds, uint, 0644);
MODULE_PARM_DESC(hang_seconds,
		 "Seconds after which a fake GPU's fault is given up");

static struct fake_cpu_entry fake_cpu_leaf(softleaf_t leaf)
{
	struct fake_cpu_entry entry = { .kind = FAKE_CPU_OTHER };

	if (softleaf_is_device_private(leaf)) {
		entry.kind = FAKE_CPU_PRIVATE;
		entry.write = softleaf_is_device_private_write(leaf);
	} else if (softleaf_is_device_exclusive(leaf)) {
		entry.kind = FAKE_CPU_EXCLUSIVE;
		entry.write = true;
	} else if (softleaf_is_migration(leaf)) {
		entry.kind = FAKE_CPU_MIGRATION;
		entry.write = softleaf_is_migration_write(leaf);
	}
	if (entry.kind != FAKE_CPU_OTHER)
		entry.pfn = softleaf_to_pfn(leaf);
	return entry;
}

static struct fake_cpu_entry fake_cpu_pmd(pmd_t pmd, unsigned long addr)
{
	struct fake_cpu_entry entry = {};

	if (!pmd_present(pmd)) {
		entry = fake_cpu_leaf(softleaf_from_pmd(pmd));
	} else {
		entry.kind = FAKE_CPU_PRESENT;
		entry.pfn = pmd_pfn(pmd);
		entry.write = pmd_write(pmd);
	}
	entry.pfn += (addr & ~PMD_MASK) >> PAGE_SHIFT;
	entry.huge = true;
	return entry;
}

static struct fake_cpu_entry fake_cpu_pud(pud_t pud, unsigned long addr)
{
	return (struct fake_cpu_entry) {
		.kind = FAKE_CPU_PRESENT,
		.pfn = pud_pfn(pud) + ((addr & ~PUD_MASK) >> PAGE_SHIFT),
		.write = pud_write(pud),
		.huge = true,
	};
}

static struct fake_cpu_entry fake_cpu_pte(pte_t pte)
{
	struct fake_cpu_entry entry = {};

	if (pte_none(pte))
		return entry;
	if (!pte_present(pte))
		return fake_cpu_leaf(softleaf_from_pte(pte));
	entry.kind = FAKE_CPU_PRESENT;
	entry.pfn = pte_pfn(pte);
	entry.write = pte_write(pte);
	return entry;
}

static struct fake_cpu_entry fake_cpu_walk(struct mm_struct *mm,
					   unsigned long addr)
{
	struct fake_cpu_entry none = {};
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd, pmdval;

	if (pgd_none(*pgd))
		return none;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d))
		return none;
	pud = pud_offset(p4d, addr);
	if (pud_none(*pud))
		return none;
	if (pud_leaf(*pud))
		return fake_cpu_pud(*pud, addr);
	pmd = pmd_offset(pud, addr);
	pmdval = pmdp_get_lockless(pmd);
	if (pmd_none(pmdval))
		return none;
	if (pmd_leaf(pmdval) || !pmd_present(pmdval))
		return fake_cpu_pmd(pmdval, addr);
	return fake_cpu_pte(ptep_get_lockless(pte_offset_kernel(&pmdval,
								addr)));
}

/* A walk as get_user_pages_fast() does it: page tables cannot be freed. */
struct fake_cpu_entry fake_cpu_entry(struct mm_struct *mm, unsigned long addr)
{
	struct fake_cpu_entry entry;
	unsigned long flags;

	local_irq_save(flags);
	entry = fake_cpu_walk(mm, addr);
	local_irq_restore(flags);
	return entry;
}

/*
 * Whether the GPU may access the page that its entry names: the CPU's page
 * table must have the same one, with as many rights.
 */
bool fake_entry_is_right(struct fake_vmm *vmm, u64 addr, u64 phys, bool write)
{
	struct fake_cpu_entry cpu = fake_cpu_entry(vmm->mm, addr);
	u64 page = phys & NVIF_VMM_PFNMAP_V0_ADDR;

	if (write && !cpu.write)
		return false;
	switch (cpu.kind) {
	case FAKE_CPU_PRIVATE:
		return (phys & NVIF_VMM_PFNMAP_V0_VRAM) &&
		       nouveau_dmem_page_addr(pfn_to_page(cpu.pfn)) == page;
	case FAKE_CPU_MIGRATION:
		if (is_device_private_page(pfn_to_page(cpu.pfn)))
			return (phys & NVIF_VMM_PFNMAP_V0_VRAM) &&
				nouveau_dmem_page_addr(pfn_to_page(cpu.pfn)) ==
				page;
		fallthrough;
	case FAKE_CPU_PRESENT:
	case FAKE_CPU_EXCLUSIVE:
		return !(phys & NVIF_VMM_PFNMAP_V0_VRAM) &&
		       cpu.pfn == page >> PAGE_SHIFT;
	default:
		return false;
	}
}

static bool fake_may(u64 phys, enum fake_kind kind)
{
	if (!(phys & NVIF_VMM_PFNMAP_V0_V))
		return false;
	if (kind == FAKE_WRITE || kind == FAKE_ATOMIC) {
		if (!(phys & NVIF_VMM_PFNMAP_V0_W))
			return false;
	}
	return kind != FAKE_ATOMIC || (phys & NVIF_VMM_PFNMAP_V0_A);
}

static void fake_perform(struct fake_access *access, u32 *word)
{
	u32 old = READ_ONCE(*word);

	if (access->kind == FAKE_WRITE)
		WRITE_ONCE(*word, access->value);
	if (access->kind == FAKE_ATOMIC)
		WRITE_ONCE(*word, old + access->value);
	if (access->kind == FAKE_READ || access->kind == FAKE_ATOMIC)
		access->value = old;
}

/* 0, -EAGAIN if the GPU has to fault, or -EFAULT */
static int fake_touch_locked(struct fake_gpu *gpu, struct fake_access *access)
{
	bool write = access->kind == FAKE_WRITE || access->kind == FAKE_ATOMIC;
	struct fake_vmm *vmm = fake_vmm_of_inst(gpu, access->inst);
	struct page *page;
	u64 phys;
	u8 *map;

	phys = vmm ? fake_translate(vmm, access->addr, NULL) : 0;
	if (!fake_may(phys, access->kind))
		return -EAGAIN;
	if (access->kind == FAKE_PREFETCH)
		return 0;
	if (!fake_entry_is_right(vmm, access->addr, phys, write)) {
		fake_violation(gpu, FAKE_FOREIGN, "%llx -> %llx%s",
			       access->addr, phys, write ? ", written" : "");
		return -EFAULT;
	}
	page = phys & NVIF_VMM_PFNMAP_V0_VRAM ?
		fake_vram_page(gpu, phys & NVIF_VMM_PFNMAP_V0_ADDR) :
		pfn_to_page(phys >> PAGE_SHIFT);
	if (!page)
		return -EFAULT;
	map = kmap_local_page(page);
	fake_perform(access, (u32 *)(map + (access->addr & ~PAGE_MASK)));
	kunmap_local(map);
	return 0;
}

/* An access that ends if it is not mapped */
int fake_touch(struct fake_gpu *gpu, struct fake_access *access)
{
	int ret;

	mutex_lock(&gpu->lock);
	ret = fake_touch_locked(gpu, access);
	mutex_unlock(&gpu->lock);
	return ret;
}

static u32 fake_next(u32 index)
{
	return index + 1 == FAKE_ENTRIES ? 0 : index + 1;
}

/* Put an entry into the fault buffer; false if it is full. */
static bool fake_fault(struct fake_gpu *gpu, struct fake_access *access,
		       bool valid)
{
	static const u8 codes[] = {
		[FAKE_READ] = 0, [FAKE_WRITE] = 1, [FAKE_ATOMIC] = 2,
		[FAKE_PREFETCH] = 3,
	};
	u32 put = gpu->regs[FAKE_PUT / 4];
	u32 *entry = gpu->faults + put * 8;

	if (fake_next(put) == READ_ONCE(gpu->regs[FAKE_GET / 4]))
		return false;
	entry[0] = lower_32_bits(access->inst);
	entry[1] = upper_32_bits(access->inst);
	entry[2] = lower_32_bits(access->addr & PAGE_MASK);
	entry[3] = upper_32_bits(access->addr);
	entry[4] = put;
	entry[5] = 0;
	entry[6] = 0;
	entry[7] = access->gpc << 24 | codes[access->kind] << 16 |
		   access->client << 8;
	smp_wmb(); /* the entry before its valid bit */
	if (valid)
		WRITE_ONCE(entry[7], entry[7] | VALID);
	/* Pairs with the driver's nvif_rd32() of PUT. */
	smp_store_release(&gpu->regs[FAKE_PUT / 4], fake_next(put));
	return true;
}

static void fake_raise(struct fake_gpu *gpu)
{
	struct nvif_event *event = READ_ONCE(gpu->notify);

	if (event && READ_ONCE(gpu->allowed))
		event->func(event, NULL, 0);
}

/* Report a fault, without an access that waits for the answer. */
void fake_report(struct fake_gpu *gpu, struct fake_access *access, bool raise)
{
	mutex_lock(&gpu->lock);
	fake_fault(gpu, access, true);
	mutex_unlock(&gpu->lock);
	if (raise)
		fake_raise(gpu);
}

/* The interrupt is raised for as long as entries are in the buffer. */
void fake_allow(struct fake_gpu *gpu, bool allow)
{
	WRITE_ONCE(gpu->allowed, allow);
	if (allow && READ_ONCE(gpu->regs[FAKE_GET / 4]) !=
		     READ_ONCE(gpu->regs[FAKE_PUT / 4]))
		fake_raise(gpu);
}

/* Has the driver taken all entries out of the buffer? It has some time. */
bool fake_wait_taken(struct fake_gpu *gpu)
{
	unsigned long end = jiffies + hang_seconds * HZ;

	while (READ_ONCE(gpu->regs[FAKE_GET / 4]) !=
	       READ_ONCE(gpu->regs[FAKE_PUT / 4])) {
		if (time_after(jiffies, end))
			return false;
		msleep(20);
	}
	return true;
}

void fake_replay(struct fake_gpu *gpu)
{
	mutex_lock(&gpu->lock);
	fake_log(gpu, FAKE_REPLAY);
	WRITE_ONCE(gpu->replays, gpu->replays + 1);
	mutex_unlock(&gpu->lock);
	wake_up_all(&gpu->answered);
}

void fake_cancel(struct fake_gpu *gpu, u64 inst, u8 gpc, u8 client)
{
	unsigned int i;

	mutex_lock(&gpu->lock);
	fake_log(gpu, FAKE_CANCEL)->client = client;
	for (i = 0; i < gpu->nr_pending; i++) {
		struct fake_access *access = &gpu->pending[i];

		if (access->inst == inst && access->gpc == gpc &&
		    access->client == client)
			access->cancelled = true;
	}
	mutex_unlock(&gpu->lock);
	wake_up_all(&gpu->answered);
}

static void fake_end(struct fake_access *access, int result)
{
	access->done = true;
	access->result = result;
}

/* Try each access; what does not succeed faults. Returns how many are left. */
static unsigned int fake_round(struct fake_gpu *gpu)
{
	unsigned int i, left = 0, copies;

	lockdep_assert_held(&gpu->lock);
	for (i = 0; i < gpu->nr_pending; i++) {
		struct fake_access *access = &gpu->pending[i];
		int ret;

		if (access->done)
			continue;
		if (access->cancelled)
			ret = -EFAULT;
		else if (access->late && !access->rounds)
			ret = -EAGAIN;
		else
			ret = fake_touch_locked(gpu, access);
		if (ret != -EAGAIN) {
			fake_end(access, ret);
			continue;
		}
		/* A prefetch is a hint: it is not repeated. */
		if (access->kind == FAKE_PREFETCH && access->rounds) {
			fake_end(access, -EAGAIN);
			continue;
		}
		if (++access->rounds > ROUNDS) {
			fake_end(access, -ELOOP);
			continue;
		}
		for (copies = max(access->entries, 1); copies; copies--)
			fake_fault(gpu, access, !access->invalid_first);
		left++;
	}
	return left;
}

static bool fake_all_cancelled(struct fake_gpu *gpu)
{
	unsigned int i;

	for (i = 0; i < gpu->nr_pending; i++) {
		if (!gpu->pending[i].done &&
		    !READ_ONCE(gpu->pending[i].cancelled))
			return false;
	}
	return true;
}

/* The hardware sets the valid bit after it has moved PUT. */
static void fake_make_valid(struct fake_gpu *gpu)
{
	u32 i;

	msleep(50);
	for (i = 0; i < FAKE_ENTRIES; i++) {
		u32 *entry = gpu->faults + i * 8;

		if ((entry[0] || entry[1]) && entry[4] == i)
			WRITE_ONCE(entry[7], entry[7] | VALID);
	}
}

static void fake_give_up(struct fake_gpu *gpu)
{
	unsigned int i;

	gpu->hung = true;
	for (i = 0; i < gpu->nr_pending; i++) {
		if (!gpu->pending[i].done)
			fake_end(&gpu->pending[i], -ETIME);
	}
}

static bool fake_any_invalid(struct fake_gpu *gpu)
{
	unsigned int i;
	bool any = false;

	for (i = 0; i < gpu->nr_pending; i++) {
		any |= gpu->pending[i].invalid_first;
		gpu->pending[i].invalid_first = false;
	}
	return any;
}

/* Run accesses at once, until each has succeeded or failed. */
void fake_run(struct fake_gpu *gpu, struct fake_access *access,
	      unsigned int nr)
{
	unsigned int i;
	u64 replays;

	for (i = 0; i < nr; i++) {
		access[i].client = i & 0x7f;
		access[i].gpc = (i >> 7) & 0x1f;
		access[i].rounds = 0;
		access[i].done = false;
		access[i].cancelled = false;
	}
	mutex_lock(&gpu->lock);
	gpu->pending = access;
	gpu->nr_pending = nr;
	for (;;) {
		replays = gpu->replays;
		if (!fake_round(gpu))
			break;
		mutex_unlock(&gpu->lock);
		fake_raise(gpu);
		if (fake_any_invalid(gpu))
			fake_make_valid(gpu);
		if (!wait_event_timeout(gpu->answered,
					READ_ONCE(gpu->replays) != replays ||
					fake_all_cancelled(gpu),
					gpu->hung ? 1 : hang_seconds * HZ))
			fake_give_up(gpu);
		mutex_lock(&gpu->lock);
	}
	gpu->pending = NULL;
	gpu->nr_pending = 0;
	mutex_unlock(&gpu->lock);
}

static int fake_one(struct fake_gpu *gpu, u64 inst, u64 addr,
		    enum fake_kind kind, u32 *value)
{
	struct fake_access access = {
		.inst = inst, .addr = addr, .kind = kind, .value = *value,
	};

	fake_run(gpu, &access, 1);
	*value = access.value;
	return access.result;
}

int fake_read(struct fake_gpu *gpu, u64 inst, u64 addr, u32 *value)
{
	*value = 0;
	return fake_one(gpu, inst, addr, FAKE_READ, value);
}

int fake_write(struct fake_gpu *gpu, u64 inst, u64 addr, u32 value)
{
	return fake_one(gpu, inst, addr, FAKE_WRITE, &value);
}

int fake_atomic(struct fake_gpu *gpu, u64 inst, u64 addr, u32 add, u32 *old)
{
	*old = add;
	return fake_one(gpu, inst, addr, FAKE_ATOMIC, old);
}
