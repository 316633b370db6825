"""Which edits let the gradient of a live network pass where its forward cuts it off?"""

from collections.abc import Callable, Collection
from functools import partial

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, nothing_to_change, refused
from trainwright.edit.program import Program
from trainwright.edit.surgery.cuts import cuts_to_mend, rejoined
from trainwright.edit.surgery.rejoin import DETOURS, FLAT
from trainwright.edit.surgical import operated

Mend = Callable[[Program, Context], Program]


def _mending(name: str, operations: Collection[str]) -> Mend:
    """The edit that mends the fewest cuts of these operations, by the program's own loss on a few
    rows; of parameters, those that the optimiser holds count."""

    def turn(program: Program, context: Context) -> Program:
        model = program.make_model(0)
        program.change(model, program.changes, 0)
        trained = {n for n, p in model.named_parameters() if p.requires_grad}
        try:
            cuts = cuts_to_mend(model, program.few(), program.loss, operations=operations,
                                trained=trained - program.optimizer.without)  # fmt: skip
        except TrainwrightError as error:
            raise refused(name, str(error.what)) from None
        if not cuts:
            raise nothing_to_change(name)
        return _put_in(program, name, cuts)

    return turn


def _put_in(program: Program, name: str, cuts: tuple) -> Program:
    if name == "straight_through" and not any(cut.operation in FLAT for cut in cuts):
        why = phrase("what leaves the graph has a gradient of its own: try reattach_gradient")
        raise refused(name, why)
    return operated(program, name, partial(rejoined, cuts=cuts))


# What leaves the graph comes back with the gradient that it has.
reattach_gradient = _mending("reattach_gradient", DETOURS)
# What has no slope gets one that is not its own: the source says why that works.
# Source: Bengio, Leonard and Courville 2013, arXiv:1308.3432.
straight_through = _mending("straight_through", DETOURS | FLAT)
