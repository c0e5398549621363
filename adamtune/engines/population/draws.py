"""Random draws of a captured step: each row draws what a plain training of its member would draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamtune.engines.torch_private import (
    OpOverload,
    arguments,
    is_mutable,
    operator_name,
    overloads,
    tree_leaves,
    tree_map_only,
)
from adamtune.tasks.randomness import derive


class Key(NamedTuple):
    """What the draws of a member at one batch derive from: members with equal keys draw equal numbers.

    Batches are counted from the beginning of the training.
    """

    seed: int
    replicate: int
    batch: int


class Draws:
    """One generator for each row of a step, seeded before the step as the sequential engine seeds torch's.

    Args:
        rows: the rows of the step, one for each member.
        device: where the numbers are drawn.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._generators = [torch.Generator(device) for _ in range(rows)]
        self._groups: list[list[int]] = []  # rows with one key
        self._alike = True  # whether rows with one key draw equal numbers everywhere
        self._permutations = 0
        self.used = False

    def __len__(self) -> int:
        return len(self._generators)

    def seed(self, keys: Sequence[Key]) -> None:
        """Begins a step. Rows past the keys have no member: they draw as the first one does."""
        groups: dict[Key, list[int]] = {}
        for row in range(len(self._generators)):
            groups.setdefault(keys[row] if row < len(keys) else keys[0], []).append(row)
        for (seed, replicate, batch), rows in groups.items():
            value = derive(seed, "step", replicate, batch)
            for row in self._drawing(rows):
                self._generators[row].manual_seed(value)
        self._groups = list(groups.values())

    def bind(
        self, kernel: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
    ) -> Callable[[], None] | None:
        """A function that repeats a recorded draw: each row into its row of ``result [rows, ...]``.

        Returns:
            The function; None if the draw cannot be made row by row.
        """
        self.used = True
        formal = arguments(kernel)
        given = dict(zip((each.name for each in formal), args, strict=False)) | kwargs
        variant = _with_generator(kernel)
        if variant is None:
            return None
        if operator_name(kernel) == "randperm":
            # vmap calls it once for each row, in order.
            row = self._permutations % len(self._generators)
            self._permutations, self._alike = self._permutations + 1, False
            return lambda: _draw(variant, given, result, self._generators[row])
        written = {id(given.get(each.name)) for each in formal if each.is_write}
        read = [each for each in tree_leaves(given) if isinstance(each, Tensor) and id(each) not in written]
        if any(not each.dim() or len(each) != len(self._generators) for each in (result, *read)):
            return None
        # randn_like and the like, and bernoulli with one probability, read their argument's shape alone.
        shape_alone = operator_name(kernel).endswith("_like") or isinstance(given.get("p"), float)
        if read and not shape_alone:
            self._alike = False

        def draw() -> None:
            for rows in self._groups:
                for row in self._drawing(rows):
                    own = tree_map_only(Tensor, itemgetter(row), given)
                    if "size" in own:
                        own["size"] = own["size"][1:]
                    _draw(variant, own, result[row], self._generators[row])
                if self._alike and len(rows) > 1:
                    result[rows[1:]] = result[rows[0]].clone()

        return draw

    def _drawing(self, rows: Sequence[int]) -> Sequence[int]:
        """Those of the rows with one key that draw: the first alone, if the others can copy its numbers."""
        return rows[:1] if self._alike else rows


def _draw(variant: OpOverload, given: dict[str, Any], result: Tensor, generator: torch.Generator) -> None:
    found = variant(**given, generator=generator)
    if not is_mutable(variant):
        result.copy_(found)


def _with_generator(kernel: OpOverload) -> OpOverload | None:
    """The overload with the same arguments and a generator, which writes where ``kernel`` does."""
    wanted = {each.name for each in arguments(kernel)} | {"generator"}
    for overload in overloads(kernel):
        formal = arguments(overload)
        if {each.name for each in formal} == wanted and not any(each.is_out for each in formal):
            types = {each.name: str(each.type) for each in arguments(kernel)}
            if all(types.get(each.name, str(each.type)) == str(each.type) for each in formal):
                return overload
    return None
