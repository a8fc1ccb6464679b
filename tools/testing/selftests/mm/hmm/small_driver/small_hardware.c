// SPDX-License-Identifier: GPL-2.0
/*
 * What the device would do: its page table, its memory, which pages of it are in
 * use, and transfers.
 */
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/highmem.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "small_driver.h"

#define SMALL_WRITABLE	1	/* tag in the table */

static unsigned int max_order = HPAGE_PMD_ORDER;
module_param(max_order, uint, 0644);
MODULE_PARM_DESC(max_order, "largest folio of device memory");

/* The device's page table */

int small_table_set(struct small_mirror *mirror, unsigned long addr,
		    struct page *page, unsigned long nr, bool writable)
{
	unsigned long index = addr >> PAGE_SHIFT;
	int ret = 0;

	for (; nr-- && !ret; index++, page++) {
		void *entry = xa_tag_pointer(page,
					     writable ? SMALL_WRITABLE : 0);

		/* Memory cannot be waited for under the lock. */
		ret = xa_err(xa_store(&mirror->table, index, entry,
				      GFP_NOWAIT | __GFP_NOWARN));
	}
	return ret;
}

struct page *small_table_get(struct small_mirror *mirror, unsigned long addr,
			     bool write)
{
	void *entry = xa_load(&mirror->table, addr >> PAGE_SHIFT);

	if (!entry || (write && xa_pointer_tag(entry) != SMALL_WRITABLE))
		return NULL;
	return xa_untag_pointer(entry);
}

void small_table_clear(struct small_mirror *mirror, unsigned long start,
		       unsigned long end)
{
	unsigned long index;
	void *entry;

	if (start == end)
		return;
	xa_for_each_range(&mirror->table, index, entry, start >> PAGE_SHIFT,
			  (end - 1) >> PAGE_SHIFT)
		xa_erase(&mirror->table, index);
}

/* Its memory */

static void *memory;
static unsigned long first;

/* Folios are also freed in interrupts. */
static DEFINE_SPINLOCK(used_lock);
static DECLARE_BITMAP(used, SMALL_PAGES);

int small_hardware_start(unsigned long first_pfn)
{
	memory = vmalloc(SMALL_PAGES * PAGE_SIZE);
	first = first_pfn;
	return memory ? 0 : -ENOMEM;
}

void small_hardware_stop(void)
{
	vfree(memory);
}

bool small_hardware_reserve(unsigned int order, unsigned long *pfn)
{
	unsigned long nr = 1UL << order, at;

	if (order > READ_ONCE(max_order))
		return false;
	guard(spinlock_irqsave)(&used_lock);
	at = bitmap_find_next_zero_area(used, SMALL_PAGES, 0, nr, nr - 1);
	if (at >= SMALL_PAGES)
		return false;
	bitmap_set(used, at, nr);
	*pfn = first + at;
	return true;
}

void small_hardware_release(unsigned long pfn, unsigned long npages)
{
	guard(spinlock_irqsave)(&used_lock);
	bitmap_clear(used, pfn - first, npages);
}

unsigned long small_hardware_in_use(void)
{
	guard(spinlock_irqsave)(&used_lock);
	return bitmap_weight(used, SMALL_PAGES);
}

static void *small_map(struct page *page)
{
	if (is_device_private_page(page))
		return memory + (page_to_pfn(page) - first) * PAGE_SIZE;
	return kmap_local_page(page);
}

static void small_unmap(struct page *page, void *mapped)
{
	if (!is_device_private_page(page))
		kunmap_local(mapped);
}

void small_hardware_read(struct page *page, void *data)
{
	void *mapped = small_map(page);

	memcpy(data, mapped, PAGE_SIZE);
	small_unmap(page, mapped);
}

void small_hardware_write(struct page *page, const void *data)
{
	void *mapped = small_map(page);

	if (data)
		memcpy(mapped, data, PAGE_SIZE);
	else
		memset(mapped, 0, PAGE_SIZE);
	small_unmap(page, mapped);
}

static atomic_long_t cleared;

unsigned long small_hardware_cleared(void)
{
	return atomic_long_read(&cleared);
}

void small_hardware_copy(struct page *to, struct page *from, unsigned long nr)
{
	void *mapped;

	if (!from)
		atomic_long_add(nr, &cleared);
	for (; nr--; to++) {
		mapped = from ? small_map(from) : NULL;
		small_hardware_write(to, mapped);
		if (from)
			small_unmap(from++, mapped);
	}
}

/*
 * Not an atomic operation: that the CPU cannot access the page meanwhile is what
 * is tested.
 */
void small_hardware_add(struct page **pages, unsigned long nr)
{
	for (; nr--; pages++) {
		unsigned long *word = small_map(*pages);
		unsigned long value = READ_ONCE(*word);

		cpu_relax();
		WRITE_ONCE(*word, value + 1);
		small_unmap(*pages, word);
	}
}
