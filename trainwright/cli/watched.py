"""What runs in the process of a watched script? The script itself, unchanged, as `__main__`; then
the verdict. `python -m trainwright.cli.watched BUDGET REPORT JSON TRAIL script.py [arguments]`."""

import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from trainwright.core.diagnosis import Diagnosis
from trainwright.run.discover import AfterImport, Discovery


def main() -> int:
    """Runs the script; returns its exit code."""
    budget, report, as_json, trail, script, *arguments = sys.argv[1:]
    discovery = Discovery(budget=float(budget), trail=Path(trail) if trail else None)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    sys.meta_path.insert(0, AfterImport("torch", discovery.install))
    signal.signal(signal.SIGTERM, _end)
    process = os.getpid()
    try:
        code = _run(script)
    finally:
        sys.stdout.flush()
    if os.getpid() == process:  # a forked child of the script ends without a verdict
        tell(discovery.diagnose, report=report, as_json=as_json == "json")
    return code


def _run(script: str) -> int:
    """The script's exit code, as Python itself would give it."""
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return left.code or 0
        print(left.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _print_own_part(sys.exc_info()[1], script)
        return 130
    except BaseException:
        _print_own_part(sys.exc_info()[1], script)
        return 1
    return 0


def _print_own_part(error: BaseException | None, script: str) -> None:
    """The traceback from the script on, as it reads when nobody watches; one that cannot be
    compiled has none."""
    if error is None:
        return
    own = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename != script:
        own = own.tb_next
    traceback.print_exception(type(error), error, own)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def tell(diagnose: Callable[[], Diagnosis], *, report: str, as_json: bool) -> None:
    """The verdict, last: to the file `report`, else to the error stream, so that what the script
    printed can be piped on as it is. It never changes how the script ends."""
    from trainwright.cli.output import finite
    from trainwright.report.diagnosis import as_text

    try:
        found = diagnose()
        text = json.dumps(finite(found.to_json()), default=str) if as_json else as_text(found)
        if report:
            Path(report).write_text(text + "\n", encoding="utf-8")
        else:
            print(text, file=sys.stderr, flush=True)
    except Exception as error:
        print(f"trainwright: no verdict: {type(error).__name__}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
