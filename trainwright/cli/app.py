"""What is `trainwright`? The commands by task, one place where errors become sentences, and the
exit codes: 0 fine, 1 findings (with --strict), 2 wrong use, 3 the run failed, 130 interrupted (3
and 130 can be resumed)."""

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.core.words import LANGUAGES, say, use_language

# name: (where it lives, group). A command's module is imported only when it is asked for.
COMMANDS = {
    "fit": ("trainwright.cli.train:fit", "train"),
    "resume": ("trainwright.cli.train:resume", "train"),
    "predict": ("trainwright.cli.use:predict", "use"),
    "evaluate": ("trainwright.cli.use:evaluate", "use"),
    "watch": ("trainwright.cli.doctor:watch", "doctor"),
    "diagnose": ("trainwright.cli.doctor:diagnose", "doctor"),
    "check": ("trainwright.cli.doctor:check", "doctor"),
    "replay": ("trainwright.cli.doctor:replay", "doctor"),
    "rules": ("trainwright.cli.rules:rules", "doctor"),
    "exam": ("trainwright.cli.exam:exam", "doctor"),
    "heal": ("trainwright.cli.heal:heal", "prove"),
    "try": ("trainwright.cli.attempt:attempt", "prove"),
    "compare": ("trainwright.cli.prove:compare", "prove"),
    "lecture": ("trainwright.cli.lecture:lecture", "prove"),
    "runs": ("trainwright.cli.look:runs", "look"),
    "show": ("trainwright.cli.look:show", "look"),
    "report": ("trainwright.cli.look:report", "look"),
    "explain": ("trainwright.cli.look:explain", "look"),
    "sweep": ("trainwright.cli.keep:sweep", "keep"),
}
RECIPE_COMMANDS = {
    "new": "trainwright.cli.recipes:new",
    "check": "trainwright.cli.recipes:check",
    "schema": "trainwright.cli.recipes:schema",
}


def main(words: Sequence[str] | None = None) -> None:
    """The `trainwright` command."""
    from trainwright.cli.mistakes import RUN_FAILED
    from trainwright.cli.output import finish, never_fail_to_encode

    for stream in (sys.stdout, sys.stderr):
        never_fail_to_encode(stream)
    with suppress(ValueError):  # not in the main thread: then signals are another's
        signal.signal(signal.SIGTERM, _end)
    code = run(list(sys.argv[1:] if words is None else words))
    sys.exit(code if finish(sys.stdout) else code or RUN_FAILED)


def run(words: list[str]) -> int:
    """Runs one command; returns its exit code."""
    try:
        kept = _take_language(words)  # before any help is written
        code = make_app()(kept, exit_on_error=False, print_error=False)
    except BrokenPipeError:  # `trainwright runs | head`
        from trainwright.cli.output import silence

        silence(sys.stdout)
        return 0
    except (Exception, KeyboardInterrupt) as error:
        from trainwright.cli.mistakes import tell

        return tell(error, as_json="--json" in words)
    return code if isinstance(code, int) else 0


def _end(number: int, frame: FrameType | None) -> None:
    """SIGTERM is answered as Ctrl-C is; while a run goes on, `run/interrupt.py` answers both."""
    raise KeyboardInterrupt


def make_app():
    """The command line as cyclopts knows it."""
    from cyclopts import App, Group

    import trainwright
    from trainwright.cli.output import console

    groups = {
        name: Group(say(f"group.{name}"), sort_key=i)
        for i, name in enumerate(("train", "doctor", "prove", "use", "look", "recipe", "keep"))
    }
    app = App(
        name="trainwright",
        help=say("help.trainwright"),
        help_format="plaintext",
        version=trainwright.__version__,
        help_epilogue=say("help.epilogue"),
        group_arguments=say("group.arguments"),
        group_parameters=say("group.options"),
        result_action="return_value",
        console=console(),
        suppress_keyboard_interrupt=False,  # `run` has a word for it
    )
    app["--help"].group = groups["keep"]
    app["--version"].group = groups["keep"]
    for name, (place, group) in COMMANDS.items():
        app.command(place, name=name, help=say(f"help.{name}"), group=groups[group])
    recipe = App(
        name="recipe", help=say("help.recipe"), group=groups["recipe"], help_format="plaintext"
    )
    for name, place in RECIPE_COMMANDS.items():
        recipe.command(place, name=name, help=say(f"help.recipe_{name}"))
    app.command(recipe)
    app.register_install_completion_command(
        name="--install-completion", help=say("help.completion"), group=groups["keep"]
    )
    return app


def _take_language(words: list[str]) -> list[str]:
    """`--language en|zh-Hant` may stand anywhere; it must be known before any help is written."""
    kept: list[str] = []
    chosen: str | None = None
    rest = iter(words)
    for word in rest:
        if word == "--language":
            chosen = next(rest, "")
        elif word.startswith("--language="):
            chosen = word.partition("=")[2]
        else:
            kept.append(word)
    if chosen is not None and chosen not in LANGUAGES:
        raise TrainwrightError(
            phrase("{language!r} is not a language spoken here", language=chosen[:20]),
            allowed=", ".join(LANGUAGES),
            do=phrase("for example --language zh-Hant"),
        )
    use_language(chosen)
    return kept
