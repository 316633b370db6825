"""trainwright sweep: what may be thrown away?"""

from typing import Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.output import console, print_json
from trainwright.core.words import say


def sweep(
    *,
    store: options.Store = "./trainwright.db",
    older_than_days: Annotated[
        float | None, Parameter(name="--older-than-days", help=say("option.older_than_days"))
    ] = None,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative="", help=say("option.dry_run"))
    ] = False,
    json: options.Json = False,
) -> int:
    from trainwright.store.open import open_store
    from trainwright.store.retention import sweep as sweep_store

    if older_than_days is not None:
        options.not_negative("--older-than-days", older_than_days)
    seconds = None if older_than_days is None else older_than_days * 86_400
    swept = sweep_store(
        open_store(store, create=False), older_than_seconds=seconds, dry_run=dry_run
    )
    if json:
        plain = {
            "dry_run": swept.dry_run,
            "checkpoints": len(swept.checkpoints),
            "artefacts": len(swept.artefacts),
            "bytes": swept.num_bytes,
            "busy": list(swept.busy),
        }
        print_json(plain)
    else:
        words = say(
            "sweep.done",
            artefacts=len(swept.artefacts),
            bytes=swept.num_bytes,
            checkpoints=len(swept.checkpoints),
        )
        console().print(words, markup=False)
    return 0
