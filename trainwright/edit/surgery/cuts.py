"""Which calls of a forward cut weights off from the loss, and which of them must not? One traced
pass before, one with the calls rejoined, by the user's own loss."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from trainwright.check.network.graph import Pass, run_once
from trainwright.check.network.trace import ZERO_GRADIENT, Node, ancestors, consumers
from trainwright.check.sample import Criterion, Sample, first_tensor
from trainwright.check.subject import Subject, same_random_states
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.edit.surgery.anatomy import Anatomy, Call
from trainwright.edit.surgery.record import Edited, Record
from trainwright.edit.surgery.rejoin import CHOICES, COMPARISONS, ENDS, LESS
from trainwright.edit.surgery.rewire import Rule

ROUNDS = 5  # a cut is seen once the one before it is none [assumed]
# What is written in the place of a call; what is not here is named by its method.
INSTEAD = {"detach": ("x.detach()", "x"), "detach_": ("x.detach_()", "x"), "data": ("x.data", "x"),
           "tensor": ("torch.tensor(x)", "x"), "new_tensor": ("y.new_tensor(x)", "x")}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A call in a forward that lets no gradient through: its operation, and the user's file:line.
    `end`: how its values go on to leave torch (numpy, tolist, item), if they do."""

    operation: str
    line: str
    end: str = ""

    @property
    def call(self) -> Call:
        """As a changed forward knows it again: without the folder."""
        return Call(site=Path(self.line).name if self.line else "", name=self.operation)


def rejoined(model: nn.Module, anatomy: Anatomy | None, cuts: Sequence[Cut]) -> Edited:
    """The forward gives the same values, and these calls let the gradient through (rejoin.py)."""
    with Record(model) as record:
        record.rewire(Rule(cuts=tuple(dict.fromkeys(cut.call for cut in cuts))))
        changed = [cut.line or cut.operation for cut in cuts]
        return record.done("rejoined", changed, [written(cut) for cut in cuts])


def written(cut: Cut) -> str:
    """The comment that says what a user writes at the cut's line."""
    name, where = cut.operation, f"# {cut.line or 'forward'}: "
    if cut.end:
        return where + say("surgery.round_trip", call=cut.end)
    if name in CHOICES:
        return where + say("surgery.choice")
    if name in INSTEAD:
        old, new = INSTEAD[name]
    elif name in COMPARISONS:
        mask = "(x < t).float()" if name in LESS else "(x > t).float()"
        old, new = mask, f"{mask} {'-' if name in LESS else '+'} (x - x.detach())"
    else:
        old = f"x.{name.rstrip('_')}()"
        return where + say("surgery.call", old=old, new=f"x + ({old} - x).detach()")
    return where + say("surgery.call", old=old, new=new)


def cuts_to_mend(
    model: nn.Module, few: Sample, criterion: Criterion, *, operations: Collection[str],
    trained: Collection[str],
) -> tuple[Cut, ...]:  # fmt: skip
    """The fewest calls of these operations without which more of the `trained` parameters get a
    gradient, none loses its own, and the outputs stay as they are to the bit. Empty where every
    parameter has a gradient already.

    A stopped gradient on purpose is left alone: what goes past other outputs that learn, straight
    to the loss (a teacher), and what all parameters have a way around.
    Raises TrainwrightError where no such calls are there, or they are not enough.
    """
    looked = _Looks(model=model, few=few, criterion=criterion, trained=frozenset(trained))
    lost = looked.lost(())
    if not lost:
        return ()
    chosen = _chosen(looked, frozenset(operations))
    if not looked.lost(chosen) < lost:
        raise _no_cut(looked, chosen, lost)
    for cut in chosen:
        rest = tuple(each for each in chosen if each != cut)
        if looked.lost(rest) <= looked.lost(chosen):
            chosen = rest
    _same_outputs(model, few, chosen)
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looks:
    """What a forward and a backward show with some cuts rejoined, each tried once."""

    model: nn.Module
    few: Sample
    criterion: Criterion
    trained: frozenset[str]
    known: dict[tuple[Cut, ...], Pass] = field(default_factory=dict)

    def at(self, cuts: tuple[Cut, ...]) -> Pass:
        """Raises TrainwrightError where there is no loss."""
        if cuts not in self.known:
            self.known[cuts] = _look(self.model, self.few, self.criterion, cuts)
        return self.known[cuts]

    def lost(self, cuts: tuple[Cut, ...]) -> set[str]:
        """Names of the parameters whose gradient is missing, or exactly zero."""
        found = self.at(cuts).gradients
        return {n for n in self.trained & found.keys() if (g := found[n]) is None or not g.any()}


def _chosen(looked: _Looks, operations: frozenset[str]) -> tuple[Cut, ...]:
    """Each cut that gives a parameter its gradient, the last of the forward first; where none does
    alone (one behind the other), they are taken together."""
    chosen: tuple[Cut, ...] = ()
    pending: tuple[Cut, ...] = ()
    met: set[Cut] = set()
    for _ in range(ROUNDS):
        lost = looked.lost(chosen + pending)
        new = [cut for cut in _cuts(looked.at(chosen + pending), lost)
               if cut.operation in operations and cut not in met]  # fmt: skip
        if not new:
            break
        met.update(new)
        gained = False
        for cut in reversed(new):
            tried = (*chosen, *pending, cut)
            if looked.lost(tried) < looked.lost(chosen + pending):
                chosen, pending, gained = tried, (), True
        pending = () if gained else (*pending, *new)
    return chosen + pending


def _look(model: nn.Module, few: Sample, criterion: Criterion, cuts: Sequence[Cut]) -> Pass:
    """One traced forward and backward on a copy, its cuts rejoined."""
    subject = Subject(model)
    edited = rejoined(subject.module, None, cuts) if cuts else None
    try:
        with same_random_states():
            done = run_once(subject, few, criterion)
    finally:
        if edited is not None:
            edited.undo()
        subject.close()
    if done.error:
        raise TrainwrightError(
            phrase("there is no loss to go backward from: {reason}", reason=shown(done.error)),
            allowed=phrase("a loss of one number"), do=phrase("mend the loss first"),
        )  # fmt: skip
    return done


def _cuts(done: Pass, lost: Collection[str]) -> Iterator[Cut]:
    """Calls of the forward behind which parameters that are lost lie, and before which the loss
    does."""
    path = list(ancestors(done.loss_node)) if done.loss_node is not None else []
    taken = consumers(done.trace.nodes)
    learns = any(g is not None and bool(g.any()) for g in done.gradients.values())
    own = {id(node) for node in done.trace.nodes[: done.end]}
    found: dict[Cut, None] = {}
    for node in sorted(path, key=lambda n: n.number):
        stops = node.is_cut or node.operation in ZERO_GRADIENT or node.operation == "max"
        if id(node) not in own or not stops or not node.grows_gradient or node.without_grad:
            continue
        upstream = {name for each in ancestors(node) for name in each.parameters}
        if upstream & set(lost) and not (learns and not _leads_on(node, taken)):
            cut = Cut(operation=node.operation, line=node.line or "", end=_end(node, taken))
            found.setdefault(cut)
    yield from found


def _end(node: Node, taken: dict[int, list[Node]]) -> str:
    """The call by which values leave torch right behind it, or by itself."""
    after = [node, *taken.get(id(node), [])]
    after += [later for each in after[1:] for later in taken.get(id(each), [])]
    return next((each.operation.strip("_") for each in after if each.operation in ENDS), "")


def _leads_on(node: Node, taken: dict[int, list[Node]]) -> bool:
    """Parameters are still to come on the way from it."""
    waiting, met = [node], {id(node)}
    while waiting:
        for after in taken.get(id(waiting.pop()), []):
            if after.parameters:
                return True
            if id(after) not in met:
                met.add(id(after))
                waiting.append(after)
    return False


def _same_outputs(model: nn.Module, few: Sample, cuts: Sequence[Cut]) -> None:
    """Raises TrainwrightError where the rejoined forward gives other values."""
    found = [_outputs(model, few, chosen) for chosen in ((), cuts)]
    if not torch.equal(found[0], found[1]):
        raise TrainwrightError(
            phrase("the values would change with the gradient"),
            allowed=phrase("a forward that gives what it gave"),
            do=phrase("mend the forward by hand"),
        )


def _outputs(model: nn.Module, few: Sample, cuts: Sequence[Cut]) -> Tensor:
    subject = Subject(model)
    edited = rejoined(subject.module, None, cuts) if cuts else None
    try:
        with same_random_states():
            torch.manual_seed(0)
            outputs = first_tensor(few.run(subject.module.eval()))
    finally:
        if edited is not None:
            edited.undo()
        subject.close()
    assert outputs is not None, "run_once refuses models without outputs"
    return outputs.detach()


def _no_cut(looked: _Looks, chosen: Sequence[Cut], lost: Collection[str]) -> TrainwrightError:
    """Why these calls, or others, cannot be mended."""
    cuts = sorted(chosen or _cuts(looked.at(()), lost), key=lambda cut: cut.operation == "max")
    return TrainwrightError(
        _why(cuts[0], bool(chosen), lost) if cuts else _why_none(looked.at(()), lost),
        allowed=phrase("detach, numpy, rounding, a comparison or argmax in the forward"),
        do=phrase("mend the forward by hand"),
    )


def _why(cut: Cut, tried: bool, lost: Collection[str]) -> str:
    names, operation, line = _few(lost), cut.operation, cut.line
    if not tried:
        return phrase("{operation} at {line} keeps {names} from a gradient: another remedy's case",
                      operation=operation, line=line, names=names)  # fmt: skip
    if operation in CHOICES:
        return phrase("{operation} at {line} gives numbers of classes, which have no slope; rows "
                      "of 0 and 1 made of them can have one",
                      operation=operation, line=line)  # fmt: skip
    return phrase("{operation} at {line} keeps {names} from a gradient, and nothing of the same "
                  "values has one", operation=operation, line=line, names=names)  # fmt: skip


def _why_none(done: Pass, lost: Collection[str]) -> str:
    blind = next((n for n in done.trace.nodes if n.without_grad and n.grows_gradient), None)
    if blind is None:
        return phrase("no call in the forward keeps {names} from a gradient", names=_few(lost))
    return phrase("torch.no_grad() keeps {names} from a gradient, at {line}: take it away if they "
                  "are to learn", names=_few(lost), line=blind.line or "?")  # fmt: skip


def _few(names: Collection[str]) -> str:
    return shown(", ".join(sorted(names)[:3]))
