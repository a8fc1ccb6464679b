# SPDX-License-Identifier: GPL-2.0
"""What to boot and how, from environment variables, all of them optional, that the Makefile exports."""
import glob
import os
import re
import shlex

from hmm.tree import TOP, Failure

REPOSITORY = str(TOP)

# Memory that memmap= reserves: the dummy driver's two coherent devices use a half each. It lies in the upper part of
# a 4 GiB machine, above the hole for PCI. The test module's memory lies directly below it.
COHERENT_START, COHERENT_SIZE = 0x120000000, 512 << 20
PROBE_SIZE = 32 << 20
COHERENT_NEEDS = 4 << 30

# For each IOMMU of QEMU, its driver, and what to pass to QEMU. In caching mode, Intel's has to be synced after
# mapping too, as a virtual one has: then the kernel does so as it does after unmapping.
IOMMUS = {"intel": ("CONFIG_INTEL_IOMMU", "intel-iommu,caching-mode=on,intremap=off"),
          "hardware": ("CONFIG_INTEL_IOMMU", "intel-iommu,intremap=off"),
          "amd": ("CONFIG_AMD_IOMMU", "amd-iommu"),
          "virtio": ("CONFIG_VIRTIO_IOMMU", "virtio-iommu-pci"),
          "none": ("CONFIG_PCI", None)}


class SettingsError(Failure):
    """The environment asks for something impossible."""


class Settings:
    """One VM's configuration."""

    def __init__(self, environment=os.environ):
        get = environment.get
        self.implementation = get("IMPL") or "ours"
        self.config = get("CONFIG") or "run"
        self.build = os.path.abspath(get("BUILD") or os.path.join(REPOSITORY, "build"))
        self.kernel_build = get("KDIR") or os.path.join(self.build, self.implementation, self.config)
        self.kernel_arguments = words("KARGS", get("KARGS") or "")
        self.qemu_arguments = words("QARGS", get("QARGS") or "")
        self.iommu = get("IOMMU") or "intel"
        if self.iommu not in IOMMUS:
            raise SettingsError(f"IOMMU={self.iommu}: one of {', '.join(IOMMUS)} is needed")
        self.memory = get("MEM") or "4G"
        self.processors = get("SMP") or "2"
        size_in_bytes(self.memory)
        positive_number("SMP", self.processors, "a number of processors")
        self.time_limit = positive_number("TIMEOUT", get("TIMEOUT") or "600", "a number of seconds")
        self.command = get("RUN") or ""
        self.files = words("FILES", get("FILES") or "")
        self.system_files = words("SYSTEM_FILES", get("SYSTEM_FILES") or "")
        self.expected_on_console = get("EXPECT_CONSOLE") or None
        self.name = get("VM_NAME") or f"{self.implementation}-{self.config}"

    def check_command(self):
        """Check RUN and FILES; make vm does so before it fetches or builds anything."""
        if not self.command:
            raise SettingsError("nothing to run: give RUN='command'")
        for pattern in self.files:
            # A file in the build directory may not have been built yet.
            if not glob.glob(pattern) and not is_within(self.build, pattern):
                raise SettingsError(f"FILES={pattern}: no such file or directory")

    @property
    def kernel_image(self):
        """The kernel to boot."""
        return os.path.join(self.kernel_build, "arch/x86/boot/bzImage")

    def has_option(self, option):
        """Whether the kernel was configured with this option."""
        try:
            with open(os.path.join(self.kernel_build, ".config"), encoding="utf-8") as opened:
                return f"{option}=y\n" in opened.read()
        except FileNotFoundError:
            return False

    def dma_devices(self):
        """QEMU's arguments for a device that does DMA, below an IOMMU, where the kernel has the driver of that."""
        option, device = IOMMUS[self.iommu]
        if not self.has_option("CONFIG_IOMMU_SUPPORT") or not self.has_option(option):
            return []
        return ["-machine", "q35", *(["-device", device] if device else []),
                "-device", "edu,dma_mask=0xffffffffffffffff"]

    def kernel_command_line(self):
        """Arguments for the kernel and, after them, the user's own."""
        arguments = ["console=ttyS0", "panic=-1", "transparent_hugepage=always", "printk.time=1"]
        if size_in_bytes(self.memory) >= COHERENT_NEEDS:
            half = COHERENT_SIZE // 2
            probe = COHERENT_START - PROBE_SIZE
            arguments += [f"memmap={(PROBE_SIZE + COHERENT_SIZE) >> 20}M${probe:#x}",
                          f"hmm_probe.coherent={probe:#x}",
                          f"test_hmm.spm_addr_dev0={COHERENT_START:#x}",
                          f"test_hmm.spm_addr_dev1={COHERENT_START + half:#x}"]
        if self.has_option("CONFIG_KASAN"):
            # Where KASAN's shadow begins depends on 5-level paging by way of an alternative: an interrupt while
            # that is patched in, at boot, is reported as a wild access.
            arguments.append("no5lvl")
        if self.has_option("CONFIG_NUMA_EMU"):
            arguments.append("numa=fake=2U")
        return arguments + self.kernel_arguments


def words(name, text):
    """The words of a setting, which may be quoted as for a shell."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"{name}={text}: {str(error).lower()}") from None


def is_within(directory, path):
    """Whether a path, which need not exist, is in a directory."""
    return os.path.abspath(path).startswith(os.path.join(directory, ""))


def positive_number(name, text, what):
    """The value of a numeric setting."""
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise SettingsError(f"{name}={text}: {what} is needed")
    return int(text)


def size_in_bytes(text):
    """QEMU's notation for memory sizes; a bare number counts mebibytes."""
    match = re.fullmatch(r"(\d+)([KMGkmg]?)", text)
    if not match:
        raise SettingsError(f"MEM={text}: a size such as 4G or 2048M is needed")
    return int(match[1]) << {"": 20, "k": 10, "m": 20, "g": 30}[match[2].lower()]
