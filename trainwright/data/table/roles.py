"""What is each column? A role for every column, with the reason why."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from trainwright.core.errors import DataError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Column, Notice, Role
from trainwright.data.split import hash_rows

SAMPLE_ROWS = 1000  # cells looked at to tell texts from words [assumed]
TEXT_WORDS = 4.0  # mean words of a text's cells [assumed]
TEXT_CHARACTERS = 50.0  # mean characters of a text's cells [assumed]
MOSTLY_DISTINCT = 0.9  # share of distinct words from which a column names rows [assumed]
MANY_DISTINCT = 0.5  # the same for columns of over 100 words [assumed]
MIN_FILES = 0.9  # share of cells that end as file names do [assumed]
MIN_IDENTIFIED = 20  # with fewer rows, all-distinct words say nothing [assumed]
BOOLEAN_WORDS = (
    {"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}, {"ja", "nein"}, {"j", "n"},
    {"oui", "non"}, {"si", "no"}, {"sí", "no"}, {"是", "否"}, {"有", "無"}, {"on", "off"},
)  # fmt: skip
TRUE_WORDS = frozenset(
    ("true", "yes", "y", "t", "ja", "j", "oui", "si", "sí", "是", "有", "on", "1")
)
_IDENTIFIER_NAME = re.compile(
    r"(?i:(^|[_\s.-])(ids?|uuid|guid|index|idx|row|rownum|row_number|unnamed: ?\d+)$)"
    r"|(?i:uuid|guid|rowid)$|[a-z](Id|ID)$"
)
_FILE = r"(?i)\.(png|jpe?g|gif|bmp|webp|tiff?|wav|flac|ogg|mp3|txt|npy|pdf)$"
_USED: tuple[Role, ...] = ("numeric", "categorical", "boolean", "date", "time")


def columns_of(
    frame: pl.DataFrame, overrides: Mapping[str, Role], fixed: Mapping[str, tuple[Role, Notice]]
) -> list[Column]:
    """A role for each column of a typed frame.

    `overrides` are the user's; `fixed` the target, group, time and split columns. Raises DataError
    for an override of a column that is not there.
    """
    for name in overrides:
        if name not in frame.columns:
            raise DataError(
                phrase("data.columns names {name}, which is no column", name=shown(name)),
                allowed=phrase("columns of the table"),
                do=did_you_mean(name, frame.columns),
            )
    numeric = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    found = numeric_columns(frame.select(numeric).to_numpy(), numeric) if numeric else {}
    for name in frame.columns:
        if name not in found:
            found[name] = _column(frame[name])
    for name, column in found.items():
        if name in fixed:
            role, reason = fixed[name]
            found[name] = _with(column, role, reason)
        elif name in overrides:
            found[name] = _with(column, overrides[name], Notice(code="reason.by_user"))
    columns = [found[name] for name in frame.columns]
    return _something_to_use(_without_duplicates(frame, columns, overrides), overrides)


def numeric_columns(values: np.ndarray, names: Sequence[str]) -> dict[str, Column]:
    """Roles of columns of numbers [rows, columns], NaN where missing, all columns at once."""
    values = values.astype(np.float64, copy=False)
    unknown = ~np.isfinite(values)
    missing = unknown.sum(axis=0)
    low = np.where(unknown, np.inf, values).min(axis=0, initial=np.inf)
    high = np.where(unknown, -np.inf, values).max(axis=0, initial=-np.inf)
    constant = high <= low
    looks_boolean = (low == 0) & (high == 1)
    if looks_boolean.any():
        part = values[:, looks_boolean]
        looks_boolean[looks_boolean] = ((part == 0) | (part == 1) | np.isnan(part)).all(axis=0)
    counting = _counting(values, low, high, missing)
    head = values[:3].T.tolist()
    columns = {}
    for i, name in enumerate(names):
        role: Role = "numeric"
        reason, distinct = "reason.numbers", None
        if constant[i]:
            role, distinct = "constant", int(missing[i] < len(values))
            reason = "reason.one_value" if distinct else "reason.empty"
        elif looks_boolean[i]:
            role, reason, distinct = "boolean", "reason.zero_one", 2
        elif counting[i] and (i == 0 or is_identifier_name(name)):
            role, reason = "identifier", "reason.counts_rows"
        elif is_identifier_name(name) and _all_distinct_whole(values[:, i]):
            role, reason = "identifier", "reason.all_distinct"
        columns[name] = Column(
            name=name, role=role, reason=Notice(code=reason), dtype="number",
            missing=int(missing[i]), distinct=distinct,
            examples=tuple(f"{value:.6g}" for value in head[i]),
        )  # fmt: skip
    return columns


def is_identifier_name(name: str) -> bool:
    """`id`, `user_id`, `userId`, `row`, `index`; not `paid`."""
    return bool(_IDENTIFIER_NAME.search(name))


def _counting(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, missing: np.ndarray
) -> np.ndarray:
    """bool [columns]: row numbers, that is first, first + 1, first + 2, … with first 0 or 1."""
    num = len(values)
    counting = (missing == 0) & np.isin(low, (0.0, 1.0)) & (high == low + (num - 1))
    counting &= num >= MIN_IDENTIFIED
    for i in np.flatnonzero(counting).tolist():
        counting[i] = bool((np.diff(values[:, i]) == 1).all())
    return counting


def _all_distinct_whole(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    if len(known) < MIN_IDENTIFIED or not (known == np.floor(known)).all():
        return False
    return len(np.unique(known)) == len(known)


def _column(series: pl.Series) -> Column:
    """A column of text, truth values, moments or lists."""
    missing = series.null_count()
    dtype = series.dtype
    if dtype == pl.String:
        return _text_column(series, missing)
    role: Role
    distinct = None
    if missing == len(series):
        role, code, distinct = "constant", "reason.empty", 0
    elif dtype == pl.Boolean:
        distinct = series.drop_nulls().n_unique()
        role, code = "boolean", "reason.truth"
    elif dtype == pl.Datetime:
        distinct = series.drop_nulls().n_unique()
        role, code = "date", "reason.dates"
    else:
        role, code = "ignored", "reason.nested"
    if distinct == 1:
        role, code = "constant", "reason.one_value"
    examples = tuple(str(value) for value in series.drop_nulls().head(3).to_list())
    names = {pl.Boolean: "truth", pl.Datetime: "date"}
    kind = next((word for known, word in names.items() if dtype == known), "nested")
    return Column(
        name=series.name, role=role, reason=Notice(code=code), dtype=kind, missing=missing,
        distinct=distinct, examples=examples,
    )  # fmt: skip


def _text_column(series: pl.Series, missing: int) -> Column:
    known = series.drop_nulls()
    num, distinct = len(known), known.n_unique()
    sample = known.head(SAMPLE_ROWS)
    role, code = _text_role(series.name, known, sample, num, distinct)
    return Column(
        name=series.name, role=role, reason=Notice(code=code, values={"distinct": distinct}),
        dtype="text", missing=missing, distinct=distinct,
        examples=tuple(sample.unique(maintain_order=True).head(3).to_list()),
    )  # fmt: skip


def _text_role(
    name: str, known: pl.Series, sample: pl.Series, num: int, distinct: int
) -> tuple[Role, str]:
    if distinct < 2:
        return "constant", "reason.one_value" if distinct else "reason.empty"
    if distinct == 2 and set(known.unique().str.to_lowercase().to_list()) in BOOLEAN_WORDS:
        return "boolean", "reason.boolean_words"
    if _mean(sample.str.contains(_FILE)) > MIN_FILES:
        return "path", "reason.file_names"
    words = _mean(sample.str.count_matches(r"\s+")) + 1
    characters = _mean(sample.str.len_chars())
    share = distinct / num
    if share > 0.3 and (words >= TEXT_WORDS or characters >= TEXT_CHARACTERS):
        return "text", "reason.sentences"
    if num >= MIN_IDENTIFIED and is_identifier_name(name) and share == 1:
        return "identifier", "reason.all_distinct"
    if num >= MIN_IDENTIFIED and share > MOSTLY_DISTINCT:
        return "identifier", "reason.mostly_distinct"
    if distinct > 100 and share > MANY_DISTINCT:
        return "identifier", "reason.mostly_distinct"
    return "categorical", "reason.few_words"


def _mean(series: pl.Series) -> float:
    value = series.mean()
    return float(value) if isinstance(value, (int, float)) else 0.0


def _without_duplicates(
    frame: pl.DataFrame, columns: list[Column], overrides: Mapping[str, Role]
) -> list[Column]:
    """Of columns that are equal in every row, the first one is used."""
    used = [c for c in columns if c.role in _USED and c.name not in overrides]
    hashes: dict[str, int] = {}
    schema = frame.schema
    numbers = [c.name for c in used if schema[c.name].is_numeric()]
    if len(numbers) > 1:
        matrix = np.ascontiguousarray(frame.select(numbers).to_numpy().astype(np.float64).T)
        hashes.update(zip(numbers, hash_rows(matrix).tolist(), strict=True))
    for column in used:
        if column.dtype == "text":
            values = frame[column.name].hash(0).to_numpy()
            hashes[column.name] = int(hash_rows(values[None, :])[0])
    first: dict[int, str] = {}
    result = []
    for column in columns:
        twin = first.setdefault(hashes[column.name], column.name) if column.name in hashes else ""
        if twin and twin != column.name and frame[twin].equals(frame[column.name], null_equal=True):
            reason = Notice(code="reason.duplicate_of", values={"other": twin})
            result.append(_with(column, "ignored", reason))
        else:
            result.append(column)
    return result


def _something_to_use(columns: list[Column], overrides: Mapping[str, Role]) -> list[Column]:
    """Row numbers, or words that mostly differ, are used after all when there is nothing else."""
    if any(column.role in (*_USED, "text", "path") for column in columns):
        return columns
    result = []
    for column in columns:
        if column.role == "identifier" and column.name not in overrides:
            role: Role = "numeric" if column.dtype == "number" else "categorical"
            result.append(_with(column, role, Notice(code="reason.nothing_else")))
        else:
            result.append(column)
    return result


def _with(column: Column, role: Role, reason: Notice) -> Column:
    return Column(
        name=column.name, role=role, reason=reason, dtype=column.dtype, missing=column.missing,
        distinct=column.distinct, examples=column.examples,
    )  # fmt: skip
