from importlib.util import find_spec

import pytest

from clinic.catalogue import QUICK, find

pytestmark = pytest.mark.skipif(
    any(find_spec(f"trainwright.{name}") is None for name in ("check.gather", "run.attach")),
    reason="diagnosis is not there yet",
)


@pytest.fixture(scope="module")
def answered():
    """The record and today's answer of a program, each trained once."""
    from clinic.examine import answer, examine

    kept = {}

    def of(name):
        if name not in kept:
            record = examine(find(name), 0)
            kept[name] = (record, answer(record))
        return kept[name]

    return of


@pytest.mark.filterwarnings("ignore")  # what a sick program's own loop warns of is its own affair
@pytest.mark.parametrize("name", QUICK)
def test_a_healthy_program_is_left_in_peace_and_a_sick_one_is_called_by_its_name(name, answered):
    program = find(name)
    _, answer = answered(name)
    codes = [code for code, _, _ in answer["named"]]
    assert not answer["broken"]
    if program.fault is None:
        assert codes == []
    else:
        assert program.right(codes[0] if codes else ""), codes


def test_facts_and_readings_come_back_from_their_file_as_they_were(answered):
    import json

    import numpy as np

    from clinic.examine import facts_of, history_of, plain

    record, _ = answered("digits_mlp")
    again = json.loads(json.dumps(record))
    assert plain(facts_of(again)) == plain(facts_of(record))
    one, two = history_of(again), history_of(record)
    assert one.layers == two.layers
    for name, values in two.by_layer.items():
        np.testing.assert_array_equal(one.by_layer[name], values)


def test_a_kept_run_is_not_run_again(tmp_path, monkeypatch):
    from clinic import measure

    monkeypatch.setattr(measure, "CACHE", tmp_path)
    jobs = [("cancer_mlp", 0)]
    measure._read(jobs, tmp_path, 1, fresh=False)
    path = measure._file(tmp_path, jobs[0])
    before = path.stat().st_mtime_ns
    measure._read(jobs, tmp_path, 1, fresh=False)
    assert path.stat().st_mtime_ns == before
    text = measure.report(measure._answers(jobs, tmp_path))
    assert "Healthy: 1 programs, 1 runs." in text
