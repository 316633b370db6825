"""Who writes a run, and does that process still live? What a lease notes of its holder, and when
another may take it."""

from __future__ import annotations

import getpass
import os
import platform
import secrets
import subprocess
import sys
import uuid
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from trainwright.core.errors import LeaseHeld, shown
from trainwright.core.phrases import phrase
from trainwright.store.contract import Lease

_given_up: set[str] = set()  # tokens, of 16 random bytes: never given twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """One process: `machine` is one boot of one kernel (and its space of process ids), `started`
    tells apart two processes that had the same id one after the other."""

    machine: str
    pid: int
    started: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A lease as it is written down. `expires` is in the store's clock."""

    token: str
    owner: str
    writer: Writer
    seconds: float
    expires: float

    def renewed(self, now: float) -> Holding:
        """The same, with its time begun anew."""
        return replace(self, expires=now + self.seconds)

    def lease(self, run_id: str) -> Lease:
        """What its holder is given."""
        return Lease(
            run_id=run_id,
            token=self.token,
            owner=self.owner,
            seconds=self.seconds,
            expires=self.expires,
        )


def this_writer() -> Writer:
    """The process that asks."""
    pid = os.getpid()
    return Writer(machine=_machine(), pid=pid, started=_started(pid) or "")


def new_holding(owner: str | None, seconds: float, now: float) -> Holding:
    """A lease for the process that asks, from `now` on."""
    assert seconds > 0, seconds
    return Holding(
        token=secrets.token_hex(16),
        owner=owner or _default_owner(),
        writer=this_writer(),
        seconds=seconds,
        expires=now + seconds,
    )


def give_up(token: str) -> None:
    """The lease of that token is no longer used by this process, whatever the store still says."""
    _given_up.add(token)


def is_living(holding: Holding, now: float) -> bool:
    """May this holder still write? Not when its time is over, nor when it is known to be dead."""
    if now >= holding.expires or holding.token in _given_up:
        return False
    return not is_dead(holding.writer)


def is_dead(writer: Writer) -> bool:
    """Is it sure that this process has ended? Never sure of processes on other machines."""
    if writer.machine != _machine() or sys.platform == "win32":
        return False  # on Windows there is no harmless question; the lease runs out instead
    if writer.pid == os.getpid():
        return writer.started != (_started(writer.pid) or "")
    started = _started(writer.pid)
    if started is not None:
        return bool(writer.started) and started != writer.started
    try:
        os.kill(writer.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return sys.platform == "linux" and _is_zombie(writer.pid)


def held_error(run_id: str, holding: Holding, now: float) -> LeaseHeld:
    """The refusal to a second writer."""
    left = max(0.0, holding.expires - now)
    return LeaseHeld(
        phrase(
            "run {run} is being written by {owner}", run=shown(run_id), owner=shown(holding.owner)
        ),
        allowed=phrase("one writer per run, any number of readers"),
        do=phrase(
            "wait for it or stop it; if it is dead, its claim ends by itself in {seconds:.0f} s",
            seconds=left,
        ),
    )


def lost_error(run_id: str) -> LeaseHeld:
    """What a writer learns that was silent for too long."""
    return LeaseHeld(
        phrase(
            "this process no longer writes run {run}: its claim ran out or was taken",
            run=shown(run_id),
        ),
        allowed=phrase("one writer per run, any number of readers"),
        do=phrase("let the other go on; what was written until now is kept"),
    )


def _default_owner() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = "someone"
    return f"process {os.getpid()} of {user} on {platform.node() or 'this machine'}"


@cache
def _machine() -> str:
    """Linux: the kernel's boot id and the namespace of process ids, so that two containers never
    judge each other's processes. Elsewhere: the host's name and network address."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{platform.node()} {uuid.getnode():x}"


def _started(pid: int) -> str | None:
    """When a process began, as text to compare; None when it has ended or cannot be known."""
    if sys.platform == "linux":
        fields = _stat_fields(pid)
        return fields[19] if fields and fields[0] not in "ZX" else None
    if sys.platform == "win32":
        return None
    answer = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None


def _is_zombie(pid: int) -> bool:
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] in "ZX"


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; [19] is the start in clock ticks.

    Source: proc_pid_stat(5); the second field may hold blanks and brackets, so it is cut off.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
