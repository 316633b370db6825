"""Findings are told while a run goes on, and a recipe is checked before it begins."""

import io

from rich.console import Console

import trainwright as tw
from trainwright import doctor
from trainwright.report.live import listener_for
from trainwright.run.messages import Diagnosed

SICK = {"optimizer": "sgd", "learning_rate": 0.5, "momentum": 0.99, "keep": "last"}


def test_a_finding_is_told_when_it_opens(at_once):
    told = []
    run = tw.fit("sklearn:wine", budget="80 steps", algorithm=SICK, listener=told.append)
    opened = [m.finding.code for m in told if isinstance(m, Diagnosed) and m.open]
    assert "A401" in opened
    assert "A401" in [f.code for f in tw.diagnose(run).findings]


def test_a_run_that_goes_on_has_not_stopped_too_early(at_once):
    told = []
    slow = {"optimizer": "sgd", "learning_rate": 0.01, "keep": "last"}
    run = tw.fit("sklearn:digits", budget="30 steps", algorithm=slow, listener=told.append)
    assert "A403" not in [m.finding.code for m in told if isinstance(m, Diagnosed)]
    named = tw.diagnose(run).findings
    assert "A403" in [f.code for found in named for f in (found, *found.consequences)]


def test_what_opens_is_said_in_words(at_once):
    out = io.StringIO()
    listener = listener_for(Console(file=out, width=120))
    tw.fit("sklearn:wine", budget="80 steps", algorithm=SICK, listener=listener)
    assert "opens: A401 learning rate too high" in out.getvalue()


def test_a_recipe_is_checked_before_its_first_step():
    from trainwright.recipe import Recipe

    healthy = Recipe(data={"source": "sklearn:wine"})
    assert doctor.check_recipe(healthy).healthy
    sick = Recipe(data={"source": "sklearn:wine"}, algorithm={"learning_rate": 30.0})
    assert [f.code for f in doctor.check_recipe(sick).findings] == ["A401"]


def test_watching_changes_no_bit_of_a_run():
    runs = [tw.fit("sklearn:wine", budget="60 steps", quiet=True, watch=w) for w in (False, True)]
    assert runs[0].weights_sha256 == runs[1].weights_sha256
