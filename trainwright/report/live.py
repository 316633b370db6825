"""Who listens to a run? Its messages, turned into progress for people or objects for programs."""

from collections.abc import Callable
from typing import TextIO

from rich.console import Console

from trainwright.core.diagnosis import Finding
from trainwright.core.records import Baseline, to_plain
from trainwright.core.task import METRICS, TaskKind
from trainwright.core.words import say
from trainwright.report import format as show
from trainwright.report import phrases
from trainwright.report.progress import JSON_SECONDS, Emit, JsonSurface, Progress, open_progress
from trainwright.report.rule_words import confidence_words
from trainwright.report.sections import split_words
from trainwright.report.terminal import columns_table, tame
from trainwright.run.messages import (
    Compared,
    Diagnosed,
    Finished,
    Listener,
    Loaded,
    Looked,
    Message,
    Progressed,
    Said,
    Understood,
)


def listener_for(where: Console | TextIO) -> Listener:
    """A bar where there is a terminal, plain lines elsewhere."""
    console = where if isinstance(where, Console) else Console(file=where, highlight=False)

    def introduce(message: Understood) -> None:
        found = message.understanding
        name = tame(message.run_id)
        words = phrases.understanding_sentence(found)
        console.print(f"{name}  {tame(words)}", markup=False, highlight=False, soft_wrap=True)
        console.print(split_words(found), markup=False, highlight=False, style="dim")
        if found.columns:
            console.print(columns_table(found))

    return _listener(open_progress(console=console), introduce)


def json_listener(emit: Emit) -> Listener:
    """Every message as an object with its `event`, at most one of progress a second."""

    def introduce(message: Understood) -> None:
        understood = to_plain(message.understanding)
        emit({"event": "understood", "run": message.run_id, "understanding": understood})

    return _listener(Progress(JsonSurface(emit), JSON_SECONDS), introduce)


def _listener(progress: Progress, introduce: Callable[[Understood], None]) -> Listener:
    task: list[TaskKind] = []

    def listen(message: Message) -> None:
        match message:
            case Loaded():
                progress.reading(message.stage, message.done, message.total, over=message.over)
            case Understood():
                task[:] = [message.understanding.task.kind]
                introduce(message)
            case Progressed():
                progress.step(
                    message.step,
                    message.total_steps,
                    loss=message.loss,
                    examples_per_second=message.examples_per_second,
                    seconds_left=message.seconds_left,
                )
            case Looked():
                progress.evaluated(message.step, "valid", message.metrics)
            case Said():
                words = tame(phrases.notice_words(message.notice))
                progress.tell("notice", words, **to_plain(message.notice))
            case Diagnosed():
                key = "opened" if message.open else "closed"
                words = say(f"diagnosis.{key}", finding=_finding_words(message.finding))
                progress.tell("diagnosed", words, open=message.open,
                              code=message.finding.code, kind=message.finding.kind,
                              confidence=message.finding.confidence)  # fmt: skip
            case Compared():
                progress.close()  # training is over; simple learners have their turn
                words = _compared(message.baseline, task)
                progress.tell("compared", words, baseline=to_plain(message.baseline))
            case Finished():
                progress.close()

    return listen


def _finding_words(finding: Finding) -> str:
    return (
        f"{finding.code} {say(f'rule.{finding.code}.name')}, {confidence_words(finding.confidence)}"
    )


def _compared(baseline: Baseline, task: list[TaskKind]) -> str:
    wanted = METRICS[task[0]][0] if task else ""
    name = wanted if wanted in baseline.metrics else next(iter(baseline.metrics), "")
    value = ""
    if name:
        value = f"{phrases.metric_name(name)} {show.with_interval(name, baseline.metrics[name])}"
    return say(
        "report.live.compared",
        name=phrases.baseline_name(baseline.name),
        value=value,
        seconds=show.seconds(baseline.seconds),
    )
