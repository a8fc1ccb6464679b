# SPDX-License-Identifier: GPL-2.0
"""The patch series in series/: a directory for each patch, STAGE/NN-topic, applied in the order of their names.

message       the text of the mail: a subject line, the body, the trailers
files         which of our files enter with the patch: paths and globs, a line each; a directory means everything below
              it, ** any number of directories, and ! before a glob excludes what it matches
earlier/PATH  what enters of a file named there, if a later patch names it again: that one changes it to the next such
              version, the last one to that of this repository
remove        what is removed from the kernel with it:
                FILE              the whole file; one of ours may replace it
                FILE: function    that function, with the comment above it and its export
hooks.patch   edits to files that remain the kernel's

Only message is required.
"""
import functools
import re
import shutil
import subprocess
from typing import NamedTuple

from .tree import TOP, Failure, clean_env, read_list

SERIES = TOP / "series"
PARTS = {"message", "files", "earlier", "remove", "hooks.patch"}
SUBJECT = re.compile(r"[\w/,.-]+: \S.*")
# The directories of this repository that do not belong in a kernel tree; nor do the files beside them.
OWN = {".ci", "base", "bench", "build", "configs", "scripts", "series"}
# Ignored without git, which has .gitignore for them
LEFTOVER = re.compile(r"(~|\.(o|ko|mod|mod\.c|cmd|orig|rej|sw[op]|pyc))$|^\.#|^__pycache__$")


class Patch(NamedTuple):
    name: str       # STAGE/NN-topic
    subject: str
    message: str    # including the subject
    files: list     # our files that enter with it: paths relative to TOP
    remove: list    # (path, function or "") of the kernel's
    hooks: str      # the text of hooks.patch, or ""
    earlier: list   # those of the files that enter in an earlier version

    def where(self, part):
        """How errors name a part of it."""
        return f"series/{self.name}/{part}"

    def source(self, path):
        """The file that one of its files is in the tree after the patch."""
        return SERIES / self.name / "earlier" / path if path in self.earlier else TOP / path

    def mail(self):
        """What checkpatch reads, without our own files, which it reads by themselves."""
        return f"Subject: [PATCH] {self.message.rstrip()}\n---\n{self.hooks}"


def git(*arguments):
    if not shutil.which("git"):
        raise Failure("git is not installed, and says which files are tracked")
    done = subprocess.run(["git", "-c", "safe.directory=*", "-C", TOP, *arguments], env=clean_env(), text=True,
                          capture_output=True)
    if done.returncode:
        raise Failure(f"git {arguments[0]}: {done.stderr.strip()}")
    return [path for path in done.stdout.split("\0") if path]


def in_kernel(path):
    """Does a path of this repository belong in a kernel tree?"""
    top, below, _ = path.partition("/")
    return bool(below) and top not in OWN


def tracked():
    """Paths of this repository, and those that git does not know."""
    if (TOP / ".git").exists():
        return git("ls-files", "-z"), git("ls-files", "-z", "--others", "--exclude-standard")
    folders = [path for path in TOP.iterdir() if path.is_dir() and path.name not in OWN]
    found = [path.relative_to(TOP) for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in found if not any(map(LEFTOVER.search, path.parts))], []


def our_paths():
    """Our files that belong in a kernel tree: text, and tracked."""
    known, unknown = tracked()
    if added := [path for path in sorted(unknown) if in_kernel(path)]:
        raise Failure(f"{added[0]} is not tracked: git add it, or remove it"
                      + (f"; so are {len(added) - 1} more" if len(added) > 1 else ""))
    ours = sorted({path for path in known if in_kernel(path) and (TOP / path).is_file()})
    for path in ours:
        if b"\0" in (TOP / path).read_bytes():
            raise Failure(f"{path} is no text file" + (
                ", but a program or an object" if (TOP / path).read_bytes().startswith(b"\x7fELF") else ""))
    return ours


@functools.cache
def expression(glob):
    """A glob as a regular expression that matches the path, or a directory above it."""
    text = "".join({"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part) or
                   (part if part.startswith("[") else re.escape(part))
                   for part in re.findall(r"\*\*/|\*\*|\*|\?|\[[^]]+\]|[^*?[]+", glob.rstrip("/")))
    return re.compile(f"{text}(?:/.*)?")


def matching(globs, paths, where):
    """The PATHS that the lines of a `files` list name; each line has to name one."""
    excluded = [expression(glob[1:].strip()) for glob in globs if glob.startswith("!")]
    found = set()
    for glob in (glob for glob in globs if not glob.startswith("!")):
        matched = {path for path in paths if expression(glob).fullmatch(path)}
        if not matched:
            raise Failure(f"{where}: there is no {glob}")
        found |= matched
    return sorted(path for path in found if not any(pattern.fullmatch(path) for pattern in excluded))


def versions(folder, files, where):
    """The paths below the directory FOLDER, each of which has to be one of FILES."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if strange := [path for path in found if path not in files]:
        raise Failure(f"{where('earlier')}/{strange[0]}: {where('files')} does not name {strange[0]}")
    return found


def removal(entry):
    path, _, function = (part.strip() for part in entry.partition(":"))
    return path, function


def loaded(folder, paths):
    name = str(folder.relative_to(SERIES))
    if strange := sorted({path.name for path in folder.iterdir()} - PARTS):
        raise Failure(f"series/{name}/{strange[0]}: not one of {', '.join(sorted(PARTS))}")
    if not (folder / "message").is_file():
        raise Failure(f"series/{name}: no message")
    message = (folder / "message").read_text(encoding="utf-8")
    subject, _, rest = message.partition("\n")
    if not SUBJECT.fullmatch(subject) or not rest.startswith("\n"):
        raise Failure(f"series/{name}/message: the first line must be 'subsystem: what', and the second one empty")
    hooks = folder / "hooks.patch"
    patch = Patch(name, subject, message, matching(read_list(folder / "files"), paths, f"series/{name}/files"),
                  [removal(entry) for entry in read_list(folder / "remove")],
                  hooks.read_text(encoding="utf-8") if hooks.is_file() else "", [])
    return patch._replace(earlier=versions(folder / "earlier", patch.files, patch.where))


def check_each_named_once(patches, paths):
    """Once, apart from earlier versions: only the last patch that names a file brings that of this repository."""
    named, unfinished = {}, {}
    for patch in patches:
        for path in patch.files:
            if path in named and path not in unfinished:
                raise Failure(f"{path} enters twice: {named[path]} and {patch.where('files')} name it")
            named[path] = patch.where("files")
            unfinished.pop(path, None)
            if path in patch.earlier:
                unfinished[path] = patch.where("earlier")
    if forgotten := [path for path in paths if path not in named]:
        raise Failure(f"{forgotten[0]} enters with no patch: name it in one of series/*/*/files"
                      + (f"; so for {len(forgotten) - 1} more" if len(forgotten) > 1 else ""))
    for path, place in unfinished.items():
        raise Failure(f"{place}/{path}: no later patch names {path}, so the file itself never enters")


def patches():
    """The series, in order. Each file of ours enters with exactly one patch, and may change in later ones."""
    paths = our_paths()
    found = [loaded(folder, paths) for folder in sorted(SERIES.glob("*/*/"))]
    check_each_named_once(found, paths)
    return found
