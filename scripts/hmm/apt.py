# SPDX-License-Identifier: GPL-2.0
"""Download packages with apt, in a private state of its own.

The machine's own configuration is read (which mirror, which key) and never changed.
"""
import functools
import os
import pathlib
import re
import subprocess

from .pulse import run_with_pulse
from .tree import Failure, clean_env, say

KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ROW = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SOURCESENTRY)"


def output(command):
    done = subprocess.run(command, env=clean_env(), text=True, capture_output=True)
    return done.stdout if done.returncode == 0 else ""


def codename():
    """The distribution's own suite, such as bookworm."""
    text = pathlib.Path("/etc/os-release").read_text()
    match = re.search(r'^VERSION_CODENAME="?([\w-]+)', text, re.M)
    return match[1] if match else "sid"


def index_rows():
    """(URI, suite, where it is configured) of what apt is set up to read."""
    text = output(["apt-get", "indextargets", "--no-release-info", "--format", ROW,
                   "Created-By: Packages"])
    rows = (line.split("|") for line in text.splitlines())
    return [(uri, suite, entry) for uri, suite, component, entry in rows if component == "main"]


def configured_key(entry):
    """The signed-by of the sources entry 'FILE:LINE'; Debian's keyring where it has none."""
    path, _, _ = entry.rpartition(":")
    text = pathlib.Path(path).read_text() if path and os.access(path, os.R_OK) else ""
    match = re.search(r"^Signed-By:\s*(/\S+)|\bsigned-by=(/[^\s\]]+)", text, re.M | re.I)
    if match:
        return match[1] or match[2]
    return str(KEYRING) if KEYRING.exists() else ""


def source_lines(suite):
    """sources.list lines: the suites this machine reads from its own mirror, and SUITE."""
    rows = index_rows()
    own = next((row for row in rows if row[1] == codename()), None)
    if not own:
        raise Failure(f"apt knows no mirror of {codename()}")
    mirror, _, entry = own
    key = configured_key(entry)
    option = f"[signed-by={key}] " if key else ""
    suites = dict.fromkeys([row[1] for row in rows if row[0] == mirror] + [suite])
    return [f"deb {option}{mirror} {name} main\n" for name in suites]


class PrivateApt:
    """apt-get and apt-cache that keep everything they write in a directory of their own."""

    def __init__(self, folder, suite):
        for name in ("lists/partial", "archives/partial", "download"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        sources = folder / "sources.list"
        sources.write_text("".join(source_lines(suite)))
        self.folder = folder
        settings = {
            "Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::Lists": folder / "lists", "Dir::Cache": folder,
            "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "",
            "Debug::NoLocking": "1", "Acquire::Languages": "none",
        }
        if os.geteuid() == 0:
            settings["APT::Sandbox::User"] = "root"
        self.options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def update(self):
        say("reading the package lists")
        run_with_pulse(["apt-get", "-q", *self.options, "update"], lambda: "still reading them")

    def versions(self, package):
        text = output(["apt-cache", *self.options, "madison", package])
        return [line.split("|")[1].strip() for line in text.splitlines() if line.count("|") >= 2]

    def closure(self, package):
        """PACKAGE and all that it depends on, directly or not."""
        text = output(["apt-cache", *self.options, "depends", "--important", "--recurse", package])
        names = [line for line in text.splitlines() if line[:1].isalnum()]
        if package not in names:
            raise Failure(f"the mirror has no {package}, or cannot be reached")
        return names

    def download(self, *packages):
        """Fetch packages, given as NAME=VERSION or NAME/SUITE, each complete or not at all; their paths."""
        folder = self.folder / "download"
        for old in folder.iterdir():
            old.unlink()

        def so_far():
            return f"{sum(path.stat().st_size for path in folder.iterdir()) >> 20} MB so far"

        say(f"downloading {' '.join(packages)}")
        run_with_pulse(["apt-get", "-q", *self.options, "download", *packages], so_far, cwd=folder)
        return list(folder.glob("*.deb"))


def older(one, other):
    return subprocess.run(["dpkg", "--compare-versions", one, "lt", other]).returncode == 0


def newest(versions):
    """The highest of some Debian versions."""
    return functools.reduce(lambda best, version: version if older(best, version) else best, versions)
