# SPDX-License-Identifier: GPL-2.0
"""Compile sketches/*.patch: what drivers could do with calls that the base kernel lacks. They are not in the series.

The files that a sketch edits are copied from our tree and patched without fuzz. What is C among them must compile with
W=1, in the place of the kernel's own, without a warning; its headers are found before those of the tree.
"""
import pathlib
import re
import shutil
import subprocess

from ..kmake import WARNING, kernel_make
from ..tree import OURS_SRC, Failure, clean_env

SKETCHES = pathlib.Path(__file__).parent / "sketches"
EDITED = re.compile(r"^\+\+\+ b/(\S+)$", re.M)


def lay_out(folder, patch, src=OURS_SRC):
    """Put the edited files into FOLDER, as a module's directory, and return the names of its objects."""
    text = patch.read_text()
    paths = EDITED.findall(text)
    shutil.rmtree(folder, ignore_errors=True)
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(src / path, folder / path)
    done = subprocess.run(["patch", "-p1", "-F0", "--batch", "--forward", "--no-backup-if-mismatch", "-d", folder],
                          input=text, env=clean_env(), text=True, capture_output=True)
    if done.returncode:
        raise Failure(f"{patch.name} does not apply:\n{done.stdout.rstrip()}")
    objects = [path.removesuffix(".c") + ".o" for path in paths if path.endswith(".c")]
    # Behind these flags come the include directories of the tree.
    (folder / "Kbuild").write_text(f"NOSTDINC_FLAGS += -I{folder}/include\nobj-m := {' '.join(objects)}\n")
    return objects


def check_sketch(target, patch):
    """Complaints about a sketch."""
    out = target.out()
    folder, log = out / "sketches" / patch.stem, out.with_suffix(".sketches.log")
    try:
        objects = lay_out(folder, patch)
        kernel_make(OURS_SRC, out, objects, f"ours/{out.name}/{patch.stem}", log,
                    [*target.variables(), f"M={folder}", "W=1"])
    except Failure as failure:
        return str(failure).splitlines()
    return [f"{patch.name}: {line}" for line in log.read_text().splitlines() if WARNING.search(line)]


def check_sketches(target):
    """(number of sketches, complaints) in our tree, which is prepared for the target."""
    patches = sorted(SKETCHES.glob("*.patch"))
    return len(patches), [line for patch in patches for line in check_sketch(target, patch)]
