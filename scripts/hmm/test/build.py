# SPDX-License-Identifier: GPL-2.0
"""Build the programs and the module that the tests need, outside the source directories."""
import fcntl
import glob
import os
import shutil
import subprocess

from hmm.tree import Failure

SHOWN_LINES = 20
KSELFTEST_NEEDS = ("tools/testing/selftests", "tools/include", "scripts/subarch.include", "mm/gup_test.h",
                   "lib/test_hmm_uapi.h")
# The stock tree's mm tests that need no library, no argument, and no more of the machine than this VM is
STOCK_MM = ("cow", "droppable", "folio_split_race_test", "guard-regions", "gup_longterm", "khugepaged",
            "ksm_functional_tests", "madv_populate", "map_fixed_noreplace", "map_populate", "mdwe_test",
            "memory-failure", "merge", "mkdirty", "mlock2-tests", "mremap_dontunmap", "mremap_test", "mrelease_test",
            "mseal_test", "on-fault-limit", "pagemap_ioctl", "pfnmap", "prctl_thp_disable", "process_madv",
            "soft-dirty", "split_huge_page_test", "uffd-unit-tests", "uffd-wp-mremap")
SELFTESTS = "tools/testing/selftests/mm/hmm"
PYVERBS_TESTS = "/usr/share/doc/rdma-core/tests"
COMPILED_IN_VM = ("lib/common", "fuzz", "range")


class BuildError(Failure):
    """A test program does not build; the message holds the compiler's."""


class Builder:
    """Builds into BUILD/tests, one build at a time."""

    def __init__(self, settings, repository):
        self.repository = repository
        self.kernel_build = settings.kernel_build
        self.stock = os.path.join(settings.build, "base/src")
        self.source = os.path.join(settings.build, settings.implementation, "src")
        self.out = os.path.join(settings.build, "tests")
        self.modules_out = os.path.join(self.out, f"{settings.implementation}-{settings.config}")
        os.makedirs(self.out, exist_ok=True)
        self.lock = open(os.path.join(self.out, "lock"), "w", encoding="ascii")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def done(self):
        """Let the next build begin."""
        self.lock.close()

    def stock_hmm_tests(self):
        """The stock tree's hmm-tests, unmodified."""
        return self._stock_program("hmm-tests", self.out, "-U_FORTIFY_SOURCE")

    def stock_mm_tests(self):
        """Other mm tests of the stock tree; returns the directory that holds them and nothing else."""
        folder, generated = os.path.join(self.out, "stock"), os.path.join(self.out, "generated")
        for path in (folder, generated):
            os.makedirs(path, exist_ok=True)
        # kselftest's Makefile writes this file where liburing is missing.
        with open(os.path.join(generated, "local_config.h_gen"), "w", encoding="ascii"):
            pass
        for name in STOCK_MM:
            self._stock_program(name, folder, "-D_GNU_SOURCE=", "-I", generated)
        return folder

    def _stock_program(self, name, folder, *options):
        selftests = os.path.join(self.stock, "tools/testing/selftests")
        shared = ["vm_util", "hugepage_settings", *(["uffd-common"] if name.startswith("uffd-") else [])]
        sources = [os.path.join(selftests, "mm", f"{part}.c") for part in (name, *shared)]
        program = os.path.join(folder, name)
        if not newer_than(program, sources):
            run(["gcc", "-static", "-O2", "-w", *options, "-I", selftests, "-I", self.stock,
                 "-isystem", os.path.join(self.stock, "tools/include/uapi"), *sources, "-o", f"{program}.new",
                 "-lpthread", "-lm"])
            os.replace(f"{program}.new", program)
        return program

    def rdma_program(self):
        """Ours for RDMA, with this machine's library."""
        source, program = os.path.join(self.repository, SELFTESTS, "hmm-rdma.c"), os.path.join(self.out, "hmm-rdma")
        if not newer_than(program, [source]):
            run(["gcc", "-O2", "-Wall", "-D_GNU_SOURCE", source, "-o", f"{program}.new", "-libverbs"])
            os.replace(f"{program}.new", program)
        return program

    def kvm_programs(self, names):
        """The stock tree's KVM selftests, unmodified; returns the directory that holds these and nothing else.

        Their Makefile passes EXTRA_CFLAGS to the linker, too. Symbols are of no use in the VM and take memory there.
        """
        build, headers, out = (os.path.join(self.out, name) for name in ("kvm", "headers", "kvm-programs"))
        selftests = os.path.join(self.stock, "tools/testing/selftests/kvm")
        programs = sorted({name.removesuffix(".sh") for name in names})
        run(["make", "-s", "-C", self.stock, f"O={headers}", "headers"])
        run(["make", "-s", f"-j{os.cpu_count()}", "-C", selftests, f"OUTPUT={build}", "EXTRA_CFLAGS=-static -w",
             f"KHDR_INCLUDES=-isystem {headers}/usr/include", *(f"{build}/{name}" for name in programs)])
        shutil.rmtree(out, ignore_errors=True)
        for name in programs:
            os.makedirs(os.path.dirname(os.path.join(out, name)), exist_ok=True)
            run(["strip", "-o", os.path.join(out, name), os.path.join(build, name)])
        for name in set(names) - set(programs):
            shutil.copy2(os.path.join(selftests, name), os.path.join(out, name))
        return out

    def pyverbs_tests(self):
        """Pyverbs' own tests, which Debian packages as documentation, partly compressed; returns the directory."""
        folder = os.path.join(self.out, "pyverbs-tests")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(PYVERBS_TESTS, os.path.join(folder, "tests"))
        run(["gunzip", *glob.glob(f"{folder}/tests/*.gz")])
        return folder

    def tool(self, name, directory=SELFTESTS):
        """A program that is no selftest: some-name.c and, if it has several files, some_name_*.c."""
        folder = os.path.join(self.repository, directory)
        parts = sorted(glob.glob(os.path.join(folder, f"{name.replace('-', '_')}_*.c")))
        sources = [os.path.join(folder, f"{name}.c"), *parts]
        headers = [path for pattern in ("*.h", "*/*.h", "../*/*_uapi.h")
                   for path in glob.glob(os.path.join(folder, pattern))]
        program = os.path.join(self.out, name)
        if not newer_than(program, [*sources, *headers]):
            run(["gcc", "-static", "-O2", "-Wall", "-D_GNU_SOURCE", "-I", self.stock, *sources, "-o",
                 f"{program}.new", "-lpthread"])
            os.replace(f"{program}.new", program)
        return program

    def preprocessed(self):
        """C sources for a compiler in the VM, which has no headers; returns the directory."""
        folder = os.path.join(self.out, "preprocessed")
        os.makedirs(folder, exist_ok=True)
        selftests = os.path.join(self.stock, "tools/testing/selftests")
        for name in COMPILED_IN_VM:
            run(["gcc", "-E", "-P", "-O2", "-D_GNU_SOURCE", "-I", selftests, "-I", os.path.join(selftests, "mm"),
                 "-I", self.stock, "-isystem", os.path.join(self.stock, "tools/include/uapi"),
                 os.path.join(self.repository, SELFTESTS, f"{name}.c"),
                 "-o", os.path.join(folder, f"{os.path.basename(name)}.i")])
        return folder

    def selftests(self):
        """Our own programs; returns the directory that holds them and nothing else."""
        folder = os.path.join(self.out, "selftests")
        os.makedirs(folder, exist_ok=True)
        rules = os.path.join(self.repository, SELFTESTS, "programs.mk")
        run(["make", "-s", "--no-print-directory", "-f", rules, f"HMM_OUT={folder}", f"HMM_KSRC={self.stock}",
             "hmm-selftests"])
        sources = map(os.path.basename, glob.glob(os.path.join(os.path.dirname(rules), "*.c")))
        wanted = {os.path.splitext(source)[0] for source in sources if not source.startswith(("hmm-", "hmm_"))}
        for name in set(os.listdir(folder)) - wanted:
            os.unlink(os.path.join(folder, name))
        missing = wanted - set(os.listdir(folder))
        if missing:
            raise BuildError(f"programs.mk does not build {', '.join(sorted(missing))}")
        return folder

    def probe_module(self):
        """The test module, built for the kernel under test."""
        return self.module(f"{SELFTESTS}/hmm_probe")

    def small_driver(self):
        """The example of a driver, built likewise; its tests use it."""
        return self.module(f"{SELFTESTS}/small_driver")

    def bench_module(self):
        """The benchmark's module, built likewise."""
        return self.module(f"{SELFTESTS}/hmm_bench")

    def stock_driver(self):
        """The stock tree's dummy driver, unmodified, as a module for the kernel under test."""
        out = os.path.join(self.modules_out, "stock_driver")
        self._copy([os.path.join(self.stock, "lib", name) for name in ("test_hmm.c", "test_hmm_uapi.h")], out)
        with open(os.path.join(out, "Makefile"), "w", encoding="ascii") as makefile:
            makefile.write("obj-m := test_hmm.o\n")
        return self._kernel_module(out, "test_hmm")

    def module(self, folder):
        """Build a module of one of our directories, which is not written to."""
        source, name = os.path.join(self.repository, folder), os.path.basename(folder)
        out = os.path.join(self.modules_out, name)
        self._copy(glob.glob(os.path.join(source, "*.[ch]")) + [os.path.join(source, "Makefile")], out)
        return self._kernel_module(out, name)

    @staticmethod
    def _copy(paths, out):
        os.makedirs(out, exist_ok=True)
        for path in paths:
            copy = os.path.join(out, os.path.basename(path))
            if not newer_than(copy, [path]):
                shutil.copy2(path, copy)

    def _kernel_module(self, out, name):
        run(["make", "-s", "--no-print-directory", "-C", self.kernel_build, f"M={out}", "modules"])
        return os.path.join(out, f"{name}.ko")

    def kselftest(self):
        """Build and install with kselftest's own Makefile; returns the directory.

        It builds modules among their sources, hence the copy. Of mm's programs only hmm-tests: others need libcap-dev
        and libnuma-dev.
        """
        folder = self.modules_out
        selftests = os.path.join(folder, "src/tools/testing/selftests")
        installed = os.path.join(folder, "kselftest_install")
        build = f"O={self.kernel_build}"
        os.makedirs(folder, exist_ok=True)
        run(["rsync", "-aR", *(f"{self.source}/./{name}" for name in KSELFTEST_NEEDS), f"{folder}/src/"])
        run(["make", "-s", "-C", self.source, build, "headers"])
        shutil.rmtree(installed, ignore_errors=True)
        install = ["make", "-s", "-C", selftests, build, f"KSFT_INSTALL_PATH={installed}", "install"]
        stock = os.path.join(self.kernel_build, "kselftest/mm/hmm-tests")
        run([*install, "TARGETS=mm", f"TEST_GEN_FILES={stock}"])
        listed = os.path.join(installed, "kselftest-list.txt")
        with open(listed, encoding="ascii") as opened:
            tests = opened.read()
        run([*install, "TARGETS=mm/hmm"])
        with open(listed, "a", encoding="ascii") as opened:
            opened.write(tests)
        return installed


def newer_than(target, sources):
    """Whether the target exists and is not older than any of these."""
    if not os.path.exists(target):
        return False
    built = os.stat(target).st_mtime_ns
    return all(os.stat(source).st_mtime_ns <= built for source in sources)


def run(command):
    """Run a build step; its output matters only when it fails."""
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "KDIR", "BUILD", "V")}
    answer = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    if answer.returncode:
        said = "\n".join(answer.stdout.rstrip().splitlines()[:SHOWN_LINES])
        raise BuildError(f"{' '.join(command)}\n{said}")
