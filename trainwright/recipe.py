"""What is to be trained? One frozen value, data x model x loss x algorithm with seed and budget:
read and written as TOML, hashed, compared, and edited only by pure functions."""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.core.budget import parse_budget
from trainwright.core.errors import (
    Problem,
    RecipeError,
    TrainwrightError,
    did_you_mean,
    shown,
    system_reason,
)
from trainwright.core.knob import KnobInfo, Knobs, KnobsDisagree, knob, knobs_of, problems_of
from trainwright.core.phrases import phrase
from trainwright.core.words import line
from trainwright.data.knobs import DataKnobs
from trainwright.loss.knobs import WITHOUT_GRADIENT, LossKnobs, without_gradient
from trainwright.model.knobs import ModelKnobs

HASH_CHARACTERS = 16  # 64 bits: no collision among any number of recipes a person makes
MAX_RECIPE_BYTES = 1 << 20  # a recipe is written by hand; larger is another file [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Objects of the caller's process that stand in for what a recipe would name."""

    source: Any = None
    target: Any = None
    model: Any = None
    loss: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        """Which parts are live and therefore cannot be written down."""
        parts = {"data.source": self.source, "model.name": self.model, "loss.name": self.loss}
        return tuple(name for name, part in parts.items() if part is not None)


class Recipe(Knobs):
    """Everything that decides a run."""

    seed: int = knob(
        0,
        "Where all randomness starts.",
        why="equal seeds make equal runs [measured: benchmarks/kill_resume_*.md]",
        ge=0,
        le=2**62,
    )
    budget: str = knob(
        "auto",
        "How long to train: '60s', '500 steps', '10000 examples', '3 epochs'; auto by the data.",
        why="auto trains for enough steps to see small data many times and large data a few, see "
        "train/plan.py [measured: benchmarks/quality_*.md]",
    )
    baselines: bool | Literal["auto"] = knob(
        "auto",
        "Train simple learners beside the network; auto does so unless the model is a live module.",
        why="a network that a tree beats is not worth its cost "
        "[paper: Grinsztajn et al. 2022, arXiv:2207.08815]",
    )
    baseline_seconds: float = knob(
        60.0, "Most time for all baselines together.", why="[assumed]", unit="seconds", gt=0
    )
    data: DataKnobs = DataKnobs()
    model: ModelKnobs = ModelKnobs()
    loss: LossKnobs = LossKnobs()
    algorithm: AlgorithmKnobs = AlgorithmKnobs()
    live: Live = Field(default=Live(), exclude=True, repr=False)

    @field_validator("budget")
    @classmethod
    def _budget_can_be_read(cls, text: str) -> str:
        if text != "auto":
            parse_budget(text)
        return text

    @model_validator(mode="after")
    def _a_loss_without_gradient_is_left_to_evolution(self) -> "Recipe":
        if self.loss.name == WITHOUT_GRADIENT and self.algorithm.optimizer != "evolution":
            raise KnobsDisagree("loss.name", without_gradient(shown(self.loss.name)))
        return self

    @property
    def portable(self) -> bool:
        """Whether the recipe can be written down and trained elsewhere."""
        return not self.live.names


def knobs() -> tuple[KnobInfo, ...]:
    """Every knob of a recipe."""
    return tuple(knobs_of(Recipe))


def from_plain(plain: Mapping[str, Any]) -> Recipe:
    """A recipe from nested dicts.

    Raises RecipeError with every problem at once.
    """
    try:
        return Recipe.model_validate({k: v for k, v in plain.items() if k != "live"})
    except ValidationError as error:
        raise RecipeError(problems_of(error, Recipe)) from None


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Nested dicts of all knobs, defaults included, live parts left out."""
    return recipe.model_dump(mode="json")


def parse(text: str) -> Recipe:
    """A recipe from TOML.

    Raises RecipeError with every problem at once.
    """
    try:
        plain = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # plain ValueError: a number of 5000 digits
        problem = Problem(
            path="recipe",
            what=phrase("this is not TOML: {error}", error=shown(str(error))[1:-1]),
            allowed="TOML, https://toml.io",
            do=phrase("`trainwright recipe new SOURCE` writes one to start from"),
        )
        raise RecipeError([problem]) from None
    return from_plain(plain)


def load(path: str | Path) -> Recipe:
    """The recipe in a file."""
    place = Path(path)
    try:
        if place.stat().st_size > MAX_RECIPE_BYTES:
            raise TrainwrightError(
                phrase("{path} is too large for a recipe", path=shown(str(path))),
                allowed=phrase("{bytes} bytes", bytes=MAX_RECIPE_BYTES),
                do=phrase("give the recipe with --recipe and the data as the source"),
            )
        text = place.read_text(encoding="utf-8-sig")  # Windows' editors begin with a BOM
    except UnicodeDecodeError:
        raise TrainwrightError(
            phrase("{path} is not a text file", path=shown(str(path))),
            allowed=phrase("TOML in UTF-8"),
            do=phrase("`trainwright recipe new SOURCE` writes one to start from"),
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise TrainwrightError(
            phrase(
                "{path} cannot be read: {reason}",
                path=shown(str(path)),
                reason=system_reason(error),
            ),
            allowed=phrase("a recipe in TOML"),
            do=phrase("check the path, or write one with `trainwright recipe new SOURCE`"),
        ) from None
    return parse(text)


def render(recipe: Recipe, *, comments: bool = False, only_changed: bool = False) -> str:
    """TOML of the recipe; parse(render(recipe)) == recipe for every portable recipe.

    `comments` writes each knob's doc line, what is allowed and why above it, and names the knobs
    that are unset. `only_changed` leaves out what equals the default.
    """
    plain = recipe.model_dump(mode="json")
    changed = {path for path, _, _ in diff(Recipe(), recipe)}
    lines: list[str] = []
    section = ""
    for info in knobs():
        head, _, name = info.path.rpartition(".")
        value = _at(plain, info.path)
        if only_changed and info.path not in changed:
            continue
        if head != section:
            lines += ["", f"[{head}]"]
            section = head
        if comments:
            lines += _comment(info)
        if value is not None:
            lines.append(_line(name, value))
        elif comments:
            lines.append(f"# {name} = ")
    return "\n".join(lines).strip() + "\n"


def recipe_hash(recipe: Recipe) -> str:
    """Identity of a recipe: equal knobs give equal hashes in every process and on every machine.

    Live parts enter by their kind only: such a hash does not stand for the objects' contents.
    """
    plain = {"knobs": to_plain(recipe), "live": recipe.live.names}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_CHARACTERS]


def diff(before: Recipe, after: Recipe) -> list[tuple[str, Any, Any]]:
    """(path, value before, value after) of each knob that differs."""
    a, b = to_plain(before), to_plain(after)
    pairs = ((info.path, _at(a, info.path), _at(b, info.path)) for info in knobs())
    return [(path, old, new) for path, old, new in pairs if old != new]


def edit(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with the knobs at dotted paths turned, e.g. {"model.width": 128}.

    None puts a knob back to its default. Raises RecipeError with every problem at once.
    """
    plain = to_plain(recipe)
    known = {info.path: info for info in knobs()}
    problems = []
    for path, value in settings.items():
        if path not in known:
            problems.append(_unknown(path, known))
            continue
        *groups, name = path.split(".")
        place = plain
        for group in groups:
            place = place[group]
        place[name] = known[path].default if value is None else value
    try:
        edited = Recipe.model_validate(plain)
    except ValidationError as error:
        problems += problems_of(error, Recipe)
        edited = recipe
    if problems:
        raise RecipeError(problems)
    return edited.model_copy(update={"live": recipe.live})


def edit_all(recipe: Recipe, settings: Mapping[str, Any], words: Iterable[str]) -> Recipe:
    """`edit` by `settings` and by the command line's `path=value` words, which win.

    Values in words are TOML, or else plain text; `width` stands for `model.width` where only one
    knob ends so. Raises RecipeError with every problem at once.
    """
    merged = dict(settings)
    problems = []
    known = {info.path: info for info in knobs()}
    for word in words:
        path, equals, text = word.partition("=")
        if not equals:
            problems.append(
                Problem(
                    path=shown(word)[1:-1],
                    what=phrase("no value was given"),
                    allowed=phrase("KNOB=VALUE"),
                    do=phrase("for example --set model.width=128"),
                )
            )
        else:
            knob_path = _full_path(path.strip())
            merged[knob_path] = _value(text.strip(), known.get(knob_path))
    try:
        edited = edit(recipe, merged)
    except RecipeError as error:
        raise RecipeError([*problems, *error.problems]) from None
    if problems:
        raise RecipeError(problems)
    return edited


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe, with each knob's reason and search range beside its bounds."""
    document = Recipe.model_json_schema()
    document.get("properties", {}).pop("live", None)
    document.get("$defs", {}).pop("Live", None)
    return json.loads(json.dumps(document, default=_plain_search))


def _plain_search(value: Any) -> Any:
    from dataclasses import asdict

    return asdict(value)


def _full_path(path: str) -> str:
    """`width` -> `model.width` when only one knob ends so."""
    ends = [info.path for info in knobs() if info.path.rpartition(".")[2] == path]
    return ends[0] if "." not in path and len(ends) == 1 else path


def _unknown(path: str, known: Mapping[str, KnobInfo]) -> Problem:
    section = path.partition(".")[0] + "."
    inside = [p for p in known if p.startswith(section)] if "." in path else list(known)
    return Problem(
        path=shown(path)[1:-1],
        what=phrase("there is no such knob"),
        do=did_you_mean(path, inside or known),
    )


def _value(text: str, info: KnobInfo | None) -> Any:
    """TOML's reading of `text`; text that is no TOML value stands for itself. `none` is a value
    where the knob has one of that name, and unsets others."""
    if text in ("none", "None", "null"):
        return "none" if info is not None and info.has_word("none") else None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _at(plain: Mapping[str, Any], path: str) -> Any:
    value: Any = plain
    for name in path.split("."):
        value = value[name]
    return value


def _line(name: str, value: Any) -> str:
    """`name = value`; tables stay on the line, so that they cannot end the section."""
    if isinstance(value, dict):
        inside = ", ".join(_line(str(key), inner) for key, inner in value.items())
        key = tomli_w.dumps({name: 0}).partition(" = ")[0]
        return f"{key} = {{ {inside} }}" if inside else f"{key} = {{}}"
    return tomli_w.dumps({name: value}).strip()


def _comment(info: KnobInfo) -> list[str]:
    info = info.spoken()
    unit = f" [{info.unit}]" if info.unit else ""
    allowed = phrase("allowed: {allowed}", allowed=info.allowed)
    why = line("knob_words.why", "why: ") + info.why
    return [f"# {info.doc}{unit}", f"#   {allowed}", f"#   {why}"]
