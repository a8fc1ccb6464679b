# SPDX-License-Identifier: GPL-2.0
"""scripts/vm as another script runs it."""
import os
import signal
import subprocess

from hmm.tree import TOP
from hmm.vm.machine import die_with_parent


def run_vm(environment, show, errors=None):
    """Boot as ENVIRONMENT says and give each line to SHOW; returns the lines and the status.

    `errors` is where the runner's own messages go, as for Popen. The VM ends with the caller.
    """
    parent = os.getpid()
    lines = []
    with subprocess.Popen([TOP / "scripts/vm", "run"], env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace",
                          preexec_fn=lambda: die_with_parent(parent, signal.SIGTERM)) as process:
        for line in process.stdout:
            lines.append(line.rstrip())
            show(lines[-1])
    return lines, process.returncode
