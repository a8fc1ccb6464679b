# SPDX-License-Identifier: GPL-2.0
"""Run the kernel's make: a counter while it works, warnings as they come, the log in a file."""
import os
import re
import subprocess
import threading
import time

from .pulse import ended
from .tree import Failure, clean_env, say

STEP = re.compile(r"^  (?:CC|LD|AR|AS|HOSTCC|HOSTLD)\b")
WARNING = re.compile(r"\bwarning:|^WARNING:", re.I)
ERROR = re.compile(r"\berror:|^ERROR:|undefined reference|\*\*\*|No such file|[Kk]illed")
MAKE_ERROR = re.compile(r"make(\[\d+\])?: \*\*\*")
EVERY = 5  # seconds between two progress lines
RELEVANT = 25  # lines of errors worth showing
COMPILERS = ("CC=ccache gcc", "HOSTCC=ccache gcc")


class Progress:
    """One line every few seconds, also while a single step takes long: how much was built so far."""

    def __init__(self, name):
        self.name = name
        self.begin = time.monotonic()
        self.steps = 0
        self.ended = threading.Event()
        self.ticker = threading.Thread(target=self.tick, daemon=True)

    def __enter__(self):
        self.ticker.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.ticker.join()

    def tick(self):
        while not self.ended.wait(EVERY):
            say(f"{self.name}: {self}")

    def count(self, line):
        self.steps += bool(STEP.match(line))

    def __str__(self):
        return f"{self.steps} objects, {time.monotonic() - self.begin:.0f} s"


def cache_env(src):
    """Objects of siblings of the source tree hit the same cache entries in both trees."""
    return clean_env(CCACHE_BASEDIR=str(src.parent), CCACHE_NOHASHDIR="1")


def telling(errors):
    """The errors of the compilers or, if there are none, those of make."""
    said = [line for line in errors if not MAKE_ERROR.match(line)] or errors
    return "\n".join(said[:RELEVANT]) or "(no line looks like an error)"


def kernel_make(src, out, targets, name, log, variables=()):
    """make TARGETS of the tree SRC in the directory OUT; Failure with the errors otherwise."""
    verbose = os.environ.get("V", "") not in ("", "0")
    command = ["make", "-C", str(src), f"O={out}", f"-j{os.cpu_count()}", *COMPILERS,
               *(["V=1"] if verbose else []), *variables, *targets]
    errors = []
    with open(log, "w") as logged, Progress(name) as progress, subprocess.Popen(
            command, env=cache_env(src), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", close_fds=False) as make:
        with ended(make):
            for line in make.stdout:
                logged.write(line)
                progress.count(line)
                if ERROR.search(line):
                    errors.append(line.rstrip())
                if verbose or WARNING.search(line):
                    say(line.rstrip())
    if make.returncode:
        raise Failure(f"building {name} failed; the whole log is {log}\n{telling(errors)}")
    say(f"{name}: built, {progress}")
