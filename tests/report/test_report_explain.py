"""Every knob, metric and column can be asked about; a misspelt one gets its neighbour."""

import io

import pytest
from rich.console import Console

from trainwright import recipe as recipes
from trainwright.core.errors import TrainwrightError
from trainwright.core.knob import Knobs, Search, knob, knobs_of
from trainwright.core.task import METRICS
from trainwright.core.words import known_codes, use_language
from trainwright.data.knobs import DataKnobs
from trainwright.report.explain import column_names, explain, metric_names, topics


class Speeds(Knobs):
    """Knobs to ask about."""

    learning_rate: float = knob(
        1e-3, "Size of a step.", why="a good start for Adam [paper: Kingma & Ba 2015]",
        unit="per step", search=Search(low=1e-5, high=1e-1, scale="log"), gt=0,
    )  # fmt: skip
    name: str | None = knob(None, "A name.", why="[assumed]")


KNOBS = [*knobs_of(DataKnobs, "data."), *knobs_of(Speeds, "algorithm."), *knobs_of(Speeds, "loss.")]


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_every_topic_has_an_explanation_that_prints(language):
    use_language(language)
    for topic in topics(KNOBS):
        found = explain(topic, KNOBS)
        assert found.what
        assert set(found.to_plain()) >= {
            "topic",
            "kind",
            "what",
            "default",
            "allowed",
            "why",
            "source",
        }
        stream = io.StringIO()
        Console(file=stream, width=60).print(found)
        assert topic in stream.getvalue()


def test_a_knob_is_found_by_its_last_part_and_names_its_source():
    found = explain("learning_rate", list(knobs_of(Speeds, "algorithm.")))
    assert found.topic == "algorithm.learning_rate"
    assert (found.default, found.unit) == ("0.001", "per step")
    assert found.allowed == "number, > 0"
    assert found.why == "a good start for Adam"
    assert found.source == "paper: Kingma & Ba 2015"
    assert found.search == "1e-05 … 0.1 (log)"


def test_a_knob_is_explained_in_the_language_spoken_and_its_source_stays():
    use_language("zh-Hant")
    found = explain("learning_rate", recipes.knobs())
    assert (
        found.what
        == "一步的最大步幅；auto 取該最佳化器慣用的學習率；adam 與 adamw 在 `auto` 表格為其 3 倍，在 `auto` 影像與聲音為其 10 倍；"
        "measured 在訓練之前以短訓練試出學習率。"
    )
    assert found.why == "最值得調校的一個設定；慣用的學習率與出處見 algorithm/resolve.py"
    assert found.source == "paper: Bengio 2012, arXiv:1206.5533, section 3.1"
    assert explain("image_size", recipes.knobs()).unit == "像素"


def test_a_name_that_several_knobs_share_lists_them():
    with pytest.raises(TrainwrightError) as caught:
        explain("learning_rate", KNOBS)
    assert "algorithm.learning_rate, loss.learning_rate" in caught.value.do


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("valid_fracton", "valid_fraction"), ("accurcy", "accuracy"), ("chosen_stp", "chosen_step")],
)
def test_a_near_miss_is_told_what_was_probably_meant(asked, meant):
    with pytest.raises(TrainwrightError) as caught:
        explain(asked, KNOBS)
    assert meant in caught.value.do


def test_a_foreign_topic_is_echoed_harmlessly():
    with pytest.raises(TrainwrightError) as caught:
        explain("\x1b[2J{0}[bold]" * 50, KNOBS)
    assert "\x1b" not in str(caught.value)


def test_every_metric_that_is_measured_is_explained_with_its_direction():
    for name in {name for names in METRICS.values() for name in names}:
        assert name in metric_names()
        assert "better" in explain(name, []).allowed
    assert "less" in explain("rmse", []).allowed


def test_both_languages_know_the_same_words():
    ours = ("report.", "explain.", "column.")
    english = {code for code in known_codes("en") if code.startswith(ours)}
    assert english == {code for code in known_codes("zh-Hant") if code.startswith(ours)}
    assert len(column_names()) > 30
