"""trainwright watch, diagnose, check, replay: what is wrong in a script, a run or a recipe."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from trainwright.cli import options
from trainwright.cli.output import console, error_console, print_json, refuse_place
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.watch.share import SHARE, check_share

Mute = Annotated[tuple[str, ...], Parameter(name="--mute", help=say("option.mute"))]
Strict = Annotated[bool, Parameter(name="--strict", help=say("option.strict"), negative="")]


def watch(
    script: Annotated[str, Parameter(name="SCRIPT", help=say("option.script"))],
    /,
    *arguments: Annotated[
        str, Parameter(name="ARGUMENTS", help=say("option.arguments"), allow_leading_hyphen=True)
    ],
    budget: Annotated[float, Parameter(name="--budget", help=say("option.watch_budget"))] = SHARE,
    report: Annotated[str | None, Parameter(name="--report", help=say("option.verdict"))] = None,
    json: options.Json = False,
) -> int:
    if not Path(script).is_file():
        raise TrainwrightError(
            phrase("there is no script {path}", path=shown(script)),
            allowed=phrase("a Python file that trains with torch"),
            do=phrase("`trainwright watch train.py --epochs 3`; options of ours come first"),
        )
    check_share(budget)
    if report is not None:
        with refuse_place(report, option="--report"):  # now, and not after an hour of training
            Path(report).touch()
    with TemporaryDirectory(prefix="trainwright-") as folder:
        trail = Path(folder) / "readings"
        words = [sys.executable, "-m", "trainwright.cli.watched", str(budget), report or "",
                 "json" if json else "", str(trail), script, *arguments]  # fmt: skip
        code = subprocess.run(words, check=False, env=dict(os.environ)).returncode
        if code < 0:
            _tell_ended(-code, trail, report=report or "", as_json=json)
    return code if code >= 0 else 128 - code


def _tell_ended(number: int, trail: Path, *, report: str, as_json: bool) -> None:
    """A signal has ended the script, which could not tell its verdict: what was read until then is
    judged here, in the process that started it."""
    from trainwright.cli.watched import tell
    from trainwright.run.trail import diagnose_trail

    found = diagnose_trail(trail) if trail.exists() else None
    by = phrase("the script was ended by signal {number}", number=number)
    if number == signal.SIGKILL:
        by += phrase(" (a common reason is that memory ran out)")
    then = (
        phrase("; nothing was read, so that there is no verdict")
        if found is None
        else phrase("; the verdict is of what was read until then")
    )
    print(by + then, file=sys.stderr)
    if found is not None:
        tell(lambda: found, report=report, as_json=as_json)


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
