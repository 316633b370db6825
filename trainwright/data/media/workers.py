"""How are files decoded ahead of the loop? By worker processes: once into memory when that holds
them all, else batch by batch, entered at any batch."""

import hashlib
import os
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64, Shaped, UInt64
from torch import Tensor
from torch.utils.data import DataLoader

from trainwright.core.errors import DataError, shown, system_reason
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice, Signature
from trainwright.core.seeds import derive
from trainwright.core.task import Task
from trainwright.data.batch import Batch, Order, Shown, Targets, steps_per_epoch
from trainwright.data.media.folder import UndecodableError
from trainwright.data.memory import Augment, Transform
from trainwright.data.told import Tell, unheard

PASS_FILES = 32  # files that a worker hands back at once while all are read [assumed]
FEW_FILES = 128  # fewer are read sooner than processes start [assumed]
AHEAD_BATCHES = 4  # batches decoded ahead by each worker: evens out large files [assumed]
MOST_WORKERS = 8  # beyond this auto leaves the cores to others [assumed]
LARGEST_FILE = 1 << 30  # bytes of one file [assumed]


@runtime_checkable
class Form(Protocol):
    """What a file becomes, see ImageForm and AudioForm."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def decode(self, data: bytes) -> np.ndarray: ...


class Failure(NamedTuple):
    """A file that could not be decoded: its position among those asked for, and why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """All files read once. `raw` [file, *shape] (zeros where it failed), None when not kept;
    `hashes` uint64 [file] of the files' bytes."""

    raw: Shaped[Tensor, "example ..."] | None
    hashes: UInt64[np.ndarray, " example"]
    failures: tuple[Failure, ...]


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_workers(wanted: int | Literal["auto"]) -> int:
    """data.workers as a number: auto is one per core that the loop leaves free, at least one."""
    return min(MOST_WORKERS, max(1, num_cores() - 1)) if wanted == "auto" else wanted


def read_file(path: str) -> bytes:
    """Raises UndecodableError."""
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            raise UndecodableError(phrase("it is larger than 1 GiB"))
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UndecodableError(system_reason(error)) from None
    if not data:
        raise UndecodableError(phrase("it is empty"))
    return data


def read_all(
    paths: Sequence[str],
    form: Form,
    *,
    keep: bool,
    workers: int | Literal["auto"],
    tell: Tell = unheard,
) -> Pass:
    """Decodes every file once; failures are collected, not raised.

    `tell` hears of files done and files in all, first of none. The loop is idle meanwhile, so auto
    takes every core.
    """
    count = min(MOST_WORKERS, num_cores()) if workers == "auto" else workers
    count = 0 if len(paths) < FEW_FILES else count
    blank = np.zeros(form.shape, dtype=form.dtype)
    raw = torch.from_numpy(np.zeros((len(paths), *form.shape), form.dtype)) if keep else None
    hashes = np.zeros(len(paths), dtype=np.uint64)
    failures: list[Failure] = []
    chunks = [range(i, min(i + PASS_FILES, len(paths))) for i in range(0, len(paths), PASS_FILES)]
    content = _Content(paths=paths, form=form, blank=blank, keep=keep)
    loader = _loader(content, chunks, count)
    done = 0
    tell("files", done, len(paths))
    for positions, arrays, digests, failed in _guarded(loader):
        if raw is not None:
            raw[positions[0] : positions[-1] + 1] = arrays
        hashes[positions[0] : positions[-1] + 1] = np.array(digests, dtype=np.uint64)
        failures += failed
        done += len(positions)
        tell("files", done, len(paths))
    return Pass(raw=raw, hashes=hashes, failures=tuple(failures))


@dataclass(slots=True, kw_only=True)
class FileExamples:
    """One split whose files are decoded when their batch comes up.

    `transform` and `augment` as in MemoryExamples. Several feeds may run side by side; each has
    its own processes, which end when the feed is closed, or all with `close`.
    """

    signature: Signature
    task: Task
    paths: tuple[str, ...]
    form: Form
    target: Targets
    workers: int
    transform: Transform
    notices: tuple[Notice, ...] = ()
    augment: Augment | None = None
    shower: Callable[[int], Shown] | None = None
    _open: "weakref.WeakSet[Generator[Batch, None, None]]" = field(
        default_factory=weakref.WeakSet, repr=False
    )

    def __len__(self) -> int:
        return len(self.paths)

    def feed(self, order: Order, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """See `Examples.feed`: positions are drawn per epoch, so any batch can come first."""
        stream = self._batches(_Endless(order, len(self), batch_size, start), order.seed, start)
        self._open.add(stream)
        return stream

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """See `Examples.batches`."""
        chunks = [
            range(begin, min(begin + batch_size, len(self)))
            for begin in range(0, len(self), batch_size)
        ]
        stream = self._batches(chunks, None, 0)
        self._open.add(stream)
        return stream

    def pick(self, positions: Int64[Tensor, " batch"]) -> Batch:
        """See `Examples.pick`."""
        stream = self._batches([positions.tolist()], None, 0)
        try:
            return next(stream)
        finally:
            stream.close()

    def targets(self) -> Targets:
        return self.target

    def show(self, position: int) -> Shown:
        if self.shower is not None:
            return self.shower(position)
        return Shown(row=position, content={"file": self.paths[position]})

    def close(self) -> None:
        for stream in list(self._open):
            stream.close()

    def _batches(
        self, positions: Any, seed: int | None, number: int
    ) -> Generator[Batch, None, None]:
        blank = np.zeros(self.form.shape, dtype=self.form.dtype)
        content = _Content(paths=self.paths, form=self.form, blank=blank, keep=True)
        for rows, raw, _, failed in _guarded(_loader(content, positions, self.workers)):
            if failed:
                ending = "/".join(Path(self.paths[failed[0].position]).parts[-2:])
                raise DataError(
                    phrase(
                        "{ending} could be decoded before and cannot any more: {reason}",
                        ending=shown(ending),
                        reason=failed[0].reason,
                    ),
                    do=phrase("put the file back as it was and resume, or start a new run"),
                )
            inputs = self.transform((raw,))
            if seed is not None and self.augment is not None:
                generator = torch.Generator().manual_seed(derive(seed, "augment", number))
                inputs = self.augment(inputs, generator)
            where = torch.tensor(rows, dtype=torch.int64)
            yield Batch(inputs=inputs, target=self.target[where], rows=where)
            number += 1


class _Endless:
    """Lists of positions, batch after batch, without end, from batch `start` on."""

    def __init__(self, order: Order, num: int, batch_size: int, start: int) -> None:
        self.order, self.num, self.start = order, num, start
        self.size = min(batch_size, num)
        self.per_epoch = steps_per_epoch(num, batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, first = divmod(self.start, self.per_epoch)
        while True:
            positions = self.order.epoch(epoch).tolist()
            for batch in range(first, self.per_epoch):
                yield positions[batch * self.size : (batch + 1) * self.size]
            epoch, first = epoch + 1, 0


Chunk = tuple[list[int], Tensor, list[int], list[Failure]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What runs in a worker: files of some positions as one tensor, failures beside it."""

    paths: Sequence[str]
    form: Form
    blank: np.ndarray
    keep: bool

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, positions: Sequence[int]) -> Chunk:
        arrays = np.empty((len(positions) if self.keep else 0, *self.blank.shape), self.blank.dtype)
        digests: list[int] = []
        failed: list[Failure] = []
        for place, position in enumerate(positions):
            digest, array = 0, self.blank
            try:
                data = read_file(self.paths[position])
                digest = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
                with _one_thread():
                    array = self.form.decode(data)
            except UndecodableError as error:
                failed.append(Failure(position, str(error)))
            digests.append(digest)
            if self.keep:
                arrays[place] = array
        return list(positions), torch.from_numpy(arrays), digests, failed


def _loader(content: _Content, positions: Any, workers: int) -> "DataLoader[Any]":
    dataset: Any = content
    return DataLoader(
        dataset,
        batch_sampler=positions,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_loop,
        generator=torch.Generator(),  # else it would draw a seed from the loop's own generator
        prefetch_factor=AHEAD_BATCHES if workers else None,
        # fork starts in milliseconds and needs no `if __name__ == "__main__"` in user scripts
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )


def _guarded(loader: "DataLoader[Any]") -> Generator[Chunk, None, None]:
    """The loader's chunks; a worker that died is a DataError; all end with this generator."""
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads; workers only decode, with one thread, and
        # touch no lock of torch's, as in torch's own default on Linux.
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*suggested max number of worker.*")
        at_child_end = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
        iterator = iter(loader)
        _answer_child_ends_as_before(at_child_end)
    try:
        while True:
            try:
                chunk = next(iterator)
            except StopIteration:
                return
            except (
                RuntimeError,
                OSError,
                EOFError,
            ) as error:  # OSError: it died while handing over
                if isinstance(error, RuntimeError) and "worker" not in str(error):
                    raise
                raise DataError(
                    phrase("a process that decodes files ended: {error}", error=str(error)[:120]),
                    do=phrase(
                        "look for a lack of memory (or of /dev/shm in a container); set "
                        "data.workers = 0 to decode in the loop"
                    ),
                ) from None
            yield chunk
    finally:
        # By name, not by garbage collection: processes must be gone when close() returns.
        shut_down = getattr(iterator, "_shutdown_workers", None)
        if shut_down is not None:
            shut_down()


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a worker: the same bits from both, and small transforms are faster so."""
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


def _as_it_is(chunk: Any) -> Any:
    return chunk


def _answer_child_ends_as_before(handler: Any) -> None:
    """torch would raise wherever the loop stands when a worker dies; `next` notices it as well, at
    a point where it can be said."""
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, handler)


def _leave_signals_to_the_loop(_worker: int) -> None:
    """Ctrl-C and a job's end reach every process; the loop saves its state and then ends these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
