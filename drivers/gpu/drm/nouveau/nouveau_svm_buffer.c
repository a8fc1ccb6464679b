// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The buffer in which the GPU reports faults */
#include <linux/iopoll.h>
#include <linux/sort.h>

#include <nvif/clb069.h>
#include <nvif/class.h>

#include "nouveau_drv.h"
#include "nouveau_svm_priv.h"

#define NOUVEAU_SVM_FAULT_SIZE	(NOUVEAU_SVM_FAULT_WORDS * sizeof(u32))
#define NOUVEAU_SVM_VALID_WORD	(NOUVEAU_SVM_FAULT_WORDS - 1)

/*
 * Take an entry out of the buffer. The GPU counts it before it is written, and
 * writes the word with the valid bit last; that takes it a moment at most.
 */
static bool nouveau_svm_buffer_take(struct nouveau_svm_buffer *buffer,
				    u32 index, struct nouveau_svm_fault *fault)
{
	struct nvif_object *object = &buffer->object;
	u32 entry = index * NOUVEAU_SVM_FAULT_SIZE;
	u32 last = entry + NOUVEAU_SVM_VALID_WORD * sizeof(u32);
	u32 words[NOUVEAU_SVM_FAULT_WORDS], info;

	if (read_poll_timeout_atomic(nvif_rd32, info,
				     nouveau_svm_fault_valid(info), 1, 10,
				     false, object, last))
		return false;
	rmb();	/* the other words after the valid bit */
	for (unsigned int i = 0; i < NOUVEAU_SVM_VALID_WORD; i++)
		words[i] = nvif_rd32(object, entry + i * sizeof(u32));
	words[NOUVEAU_SVM_VALID_WORD] = info;
	*fault = nouveau_svm_decode(words);
	nvif_wr32(object, last, info & ~NOUVEAU_SVM_FAULT_VALID);
	return true;
}

/*
 * Read what there is. Entries that are not written yet are left for the next
 * time: without them, their accesses would never be repeated.
 */
static unsigned int nouveau_svm_buffer_read(struct nouveau_svm *svm, bool *more)
{
	struct nouveau_svm_buffer *buffer = &svm->buffer;
	struct nvif_object *device = &svm->drm->client.device.object;
	u32 put = nvif_rd32(device, buffer->putaddr);
	u32 get = nvif_rd32(device, buffer->getaddr);
	unsigned int nr = 0;

	*more = false;
	/* Registers of a GPU that has fallen off its bus read as all ones. */
	if (get >= buffer->entries || put >= buffer->entries)
		return 0;
	while (get != put) {
		if (!nouveau_svm_buffer_take(buffer, get, &buffer->faults[nr])) {
			*more = true;
			break;
		}
		nr++;
		get = (get + 1) % buffer->entries;
	}
	nvif_wr32(device, buffer->getaddr, get);
	return nr;
}

/*
 * Give an address space faults of one of its channels. If it still serves
 * others, or there are too many, they are dropped: the replay that it ends with
 * brings them again.
 */
static void nouveau_svm_give(struct nouveau_svmm *svmm,
			     const struct nouveau_svm_fault *faults,
			     unsigned int nr)
{
	unsigned int room = svmm->busy ? 0 : NOUVEAU_SVM_BATCH - svmm->nr;

	if (nr > room)
		svmm->missed = true;
	nr = min(nr, room);
	memcpy(svmm->faults + svmm->nr, faults, nr * sizeof(*faults));
	svmm->nr += nr;
}

/* Have the faults that were given served. */
static void nouveau_svm_begin(struct nouveau_svm *svm)
{
	struct nouveau_svmm *svmm;

	list_for_each_entry(svmm, &svm->svmms, head) {
		if (svmm->busy || !svmm->nr)
			continue;
		svmm->busy = true;
		kref_get(&svmm->ref);
		queue_work(svm->queue, &svmm->work);
	}
}

static void nouveau_svm_dispatch(struct nouveau_svm *svm, unsigned int nr)
{
	const struct nouveau_svm_fault *faults = svm->buffer.faults;
	struct nouveau_svmm *svmm;
	unsigned int first, end;

	for (first = 0; first < nr; first = end) {
		svmm = nouveau_svm_find(svm, faults[first].inst);
		for (end = first; end < nr &&
		     faults[end].inst == faults[first].inst; end++) {
			/* A channel without shared virtual memory */
			if (!svmm)
				nouveau_svm_gpu_cancel(svm, &faults[end]);
		}
		if (svmm)
			nouveau_svm_give(svmm, faults + first, end - first);
	}
}

static void nouveau_svm_buffer_work(struct work_struct *work)
{
	struct nouveau_svm *svm = container_of(to_delayed_work(work),
					       struct nouveau_svm, buffer.work);
	unsigned int nr;
	bool more;

	guard(mutex)(&svm->mutex);
	if (svm->stopped)
		return;
	nr = nouveau_svm_buffer_read(svm, &more);
	sort(svm->buffer.faults, nr, sizeof(*svm->buffer.faults),
	     nouveau_svm_fault_cmp, NULL);
	nouveau_svm_dispatch(svm, nr);
	nouveau_svm_begin(svm);
	if (more)
		schedule_delayed_work(&svm->buffer.work, 1);
}

static int nouveau_svm_event(struct nvif_event *event, void *repv, u32 repc)
{
	struct nouveau_svm_buffer *buffer =
		container_of(event, struct nouveau_svm_buffer, notify);

	schedule_delayed_work(&buffer->work, 0);
	return NVIF_EVENT_KEEP;
}

/* Let the GPU report faults, and look for those that it has reported. */
int nouveau_svm_buffer_start(struct nouveau_svm *svm)
{
	int ret = nvif_event_allow(&svm->buffer.notify);

	if (!ret)
		schedule_delayed_work(&svm->buffer.work, 0);
	return ret;
}

/*
 * Drop the entries that are left, as resuming replays all accesses. The GPU may
 * begin at the start of the buffer then, so none may seem valid.
 */
static void nouveau_svm_buffer_forget(struct nouveau_svm *svm)
{
	struct nouveau_svm_buffer *buffer = &svm->buffer;
	struct nvif_object *device = &svm->drm->client.device.object;
	u32 put = nvif_rd32(device, buffer->putaddr);

	if (put < buffer->entries)
		nvif_wr32(device, buffer->getaddr, put);
	for (u32 i = 0; i < buffer->entries; i++)
		nvif_wr32(&buffer->object, i * NOUVEAU_SVM_FAULT_SIZE +
			  NOUVEAU_SVM_VALID_WORD * sizeof(u32), 0);
}

void nouveau_svm_buffer_stop(struct nouveau_svm *svm)
{
	nvif_event_block(&svm->buffer.notify);
	cancel_delayed_work_sync(&svm->buffer.work);
	nouveau_svm_buffer_forget(svm);
}

static int nouveau_svm_buffer_map(struct nouveau_svm_buffer *buffer,
				  const struct nvif_clb069_v0 *args)
{
	int ret = nvif_object_map(&buffer->object, NULL, 0);

	if (ret)
		return ret;
	buffer->entries = args->entries;
	buffer->getaddr = args->get;
	buffer->putaddr = args->put;
	buffer->faults = kvcalloc(buffer->entries, sizeof(*buffer->faults),
				  GFP_KERNEL);
	if (!buffer->faults)
		return -ENOMEM;
	return nvif_event_ctor(&buffer->object, "svmFault", 0,
			       nouveau_svm_event, true, NULL, 0,
			       &buffer->notify);
}

int nouveau_svm_buffer_init(struct nouveau_svm *svm)
{
	static const struct nvif_mclass classes[] = {
		{ VOLTA_FAULT_BUFFER_A, 0 },
		{ MAXWELL_FAULT_BUFFER_A, 0 },
		{}
	};
	struct nouveau_svm_buffer *buffer = &svm->buffer;
	struct nvif_object *device = &svm->drm->client.device.object;
	struct nvif_clb069_v0 args = {};
	int ret;

	INIT_DELAYED_WORK(&buffer->work, nouveau_svm_buffer_work);
	ret = nvif_mclass(device, classes);
	if (ret < 0)
		return ret;
	ret = nvif_object_ctor(device, "svmFaultBuffer", 0, classes[ret].oclass,
			       &args, sizeof(args), &buffer->object);
	if (ret)
		return ret;
	ret = nouveau_svm_buffer_map(buffer, &args);
	if (!ret)
		ret = nouveau_svm_buffer_start(svm);
	if (ret)
		nouveau_svm_buffer_fini(svm);
	return ret;
}

/* Context: stopped, if it was started. */
void nouveau_svm_buffer_fini(struct nouveau_svm *svm)
{
	struct nouveau_svm_buffer *buffer = &svm->buffer;

	nvif_event_dtor(&buffer->notify);
	nvif_object_dtor(&buffer->object);
	kvfree(buffer->faults);
	buffer->faults = NULL;
}
