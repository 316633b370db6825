"""What is said when a command cannot do its work? One sentence with the way out on the error
stream, with --json the same as an object on the other, and the exit code."""

import errno
from contextlib import suppress
from typing import Any

from rich.markup import escape

from trainwright.cli.output import error_console, harmless, print_json
from trainwright.cli.wrong_use import spoken
from trainwright.core.errors import RecipeError, TrainwrightError, shown, system_reason
from trainwright.core.phrases import phrase
from trainwright.core.words import say

WRONG_USE = 2
RUN_FAILED = 3
INTERRUPTED = 130

_ENVIRONMENT = frozenset(
    getattr(errno, name, errno.EIO) for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS")
)


def tell(error: BaseException, *, as_json: bool) -> int:
    """Tells of `error`, whatever it is; returns the exit code."""
    said, code = _in_words(error)
    with suppress(OSError):  # where nothing can be written, the code has to do
        if said is None:
            error_console().print_exception()
            error_console().print(say("error.unexpected"))
            what = f"{type(error).__name__}: {str(error)[:300]}"
            said = TrainwrightError(what, do=say("error.unexpected"))
        elif code == INTERRUPTED:
            error_console().print(str(said))
        else:
            words = escape(harmless(str(said)))
            error_console().print(f"[bold red]{say('error.label')}[/] {words}", soft_wrap=True)
        if as_json:
            print_json(_plain(said, code))
    return code


def _in_words(error: BaseException) -> tuple[TrainwrightError | None, int]:
    """The error in our three parts, None for one that nobody foresaw; and its exit code."""
    from cyclopts import CycloptsError

    match error:
        case TrainwrightError():
            return error, error.exit_code
        case KeyboardInterrupt():
            return TrainwrightError(say("error.interrupted")), INTERRUPTED
        case CycloptsError():
            words = spoken(str(error))
            return TrainwrightError(words, do=say("error.see_help")), WRONG_USE
        case OSError(errno=number) if number in _ENVIRONMENT:
            return _refused(error), RUN_FAILED
    return None, RUN_FAILED


def _plain(error: TrainwrightError, code: int) -> dict[str, Any]:
    problems = error.problems if isinstance(error, RecipeError) else ()
    return {
        "event": "error",
        "exit_code": code,
        "what": error.what,
        "allowed": error.allowed,
        "do": error.do,
        "problems": [
            {"path": p.path, "what": p.what, "allowed": p.allowed, "do": p.do} for p in problems
        ],
    }


def _refused(error: OSError) -> TrainwrightError:
    reason, place = system_reason(error), error.filename
    return TrainwrightError(
        phrase("{path} cannot be written: {reason}", path=shown(str(place)), reason=reason)
        if place
        else phrase("the answer cannot be written: {reason}", reason=reason),
        allowed=phrase("a folder that can be written"),
        do=phrase("make space, then repeat the command"),
    )
