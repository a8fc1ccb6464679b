# SPDX-License-Identifier: GPL-2.0
# The test programs and the code that they share.
#
# The Makefile beside this file includes it for HMM_TESTS and the lists of
# sources only. Scripts that build the programs alone also set
#	HMM_OUT		where the programs go
#	HMM_KSRC	a kernel source tree, for kselftest's headers, vm_util.c and
#			hugepage_settings.c
# and may set CC and HMM_CFLAGS.

HMM_TESTS := range range-drivers range-lock range-oracle range-regression \
	range-sparse range-stress allocation-failure fuzz \
	notifier-api notifier-events notifier-protocol notifier-wait \
	mirror mirror-coherence mirror-invalidate devices driver-regression \
	place place-failure place-oracle \
	migrate migrate-failure migrate-files migrate-folios migrate-large \
	migrate-regression migrate-stress migrate-zap evict evict-race \
	coherent coherent-large \
	exclusive exclusive-atomic exclusive-mm exclusive-pmd exclusive-race \
	madvise fork mremap mlock hugetlb memcg userfaultfd soft-dirty \
	dirty-tracking aging kernel-access trace matrix random-mm random-mm-race \
	dma-odp small-driver

HMM_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
HMM_COMMON := $(addprefix $(HMM_DIR)/lib/,common.c device.c access.c group.c \
	inject.c folios.c move.c exclusive.c notify.c owned.c place.c)
# What single programs consist of besides
HMM_MATRIX := $(HMM_DIR)/lib/matrix_memory.c
HMM_EVENTS := $(HMM_DIR)/lib/changes.c
HMM_RANDOM := $(HMM_DIR)/lib/random_mm.c
HMM_HEADERS := $(wildcard $(HMM_DIR)/lib/*.h $(HMM_DIR)/hmm_probe/*_uapi.h \
	$(HMM_DIR)/small_driver/*_uapi.h)
# The mm selftests' own helpers
HMM_VM := vm_util.c hugepage_settings.c

ifneq ($(HMM_OUT),)
HMM_KSFT := $(HMM_KSRC)/tools/testing/selftests
HMM_OBJ := $(HMM_OUT).obj
HMM_CC = $(CC) -O2 -Wall -D_GNU_SOURCE= $(HMM_CFLAGS) -I$(HMM_KSFT) -I$(HMM_KSRC)
# vm_util.h needs a linux/fs.h that this machine may not have.
HMM_LIB_CC = $(HMM_CC) -I$(HMM_KSFT)/mm -isystem $(HMM_KSRC)/tools/include/uapi
HMM_HEADERS += $(HMM_DIR)/../../../../../lib/test_hmm_uapi.h
HMM_SHARED := $(HMM_COMMON:$(HMM_DIR)/%.c=$(HMM_OBJ)/%.o) \
	$(HMM_VM:%.c=$(HMM_OBJ)/mm/%.o)

.PHONY: hmm-selftests
hmm-selftests: $(HMM_TESTS:%=$(HMM_OUT)/%)

$(HMM_OBJ)/lib/%.o: $(HMM_DIR)/lib/%.c $(HMM_HEADERS)
	@mkdir -p $(@D)
	$(HMM_LIB_CC) -c -o $@ $<

$(HMM_OBJ)/mm/%.o: $(HMM_KSFT)/mm/%.c
	@mkdir -p $(@D)
	$(HMM_LIB_CC) -c -o $@ $<

$(HMM_OUT)/%: $(HMM_DIR)/%.c $(HMM_SHARED) $(HMM_HEADERS)
	$(HMM_CC) -static -o $@ $(filter %.c %.o,$^) -lpthread

$(HMM_OUT)/matrix: $(HMM_MATRIX)
$(HMM_OUT)/notifier-events: $(HMM_EVENTS)
$(HMM_OUT)/random-mm $(HMM_OUT)/random-mm-race: $(HMM_RANDOM:$(HMM_DIR)/%.c=$(HMM_OBJ)/%.o)
endif
