# SPDX-License-Identifier: GPL-2.0
"""Compile probes/*.c, as the configure script of a driver outside of the tree would, in both trees: each must compile.

Those in probes/retired/ are for older kernels and must not, for the reason that the file gives behind "error:".
"""
import pathlib
import re
import shutil

from ..kmake import kernel_make
from ..tree import Failure, source_of

PROBES = pathlib.Path(__file__).parent / "probes"
EXPECTED = re.compile(r"^// error: (.*)$", re.M)


def lay_out(folder):
    """Put the probes into FOLDER, as a module's directory, and return their names."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PROBES, folder)
    names = sorted(str(path.relative_to(PROBES).with_suffix("")) for path in PROBES.rglob("*.c"))
    (folder / "Kbuild").write_text(f"obj-m := {' '.join(f'{name}.o' for name in names)}\n")
    return names


def complaints_about(folder, name, log):
    """What is wrong with the outcome of the probe NAME."""
    expected = EXPECTED.search((PROBES / f"{name}.c").read_text())
    said = [line.partition("error: ")[2] for line in log.splitlines() if f"{name}.c:" in line and "error: " in line]
    if not expected:
        return [] if (folder / f"{name}.o").is_file() else [f"{name} does not compile: {line}" for line in said or [""]]
    if (folder / f"{name}.o").is_file():
        return [f"{name} compiles, which it must not: {expected[1]}"]
    if not any(expected[1] in line for line in said):
        return [f"{name} does not compile, but not because of '{expected[1]}': {'; '.join(said)}"]
    return []


def check_probes(target, impl):
    """(number of probes, complaints) in the tree of IMPL, which is prepared."""
    out = target.out(impl)
    folder, log = out / "probes", out.with_suffix(".probes.log")
    names = lay_out(folder)
    try:
        kernel_make(source_of(impl), out, [f"{name}.o" for name in names], f"{impl}/{out.name}/probes", log,
                    [*target.variables(), f"M={folder}", "-k"])
    except Failure:
        pass  # those in retired/ fail
    text = log.read_text().translate(str.maketrans("‘’", "''"))
    return len(names), [f"{impl}: {line}" for name in names for line in complaints_about(folder, name, text)]
