"""Each operation on each network: real, trainable, copied, pickled, and undone to the bit."""

import pytest
from surgery_patients import PATIENTS
from surgery_trial import APPLICABLE, NOT_FOR, OPERATIONS, attempt

from trainwright.core.errors import TrainwrightError

LATER = {"xavier", "lecun", "orthogonal", "lsuv", "rms", "group", "instance"}
QUICK = [name for name in OPERATIONS if name.split()[-1] not in LATER]


def check(name, operation):
    if name in NOT_FOR.get(operation, ()):
        with pytest.raises(TrainwrightError) as caught:
            attempt(name, PATIENTS[name], OPERATIONS[operation])
        assert caught.value.allowed
        assert caught.value.do
    else:
        outcome = attempt(name, PATIENTS[name], OPERATIONS[operation])
        assert not outcome.wrong
        assert outcome.edited.changed
        assert outcome.edited.lines


@pytest.mark.parametrize("operation", QUICK)
@pytest.mark.parametrize("name", PATIENTS)
def test_an_operation_holds_or_says_why_it_does_not_apply(name, operation):
    check(name, operation)


@pytest.mark.slow
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in QUICK])
@pytest.mark.parametrize("name", PATIENTS)
def test_the_other_kinds_hold_too(name, operation):
    check(name, operation)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "operation"), APPLICABLE)
def test_an_edited_model_compiles_where_it_did_before(name, operation):
    assert attempt(name, PATIENTS[name], OPERATIONS[operation], compile=True).compiled
