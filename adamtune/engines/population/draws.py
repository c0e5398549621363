"""Random draws of a captured step: each row draws what a plain training of its member would draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from threading import Lock
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

# Tracing, and drawing from the global generators, change state that all threads share: one does so at a time.
GLOBAL_STATE = Lock()


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
        self._device = device
        self._groups: list[list[int]] = []  # rows with one key
        self._others: list[Tensor] = []  # those after the first of each group
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
        if self._groups != (found := list(groups.values())):
            self._groups = found
            self._others = [torch.tensor(rows[1:], device=self._device, dtype=torch.int64) for rows in found]

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
        if variant is None or given.get("generator") is not None:
            return None
        if operator_name(kernel) == "randperm":
            # vmap calls it once for each row, in order.
            row = self._permutations % len(self._generators)
            self._permutations, self._alike = self._permutations + 1, False
            return lambda: _draw(variant, given, result, self._generators[row])
        if operator_name(kernel) == "multinomial":
            # vmap joins members and rows.
            given["self"], result = (self._apart(each) for each in (given["self"], result))
        written = {id(given.get(each.name)) for each in formal if each.is_write}
        read = [each for each in tree_leaves(given) if isinstance(each, Tensor) and id(each) not in written]
        if any(not each.dim() or len(each) != len(self._generators) for each in (result, *read)):
            return None
        # randn_like and the like, and bernoulli with one probability, read their argument's shape alone.
        shape_alone = operator_name(kernel).endswith("_like") or isinstance(given.get("p"), float)
        if (read and not shape_alone) or operator_name(kernel).startswith("rrelu"):
            self._alike = False

        def draw(row: int) -> None:
            own = tree_map_only(Tensor, itemgetter(row), given)
            if "size" in own:
                own["size"] = own["size"][1:]
            _draw(variant, own, result[row], self._generators[row])

        return lambda: self._draw_rows(draw, result)

    def _apart(self, tensor: Tensor) -> Tensor:
        """A tensor ``[rows * n, ...]`` as ``[rows, n, ...]``; one of each row as it is."""
        count = len(self._generators)
        return tensor if len(tensor) == count or len(tensor) % count else tensor.unflatten(0, (count, -1))

    def bind_dropout(self, input: Tensor, p: float, output: Tensor, kept: Tensor) -> Callable[[], None]:
        """A function that repeats a recorded ``native_dropout``, as which torch drops out on a GPU.

        Args:
            input: ``[rows, ...]``.
            p: the probability with which an element is dropped.
            output: the elements that are kept, divided by ``1 - p``, and zeros; as ``input``.
            kept: whether each element is kept; as ``input``.
        """
        self.used = True

        def draw(row: int) -> None:
            # The kernel draws in the order of the memory, and takes no generator but the global one.
            with _as_global(self._generators[row]):
                kept[row] = torch.native_dropout(torch.ones_like(input[row]), p, True)[1]

        def drop_out() -> None:
            self._draw_rows(draw, kept)
            torch.mul(input, kept, out=output).mul_(1 / (1 - p))

        return drop_out

    def _draw_rows(self, draw: Callable[[int], None], result: Tensor) -> None:
        """Draws the rows of a result; rows with one key copy the first one's, where they are alike."""
        for rows, others in zip(self._groups, self._others, strict=True):
            for row in self._drawing(rows):
                draw(row)
            if self._alike and len(rows) > 1:
                result[others] = result[rows[0]].clone()

    def _drawing(self, rows: Sequence[int]) -> Sequence[int]:
        """Those of the rows with one key that draw: the first alone, if the others can copy its numbers."""
        return rows[:1] if self._alike else rows


def _draw(variant: OpOverload, given: dict[str, Any], result: Tensor, generator: torch.Generator) -> None:
    found = variant(**given, generator=generator)
    if not is_mutable(variant):
        result.copy_(found)


@contextmanager
def _as_global(generator: torch.Generator) -> Iterator[None]:
    """While it is entered, the global generator of the device draws what the generator would draw."""
    device = generator.device
    shared = (
        torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[device.index or 0]
    )
    with GLOBAL_STATE:
        before = shared.get_state()
        shared.set_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(shared.get_state())
            shared.set_state(before)


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
