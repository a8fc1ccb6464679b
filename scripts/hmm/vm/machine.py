# SPDX-License-Identifier: GPL-2.0
"""One QEMU process: starting it, following its serial ports, and never leaving it behind."""
import ctypes
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
SHUTDOWN_SECONDS = 20
# For the report of blocked tasks: between the break and the key, in all, and after the console's last line
BREAK_SECONDS, REPORT_SECONDS, QUIET_SECONDS = 1, 20, 2
BLOCKED = re.compile(rb"Show Blocked State")


def kvm_works():
    """Whether KVM really runs guests here: the device may open on a processor that cannot."""
    with open("/proc/cpuinfo", encoding="utf-8") as opened:
        capable = re.search(r"^flags\s*:.*\b(svm|vmx)\b", opened.read(), re.M)
    return bool(capable) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def die_with_parent(parent, number=signal.SIGKILL):
    """Runs in the child: the kernel ends it if this script dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


class Machine:
    """A virtual machine.

    `started` and `status` are what its /init reported on the control port; `in_time` is false once it has reached
    its time limit. The console goes to a file; a socket beside it takes the magic SysRq key.
    """

    def __init__(self, settings, console_log, initramfs, extra_arguments):
        self.settings = settings
        self.console_log = console_log
        self.initramfs = initramfs
        self.extra_arguments = extra_arguments
        self.process = None
        self.command_port = self.control_port = self.console_port = self.monitor_port = None
        self.control_text = self.console_text = b""
        self.console_wrote_at = 0.0
        self.in_time = True
        self.started_at = None
        self.status = None
        self.errors = ""

    @property
    def started(self):
        """Whether the guest got as far as running the command."""
        return b"started" in self.control_text

    def accelerator(self):
        """How the guest's instructions are executed, or None when the user's QARGS say it."""
        if "-accel" in self.settings.qemu_arguments or "-enable-kvm" in self.settings.qemu_arguments:
            return None
        return "kvm" if kvm_works() else "tcg,thread=multi"

    def arguments(self, command_fd, control_fd, console_fd, monitor_fd):
        """The QEMU command line."""
        settings = self.settings
        accelerator = self.accelerator()
        return [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            *(["-accel", accelerator] if accelerator else []),
            *settings.dma_devices(),
            "-cpu", "max", "-m", settings.memory, "-smp", settings.processors,
            "-chardev", f"socket,id=console,fd={console_fd},logfile={self.console_log.replace(',', ',,')}",
            "-chardev", f"socket,id=command,fd={command_fd}",
            "-chardev", f"socket,id=control,fd={control_fd}",
            "-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control",
            "-serial", "chardev:console", "-serial", "chardev:command", "-serial", "chardev:control",
            "-kernel", settings.kernel_image, "-initrd", f"/proc/self/fd/{self.initramfs.fileno()}",
            "-append", " ".join(settings.kernel_command_line() + self.extra_arguments),
            *settings.qemu_arguments,
        ]

    def start(self):
        """Start QEMU in a session of its own, so that Ctrl-C on the terminal reaches only this script."""
        # The socket pairs and the archive are anonymous: if this script is killed, it leaves no files.
        pairs = [socket.socketpair() for _ in range(4)]
        self.command_port, self.control_port, self.console_port, self.monitor_port = (ours for ours, _ in pairs)
        ends = [theirs for _, theirs in pairs]
        numbers = [end.fileno() for end in ends]
        parent = os.getpid()
        try:
            self.process = subprocess.Popen(
                self.arguments(*numbers), pass_fds=(*numbers, self.initramfs.fileno()),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                start_new_session=True, preexec_fn=lambda: die_with_parent(parent))
        finally:
            for end in ends:
                end.close()
        for port in self.ports():
            port.setblocking(False)
        self.started_at = time.monotonic()

    def ports(self):
        """This script's ends of the socket pairs."""
        ports = self.command_port, self.control_port, self.console_port, self.monitor_port
        return [port for port in ports if port]

    def seconds(self):
        """Time since the start."""
        return time.monotonic() - self.started_at

    def follow(self, output, deadline, terminal=None):
        """Pass the guest's output on until the machine is off; False when the deadline came first.

        `output` is called with every piece of output; `terminal`, when given, is a file descriptor whose
        input goes to the guest. `deadline` tells how many seconds are left (None: no limit).
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self.command_port, selectors.EVENT_READ, output)
            selector.register(self.control_port, selectors.EVENT_READ, self._control)
            selector.register(self.console_port, selectors.EVENT_READ, self._console)
            selector.register(self.monitor_port, selectors.EVENT_READ, lambda data: None)
            exited = os.pidfd_open(self.process.pid)
            try:
                selector.register(exited, selectors.EVENT_READ)
                if terminal is not None:
                    selector.register(terminal, selectors.EVENT_READ)
                return self._pump(selector, exited, deadline, terminal)
            finally:
                os.close(exited)

    def _pump(self, selector, exited, deadline, terminal):
        while True:
            left = deadline()
            if left is not None and left <= 0:
                return False
            events = selector.select(left)
            for key, _ in events:
                if key.fileobj == terminal:
                    self._type(os.read(terminal, 256), selector, terminal)
                elif key.data:
                    self._read(key, selector)
            if any(key.fileobj == exited for key, _ in events):
                self._drain(selector)
                self.errors = self.process.communicate()[1].decode(errors="replace")
                return True

    def _read(self, key, selector):
        try:
            data = key.fileobj.recv(65536)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        if data:
            key.data(data)
        else:
            selector.unregister(key.fileobj)
        return bool(data)

    def _drain(self, selector):
        """Read what is left in the sockets after QEMU has ended."""
        for key in list(selector.get_map().values()):
            if key.data:
                while key.fd in selector.get_map() and self._read(key, selector):
                    pass

    def _type(self, data, selector, terminal):
        if not data:
            selector.unregister(terminal)
            return
        self.command_port.setblocking(True)
        self.command_port.sendall(data)
        self.command_port.setblocking(False)

    def _control(self, data):
        self.control_text += data
        match = re.search(rb"^exit (\d+)\s*\n", self.control_text, re.M)
        if match and self.status is None and self.in_time:
            self.status = int(match[1])
            # The command has ended: the VM only has to power off.
            self.settings.time_limit = min(self.settings.time_limit, self.seconds() + SHUTDOWN_SECONDS)

    def _console(self, data):
        self.console_wrote_at = self.seconds()
        if not self.in_time:
            self.console_text += data

    def show_blocked_tasks(self, output):
        """Have the kernel print the tasks that are blocked (SysRq w) on its console, and wait for that.

        A break on the serial line makes the kernel take the next character as a SysRq key. It needs no process of
        the guest, which may well be what is blocked.
        """
        self._tell_monitor("qmp_capabilities")
        self._tell_monitor("chardev-send-break", id="console")
        pause = self.seconds() + BREAK_SECONDS
        if self.follow(output, lambda: pause - self.seconds()):
            return
        self._send(self.console_port, b"w")
        until = self.seconds() + REPORT_SECONDS

        def left():
            quiet = self.console_wrote_at + QUIET_SECONDS if BLOCKED.search(self.console_text) else until
            return min(quiet, until) - self.seconds()

        self.follow(output, left)

    def _tell_monitor(self, command, **arguments):
        self._send(self.monitor_port, json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    @staticmethod
    def _send(port, data):
        """Send a few bytes, which fit into the socket's buffer; QEMU may be gone."""
        try:
            port.send(data)
        except OSError:
            pass

    def stop(self):
        """Kill QEMU if it still runs, and close everything."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for port in self.ports():
            port.close()
        if self.process and self.process.stderr:
            self.process.stderr.close()
