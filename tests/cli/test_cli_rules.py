"""`rules` and `explain` answer for every rule, in both languages, without torch."""

import json
import subprocess
import sys

import pytest

from trainwright.cli.app import run
from trainwright.core.words import use_language
from trainwright.diagnose.catalogue import RULES


def test_rules_lists_every_rule_for_people_and_for_machines(capsys):
    assert run(["rules"]) == 0
    text = capsys.readouterr().out
    assert all(code in text for code in RULES)
    assert run(["rules", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["code"] for row in rows] == list(RULES)
    for row in rows:
        assert {"name", "title", "severity", "what", "refuted", "remedies", "looks_like"} <= set(
            row
        )
        assert row["remedies"]


@pytest.mark.parametrize("word", ["A401", "a401", "learning_rate_too_high"])
def test_explain_finds_a_rule_by_code_and_by_name(word, capsys):
    assert run(["explain", word]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("A401 learning rate too high", "looks like", "why it harms", "look-alikes",
                 "settled by", "lower_learning_rate: lower the rate to a tenth", "CS231n"):  # fmt: skip
        assert part in text


def test_explain_speaks_chinese_of_a_rule(capsys):
    try:
        assert run(["explain", "M204", "--language", "zh-Hant"]) == 0
    finally:
        use_language("en")
    text = capsys.readouterr().out
    assert "梯度消失" in text
    assert "往輸入的方向下降" in text
    assert "falling line" not in text


@pytest.mark.parametrize(
    ("word", "kind"),
    [("update_norm", "reading"), ("inputs.sd", "reading"), ("dead_share", "reading"),
     ("clip_gradient_norm", "remedy"), ("D108", "rule"), ("learning_rate", "knob")],
)  # fmt: skip
def test_explain_says_what_kind_of_word_it_is(word, kind, capsys):
    assert run(["explain", word, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == kind
    assert found["what"]


def test_a_rule_misspelt_gets_its_neighbour(capsys):
    assert run(["explain", "learning_rate_too_hgh"]) == 2
    assert "learning_rate_too_high" in capsys.readouterr().err


def test_rules_are_listed_without_torch():
    code = (
        "import sys\n"
        "from trainwright.cli.app import run\n"
        "assert run(['rules', '--json']) == 0\n"
        "assert run(['explain', 'A401', '--json']) == 0\n"
        "assert not {'torch', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
