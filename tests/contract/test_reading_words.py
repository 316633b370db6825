"""A reading that has words is one that is taken, measured before training, shown as evidence or
drawn."""

import ast
import re
from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

from contract_source import calls, files

from trainwright.core.facts import Facts, LayerFacts
from trainwright.core.history import LAYER_READINGS, STEP_READINGS
from trainwright.core.words import known_codes

NAMED = {
    code.removeprefix("reading.").rpartition(".")[0]
    for code in known_codes("en")
    if code.startswith("reading.") and not code.startswith("reading.of_")
}


def facts() -> set[str]:
    """`inputs.sd`, `layer.fan_in`, `batch_size`."""
    names = {f"layer.{one.name}" for one in fields(LayerFacts)}
    for name, kind in get_type_hints(Facts).items():
        parts = [part for part in (kind, *get_args(kind)) if is_dataclass(part)]
        names |= {f"{name}.{one.name}" for part in parts for one in fields(part)} or {name}
    return names


def patterns(node: ast.expr) -> set[str]:
    """Regular expressions for what an expression gives; none for a variable."""
    match node:
        case ast.Constant(value=str(text)):
            return {re.escape(text)}
        case ast.JoinedStr(values=parts):
            return {"".join(re.escape(str(part.value)) if isinstance(part, ast.Constant)
                            else r"\w+" for part in parts)}  # fmt: skip
        case ast.IfExp(body=one, orelse=other):
            return patterns(one) | patterns(other)
    return set()


def evidence() -> set[str]:
    """What rules give as evidence, by `seen(...)` or as a record."""
    found: set[str] = set()
    for path in files():
        for call in calls(path, "seen"):
            found |= patterns(call.args[0])
        for call in calls(path, "Evidence"):
            given = {one.arg: one.value for one in call.keywords}
            found |= patterns(given["reading"])
    return found


def drawn() -> set[str]:
    """What the pictures of the layers show."""
    start = "diagnosis.map."
    return {code.removeprefix(start) for code in known_codes("en") if code.startswith(start)}


def test_words_are_of_readings_that_exist():
    known = {*LAYER_READINGS, *STEP_READINGS, *facts(), *drawn()}
    shown = evidence()
    assert len(shown) > 60
    gone = {
        name for name in NAMED - known if not any(re.fullmatch(pattern, name) for pattern in shown)
    }
    assert not gone


def test_every_reading_of_a_layer_or_a_step_has_words():
    assert {*LAYER_READINGS, *STEP_READINGS} <= NAMED
