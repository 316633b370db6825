"""Synthetic runs to report on: tables, pictures, sound, text, with strings that mean harm."""

import base64
import io
import math
import wave
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainwright.core.records import (
    Baseline,
    ClassRow,
    Column,
    Example,
    Judgement,
    Metric,
    Notice,
    ReliabilityBin,
    RunRecord,
    Signature,
    Slice,
    Understanding,
    Verdict,
)
from trainwright.core.task import Task

HOSTILE = "<script>alert(1)</script>"
ANSI = "\x1b[31mred\x1b[0m"
FORMULA = '=HYPERLINK("http://evil.example","x")'
COMMAND = "trainwright fit customers.csv --target churned --seed 3"
RECIPE: dict[str, Any] = {
    "seed": 3,
    "budget": "30 epochs",
    "data": {"source": "customers.csv", "target": "churned", "valid_fraction": 0.15},
    "model": {"name": "mlp", "depth": 3, "width": 256, "norm": "layer", "dropout": 0.1},
    "loss": {"name": "binary_cross_entropy", "label_smoothing": 0.0, "class_weights": None},
    "algorithm": {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "cosine"},
}
VERSIONS = {"trainwright": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.3.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    step: int
    kind: str
    values: dict[str, float]


def history(steps: int = 3000, metric: str = "accuracy", final: float = 0.91) -> list[Reading]:
    rng = np.random.default_rng(0)
    readings = []
    for step in range(1, steps + 1):
        loss = 0.3 + 1.2 * math.exp(-step / 400) + 0.08 * rng.standard_normal()
        rate = 1e-3 * min(1, step / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        values = {"loss": loss, "learning_rate": rate, "examples": 64.0, "seconds": 0.002}
        readings.append(Reading(step=step, kind="train", values=values))
        if step % 150 == 0:
            late = max(0, step - 1800) / 6000
            measured = final * (1 - math.exp(-step / 300)) - late / 4
            values = {"loss": 0.36 + 1.1 * math.exp(-step / 400) + late, metric: measured}
            readings.append(Reading(step=step, kind="valid", values=values))
    return readings


def metric(value: float, spread: float = 0.02) -> Metric:
    return Metric(value=value, low=value - spread, high=value + spread)


def column(name: str, role: Any, **more: Any) -> Column:
    return Column(name=name, role=role, reason=Notice(code=f"reason_{role}"), **more)


def table_run() -> RunRecord:
    columns = (
        column(
            "customer_id", "identifier", dtype="String", distinct=7043, examples=("7590-VHVEG",)
        ),
        column("tenure", "numeric", dtype="Int64", distinct=73, examples=("1", "34", "2")),
        column("MonthlyCharges", "numeric", dtype="Float64", distinct=1585, examples=("29.85",)),
        column("TotalCharges", "numeric", missing=11, distinct=6531, examples=("1,889.5",)),
        column("Contract", "categorical", distinct=3, examples=("Month-to-month", "Two year")),
        column("PaperlessBilling", "boolean", distinct=2, examples=("Yes", "No")),
        column(f"note {HOSTILE}", "text", missing=320, distinct=5120, examples=(FORMULA, ANSI)),
        column("country", "constant", distinct=1, examples=("US",)),
        column("churned", "target", distinct=2, examples=("No", "Yes")),
    )
    task = Task(kind="binary", target="churned", classes=("No", "Yes"))
    rows = tuple(
        Example(
            row=100 * i + 7,
            target="Yes" if i % 2 else "No",
            prediction="No" if i % 2 else "Yes",
            loss=4.2 - i / 3,
            confidence=0.98 - i / 100,
            content={
                "tenure": str(60 - i),
                "MonthlyCharges": f"{20.05 + i:.2f}",
                "Contract": "Two year",
                "note": FORMULA if i == 1 else "asked twice about it",
            },
        )
        for i in range(8)
    )
    found = {
        "accuracy": metric(0.8123),
        "balanced_accuracy": metric(0.7411, 0.03),
        "average_precision": metric(0.6712, 0.04),
        "roc_auc": metric(0.8562),
        "log_loss": metric(0.4105),
        "ece": metric(0.0213, 0.01),
        "f1_macro": metric(0.7522, 0.03),
    }
    judgement = Judgement(
        split="test",
        metrics=found,
        confusion=((705, 72), (126, 154)),
        confusion_examples=rows[:4],
        per_class=(
            ClassRow(name="No", precision=0.848, recall=0.907, f1=0.877, support=777),
            ClassRow(name="Yes", precision=0.681, recall=0.55, f1=0.609, support=280),
        ),
        reliability=tuple(
            ReliabilityBin(confidence=0.525 + i / 20, accuracy=0.5 + i / 21, count=40 + 25 * i)
            for i in range(10)
        ),
        worst=rows,
        slices=(
            Slice(
                column="Contract",
                value="Month-to-month",
                count=588,
                metric=metric(0.742, 0.035),
                rest=0.9,
            ),
            Slice(column="note", value=HOSTILE, count=41, metric=metric(0.7, 0.12), rest=0.81),
        ),
    )
    return RunRecord(
        id="swift-otter-12",
        state="finished",
        created=1_795_478_400,
        recipe=RECIPE,
        recipe_hash="5f2c9b1e",
        command=COMMAND,
        versions=VERSIONS,
        steps=3000,
        total_steps=3000,
        examples=192_000,
        seconds=21.4,
        num_parameters=154_370,
        seconds_by_part={
            "data": 0.4,
            "train": 14.1,
            "evaluate": 1.2,
            "checkpoint": 0.2,
            "baselines": 4.1,
            "judge": 1.1,
        },
        understanding=Understanding(
            source="customers.csv",
            format="csv",
            task=task,
            columns=columns,
            signature=Signature(kind="features", shape=(18,), cardinalities=(3, 4)),
            num_examples={"train": 4930, "valid": 1056, "test": 1057},
            class_counts={"No": 3622, "Yes": 1308},
            notices=(
                Notice(code="missing_filled", values={"column": "TotalCharges", "count": 11}),
            ),
        ),
        metrics={
            "train": {"accuracy": Metric(value=0.8551), "log_loss": Metric(value=0.331)},
            "valid": {"accuracy": Metric(value=0.8201), "log_loss": Metric(value=0.402)},
            "test": found,
        },
        judgement=judgement,
        baselines=(
            Baseline(name="constant", metrics={"accuracy": metric(0.7351, 0.026)}, seconds=0.001),
            Baseline(name="logistic", metrics={"accuracy": metric(0.8051, 0.023)}, seconds=0.21),
            Baseline(name="linear_svm", metrics={"accuracy": metric(0.8011, 0.023)}, seconds=0.34),
            Baseline(name="decision_tree", metrics={"accuracy": metric(0.7853)}, seconds=0.05),
            Baseline(name="boosted_trees", metrics={"accuracy": metric(0.8074)}, seconds=1.61),
        ),
        verdict=Verdict(
            code="no_gain",
            metric="accuracy",
            baseline="boosted_trees",
            difference=Metric(value=0.0049, low=-0.0101, high=0.0199),
            num_examples=1057,
        ),
        chosen_step=1800,
        weights_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        notices=(Notice(code="resumed", values={"step": 1200}),),
    )


def regression_run() -> RunRecord:
    rng = np.random.default_rng(1)
    targets = 200 + 80 * rng.standard_normal(400)
    pairs = tuple((float(t), float(t + 22 * rng.standard_normal())) for t in targets)
    found = {"rmse": metric(22.314, 1.4), "mae": metric(17.02, 1.1), "r2": metric(0.921, 0.01)}
    rows = tuple(
        Example(
            row=i,
            target=f"{pairs[i][0]:.1f}",
            prediction=f"{pairs[i][1]:.1f}",
            loss=9.0 - i,
            content={"rooms": str(i), "area": f"{40 + 7 * i}", "street": FORMULA},
        )
        for i in range(6)
    )
    return RunRecord(
        id="calm-heron-3",
        state="interrupted",
        recipe={"seed": 0},
        command="trainwright fit x.csv",
        steps=800,
        total_steps=2000,
        seconds=5.0,
        seconds_by_part={"train": 4.0, "data": 0.2},
        understanding=Understanding(
            source="houses.parquet",
            format="parquet",
            task=Task(kind="regression", target="price"),
            signature=Signature(kind="features", shape=(3,)),
            num_examples={"train": 1800, "test": 400},
        ),
        metrics={"test": found},
        judgement=Judgement(split="test", metrics=found, residuals=pairs, worst=rows),
        baselines=(
            Baseline(name="constant", metrics={"rmse": metric(83.1, 4)}, seconds=0.0),
            Baseline(name="linear", metrics={"rmse": metric(31.02, 2.1)}, seconds=0.01),
        ),
        verdict=Verdict(
            code="worth_it",
            metric="rmse",
            baseline="linear",
            difference=metric(8.71, 1.9),
            num_examples=400,
        ),
        stopped=Notice(code="stopped_by_signal", values={"signal": "SIGINT"}),
    )


def picture(seed: int) -> str:
    from PIL import Image

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:28, 0:28] / 27
    wave_ = np.sin(x * (3 + seed % 4) + rng.random() * 6) * np.cos(y * (2 + seed % 3) + seed)
    pixels = np.stack([127 + 120 * wave_, 90 + 60 * x, 200 * y], axis=-1).clip(0, 255)
    written = io.BytesIO()
    Image.fromarray(pixels.astype("uint8")).save(written, format="PNG")
    return "image/png;base64," + base64.b64encode(written.getvalue()).decode()


def sound(seed: int) -> str:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        tone = 8000 * np.sin(np.arange(4000) * (0.1 + 0.02 * seed))
        file.writeframes(tone.astype("<i2").tobytes())
    return "audio/wav;base64," + base64.b64encode(written.getvalue()).decode()


def classes_run(kind: Any, classes: tuple[str, ...], examples: tuple[Example, ...]) -> RunRecord:
    rng = np.random.default_rng(2)
    size = len(classes)
    table = rng.integers(0, 14, (size, size)) * (rng.random((size, size)) < 0.5)
    table[np.arange(size), np.arange(size)] = rng.integers(80, 120, size)
    found = {
        "accuracy": metric(0.9132, 0.01),
        "balanced_accuracy": metric(0.9101, 0.012),
        "log_loss": metric(0.2714, 0.02),
        "ece": metric(0.0312, 0.006),
    }
    shape = {"image": (3, 28, 28), "audio": (64, 101), "text": (128,)}[kind]
    per_class = tuple(
        ClassRow(
            name=name,
            precision=0.85 + 0.014 * (i % 10),
            recall=0.99 - 0.02 * (i % 10),
            f1=0.9,
            support=int(table[i].sum()),
        )
        for i, name in enumerate(classes)
    )
    return RunRecord(
        id=f"bright-{kind}-7",
        state="finished",
        created=1_795_478_400,
        command=f"trainwright fit {kind}s/",
        recipe={"seed": 0, "model": {"name": "convnet", "width": 32}},
        recipe_hash="aa01",
        versions=VERSIONS,
        steps=2400,
        total_steps=3000,
        examples=153_600,
        seconds=184.0,
        num_parameters=1_204_010,
        seconds_by_part={"data": 12.0, "train": 140.0, "evaluate": 9.0, "baselines": 18.0},
        understanding=Understanding(
            source=f"{kind}s/",
            format=f"{kind} folder",
            task=Task(kind="multiclass", target="folder", classes=classes),
            signature=Signature(kind=kind, shape=shape, vocabulary=4096 if kind == "text" else 0),
            num_examples={"train": 4660, "valid": 1000, "test": 1000},
            class_counts={name: 480 - 9 * i for i, name in enumerate(classes)},
        ),
        metrics={"train": {"accuracy": Metric(value=0.983)}, "test": found},
        judgement=Judgement(
            split="test",
            metrics=found,
            confusion=tuple(tuple(int(v) for v in row) for row in table),
            confusion_examples=examples[:6],
            per_class=per_class,
            worst=examples,
            reliability=tuple(
                ReliabilityBin(confidence=0.05 + i / 10, accuracy=(i / 10) ** 1.2, count=i * i)
                for i in range(10)
            ),
        ),
        baselines=(
            Baseline(name="constant", metrics={"accuracy": metric(0.1, 0.01)}, seconds=0.0),
            Baseline(
                name="boosted_trees",
                metrics={"accuracy": metric(0.871, 0.012)},
                seconds=14.2,
                notices=(Notice(code="subsampled", values={"count": 2000}),),
            ),
        ),
        verdict=Verdict(
            code="worth_it",
            metric="accuracy",
            baseline="boosted_trees",
            difference=metric(0.042, 0.014),
            num_examples=1000,
        ),
        chosen_step=1800,
    )


CLOTHES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    HOSTILE,
    "ankle boot",
)


def image_run() -> RunRecord:
    examples = tuple(
        Example(
            row=37 * i,
            target=CLOTHES[i % 10],
            prediction=CLOTHES[(3 * i + 1) % 10],
            loss=5.1 - i / 4,
            confidence=0.97 - i / 50,
            media=picture(i),
        )
        for i in range(12)
    )
    return classes_run("image", CLOTHES, examples)


def audio_run() -> RunRecord:
    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    examples = tuple(
        Example(
            row=11 * i,
            target=digits[i],
            prediction=digits[9 - i],
            loss=3.0 - i / 4,
            confidence=0.8,
            media=sound(i),
            content={"file": f"{digits[i]}/{i}_jackson_{i}.wav"},
        )
        for i in range(6)
    )
    return classes_run("audio", digits, examples)


def text_run() -> RunRecord:
    texts = (
        "URGENT! You have won a 1 week FREE membership in our £100,000 prize Jackpot!",
        f"{HOSTILE} see http://evil.example/?q=1 or call",
        "早安，今天下午三點的會議改到線上，請先看附件再來，謝謝。",
        "ok lar… joking wif u oni 😀 " * 12,
    )
    topics = ("ham", "spam", "公告", FORMULA)
    examples = tuple(
        Example(
            row=i,
            target=topics[i],
            prediction=topics[(i + 1) % 4],
            loss=4.0 - i,
            confidence=0.9,
            content={"text": text},
        )
        for i, text in enumerate(texts)
    )
    return classes_run("text", topics, examples)


def many_classes_run() -> RunRecord:
    return classes_run("image", tuple(f"species {i:03d}" for i in range(64)), ())


RUNS = {
    "table": table_run,
    "regression": regression_run,
    "image": image_run,
    "audio": audio_run,
    "text": text_run,
    "many_classes": many_classes_run,
}
