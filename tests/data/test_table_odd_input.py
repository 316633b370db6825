"""Odd but valid tables are prepared, with a notice of what was done; roles and tasks are those a
person would have chosen."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard

from trainwright.core.records import Understanding
from trainwright.core.words import known_codes, say_notice
from trainwright.data.batch import Prepared
from trainwright.data.knobs import DataKnobs
from trainwright.data.prepare import prepare

SHARED = Path(__file__).parents[3] / "shared" / "data"
RANDOM = np.random.default_rng(0)
NUM = 60


def learn(path: Path, content: str | bytes, name: str = "t.csv", **knobs: object) -> Prepared:
    (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return prepare(str(path / name), DataKnobs(**knobs), seed=0)  # pyright: ignore[reportArgumentType]


def codes(understanding: Understanding) -> set[str]:
    for notice in [*understanding.notices, *(c.reason for c in understanding.columns)]:
        for language in ("en", "zh-Hant"):
            assert f"notice.{notice.code}" in known_codes(language), notice.code
        assert say_notice(notice)
    return {notice.code for notice in understanding.notices}


def roles(understanding: Understanding) -> dict[str, str]:
    return {column.name: column.role for column in understanding.columns}


def csv(columns: dict[str, list], separator: str = ",", end: str = "\n") -> str:
    rows = [columns.keys(), *zip(*columns.values(), strict=True)]
    return "".join(separator.join(map(str, row)) + end for row in rows)


NUMBERS = [round(float(x), 3) for x in RANDOM.standard_normal(NUM)]
LABELS = ["no", "yes"] * (NUM // 2)
PLAIN = csv({"x": NUMBERS, "target": LABELS})


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (PLAIN.replace("\n", "\r\n"), None),
        (b"\xef\xbb\xbf" + PLAIN.encode(), None),
        (PLAIN.encode("utf-16"), "encoding_guessed"),
        (PLAIN.replace("no", "n\xe9").encode("latin-1"), "encoding_guessed"),
        (PLAIN.replace(",", ";"), "separator_guessed"),
        (PLAIN.replace(",", "\t"), "separator_guessed"),
        (PLAIN.replace(",", "|"), "separator_guessed"),
        (csv({"x": [str(n).replace(".", ",") for n in NUMBERS], "target": LABELS}, ";"),
         "decimal_comma"),
        (csv({"x": [f'"{n * 1e6:,.2f}"' for n in NUMBERS], "target": LABELS}), "thousands"),
        (csv({"x": [f"${n}" for n in NUMBERS], "target": LABELS}), "units_stripped"),
        (csv({"x": [*NUMBERS[3:], "none", "none", "-"], "target": LABELS}), "cells_unparsed"),
        (csv({"x": [*NUMBERS[3:], "inf", "-inf", "1"], "target": LABELS}), "infinities_missing"),
        (PLAIN.replace("target", "x"), "columns_renamed"),
        ("\n".join(PLAIN.splitlines()[1:]), "no_header"),
        (PLAIN.replace("x,", '"x",').replace("no", '"no"'), None),
        (PLAIN + "1.5,\n2.5,NA\n", "target_missing_dropped"),
        (PLAIN + "1.5,maybe\n", "classes_of_one"),
        (PLAIN.replace("\n", "\n\n", 5), None),
        (csv({"c": [1] * NUM, "x": NUMBERS, "target": LABELS}), "columns_constant"),
        (csv({"e": [""] * NUM, "x": NUMBERS, "target": LABELS}), "columns_constant"),
        (csv({"x": NUMBERS, "z": NUMBERS, "target": LABELS}), "columns_duplicate"),
        (csv({"w": ["a", "b", "c"] * 20, "v": ["a", "b", "c"] * 20, "target": LABELS}),
         "columns_duplicate"),
        (csv({"user_id": [f"u{i}" for i in range(NUM)], "x": NUMBERS, "target": LABELS}),
         "columns_identify"),
        (csv({"t": [f"this is the long text number {i}" for i in range(NUM)], "x": NUMBERS,
              "target": LABELS}), "columns_text"),
        (csv({"f": [f"photos/{i}.jpg" for i in range(NUM)], "x": NUMBERS, "target": LABELS}),
         "columns_path"),
        (csv({"x": [1.5, 2.5] * 30, "target": LABELS}), "duplicate_rows_together"),
        (csv({"d": [f"{i % 12 + 1:02}/{i % 11 + 1:02}/2024" for i in range(NUM)],
              "target": LABELS}), "date_order_guessed"),
        ("x\ttarget\n" + "".join(f'say "{i} x\t{i % 2}\n' for i in range(9)) * 9,
         "quotes_literal"),
    ],
)  # fmt: skip
def test_odd_files_are_read_with_a_notice(tmp_path, content, code):
    understanding = learn(tmp_path, content).understanding
    assert code is None or code in codes(understanding)
    assert sum(understanding.num_examples.values()) in range(NUM - 1, 82)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("t.csv.gz", gzip.compress),
        ("t.csv.zst", zstandard.compress),
        ("t.csv.bz2", bz2.compress),
        ("t.csv.xz", lzma.compress),
        ("really_gz.csv", gzip.compress),
    ],
)
def test_packed_files_hold_the_same_rows_as_plain_ones(tmp_path, name, pack, stream):
    plain = learn(tmp_path, PLAIN, stream=stream)
    packed = learn(tmp_path, pack(PLAIN.encode()), name, stream=stream)
    first, second = (next(iter(p.train.batches(99))) for p in (plain, packed))
    assert (first.inputs[0] == second.inputs[0]).all()


@pytest.mark.parametrize("stream", [False, True])
def test_every_format_gives_the_same_examples(tmp_path, stream):
    frame = pl.DataFrame(
        {"x": NUMBERS, "w": ["a", "b", None] * 20, "b": [True, False] * 30, "target": LABELS}
    )
    writers = {
        "t.csv": frame.write_csv, "t.jsonl": frame.write_ndjson, "t.parquet": frame.write_parquet,
        "t.arrow": frame.write_ipc, "t.feather": frame.write_ipc_stream,
    }  # fmt: skip
    seen = []
    for name, write in writers.items():
        write(tmp_path / name)
        prepared = prepare(str(tmp_path / name), DataKnobs(stream=stream), seed=0)
        assert roles(prepared.understanding)["b"] == "boolean"
        seen.append(next(iter(prepared.train.batches(99))))
    for other in seen[1:]:
        assert (other.inputs[0] == seen[0].inputs[0]).all()
        assert (other.target == seen[0].target).all()


def test_many_files_by_a_pattern_are_one_table(tmp_path):
    for i in range(3):
        (tmp_path / f"part-{i}.csv").write_text(
            PLAIN if i else csv({"x": NUMBERS, "extra": NUMBERS, "target": LABELS})
        )
    understanding = prepare(str(tmp_path / "part-*.csv"), DataKnobs(), seed=0).understanding
    assert sum(understanding.num_examples.values()) == 3 * NUM
    assert "columns_in_some_files" in codes(understanding)
    assert (
        understanding.fingerprint
        == prepare(str(tmp_path), DataKnobs(), seed=1).understanding.fingerprint
    )


def test_twelve_rows_and_one_column_are_enough(tmp_path):
    content = csv({"x": range(12), "target": ["a", "b"] * 6})
    prepared = learn(tmp_path, content)
    assert prepared.understanding.num_examples == {"train": 8, "valid": 2, "test": 2}
    assert roles(prepared.understanding) == {"x": "numeric", "target": "target"}


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        ([1, 2, 3] * 20, "multiclass", ("1", "2", "3")),
        (["true", "false"] * 30, "binary", ("false", "true")),
        (["ja", "nein"] * 30, "binary", ("nein", "ja")),
        (["否", "是"] * 30, "binary", ("否", "是")),
        ([0, 1] * 30, "binary", ("0", "1")),
        (["1.0", "2.0"] * 30, "binary", ("1", "2")),
        (["negative", "positive"] * 30, "binary", ("negative", "positive")),
        (["<b>x</b>", "=1+1", "a"] * 20, "multiclass", ("<b>x</b>", "=1+1", "a")),
        (list(range(60)), "regression", ()),
        (NUMBERS, "regression", ()),
        ([f'"{i},5"' for i in range(60)], "regression", ()),
    ],
)
def test_the_task_follows_from_the_target(tmp_path, values, kind, classes):
    extra = [float(x) for x in RANDOM.standard_normal(NUM)]
    task = learn(tmp_path, csv({"x": extra, "target": values})).understanding.task
    assert (task.kind, task.classes) == (kind, classes)


def test_several_columns_of_zero_and_one_are_several_labels(tmp_path):
    columns = {"x": NUMBERS, "a": [0, 1] * 30, "b": [1, 1, 0] * 20}
    prepared = learn(tmp_path, csv(columns), target="a, b")
    assert prepared.understanding.task.kind == "multilabel"
    assert prepared.understanding.task.classes == ("a", "b")
    assert prepared.train.targets().shape == (len(prepared.train), 2)


def test_joined_words_are_several_labels_when_asked_for(tmp_path):
    columns = {"x": NUMBERS, "target": ["red|blue", "blue", "green|red"] * 20}
    task = learn(tmp_path, csv(columns), task="multilabel").understanding.task
    assert task.classes == ("blue", "green", "red")


def test_several_columns_of_numbers_are_several_regression_targets(tmp_path):
    columns = {"x": NUMBERS, "a": NUMBERS[::-1], "b": range(NUM)}
    prepared = learn(tmp_path, csv(columns), target="a,b")
    assert prepared.understanding.task.num_targets == 2
    decoded = prepared.encoder.decode(prepared.train.targets().numpy())
    assert decoded.max() == pytest.approx(59, abs=8)


def test_usual_names_come_before_the_last_column(tmp_path):
    understanding = learn(tmp_path, csv({"Label": LABELS, "x": NUMBERS})).understanding
    assert understanding.task.target == "Label"


def test_roles_are_those_a_person_would_have_chosen(tmp_path):
    columns = {
        "row": range(1, NUM + 1),
        "customer_id": RANDOM.permutation(10_000)[:NUM].tolist(),
        "paid": RANDOM.permutation(10_000)[:NUM].tolist(),
        "when": [f"2024-{i % 12 + 1:02}-{i % 28 + 1:02} 10:30:00" for i in range(NUM)],
        "smoker": ["Yes", "No", "No"] * 20,
        "city": ["Taipei", "Bern", "Oslo", "Rome"] * 15,
        "flag": [0, 1, 1] * 20,
        "amount": NUMBERS,
        "target": LABELS,
    }
    assert roles(learn(tmp_path, csv(columns)).understanding) == {
        "row": "identifier", "customer_id": "identifier", "paid": "numeric", "when": "date",
        "smoker": "boolean", "city": "categorical", "flag": "boolean", "amount": "numeric",
        "target": "target",
    }  # fmt: skip


def test_the_users_roles_override_the_inferred_ones(tmp_path):
    columns = {"zip": [10, 20, 30] * 20, "w": NUMBERS[::-1], "x": NUMBERS, "target": LABELS}
    prepared = learn(tmp_path, csv(columns), columns={"zip": "categorical", "x": "ignored"})
    assert roles(prepared.understanding)["zip"] == "categorical"
    assert prepared.train.signature.names == ("w", "zip=10", "zip=20", "zip=30")


def test_fifty_thousand_columns_are_prepared(tmp_path):
    names = [f"c{i}" for i in range(50_000)]
    rows = RANDOM.integers(0, 100, (20, 50_000)).astype(str)
    text = "\n".join([",".join([*names, "target"])] + [
        ",".join([*row, "ab"[i % 2]]) for i, row in enumerate(rows.tolist())
    ])  # fmt: skip
    assert learn(tmp_path, text).train.signature.shape[0] > 49_000


def test_a_given_split_and_groups_and_time_decide_the_split(tmp_path):
    part = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    columns = {
        "x": NUMBERS,
        "part": part,
        "who": [f"p{i // 6}" for i in range(NUM)],
        "day": [f"2024-01-{i // 2 + 1:02}" for i in range(NUM)],
        "target": LABELS,
    }
    for stream in (False, True):
        given = learn(tmp_path, csv(columns), split="part", stream=stream)
        assert given.understanding.num_examples == {"train": 40, "valid": 10, "test": 10}
        grouped = learn(tmp_path, csv(columns), group="who", stream=stream)
        sides = [
            {columns["who"][part.show(i).row] for i in range(len(part))}
            for part in (grouped.train, grouped.valid, grouped.test) if part is not None
        ]  # fmt: skip
        assert sum(map(len, sides)) == 10
        timed = learn(tmp_path, csv(columns), time="day", stream=stream)
        assert timed.test is not None
        newest_train = max(timed.train.show(i).row for i in range(len(timed.train)))
        assert newest_train < min(timed.test.show(i).row for i in range(len(timed.test)))


def test_a_table_of_texts_is_read_as_text(tmp_path):
    texts = [f"{'good' if i % 2 else 'bad'} film number {i} of the whole year" for i in range(NUM)]
    prepared = learn(tmp_path, csv({"review": texts, "target": LABELS}))
    assert prepared.train.signature.kind == "text"
    assert roles(prepared.understanding)["review"] == "text"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", ["sms_spam", "sentence_polarity"])
def test_real_texts_without_header_are_read_as_text(name):
    prepared = prepare(
        str(SHARED / "text" / f"{name}.tsv.gz"), DataKnobs(target="column_1"), seed=0
    )
    assert prepared.train.signature.kind == "text"
    assert prepared.understanding.task.kind == "binary"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_every_real_table_is_understood_as_its_index_says():
    index = pl.read_csv(SHARED / "tabular" / "INDEX.csv")
    for row in index.iter_rows(named=True):
        knobs = DataKnobs(
            target=row["target"], task="regression" if row["kind"] == "reg" else "auto"
        )
        prepared = prepare(str(SHARED / "tabular" / f"{row['name']}.csv.gz"), knobs, seed=0)
        understanding = prepared.understanding
        used = [c for c in understanding.columns if c.role in ("numeric", "categorical", "boolean")]
        assert len(used) == row["features"], row["name"]
        assert sum(understanding.num_examples.values()) == row["rows"]
        assert len(understanding.task.classes) == row["classes"]
        codes(understanding)
