# SPDX-License-Identifier: GPL-2.0
"""Run a command that may take long, and show every few seconds that it is running."""
import contextlib
import subprocess
import time

from .tree import Failure, clean_env, say

EVERY = 5


@contextlib.contextmanager
def ended(process):
    """PROCESS does not outlive an interrupted body."""
    try:
        yield
    except BaseException:
        process.terminate()
        raise


def run_with_pulse(command, status, **options):
    """Run COMMAND quietly; its output is shown only when it fails. STATUS() gives the progress."""
    begin = time.monotonic()
    with subprocess.Popen(command, env=clean_env(), text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, close_fds=False, **options) as process:
        with ended(process):
            text = None
            while text is None:
                try:
                    text, _ = process.communicate(timeout=EVERY)
                except subprocess.TimeoutExpired:
                    say(f"  {status()}, {time.monotonic() - begin:.0f} s")
    if process.returncode:
        raise Failure(f"{' '.join(map(str, command))} failed:\n{text}".rstrip())
