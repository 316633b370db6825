"""When is a step over that no torch optimiser takes? On sampled steps moved weights tell it; in
between, backward passes are counted, as many to a step as the last sampled one had."""

from collections.abc import Callable
from typing import Any

from torch.autograd.graph import Node, get_gradient_edge

from trainwright.core.phrases import phrase
from trainwright.watch.attach import Guard
from trainwright.watch.lasting import LastingHooks
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.weights import slot_of_all

# A step that moves no weight ends after so many forwards, and each forward is one from then on:
# weights are held elsewhere (functional updates), or nothing moves them [assumed].
MOST_FORWARDS = 64


class ByHand:
    """Steps of `p.data -= rate * p.grad` and its kin. The course tells of forwards of the models;
    `step_over` is called for the steps between samples.

    Passes are heard at a node of autograd that adds to one parameter's gradient [measured: 5 us
    of a step of 300, where a hook on the model takes 12]. Where no pass adds to `.grad`, as with
    torch.autograd.grad, forwards are counted.
    """

    def __init__(
        self, layers: Layers, lasting: LastingHooks, guard: Guard, step_over: Callable[[], None]
    ) -> None:
        self.slot = slot_of_all(layers)
        self.held_elsewhere = False  # the models' own weights do not move
        self._lasting, self._guard, self._step_over = lasting, guard, step_over
        self._node: Node | None = None  # where passes are heard
        self._begun = self._between = False  # a sampled step has; no step is armed
        self._forwards = self._passes = 0  # of this step
        self._per_step = 1  # passes, or forwards
        lasting.keep_roots()

    def arm(self) -> None:
        """The next step is sampled."""
        self._begun = self._between = False

    def begin(self) -> None:
        """A forward of the sampled step begins."""
        if not self._begun:
            self._begun = True
            self.slot.keep_weights()
            self._forwards = self._passes = 0
        self._forwards += 1

    def is_over(self, *, sampled: bool) -> bool:
        """Whether a forward that begins now, or the end, is after the step that was going on."""
        if not sampled:
            return self._node is None and self._counted()
        if not self._begun:
            return False
        if not self.held_elsewhere and not self.slot.has_moved():
            if self._forwards < MOST_FORWARDS:
                return False
            self.held_elsewhere = True
        return True

    def finished(self, num_backwards: int) -> None:
        """The sampled step was over and read; how many passes the window has seen in it."""
        given = self.slot.given_parameters()
        if self._node is None and num_backwards and given and not self.held_elsewhere:
            self._node, self._passes = get_gradient_edge(given[0]).node, num_backwards
            self._lasting.add_passes(self._node, self._passed)
        elif self._node is not None and not self._passes:
            self._node = None
            self._lasting.keep_roots()
        heard = self._forwards if self._node is None else self._passes
        self._per_step = 1 if self.held_elsewhere else heard
        self._begun, self._between = False, True
        self._forwards, self._passes = 1, 0  # the forward that ended it belongs to the next
        self._say()

    def leave(self) -> None:
        """An optimiser takes the steps from here on."""
        self._lasting.forget_passes()
        for name in ("optimizer", "updates"):
            self._guard.unseen.pop(name, None)

    def _say(self) -> None:
        self._guard.unseen["optimizer"] = phrase(
            "no torch optimiser takes the steps: learning rate, clipping, and how long updates and "
            "waiting for data take, are not seen"
        )
        if self.held_elsewhere:
            self._guard.unseen["updates"] = phrase(
                "the weights of the model do not move: each of its forwards is taken for a step"
            )

    def _counted(self) -> bool:
        """One more forward between samples."""
        over = self._forwards >= self._per_step
        self._forwards = 1 if over else self._forwards + 1
        return over

    def _passed(self, *_: Any) -> None:
        """A backward pass has reached the parameter."""
        self._passes += 1
        if self._between and self._passes >= self._per_step:
            self._passes = 0
            self._step_over()
