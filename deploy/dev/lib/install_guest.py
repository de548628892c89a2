"""A bare Debian that boots systemd beside everything else on this machine, and somebody in it who pastes commands. For
install_check.py.
"""

import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SERVICES = ("channel-service", "wa-support-gateway", "chatwoot-bridge")
HOME = "/home/stranger/kanal"


class Failed(Exception):
    """What is wrong, for the reader."""


def step(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def found(text):
    print(f"    {text}", file=sys.stderr, flush=True)


def expect(holds, what):
    if not holds:
        raise Failed(what)


def eventually(what, ask, seconds=60):
    """Asks until it holds; what it said last is part of the complaint."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer is True:
            return
        if time.monotonic() > end:
            raise Failed(f"{what}: {answer}")
        time.sleep(0.5)


class Guest:
    """A bare Debian that has booted."""

    def __init__(self, work, base, binaries):
        self.root, self.binaries = work / "guest", binaries
        self.log = work / "guest.log"
        self.shared, self.archives = work / "shared", work / "archives"
        self.process = self.mirror = None
        self.log.unlink(missing_ok=True)
        self.remove()
        shutil.rmtree(self.shared, ignore_errors=True)
        self.shared.mkdir()
        (self.archives / "partial").mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", base, self.root], check=True)
        self.prepare()

    def remove(self):
        if self.root.exists():
            subprocess.run(["rm", "-rf", "--one-file-system", self.root], check=True)

    def write(self, path, text, mode=0o644):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def prepare(self):
        """What a server has before anybody installs something: a name, a mirror, somebody who may sudo, the checkout."""
        self.write("etc/hostname", "village\n")
        # The mirror is reached by a socket that the machine around it holds out, because the guest has no network but its own loopback.
        self.write("etc/hosts", "127.0.0.1 localhost deb.debian.org\n127.0.1.1 village\n")
        lines = ["debian bookworm", "debian bookworm-updates", "debian-security bookworm-security"]
        self.write("etc/apt/sources.list", "".join(f"deb http://deb.debian.org/{line} main\n" for line in lines))
        self.write("etc/systemd/system/mirror.socket", "[Socket]\nListenStream=127.0.0.1:80\n[Install]\nWantedBy=sockets.target\n")
        self.write("etc/systemd/system/mirror.service", "[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd /run/shared/mirror\n")
        self.write("etc/sudoers.d/stranger", "stranger ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        for command in (["useradd", "-m", "-s", "/bin/bash", "stranger"], ["systemctl", "enable", "--quiet", "mirror.socket"]):
            subprocess.run(["chroot", self.root, *command], check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        checkout = self.root / HOME.lstrip("/")
        checkout.mkdir()
        files = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
        ).stdout
        there = b"\0".join(name for name in files.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists())
        archive = subprocess.run(["tar", "-c", "--null", "-T", "-"], cwd=ROOT, input=there, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", checkout], input=archive, check=True)
        self.place_binaries()
        shutil.copy2(self.binaries / "simulator", self.root / "usr/local/bin/simulator")

    def place_binaries(self):
        """Where cargo puts them."""
        target = self.root / HOME.lstrip("/") / "target/dist"
        target.mkdir(parents=True, exist_ok=True)
        for service in SERVICES:
            (target / service).unlink(missing_ok=True)
            shutil.copy2(self.binaries / service, target / service)
        subprocess.run(["chroot", self.root, "/bin/chown", "-R", "stranger:stranger", "/home/stranger"], check=True)

    def boot(self):
        self.mirror = subprocess.Popen(
            ["systemd-socket-activate", "-l", self.shared / "mirror", "/lib/systemd/systemd-socket-proxyd", "deb.debian.org:80"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.start()

    def start(self):
        # Where this machine itself runs without systemd there is nobody to ask for a unit.
        alone = [] if Path("/run/systemd/system").is_dir() else ["--keep-unit"]
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={self.root}", f"--machine=kanal-{secrets.token_hex(4)}", "--boot",
             "--private-network", "--register=no", *alone, "--console=pipe", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
             f"--bind={self.shared}:/run/shared", f"--bind={self.archives}:/var/cache/apt/archives"],
            stdin=subprocess.DEVNULL, stdout=self.log.open("a"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.wait_until_up()

    def leader(self):
        """The guest's process 1."""
        expect(self.process.poll() is None, f"the guest ended: {self.log.read_text()[-2000:]}")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next((child for child in children if Path(f"/proc/{child}/comm").read_text().strip() == "systemd"), None)

    def wait_until_up(self):
        def state():
            if not self.leader():
                return "it has no process 1"
            said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            return True if said in ("running", "degraded") else said or "systemd does not answer"

        eventually("the guest does not come up", state, 120)

    def command(self, *command):
        environment = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        return ["nsenter", "--all", f"--target={self.leader()}", "--", *environment, *command]

    def run(self, *command, check=True, text=None):
        """As root, to look at what is there."""
        made = subprocess.run(self.command(*command), capture_output=True, text=True, input=text or "", check=False)
        if check and made.returncode != 0:
            raise Failed(f"{' '.join(command)}: {made.stdout}{made.stderr}")
        return made

    def said(self, *command):
        return self.run(*command).stdout.strip()

    def reboot(self):
        before = self.leader()
        self.run("systemctl", "reboot", check=False)

        def went_down():
            if self.process.poll() is None:
                return self.leader() not in (before, None) or "it is there still"
            # With --keep-unit it leaves starting it again to whoever started it, and says so.
            expect(self.process.returncode == 133, f"the guest ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
            self.start()
            return True

        eventually("the guest does not go down", went_down, 120)
        self.wait_until_up()

    def end(self):
        for process, by in ((self.process, signal.SIGTERM), (self.mirror, signal.SIGTERM)):
            if process and process.poll() is None:
                process.send_signal(by)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class Terminal:
    """A shell of the stranger, into which whole blocks are pasted: what reads the rest of a block as its input is noticed."""

    def __init__(self, guest):
        self.shell = subprocess.Popen(
            guest.command("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=stranger", f"--working-directory={HOME}",
                          "--property=PAMName=login", "bash", "-s"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.paste("set -eo pipefail\n")

    def paste(self, block, seconds=600):
        """All that it printed. Anything that ends badly ends the shell."""
        mark = secrets.token_hex(8)
        self.shell.stdin.write(f"{block}\necho {mark}\n".encode())
        self.shell.stdin.flush()
        printed = b""
        end = time.monotonic() + seconds
        while f"{mark}\n".encode() not in printed:
            ready, _, _ = select.select([self.shell.stdout], [], [], max(0.0, end - time.monotonic()))
            more = os.read(self.shell.stdout.fileno(), 65536) if ready else b""
            printed += more
            if not more:
                why = "a command failed" if ready else f"it was not done after {seconds} s, or a command swallowed the next ones"
                raise Failed(f"{why}. Pasted:\n{block}\nPrinted at last:\n{printed.decode(errors='replace')[-4000:]}")
        return printed.decode(errors="replace").split(mark)[0].rstrip("\n")
