// SPDX-License-Identifier: GPL-2.0
/*
 * RDMA from one part of memory to another, both paged on demand, while the
 * process changes what is mapped there: each byte has to arrive.
 *
 * usage: hmm-rdma DEVICE GID-INDEX [SEED]
 *
 * Two queue pairs of one device are connected with each other. In each round
 * some pages get new contents and what maps them changes; then the device reads
 * or writes them, and all of it is compared. Prints TAP.
 */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif

#define PAGE_BYTES	4096UL
#define HUGE_BYTES	(2UL << 20)
#define PAGES		512UL
#define BYTES		(PAGES * PAGE_BYTES)
#define ROUNDS		400U
#define PORT		1
#define PSN		0

/* The device, and two ends that talk to each other */
struct rdma {
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *qp[2];
	union ibv_gid gid;
	int gid_index;
};

static void open_device(struct rdma *rdma, const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	int i;

	for (i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), name))
			rdma->context = ibv_open_device(list[i]);
	if (!rdma->context)
		errx(1, "there is no %s", name);
	rdma->pd = ibv_alloc_pd(rdma->context);
	rdma->cq = ibv_create_cq(rdma->context, 16, NULL, NULL, 0);
	if (!rdma->pd || !rdma->cq ||
	    ibv_query_gid(rdma->context, PORT, rdma->gid_index, &rdma->gid))
		errx(1, "cannot set up %s", name);
}

static struct ibv_qp *create_qp(struct rdma *rdma)
{
	struct ibv_qp_init_attr init = {
		.send_cq = rdma->cq,
		.recv_cq = rdma->cq,
		.qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = 4,
			.max_recv_wr = 1,
			.max_send_sge = 1,
			.max_recv_sge = 1,
		},
	};
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = PORT,
		.qp_access_flags = IBV_ACCESS_REMOTE_WRITE |
				   IBV_ACCESS_REMOTE_READ |
				   IBV_ACCESS_REMOTE_ATOMIC,
	};
	struct ibv_qp *qp = ibv_create_qp(rdma->pd, &init);

	if (!qp || ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX |
				 IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
		errx(1, "no queue pair");
	return qp;
}

static void connect_qp(struct rdma *rdma, struct ibv_qp *qp, uint32_t other)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_4096,
		.dest_qp_num = other,
		.rq_psn = PSN,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = {
			.is_global = 1,
			.port_num = PORT,
			.grh = {
				.dgid = rdma->gid,
				.sgid_index = rdma->gid_index,
				.hop_limit = 1,
			},
		},
	};

	if (ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV |
			  IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
			  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
		errx(1, "a queue pair cannot receive: %s", strerror(errno));
	attr.qp_state = IBV_QPS_RTS;
	attr.timeout = 14;
	attr.retry_cnt = 7;
	attr.rnr_retry = 7;
	attr.sq_psn = PSN;
	attr.max_rd_atomic = 1;
	if (ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT |
			  IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			  IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC))
		errx(1, "a queue pair cannot send: %s", strerror(errno));
}

static void set_up(struct rdma *rdma, const char *name, int gid_index)
{
	rdma->gid_index = gid_index;
	open_device(rdma, name);
	rdma->qp[0] = create_qp(rdma);
	rdma->qp[1] = create_qp(rdma);
	connect_qp(rdma, rdma->qp[0], rdma->qp[1]->qp_num);
	connect_qp(rdma, rdma->qp[1], rdma->qp[0]->qp_num);
}

/* Memory that the device pages on demand, and knows by the address @iova */
struct region {
	char *map;
	uint64_t iova;
	struct ibv_mr *mr;
};

/* The device's addresses are the process's, or @apart from them. */
static struct region create_region(struct rdma *rdma, uint64_t apart)
{
	struct region region;
	char *at = mmap(NULL, BYTES + HUGE_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		errx(1, "no memory");
	region.map = (char *)(((uintptr_t)at + HUGE_BYTES - 1) &
			      ~(HUGE_BYTES - 1));
	region.iova = (uintptr_t)region.map + apart;
	region.mr = ibv_reg_mr_iova(rdma->pd, region.map, BYTES, region.iova,
				    IBV_ACCESS_LOCAL_WRITE |
				    IBV_ACCESS_REMOTE_WRITE |
				    IBV_ACCESS_REMOTE_READ |
				    IBV_ACCESS_ON_DEMAND);
	if (!region.mr)
		errx(1, "no region on demand: %s", strerror(errno));
	return region;
}

/* One transfer; returns how it was completed. */
static enum ibv_wc_status transfer(struct rdma *rdma, enum ibv_wr_opcode what,
				   const struct region *local,
				   const struct region *remote, size_t offset,
				   size_t bytes)
{
	struct ibv_sge sge = {
		.addr = local->iova + offset,
		.length = bytes,
		.lkey = local->mr->lkey,
	};
	struct ibv_send_wr work = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = what,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = {
			.remote_addr = remote->iova + offset,
			.rkey = remote->mr->rkey,
		},
	};
	struct ibv_send_wr *bad;
	struct ibv_wc done;
	int n;

	if (ibv_post_send(rdma->qp[0], &work, &bad))
		errx(1, "cannot post work: %s", strerror(errno));
	do {
		n = ibv_poll_cq(rdma->cq, 1, &done);
	} while (!n);
	if (n < 0)
		errx(1, "no completion");
	return done.status;
}

/* What a process does with its memory. Contents stay, but for the first. */

static void zap(char *at, size_t bytes)
{
	madvise(at, bytes, MADV_DONTNEED);
}

static void fork_child(char *at, size_t bytes)
{
	pid_t pid = fork();

	if (!pid) {
		/* Its own copies are no concern of the device. */
		memset(at, 0xee, bytes);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void page_out(char *at, size_t bytes)
{
	madvise(at, bytes, MADV_PAGEOUT);
}

static void collapse(char *at, size_t bytes)
{
	uintptr_t huge = (uintptr_t)at & ~(HUGE_BYTES - 1);

	madvise((void *)huge, HUGE_BYTES, MADV_COLLAPSE);
}

static void compact(char *at, size_t bytes)
{
	FILE *file = fopen("/proc/sys/vm/compact_memory", "w");

	if (file) {
		fputs("1", file);
		fclose(file);
	}
}

static void protect(char *at, size_t bytes)
{
	mprotect(at, bytes, PROT_READ);
	mprotect(at, bytes, PROT_READ | PROT_WRITE);
}

static const struct change {
	const char *name;
	void (*make)(char *at, size_t bytes);
} changes[] = {
	{ "madv_dontneed", zap },
	{ "fork", fork_child },
	{ "pageout", page_out },
	{ "collapse", collapse },
	{ "compaction", compact },
	{ "mprotect", protect },
};

#define NR_CHANGES	ARRAY_SIZE(changes)

static void fill(char *at, size_t bytes, unsigned int seed)
{
	size_t i;

	for (i = 0; i < bytes; i++)
		at[i] = i * 7 + i / 253 + seed;
}

/* What all rounds of a test have in common */
struct test {
	const char *name;
	const struct change *change;	/* %NULL: one after the other */
	size_t shift;			/* of each transfer, from page to page */
	struct region mine;
	struct region other;
};

/* One round: the device gets the source's bytes to the destination. */
static bool round_is_right(struct rdma *rdma, struct test *test,
			   unsigned int number, unsigned int *seed)
{
	const struct change *change = test->change ?:
				      &changes[number % NR_CHANGES];
	bool write = rand_r(seed) & 1;
	struct region *from = write ? &test->mine : &test->other;
	struct region *to = write ? &test->other : &test->mine;
	size_t first = rand_r(seed) % PAGES;
	size_t pages = 1 + rand_r(seed) % (PAGES - first < 32 ? PAGES - first : 32);
	size_t offset = first * PAGE_BYTES + test->shift;
	size_t bytes = pages * PAGE_BYTES - test->shift;
	enum ibv_wc_status status;

	fill(from->map + offset, bytes, number);
	if (change->make != zap)
		change->make(from->map + first * PAGE_BYTES, pages * PAGE_BYTES);
	change->make(to->map + first * PAGE_BYTES, pages * PAGE_BYTES);
	status = transfer(rdma, write ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ,
			  &test->mine, &test->other, offset, bytes);
	if (status != IBV_WC_SUCCESS) {
		printf("# round %u: %s\n", number, ibv_wc_status_str(status));
		return false;
	}
	if (!memcmp(from->map + offset, to->map + offset, bytes))
		return true;
	while (from->map[offset] == to->map[offset])
		offset++;
	printf("# %s, round %u: byte %#zx of pages %zu to %zu differs after a %s\n",
	       change->name, number, offset % PAGE_BYTES, first,
	       first + pages - 1, write ? "write" : "read");
	return false;
}

/* Queue pairs do not survive an error, so each test has its own. */
static bool run(const char *device, int gid_index, struct test *test,
		uint64_t apart, unsigned int *seed)
{
	struct rdma rdma = {};
	unsigned int number;
	bool right = true;

	set_up(&rdma, device, gid_index);
	test->mine = create_region(&rdma, apart);
	test->other = create_region(&rdma, apart);
	for (number = 0; right && number < ROUNDS / NR_CHANGES; number++)
		right = round_is_right(&rdma, test, number, seed);
	return right;
}

/* Not to be found in the process */
#define APART	0x100000000000000ULL

int main(int argc, char **argv)
{
	unsigned int seed = argc > 3 ? atoi(argv[3]) : 1, i;
	bool failed = false;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3)
		errx(1, "usage: hmm-rdma DEVICE GID-INDEX [SEED]");
	printf("TAP version 13\n1..%zu\n", NR_CHANGES + 2);
	for (i = 0; i < NR_CHANGES + 2; i++) {
		struct test test = { .name = "offset_in_a_page", .shift = 1234 };
		uint64_t apart = 0;
		bool right;

		if (i < NR_CHANGES) {
			test = (struct test){
				.name = changes[i].name,
				.change = &changes[i],
			};
		} else if (i > NR_CHANGES) {
			test = (struct test){ .name = "device_address_apart" };
			apart = APART;
		}
		right = run(argv[1], atoi(argv[2]), &test, apart, &seed);
		printf("%sok %u hmm_rdma.%s\n", right ? "" : "not ", i + 1,
		       test.name);
		failed |= !right;
	}
	return failed;
}
