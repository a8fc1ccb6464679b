// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "vm_util.h"
#include "exclusive.h"

#define KSM		"/sys/kernel/mm/ksm/"
#define SCAN_TRIES	20000
#define SCAN_US		1000

/* The stock driver needs a buffer. */
int device_seize(int fd, void *addr, size_t npages)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	int rc = device_ask(fd, HMM_DMIRROR_EXCLUSIVE, addr, data, npages).rc;

	free(data);
	return rc;
}

size_t device_seized(int fd, char *addr, size_t npages)
{
	size_t i, count = 0;

	for (i = 0; i < npages; i++) {
		int rc = device_ask(fd, HMM_DMIRROR_CHECK_EXCLUSIVE,
				    addr + i * PAGE_BYTES, NULL, 1).rc;

		if (rc && rc != -EPERM)
			fatal("CHECK_EXCLUSIVE: %s", strerror(-rc));
		count += rc == -EPERM;
	}
	return count;
}

/* Reclaim: the root cgroup contains every process. */

bool reclaimer_start(struct reclaimer *reclaimer)
{
	char path[64];

	strcpy(reclaimer->mount, "/tmp/hmm-reclaim-XXXXXX");
	if (!mkdtemp(reclaimer->mount))
		return false;
	if (mount("none", reclaimer->mount, "cgroup2", 0, NULL)) {
		rmdir(reclaimer->mount);
		return false;
	}
	snprintf(path, sizeof(path), "%s/memory.reclaim", reclaimer->mount);
	reclaimer->file = open(path, O_WRONLY | O_CLOEXEC);
	if (reclaimer->file >= 0)
		return true;
	reclaimer_stop(reclaimer);
	return false;
}

/* Pages wait on each processor's list before reclaim can find them. */
void reclaimer_run(struct reclaimer *reclaimer, size_t bytes)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "%zu swappiness=max", bytes);

	vm_order("drop_caches", "1");
	if (write(reclaimer->file, line, length) != length &&
	    errno != EAGAIN && errno != EINTR)
		fatal("memory.reclaim: %s", strerror(errno));
}

void reclaimer_stop(struct reclaimer *reclaimer)
{
	if (reclaimer->file >= 0)
		close(reclaimer->file);
	umount(reclaimer->mount);
	rmdir(reclaimer->mount);
}

/* KSM */

bool fast_ksm_start(struct ksm *ksm)
{
	if (!setting_change(&ksm->run, KSM "run", "1"))
		return false;
	setting_change(&ksm->scan, KSM "pages_to_scan", "1000");
	setting_change(&ksm->nap, KSM "sleep_millisecs", "1");
	/* Two equal pages that are skipped in turn never meet. */
	setting_change(&ksm->smart, KSM "smart_scan", "0");
	return true;
}

void fast_ksm_stop(struct ksm *ksm)
{
	setting_restore(&ksm->smart);
	setting_restore(&ksm->nap);
	setting_restore(&ksm->scan);
	setting_restore(&ksm->run);
}

long ksm_sharing(void)
{
	return read_number(KSM "pages_sharing");
}

bool ksm_scans(long times)
{
	long end = ksm_get_full_scans() + times;
	int tries;

	for (tries = 0; tries < SCAN_TRIES; tries++) {
		if (ksm_get_full_scans() >= end)
			return true;
		usleep(SCAN_US);
	}
	return false;
}
