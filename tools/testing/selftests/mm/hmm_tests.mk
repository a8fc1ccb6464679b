# SPDX-License-Identifier: GPL-2.0
# The hmm-* selftests and how they are built.
#
# selftests/mm/Makefile includes this file for HMM_TESTS and HMM_COMMON only.
# Scripts that build the programs alone also set
#	HMM_OUT		where the programs go
#	HMM_KSRC	a kernel source tree, for kselftest's headers
# and may set CC and HMM_CFLAGS.

HMM_TESTS := hmm-range hmm-defects hmm-oracle hmm-stress hmm-failure hmm-fuzz \
	hmm-sparse hmm-lock hmm-notifier hmm-first hmm-dropin \
	hmm-mirror hmm-follow hmm-migrate hmm-exclusive hmm-exclusive-huge \
	hmm-atomic hmm-contend hmm-taken hmm-whole \
	hmm-coherent hmm-coherent-large hmm-evict hmm-files \
	hmm-orders hmm-devices hmm-fork hmm-invalidate hmm-remap hmm-advise \
	hmm-marks hmm-hugetlb hmm-memcg hmm-mlock hmm-uffd hmm-driver \
	hmm-matrix hmm-migrate-defects hmm-moves hmm-migrate-failure \
	hmm-evict-race hmm-turmoil hmm-migrate-zap hmm-snapshot hmm-aging \
	hmm-readers
HMM_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
HMM_COMMON := $(addprefix $(HMM_DIR)/,hmm_common.c hmm_device.c hmm_access.c \
	hmm_group.c hmm_inject.c hmm_folios.c hmm_move.c hmm_exclusive.c hmm_notify.c \
	hmm_owned.c)
# What single programs consist of besides
HMM_MATRIX := $(HMM_DIR)/hmm_matrix_memory.c
HMM_NOTIFIER := $(HMM_DIR)/hmm_changes.c

ifneq ($(HMM_OUT),)
HMM_BUILD = $(CC) -static -O2 -Wall -D_GNU_SOURCE= $(HMM_CFLAGS) \
	-I$(HMM_KSRC)/tools/testing/selftests -I$(HMM_KSRC) -I$(HMM_DIR)
HMM_HEADERS := $(wildcard $(HMM_DIR)/hmm_*.h) $(wildcard $(HMM_DIR)/hmm_probe/*_uapi.h) \
	$(HMM_DIR)/../../../../lib/test_hmm_uapi.h

.PHONY: hmm-selftests
hmm-selftests: $(HMM_TESTS:%=$(HMM_OUT)/%)

$(HMM_OUT)/hmm-%: $(HMM_DIR)/hmm-%.c $(HMM_COMMON) $(HMM_HEADERS)
	$(HMM_BUILD) -o $@ $(filter %.c,$^) -lpthread

$(HMM_OUT)/hmm-matrix: $(HMM_MATRIX)
$(HMM_OUT)/hmm-notifier: $(HMM_NOTIFIER)
endif
