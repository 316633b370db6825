from clinic import tables
from clinic.catalogue import find

NAMES = ("digits_mlp_sgd", "A401_sgd/digits_mlp_sgd", "A406_sgd/digits_mlp_sgd")
PROGRAMS = {name: find(name) for name in NAMES}


def record(name, *named, checked=(), skill=0.0, seed=0):
    return {"program": name, "seed": seed, "named": [(c, "", 0.9) for c in named],
            "checked": [(c, "", 0.9) for c in checked], "skill": skill}  # fmt: skip


def test_sensitivity_tells_named_at_all_from_named_first():
    records = [record(NAMES[1], "A401"), record(NAMES[1], "D101", "A401", seed=1)]
    row = tables.sensitivity(records, PROGRAMS).splitlines()[2]
    assert row == "| A401 | 1 | 2 | 1.00 | 1.00 | 0.50 | 0.50 | 0.00 | D101 x1 |"


def test_a_silent_answer_on_a_sick_program_counts_as_healthy():
    row = tables.sensitivity([record(NAMES[2])], PROGRAMS).splitlines()[2]
    assert row.endswith("| 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | healthy x1 |")


def test_false_alarms_count_runs_and_programs():
    records = [record(NAMES[0], "M208", skill=0.9), record(NAMES[0], seed=1, skill=0.9),
               record(NAMES[1], "A401"), record(NAMES[0], "A402", seed=2, skill=0.1)]  # fmt: skip
    text = tables.false_alarms(records, PROGRAMS)
    assert "Not counted: 1 runs" in text
    assert text.startswith("Healthy: 1 programs, 2 runs. Accused: 1 runs (50.0 %), 1 programs")
    assert "| M208 | 1 | 50.0 % | digits_mlp_sgd x1 |" in text


def test_a_fault_that_costs_nothing_is_shown():
    records = [
        record(NAMES[0], skill=0.9),
        record(NAMES[1], skill=0.89),
        record(NAMES[2], skill=0.1),
    ]
    text = tables.harm(records, PROGRAMS)
    assert NAMES[1] in text
    assert NAMES[2] not in text


def test_confidence_is_set_against_what_was_right():
    records = [record(NAMES[1], "A401"), record(NAMES[1], "D101", seed=1)]
    assert "| 0.9-1.0 | 2 | 0.90 | 0.50 |" in tables.reliability(records, PROGRAMS)


def test_silence_on_a_fault_that_costs_nothing_does_not_count_among_the_harmful():
    records = [
        record(NAMES[0], skill=0.9),
        record(NAMES[1], skill=0.89),
        record(NAMES[1], "A401", seed=1),
    ]
    row = tables.sensitivity(records, PROGRAMS).splitlines()[2]
    assert row == "| A401 | 1 | 2 | 0.50 | 0.50 | 0.50 | 1.00 | 0.00 | healthy x1 |"
