# SPDX-License-Identifier: GPL-2.0
"""The series as mails: the states in a git tree of its own, which git format-patch turns into files."""
import os
import shutil
import subprocess

from . import staging
from .series import SERIES
from .tree import BASE_SRC, TOP, Failure, clean_env


class Repository:
    """A git tree with the files that the series changes, and no others."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.env = clean_env(GIT_CONFIG_NOSYSTEM="1", **identity())
        self.git("init", "-q")

    def git(self, *arguments, text=None):
        done = subprocess.run(["git", *arguments], cwd=self.folder, env=self.env, text=True, input=text,
                              capture_output=True)
        if done.returncode:
            raise Failure(f"git {arguments[0]}: {done.stdout}{done.stderr}".rstrip())

    def put(self, path, file):
        target = self.folder / path
        target.unlink(missing_ok=True)
        if file:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            target.chmod(0o755 if file.executable else 0o644)

    def commit(self, message):
        self.git("add", "--all", "--force")
        self.git("commit", "-q", "--allow-empty", "-F", "-", text=message)


def identity():
    """Author, committer and date of the last commit of this repository, so that the mails depend on nothing else."""
    done = subprocess.run(["git", "-c", "safe.directory=*", "-C", TOP, "log", "-1", "--format=%an%n%ae%n%cI"],
                          env=clean_env(), text=True, capture_output=True)
    if done.returncode:
        raise Failure(f"git log: {done.stderr.strip()}")
    name, mail, date = done.stdout.splitlines()
    return {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", mail), ("DATE", date))}


def with_cover(mail):
    """The letter that format-patch prepared, with the text of series/cover."""
    subject, _, rest = (SERIES / "cover").read_text(encoding="utf-8").partition("\n")
    text = mail.read_text(encoding="utf-8")
    text = text.replace("*** SUBJECT HERE ***", subject).replace("*** BLURB HERE ***", rest.strip())
    mail.write_text(text, encoding="utf-8")


def write(folder):
    """The paths of the mails in FOLDER, the cover letter first."""
    repository = Repository(folder.with_name("git"))
    states = list(staging.states(BASE_SRC))
    _, last = states[-1]
    stage = {path: staging.current(BASE_SRC, {}, path) for path in last}
    for path, file in stage.items():
        repository.put(path, file)
    repository.commit("base")
    for patch, after in states:
        for path, file in after.items():
            if file != stage[path]:
                repository.put(path, file)
        stage.update(after)
        repository.commit(patch.message)
    shutil.rmtree(folder, ignore_errors=True)
    repository.git("format-patch", "-q", "--cover-letter", "--no-renames", "--no-signature", "--zero-commit",
                   "-o", os.fspath(folder), f"HEAD~{len(states)}")
    mails = sorted(folder.iterdir())
    with_cover(mails[0])
    return mails
