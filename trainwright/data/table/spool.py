"""How are rows beyond memory fed to training? Encoded once to a nameless temporary file, read back
in blocks that are shuffled by seed, so that any batch can be the first."""

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from trainwright.core.errors import DataError, shown, system_reason
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice, Signature
from trainwright.core.seeds import derive
from trainwright.core.task import Task
from trainwright.data.batch import Batch, Order, Shown, Targets, steps_per_epoch
from trainwright.data.table.frames import SHOWN_CELLS, cell_text

BLOCK_ROWS = 4096  # rows read at one go: a megabyte of 64 features [assumed]


class Spool:
    """Encoded rows of one split on disk: features float32, codes int64, target, source row.

    The file has no name: it ends with the process, however that ends.
    """

    def __init__(self, num_features: int, num_codes: int, target: Tensor) -> None:
        shape = tuple(target.shape[1:])
        target_type = np.int64 if target.dtype == torch.int64 else np.float32
        fields: list[tuple] = [("features", np.float32, (num_features,))]
        fields += [("codes", np.int64, (num_codes,))] if num_codes else []
        fields += [("target", target_type, shape), ("row", np.int64)]
        self.dtype = np.dtype(fields)
        self.num = 0
        with tempfile.TemporaryFile(dir=folder(), buffering=0) as file:
            self._file = os.dup(file.fileno())
        self._closing = weakref.finalize(self, os.close, self._file)

    def append(
        self,
        inputs: Sequence[Shaped[Tensor, "batch ..."]],
        target: Targets,
        rows: Int64[np.ndarray, " batch"],
    ) -> None:
        """Raises DataError when the disk is full."""
        block = np.empty(len(rows), dtype=self.dtype)
        block["features"], block["target"], block["row"] = inputs[0], target, rows
        if len(inputs) > 1:
            block["codes"] = inputs[1]
        data, done = memoryview(block.tobytes()), 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError as error:
            raise DataError(
                phrase(
                    "the encoded table does not fit on the disk: {reason}",
                    reason=system_reason(error),
                ),
                allowed=phrase(
                    "{bytes} bytes for each row in {folder}",
                    bytes=self.dtype.itemsize,
                    folder=shown(folder()),
                ),
                do=phrase("make space, or set TMPDIR to a folder on a larger disk"),
            ) from None
        self.num += len(rows)

    def read(self, begin: int, end: int) -> Shaped[np.ndarray, " {end-begin}"]:
        """Rows begin to end as records, at least one."""
        size = self.dtype.itemsize
        block = np.empty(end - begin, dtype=self.dtype)
        view: memoryview = memoryview(block).cast("B")  # pyright: ignore[reportArgumentType]
        done = 0
        while done < len(view):
            count = os.preadv(self._file, [view[done:]], begin * size + done)
            assert count > 0, "the temporary file ended early"
            done += count
        return block

    def close(self) -> None:
        self._closing()


def folder() -> str:
    """Where temporary files go: TMPDIR, else /var/tmp, which is rarely memory, else the usual."""
    named = os.environ.get("TMPDIR")
    return named or ("/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir())


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledExamples:
    """One split on disk. An epoch visits blocks of BLOCK_ROWS rows in shuffled order and shuffles
    the rows of as many blocks together as make `shuffle_rows`.

    An order that says `uniform` only gives its seed; of others the epoch's own positions are
    taken, brought together by block: 24 bytes a row.
    """

    signature: Signature
    task: Task
    spool: Spool
    shuffle_rows: int
    table: str | None = None  # a Parquet file, whose rows can be shown as they were
    notices: tuple[Notice, ...] = ()

    def __len__(self) -> int:
        return self.spool.num

    def feed(self, order: Order, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """See `Examples.feed`."""
        size = min(batch_size, len(self))
        per_epoch = steps_per_epoch(len(self), batch_size)
        epoch, first = divmod(start, per_epoch)
        while True:
            skip, left = first * size, (per_epoch - first) * size
            kept: list[tuple[np.ndarray, np.ndarray]] = []
            held = 0
            for positions, blocks in self._pools(order, epoch, per_epoch * size, skip):
                part = positions[:left]
                left -= len(part)
                kept.append((self._records(part, blocks), part))
                held += len(part)
                if held < size:
                    continue
                records = np.concatenate([part for part, _ in kept])
                rows = np.concatenate([part for _, part in kept])
                whole = held - held % size
                yield from self._cut(records[:whole], rows[:whole], size)
                kept, held = [(records[whole:], rows[whole:])], held - whole
                if left == 0:
                    break
            epoch, first = epoch + 1, 0

    def batches(self, batch_size: int) -> Iterator[Batch]:
        step = max(1, BLOCK_ROWS // batch_size) * batch_size
        for begin in range(0, len(self), step):
            end = min(begin + step, len(self))
            yield from self._cut(self.spool.read(begin, end), np.arange(begin, end), batch_size)

    def pick(self, positions: Int64[Tensor, " batch"]) -> Batch:
        """See `Examples.pick`."""
        rows = positions.cpu().numpy()
        records = np.concatenate([self.spool.read(row, row + 1) for row in rows.tolist()])
        return next(self._cut(records, rows, len(rows)))

    def targets(self) -> Targets:
        parts = [
            self.spool.read(begin, min(begin + BLOCK_ROWS, len(self)))["target"]
            for begin in range(0, len(self), BLOCK_ROWS)
        ]
        return torch.from_numpy(np.concatenate(parts))

    def show(self, position: int) -> Shown:
        record = self.spool.read(position, position + 1)[0]
        row = int(record["row"])
        if self.table is not None:
            cells = pl.scan_parquet(self.table).slice(row, 1).collect().row(0, named=True)
            shown_cells = list(cells.items())[:SHOWN_CELLS]
            return Shown(row=row, content={name: cell_text(value) for name, value in shown_cells})
        values = zip(self.signature.names, record["features"].tolist(), strict=False)
        return Shown(row=row, content={n: cell_text(v) for n, v in list(values)[:SHOWN_CELLS]})

    def close(self) -> None:
        self.spool.close()

    def _pools(
        self, order: Order, epoch: int, num: int, skip: int
    ) -> Iterator[tuple[Int64[np.ndarray, " example"], Int64[np.ndarray, " _"]]]:
        """Positions of each pool in the order of visits, the first `skip` left out, and the
        pool's blocks."""
        num_blocks = -(-len(self) // BLOCK_ROWS)
        per_pool = max(1, self.shuffle_rows // BLOCK_ROWS)
        shuffled = np.random.default_rng(derive(order.seed, "blocks", epoch)).permutation(
            num_blocks
        )
        pools = [np.sort(shuffled[i : i + per_pool]) for i in range(0, num_blocks, per_pool)]
        chosen = (
            None if getattr(order, "uniform", False) else self._by_pool(order, epoch, num, pools)
        )
        for index, blocks in enumerate(pools):
            if chosen is not None:
                positions = next(chosen)
                count = len(positions)
            else:
                count = int(np.minimum(len(self) - blocks * BLOCK_ROWS, BLOCK_ROWS).sum())
                positions = None
            if skip >= count:
                skip -= count
                continue
            if positions is None:
                ranges = [np.arange(b, min(b + BLOCK_ROWS, len(self))) for b in blocks * BLOCK_ROWS]
                random = np.random.default_rng(derive(order.seed, "pool", epoch, index))
                positions = random.permutation(np.concatenate(ranges))
            yield positions[skip:], blocks
            skip = 0

    def _by_pool(
        self, order: Order, epoch: int, num: int, pools: list[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """An order's own positions, pool after pool, in its sequence within each."""
        positions = order.epoch(epoch)[:num].cpu().numpy()
        pool_of = np.empty(sum(map(len, pools)), dtype=np.int32)
        for index, blocks in enumerate(pools):
            pool_of[blocks] = index
        pool = pool_of[positions // BLOCK_ROWS]
        ends = np.cumsum(np.bincount(pool, minlength=len(pools)))
        together = positions[np.argsort(pool, kind="stable")]
        for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            yield together[begin:end]

    def _records(
        self, positions: Int64[np.ndarray, " example"], blocks: Int64[np.ndarray, " _"]
    ) -> Shaped[np.ndarray, " example"]:
        read = [
            self.spool.read(b, min(b + BLOCK_ROWS, len(self)))
            for b in (blocks * BLOCK_ROWS).tolist()
        ]
        held = np.concatenate(read) if len(read) > 1 else read[0]
        begins = np.concatenate([[0], np.cumsum([len(part) for part in read])[:-1]])
        offset = np.zeros(int(blocks.max()) + 1, dtype=np.int64)
        offset[blocks] = begins - blocks * BLOCK_ROWS
        return held[positions + offset[positions // BLOCK_ROWS]]

    def _cut(
        self,
        records: Shaped[np.ndarray, " example"],
        rows: Int64[np.ndarray, " example"],
        size: int,
    ) -> Iterator[Batch]:
        inputs = [torch.from_numpy(records["features"].copy())]
        if "codes" in (records.dtype.names or ()):
            inputs.append(torch.from_numpy(records["codes"].copy()))
        target = torch.from_numpy(records["target"].copy())
        parts = zip(*(part.split(size) for part in inputs), strict=True)
        places = torch.from_numpy(rows.copy()).split(size)
        for batch, wanted, where in zip(parts, target.split(size), places, strict=True):
            yield Batch(inputs=batch, target=wanted, rows=where)
