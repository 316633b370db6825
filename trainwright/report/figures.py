"""How does a curve look? matplotlib draws numbers only; words and colours come from the page, so
that a figure follows its language and its light or dark ground."""

import io
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Any

from trainwright.core.claims import Picture
from trainwright.core.claims import Series as Curve
from trainwright.core.records import ReliabilityBin
from trainwright.report import format as show
from trainwright.report.curves import Series
from trainwright.report.markup import Html

# Colours stand for CSS variables and are replaced after drawing: matplotlib knows no variables.
_VARIABLES = {
    "#000001": "var(--ink-soft)",
    "#000002": "var(--rule)",
    "#000003": "var(--blue)",
    "#000004": "var(--orange)",
    "#000005": "var(--ink)",
    "#000006": "var(--paper)",
    **{f"#00001{at}": f"var(--part-{at})" for at in range(7)},
}
_INK, _RULE, BLUE, ORANGE, _STRONG, _PAPER, *PARTS = _VARIABLES
_PIXEL = 1 / 72  # matplotlib writes SVG at 72 points an inch; one point is one pixel here
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
EARLY = 0.1  # share of the steps in which a linear axis cannot show what comes first [assumed]
LOG_FROM_RATIO = 50.0  # highest / lowest above which a linear axis hides the end [assumed]
NOTHING = 1.2e-7  # of the highest value: what float32 can tell from 0 beside it
FAR_BELOW = 1e-3  # of the other curve's lowest value: its own course would be a flat line [assumed]
MARGIN = 0.08  # share of the height that is left free above and below
_STEPS = [1, 2, 2.5, 5, 10]  # between round ticks

Line = tuple[Series, str]  # and its colour


def curve(name: str, lines: Sequence[Line], *, marked: float | None, log: bool = False) -> Html:
    """Curves over steps, with a dashed line at the step whose weights were kept."""
    figure, axes = _canvas(460, 220)
    for line, colour in lines:
        _draw(axes, line, colour)
    axes.margins(x=0.02, y=MARGIN)
    if log:
        _maybe_logarithmic(axes, [line for line, _ in lines])
    if marked is not None:
        axes.axvline(marked, color=_STRONG, lw=1, ls=(0, (3, 3)))
    return _written(figure, axes, name)


def marked_curve(name: str, line: Series, notes: Sequence[tuple[float, str]]) -> Html:
    """One curve, broad, with a vertical line and a code at the top for each of `notes` (step,
    code). Steps are logarithmic where a note stands in the first steps, which a linear axis hides.
    """
    figure, axes = _canvas(920, 260)
    _draw(axes, line, BLUE)
    axes.margins(x=0.02, y=MARGIN)
    _maybe_logarithmic(axes, [line])
    first = max(1.0, line.steps[0])
    if notes and min(step for step, _ in notes) < EARLY * line.steps[-1]:
        axes.set_xscale("log")
        axes.minorticks_off()
    _note(axes, [(max(step, first), code) for step, code in notes])
    return _written(figure, axes, name)


def _draw(axes: Any, line: Series, colour: str) -> None:
    if line.thinned:
        axes.fill_between(line.steps, line.low, line.high, color=colour, alpha=0.18, lw=0)
    marker = "o" if len(line.steps) <= 25 else ""
    axes.plot(line.steps, line.values, color=colour, lw=1.8, marker=marker, ms=3.5)


def _maybe_logarithmic(axes: Any, lines: Sequence[Series]) -> None:
    """A logarithmic axis where a linear one hides the end. What is next to nothing beside the
    highest value, or far below all of another curve, leaves it at the bottom: a training loss on
    its way to 1e-48 would press the validation loss flat.
    """
    lowest = [min(line.values) for line in lines]
    highest = max(max(line.high) for line in lines)
    floor = max(NOTHING * highest, FAR_BELOW * max(lowest))
    if min(lowest) < 0 or highest <= LOG_FROM_RATIO * max(floor, min(lowest)):
        return
    axes.set_yscale("log")
    axes.minorticks_off()
    if min(lowest) < floor:
        axes.set_ylim(floor, highest * (highest / floor) ** MARGIN)


def _note(axes: Any, notes: Sequence[tuple[float, str]]) -> None:
    """A vertical line for each note. Notes too near to be read apart share one label, which stands
    on the side where it has room."""
    labels: list[tuple[float, float, list[str]]] = []  # where on the axis 0..1, step, codes
    for step, code in sorted(notes):
        axes.axvline(step, color=ORANGE, lw=1.4)
        at = _share_of_axis(axes, step)
        if labels and at - labels[-1][0] < 0.06 * (1 + len(labels[-1][2])):
            labels[-1][2].extend([code] if code not in labels[-1][2] else [])
        else:
            labels.append((at, step, [code]))
    for at, step, codes in labels:
        late = at > 0.8
        axes.annotate(
            " ".join(codes), (step, 1.0), xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, 3), textcoords="offset points",
            ha="right" if late else "left", va="bottom", fontsize=11, color=ORANGE,
            parse_math=False, annotation_clip=False,
        )  # fmt: skip


def _share_of_axis(axes: Any, step: float) -> float:
    low, high = axes.get_xlim()
    if axes.get_xscale() == "log":
        return math.log(step / low) / math.log(high / low)
    return (step - low) / (high - low)


def reliability(name: str, bins: Sequence[ReliabilityBin]) -> Html:
    """Share correct over confidence; the area of a dot is its number of examples."""
    figure, axes = _canvas(320, 300)
    axes.plot([0, 1], [0, 1], color=_INK, lw=1, ls=(0, (3, 3)))
    filled = [b for b in bins if b.count > 0]
    most = max((b.count for b in filled), default=1)
    confidence, accuracy = [b.confidence for b in filled], [b.accuracy for b in filled]
    axes.plot(confidence, accuracy, color=BLUE, lw=1.2, alpha=0.5)
    for one in filled:
        size = 3 + 11 * (one.count / most) ** 0.5
        axes.plot([one.confidence], [one.accuracy], "o", color=BLUE, ms=size, mec=_PAPER, mew=1)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    return _written(figure, axes, name)


def residuals(name: str, pairs: Sequence[tuple[float, float]]) -> Html:
    """Predictions over targets, with the diagonal where they agree."""
    figure, axes = _canvas(320, 300)
    finite = [p for p in pairs if all(abs(v) < float("inf") for v in p)]
    every = max(1, -(-len(finite) // 600))  # so many dots are still told apart [assumed]
    targets, predictions = [p[0] for p in finite[::every]], [p[1] for p in finite[::every]]
    low, high = min(targets + predictions), max(targets + predictions)
    axes.plot([low, high], [low, high], color=_INK, lw=1, ls=(0, (3, 3)))
    axes.plot(targets, predictions, "o", color=BLUE, ms=4, mec="none", alpha=0.45)
    return _written(figure, axes, name)


def shared_axes(name: str, picture: Picture) -> Html:
    """Curves of an experiment on shared axes, each in a colour of PARTS in order (again from the
    first after seven); what an axis cannot show, no number or 0 on a logarithmic one, is left out.
    Over `names`, which are words here, series are bars beside each other.
    """
    figure, axes = _canvas(460, 280)
    axes.set_xscale("log" if picture.log_x else "linear")
    axes.set_yscale("log" if picture.log_y else "linear")
    for at, one in enumerate(picture.series):
        colour = PARTS[at % len(PARTS)]
        if picture.names:
            _draw_bars(axes, one, colour, place=at, num_places=len(picture.series))
        else:
            _draw_series(axes, one, colour, picture)
    axes.margins(x=0.02, y=MARGIN)
    axes.minorticks_off()
    if picture.names:
        axes.set_xlim(0.5, len(picture.names) + 0.5)
    return _written(figure, axes, name, names=picture.names)


def _draw_bars(axes: Any, one: Curve, colour: str, *, place: int, num_places: int) -> None:
    width = 0.8 / num_places  # of 1 between names
    known = [(x, y) for x, y in zip(one.x, one.y, strict=True) if math.isfinite(y)]
    lefts = [x - 0.4 + (place + 0.05) * width for x, _ in known]
    axes.bar(lefts, [y for _, y in known], 0.9 * width, align="edge", color=colour)


def _draw_series(axes: Any, one: Curve, colour: str, picture: Picture) -> None:
    lows, highs = one.low or one.y, one.high or one.y
    points = [
        values
        for values in zip(one.x, one.y, lows, highs, strict=True)
        if all(map(math.isfinite, values))
        and not (picture.log_x and values[0] <= 0)
        and not (picture.log_y and min(values[1:]) <= 0)
    ]
    if not points:
        return
    x, y, low, high = zip(*points, strict=True)
    if one.dots:
        axes.plot(x, y, "o", color=colour, ms=4, mec="none", alpha=0.5)
        return
    if one.low is not None:
        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    axes.plot(x, y, color=colour, lw=1.8, marker="o" if len(x) <= 25 else "", ms=3.5)


def paired(name: str, pairs: Sequence[tuple[float, float]]) -> Html:
    """What two arms scored: a thin line for each pair from first to second, blue where it rises,
    a thick one for the mean."""
    figure, axes = _canvas(460, 260)
    for first, second in pairs:
        colour = BLUE if second >= first else ORANGE
        axes.plot([0, 1], [first, second], color=colour, lw=1.2, marker="o", ms=3.5, alpha=0.6)
    means = [math.fsum(pair[arm] for pair in pairs) / len(pairs) for arm in (0, 1)]
    axes.plot([0, 1], means, color=_STRONG, lw=2.6)
    axes.margins(x=0.06, y=MARGIN)
    return _written(figure, axes, name, ticks="y")


def differences(name: str, values: Sequence[float], interval: tuple[float, float]) -> Html:
    """Each pair's difference as a dot, below them their mean with its interval, and a dashed line
    where there is none. An interval without bounds is left out."""
    figure, axes = _canvas(460, 150)
    count = len(values)
    axes.axvline(0, color=_INK, lw=1, ls=(0, (3, 3)))
    rows = [count - at for at in range(count)]
    axes.plot(values, rows, "o", color=BLUE, ms=5, mec="none", alpha=0.6)
    if all(map(math.isfinite, interval)):
        axes.plot(interval, [0, 0], color=_STRONG, lw=2.2)
    axes.plot([math.fsum(values) / count], [0], "o", color=_STRONG, ms=7)
    axes.set_ylim(-0.9, count + 0.9)
    axes.margins(x=0.06)
    return _written(figure, axes, name, ticks="x")


def _canvas(width: int, height: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * _PIXEL, height * _PIXEL), layout="constrained")
    return figure, figure.add_subplot()


def _written(
    figure: Any, axes: Any, name: str, *, ticks: str = "xy", names: Sequence[str] = ()
) -> Html:
    """The figure as an element; `ticks` are the axes that have numbers, `names` what the x axis has
    in their place."""
    from matplotlib import rc_context
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    plain = FuncFormatter(lambda value, _: show.tick(value))
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    axes.xaxis.set_major_locator(
        LogLocator(numticks=7) if axes.get_xscale() == "log" else MaxNLocator(5, steps=_STEPS)
    )
    logarithmic = axes.get_yscale() == "log"
    axes.yaxis.set_major_locator(
        LogLocator(numticks=5) if logarithmic else MaxNLocator(5, steps=_STEPS)
    )
    for axis, letter in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        if letter not in ticks:
            axis.set_major_locator(NullLocator())
    words = {f"@{at}": word for at, word in enumerate(names, start=1)}
    if words:  # stood in for while it is drawn: matplotlib's font has not all letters
        axes.set_xticks(range(1, len(words) + 1), list(words))
    axes.tick_params(length=0, labelsize=11, labelcolor=_INK, pad=5)
    axes.grid(color=_RULE, lw=1)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_INK)
    drawn = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "trainwright"}):
        figure.savefig(drawn, format="svg", metadata=nothing)
    return _inline(drawn.getvalue(), name, words)


def _inline(svg: bytes, name: str, words: Mapping[str, str]) -> Html:
    """matplotlib's file as an element of a page: no namespaces, no fonts of its own, ids that
    cannot meet another figure's, colours as CSS variables, `words` for what stands in for them."""
    root = ElementTree.fromstring(svg)
    used = set(re.findall(rb'(?:url\(#|href="#)([^")]+)', svg))
    ids = {old.decode(): f"{name}-{at}" for at, old in enumerate(sorted(used))}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    for element in root.iter():
        element.tail = None
        text = element.text.strip() if element.text else None
        element.text = words.get(text, text) if text else None
        element.tag = str(element.tag).removeprefix(_SVG)
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            if key == "id" and value not in ids:
                continue
            element.set("href" if key == _XLINK else key, _rewritten(value, ids))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("class", "figure")
    root.set("aria-hidden", "true")  # the caption says it in words
    return Html(ElementTree.tostring(root, encoding="unicode", method="html"))


def _rewritten(value: str, ids: dict[str, str]) -> str:
    value = re.sub(r"font: ([\d.]+px) [^;]*", r"font-size: \1", value)
    value = re.sub(r"font-family: [^;]*; ", "", value)
    value = re.sub(r"#0000\d\d", lambda found: _VARIABLES.get(found[0], found[0]), value)
    value = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{ids[found[1]]})", value)
    if value in ids:
        return ids[value]
    return f"#{ids[value[1:]]}" if value[:1] == "#" and value[1:] in ids else value
