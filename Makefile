# SPDX-License-Identifier: GPL-2.0
# Everything this repository can do; `make` alone lists it. The work is in scripts/.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

GIVEN_CONFIG := $(CONFIG)
IMPL ?= ours
CONFIG ?= run
TOP := $(CURDIR)
BUILD := $(TOP)/build
KDIR := $(BUILD)/$(IMPL)/$(CONFIG)
CONFIGS := $(filter-out ours% consumers%,$(basename $(notdir $(wildcard configs/*.config))))

# The scripts get these as typed: make must not expand the $ of a command or of memmap=
override RUN := $(value RUN)
override FILES := $(value FILES)
override KARGS := $(value KARGS)
override QARGS := $(value QARGS)
override ROWS := $(value ROWS)
override MUTANTS := $(value MUTANTS)
override ARGS := $(value ARGS)

export IMPL CONFIG KSRC KARGS QARGS IOMMU MEM SMP RUN FILES KCONFIG TESTS CHAOS SEEDS ROWS KEEP SECONDS SEED MUTANTS TIMEOUT V ARCHS \
	ARGS VM_NAME BUILD KDIR

# $(call one_of,NAME,WORDS,HOW): the value of NAME must be one of WORDS, or such words joined as HOW says
one_of = $(if $(filter-out 1,$(words $($1)))$(filter-out $2,$(subst $(or $3,$() $()), ,$($1))),$(error $1=$($1): give \
	one of: $2$(if $3, (or two, joined by $3))))
$(call one_of,IMPL,ours base)
$(call one_of,CONFIG,$(CONFIGS),+)

.PHONY: help
help:
	@echo 'Heterogeneous memory management for Linux $(shell sed -n "s/^series //p" base/kernel), laid over the stock kernel'
	@echo
	@sed -n 's/^#: //p' Makefile
	@echo
	@echo 'Variables (NAME=value):'
	@sed -n 's/^#= //p' Makefile

#= IMPL      ours (default), or base: the stock kernel's own HMM
#= CONFIG    run (default), debug (KASAN, lockdep and more), kasan, kcsan, bench,
#=           wide (as much mm as a distribution has), users (make users has it), nouveau (a part of users) or
#=           coverage (make coverage has it); trace (trace events) or pm, on top of those: see configs/; wide+debug is both
#= KSRC      your own clean kernel tree, instead of Debian's source package
#= KARGS     more kernel parameters
#= QARGS     more QEMU options
#= IOMMU     intel (default), hardware, amd, virtio or none: what the VM has before its DMA device
#= MEM, SMP  the VM's memory (4G) and processors (2; make torture: 1, 2 and 4)
#= TIMEOUT   seconds that the VM, or one test, may take
#= RUN       the command for make vm
#= FILES     files and directories copied into the VM for it
#= VM_NAME   the directory below build/vm for the log of its console (IMPL-CONFIG)
#= TESTS     which selftests make quick and make driver run (default: all, and more); for make users, see there
#= ARGS      parameters of nouveau for make nouveau and make coverage
#= CHAOS     which programs make chaos runs: sqlite3 cc sort python3 stress-ng (default: all)
#= SEEDS     with which make bench measures; each boots each kernel once (1 2 3)
#= ROWS      which rows make bench measures, by name: 'present-* one-page' (default: all)
#= SECONDS   how long make torture runs, over 1, 2 and 4 processors (600)
#= SEED      where the random numbers of make torture start (1)
#= MUTANTS   which broken notifiers make torture tries first, by name; - for none (default: all)
#= KEEP      1: make bench also writes its table to bench/results.txt, make users to bench/users.txt
#= ARCHS     for which kernels make consumers and make sketch compile (x86_64): also arm64 arm64-64k powerpc, or all
#= KCONFIG   the kernel configuration for make deb
#= V         1: show the commands of a build, too

# Prerequisites of the targets below
.PHONY: deps deps-build deps-deb deps-lint deps-chaos deps-users deps-consumers fetch assemble built vm-settings

#: make deps      install the Debian packages that the targets need
deps:
	@scripts/deps build vm

deps-build:
	@scripts/deps build

deps-deb:
	@scripts/deps build deb

deps-lint:
	@scripts/deps build lint

deps-chaos:
	@scripts/deps build vm chaos

deps-users:
	@scripts/deps build vm users

deps-consumers:
	@scripts/deps build $(if $(filter-out x86_64,$(ARCHS)),cross)

#: make fetch     put the stock kernel into build/base/src
fetch: deps
	@scripts/fetch

#: make assemble  apply the series to a copy of it, in build/ours/src
assemble: fetch
	@$(if $(filter ours,$(IMPL)),scripts/assemble)

built: assemble
	@scripts/build-kernel $(IMPL) $(CONFIG) >/dev/null

# Wrong settings of make vm are named before anything is fetched or built. It needs Python, which deps installs.
vm-settings:
	@! command -v python3 >/dev/null || scripts/vm check

.PHONY: run test quick prove driver fuzz users nouveau coverage chaos torture litmus mutants consumers sketch kselftest mm bench shell vm kernel deb lint clean distclean
.PHONY: series series-check series-build

#: make kernel    build the kernel; the last line is the build directory, for make -C DIRECTORY M=...
kernel: assemble
	@scripts/build-kernel $(IMPL) $(CONFIG)

#: make run       boot it and show a process mirrored by the dummy device
run: built
	@scripts/demo

#: make test      KUnit, userland tests, the stock hmm-tests and our selftests; a summary at the end
test: built
	@scripts/test all

#: make quick     the same in short form, without hmm-tests; TESTS='fork userfaultfd' in an edit-and-try loop
quick: built
	@scripts/test quick

#: make prove     show that our selftests fail on the stock kernel where they should
prove: override export IMPL := base
prove: override export KDIR := $(BUILD)/base/$(CONFIG)
prove: built
	@scripts/test prove

#: make driver    the stock kernel's own dummy driver on our kernel, under hmm-tests and our selftests; TESTS as above
driver: built
	@scripts/test driver

#: make fuzz      a million random commands to the dummy devices, under KASAN
fuzz: override export CONFIG := kasan
fuzz: override export KDIR := $(BUILD)/ours/kasan
fuzz: built
	@scripts/test fuzz

#: make users     RDMA over rxe, and KVM, on the stock kernel and on ours side by side; TESTS='rdma:changes kvm:dirty_log_test'
users: override export IMPL := ours
users: override export CONFIG := users
users: override export KDIR := $(BUILD)/ours/users
users: deps-users built
	@scripts/test users

#: make nouveau   nouveau's SVM on a fake GPU, by KUnit, in the kernel of make users; CONFIG=nouveau+debug for another
nouveau: override export IMPL := ours
nouveau: override export CONFIG := $(or $(GIVEN_CONFIG),users)
nouveau: override export KDIR := $(BUILD)/ours/$(or $(GIVEN_CONFIG),users)
nouveau: built
	@scripts/test nouveau

#: make coverage  which lines and branches of nouveau's SVM that covers, by gcov; fails below the floors
coverage: override export IMPL := ours
coverage: override export CONFIG := nouveau+coverage
coverage: override export KDIR := $(BUILD)/ours/nouveau+coverage
coverage: built
	@scripts/test coverage

#: make chaos     real programs, CHAOS='NAMES', while dummy devices migrate their memory
chaos: deps-chaos built
	@scripts/test chaos

#: make torture   SECONDS=600 SEED=1: torture the notifiers, after showing that broken ones fail
torture: built
	@scripts/torture

#: make litmus    check the ordering claims against the kernel's memory model, with herd7 (fetched if missing)
litmus: fetch
	@scripts/litmus

#: make mutants   change one thing at a time in pure headers: their userland suites must fail each time
mutants: deps-build
	@scripts/mutants

#: make consumers compile the drivers that use HMM or the notifiers, unmodified, and check that they would link; ARCHS=all
consumers: deps-consumers assemble
	@scripts/consumers

#: make sketch    compile what drivers could do with the new calls, as patches of theirs: scripts/hmm/consumers/sketches
sketch: deps-consumers assemble
	@scripts/sketch

#: make mm        other mm tests of the stock tree: what passes on the stock kernel passes on ours
mm: override export IMPL := ours
mm: override export KDIR := $(BUILD)/ours/$(CONFIG)
mm: built
	@scripts/test mm

#: make kselftest our selftests and hmm-tests, built, installed and run by kselftest itself
kselftest: built
	@scripts/test kselftest

#: make bench     count the instructions of both kernels' HMM and compare with the goals
bench: fetch
	@scripts/assemble
	@scripts/build-kernel base bench >/dev/null
	@scripts/build-kernel ours bench >/dev/null
	@scripts/bench

#: make shell     a root shell in the VM
shell: built
	@scripts/vm shell

#: make vm        RUN='command' FILES='paths...': run a command in the VM; fails if the command fails
vm: vm-settings built
	@scripts/vm run

#: make deb       KCONFIG=/boot/config-...: installable kernel packages in build/deb
deb: deps-deb assemble
	@scripts/deb

#: make lint      checkpatch, warnings, sparse, kernel-doc, wording and names of our files and the series
lint: deps-lint assemble
	@scripts/lint

#: make series    the series as mails, in build/series/mails; checkpatch reads them
series: fetch
	@scripts/series mails

#: make series-check  apply the series patch by patch; compile our objects and those of the files that a patch edits
series-check: fetch
	@scripts/series check

#: make series-build  build the whole kernel after each patch and boot it; the next run continues where one was stopped
series-build: fetch
	@scripts/series build

#: make clean     remove what was built; the kernel sources stay
clean:
	@scripts/clean

#: make distclean remove build/
distclean:
	@scripts/clean all
