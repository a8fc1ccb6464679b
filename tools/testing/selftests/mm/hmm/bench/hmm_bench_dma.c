// SPDX-License-Identifier: GPL-2.0
/*
 * DMA maps behind an IOMMU. Instructions do not tell what its registers cost:
 * each access to one is a few instructions here, and a microsecond elsewhere.
 */
#include <errno.h>

#include "hmm_bench.h"

#define REPEAT		8
#define REPEAT_GIB	2

#define KIB		1024UL
#define GIB		(1024 * MIB)

static int measure_dma(const struct row *row, double *value)
{
	unsigned long size = row->count;
	struct hmm_bench_call args = {
		.op = row->op,
		.npages = size / PAGE_BYTES,
		.repeat = size >= GIB ? REPEAT_GIB : REPEAT,
		.flags = row->flags,
		.step = 1,
	};
	unsigned long mapped = size < HUGE_BYTES ? HUGE_BYTES : size;
	char *at = map_present(row->kind, mapped);
	int rc;

	if (!at)
		return -EIO;
	args.addr = (uintptr_t)at;
	rc = call(&args);
	munmap(at, mapped);
	*value = (double)args.cycles * PAGE_BYTES / size;
	return rc;
}

#define MAP(SIZE)	BASE_TIMES, 0.25, measure_dma,			\
			.op = HMM_BENCH_DMA_MAP, .count = SIZE
#define UNMAP(SIZE)	BASE_TIMES, 0.25, measure_dma,			\
			.op = HMM_BENCH_DMA_UNMAP, .count = SIZE
#define APART(OP)	NO_GOAL, 0, measure_dma,			\
			.op = HMM_BENCH_DMA_##OP, .count = 64 * KIB
#define ALONE(OP)	NO_GOAL, 0, measure_dma,			\
			.op = HMM_BENCH_DMA_##OP, .count = PAGE_BYTES,	\
			.kind = PAGES_4K, .flags = HMM_BENCH_LAYER
#define WHOLE(OP)	NO_GOAL, 0, measure_dma,			\
			.op = HMM_BENCH_DMA_##OP, .count = GIB,		\
			.flags = HMM_BENCH_WHOLE

const struct row dma_rows[] = {
	{ "dma-map-4k", "map one page", MAP(PAGE_BYTES), .kind = PAGES_4K },
	{ "dma-map-4k-floor", " dma_iova_link() and the sync alone", ALONE(MAP) },
	{ "dma-map-64k", "map 64 KiB", MAP(64 * KIB), .kind = THP },
	{ "dma-map-apart", " no two pages contiguous", APART(MAP), .kind = PAGES_APART },
	{ "dma-map-2m", "map 2 MiB", MAP(HUGE_BYTES), .kind = THP },
	{ "dma-map-1g", "map 1 GiB", MAP(GIB), .kind = THP },
	{ "dma-map-whole", " never unmapped in parts", WHOLE(MAP), .kind = THP },
	{ "dma-unmap-4k", "unmap one page", UNMAP(PAGE_BYTES), .kind = PAGES_4K },
	{ "dma-unmap-4k-floor", " dma_iova_unlink() alone", ALONE(UNMAP) },
	{ "dma-unmap-64k", "unmap 64 KiB", UNMAP(64 * KIB), .kind = THP },
	{ "dma-unmap-apart", " no two pages contiguous", APART(UNMAP), .kind = PAGES_APART },
	{ "dma-unmap-2m", "unmap 2 MiB", UNMAP(HUGE_BYTES), .kind = THP },
	{ "dma-unmap-1g", "unmap 1 GiB", UNMAP(GIB), .kind = THP },
	{ "dma-unmap-whole", " never unmapped in parts", WHOLE(UNMAP), .kind = THP },
	{ }
};
