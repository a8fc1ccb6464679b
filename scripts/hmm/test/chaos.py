# SPDX-License-Identifier: GPL-2.0
"""Real programs of this machine, run in the VM while the dummy devices migrate their memory."""
import os
import subprocess

from hmm.test.build import BuildError

PROGRAMS = ("sqlite3", "cc", "sort", "python3", "stress-ng")
BINARIES = ("sqlite3", "sort", "python3", "stress-ng", "gcc", "as")


def chosen(environment):
    """The programs that CHAOS names, all of them by default."""
    names = (environment.get("CHAOS") or " ".join(PROGRAMS)).split()
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        raise BuildError(f"CHAOS={' '.join(unknown)}: choose from {' '.join(PROGRAMS)}")
    return names


def system_files():
    """The programs of this machine that the VM needs, which have the same path there."""
    programs = [f"/usr/bin/{name}" for name in BINARIES]
    missing = [path for path in programs if not os.path.exists(path)]
    if missing:
        raise BuildError(f"not installed: {' '.join(missing)} (scripts/deps chaos)")
    compiler = said_by("/usr/bin/gcc", "-print-prog-name=cc1")
    return " ".join([*programs, compiler, python_library()])


def python_library():
    """What Python itself consists of."""
    return said_by("/usr/bin/python3", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))")


def said_by(*command):
    """The one line that a program prints."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
