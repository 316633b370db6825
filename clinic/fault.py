"""What is planted? One fault: a change of a setting, an operation on the built objects, or both, and
the healthy programs on which it is tried."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from clinic.program import Built, Program
from clinic.setting import Setting, assemble
from clinic.zoo import BASES


def _as_it_is(setting: Setting) -> Setting:
    return setting


def _nothing(built: Built) -> None:
    """For faults that are a choice of the setting alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`on` are names of healthy settings; `change` works before building, `plant` after."""

    code: str
    kind: str
    on: tuple[str, ...]
    change: Callable[[Setting], Setting] = _as_it_is
    plant: Callable[[Built], None] = _nothing
    accepted: tuple[str, ...] = ()
    harm: bool = True

    def programs(self) -> Iterable[Program]:
        """The sick programs, one per base."""
        for base in self.on:
            yield Program(
                name=f"{self.code}_{self.kind}/{base}",
                family=BASES[base].architecture,
                make=partial(self.make, BASES[base]),
                fault=self.code,
                kind=self.kind,
                accepted=self.accepted,
                twin=base,
                harm=self.harm,
            )

    def make(self, base: Setting, seed: int) -> Built:
        """A sick program on `base`; the caller has seeded torch."""
        built = assemble(self.change(base), seed)
        torch.manual_seed(seed + 10_000)  # what a plant draws does not depend on the base
        self.plant(built)
        return built


def choosing(**choices: object) -> Callable[[Setting], Setting]:
    """The setting with other choices."""
    return lambda setting: replace(setting, **choices)  # pyright: ignore[reportArgumentType]


def built_with(**options: object) -> Callable[[Setting], Setting]:
    """The setting with other options of its network."""

    def change(setting: Setting) -> Setting:
        return replace(setting, options=replace(setting.options, **options))  # pyright: ignore

    return change


def both(*changes: Callable[[Setting], Setting]) -> Callable[[Setting], Setting]:
    """One change after the other."""

    def change(setting: Setting) -> Setting:
        for each in changes:
            setting = each(setting)
        return setting

    return change


def per_base(table: Mapping[str, Mapping[str, object]]) -> Callable[[Setting], Setting]:
    """Other choices per architecture: rates that are too high differ between networks."""
    return lambda setting: replace(setting, **table[setting.architecture])  # pyright: ignore
