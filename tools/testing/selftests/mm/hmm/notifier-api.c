// SPDX-License-Identifier: GPL-2.0
/*
 * The notifiers' calls as drivers outside the tree make them, and with odd
 * arguments: what 7.3 answers, every implementation answers.
 *
 * NVIDIA's uvm calls __mmu_notifier_register(NULL, mm) under the mmap lock to
 * make an address space ready, inserts intervals under the same lock held for
 * reading, and reads. i915 and radeon remove a subscription after an insert that
 * has failed if the insert has left an address space in it.
 *
 * The table, which is also printed. "Lock" is how the caller holds the mmap lock.
 *
 *	call				lock	7.3		ours
 *	register(NULL)			-	0		0
 *	register(NULL), again		-	0		0
 *	__register(NULL)		write	0		0
 *	__register(NULL), again		write	0		0
 *	insert				-	0		0
 *	insert, after __register(NULL)	read	0		0
 *	insert, after __register(NULL)	write	0		0
 *	insert, first of all		read	deadlock	0
 *	insert_locked			write	0		0
 *	insert, same range once more	-	0		0
 *	insert, no byte			-	-EOVERFLOW	-EOVERFLOW
 *	insert, beyond the last address	-	-EOVERFLOW	-EOVERFLOW
 *	  and then the subscription:		has an mm	as before
 *	insert, of the last byte	-	0		0
 *	insert, of all but the last byte -	0		0
 *	insert, not page aligned	-	0		0
 *	insert, not of user space	-	0		0
 *	insert, no memory left		-	-ENOMEM		-ENOMEM
 *	  and then the subscription:		as before	as before
 *	register			-	0		0
 *	register, twice			-	0		0
 *	register, after __register(NULL) -	0		0
 *	__register			write	0		0
 *	__register, twice		write	0		0
 *	register, killed while it waits	-	waits on	-EINTR
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"
#include "lib/inject.h"
#include "lib/notify.h"
#include "hmm_probe/hmm_probe_inval_uapi.h"

#define N		16
#define BYTES		(N * PAGE_BYTES)
#define MAX_NTH		50	/* more allocations than an insert makes */

static int inval_open(void)
{
	return probe_device("hmm_probe_inval");
}

static int odd(int fd, struct hmm_odd *call)
{
	if (ioctl(fd, HMM_INVAL_ODD, call))
		fatal("call %llu: %s", call->call, strerror(errno));
	return call->rc;
}

static int odd_plain(int fd, __u64 call, __u64 lock)
{
	struct hmm_odd plain = {
		.call = call,
		.lock = lock,
		.start = PAGE_BYTES,
		.length = PAGE_BYTES,
	};

	return odd(fd, &plain);
}

/* Odd calls */

FIXTURE(notifier_arguments)
{
	int fd;
};

FIXTURE_VARIANT(notifier_arguments)
{
	const char *name;
	struct hmm_odd call;
	bool ready;	/* after __register(NULL) */
	int rc;		/* on 7.3 and ours */
};

/* The range is of intervals only. */
#define CALL(odd_call, odd_lock, odd_start, odd_length, n)		\
	.call = {							\
		.call = HMM_ODD_##odd_call,				\
		.lock = HMM_ODD_##odd_lock,				\
		.start = odd_start,					\
		.length = odd_length,					\
		.times = n,						\
	}

FIXTURE_VARIANT_ADD(notifier_arguments, register_null)
{
	.name = "register(NULL)",
	CALL(REGISTER_NULL, UNLOCKED, 0, 0, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, register_null_again)
{
	.name = "register(NULL), again",
	CALL(REGISTER_NULL, UNLOCKED, 0, 0, 2),
};

FIXTURE_VARIANT_ADD(notifier_arguments, locked_register_null)
{
	.name = "__register(NULL)",
	CALL(REGISTER_NULL_LOCKED, WRITE_LOCKED, 0, 0, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, locked_register_null_again)
{
	.name = "__register(NULL), again",
	CALL(REGISTER_NULL_LOCKED, WRITE_LOCKED, 0, 0, 2),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert)
{
	.name = "insert",
	CALL(INSERT, UNLOCKED, PAGE_BYTES, PAGE_BYTES, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_under_read_lock)
{
	.name = "insert, after __register(NULL)",
	.ready = true,
	CALL(INSERT, READ_LOCKED, PAGE_BYTES, PAGE_BYTES, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_under_write_lock)
{
	.name = "insert, after __register(NULL)",
	.ready = true,
	CALL(INSERT, WRITE_LOCKED, PAGE_BYTES, PAGE_BYTES, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_locked)
{
	.name = "insert_locked",
	CALL(INSERT_LOCKED, WRITE_LOCKED, PAGE_BYTES, PAGE_BYTES, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_same_range)
{
	.name = "insert, same range once more",
	CALL(INSERT, UNLOCKED, PAGE_BYTES, PAGE_BYTES, 2),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_nothing)
{
	.name = "insert, no byte",
	.rc = -EOVERFLOW,
	CALL(INSERT, UNLOCKED, PAGE_BYTES, 0, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_nothing_locked)
{
	.name = "insert_locked, no byte",
	.rc = -EOVERFLOW,
	CALL(INSERT_LOCKED, WRITE_LOCKED, PAGE_BYTES, 0, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_beyond)
{
	.name = "insert, beyond the last address",
	.rc = -EOVERFLOW,
	CALL(INSERT, UNLOCKED, ALL_BYTES, PAGE_BYTES + 1, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_beyond_locked)
{
	.name = "insert_locked, beyond the last address",
	.rc = -EOVERFLOW,
	CALL(INSERT_LOCKED, WRITE_LOCKED, ALL_BYTES, PAGE_BYTES + 1, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_last_page)
{
	.name = "insert, of the last page",
	CALL(INSERT, UNLOCKED, ALL_BYTES, PAGE_BYTES, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_last_byte)
{
	.name = "insert, of the last byte",
	CALL(INSERT, UNLOCKED, ~0ULL, 1, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_all)
{
	.name = "insert, of all but the last byte",
	CALL(INSERT, UNLOCKED, 0, ~0ULL, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_unaligned)
{
	.name = "insert, not page aligned",
	CALL(INSERT, UNLOCKED, PAGE_BYTES + 3, 5, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, insert_not_of_user_space)
{
	.name = "insert, not of user space",
	CALL(INSERT, UNLOCKED, 1ULL << 63, PAGE_BYTES, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, register_)
{
	.name = "register",
	CALL(REGISTER, UNLOCKED, 0, 0, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, register_twice)
{
	.name = "register, twice",
	CALL(REGISTER, UNLOCKED, 0, 0, 2),
};

FIXTURE_VARIANT_ADD(notifier_arguments, register_after_null)
{
	.name = "register, after __register(NULL)",
	.ready = true,
	CALL(REGISTER, UNLOCKED, 0, 0, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, locked_register)
{
	.name = "__register",
	CALL(REGISTER_LOCKED, WRITE_LOCKED, 0, 0, 1),
};

FIXTURE_VARIANT_ADD(notifier_arguments, locked_register_twice)
{
	.name = "__register, twice",
	CALL(REGISTER_LOCKED, WRITE_LOCKED, 0, 0, 2),
};

static const char * const lock_names[] = { "-", "read", "write" };

FIXTURE_SETUP(notifier_arguments)
{
	self->fd = inval_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_inval");
	if (variant->ready)
		ASSERT_EQ(0, odd_plain(self->fd, HMM_ODD_REGISTER_NULL_LOCKED,
				       HMM_ODD_WRITE_LOCKED));
}

FIXTURE_TEARDOWN(notifier_arguments)
{
	close(self->fd);
}

TEST_F(notifier_arguments, answer_is_that_of_7_3)
{
	struct hmm_odd call = variant->call;
	int rc = odd(self->fd, &call);

	TH_LOG("%-40s %-6s 7.3 %4d, here %4d", variant->name,
	       lock_names[call.lock], variant->rc, rc);
	EXPECT_EQ(variant->rc, rc);
}

/* Neither a failed call nor a removed subscription is left in the address space. */
TEST_F(notifier_arguments, works_after_it)
{
	struct hmm_odd call = variant->call;
	char *map = map_anon_small(BYTES);
	__u64 seq = 0;
	int sub = sub_open();

	odd(self->fd, &call);
	write_pages(map, N, 1);
	subscribe(sub, HMM_NOTIFY_INTERVAL, map, BYTES);
	EXPECT_EQ(0, sub_do(sub, HMM_NOTIFY_READ, &seq));
	EXPECT_EQ(0, sub_do(sub, HMM_NOTIFY_RETRY, &seq));
	drop(map, 1);
	EXPECT_EQ(1, sub_state(sub).starts);
	EXPECT_EQ(1, sub_do(sub, HMM_NOTIFY_RETRY, &seq));
	EXPECT_EQ(0, sub_do(sub, HMM_NOTIFY_REMOVE, NULL));
	close(sub);
	munmap(map, BYTES);
}

/*
 * i915, radeon and kfd go by what is in the subscription when they clean up
 * after an insert that has failed.
 */

FIXTURE(hmm_failed_insert)
{
	int fd;
};

FIXTURE_VARIANT(hmm_failed_insert)
{
	struct hmm_odd call;
};

FIXTURE_VARIANT_ADD(hmm_failed_insert, of_no_byte)
{
	CALL(INSERT, UNLOCKED, PAGE_BYTES, 0, 1),
};

FIXTURE_VARIANT_ADD(hmm_failed_insert, beyond_the_last_address)
{
	CALL(INSERT, UNLOCKED, ALL_BYTES, PAGE_BYTES + 1, 1),
};

FIXTURE_VARIANT_ADD(hmm_failed_insert, of_no_byte_locked)
{
	CALL(INSERT_LOCKED, WRITE_LOCKED, PAGE_BYTES, 0, 1),
};

FIXTURE_VARIANT_ADD(hmm_failed_insert, beyond_the_last_address_locked)
{
	CALL(INSERT_LOCKED, WRITE_LOCKED, ALL_BYTES, PAGE_BYTES + 1, 1),
};

FIXTURE_SETUP(hmm_failed_insert)
{
	self->fd = inval_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_inval");
}

FIXTURE_TEARDOWN(hmm_failed_insert)
{
	close(self->fd);
}

TEST_F(hmm_failed_insert, leaves_no_trace)
{
	struct hmm_odd call = variant->call;

	EXPECT_EQ(-EOVERFLOW, odd(self->fd, &call));
	EXPECT_EQ(0, call.has_mm);
	EXPECT_EQ(0, call.is_changed);
}

/* Allocation failures, and sizes of structs */

FIXTURE(notifier_out_of_tree)
{
	int fd;
	int a;
	char *map;
};

FIXTURE_SETUP(notifier_out_of_tree)
{
	self->fd = inval_open();
	self->a = sub_open();
	if (self->fd < 0 || self->a < 0)
		SKIP(return, "no hmm_probe");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
}

FIXTURE_TEARDOWN(notifier_out_of_tree)
{
	injection_stop();
	close(self->fd);
	close(self->a);
	munmap(self->map, BYTES);
}

TEST_F(notifier_out_of_tree, insert_without_memory_leaves_no_trace)
{
	struct hmm_odd call;
	unsigned int failures = 0;
	int nth;

	if (!injection_start())
		SKIP(return, "no fault injection in this kernel");
	for (nth = 1; nth <= MAX_NTH; nth++) {
		call = (struct hmm_odd) {
			.call = HMM_ODD_INSERT,
			.start = (uintptr_t)self->map,
			.length = BYTES,
		};
		fail_nth(nth);
		odd(self->fd, &call);
		if (!has_failed())
			break;
		failures++;
		if (!call.rc)
			continue;
		EXPECT_EQ(-ENOMEM, call.rc);
		EXPECT_EQ(0, call.has_mm);
		EXPECT_EQ(0, call.is_changed);
	}
	fail_nth(0);
	EXPECT_LT(0, failures);
	EXPECT_EQ(0, call.rc);
}

TEST_F(notifier_out_of_tree, what_drivers_allocate_has_not_grown)
{
	struct hmm_sizes sizes;

	ASSERT_EQ(0, ioctl(self->fd, HMM_INVAL_SIZES, &sizes));
	TH_LOG("bytes: range %llu, interval %llu, list %llu (7.3: 40, 88, 56)",
	       sizes.range, sizes.interval, sizes.list);
	EXPECT_GE(56, sizes.range);
	EXPECT_GE(104, sizes.interval);
	EXPECT_GE(56, sizes.list);
}

/* NVIDIA's uvm */

static void make_ready(struct __test_metadata *_metadata, int fd)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, odd_plain(fd, HMM_ODD_REGISTER_NULL_LOCKED,
				       HMM_ODD_WRITE_LOCKED));
}

#define told_and_removed(fd, map) do {					\
	__u64 _seq = 0;							\
									\
	ASSERT_EQ(0, sub_try(fd, HMM_NOTIFY_READ, SOON_MS));		\
	ASSERT_EQ(0, sub_do(fd, HMM_NOTIFY_READ, &_seq));		\
	EXPECT_EQ(0, sub_do(fd, HMM_NOTIFY_RETRY, &_seq));		\
	drop(map, 1);							\
	EXPECT_EQ(1, sub_state(fd).starts);				\
	EXPECT_EQ(1, sub_do(fd, HMM_NOTIFY_RETRY, &_seq));		\
	ASSERT_EQ(0, sub_do(fd, HMM_NOTIFY_READ, &_seq));		\
	EXPECT_EQ(0, sub_do(fd, HMM_NOTIFY_RETRY, &_seq));		\
	EXPECT_EQ(0, sub_try(fd, HMM_NOTIFY_REMOVE, SOON_MS));		\
	drop(map, 1);							\
	EXPECT_EQ(1, sub_state(fd).starts);				\
} while (0)

TEST_F(notifier_out_of_tree, intervals_inserted_under_mmap_read_lock)
{
	make_ready(_metadata, self->fd);
	ASSERT_EQ(0, sub_place(self->a, HMM_NOTIFY_SUBSCRIBE,
			       HMM_NOTIFY_INTERVAL_READ_LOCKED, self->map,
			       BYTES, SOON_MS));
	told_and_removed(self->a, self->map);
}

TEST_F(notifier_out_of_tree, intervals_after_register_without_subscription)
{
	ASSERT_EQ(0, odd_plain(self->fd, HMM_ODD_REGISTER_NULL,
			       HMM_ODD_UNLOCKED));
	ASSERT_EQ(0, sub_place(self->a, HMM_NOTIFY_SUBSCRIBE,
			       HMM_NOTIFY_INTERVAL_READ_LOCKED, self->map,
			       BYTES, SOON_MS));
	told_and_removed(self->a, self->map);
}

/* 7.3 deadlocks: it waits for the same lock for writing. */
TEST_F(notifier_out_of_tree, first_interval_inserted_under_mmap_read_lock)
{
	int there = sub_open();
	pid_t pid = fork_off();

	if (!pid) {
		subscribe(there, HMM_NOTIFY_INTERVAL, self->map, BYTES);
		_exit(!knows_new_calls(there));
	}
	close(there);
	if (wait_for_child(pid, SOON_MS / 1000))
		SKIP(return, "a deadlock on this kernel");
	ASSERT_EQ(0, sub_place(self->a, HMM_NOTIFY_SUBSCRIBE,
			       HMM_NOTIFY_INTERVAL_READ_LOCKED, self->map,
			       BYTES, SOON_MS));
	told_and_removed(self->a, self->map);
}

TEST_F(notifier_out_of_tree, made_ready_after_an_interval)
{
	subscribe(self->a, HMM_NOTIFY_INTERVAL, self->map, BYTES);
	make_ready(_metadata, self->fd);
	told_and_removed(self->a, self->map);
}

TEST_F(notifier_out_of_tree, made_ready_after_a_list)
{
	subscribe(self->a, HMM_NOTIFY_LIST, self->map, BYTES);
	make_ready(_metadata, self->fd);
	drop(self->map, 1);
	EXPECT_EQ(1, sub_state(self->a).starts);
	EXPECT_EQ(1, sub_state(self->a).ends);
}

/* Nothing of it stays with an address space that never gets a subscription. */
TEST_F(notifier_out_of_tree, process_ends_that_was_only_made_ready)
{
	pid_t pid = fork_off();

	if (!pid) {
		make_ready(_metadata, self->fd);
		drop(self->map, N);
		_exit(0);
	}
	EXPECT_EQ(0, wait_for_child(pid, SOON_MS / 1000));
}

TEST_HARNESS_MAIN
