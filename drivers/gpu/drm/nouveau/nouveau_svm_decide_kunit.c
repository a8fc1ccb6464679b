// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The decisions of nouveau's SVM, against tables of what the hardware defines
 * and against slow models that look at one page at a time.
 */
#include <kunit/test.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/string.h>

#include "nouveau_svm_decide.h"

#define NR_ROUNDS	4000
#define NR_FAULTS	8
#define NR_ACCESS	(NOUVEAU_SVM_ATOMIC + 1)

#define BLOCK		((u64)SZ_2M)
/* A block that the tests use: its addresses and page numbers exceed 32 bits. */
#define BASE		(0x500000000000ULL + 3 * BLOCK)
#define UNTOUCHED	0xa5

static u32 below(struct rnd_state *rnd, u32 limit)
{
	return prandom_u32_state(rnd) % limit;
}

static void entries_of_32_bytes_end_with_the_valid_bit(struct kunit *test)
{
	unsigned int bit;

	for (bit = 0; bit < 32; bit++)
		KUNIT_EXPECT_EQ(test, nouveau_svm_fault_valid(1U << bit),
				bit == 31);
	KUNIT_EXPECT_EQ(test, 4 * NOUVEAU_SVM_FAULT_WORDS, 32);
	KUNIT_EXPECT_FALSE(test, nouveau_svm_fault_valid(0x7fffffff));
	KUNIT_EXPECT_TRUE(test, nouveau_svm_fault_valid(0xffffffff));
}

/* The field of @width bits from bit @low of the entry, taken bit by bit. */
static u64 field(const u32 *words, unsigned int low, unsigned int width)
{
	u64 value = 0;
	unsigned int i;

	for (i = 0; i < width; i++)
		if (words[(low + i) / 32] >> (low + i) % 32 & 1)
			value |= (u64)1 << i;
	return value;
}

static void expect_decoded(struct kunit *test, const u32 *words)
{
	static const u8 access[16] = {
		NOUVEAU_SVM_READ, NOUVEAU_SVM_WRITE, NOUVEAU_SVM_ATOMIC,
		NOUVEAU_SVM_PREFETCH, NOUVEAU_SVM_WRITE, NOUVEAU_SVM_WRITE,
		NOUVEAU_SVM_WRITE, NOUVEAU_SVM_WRITE, NOUVEAU_SVM_WRITE,
		NOUVEAU_SVM_WRITE, NOUVEAU_SVM_WRITE, NOUVEAU_SVM_WRITE,
		NOUVEAU_SVM_WRITE, NOUVEAU_SVM_WRITE, NOUVEAU_SVM_WRITE,
		NOUVEAU_SVM_WRITE,
	};
	struct nouveau_svm_fault fault = nouveau_svm_decode(words);
	const unsigned int info = 7 * 32;

	KUNIT_EXPECT_EQ(test, fault.inst, field(words, 0, 64));
	KUNIT_EXPECT_EQ(test, fault.addr, field(words, 64, 64));
	KUNIT_EXPECT_EQ(test, fault.gpc, field(words, info + 24, 5));
	KUNIT_EXPECT_EQ(test, fault.hub, field(words, info + 20, 1));
	KUNIT_EXPECT_EQ(test, fault.client, field(words, info + 8, 7));
	KUNIT_EXPECT_EQ(test, fault.reason, field(words, info, 5));
	KUNIT_EXPECT_EQ(test, fault.access, access[field(words, info + 16, 4)]);
}

static void each_bit_of_an_entry_is_decoded(struct kunit *test)
{
	u32 words[NOUVEAU_SVM_FAULT_WORDS] = {};
	unsigned int bit;

	expect_decoded(test, words);
	for (bit = 0; bit < 32 * NOUVEAU_SVM_FAULT_WORDS; bit++) {
		words[bit / 32] = 1U << bit % 32;
		expect_decoded(test, words);
		words[bit / 32] = 0;
	}
	memset(words, 0xff, sizeof(words));
	for (bit = 0; bit < 32 * NOUVEAU_SVM_FAULT_WORDS; bit++) {
		words[bit / 32] = ~(1U << bit % 32);
		expect_decoded(test, words);
		words[bit / 32] = ~0U;
	}
}

static void each_kind_of_access_is_decoded(struct kunit *test)
{
	u32 words[NOUVEAU_SVM_FAULT_WORDS] = {};
	unsigned int access;

	for (access = 0; access < 16; access++) {
		words[7] = access << 16;
		expect_decoded(test, words);
	}
}

static int sign(int number)
{
	return (number > 0) - (number < 0);
}

/* Each array ascends; neighbours differ in bits that a truncation would lose. */
static void faults_are_ordered(struct kunit *test)
{
	static const u64 insts[] = {
		0, 1, 1ULL << 31, 1ULL << 32, 1ULL << 63, ~0ULL,
	};
	static const u64 pages[] = {
		0, PAGE_SIZE, 1ULL << 31, 1ULL << 32, 5ULL << 32,
		1ULL << 63, ~0ULL - PAGE_SIZE + 1,
	};
	const unsigned int nr_pages = ARRAY_SIZE(pages);
	const unsigned int nr = ARRAY_SIZE(insts) * nr_pages * NR_ACCESS;
	unsigned int i, j;

	/* A number is a fault's rank; in each page the last access is first. */
	for (i = 0; i < nr; i++) {
		struct nouveau_svm_fault a = {
			.inst = insts[i / NR_ACCESS / nr_pages],
			.addr = pages[i / NR_ACCESS % nr_pages],
			.access = NR_ACCESS - 1 - i % NR_ACCESS,
		};

		for (j = 0; j < nr; j++) {
			struct nouveau_svm_fault b = {
				.inst = insts[j / NR_ACCESS / nr_pages],
				.addr = pages[j / NR_ACCESS % nr_pages],
				.access = NR_ACCESS - 1 - j % NR_ACCESS,
			};
			int order = sign((int)i - (int)j);

			KUNIT_EXPECT_EQ(test, order,
					sign(nouveau_svm_fault_cmp(&a, &b)));
			/* Where in the page makes no difference. */
			b.addr += PAGE_SIZE - 1;
			KUNIT_EXPECT_EQ(test, order,
					sign(nouveau_svm_fault_cmp(&a, &b)));
			KUNIT_EXPECT_EQ(test, -order,
					sign(nouveau_svm_fault_cmp(&b, &a)));
		}
	}
}

/* All sequences of four faults by two instances at the edges of blocks. */
static void a_batch_has_one_instance_and_one_block(struct kunit *test)
{
	static const struct {
		u64 addr;
		unsigned int block;
	} places[] = {
		{ BASE - 1, 2 }, { BASE, 3 }, { BASE + BLOCK - 1, 3 },
		{ BASE + BLOCK, 4 }, { BASE + (1ULL << 62), 5 },
	};
	const unsigned int kinds = 2 * ARRAY_SIZE(places);
	unsigned int sequence, nr, i;

	for (sequence = 0; sequence < kinds * kinds * kinds * kinds;
	     sequence++) {
		struct nouveau_svm_fault faults[4];
		unsigned int inst[4], block[4], same = 1, rest = sequence;

		for (i = 0; i < 4; i++, rest /= kinds) {
			inst[i] = rest % 2;
			block[i] = places[rest % kinds / 2].block;
			faults[i] = (struct nouveau_svm_fault){
				.inst = 1 + inst[i],
				.addr = places[rest % kinds / 2].addr,
			};
		}
		while (same < 4 && inst[same] == inst[0] &&
		       block[same] == block[0])
			same++;
		for (nr = 1; nr <= 4; nr++)
			KUNIT_EXPECT_EQ(test,
					nouveau_svm_same_block(faults, nr),
					min(nr, same));
	}
}

/* One page at a time; @end below @start is an end beyond the last page. */
static bool page_is_managed(u64 page, u64 start, u64 end, u64 task_size)
{
	if (page >= task_size)
		return false;
	if (start == end || page + PAGE_SIZE - 1 < start)
		return true;
	return end > start && page >= end;
}

static void expect_managed(struct kunit *test, u64 addr, u64 unmanaged_start,
			   u64 unmanaged_end, u64 task_size)
{
	struct nouveau_svm_span span = { UNTOUCHED, UNTOUCHED };
	u64 block = addr / BLOCK * BLOCK;
	u64 start = addr / PAGE_SIZE * PAGE_SIZE, end = start;
	bool managed = nouveau_svm_managed(addr, unmanaged_start, unmanaged_end,
					   task_size, &span);

	while (start > block &&
	       page_is_managed(start - PAGE_SIZE, unmanaged_start,
			       unmanaged_end, task_size))
		start -= PAGE_SIZE;
	while (end < block + BLOCK &&
	       page_is_managed(end, unmanaged_start, unmanaged_end, task_size))
		end += PAGE_SIZE;
	if (end <= addr) {
		KUNIT_EXPECT_FALSE(test, managed);
		start = UNTOUCHED;
		end = UNTOUCHED;
	} else {
		KUNIT_EXPECT_TRUE(test, managed);
	}
	KUNIT_EXPECT_EQ(test, span.start, start);
	KUNIT_EXPECT_EQ(test, span.end, end);
}

static void managed_is_what_is_left_of_the_block(struct kunit *test)
{
	static const u64 addrs[] = {
		0, BASE - 1, BASE, BASE + 1, BASE + PAGE_SIZE,
		BASE + 5 * PAGE_SIZE, BASE + 6 * PAGE_SIZE + 3,
		BASE + 7 * PAGE_SIZE, BASE + BLOCK - PAGE_SIZE,
		BASE + BLOCK - 1, BASE + BLOCK,
	};
	static const u64 edges[] = {
		0, 1, BASE - 1, BASE, BASE + 1, BASE + PAGE_SIZE - 1,
		BASE + PAGE_SIZE, BASE + 5 * PAGE_SIZE + 7,
		BASE + 6 * PAGE_SIZE, BASE + 6 * PAGE_SIZE + 1,
		BASE + BLOCK - PAGE_SIZE, BASE + BLOCK - 1, BASE + BLOCK,
		BASE + BLOCK + 1, 1ULL << 63, ~0ULL - PAGE_SIZE,
		~0ULL - PAGE_SIZE + 1, ~0ULL - 1, ~0ULL,
	};
	static const u64 task_sizes[] = {
		BASE, BASE + PAGE_SIZE, BASE + 6 * PAGE_SIZE,
		BASE + BLOCK - PAGE_SIZE, BASE + BLOCK,
		BASE + BLOCK + PAGE_SIZE, (1ULL << 47) - PAGE_SIZE,
	};
	unsigned int a, start, end, size;

	for (a = 0; a < ARRAY_SIZE(addrs); a++)
		for (start = 0; start < ARRAY_SIZE(edges); start++)
			for (end = 0; end < ARRAY_SIZE(edges); end++)
				for (size = 0; size < ARRAY_SIZE(task_sizes);
				     size++)
					expect_managed(test, addrs[a],
						       edges[start], edges[end],
						       task_sizes[size]);
}

/* A few faults in [@start, @end), some at the edges of pages; some far away. */
static unsigned int random_faults(struct rnd_state *rnd,
				  struct nouveau_svm_fault *faults, u64 start,
				  u64 end)
{
	unsigned int nr = below(rnd, NR_FAULTS + 1), i;

	for (i = 0; i < nr; i++) {
		u64 addr = start + below(rnd, end - start);

		switch (below(rnd, 3)) {
		case 0:
			addr = addr / PAGE_SIZE * PAGE_SIZE;
			break;
		case 1:
			addr = addr / PAGE_SIZE * PAGE_SIZE + PAGE_SIZE - 1;
			break;
		}
		if (!below(rnd, 8))
			addr ^= 1ULL << (32 + below(rnd, 32));
		faults[i] = (struct nouveau_svm_fault){
			.addr = addr,
			.access = below(rnd, NR_ACCESS),
		};
	}
	return nr;
}

/* Does the fault hit a byte of [@start, @end)? */
static bool hits(const struct nouveau_svm_fault *fault, u64 start, u64 end)
{
	return fault->addr >= start && fault->addr < end;
}

static void a_page_gets_the_greatest_access(struct kunit *test)
{
	struct rnd_state rnd;
	unsigned int round;

	prandom_seed_state(&rnd, 3);
	for (round = 0; round < NR_ROUNDS; round++) {
		/* Sometimes from address 0, below which nothing can be. */
		u64 start = below(&rnd, 4) * PAGE_SIZE +
			    (below(&rnd, 2) ? BASE : 0);
		unsigned int npages = below(&rnd, 7), page, i;
		struct nouveau_svm_fault faults[NR_FAULTS];
		unsigned int nr = random_faults(&rnd, faults,
						start / BLOCK * BLOCK,
						start / BLOCK * BLOCK +
						12 * PAGE_SIZE);
		u8 untouched = below(&rnd, 2) ? UNTOUCHED : 0;
		u8 access[8];

		memset(access, untouched, sizeof(access));
		nouveau_svm_want(faults, nr, start, npages, access);
		for (page = 0; page < ARRAY_SIZE(access); page++) {
			u64 addr = start + page * PAGE_SIZE;
			u8 want = page < npages ? NOUVEAU_SVM_NONE : untouched;

			for (i = 0; i < nr && page < npages; i++)
				if (hits(&faults[i], addr, addr + PAGE_SIZE) &&
				    faults[i].access > want)
					want = faults[i].access;
			KUNIT_EXPECT_EQ(test, access[page], want);
		}
	}
}

/* A page is in the window if a fault hits its 64 KiB or below, and above. */
static struct nouveau_svm_span
model_window(const struct nouveau_svm_fault *faults, unsigned int nr,
	     u64 managed_start, u64 managed_end)
{
	struct nouveau_svm_span window = { 0, 0 };
	unsigned int i;
	u64 page;

	for (page = managed_start; page < managed_end; page += PAGE_SIZE) {
		u64 grain = page / SZ_64K * SZ_64K;
		bool up_to = false, from = false;

		for (i = 0; i < nr; i++) {
			if (!hits(&faults[i], managed_start, managed_end))
				continue;
			if (hits(&faults[i], 0, grain + SZ_64K))
				from = true;
			if (hits(&faults[i], grain, ~0ULL))
				up_to = true;
		}
		if (!from || !up_to)
			continue;
		if (!window.end)
			window.start = page;
		window.end = page + PAGE_SIZE;
	}
	return window;
}

static void the_window_holds_all_faults_and_no_more(struct kunit *test)
{
	struct rnd_state rnd;
	unsigned int round;

	prandom_seed_state(&rnd, 5);
	for (round = 0; round < NR_ROUNDS; round++) {
		struct nouveau_svm_fault faults[NR_FAULTS];
		u32 pages = BLOCK / PAGE_SIZE;
		u32 first = below(&rnd, 2) ? 0 : below(&rnd, pages);
		u32 end = below(&rnd, 2) ? pages :
			  first + 1 + below(&rnd, pages - first);
		struct nouveau_svm_span managed = {
			.start = BASE + first * PAGE_SIZE,
			.end = BASE + end * PAGE_SIZE,
		};
		struct nouveau_svm_span window, model;
		unsigned int nr;

		/* Near each other, or anywhere in the block and beyond */
		if (below(&rnd, 2))
			nr = random_faults(&rnd, faults, managed.start - SZ_64K,
					   managed.start + 2 * SZ_64K);
		else
			nr = random_faults(&rnd, faults, managed.start - SZ_64K,
					   managed.end + SZ_64K);
		window = nouveau_svm_window(faults, nr, &managed);
		model = model_window(faults, nr, managed.start, managed.end);
		KUNIT_EXPECT_EQ(test, window.end - window.start,
				model.end - model.start);
		if (model.end)
			KUNIT_EXPECT_EQ(test, window.start, model.start);
	}
}

static void the_window_of_one_fault(struct kunit *test)
{
	struct nouveau_svm_span managed = { BASE, BASE + BLOCK };
	struct nouveau_svm_fault fault = { .access = NOUVEAU_SVM_READ };
	struct nouveau_svm_span window;
	u64 offset;

	for (offset = 0; offset < BLOCK; offset += PAGE_SIZE) {
		u64 grain = BASE + (offset & ~0xffffULL);

		fault.addr = BASE + offset;
		window = nouveau_svm_window(&fault, 1, &managed);
		KUNIT_EXPECT_EQ(test, window.start, grain);
		KUNIT_EXPECT_EQ(test, window.end, grain + 0x10000);
	}
	for (fault.addr = BASE - 1; fault.addr <= BASE + BLOCK;
	     fault.addr += BLOCK + 1) {
		window = nouveau_svm_window(&fault, 1, &managed);
		KUNIT_EXPECT_EQ(test, window.start, window.end);
	}
}

/* A megabyte is too little, two are enough, a gigabyte is no hindrance. */
static void blocks_are_mapped_by_one_entry(struct kunit *test)
{
	struct nouveau_svm_span managed = { BASE, BASE + BLOCK };
	unsigned int order;

	for (order = 0; order + PAGE_SHIFT <= 39; order++)
		KUNIT_EXPECT_EQ(test,
				nouveau_svm_shift(BASE, 1ULL << 40, order,
						  &managed),
				order + PAGE_SHIFT > 20 ? 21 : 12);
}

static void blocks_are_aligned_in_physical_memory(struct kunit *test)
{
	struct nouveau_svm_span managed = { BASE, BASE + BLOCK };
	const unsigned int order = 30 - PAGE_SHIFT;
	unsigned int bit;
	u64 offset;

	for (offset = 0; offset < BLOCK; offset += PAGE_SIZE) {
		u64 phys = (1ULL << 40) + offset;

		KUNIT_EXPECT_EQ(test, 21U,
				nouveau_svm_shift(BASE + offset, phys, order,
						  &managed));
		for (bit = PAGE_SHIFT; bit < 40; bit++)
			KUNIT_EXPECT_EQ(test, bit < 21 ? 12U : 21U,
					nouveau_svm_shift(BASE + offset,
							  phys ^ 1ULL << bit,
							  order, &managed));
	}
}

static void blocks_are_managed_as_a_whole(struct kunit *test)
{
	static const u64 starts[] = {
		BASE - PAGE_SIZE, BASE, BASE + PAGE_SIZE,
	};
	static const u64 ends[] = {
		BASE + BLOCK - PAGE_SIZE, BASE + BLOCK,
		BASE + BLOCK + PAGE_SIZE,
	};
	const u64 offset = 7 * PAGE_SIZE;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		for (j = 0; j < ARRAY_SIZE(ends); j++) {
			struct nouveau_svm_span managed = {
				starts[i], ends[j],
			};

			KUNIT_EXPECT_EQ(test, i == 2 || j == 0 ? 12U : 21U,
					nouveau_svm_shift(BASE + offset,
							  BLOCK + offset,
							  21 - PAGE_SHIFT,
							  &managed));
		}
	}
}

static void greater_access_satisfies(struct kunit *test)
{
	/* A row what an entry has, a column what is wanted: none, P, R, W, A */
	static const bool satisfied[NR_ACCESS][NR_ACCESS] = {
		[NOUVEAU_SVM_NONE] =     { 1, 0, 0, 0, 0 },
		[NOUVEAU_SVM_PREFETCH] = { 1, 1, 0, 0, 0 },
		[NOUVEAU_SVM_READ] =     { 1, 1, 1, 0, 0 },
		[NOUVEAU_SVM_WRITE] =    { 1, 1, 1, 1, 0 },
		[NOUVEAU_SVM_ATOMIC] =   { 1, 1, 1, 1, 1 },
	};
	unsigned int have, want;

	for (have = 0; have < NR_ACCESS; have++)
		for (want = 0; want < NR_ACCESS; want++)
			KUNIT_EXPECT_EQ(test, satisfied[have][want],
					nouveau_svm_satisfied(have, want));
}

/* All error numbers, for all kinds of access. */
static void lost_races_do_not_cancel(struct kunit *test)
{
	static const int replayed[] = {
		0, EBUSY, EAGAIN, EINTR, 512, 513, 514, 516,
	};
	unsigned int access, i;
	int error;

	for (error = 0; error <= 4095; error++) {
		bool replay = false;

		for (i = 0; i < ARRAY_SIZE(replayed); i++)
			if (error == replayed[i])
				replay = true;
		for (access = 0; access < NR_ACCESS; access++) {
			enum nouveau_svm_verdict verdict = NOUVEAU_SVM_CANCEL;

			if (replay)
				verdict = NOUVEAU_SVM_REPLAY;
			else if (access == NOUVEAU_SVM_PREFETCH)
				verdict = NOUVEAU_SVM_IGNORE;
			KUNIT_EXPECT_EQ(test, verdict,
					nouveau_svm_verdict(-error, access));
		}
	}
}

/* The flags are numbers here: the interface to nvkm is fixed. */
static void entries_hold_address_and_flags(struct kunit *test)
{
	static const u64 flags[NR_ACCESS] = {
		[NOUVEAU_SVM_NONE] = 0,
		[NOUVEAU_SVM_PREFETCH] = 1,
		[NOUVEAU_SVM_READ] = 1,
		[NOUVEAU_SVM_WRITE] = 3,
		[NOUVEAU_SVM_ATOMIC] = 7,
	};
	unsigned int access, bit;

	for (access = 0; access < NR_ACCESS; access++) {
		for (bit = 0; bit < 64; bit++) {
			u64 phys = 1ULL << bit;
			u64 ram = flags[access];

			if (bit >= 12 && access)
				ram |= phys;
			KUNIT_EXPECT_EQ(test, ram,
					nouveau_svm_entry(phys, false, access));
			KUNIT_EXPECT_EQ(test, access ? ram | 16 : 0,
					nouveau_svm_entry(phys, true, access));
		}
	}
}

static void flags_of_entries_are_read(struct kunit *test)
{
	static const enum nouveau_svm_access allows[] = {
		[0] = NOUVEAU_SVM_NONE,
		[1] = NOUVEAU_SVM_READ,
		[2] = NOUVEAU_SVM_NONE,
		[3] = NOUVEAU_SVM_WRITE,
		[4] = NOUVEAU_SVM_NONE,
		[5] = NOUVEAU_SVM_ATOMIC,
		[6] = NOUVEAU_SVM_NONE,
		[7] = NOUVEAU_SVM_ATOMIC,
	};
	unsigned int flags;

	for (flags = 0; flags < ARRAY_SIZE(allows); flags++) {
		KUNIT_EXPECT_EQ(test, allows[flags],
				nouveau_svm_entry_access(flags));
		KUNIT_EXPECT_EQ(test, allows[flags],
				nouveau_svm_entry_access(~7ULL | flags));
	}
}

static struct kunit_case decide_cases[] = {
	KUNIT_CASE(entries_of_32_bytes_end_with_the_valid_bit),
	KUNIT_CASE(each_bit_of_an_entry_is_decoded),
	KUNIT_CASE(each_kind_of_access_is_decoded),
	KUNIT_CASE(faults_are_ordered),
	KUNIT_CASE(a_batch_has_one_instance_and_one_block),
	KUNIT_CASE(managed_is_what_is_left_of_the_block),
	KUNIT_CASE(a_page_gets_the_greatest_access),
	KUNIT_CASE(the_window_holds_all_faults_and_no_more),
	KUNIT_CASE(the_window_of_one_fault),
	KUNIT_CASE(blocks_are_mapped_by_one_entry),
	KUNIT_CASE(blocks_are_aligned_in_physical_memory),
	KUNIT_CASE(blocks_are_managed_as_a_whole),
	KUNIT_CASE(greater_access_satisfies),
	KUNIT_CASE(lost_races_do_not_cancel),
	KUNIT_CASE(entries_hold_address_and_flags),
	KUNIT_CASE(flags_of_entries_are_read),
	{}
};

static struct kunit_suite decide_suite = {
	.name = "nouveau_svm_decide",
	.test_cases = decide_cases,
};

kunit_test_suite(decide_suite);
