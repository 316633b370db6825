"""What was read of a script that was killed? Its readings go to a file as they come, a line of JSON
each; whoever started it judges what they show."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from trainwright.core.diagnosis import Diagnosis
from trainwright.core.facts import Facts
from trainwright.core.phrases import phrase
from trainwright.diagnose.judge import judge
from trainwright.store.contract import Reading
from trainwright.watch.record import history_from_readings


class Trail:
    """A sink of readings that outlives the process; `layers` are asked for their names each time,
    for they are found as they run."""

    def __init__(self, path: Path, layers: Callable[[], Sequence[str]]) -> None:
        self._path, self._layers, self._named = path, layers, 0
        path.write_text("")

    def __call__(self, readings: Sequence[Reading]) -> None:
        names = list(self._layers())
        lines = [] if len(names) == self._named else [json.dumps(names)]
        self._named = len(names)
        for reading in readings:
            values = {n: np.asarray(v).tolist() for n, v in reading.values.items()}
            lines.append(json.dumps({"step": reading.step, "kind": reading.kind, "values": values}))
        with self._path.open("a", encoding="utf-8") as file:  # no handle is left to a forked child
            file.write("".join(f"{line}\n" for line in lines))


def diagnose_trail(path: Path) -> Diagnosis | None:
    """What the readings in `path` show, without any facts; None where there are none. A last line
    that was cut off is left out."""
    layers: list[str] = []
    readings: list[Reading] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            break
        if isinstance(found, list):
            layers = found
        else:
            readings.append(Reading(**found))
    if not any(reading.kind == "watch" for reading in readings):
        return None
    facts = Facts(unseen={"facts": phrase("the script was killed before they could be measured")})
    return judge(facts, history_from_readings(readings, layers))
