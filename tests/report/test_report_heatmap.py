"""The pictures show what was measured: right cells, no lost spike, nothing drawn from nothing."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from diagnosis_records import healthy, sick, static, three, watched
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from report_records import table_run
from test_report_page import Page

from trainwright.core.diagnosis import Diagnosis
from trainwright.core.history import Curve, History
from trainwright.core.words import use_language
from trainwright.report import heatmap
from trainwright.report.findings import findings
from trainwright.report.heatmap import NOT_FINITE, Mark, colours, drawn, layer_values, maps
from trainwright.report.page import render_diagnosis, render_page


def of(values: np.ndarray, name: str = "gradient_norm") -> History:
    """A history of one layer reading."""
    T, L = values.shape
    return History(
        steps=np.arange(1, T + 1), layers=tuple(f"l{i}" for i in range(L)),
        by_layer={name: values}, num_steps=T,
    )  # fmt: skip


def test_gain_is_the_gradient_at_a_layer_over_that_at_the_next():
    gradient = np.array([[1.0, 2.0, 8.0], [3.0, 3.0, 3.0]])
    gain = layer_values(of(gradient, "output_gradient"))["gain"]
    np.testing.assert_allclose(gain[:, :2], [[0.5, 0.25], [1.0, 1.0]])
    assert np.isnan(gain[:, 2]).all()
    (one,) = maps(of(gradient, "output_gradient"))
    assert one.layers == ("l0", "l1")  # the last has no next one


def test_before_a_layer_without_a_gradient_there_is_no_gain():
    gain = layer_values(of(np.array([[0.0, 0.0, 1.0], [2.0, 4.0, 1.0]]), "output_gradient"))["gain"]
    assert np.isnan(gain[0, 0])
    assert gain[0, 1] == 0.0
    assert gain[1, 0] == 0.5


def test_the_update_ratio_is_update_over_weight_and_nothing_for_weights_of_zero():
    history = replace(
        of(np.ones((1, 2))),
        by_layer={"update_norm": np.array([[0.1, 0.1]]), "weight_norm": np.array([[2.0, 0.0]])},
    )
    ratio = layer_values(history)["update"]
    assert ratio[0, 0] == pytest.approx(0.05)
    assert np.isnan(ratio[0, 1])


def test_what_was_never_measured_is_not_drawn():
    assert maps(History()) == []
    assert maps(of(np.full((3, 2), np.nan))) == []
    values = np.array([[1.0, np.nan], [2.0, np.nan]])
    (one,) = maps(of(values))
    assert one.layers == ("l0",)


def test_colours_run_from_low_to_high_and_mark_what_is_no_number():
    values = np.array([[1e-3, 1.0, np.inf, np.nan]]).T
    (one,) = maps(of(values))
    cells = colours(one)[0]
    assert tuple(cells[0][:3]) == heatmap._SEQUENTIAL[0]
    assert tuple(cells[1][:3]) == heatmap._SEQUENTIAL[-1]
    assert tuple(cells[2][:3]) == NOT_FINITE
    assert [c[3] for c in cells] == [255, 255, 255, 0]


def test_the_usual_update_and_a_gain_of_one_are_grey():
    for name, value in (("update", 1e-3), ("gain", 1.0)):
        scale = heatmap._scale(name, np.array([[value * 20, value / 3]]))
        assert scale.place(np.array([value]))[0] == pytest.approx(0.5)


@given(st.integers(1, 1000), st.integers(0, 999))
def test_a_spike_is_never_thinned_away(count, at):
    values = np.ones((count, 2))
    at %= count
    values[at, 1] = 1e6
    (one,) = maps(of(values))
    assert one.values.shape[1] <= heatmap.MOST_COLUMNS
    assert one.values.max() == 1e6
    column = int(one.values[1].argmax())
    assert one.steps[column] <= at + 1 < one.steps[column] + one.per_column


def test_an_infinite_value_is_never_thinned_away():
    values = np.ones((900, 1))
    values[123] = np.inf
    values[124] = np.nan
    (one,) = maps(of(values))
    assert np.isinf(one.values).sum() == 1


@given(st.integers(1, 500), st.lists(st.integers(0, 499), max_size=10))
def test_named_layers_are_kept_when_others_are_left_out(count, named):
    names = [f"l{i % count}" for i in named]
    (one,) = maps(of(np.ones((2, count))), named=names)
    assert len(one.layers) == min(count, heatmap.MOST_ROWS)
    assert set(names) <= set(one.layers)
    assert list(one.layers) == sorted(one.layers, key=lambda n: int(n[1:]))
    assert {"l0", f"l{count - 1}"} <= set(one.layers)


@given(
    arrays.arrays(
        np.float64, st.tuples(st.integers(1, 30), st.integers(1, 6)),
        elements=st.floats(allow_nan=True, allow_infinity=True),
    )
)  # fmt: skip
def test_whatever_was_measured_can_be_drawn(values):
    for name in ("gradient_norm", "output_gradient", "dead_share"):
        for one in maps(of(values, name)):
            assert colours(one).shape == (*one.values.shape, 4)
            assert "<figure" in drawn(one)


def test_the_picture_is_the_values_cell_by_cell():
    (one,) = maps(of(np.array([[1.0, 10.0], [100.0, 1000.0], [5.0, 5.0]])))
    source = re.findall(r'src="data:image/png;base64,([^"]+)"', drawn(one))
    picture = Image.open(io.BytesIO(base64.b64decode(source[0])))
    assert picture.size == (3, 2)
    np.testing.assert_array_equal(np.asarray(picture), colours(one))


def test_a_picture_of_many_cells_is_whole():
    rng = np.random.default_rng(0)
    (one,) = maps(of(10 ** rng.uniform(-4, 0, (200, 32))))
    source = re.findall(r'src="data:image/png;base64,([^"]+)"', drawn(one))
    assert Image.open(io.BytesIO(base64.b64decode(source[0]))).size == (200, 32)


def test_a_mark_stands_at_its_layer_and_step():
    (one,) = maps(of(np.ones((10, 4))))
    (left, top) = re.findall(
        r"left:([\d.]+)%;top:([\d.]+)%", drawn(one, [Mark(code="A401", layer="l2", step=6)])
    )[0]
    assert float(left) == pytest.approx(50.0)
    assert float(top) == pytest.approx(50.0)
    assert "A401" not in drawn(one, [Mark(code="A401", layer="elsewhere", step=6)])


@pytest.mark.parametrize("case", [sick, three, healthy, Diagnosis])
@pytest.mark.parametrize("language", ["en", "zh-Hant"])
@pytest.mark.parametrize("big", [False, True])
def test_the_page_of_a_diagnosis_closes_its_elements_and_loads_nothing(case, language, big):
    use_language(language)
    page = Page(render_diagnosis(case(), watched(300, 500) if big else watched(), title="train.py"))
    assert page.open == []
    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    for _, attributes in page.tags:
        for key in ("src", "href"):
            assert (attributes.get(key) or "#").startswith(("data:image/png;base64,", "#"))


def test_each_cause_is_marked_in_the_loss_curve():
    section = findings(sick(), watched())
    figure = section[section.index("diagnosis-loss") :] if "diagnosis-loss" in section else section
    assert "A401" in re.findall(r"<svg.*?</svg>", section, re.S)[0]
    assert "where it began" in section
    assert figure.count("<svg") <= 1
    plain = findings(healthy(), watched(sick=False))
    assert "where it began" not in plain


def test_a_diagnosis_stands_first_in_the_page_of_a_run():
    page = Page(render_page(table_run(), [], diagnosis=sick(), watched=watched()))
    assert page.open == []
    assert page.ids().index("diagnosis") < page.ids().index("understood")
    assert "diagnosis" not in Page(render_page(table_run(), [])).ids()


def test_a_page_without_readings_has_the_causes_alone():
    section = findings(three())
    assert "<svg" not in section
    assert "L301" in section
    assert "輸出層與損失函數不搭配" in section


def test_foreign_layer_names_and_losses_cannot_break_the_page():
    name = '<script>alert("1")</script>$x^2$\x1b[2J'
    history = watched()
    history = replace(
        history, layers=(name, *history.layers[1:]),
        loss=Curve(steps=history.steps, values=np.full(len(history.steps), np.nan)),
    )  # fmt: skip
    finding = replace(static(), where=(name,), line=name)
    text = render_diagnosis(Diagnosis(findings=(finding,)), history, title=name)
    assert "<script" not in text
    assert "\x1b" not in text
    assert Page(text).open == []
