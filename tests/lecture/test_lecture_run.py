"""Claims are measured in processes of their own; what is done is kept, what breaks is told."""

import json

import lecture_experiments as experiments
import pytest

from trainwright.core.claims import ClaimResult
from trainwright.core.errors import TrainwrightError
from trainwright.lecture import kept
from trainwright.lecture.all import measure, run_all
from trainwright.lecture.catalogue import CLAIMS, claim
from trainwright.lecture.claim import Later, Pace, repetitions, verdict_of_all, verdict_within


def test_one_that_raises_and_one_whose_process_dies_do_not_stop_the_others(tmp_path):
    told = []
    asked = [experiments.claim("C91", "raises"), experiments.claim("C92", "dies"),
             experiments.claim("C93", "fine")]  # fmt: skip
    found = run_all(asked, folder=tmp_path, processes=2, tell=told.append)
    assert list(found) == ["C93"]
    assert found["C93"].measured.verdict == "holds"
    assert "1 ×" in found["C93"].device, "one thread each"
    reasons = {news.claim: news.reason for news in told if news.reason}
    assert reasons["C91"] == "ZeroDivisionError: in the experiment"
    assert reasons["C92"].endswith("7")
    assert [p.name for p in tmp_path.iterdir()] == ["C93.json"]


def test_what_was_measured_is_kept_until_it_is_asked_for_afresh(tmp_path, monkeypatch):
    mark = tmp_path / "count"
    monkeypatch.setenv("LECTURE_TEST_COUNT", str(mark))
    asked, folder, told = [experiments.claim("C94", "counts")], tmp_path / "kept", []
    first = run_all(asked, folder=folder, processes=1)
    again = run_all(asked, folder=folder, processes=1, tell=told.append)
    assert mark.read_text() == "x"
    # NaN is unlike itself: as text the two are alike to the last figure
    assert repr(again) == repr(first)
    assert told[-1].kept
    run_all(asked, folder=folder, processes=1, fresh=True)
    assert mark.read_text() == "xx"


def test_ctrl_c_ends_the_processes_and_keeps_what_is_done(tmp_path):
    asked = [experiments.claim("C95", "fine"), experiments.claim("C96", "endless")]

    def stop(news):
        if news.claim == "C96" and news.share:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(asked, folder=tmp_path, processes=1, tell=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["C95.json"]


def result(one) -> ClaimResult:
    return measure(one, Pace(seeds=2))


def test_a_result_of_other_code_or_in_a_damaged_file_is_measured_again(tmp_path):
    one = experiments.claim("C97", "fine")
    kept.save(tmp_path, one, result(one))
    assert repr(kept.load(tmp_path, one).measured) == repr(result(one).measured)
    place = tmp_path / "C97.json"
    whole = json.loads(place.read_text())
    for damaged in (
        {**whole, "version": "0" * 16},
        {**whole, "measured": 3},
        {**whole, "claim": "C01"},
    ):
        place.write_text(json.dumps(damaged))
        assert kept.load(tmp_path, one) is None
    before = json.loads(json.dumps(whole))
    for picture in before["measured"]["pictures"]:
        del picture["names"]
    place.write_text(json.dumps(before))
    assert kept.load(tmp_path, one) is not None, "written before axes had names"
    place.write_text('{"version": ')
    assert kept.load(tmp_path, one) is None
    assert kept.load(tmp_path / "nowhere", one) is None


def test_the_version_follows_the_files_that_a_claim_is_built_on(monkeypatch):
    before = {code: kept.version_of(one) for code, one in CLAIMS.items()}
    source = kept._source

    def edited(module: str) -> str:
        return source(module) + ("\n# new" if module == "trainwright.lecture.descent" else "")

    monkeypatch.setattr(kept, "_source", edited)
    changed = {code for code, one in CLAIMS.items() if kept.version_of(one) != before[code]}
    assert {"C04", "C05", "C06"} <= changed
    assert not {"C01", "C03", "C07"} & changed


def test_a_claim_is_found_in_any_case_and_a_near_one_is_named():
    assert claim("c07") is CLAIMS["C07"]
    with pytest.raises(TrainwrightError) as caught:
        claim("C7")
    assert "C07" in str(caught.value)


def test_every_claim_has_a_place_that_measures_it():
    for code, one in CLAIMS.items():
        assert one.code == code
        assert isinstance(one.measure, Later)
        assert f"def {one.measure.function}(" in kept._source(one.measure.module)


def test_a_verdict_asks_that_the_whole_interval_lies_on_one_side():
    assert verdict_within((1.1, 2.0), (1.0, 3.0)) == "holds"
    assert verdict_within((0.9, 2.0), (1.0, 3.0)) == "undecided"
    assert verdict_within((0.5, 0.9), (1.0, 3.0)) == "differs"
    assert verdict_within((3.1, 4.0), (1.0, 3.0)) == "differs"
    assert verdict_within((float("nan"), float("nan")), (1.0, 3.0)) == "undecided"
    assert verdict_of_all(("holds", "undecided")) == "undecided"
    assert verdict_of_all(("undecided", "differs")) == "differs"
    assert verdict_of_all(("holds", "holds")) == "holds"


def test_a_slow_machine_gives_up_repetitions_and_not_time(monkeypatch):
    clock = iter(range(0, 1000, 10))  # each look at the clock is ten seconds later
    monkeypatch.setattr("trainwright.lecture.claim.time.process_time", lambda: float(next(clock)))
    assert list(repetitions(Pace(seeds=50, seconds=60.0))) == [0, 1, 2, 3]
    assert list(repetitions(Pace(seeds=50, seconds=1.0))) == [0, 1, 2]
    assert list(repetitions(Pace(seeds=2))) == [0, 1]
