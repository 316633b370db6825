"""How far is reading the data? What preparing it tells to whoever waits, in files or rows."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Literal, TypeVar

Stage = Literal["files", "rows_sampled", "rows_counted", "rows_encoded"]
Tell = Callable[[Stage, int, int | None], None]  # how many are done, of how many where known
Block = TypeVar("Block", bound=Sized)


def unheard(stage: Stage, done: int, total: int | None) -> None:
    """Nobody waits."""


def told(blocks: Iterable[Block], tell: Tell, stage: Stage, total: int | None) -> Iterator[Block]:
    """The same blocks of rows; each is told once it has been used, the end with its total."""
    done = 0
    tell(stage, done, total)
    for block in blocks:
        yield block
        done += len(block)
        tell(stage, done, total)
    if total is None:
        tell(stage, done, done)
