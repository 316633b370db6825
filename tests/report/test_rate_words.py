"""The line on the learning rate stands where the curve tells it and nothing better is known."""

import re
from dataclasses import replace

import numpy as np
import pytest
from diagnosis_records import healthy, rate, sick, static, three, watched
from rich.cells import cell_len

from trainwright.core.diagnosis import Diagnosis, Evidence, Finding, Regime
from trainwright.core.words import use_language
from trainwright.diagnose.regime import regime
from trainwright.report.diagnosis import MOST_LINES, as_text
from trainwright.report.page import render_diagnosis
from trainwright.report.rate_words import SURE_ENOUGH, rate_beside_curve, suspected_rate

STEPS = np.arange(400)
NOISE = 1 + 0.02 * np.random.default_rng(0).normal(size=400)
BURST = 6 * np.exp(-((STEPS - 8) ** 2) / 20)
SWINGS = np.where(STEPS < 9, 1.0, 0.2 + 0.9 * np.sin(STEPS / 15) ** 2 + 3 * (STEPS == 9))
SLOW = 2 * np.exp(-STEPS / 1000) * NOISE
FALLS = (4 * np.exp(-STEPS / 150) + 0.1) * NOISE
HIGH = np.where(STEPS < 20, 1.5, 0.4) * NOISE + BURST
LOST = np.where(STEPS < 20, 1.5, 2.4) * NOISE + BURST
ALONE = "by the loss curve alone"


def peak(curve: np.ndarray) -> str:
    return f"it rose to {curve.max() / curve[0]:.3g} times its first value"


def gone(before: float, after: float) -> str:
    return f"{100 * (1 - after / before):.0f} %"


CURVES = {
    f"too low (very likely, 94 %), {ALONE}: the first eighth of the steps took "
    f"{gone(float(np.median(SLOW[:5])), SLOW[:50].mean())} off the loss": SLOW,
    f"too low (likely, 85 %), {ALONE}: the last quarter of the steps lies "
    f"{gone(FALLS[200:300].mean(), FALLS[300:].mean())} below the one before": FALLS,
    f"high (more likely than not, 62 %), {ALONE}: {peak(HIGH)}": HIGH,
    f"so high that it diverges (likely, 84 %), {ALONE}: {peak(LOST)}": LOST,
    f"so high that it swings (likely, 73 %), {ALONE}: {peak(SWINGS)}": SWINGS,
    f"so high that it diverges (very likely, 96 %), {ALONE}: it is NaN at step 51":
        np.where(STEPS < 50, 1.0, np.nan),
}  # fmt: skip
LOW = Regime(regime="too_low", confidence=0.94, evidence=(
    Evidence(reading="loss.opening", value=0.03, threshold=0.1, provenance="[measured: x]"),))  # fmt: skip
GOOD = Regime(regime="good", confidence=0.97, evidence=(
    Evidence(reading="loss.level", value=0.02, threshold=0.06, provenance="[measured: x]"),))  # fmt: skip


@pytest.fixture
def chinese():
    use_language("zh-Hant")
    yield
    use_language("en")


def flat(drawn: str) -> str:
    return " ".join(re.sub(r"[│╭╮╰╯]", " ", drawn).split())


@pytest.mark.parametrize("said", CURVES)
def test_each_way_to_a_suspicion_is_a_sentence_with_its_number(said):
    told = regime(CURVES[said])
    assert suspected_rate(Diagnosis(rate=told)) == said
    use_language("zh-Hant")
    try:
        other = suspected_rate(Diagnosis(rate=told))
    finally:
        use_language("en")
    assert "僅憑損失曲線：" in other
    assert set(re.findall(r"[\d.]+(?: %)?", said)) == set(re.findall(r"[\d.]+(?: %)?", other))


def test_the_box_of_a_healthy_run_has_one_line_more():
    found = replace(healthy(), rate=LOW)
    plain, with_rate = as_text(healthy(), width=110), as_text(found, width=110)
    assert "learning rate too low (very likely, 94 %), by the loss curve alone" in flat(with_rate)
    assert len(with_rate.splitlines()) - len(plain.splitlines()) in (1, 2)
    assert with_rate.splitlines()[1] == plain.splitlines()[1], "the verdict stays"


def test_a_rate_that_looks_good_or_is_a_guess_is_not_spoken_of_in_the_box():
    guess = replace(LOW, confidence=SURE_ENOUGH - 0.01)
    for told in (GOOD, guess, None):
        assert as_text(replace(healthy(), rate=told)) == as_text(healthy())
    assert rate_beside_curve(replace(healthy(), rate=guess)) == ""


@pytest.mark.parametrize("found", [sick(), three(), Diagnosis(findings=(static(),))])
def test_beside_a_named_cause_the_curve_is_not_asked(found: Diagnosis):
    assert as_text(replace(found, rate=LOW)) == as_text(found)
    page, plain = (render_diagnosis(one, watched()) for one in (replace(found, rate=LOW), found))
    assert page == plain


def test_beside_a_mere_suspicion_it_is():
    suspected = replace(rate(), confidence=0.3)
    assert "by the loss curve alone" in flat(as_text(Diagnosis(possible=(suspected,), rate=LOW)))


@pytest.mark.parametrize("width", [60, 80, 110])
@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_the_box_still_takes_at_most_thirty_lines(width, language):
    use_language(language)
    notes = tuple(Finding(code=f"D10{at}", name="a_note", severity="minor", confidence=0.3,
                          note=True) for at in range(9))  # fmt: skip
    lines = as_text(
        Diagnosis(possible=notes, rate=LOW, overhead=0.5, steps=10), width=width
    ).splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(cell_len, lines)) <= width
    assert lines[-1].startswith("╰")


def test_the_page_says_it_under_the_curve_also_of_a_good_rate():
    history = watched(sick=False)
    low = render_diagnosis(replace(healthy(), rate=LOW), history)
    good = render_diagnosis(replace(healthy(), rate=GOOD), history)
    figure = low[low.index('id="diagnosis"') : low.index("</figure>")]
    assert "<strong>learning rate: </strong>too low (very likely, 94 %)" in figure
    assert (
        "learning rate: </strong>good (very likely, 97 %), by the loss curve alone: it ends at"
        in good
    )
    assert "learning rate: </strong>" not in render_diagnosis(healthy(), history)


def test_the_page_says_it_in_the_language_spoken(chinese):
    page = render_diagnosis(replace(healthy(), rate=LOW), watched(sick=False))
    assert "<strong>學習率：</strong>太低（非常可能，94 %），僅憑損失曲線" in page
