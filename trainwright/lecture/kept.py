"""Where do measured claims wait? One JSON file each, good as long as the code that measured it is
the same."""

import ast
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainwright.core.claims import ClaimResult, Measured, Picture, Series
from trainwright.lecture.claim import Claim, Later

ROOM = "trainwright.lecture"


def version_of(claim: Claim) -> str:
    """Hash of the file that measures the claim, of the files of this room that it is built on, and
    of our version; empty for a measurement that is no file of ours."""
    if not isinstance(claim.measure, Later):
        return ""
    digest = hashlib.sha256(version("trainwright").encode())
    for module in sorted(_built_on(claim.measure.module, set())):
        digest.update(_source(module).encode())
    return digest.hexdigest()[:16]


def load(folder: Path, claim: Claim) -> ClaimResult | None:
    """What was measured before; None when nothing was, by other code, or when it cannot be read."""
    current = version_of(claim)
    try:
        plain = json.loads(_place(folder, claim).read_text(encoding="utf-8"))
        if not current or plain["version"] != current or plain["claim"] != claim.code:
            return None
        return _from_plain(plain)
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not as we wrote it
        return None


def save(folder: Path, claim: Claim, result: ClaimResult) -> None:
    """Writes the result whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    place = _place(folder, claim)
    text = json.dumps({"version": version_of(claim), **asdict(result)}, ensure_ascii=False)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(place)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _place(folder: Path, claim: Claim) -> Path:
    return folder / f"{claim.code}.json"


def _source(module: str) -> str:
    spec = find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return Path(spec.origin).read_text(encoding="utf-8")


def _built_on(module: str, met: set[str]) -> set[str]:
    """The module and every module of this room that it imports, directly or not."""
    if module not in met:
        met.add(module)
        for name in _imported(_source(module)):
            _built_on(name, met)
    return met


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{ROOM}."):
            yield node.module or ""


def _from_plain(plain: Mapping[str, Any]) -> ClaimResult:
    measured = plain["measured"]
    return ClaimResult(
        claim=plain["claim"], seconds=plain["seconds"], device=plain["device"],
        measured=Measured(
            verdict=measured["verdict"], effect=measured["effect"], n=measured["n"],
            interval=tuple(measured["interval"]), values=measured["values"],
            pictures=tuple(_picture(one) for one in measured["pictures"]),
            notes=tuple(measured["notes"]),
        ),
    )  # fmt: skip


def _picture(plain: Mapping[str, Any]) -> Picture:
    series = tuple(_series(one) for one in plain["series"])
    return Picture(**{**plain, "series": series, "names": tuple(plain.get("names", ()))})


def _series(plain: Mapping[str, Any]) -> Series:
    tuples = {key: None if plain[key] is None else tuple(plain[key])
              for key in ("x", "y", "low", "high")}  # fmt: skip
    return Series(**{**plain, **tuples})
