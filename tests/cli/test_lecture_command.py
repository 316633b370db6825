"""`trainwright lecture` lists, measures, keeps and reports; a claim that broke is an exit code."""

import json

import pytest

from trainwright.cli.app import run
from trainwright.core.claims import ClaimNews, ClaimResult, Measured
from trainwright.lecture import all as measuring
from trainwright.lecture import kept
from trainwright.lecture.catalogue import CLAIMS


def result(code: str) -> ClaimResult:
    measured = Measured(verdict="undecided", effect=1.25, interval=(0.5, 2.0), n=5)
    return ClaimResult(claim=code, measured=measured, seconds=3.0, device="here")


@pytest.fixture
def folder(tmp_path):
    """Where C01 is measured already."""
    kept.save(tmp_path, CLAIMS["C01"], result("C01"))
    return tmp_path


def test_without_a_code_it_lists_every_claim_and_what_is_kept(folder, capsys):
    assert run(["lecture", "--store-folder", str(folder)]) == 0
    text = capsys.readouterr().out
    assert all(code in text for code in CLAIMS)
    assert "undecided" in text
    assert run(["lecture", "--store-folder", str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["claim"] for row in rows] == list(CLAIMS)
    assert rows[0]["verdict"] == "undecided"
    assert rows[1]["verdict"] is None
    assert all(row["title"] for row in rows)


def test_a_kept_claim_is_shown_as_kept_and_written_to_the_page(folder, capsys):
    page = folder / "sub" / "page.html"
    code = run(["lecture", "c01", "--store-folder", str(folder), "--report", str(page)])
    assert code == 0
    text = capsys.readouterr().out
    assert "--fresh repeats it" in text
    assert "page written to" in text
    assert "So many repetitions cannot tell." in page.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(folder, capsys):
    assert run(["lecture", "C02", "--store-folder", str(folder), "--report", str(folder)]) == 2
    assert "--report" in capsys.readouterr().err
    assert [place.name for place in folder.iterdir()] == ["C01.json"]


def test_json_is_one_object_for_each_claim(folder, capsys):
    assert run(["lecture", "C01", "--store-folder", str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    (row,) = json.loads(captured.out)
    assert set(row) == {"claim", "verdict", "effect", "interval", "n", "seconds", "title"}
    assert row["interval"] == [0.5, 2.0]
    assert captured.err == ""


def test_an_unknown_claim_is_wrong_use(folder, capsys):
    assert run(["lecture", "C99", "--store-folder", str(folder)]) == 2
    assert "C99" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["C01", "C02"], ["all"]])
def test_a_claim_that_broke_is_told_and_the_others_are_shown(words, folder, capsys, monkeypatch):
    asked = []

    def broken(claims, *, folder, fresh, tell):
        asked.extend(claims)
        for one in claims:
            news = {"reason": "out of luck"} if one.code == "C02" else {"result": result(one.code)}
            tell(ClaimNews(claim=one.code, **news))
        return {one.code: result(one.code) for one in claims if one.code != "C02"}

    monkeypatch.setattr(measuring, "run_all", broken)
    assert run(["lecture", *words, "--store-folder", str(folder)]) == 3
    captured = capsys.readouterr()
    assert "C02  not measured: out of luck" in captured.err
    assert "C01" in captured.out
    assert len(asked) == (len(CLAIMS) if words == ["all"] else 2)
    assert run(["lecture", *words, "--store-folder", str(folder), "--json"]) == 3
    rows = {row["claim"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["C02"]["error"] == "out of luck"


def test_a_folder_that_cannot_be_written_is_said_in_words(tmp_path, capsys, monkeypatch):
    place = tmp_path / "file"
    place.write_text("no folder")

    def measured(claims, *, folder, fresh, tell):
        for one in claims:
            kept.save(folder, one, result(one.code))
        return {}

    monkeypatch.setattr(measuring, "run_all", measured)
    assert run(["lecture", "C01", "--store-folder", str(place)]) == 2
    assert "--store-folder" in capsys.readouterr().err
