"""Are the layers of a sampled step seen, or why not? The window onto torch's functions is opened
and shut; compiled code, another mode or another thread keeps it shut."""

from collections.abc import Sequence

from torch import nn

from trainwright.core.phrases import phrase
from trainwright.watch.attach import Guard, frames_compiled, is_compiled, wraps_compiled
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.probe import Probe
from trainwright.watch.probes.window import Window


class Sight:
    """The window of one watched run; what it cannot show is said in `guard.unseen`."""

    def __init__(self, models: Sequence[nn.Module], layers: Layers, guard: Guard) -> None:
        self.window = Window(layers, guard.complain)
        self._models, self._guard = models, guard
        self._compiled, self._frames = False, 0
        self._blind = ""  # why no layer is seen any more

    def begin(self) -> list[nn.Module]:
        """The models whose calls can be hooked: a compiled one would be compiled anew."""
        self._compiled = any(is_compiled(m) for m in self._models)
        self._frames = frames_compiled()
        if self._compiled:
            self._blind = phrase("the model is compiled: its layers are seen by their weights only")
        return [m for m in self._models if not self._compiled or wraps_compiled(m)]

    def open(self, probe: Probe) -> None:
        """From here on functions are seen, unless they already are or never will be."""
        if self._blind or self.window.is_open or self.window.open(probe):
            return
        self._guard.unseen["layers"] = phrase(
            "another mode of torch was active: layers were not seen on some steps"
        )

    def shut(self) -> None:
        """Off the stack of modes."""
        if not self.window.close():
            self._blind = phrase("steps and forwards run in different threads: layers are not seen")
            self._guard.unseen["layers"] = self._blind

    def sampled(self) -> None:
        """A sampled step is over: was anything compiled meanwhile?"""
        if not self._compiled and not self._blind and frames_compiled() > self._frames:
            self._blind = phrase(
                "parts of the program are compiled: layers are seen by their weights only"
            )
        if self._blind:
            self._guard.unseen["layers"] = self._blind
