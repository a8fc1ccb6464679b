// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * VRAM of the fake GPU, and the channel that copies to it and back.
 *
 * VRAM is ordinary pages, allocated when they are first used and filled with a
 * pattern, so that a copy that was left out shows. A buffer object that is
 * unpinned keeps its contents, and gets another address when it is pinned.
 *
 * The methods in the push buffer are executed when a fence is emitted, or the
 * buffer is kicked. push.end is always push.cur: each PUSH_WAIT() calls wait().
 */
#ifdef NOUVEAU_SVM_STOCK
#include "nouveau_svm_stock.h"
#include "nouveau_svm.h"
#endif
#include "nouveau_svm_fake.h"
#include "nouveau_bo.h"
#include "nouveau_fence.h"

#include <nvhw/class/cla0b5.h>
#include <nvif/class.h>
#include <nvif/push.h>

#include <linux/highmem.h>
#include <linux/moduleparam.h>

#define PUSH_WORDS	4096
#define POISON		0xa5
#define MiB(n)		((u64)(n) << 20)

struct fake_bo {
	struct nouveau_bo base;
	struct list_head head;
	struct fake_gpu *gpu;
	u64 size;
	bool pinned;
	struct xarray kept;	/* contents while it is not pinned */
};

static bool fake_vram_is_allocated(struct fake_gpu *gpu, u64 addr)
{
	struct fake_bo *bo;
	bool found = false;

	spin_lock(&gpu->vram_lock);
	list_for_each_entry(bo, &gpu->bos, head) {
		if (bo->pinned && addr >= bo->base.offset &&
		    addr - bo->base.offset < bo->size)
			found = true;
	}
	spin_unlock(&gpu->vram_lock);
	return found;
}

/* The page at an address in VRAM */
struct page *fake_vram_page(struct fake_gpu *gpu, u64 addr)
{
	struct page *page;

	if (!fake_vram_is_allocated(gpu, addr)) {
		fake_violation(gpu, FAKE_WILD_VRAM, "%llx", addr);
		return NULL;
	}
	page = xa_load(&gpu->vram, addr >> PAGE_SHIFT);
	if (page)
		return page;
	page = alloc_page(FAKE_GFP);
	if (!page)
		return NULL;
	memset(page_address(page), POISON, PAGE_SIZE);
	xa_store(&gpu->vram, addr >> PAGE_SHIFT, page, FAKE_GFP);
	return page;
}

static void fake_move_pages(struct xarray *from, u64 from_addr,
			    struct xarray *to, u64 to_addr, u64 size)
{
	unsigned long first = from_addr >> PAGE_SHIFT;
	struct page *page;
	unsigned long index;

	xa_for_each_range(from, index, page, first,
			  first + (size >> PAGE_SHIFT) - 1) {
		xa_erase(from, index);
		if (to)
			xa_store(to, index - first + (to_addr >> PAGE_SHIFT),
				 page, GFP_KERNEL);
		else
			__free_page(page);
	}
}

int fake_bo_pin(struct nouveau_bo *nvbo)
{
	struct fake_bo *bo = container_of(nvbo, struct fake_bo, base);
	struct fake_gpu *gpu = bo->gpu;

	if (bo->pinned)
		fake_violation(gpu, FAKE_BAD_PIN, "pinned twice");
	bo->base.offset = gpu->vram_next;
	gpu->vram_next += ALIGN(bo->size, MiB(2)) + MiB(4);
	fake_move_pages(&bo->kept, 0, &gpu->vram, bo->base.offset, bo->size);
	spin_lock(&gpu->vram_lock);
	bo->pinned = true;
	spin_unlock(&gpu->vram_lock);
	return 0;
}

void fake_bo_unpin(struct nouveau_bo *nvbo)
{
	struct fake_bo *bo = container_of(nvbo, struct fake_bo, base);

	if (!bo->pinned)
		fake_violation(bo->gpu, FAKE_BAD_PIN, "unpinned twice");
	spin_lock(&bo->gpu->vram_lock);
	bo->pinned = false;
	spin_unlock(&bo->gpu->vram_lock);
	fake_move_pages(&bo->gpu->vram, bo->base.offset, &bo->kept, 0,
			bo->size);
}

int fake_bo_new(struct nouveau_drm *drm, u64 size, struct nouveau_bo **pbo)
{
	struct fake_gpu *gpu = fake_gpu(drm);
	struct fake_bo *bo;

	if (size > gpu->vram_left)
		return -ENOSPC;
	bo = kzalloc_obj(*bo);
	if (!bo)
		return -ENOMEM;
	bo->gpu = gpu;
	bo->size = size;
	bo->base.bo.base.size = size;
	xa_init(&bo->kept);
	gpu->vram_left -= size;
	if (!gpu->vram_first_bo)
		gpu->vram_first_bo = size;
	spin_lock(&gpu->vram_lock);
	list_add(&bo->head, &gpu->bos);
	spin_unlock(&gpu->vram_lock);
	fake_bo_pin(&bo->base);
	*pbo = &bo->base;
	return 0;
}

static void fake_bo_free(struct fake_bo *bo)
{
	struct fake_gpu *gpu = bo->gpu;

	spin_lock(&gpu->vram_lock);
	list_del(&bo->head);
	spin_unlock(&gpu->vram_lock);
	fake_move_pages(&gpu->vram, bo->base.offset, NULL, 0, bo->size);
	fake_move_pages(&bo->kept, 0, NULL, 0, bo->size);
	gpu->vram_left += bo->size;
	xa_destroy(&bo->kept);
	kfree(bo);
}

void fake_bo_del(struct nouveau_bo **pbo)
{
	struct fake_bo *bo = container_of(*pbo, struct fake_bo, base);

	if (!bo->pinned)
		fake_violation(bo->gpu, FAKE_BAD_PIN, "deleted unpinned");
	fake_bo_free(bo);
	*pbo = NULL;
}

#ifdef NOUVEAU_SVM_STOCK
int fake_stock_bo_new_pin(struct nouveau_cli *cli, u32 domain, u32 size,
			  struct nouveau_bo **pbo)
{
	return fake_bo_new(cli->drm, size, pbo);
}

int fake_stock_bo_pin(struct nouveau_bo *bo, u32 domain, bool contig)
{
	return fake_bo_pin(bo);
}

int fake_stock_bo_unpin(struct nouveau_bo *bo)
{
	fake_bo_unpin(bo);
	return 0;
}

void fake_stock_bo_unpin_del(struct nouveau_bo **pbo)
{
	fake_bo_del(pbo);
}

static bool mend_shift;
module_param(mend_shift, bool, 0444);
MODULE_PARM_DESC(mend_shift, "map what 7.3's driver moves to VRAM");

/*
 * 7.3 passes an order, and nvkm refuses that. Mended, it shows what it would
 * map: pages that did not move, too.
 */
#undef nouveau_pfns_map
void nouveau_pfns_map(struct nouveau_svmm *svmm, struct mm_struct *mm,
		      unsigned long addr, u64 *pfns, unsigned long npages,
		      unsigned int page_shift);

void fake_stock_pfns_map(struct nouveau_svmm *svmm, struct mm_struct *mm,
			 unsigned long addr, u64 *pfns, unsigned long npages,
			 unsigned int order)
{
	nouveau_pfns_map(svmm, mm, addr, pfns, npages,
			 mend_shift ? PAGE_SHIFT + order : order);
}
#endif

/* One side of a copy */
struct fake_side {
	bool vram;
	u64 addr;
};

static struct page *fake_side_page(struct fake_gpu *gpu,
				   const struct fake_side *side, u64 offset)
{
	u64 addr = side->addr + offset;

	if (side->vram)
		return fake_vram_page(gpu, addr);
	if (!pfn_valid(addr >> PAGE_SHIFT) ||
	    is_zone_device_page(pfn_to_page(addr >> PAGE_SHIFT))) {
		fake_violation(gpu, FAKE_WILD_HOST, "%llx", addr);
		return NULL;
	}
	return pfn_to_page(addr >> PAGE_SHIFT);
}

/* Nothing may write the source of a copy, or access its destination. */
static void fake_check_unmapped(struct fake_gpu *gpu,
				const struct fake_side *side, u64 offset,
				bool write)
{
	u64 addr = (side->addr + offset) & PAGE_MASK;

	if (fake_phys_is_mapped(gpu, addr, side->vram, write))
		fake_violation(gpu, FAKE_COPY_MAPPED, "%s %s %llx",
			       write ? "from" : "to",
			       side->vram ? "VRAM" : "host", addr);
}

static void fake_copy(struct fake_gpu *gpu, const struct fake_side *dst,
		      const struct fake_side *src, u64 size)
{
	u64 done, part;

	for (done = 0; done < size; done += part) {
		u64 d = (dst->addr + done) & ~PAGE_MASK;
		u64 s = (src->addr + done) & ~PAGE_MASK;
		struct page *to = fake_side_page(gpu, dst, done);
		struct page *from = fake_side_page(gpu, src, done);

		part = min3(size - done, PAGE_SIZE - d, PAGE_SIZE - s);
		fake_check_unmapped(gpu, src, done, true);
		fake_check_unmapped(gpu, dst, done, false);
		if (to && from)
			memcpy_page(to, d, from, s, part);
	}
}

static void fake_fill(struct fake_gpu *gpu, const struct fake_side *dst,
		      const u32 pattern[2], u64 size)
{
	u64 done;

	for (done = 0; done < size; done += sizeof(u32)) {
		u64 offset = (dst->addr + done) & ~PAGE_MASK;
		struct page *page = fake_side_page(gpu, dst, done);
		u32 *map;

		if (!offset)
			fake_check_unmapped(gpu, dst, done, false);
		if (!page)
			continue;
		map = kmap_local_page(page);
		map[offset / 4] = pattern[done / 4 & 1];
		kunmap_local(map);
	}
}

static u32 fake_mthd(struct fake_gpu *gpu, u32 mthd)
{
	return gpu->mthd[mthd / 4];
}

static void fake_log_copy(struct fake_gpu *gpu, const struct fake_side *dst,
			  const struct fake_side *src, u64 size, bool fill)
{
	struct fake_event *event;

	event = fake_log(gpu, fill ? FAKE_CLEAR :
			 dst->vram ? FAKE_COPY_TO_VRAM : FAKE_COPY_TO_HOST);
	event->addr = fill || src->vram ? dst->addr : src->addr;
	event->vram = dst->vram ? dst->addr : src->addr;
	event->size = size;
}

/* What LAUNCH_DMA does with the methods before it */
static void fake_launch(struct fake_gpu *gpu, u32 launch)
{
	bool fill = launch & BIT(10);		/* REMAP_ENABLE */
	u32 lines = launch & BIT(9) ? fake_mthd(gpu, NVA0B5_LINE_COUNT) : 1;
	u64 length = fake_mthd(gpu, NVA0B5_LINE_LENGTH_IN);
	u32 remap = fake_mthd(gpu, NVA0B5_SET_REMAP_COMPONENTS);
	u32 pattern[2] = { fake_mthd(gpu, NVA0B5_SET_REMAP_CONST_A),
			   fake_mthd(gpu, NVA0B5_SET_REMAP_CONST_B) };
	struct fake_side src = {
		.vram = !(fake_mthd(gpu, NVA0B5_SET_SRC_PHYS_MODE) & 3),
		.addr = (u64)fake_mthd(gpu, NVA0B5_OFFSET_IN_UPPER) << 32 |
			fake_mthd(gpu, NVA0B5_OFFSET_IN_LOWER),
	};
	struct fake_side dst = {
		.vram = !(fake_mthd(gpu, NVA0B5_SET_DST_PHYS_MODE) & 3),
		.addr = (u64)fake_mthd(gpu, NVA0B5_OFFSET_OUT_UPPER) << 32 |
			fake_mthd(gpu, NVA0B5_OFFSET_OUT_LOWER),
	};
	u64 size;

	if (fill) /* components of so many bytes, so many of them */
		length *= ((remap >> 16 & 3) + 1) * ((remap >> 24 & 3) + 1);
	size = lines * length;
	if (!fill && gpu->before_copy)
		gpu->before_copy(gpu, dst.vram);
	mutex_lock(&gpu->lock);
	fake_log_copy(gpu, &dst, &src, size, fill);
	if (lines > 1 && (length != fake_mthd(gpu, NVA0B5_PITCH_IN) ||
			  length != fake_mthd(gpu, NVA0B5_PITCH_OUT)))
		fake_violation(gpu, FAKE_WILD_HOST, "lines with gaps");
	else if (fill)
		fake_fill(gpu, &dst, pattern, size);
	else
		fake_copy(gpu, &dst, &src, size);
	mutex_unlock(&gpu->lock);
	if (!fill && gpu->after_copy)
		gpu->after_copy(gpu, dst.vram);
}

static void fake_method(struct fake_gpu *gpu, u32 mthd, u32 data)
{
	if (mthd / 4 < ARRAY_SIZE(gpu->mthd))
		gpu->mthd[mthd / 4] = data;
	if (mthd == NVA0B5_LAUNCH_DMA)
		fake_launch(gpu, data);
}

/* Execute what was pushed: headers of the 906F format, and their data */
static void fake_execute(struct fake_gpu *gpu, const u32 *word, const u32 *end)
{
	while (word < end) {
		u32 header = *word++;
		u32 mthd = (header & 0xfff) << 2;
		u32 count = header >> 16 & 0x1fff;
		u32 op = header >> 29;

		if (op == 4) {	/* immediate data */
			fake_method(gpu, mthd, count);
			continue;
		}
		for (; count && word < end; count--) {
			fake_method(gpu, mthd, *word++);
			if (op == 1)
				mthd += 4;
		}
	}
}

static struct fake_gpu *fake_push_gpu(struct nvif_push *push)
{
	struct nouveau_channel *chan =
		container_of(push, struct nouveau_channel, chan.push);

	return fake_gpu(chan->cli->drm);
}

/* TTM holds this mutex while it pushes to the same channel. */
static void fake_check_locked(struct fake_gpu *gpu)
{
	if (!mutex_is_locked(&gpu->drm->client.mutex))
		fake_violation(gpu, FAKE_UNLOCKED_CHANNEL, "%s",
			       current->comm);
}

static void fake_push_begin(struct fake_gpu *gpu, u32 *begin)
{
	struct nvif_push *push = &gpu->chan->chan.push;

	push->bgn = begin;
	push->cur = begin;
	push->end = begin;
}

/* A channel that hangs keeps what fits, for fake_go_on(). */
static void fake_push_kick(struct nvif_push *push)
{
	struct fake_gpu *gpu = fake_push_gpu(push);
	u32 *begin = push->bgn, *end = push->cur, *next = gpu->push;

	fake_check_locked(gpu);
	if (gpu->fence_mode == FAKE_FENCE_HANGS &&
	    end < gpu->push + PUSH_WORDS / 2)
		next = end;
	else if (gpu->fence_mode != FAKE_FENCE_HANGS &&
		 gpu->fence_mode != FAKE_FENCE_KILLED)
		fake_execute(gpu, begin, end);
	fake_push_begin(gpu, next);
}

static int fake_push_wait(struct nvif_push *push, u32 size)
{
	struct fake_gpu *gpu = fake_push_gpu(push);

	fake_check_locked(gpu);
	if (!gpu->copies_left)
		return -ENOSPC;
	if (gpu->copies_left > 0)
		gpu->copies_left--;
	if (push->cur + size > gpu->push + PUSH_WORDS)
		fake_push_kick(push);
	push->end = push->cur + size;
	return 0;
}

static int fake_fence_emit(struct nouveau_fence *fence)
{
	struct nouveau_channel *chan = unrcu_pointer(fence->channel);
	struct fake_gpu *gpu = fake_gpu(chan->cli->drm);
	struct nvif_push *push = &chan->chan.push;

	if (gpu->fence_mode == FAKE_FENCE_NOT_EMITTED)
		return -EBUSY;
	if (push->cur != push->bgn)
		fake_push_kick(push);
	if (gpu->fence_mode == FAKE_FENCE_GOOD)
		WRITE_ONCE(gpu->done, fence->base.seqno);
	if (gpu->fence_mode == FAKE_FENCE_KILLED)
		schedule_delayed_work(&gpu->kill, HZ / 20);
	return 0;
}

static u32 fake_fence_read(struct nouveau_channel *chan)
{
	return READ_ONCE(fake_gpu(chan->cli->drm)->done);
}

static void fake_kill(struct work_struct *work)
{
	struct fake_gpu *gpu = container_of(to_delayed_work(work),
					    struct fake_gpu, kill);

	nouveau_fence_context_kill(gpu->chan->fence, -EIO);
}

/* The channel works again, as after a reset of the GPU. */
void fake_resurrect(struct fake_gpu *gpu)
{
	struct nouveau_fence_chan *fctx = gpu->chan->fence;

	cancel_delayed_work_sync(&gpu->kill);
	nouveau_fence_context_kill(fctx, -EIO);
	fctx->killed = 0;
	WRITE_ONCE(gpu->done, fctx->sequence);
	gpu->fence_mode = FAKE_FENCE_GOOD;
	gpu->copies_left = -1;
	fake_push_begin(gpu, gpu->push);
}

/* The channel, which hung, executes what was pushed meanwhile. */
void fake_go_on(struct fake_gpu *gpu)
{
	struct nouveau_fence_chan *fctx = gpu->chan->fence;

	fake_execute(gpu, gpu->push, gpu->chan->chan.push.bgn);
	fake_push_begin(gpu, gpu->push);
	gpu->fence_mode = FAKE_FENCE_GOOD;
	WRITE_ONCE(gpu->done, fctx->sequence);
}

int fake_chan_init(struct fake_gpu *gpu)
{
	struct nouveau_fence_chan *fctx = kzalloc_obj(*fctx);

	gpu->chan = kzalloc_obj(*gpu->chan);
	gpu->push = kcalloc(PUSH_WORDS, sizeof(*gpu->push), GFP_KERNEL);
	if (!fctx || !gpu->chan || !gpu->push) {
		kfree(gpu->push);
		kfree(gpu->chan);
		kfree(fctx);
		return -ENOMEM;
	}
	gpu->chan->cli = &gpu->drm->client;
	gpu->chan->chan.push.bgn = gpu->push;
	gpu->chan->chan.push.cur = gpu->push;
	gpu->chan->chan.push.seg = gpu->push + PUSH_WORDS;
	gpu->chan->chan.push.end = gpu->push;
	gpu->chan->chan.push.wait = fake_push_wait;
	gpu->chan->chan.push.kick = fake_push_kick;
	nouveau_fence_context_new(gpu->chan, fctx);
	fctx->emit = fake_fence_emit;
	fctx->read = fake_fence_read;
	gpu->chan->fence = fctx;
	INIT_DELAYED_WORK(&gpu->kill, fake_kill);
	gpu->drm->cechan = gpu->chan;
	gpu->drm->ttm.chan = gpu->chan;
	gpu->drm->ttm.copy.oclass = PASCAL_DMA_COPY_A;
	return 0;
}

void fake_chan_fini(struct fake_gpu *gpu)
{
	struct nouveau_fence_chan *fctx = gpu->chan->fence;

	cancel_delayed_work_sync(&gpu->kill);
	nouveau_fence_context_del(fctx);
	nouveau_fence_context_free(fctx);
	kfree(gpu->push);
	kfree(gpu->chan);
}

void fake_vram_fini(struct fake_gpu *gpu)
{
	struct fake_bo *bo, *next;

	list_for_each_entry_safe(bo, next, &gpu->bos, head)
		fake_bo_free(bo);
	xa_destroy(&gpu->vram);
}
