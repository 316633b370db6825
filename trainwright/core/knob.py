"""What is a knob? One setting of a recipe, written once: type, default, bounds, unit, doc line,
reason with its source, search range. Everything that shows or checks a knob reads it here."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from trainwright.core.errors import Problem, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import line

Scale = Literal["linear", "log", "choice"]


class KnobsDisagree(ValueError):
    """Knobs of two groups that do not go together; `path` is the one to be turned first."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(what)
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Where tuning may look: an interval on a scale, or a list of choices."""

    low: float | None = None
    high: float | None = None
    scale: Scale = "linear"
    choices: tuple[Any, ...] = ()


class Knobs(BaseModel):
    """A frozen group of knobs; unknown names are refused; NaN and infinity are no settings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=False, protected_namespaces=()
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _auto_has_no_bounds(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        # pydantic would compare the word with ge, le, … of a knob that is `float | Literal["auto"]`
        parts = get_args(annotation)
        if isinstance(value, str) and any(value in get_args(part) for part in parts):
            return value
        # … and would take true for 1
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise PydanticCustomError("bool", "true and false are no numbers")
        is_group = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        if not is_group and not _is_text(value):
            raise ValueError(
                phrase(
                    "{value} holds bytes that are no UTF-8: rename the file or column",
                    value=shown(value),
                )
            )
        return handler(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobInfo:
    """One knob as people see it; `path` is dotted from the recipe's root."""

    path: str
    annotation: Any
    default: Any
    doc: str
    why: str
    unit: str | None
    bounds: tuple[tuple[str, float], ...]
    choices: tuple[Any, ...]
    search: Search | None

    def spoken(self) -> "KnobInfo":
        """The same knob with its doc, why and unit in the language spoken now."""
        return replace(
            self,
            doc=line(f"knob.{self.path}.doc", self.doc),
            why=line(f"knob.{self.path}.why", self.why),
            unit=self.unit and line(f"knob_unit.{self.unit}", self.unit),
        )

    def has_word(self, word: str) -> bool:
        """Whether `word` is one of the values, e.g. `none` or `auto`."""
        return word in _words(self.annotation)

    @property
    def type(self) -> str:
        """The type in words, e.g. `whole number`."""
        return _type_words(self.annotation)

    @property
    def allowed(self) -> str:
        """The allowed values in words, e.g. `number, > 0, <= 1`."""
        if self.choices:
            return ", ".join(str(c) for c in self.choices)
        return ", ".join([self.type, *(f"{sign} {bound:g}" for sign, bound in self.bounds)])


def knob(
    default: Any,
    doc: str,
    *,
    why: str,
    unit: str | None = None,
    search: Search | None = None,
    **bounds: Any,
) -> Any:
    """One setting; `why` names its source as [paper: …], [measured: …] or [assumed].

    `bounds` are pydantic's gt, ge, lt, le, min_length, max_length.
    """
    extra = {"why": why, "unit": unit, "search": search}
    metadata = {key: value for key, value in extra.items() if value is not None}
    if callable(default):
        return Field(default_factory=default, description=doc, json_schema_extra=metadata, **bounds)  # pyright: ignore[reportCallIssue]
    return Field(default, description=doc, json_schema_extra=metadata, **bounds)  # pyright: ignore[reportCallIssue]


def _is_text(value: Any) -> bool:
    """Whether all text within can be written down: a file name of other bytes cannot."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, Mapping):
        return all(_is_text(key) and _is_text(inner) for key, inner in value.items())
    return not isinstance(value, (list, tuple)) or all(_is_text(inner) for inner in value)


def knobs_of(group: type[BaseModel], prefix: str = "") -> Iterator[KnobInfo]:
    """Every knob of a group and of the groups within, in the order of writing."""
    for name, field in group.model_fields.items():
        path = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from knobs_of(field.annotation, f"{path}.")
        elif field.description:
            yield _info(path, field)


def problems_of(error: ValidationError, group: type[BaseModel], prefix: str = "") -> list[Problem]:
    """pydantic's errors as ours: the knob's own bounds, and the nearest name for a misspelt one."""
    known = {info.path: info for info in knobs_of(group, prefix)}
    problems: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        parts = [shown(str(part))[1:-1] for part in detail["loc"]]  # names of anyone's making
        told = detail.get("ctx", {}).get("error")
        path = prefix + (".".join(parts) or getattr(told, "path", ""))
        while path not in known and "." in path and detail["type"] != "extra_forbidden":
            path = path.rpartition(".")[0]  # a union's branch or a list's index
        problem = _problem(detail, path, known)
        problems.setdefault(path, problem)
    return list(problems.values())


def _problem(detail: Mapping[str, Any], path: str, known: Mapping[str, KnobInfo]) -> Problem:
    if detail["type"] == "extra_forbidden":
        siblings = [p for p in known if p.rpartition(".")[0] == path.rpartition(".")[0]]
        names = [p.rpartition(".")[2] for p in siblings] or [p.partition(".")[0] for p in known]
        return Problem(
            path=path,
            what=phrase("there is no such knob"),
            do=did_you_mean(path.rpartition(".")[2], dict.fromkeys(names)),
        )
    info = known.get(path)
    if detail["type"] == "value_error":
        do = "" if info is None else _more(path)
        return Problem(path=path or "recipe", what=str(detail["ctx"]["error"]), do=do)
    what = phrase("{value} is not possible", value=shown(detail.get("input")))
    if info is None:
        return Problem(path=path, what=f"{what}: {_reason(detail)}")
    do = _more(path)
    if info.choices and isinstance(detail.get("input"), str):
        do = did_you_mean(detail["input"], [str(c) for c in info.choices])
    return Problem(path=path, what=what, allowed=info.allowed, do=do)


def _more(path: str) -> str:
    return phrase("`trainwright explain {path}` says what it does", path=path)


def _reason(detail: Mapping[str, Any]) -> str:
    """Why pydantic refuses a whole group; its rarer reasons in its own words."""
    if detail["type"] == "model_type":
        group = detail["ctx"]["class_name"]
        return phrase("Input should be a valid dictionary or instance of {group}", group=group)
    return detail["msg"]


def _info(path: str, field: FieldInfo) -> KnobInfo:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    bounds = tuple(
        (sign, float(getattr(item, name)))
        for item in field.metadata
        for name, sign in signs.items()
        if getattr(item, name, None) is not None
    )
    search: Any = extra.get("search")
    return KnobInfo(
        path=path,
        annotation=field.annotation,
        default=field.get_default(call_default_factory=True, validated_data={}),
        doc=field.description or "",
        why=str(extra.get("why", "")),
        unit=str(extra["unit"]) if "unit" in extra else None,
        bounds=bounds,
        choices=_choices(field.annotation),
        search=search,
    )


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return ()


def _words(annotation: Any) -> frozenset[Any]:
    """Every word that an annotation names, however deep."""
    if get_origin(annotation) is Literal:
        return frozenset(get_args(annotation))
    return frozenset().union(*(_words(part) for part in get_args(annotation)))


def _type_words(annotation: Any) -> str:
    words = {
        int: phrase("whole number"), float: phrase("number"), str: phrase("text"),
        bool: phrase("true or false"), types.NoneType: phrase("none"),
    }  # fmt: skip
    if annotation in words:
        return words[annotation]
    origin = get_origin(annotation)
    if origin is Literal:
        return " | ".join(repr(a) for a in get_args(annotation))
    if origin in (Union, types.UnionType):
        return phrase(" or ").join(_type_words(a) for a in get_args(annotation))
    if origin in (tuple, list):
        inner = [a for a in get_args(annotation) if a is not Ellipsis]
        items = " / ".join(dict.fromkeys(_type_words(a) for a in inner))
        return phrase("list of {items}", items=items)
    if origin is dict:
        key, value = get_args(annotation)
        return phrase("table of {key} = {value}", key=_type_words(key), value=_type_words(value))
    return getattr(annotation, "__name__", str(annotation))
