// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what happens during a job, by probes: what the walks of page tables
 * pass, and what is allocated for user space and zeroed. A walk that stops, and
 * is continued there, passes each page once; what one walk passes after another
 * counts again.
 */
#include <linux/cleanup.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched.h>

#ifdef OUR_WALKS
#include "walk.h"
#endif

#include "hmm_bench.h"

#define NR_WATCHED	8

/* One job at a time; probes see only the task that runs it. */
static DEFINE_MUTEX(events_lock);
static struct task_struct *counted_task;
static u64 counted[HMM_BENCH_NR_EVENTS];

static void passed(unsigned long start, unsigned long end)
{
	if (end > start)
		counted[HMM_BENCH_WALKED] += (end - start) >> PAGE_SHIFT;
}

/* What a call of a watched function is about, from its entry to its return */
struct watched_call {
	unsigned long start;
	unsigned long end;
	const void *object;
};

typedef int (*watch_t)(struct kretprobe_instance *instance,
		       struct pt_regs *regs);

/**
 * struct watched - a function
 * @symbols: its name, and others that the compiler may have given to it
 * @entered: called with its arguments; 0 if it must be called on return
 * @returned: called with its result
 */
struct watched {
	const char *symbols[4];
	watch_t entered;
	watch_t returned;
};

#define argument(regs, n)	regs_get_kernel_argument(regs, n)

static struct watched_call *call_of(struct kretprobe_instance *instance)
{
	return (struct watched_call *)instance->data;
}

#ifdef OUR_WALKS
static void forget_stopped_walk(void)
{
}

static int walk_entered(struct kretprobe_instance *instance,
			struct pt_regs *regs)
{
	const struct hmm_walk *walk = (void *)argument(regs, 0);

	call_of(instance)->object = walk;
	call_of(instance)->start = walk->next;
	return 0;
}

static int walk_returned(struct kretprobe_instance *instance,
			 struct pt_regs *regs)
{
	const struct hmm_walk *walk = call_of(instance)->object;

	passed(call_of(instance)->start, walk->next);
	return 0;
}

static int collect_entered(struct kretprobe_instance *instance,
			   struct pt_regs *regs)
{
	const struct migrate_vma *migrate = (void *)argument(regs, 0);

	passed(migrate->start, migrate->end);
	return 1;
}

static int answering_entered(struct kretprobe_instance *instance,
			     struct pt_regs *regs)
{
	const struct migrate_vma *migrate = (void *)argument(regs, 0);

	call_of(instance)->start = migrate->start;
	return 0;
}

static int scan_entered(struct kretprobe_instance *instance,
			struct pt_regs *regs)
{
	call_of(instance)->start = argument(regs, 2);
	return 0;
}

/* The result is the address where it has stopped. */
static int stopped(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	passed(call_of(instance)->start, regs_return_value(regs));
	return 0;
}
#else
/* Where the walk has begun that has stopped before its end, or 0 */
static unsigned long stopped_walk;

static void forget_stopped_walk(void)
{
	stopped_walk = 0;
}

static int walk_entered(struct kretprobe_instance *instance,
			struct pt_regs *regs)
{
	call_of(instance)->start = argument(regs, 1);
	call_of(instance)->end = argument(regs, 2);
	if (stopped_walk)
		passed(stopped_walk, call_of(instance)->start);
	stopped_walk = 0;
	return 0;
}

static int walk_returned(struct kretprobe_instance *instance,
			 struct pt_regs *regs)
{
	if (regs_return_value(regs))
		stopped_walk = call_of(instance)->start;
	else
		passed(call_of(instance)->start, call_of(instance)->end);
	return 0;
}

static int collect_entered(struct kretprobe_instance *instance,
			   struct pt_regs *regs)
{
	passed(argument(regs, 1), argument(regs, 2));
	return 1;
}
#endif

static int allocation_entered(struct kretprobe_instance *instance,
			      struct pt_regs *regs)
{
	unsigned long pages = 1UL << (unsigned int)argument(regs, 1);
	gfp_t gfp = (__force gfp_t)argument(regs, 0);

	/* Page tables and the kernel's own memory do not move. */
	if (!(gfp & __GFP_MOVABLE))
		return 1;
	counted[HMM_BENCH_ALLOCATED] += pages;
	if (gfp & __GFP_ZERO)
		counted[HMM_BENCH_ZEROED] += pages << PAGE_SHIFT;
	return 1;
}

static int zeroing_entered(struct kretprobe_instance *instance,
			   struct pt_regs *regs)
{
	counted[HMM_BENCH_ZEROED] +=
		folio_size((struct folio *)argument(regs, 0));
	return 1;
}

static const struct watched all_watched[] = {
#ifdef OUR_WALKS
	{ { "hmm_walk_continue" }, walk_entered, walk_returned },
	{ { "migrate_collect" }, collect_entered },
	{ { "migrate_collect_answering" }, answering_entered, stopped },
	{ { "hmm_migrate_scan_table", "hmm_migrate_scan_table.isra.0",
	    "hmm_migrate_scan_table.constprop.0" }, scan_entered, stopped },
#else
	{ { "walk_page_range" }, walk_entered, walk_returned },
	{ { "walk_page_range_vma" }, collect_entered },
#endif
	{ { "__alloc_frozen_pages_noprof" }, allocation_entered },
	{ { "folio_zero_user" }, zeroing_entered },
};

static_assert(ARRAY_SIZE(all_watched) <= NR_WATCHED);

static struct kretprobe probes[NR_WATCHED];

static const struct watched *watched_by(struct kretprobe_instance *instance)
{
	return &all_watched[get_kretprobe(instance) - probes];
}

static int entered(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (current != counted_task)
		return 1;
	return watched_by(instance)->entered(instance, regs);
}

static int returned(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	return watched_by(instance)->returned(instance, regs);
}

static int watch(const struct watched *watched, struct kretprobe *probe)
{
	const char * const *symbol = watched->symbols;
	int rc = -ENOENT;

	for (; rc == -ENOENT && *symbol; symbol++) {
		*probe = (struct kretprobe){
			.kp.symbol_name = *symbol,
			.entry_handler = entered,
			.handler = returned,
			.data_size = sizeof(struct watched_call),
			.maxactive = 16,
		};
		rc = register_kretprobe(probe);
	}
	return rc;
}

static void unwatch(unsigned int nr)
{
	while (nr--)
		unregister_kretprobe(&probes[nr]);
}

int bench_events_begin(void)
{
	unsigned int i;
	int rc;

	mutex_lock(&events_lock);
	memset(counted, 0, sizeof(counted));
	forget_stopped_walk();
	for (i = 0; i < ARRAY_SIZE(all_watched); i++) {
		rc = watch(&all_watched[i], &probes[i]);
		if (!rc)
			continue;
		pr_err("hmm_bench: no probe at %s: %d\n",
		       all_watched[i].symbols[0], rc);
		unwatch(i);
		mutex_unlock(&events_lock);
		return rc;
	}
	counted_task = current;
	return 0;
}

void bench_events_end(u64 *counts)
{
	counted_task = NULL;
	unwatch(ARRAY_SIZE(all_watched));
	memcpy(counts, counted, sizeof(counted));
	mutex_unlock(&events_lock);
}
