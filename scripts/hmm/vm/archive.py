# SPDX-License-Identifier: GPL-2.0
"""Build an initramfs: a cpio archive ("newc") written straight into a file object.

Written here rather than with cpio(1) so that device nodes need no root, paths can be renamed on the way
in, and nothing is ever staged on disk (a killed run leaves no files behind).
"""
import os
import stat
import subprocess

from hmm.tree import Failure


class ArchiveError(Failure):
    """A file cannot be copied into the VM."""


class Archive:
    """An initramfs being written; parent directories are added as needed."""

    def __init__(self, out):
        self.out = out
        self.names = set()
        self.inode = 0

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        name = name.strip("/")
        if name in self.names:
            return
        self._parents(name)
        self.names.add(name)
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        self._padded(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)
        self._padded(data)

    def _padded(self, data):
        self.out.write(data)
        self.out.write(b"\0" * (-len(data) % 4))

    def _parents(self, name):
        parent = os.path.dirname(name)
        if parent:
            self._entry(parent, stat.S_IFDIR | 0o755)

    def folder(self, name):
        """Add an empty directory."""
        self._entry(name, stat.S_IFDIR | 0o755)

    def text(self, name, text, mode=0o644):
        """Add a file with this text."""
        self._entry(name, stat.S_IFREG | mode, text.encode())

    def symlink(self, name, target):
        """Add a symbolic link."""
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name, major, minor):
        """Add a character device node."""
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def file(self, name, source):
        """Add a regular file of the host, keeping whether it may be executed."""
        try:
            with open(source, "rb") as opened:
                mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
                self._entry(name, stat.S_IFREG | mode, opened.read())
        except OSError as error:
            raise ArchiveError(f"cannot copy {source} into the VM: {error.strerror}") from error

    def tree(self, name, source):
        """Add a file or a directory of the host with all that is in it, and the libraries its programs need."""
        if os.path.islink(source) and not os.path.exists(source):
            self.symlink(name, os.readlink(source))
        elif os.path.isdir(source):
            self.folder(name)
            for child in sorted(os.listdir(source)):
                self.tree(f"{name}/{child}", os.path.join(source, child))
        elif os.path.isfile(source):
            self.file(name, source)
            for library in shared_libraries(source):
                self.file(library, library)
        else:
            raise ArchiveError(f"cannot copy {source} into the VM: no such file or directory")

    def finish(self):
        """Write the end marker, without which the kernel reports a broken archive."""
        self._entry("TRAILER!!!", 0)
        self.out.flush()


def shared_libraries(path):
    """The libraries and the loader which a dynamic program needs, as absolute paths."""
    if not may_be_dynamic(path):
        return []
    answer = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    if answer.returncode:
        return []  # a static program
    found = []
    for line in answer.stdout.splitlines():
        words = line.split()
        if "not found" in line:
            raise ArchiveError(f"{path} needs {words[0]}, which is not installed")
        found += [word for word in words if word.startswith("/")]
    return found


def may_be_dynamic(path):
    """Whether this is an ELF program or library (kernel modules and objects are not)."""
    with open(path, "rb") as opened:
        header = opened.read(18)
    executable, shared = 2, 3
    return header[:4] == b"\x7fELF" and int.from_bytes(header[16:18], "little") in (executable, shared)


def add_modules(archive, build):
    """Add every module of a kernel build directory, with the index that modprobe reads; returns their number."""
    try:
        with open(os.path.join(build, "include/config/kernel.release"), encoding="ascii") as opened:
            release = opened.read().strip()
        with open(os.path.join(build, "modules.order"), encoding="ascii") as opened:
            order = [os.path.splitext(line.strip())[0] + ".ko" for line in opened]
    except FileNotFoundError:
        return 0
    present = [path for path in order if os.path.exists(os.path.join(build, path))]
    needs = {path: module_needs(os.path.join(build, path)) for path in present}
    by_name = {module_name(path): path for path in present}
    index = []
    for path in present:
        archive.file(f"lib/modules/{release}/{path}", os.path.join(build, path))
        index.append(f"{path}: {' '.join(all_needs(path, needs, by_name))}")
    archive.text(f"lib/modules/{release}/modules.dep", "\n".join(index) + "\n")
    return len(present)


def module_name(path):
    """The name by which modprobe and other modules call this module."""
    return os.path.basename(path)[:-len(".ko")].replace("-", "_")


def module_needs(path):
    """Names of the modules that this one says it depends on."""
    with open(path, "rb") as opened:
        content = opened.read()
    start = content.find(b"\0depends=")
    if start < 0:
        return []
    value = content[start + len(b"\0depends="):].split(b"\0", 1)[0].decode()
    return [name.replace("-", "_") for name in value.split(",") if name]


def all_needs(path, needs, by_name):
    """Paths of all modules to load before this one, the nearest first, as modules.dep has them."""
    found = []
    pending = list(needs[path])
    while pending:
        dependency = by_name.get(pending.pop(0))
        if dependency:
            if dependency in found:
                found.remove(dependency)
            found.append(dependency)
            pending += needs[dependency]
    return found
