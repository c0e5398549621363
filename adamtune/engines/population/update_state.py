"""What one optimizer step of a population changes: parameters and the state of the rules."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adamtune.engines.population.coefficients import Terms


class State(NamedTuple):
    """The state of the rules, each ``[members, n]`` like the parameters; zero before the first step.

    ``None`` where no member needs it. The names are torch's; ``Optimizer.state`` lists where a rule's differ.
    """

    exp_avg: Tensor | None
    exp_avg_sq: Tensor | None
    grad_avg: Tensor | None
    max_exp_avg_sq: Tensor | None


NO_STATE = State(None, None, None, None)


def state_needed(needed: Terms) -> list[bool]:
    """Whether each field of ``State`` is needed."""
    return [getattr(needed, name) for name in State._fields]


def grow_state(state: State, parameters: Tensor, needed: Terms) -> State:
    """``state`` with zeros for buffers that are needed and missing; ``parameters`` is ``[members, n]``."""
    wanted = zip(state, state_needed(needed), strict=True)
    return State(*(torch.zeros_like(parameters) if want and each is None else each for each, want in wanted))


class Part(NamedTuple):
    """One tensor of a population's model: parameters and gradient ``[members, n]``, and its state.

    Without ``decays`` its weights do not decay, whatever the coefficients.
    """

    parameters: Tensor
    gradient: Tensor
    state: State
    decays: bool = True
