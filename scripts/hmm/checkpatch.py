# SPDX-License-Identifier: GPL-2.0
"""The kernel's checkpatch, with the types of complaints that mean nothing here."""
import re
import subprocess

from .tree import BASE_SRC, TOP, clean_env

TOOL = [BASE_SRC / "scripts/checkpatch.pl", f"--root={BASE_SRC}", "--strict", "--terse", "--show-types",
        "--no-summary", "--quiet"]

# checkpatch's types that mean nothing for whole files of ours, each with its reason
IGNORED = {
    "FILE_PATH_CHANGES": "new files are listed in MAINTAINERS by a patch of their own",
    "MACRO_ARG_REUSE": "loops over ranges are macros, and the arguments that they reuse are loop variables",
    "GIT_COMMIT_ID": "patches name no commits of a git tree that we have not got",
}

# ... and below these directories: trace events are declared as all of them are, and what SVM_INIT of nouveau returns
# without SVM is part of its interface
IGNORED_BELOW = {
    "include/trace/events/": ("OPEN_ENDED_LINE", "PARENTHESIS_ALIGNMENT"),
    "drivers/gpu/drm/nouveau/": ("ENOSYS",),
}
# What an earlier version of a file has before its name in the kernel
EARLIER = re.compile(r"^series/[^/]+/[^/]+/earlier/")
# ... and for patches that the kernel tree carries, whose empty context lines are a space
IGNORED_IN_PATCHES = ("TRAILING_WHITESPACE",)


def means_something(line):
    """Does a complaint with the name of a file, as --showfile prints it, matter for this file?"""
    in_kernel = EARLIER.sub("", line)
    ignored = next((kinds for folder, kinds in IGNORED_BELOW.items() if in_kernel.startswith(folder)), ())
    if line.partition(":")[0].endswith(".patch"):
        ignored += IGNORED_IN_PATCHES
    return not any(f":{kind}:" in line for kind in ignored)


def lines_of(command, cwd=TOP, env=None):
    done = subprocess.run(command, cwd=cwd, env=env or clean_env(), text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.splitlines()
