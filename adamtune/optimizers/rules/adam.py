"""Adam: Kingma and Ba, arXiv:1412.6980, as ``torch.optim.Adam`` (eps is added after the root)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from adamtune.optimizers.coefficients import Coefficients, coefficients_like


def coefficients(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> Coefficients:
    """m / (1 - beta1^t) over sqrt(v / (1 - beta2^t)) + eps, with an L2 penalty in the gradient.

    Args:
        hyperparameters: every hyperparameter of the catalog, float64 ``[members]``; switches are 0 or 1.
        step: int64 ``[steps, members]``, 1 for the first update.
        lr: the scheduled learning rate, float64 ``[steps, members]``.
    """
    return coefficients_like(step, l2=hyperparameters["weight_decay"], **moments(hyperparameters, step, lr))


def moments(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> dict[str, Tensor]:
    """Adam's own fields, without any weight decay."""
    beta1, beta2 = hyperparameters["beta1"], hyperparameters["beta2"]
    return {
        "buffer_decay": beta1,
        "buffer_gain": 1 - beta1,
        "square_decay": beta2,
        "square_gain": 1 - beta2,
        "root": (1 - beta2**step).rsqrt(),
        "floor": hyperparameters["eps"],
        "from_buffer": lr / (1 - beta1**step),
    }


def weight_decay(hyperparameters: Mapping[str, Tensor], lr: Tensor) -> dict[str, Tensor]:
    """Weight decay as ``decoupled_weight_decay`` says, each member its own way."""
    decay, decoupled = hyperparameters["weight_decay"], hyperparameters["decoupled_weight_decay"]
    return {"l2": decay * (1 - decoupled), "shrink": 1 - lr * decay * decoupled}
