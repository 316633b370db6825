"""What is written down? The plain records that rooms hand to each other and to the store: values
and names only, no tensors, no words for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar

from trainwright.core.facts import Facts
from trainwright.core.task import Task

Role = Literal[
    "numeric", "categorical", "boolean", "date", "text", "path", "identifier", "constant", "target",
    "group", "time", "ignored",
]  # fmt: skip
RunState = Literal["new", "running", "interrupted", "failed", "finished"]
Split = Literal["train", "valid", "test"]
InputKind = Literal["features", "image", "audio", "text", "any"]
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that was done or skipped and must be said once; `code` finds the words."""

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as understood: its role, and the code of the reason why."""

    name: str
    role: Role
    reason: Notice
    dtype: str = ""
    missing: int = 0
    distinct: int | None = None
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What one example looks like to a model.

    features: `shape` = (features,); `cardinalities` = sizes of the category columns that come
    as a second input of int64 codes [batch, len(cardinalities)] (0 = unseen or missing).
    image: (channels, height, width). audio: (channels, time) or (bands, time).
    text: (length,) int64 token ids below `vocabulary`; 0 is padding.
    """

    kind: InputKind
    shape: tuple[int, ...]
    cardinalities: tuple[int, ...] = ()
    vocabulary: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """What the data was taken to be."""

    source: str
    format: str
    signature: Signature
    task: Task
    columns: tuple[Column, ...] = ()
    num_examples: Mapping[str, int] = field(default_factory=dict)  # by split
    class_counts: Mapping[str, int] = field(default_factory=dict)  # training split, by class name
    notices: tuple[Notice, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A value with its 95 % interval; low and high are None where no interval can be had."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Another learner on the same split."""

    name: str
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    seconds: float = 0.0
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Network against the best baseline on the same rows; `code` is one of worth_it, no_gain,
    not_worth_it, undecided, no_baselines. `difference` > 0 favours the network."""

    code: str
    metric: str = ""
    baseline: str = ""
    difference: Metric | None = None
    num_examples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """One line of the per-class table."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Mean confidence against share correct, over the examples in one bin of confidence."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example for people to look at. `content` is text or rows; `media` a PNG or WAV."""

    row: int
    target: str
    prediction: str
    loss: float | None = None
    confidence: float | None = None
    content: Mapping[str, str] = field(default_factory=dict)
    media: str | None = None  # data type and base64: "image/png;base64,…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The metric on the rows where `column` is `value`, beside all other rows."""

    column: str
    value: str
    count: int
    metric: Metric
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How good the network is on one split, in the user's own unit."""

    split: str
    metrics: Mapping[str, Metric]
    confusion: tuple[tuple[int, ...], ...] = ()  # rows: true class, columns: predicted
    confusion_examples: tuple[Example, ...] = ()
    per_class: tuple[ClassRow, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    worst: tuple[Example, ...] = ()
    slices: tuple[Slice, ...] = ()
    residuals: tuple[tuple[float, float], ...] = ()  # (target, prediction), a sample


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as the store keeps it and reports read it. `created` is Unix seconds;
    `seconds_by_part` has keys data, train, evaluate, checkpoint, baselines, judge."""

    id: str
    state: RunState = "new"
    created: float = 0.0
    recipe: Mapping[str, Any] = field(default_factory=dict)
    recipe_hash: str = ""
    resolved: Mapping[str, Any] = field(default_factory=dict)  # [model] [algorithm], autos filled
    portable: bool = True  # False: the recipe holds live objects and cannot be rebuilt from text
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    steps: int = 0
    total_steps: int | None = None
    examples: int = 0
    seconds: float = 0.0
    seconds_by_part: Mapping[str, float] = field(default_factory=dict)
    num_parameters: int = 0
    understanding: Understanding | None = None
    metrics: Mapping[str, Mapping[str, Metric]] = field(default_factory=dict)  # by split
    judgement: Judgement | None = None
    baselines: tuple[Baseline, ...] = ()
    verdict: Verdict | None = None
    chosen_step: int | None = None  # the step whose weights were kept
    weights_sha256: str = ""
    notices: tuple[Notice, ...] = ()
    stopped: Notice | None = None  # why a run ended before its budget
    facts: Facts | None = None  # what `check` measured, for the rules
    layers: tuple[str, ...] = ()  # the layer axis of readings of kind "watch"
    overhead: float | None = None  # share of the training time that watching took


@cache
def _adapter(record: type[Any]) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(record)


def to_plain(record: Any) -> Any:
    """A record as dicts, lists, numbers and text. NaN stays NaN (JSON text as `NaN`)."""
    return _adapter(type(record)).dump_python(record, mode="json")


def from_plain(kind: type[Record], plain: Any) -> Record:
    """The record back from `to_plain`'s value."""
    return _adapter(kind).validate_python(plain)
