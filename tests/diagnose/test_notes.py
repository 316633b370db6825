"""What is true and does no harm is noted, and makes nobody ill."""

from dataclasses import replace

import numpy as np
import pytest
from case_builder import changed, healthy_facts, healthy_history

from trainwright.core.history import Curve
from trainwright.diagnose.judge import judge


def turned_up(high=3.4):
    """A history whose validation loss was lowest, 0.2, at step 120 of 620."""
    history = healthy_history()
    steps = np.arange(24, 621, 24)
    values = np.interp(steps, [1, 120, 620], [0.7, 0.2, high])
    return replace(history, valid={"loss": Curve(steps=steps, values=values)})


def kept(of_step=120, **score):
    return changed(healthy_facts(), "score", of_step=of_step, **score)


def test_steps_after_the_kept_ones_that_were_of_no_use_are_a_note():
    found = judge(kept(), turned_up())
    assert found.healthy
    assert [(f.code, f.kind) for f in found.notes] == [("M208", "kept_best")]
    assert not found.suspected
    assert found.notes[0].values == {"best": 120, "steps": 620}
    assert found.notes[0].since_step == 120


@pytest.mark.parametrize(
    ("facts", "high"),
    [(kept(of_step=600), 3.4), (kept(of_step=None), 3.4), (kept(), 0.22)],
    ids=["kept late", "last step", "level"],
)
def test_a_run_that_used_its_steps_is_not_noted(facts, high):
    assert not judge(facts, turned_up(high)).possible


def test_kept_weights_that_simple_learners_beat_are_a_finding_and_no_note():
    found = judge(kept(train=1.0, valid=0.7, reference=0.94, num_valid=1000), turned_up())
    assert [f.code for f in found.findings] == ["M208"]
    assert not found.notes


def test_a_gap_without_harm_is_a_note_where_the_best_weights_were_kept():
    score = {"train": 1.0, "valid": 0.85, "reference": 0.84, "num_valid": 1000}
    assert judge(kept(**score), turned_up()).healthy
    assert judge(kept(of_step=None, **score), turned_up()).findings[0].code == "M208"


def test_kept_weights_are_not_held_against_what_was_read_at_the_end():
    steps = np.arange(60, 621, 60)
    late = Curve(steps=steps, values=np.full(len(steps), 0.80))
    history = replace(healthy_history(), valid={"accuracy": late})
    facts = changed(healthy_facts(), "model", dropout=(0.3,))

    def codes(of_step):
        scored = changed(facts, "score", valid=0.95, of_step=of_step)
        return [f.code for f in judge(scored, history).findings]

    assert "M210" in codes(None)
    assert "M210" not in codes(120)


def test_a_note_is_minor():
    assert judge(kept(), turned_up()).notes[0].severity == "minor"
