"""trainwright watch, diagnose, check, replay: what is wrong in a script, a run or a recipe."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.output import console, error_console, print_json, refuse_place
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say

Mute = Annotated[tuple[str, ...], Parameter(name="--mute", help=say("option.mute"))]
Strict = Annotated[bool, Parameter(name="--strict", help=say("option.strict"), negative="")]


def watch(
    script: Annotated[str, Parameter(name="SCRIPT", help=say("option.script"))],
    /,
    *arguments: Annotated[
        str, Parameter(name="ARGUMENTS", help=say("option.arguments"), allow_leading_hyphen=True)
    ],
    budget: Annotated[float, Parameter(name="--budget", help=say("option.watch_budget"))] = 0.02,
    report: Annotated[str | None, Parameter(name="--report", help=say("option.verdict"))] = None,
    json: options.Json = False,
) -> int:
    from trainwright.doctor import check_budget

    if not Path(script).is_file():
        raise TrainwrightError(
            phrase("there is no script {path}", path=shown(script)),
            allowed=phrase("a Python file that trains with torch"),
            do=phrase("`trainwright watch train.py --epochs 3`; options of ours come first"),
        )
    check_budget(budget)
    if report is not None:
        with refuse_place(report, option="--report"):  # now, and not after an hour of training
            Path(report).touch()
    words = [sys.executable, "-m", "trainwright.cli.watched", str(budget), report or "",
             "json" if json else "", script, *arguments]  # fmt: skip
    done = subprocess.run(words, check=False, env=dict(os.environ))
    if done.returncode < 0:
        print(phrase("the script was ended by signal {number}", number=-done.returncode),
              file=sys.stderr)  # fmt: skip
        return 128 - done.returncode
    return done.returncode


def diagnose(
    run: options.RunName,
    /,
    *,
    store: options.Store = "./trainwright.db",
    mute: Mute = (),
    strict: Strict = False,
    json: options.Json = False,
) -> int:
    from trainwright import doctor
    from trainwright.report.diagnosis import box

    found = doctor.diagnose(run, store=store, mute=_codes(mute))
    if json:
        print_json(found.to_json())
    else:
        console().print(box(found, title=run))
    return 1 if strict and not found.healthy else 0


def check(
    source: options.Source,
    /,
    *,
    target: options.Target = None,
    recipe: options.RecipeFile = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    budget: options.Budget = None,
    mute: Mute = (),
    strict: Strict = False,
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    from trainwright import doctor
    from trainwright.cli.recipe_words import recipe_from_words
    from trainwright.report.diagnosis import box

    made = recipe_from_words(source, recipe, settings, target=target, seed=seed, budget=budget)
    found = doctor.check_recipe(made, allow_code=allow_code, mute=_codes(mute))
    if json:
        print_json(found.to_json())
    else:
        console().print(box(found))
    return 1 if strict and not found.healthy else 0


def replay(
    run: options.RunName,
    /,
    *,
    step: Annotated[int | None, Parameter(name="--step", help=say("option.step"))] = None,
    store: options.Store = "./trainwright.db",
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    from dataclasses import asdict

    from trainwright.recipe import Live
    from trainwright.report.live import listener_for
    from trainwright.report.replayed import replayed_table
    from trainwright.run.messages import nobody
    from trainwright.run.replay import take_again
    from trainwright.store.open import open_store

    opened = open_store(store, create=False)
    record = opened.run(run)
    readings, _ = opened.readings(record.id)
    again = take_again(
        record, opened, readings, step=step, live=Live(), allow_code=allow_code,
        listener=nobody if json else listener_for(error_console()),
    )  # fmt: skip
    if json:
        print_json(asdict(again))
    else:
        console().print(replayed_table(again))
    return 0


def _codes(words: tuple[str, ...]) -> list[str]:
    """Codes to mute; a wrong one is refused with near ones."""
    from trainwright.diagnose.catalogue import rule

    return [rule(word).code for word in words]
