"""What does a record say in words? Names and sentences for its codes, in the reader's language."""

from collections.abc import Mapping
from functools import cache

from trainwright.core.records import Baseline, Metric, Notice, RunRecord, Understanding
from trainwright.core.task import LOWER_IS_BETTER, METRICS
from trainwright.core.words import known_codes, say, say_notice
from trainwright.report import format as show

SPLITS = ("train", "valid", "test")


def words_for(code: str, otherwise: str, **values: str) -> str:
    """The words for `code`, or `otherwise` where there are none: names come from records, which
    may be newer than the words."""
    return say(code, **values) if code in _codes() else otherwise


def metric_name(name: str) -> str:
    """`roc_auc` -> ROC AUC."""
    return words_for(f"report.metric.{name}", name.replace("_", " "))


def baseline_name(name: str) -> str:
    """`boosted_trees` -> boosted trees."""
    return words_for(f"report.baseline.{name}", name.replace("_", " "))


def split_name(name: str) -> str:
    """`valid` -> validation."""
    return words_for(f"report.split.{name}", name)


def state_name(name: str) -> str:
    """`finished` in the reader's language."""
    return words_for(f"report.state.{name}", name)


def notice_words(notice: Notice) -> str:
    """A notice as a sentence; one that has no words shows its code and values."""
    if f"notice.{notice.code}" in _codes():
        try:
            return say_notice(notice)
        except (KeyError, ValueError, IndexError, AttributeError, TypeError):
            pass  # a record of another version: its values do not fill the sentence
    values = ", ".join(f"{key} = {value}" for key, value in notice.values.items())
    return f"{notice.code}: {values}" if values else notice.code


def main_metric(record: RunRecord) -> str:
    """The metric that comparisons look at: the verdict's, else the first of the task."""
    if record.verdict and record.verdict.metric:
        return record.verdict.metric
    if record.understanding is not None:
        return METRICS[record.understanding.task.kind][0]
    return "loss"


def judged_split(record: RunRecord) -> str:
    """The split whose numbers count: test, else valid, else train, whichever has metrics."""
    if record.judgement is not None:
        return record.judgement.split
    return next((s for s in reversed(SPLITS) if record.metrics.get(s)), "")


def judged_metrics(record: RunRecord) -> Mapping[str, Metric]:
    """The metrics that count, with intervals where there are any."""
    if record.judgement is not None and record.judgement.metrics:
        return record.judgement.metrics
    return record.metrics.get(judged_split(record), {})


def result(record: RunRecord) -> tuple[str, Metric] | None:
    """Name and value of the number that the headline shows; None when nothing was measured."""
    metrics, name = judged_metrics(record), main_metric(record)
    if name not in metrics:
        name = next(iter(metrics), "")
    return (name, metrics[name]) if name else None


def best_baseline(record: RunRecord) -> Baseline | None:
    """The verdict's baseline, else the best by the main metric."""
    found = result(record)
    if found is None:
        return None
    name = found[0]
    rivals = [b for b in record.baselines if name in b.metrics]
    named = [b for b in rivals if record.verdict and b.name == record.verdict.baseline]
    sign = -1 if name in LOWER_IS_BETTER else 1
    ranked = sorted(rivals, key=lambda b: sign * b.metrics[name].value, reverse=True)
    return next(iter(named + ranked), None)


def verdict_sentence(record: RunRecord) -> str:
    """Is a network worth it here? One sentence, with the paired difference and its interval."""
    verdict = record.verdict
    if verdict is None:
        return ""
    gap, name = verdict.difference, verdict.metric
    return words_for(
        f"verdict.{verdict.code}",
        verdict.code.replace("_", " "),
        metric=metric_name(name),
        baseline=baseline_name(verdict.baseline),
        difference=show.MISSING if gap is None else show.signed(name, gap.value),
        low=show.MISSING if gap is None else show.signed(name, gap.low),
        high=show.MISSING if gap is None else show.signed(name, gap.high),
        num_examples=show.count(verdict.num_examples),
    )


def task_sentence(record: RunRecord) -> str:
    """What was trained to do what, from what."""
    found = record.understanding
    return record.id if found is None else understanding_sentence(found)


def understanding_sentence(found: Understanding) -> str:
    """What is predicted, from what."""
    return say(f"report.task.{found.task.kind}", target=found.task.target, source=found.source,
               classes=show.count(len(found.task.classes)))  # fmt: skip


def step_words(record: RunRecord) -> str:
    """`3,000 of 5,000 steps`, or `3,000 steps`."""
    if record.total_steps and record.total_steps != record.steps:
        return say(
            "report.steps_of", steps=show.count(record.steps), total=show.count(record.total_steps)
        )
    return say("report.steps", steps=show.count(record.steps))


def training_seconds(record: RunRecord) -> float:
    """Seconds from the first step to the last, with all that happens between them."""
    return sum(record.seconds_by_part.get(part, 0.0) for part in ("train", "input", "evaluate"))


def direction(name: str) -> str:
    """Says that less is better, where it is; nothing otherwise."""
    return say("report.lower_is_better") if name in LOWER_IS_BETTER else ""


@cache
def _codes() -> frozenset[str]:
    """Every code with words; other languages fall back to English, so English decides."""
    return known_codes("en")
