"""How does a run tell of itself while it goes on? One `Progress`, throttled, on one of four
surfaces: a bar on a terminal, plain lines, JSON lines, or nothing."""

import atexit
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Protocol, SupportsFloat, TextIO

from rich.console import Console

from trainwright.core.words import say
from trainwright.report import format as show
from trainwright.report import phrases

# Seconds between two draws. A bar drawn oftener than ten times a second only flickers; a log line
# oftener than every ten seconds only scrolls [assumed].
BAR_SECONDS = 0.1
LINE_SECONDS = 10.0
JSON_SECONDS = 1.0
MOST_METRICS = 3  # in a line for people; programs get all


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where training is. `share` is the part of the budget that is spent, 0 to 1; None when
    neither total steps nor seconds left are known."""

    step: int
    total: int | None = None
    loss: float | None = None
    metric: tuple[str, float] | None = None
    examples_per_second: float | None = None
    seconds_left: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Where reading the data is: so many files or rows of a stage; `total` None while not known."""

    stage: str
    done: int
    total: int | None = None

    @property
    def share(self) -> float | None:
        return self.done / self.total if self.total else None


Emit = Callable[[dict[str, Any]], None]


class Surface(Protocol):
    """Where progress is shown."""

    def draw(self, moment: Moment | Reading) -> None:
        """Shows where training is, or where reading the data is before it."""
        ...

    def tell(self, event: str, sentence: str, values: Mapping[str, Any]) -> None:
        """Shows something that happened: its name, the words for it, its values."""
        ...

    def close(self) -> None:
        """Leaves the terminal as it was."""
        ...


class Progress:
    """What a training run is fed to; costs one comparison of clocks between two draws.

    `loss` may be a tensor on a device: it is read (and the device waited for) only when drawn.
    """

    def __init__(
        self, surface: Surface, seconds_between: float, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._surface, self._between, self._clock = surface, seconds_between, clock
        self._next = -math.inf
        self._began: float | None = None
        self._undrawn: Callable[[], Moment] | None = None
        self._metric: tuple[str, float] | None = None

    @property
    def due(self) -> bool:
        """Whether the next `step` would be drawn: ask before computing what it shows."""
        return self._clock() >= self._next

    def step(
        self,
        step: int,
        total: int | None = None,
        *,
        loss: SupportsFloat | None = None,
        metric: tuple[str, float] | None = None,
        examples_per_second: float | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """A step is done; drawn when due. `metric` is (name, value) and is kept once given."""
        now = self._clock()
        self._metric = metric or self._metric
        self._began = now if self._began is None else self._began

        def moment() -> Moment:
            return Moment(
                step=step,
                total=total,
                loss=None if loss is None else float(loss),
                metric=self._metric,
                examples_per_second=examples_per_second,
                seconds_left=seconds_left,
                share=self._share(step, total, now, seconds_left),
            )

        if now < self._next:
            self._undrawn = moment
            return
        self._next, self._undrawn = now + self._between, None
        self._surface.draw(moment())

    def reading(self, stage: str, done: int, total: int | None, *, over: bool) -> None:
        """So much of the data is read; drawn when due, and when the stage is over, after which
        training is drawn at once."""
        now = self._clock()
        if over or now >= self._next:
            self._surface.draw(Reading(stage=stage, done=done, total=total))
            self._next = now + self._between
        if over:
            self._surface.close()
            self._next = -math.inf

    def evaluated(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """A split was measured: always said. The first metric beside the loss goes to the bar."""
        chosen = next((item for item in metrics.items() if item[0] != "loss"), None)
        self._metric = chosen or self._metric
        self._undrawn = None  # what was not drawn by now is older than this
        words = say("report.between").join(
            f"{phrases.metric_name(name)} {show.metric_value(name, value)}"
            for name, value in list(metrics.items())[:MOST_METRICS]
        )
        sentence = say(
            "report.live.evaluated",
            step=show.count(step),
            split=phrases.split_name(split),
            metrics=words,
        )
        values = {"step": step, "split": split, "metrics": dict(metrics)}
        self._surface.tell("evaluated", sentence, values)

    def tell(self, event: str, sentence: str, /, **values: Any) -> None:
        """Anything else that happened, in words for people and values for programs."""
        self._surface.tell(event, sentence, values)

    def close(self) -> None:
        """Nothing more comes: the last step is drawn if it was not yet."""
        if self._undrawn is not None and math.isfinite(self._between):
            self._surface.draw(self._undrawn())
        self._undrawn = None
        self._surface.close()

    def _share(
        self, step: int, total: int | None, now: float, seconds_left: float | None
    ) -> float | None:
        if total:
            return min(1.0, step / total)
        if seconds_left is None or self._began is None:
            return None
        spent, left = now - self._began, max(0.0, seconds_left)
        return spent / (spent + left) if spent + left > 0 else 1.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_progress(
    *, console: Console | None = None, as_json: bool = False, quiet: bool = False,
    stream: TextIO | None = None,
) -> Progress:  # fmt: skip
    """The progress that suits where it goes. `console` is for people (stderr, usually), `stream`
    for JSON lines (stdout)."""
    if as_json:
        return Progress(JsonSurface(_line_writer(stream or sys.stdout)), JSON_SECONDS)
    if quiet:
        return Progress(SilentSurface(), math.inf)
    console = console or Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return Progress(BarSurface(console), BAR_SECONDS)
    return Progress(LineSurface(console), LINE_SECONDS)


class BarSurface:
    """A bar that is drawn in place and goes when training ends, as the summary says it all. No
    thread: it moves when training does."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = console
        words = TextColumn("{task.fields[words]}", markup=False)
        part = TextColumn("{task.fields[part]}", markup=False)
        width = 24 if console.width >= 100 else 10
        self._bar = Bar(
            BarColumn(bar_width=width),
            part,
            words,
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, words="", part="")
        self._started = False

    def draw(self, moment: Moment | Reading) -> None:
        if not self._started:
            self._bar.start()
            self._started = True
            atexit.register(self.close)  # whatever ends the process, the cursor comes back
        known = moment.share is not None
        self._bar.update(
            self._task,
            total=1.0 if known else None,
            completed=moment.share if known else 0.0,
            part=f"{math.floor(100 * (moment.share or 0)):>3} %" if known else "",
            words=line(moment),
        )
        self._bar.refresh()

    def tell(self, event: str, sentence: str, values: Mapping[str, Any]) -> None:
        self._console.print(sentence, markup=False, highlight=False)

    def close(self) -> None:
        if self._started:
            self._bar.refresh()
            self._bar.stop()
            self._started = False
            atexit.unregister(self.close)


class LineSurface:
    """One plain line each time, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def draw(self, moment: Moment | Reading) -> None:
        self._print(line(moment))

    def tell(self, event: str, sentence: str, values: Mapping[str, Any]) -> None:
        self._print(sentence)

    def close(self) -> None:
        pass

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class JsonSurface:
    """One object an event, `event` first, handed to `emit`. A number that is not finite is None:
    JSON has no word for it."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def draw(self, moment: Moment | Reading) -> None:
        if isinstance(moment, Reading):
            self._emit({"event": "reading", **asdict(moment)})
            return
        values = {
            "step": moment.step,
            "total": moment.total,
            "loss": moment.loss,
            "metric": moment.metric and {moment.metric[0]: moment.metric[1]},
            "examples_per_second": moment.examples_per_second,
            "seconds_left": moment.seconds_left,
        }
        known = {key: value for key, value in values.items() if value is not None}
        self._emit(_finite({"event": "progress", **known}))

    def tell(self, event: str, sentence: str, values: Mapping[str, Any]) -> None:
        self._emit(_finite({"event": event, **values, "words": sentence}))

    def close(self) -> None:
        pass


class SilentSurface:
    """Says nothing."""

    def draw(self, moment: Moment | Reading) -> None:
        pass

    def tell(self, event: str, sentence: str, values: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def line(moment: Moment | Reading) -> str:
    """`step 1,200/3,000  loss 0.3121  accuracy 0.912  12,000 examples/s  0:21 left`, or
    `reading files  1,200/3,000`."""
    total = say("report.live.of_total", total=show.count(moment.total)) if moment.total else ""
    if isinstance(moment, Reading):
        return say(f"report.reading.{moment.stage}", done=show.count(moment.done), total=total)
    metric = ""
    if moment.metric is not None:
        name, value = moment.metric
        metric = f"  {phrases.metric_name(name)} {show.metric_value(name, value)}"
    speed = left = ""
    if moment.examples_per_second is not None:
        speed = say("report.live.speed", speed=show.count(moment.examples_per_second))
    if moment.seconds_left is not None:
        left = say("report.live.left", left=show.clock(moment.seconds_left))
    return say(
        "report.live.line", step=show.count(moment.step), total=total,
        loss=show.number(moment.loss), metric=metric, speed=speed, left=left,
    ).rstrip()  # fmt: skip


def _line_writer(stream: TextIO) -> Emit:
    def write(values: dict[str, Any]) -> None:
        stream.write(json.dumps(values, allow_nan=False, default=str) + "\n")
        stream.flush()

    return write


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value
