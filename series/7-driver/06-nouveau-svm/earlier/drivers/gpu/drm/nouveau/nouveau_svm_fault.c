// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Faults of the GPU in one address space */
#include <linux/bitmap.h>
#include <linux/sched/mm.h>

#include "nouveau_svm_priv.h"

/* Serve what @op wants in its block. */
static int nouveau_svm_serve_block(struct nouveau_svm_op *op)
{
	int ret;

	if (nouveau_svm_is_served(op))
		return 0;
	ret = nouveau_svm_mirror(op);
	return ret ?: nouveau_svm_make_exclusive(op);
}

/* Serve faults whose pages are all in @span. */
static int nouveau_svm_serve(struct nouveau_svm_op *op,
			     const struct nouveau_svm_fault *faults,
			     unsigned int nr,
			     const struct nouveau_svm_span *span)
{
	int ret;

	op->window = nouveau_svm_window(faults, nr, span);
	op->block = nouveau_svm_block_get(op->svmm, span);
	if (IS_ERR(op->block))
		return PTR_ERR(op->block);
	nouveau_svm_want(faults, nr, nouveau_svm_block_base(op->block),
			 NOUVEAU_SVM_BLOCK_PAGES, op->want);
	op->write = false;
	for (unsigned int i = 0; i < nr; i++)
		op->write |= faults[i].access >= NOUVEAU_SVM_WRITE;
	ret = nouveau_svm_serve_block(op);
	nouveau_svm_block_put(op->block);
	return ret;
}

static unsigned int nouveau_svm_in_span(const struct nouveau_svm_fault *faults,
					unsigned int nr,
					const struct nouveau_svm_span *span)
{
	unsigned int i = 0;

	while (i < nr && faults[i].addr >= span->start &&
	       faults[i].addr < span->end)
		i++;
	return i;
}

/*
 * Serve the first faults of a block together. If that fails, each by itself, so
 * that a bad access to one page is not what kills a good one to another.
 *
 * Returns how many were served; of these, @cancel gets those that failed.
 */
static unsigned int nouveau_svm_serve_some(struct nouveau_svm_op *op,
					   unsigned int first, unsigned int nr,
					   unsigned long *cancel, bool *replay)
{
	struct nouveau_svmm *svmm = op->svmm;
	const struct nouveau_svm_fault *faults = svmm->faults + first;
	enum nouveau_svm_verdict verdict;
	struct nouveau_svm_span span;
	bool apart;
	int ret;

	if (!nouveau_svm_managed(faults->addr, svmm->unmanaged_start,
				 svmm->unmanaged_end, svmm->mm->task_size,
				 &span)) {
		nr = 1;
		ret = -EFAULT;
	} else {
		nr = nouveau_svm_in_span(faults, nr, &span);
		ret = nouveau_svm_serve(op, faults, nr, &span);
	}
	apart = nr > 1 && nouveau_svm_verdict(ret, NOUVEAU_SVM_READ) ==
			  NOUVEAU_SVM_CANCEL;
	for (unsigned int i = 0; i < nr; i++) {
		if (apart)
			ret = nouveau_svm_serve(op, faults + i, 1, &span);
		verdict = nouveau_svm_verdict(ret, faults[i].access);
		__assign_bit(first + i, cancel, verdict == NOUVEAU_SVM_CANCEL);
		*replay |= verdict == NOUVEAU_SVM_REPLAY;
	}
	return nr;
}

static bool nouveau_svm_serve_all(struct nouveau_svmm *svmm,
				  unsigned long *cancel)
{
	bool replay = false;
	unsigned int first = 0, nr, end;

	while (first < svmm->nr) {
		nr = nouveau_svm_same_block(svmm->faults + first,
					    svmm->nr - first);
		for (end = first + nr; first < end;)
			first += nouveau_svm_serve_some(svmm->op, first,
							end - first, cancel,
							&replay);
	}
	return replay;
}

/*
 * Tell the GPU what has become of its faults, and take new ones. If it was
 * stopped meanwhile, that may be why one has failed, as no page of VRAM can be
 * copied then. Resuming repeats all accesses, so none is cancelled.
 */
static void nouveau_svm_answer(struct nouveau_svmm *svmm,
			       const unsigned long *cancel, bool replay)
{
	struct nouveau_svm *svm = svmm->svm;
	unsigned int i;

	guard(mutex)(&svm->mutex);
	if (!svm->stopped) {
		for_each_set_bit(i, cancel, svmm->was_stopped ? 0 : svmm->nr) {
			/* The instance may be another's by now. */
			if (nouveau_svm_find(svm, svmm->faults[i].inst) == svmm)
				nouveau_svm_gpu_cancel(svm, &svmm->faults[i]);
		}
		if (replay || svmm->missed)
			nouveau_svm_gpu_replay(svm);
	}
	svmm->nr = 0;
	svmm->missed = false;
	svmm->was_stopped = false;
	svmm->busy = false;
}

void nouveau_svm_faults_work(struct work_struct *work)
{
	struct nouveau_svmm *svmm =
		container_of(work, struct nouveau_svmm, work);
	DECLARE_BITMAP(cancel, NOUVEAU_SVM_BATCH) = {};
	bool replay = false;

	if (mmget_not_zero(svmm->mm)) {
		nouveau_svm_blocks_prune(svmm);
		replay = nouveau_svm_serve_all(svmm, cancel);
		if (!READ_ONCE(svmm->vmm))
			nouveau_svm_evict(svmm);
		mmput(svmm->mm);
	} else {
		bitmap_set(cancel, 0, svmm->nr);
	}
	nouveau_svm_answer(svmm, cancel, replay);
	nouveau_svmm_put(svmm);
}
