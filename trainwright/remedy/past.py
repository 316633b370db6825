"""What was trained before a heal was killed? Runs of recipes are kept in a file of their own beside
the store until the heal is over; begun again, it reads them there instead of training anew."""

import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from trainwright.core.errors import StoreError
from trainwright.core.records import RunRecord
from trainwright.recipe import Recipe, recipe_hash
from trainwright.run.begin import run_apart
from trainwright.store.contract import Reading
from trainwright.store.memory import MemoryStore
from trainwright.store.open import open_store
from trainwright.watch.share import SHARE


def remember(recipe: Recipe, folder: Path | None) -> str:
    """The file that a heal of the recipe keeps its runs in. Empty where nothing can be kept: live
    parts, no folder, a folder that cannot be written."""
    if folder is None or not recipe.portable:
        return ""
    what = [recipe_hash(recipe)]
    with suppress(OSError, ValueError):  # other data under the same name are another heal
        found = Path(str(recipe.data.source)).stat()
        what += [str(found.st_mtime_ns), str(found.st_size)]
    place = str(folder / f".heal-{sha256(' '.join(what).encode()).hexdigest()[:12]}.db")
    try:
        open_store(place).close()
    except StoreError:
        return ""
    return place


def forget(place: str) -> None:
    """The file is removed, for the heal is over; one that was killed or stopped leaves it."""
    for ending in ("", "-wal", "-shm") if place else ():
        with suppress(OSError):
            os.unlink(place + ending)


def trained(
    recipe: Recipe, past: str, *, allow_code: bool
) -> tuple[RunRecord, Sequence[Reading]]:  # fmt: skip
    """The finished run of exactly this recipe in the file `past`; else it is trained, into there.
    An empty `past` is memory."""
    with open_store(past) if past else MemoryStore() as store:
        for row in store.runs(state="finished") if past else ():
            if row.recipe_hash == recipe_hash(recipe):
                return store.run(row.id), store.readings(row.id)[0]
        record = run_apart(recipe, store, command="heal", allow_code=allow_code,
                           watch_budget=SHARE).record  # fmt: skip
        return record, store.readings(record.id)[0]
