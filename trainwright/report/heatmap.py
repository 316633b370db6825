"""How did each layer fare over the run? Layer x step pictures of gradient, gain, update ratio and
dead units, in colours that stay apart for colour-blind eyes and on light and dark ground."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainwright.core.history import History
from trainwright.core.words import say
from trainwright.report import format as show
from trainwright.report.markup import Child, Html, media, tag
from trainwright.report.rule_words import short

MOST_ROWS = 32  # layers; more are read as texture, not as layers [assumed]
MOST_COLUMNS = 200  # more than a screen's column shows apart [assumed]
MOST_TICKS = 6
USUAL_UPDATE = 1e-3  # update : weight of a healthy net [source: CS231n, neural-networks-3]
DECADES = 4.0  # of a logarithmic scale at most; beyond it all is one colour [assumed]

# Anchors of the scales, in sRGB. One-sided: pale to deep; two-sided: blue, grey, orange.
_SEQUENTIAL = ((239, 243, 247), (158, 202, 225), (49, 130, 189), (8, 48, 107))
_TWO_SIDED = ((0, 60, 120), (66, 146, 198), (226, 226, 222), (241, 140, 64), (140, 45, 4))
_DEAD = ((244, 240, 236), (222, 170, 120), (166, 77, 20), (70, 20, 0))
NOT_FINITE = (214, 0, 147)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From a number to a place on the colours, 0..1. `centre` makes it two-sided."""

    low: float
    high: float
    log: bool
    centre: float | None = None

    def place(self, values: np.ndarray) -> np.ndarray:
        """[...] in 0..1; NaN stays."""
        low, high = self._turned(np.array([self.low, self.high]))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.clip((self._turned(values) - low) / max(high - low, 1e-12), 0.0, 1.0)

    def _turned(self, values: np.ndarray) -> np.ndarray:
        if not self.log:
            return values
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log10(np.where(values > 0, values, np.where(values <= 0, 1e-300, np.nan)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """One picture: [row, column] values, the layers of the rows and the steps of the columns."""

    name: str
    values: np.ndarray
    layers: tuple[str, ...]
    steps: np.ndarray
    scale: Scale
    per_column: int = 1  # sampled steps that a column stands for, at most
    num_layers: int = 0  # before rows were left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Evidence of a finding: which layer, when."""

    code: str
    layer: str
    step: int


def layer_values(history: History) -> dict[str, np.ndarray]:
    """[T, L] by picture, of what was measured.

    gradient: gradient norm. gain: output gradient of a layer over that of the next one, NaN for the
    last. update: update norm over weight norm. dead: share of units never active.
    """
    found: dict[str, np.ndarray] = {}
    gradient, output = history.layer("gradient_norm"), history.layer("output_gradient")
    update, weight = history.layer("update_norm"), history.layer("weight_norm")
    dead = history.layer("dead_share")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if gradient is not None:
            found["gradient"] = gradient
        if output is not None and output.shape[1] > 1:
            last = np.full((len(output), 1), np.nan)
            behind = np.where(output[:, 1:] == 0, np.nan, output[:, 1:])  # of nothing is no gain
            found["gain"] = np.hstack([output[:, :-1] / behind, last])
        if update is not None and weight is not None:
            found["update"] = np.where(weight > 0, update / weight, np.nan)
        if dead is not None:
            found["dead"] = dead
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def maps(history: History, *, named: Sequence[str] = ()) -> list[Map]:
    """The pictures of a history; layers in `named` are kept whatever else is left out."""
    if not len(history.steps) or not history.layers:
        return []
    return [_map(name, values, history, named) for name, values in layer_values(history).items()]


def drawn(one: Map, marks: Sequence[Mark] = ()) -> Html:
    """The picture with its rows' names, its steps, its colours' key, and frames at the marks."""
    rows, columns = one.values.shape
    caption = tag("figcaption", tag("strong", say(f"diagnosis.map.{one.name}")), _key(one))
    names = tag("div", *(tag("span", short(n, 24), title=n) for n in one.layers), class_="names")
    picture = tag(
        "div",
        media(_picture(one), say(f"diagnosis.map.{one.name}")),
        *_frames(one, marks),
        class_="cells", style=f"height:{rows * row_height(rows):.2f}rem",
    )  # fmt: skip
    ticks = [
        tag("span", f"{one.steps[at]:,}", style=f"left:{100 * (at + 0.5) / columns:.2f}%")
        for at in _ticks(columns)
    ]
    below = tag("div", *ticks, class_="steps", aria_hidden="true")
    across = tag("div", say("report.head.step"), class_="axis across")
    about = tag("p", say(f"diagnosis.map_about.{one.name}"), class_="note")
    grid = tag("div", names, picture, tag("div"), below, class_="heat")
    return tag("figure", caption, grid, across, about, class_="plot heatmap")


def row_height(rows: int) -> float:
    """In rem: few layers get broad rows, many stay readable."""
    return 1.5 if rows <= 16 else 1.15


def colours(one: Map) -> np.ndarray:
    """[row, column, 4] as 8-bit RGBA: transparent where nothing was measured, magenta where it is
    infinite."""
    anchors = np.array(_anchors(one), float)
    place = one.scale.place(np.where(np.isinf(one.values), np.nan, one.values))
    at = np.nan_to_num(place) * (len(anchors) - 1)
    left = np.clip(np.floor(at).astype(int), 0, len(anchors) - 2)
    share = (at - left)[..., None]
    mixed = anchors[left] * (1 - share) + anchors[left + 1] * share
    out = np.zeros((*one.values.shape, 4), np.uint8)
    out[..., :3] = np.rint(mixed)
    out[..., 3] = np.where(np.isnan(one.values), 0, 255)
    out[np.isinf(one.values)] = (*NOT_FINITE, 255)
    return out


def _map(name: str, values: np.ndarray, history: History, named: Sequence[str]) -> Map:
    kept = [at for at in range(values.shape[1]) if not np.isnan(values[:, at]).all()]
    all_rows = len(kept)
    kept = _some(kept, {at for at in kept if history.layers[at] in named})
    scale = _scale(name, values)
    thinned, steps, width = _thinned(values[:, kept], history.steps, scale)
    return Map(
        name=name, values=thinned.T, layers=tuple(history.layers[at] for at in kept), steps=steps,
        scale=scale, per_column=width, num_layers=all_rows,
    )  # fmt: skip


def _some(kept: list[int], wanted: set[int]) -> list[int]:
    """At most MOST_ROWS of the layers: those wanted, the first, the last, and others evenly."""
    if len(kept) <= MOST_ROWS:
        return kept
    chosen = dict.fromkeys([kept[0], kept[-1], *sorted(wanted)][:MOST_ROWS])
    even = np.linspace(0, len(kept) - 1, MOST_ROWS).round().astype(int)
    for at in even:
        if len(chosen) < MOST_ROWS:
            chosen[kept[at]] = None
    return sorted(chosen)


def _scale(name: str, values: np.ndarray) -> Scale:
    good = values[np.isfinite(values) & (values > 0)]
    match name:
        case "dead":
            return Scale(low=0.0, high=1.0, log=False)
        case "gain":
            reach = 10 ** np.clip(np.abs(np.log10(good)).max(initial=0.3), 0.3, DECADES / 2)
            return Scale(low=1 / reach, high=reach, log=True, centre=1.0)
        case "update":
            far = np.abs(np.log10(good / USUAL_UPDATE)).max(initial=1.0)
            reach = 10 ** np.clip(far, 1.0, DECADES)
            return Scale(low=USUAL_UPDATE / reach, high=USUAL_UPDATE * reach, log=True,
                         centre=USUAL_UPDATE)  # fmt: skip
    high = float(good.max(initial=1e-12))
    lowest = float(np.quantile(good, 0.01)) if good.size else high  # one odd sample sets no scale
    low = max(lowest, high / 10 ** (2 * DECADES))
    return Scale(low=low if low < high else high / 10, high=high, log=True)


def _thinned(
    values: np.ndarray, steps: np.ndarray, scale: Scale
) -> tuple[np.ndarray, np.ndarray, int]:
    """At most MOST_COLUMNS rows of [T, L]: neighbouring samples share one, which shows the one
    farthest from the centre (or from 0), so that a spike is never lost."""
    width = max(1, math.ceil(len(steps) / MOST_COLUMNS))
    if width == 1:
        return values, steps, 1
    starts = range(0, len(steps), width)
    place = scale.place(values)
    far = np.abs(place - 0.5) if scale.centre is not None else place
    far = np.where(np.isnan(values), -1.0, np.where(np.isinf(values), np.inf, far))
    picked = [
        np.take_along_axis(values[s : s + width], far[s : s + width].argmax(axis=0)[None], 0)[0]
        for s in starts
    ]
    return np.stack(picked), steps[list(starts)], width


def _anchors(one: Map) -> Sequence[tuple[int, int, int]]:
    if one.scale.centre is not None:
        return _TWO_SIDED
    return _DEAD if one.name == "dead" else _SEQUENTIAL


def _picture(one: Map) -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(colours(one), "RGBA").save(out, "PNG", optimize=True)
    return f"image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _frames(one: Map, marks: Sequence[Mark]) -> list[Html]:
    """A frame and the code at each mark's row and column."""
    rows, columns = one.values.shape
    found: dict[tuple[int, int], str] = {}
    for mark in marks:
        if mark.layer in one.layers and len(one.steps):
            column = max(0, int(np.searchsorted(one.steps, mark.step, side="right")) - 1)
            found.setdefault((one.layers.index(mark.layer), column), mark.code)
    width, height = 100 / columns, 100 / rows
    return [
        tag(
            "b", tag("span", code), class_="late" if column > 0.85 * columns else None,
            style=f"left:{column * width:.3f}%;top:{row * height:.3f}%;"
            f"width:{width:.3f}%;height:{height:.3f}%",
        )
        for (row, column), code in found.items()
    ]  # fmt: skip


def _key(one: Map) -> Html:
    """The colours from low to high with their numbers."""
    stops = ", ".join(f"rgb{colour}" for colour in _anchors(one))
    band = tag("i", class_="band", style=f"background:linear-gradient(90deg, {stops})")
    percent = one.name == "dead"
    ends = [show.percent(v) if percent else _power(v) for v in (one.scale.low, one.scale.high)]
    parts: list[Child] = [tag("span", ends[0]), band, tag("span", ends[1])]
    return tag("span", *parts, class_="legend scale")


def _power(value: float) -> str:
    """A short number: 0.001, 3.2, 1e-06."""
    return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e").replace("-", show.MINUS)


def _ticks(columns: int) -> list[int]:
    count = min(MOST_TICKS, columns)
    return sorted({round(at) for at in np.linspace(0, columns - 1, count)}) if columns else []
