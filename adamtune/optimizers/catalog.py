"""The optimizers and schedules there are, with every hyperparameter, its default and its legal range.

Torch-free, so that study files are checked without importing torch. The numbers follow torch.optim
where it has the optimizer. Names are unique over all optimizers and schedules, so that one flat
dict can hold everything a trial is trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameter:
    """One number (or switch) of an optimizer or a schedule.

    Attributes:
        default: the value where the study file says nothing. Its type is the hyperparameter's:
            float, int or bool.
        low, high: the legal range, ends included unless ``open_low`` or ``open_high``.
        complement: whether it may be searched as ``one_minus_<name>`` too.
    """

    name: str
    default: float | int | bool
    low: float
    high: float
    summary: str
    open_low: bool = False
    open_high: bool = False
    complement: bool = False

    @property
    def kind(self) -> type:
        """float, int or bool."""
        return type(self.default)

    @property
    def legal(self) -> str:
        """The legal range as people write it, such as ``(0, 1)`` or ``true or false``."""
        if self.kind is bool:
            return "true or false"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"

    def allows(self, value: float) -> bool:
        """Whether ``value`` lies in the legal range."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below


@dataclass(frozen=True)
class Entry:
    """An optimizer or a schedule: a row of the catalog."""

    name: str
    summary: str
    reference: str
    hyperparameters: tuple[Hyperparameter, ...]

    @property
    def defaults(self) -> dict[str, float]:
        """Every hyperparameter at its default."""
        return {each.name: each.default for each in self.hyperparameters}


INFINITY = float("inf")

LR = Hyperparameter("lr", 1e-3, 0.0, INFINITY, "learning rate", open_low=True, open_high=True)
BETA1 = Hyperparameter(
    "beta1", 0.9, 0.0, 1.0, "decay of the gradient's running mean", open_high=True, complement=True
)
BETA2 = Hyperparameter(
    "beta2", 0.999, 0.0, 1.0, "decay of the squared gradient's running mean", open_high=True, complement=True
)
EPS = Hyperparameter("eps", 1e-8, 0.0, INFINITY, "added to the root in the denominator", open_high=True)
MOMENTUM = Hyperparameter("momentum", 0.0, 0.0, 1.0, "decay of the momentum buffer", open_high=True)


def _weight_decay(default: float, summary: str) -> Hyperparameter:
    return Hyperparameter("weight_decay", default, 0.0, INFINITY, summary, open_high=True)


L2 = _weight_decay(0.0, "L2 penalty, added to the gradient")
DECOUPLED = _weight_decay(1e-2, "decoupled decay: the weights shrink by lr * weight_decay a step")
DECOUPLED_SWITCH = Hyperparameter(
    "decoupled_weight_decay",
    False,
    0,
    1,
    "whether the decay shrinks the weights instead of adding to the gradient",
)
AMSGRAD_SWITCH = Hyperparameter(
    "amsgrad", False, 0, 1, "whether the root is taken of the largest second moment so far"
)

_ADAM = (LR, BETA1, BETA2, EPS)


def _by_name(*entries: Entry) -> Mapping[str, Entry]:
    return {entry.name: entry for entry in entries}


OPTIMIZERS = _by_name(
    Entry("adam", "Adam; weight decay is an L2 penalty", "Kingma and Ba, arXiv:1412.6980", (*_ADAM, L2)),
    Entry(
        "adamw",
        "Adam with decoupled weight decay",
        "Loshchilov and Hutter, arXiv:1711.05101",
        (*_ADAM, DECOUPLED, AMSGRAD_SWITCH),
    ),
    Entry(
        "amsgrad",
        "Adam with the largest second moment so far",
        "Reddi, Kale and Kumar, ICLR 2018, arXiv:1904.09237",
        (*_ADAM, L2),
    ),
    Entry(
        "nadam",
        "Adam with Nesterov momentum",
        "Dozat, ICLR 2016 workshop",
        (
            Hyperparameter("lr", 2e-3, 0.0, INFINITY, "learning rate", open_low=True, open_high=True),
            BETA1,
            BETA2,
            EPS,
            L2,
            Hyperparameter(
                "momentum_decay", 4e-3, 0.0, INFINITY, "speed of the momentum schedule", open_high=True
            ),
            DECOUPLED_SWITCH,
        ),
    ),
    Entry(
        "radam",
        "Adam that rectifies the variance of its early steps",
        "Liu et al., arXiv:1908.03265",
        (*_ADAM, L2, DECOUPLED_SWITCH),
    ),
    Entry(
        "adabound",
        "Adam whose elementwise step is clipped to bounds that close in on final_lr",
        "Luo et al., arXiv:1902.09843",
        (
            *_ADAM,
            L2,
            Hyperparameter(
                "final_lr",
                0.1,
                0.0,
                INFINITY,
                "learning rate that the bounds close in on",
                open_low=True,
                open_high=True,
            ),
            Hyperparameter(
                "bound_gamma",
                1e-3,
                0.0,
                INFINITY,
                "speed at which the bounds close",
                open_low=True,
                open_high=True,
            ),
        ),
    ),
    Entry(
        "sgd",
        "Stochastic gradient descent, with momentum or Nesterov momentum",
        "Sutskever et al., ICML 2013",
        (
            LR,
            MOMENTUM,
            Hyperparameter(
                "dampening", 0.0, 0.0, 1.0, "part of the gradient kept out of the momentum buffer"
            ),
            Hyperparameter(
                "nesterov", False, 0, 1, "whether to use Nesterov momentum (wants momentum, no dampening)"
            ),
            L2,
        ),
    ),
    Entry(
        "rmsprop",
        "The gradient over the root of its running mean square",
        "Hinton, Coursera lecture 6e, 2012",
        (
            Hyperparameter("lr", 1e-2, 0.0, INFINITY, "learning rate", open_low=True, open_high=True),
            Hyperparameter(
                "alpha",
                0.99,
                0.0,
                1.0,
                "decay of the squared gradient's running mean",
                open_high=True,
                complement=True,
            ),
            EPS,
            MOMENTUM,
            Hyperparameter("centered", False, 0, 1, "whether to divide by the standard deviation instead"),
            L2,
        ),
    ),
)

WARMUP = Hyperparameter(
    "warmup_fraction",
    0.0,
    0.0,
    1.0,
    "part of the steps in which lr grows linearly to its full value",
    open_high=True,
)
FINAL = Hyperparameter(
    "final_fraction", 0.0, 0.0, 1.0, "lr after the last step, as a fraction of its full value"
)


def _final(default: float) -> Hyperparameter:
    return Hyperparameter(FINAL.name, default, 0.0, 1.0, FINAL.summary, open_low=True)


SCHEDULES = _by_name(
    Entry("constant", "The full lr throughout", "torch ConstantLR, factor 1", (WARMUP,)),
    Entry(
        "exponential", "lr falls by the same factor every step", "torch ExponentialLR", (WARMUP, _final(0.01))
    ),
    Entry(
        "step",
        "lr is multiplied by drop_factor at evenly spaced steps",
        "torch StepLR",
        (
            WARMUP,
            Hyperparameter("drops", 2, 1, 1000, "how many times lr drops"),
            Hyperparameter(
                "drop_factor", 0.1, 0.0, 1.0, "what lr is multiplied by at each drop", open_low=True
            ),
        ),
    ),
    Entry(
        "cosine",
        "Half a cosine from the full lr to the final one",
        "torch CosineAnnealingLR",
        (WARMUP, FINAL),
    ),
    Entry("linear", "A straight line from the full lr to the final one", "torch LinearLR", (WARMUP, FINAL)),
    Entry(
        "polynomial",
        "(1 - t/T)^power from the full lr to the final one",
        "torch PolynomialLR",
        (WARMUP, FINAL, Hyperparameter("power", 2.0, 0.0, 100.0, "exponent of the decay", open_low=True)),
    ),
    Entry(
        "inverse_sqrt",
        "lr falls as one over the root of the step",
        "Vaswani et al., arXiv:1706.03762",
        (
            WARMUP,
            Hyperparameter(
                "timescale_fraction",
                0.1,
                0.0,
                1.0,
                "part of the steps after which lr has fallen to 1/sqrt(2)",
                open_low=True,
            ),
        ),
    ),
    Entry(
        "one_cycle",
        "Half a cosine up to the full lr, then half a cosine down",
        "Smith and Topin, arXiv:1708.07120; torch OneCycleLR",
        (
            Hyperparameter(
                "peak_fraction",
                0.3,
                0.0,
                1.0,
                "part of the steps at which lr peaks",
                open_low=True,
                open_high=True,
            ),
            Hyperparameter(
                "initial_fraction", 0.04, 0.0, 1.0, "first lr, as a fraction of the peak", open_low=True
            ),
            Hyperparameter("final_fraction", 4e-6, 0.0, 1.0, FINAL.summary),
        ),
    ),
    Entry(
        "wsd",
        "Warmup, then the full lr, then a straight line to the final one",
        "Hu et al., arXiv:2404.06395",
        (
            Hyperparameter("warmup_fraction", 0.05, 0.0, 1.0, WARMUP.summary, open_high=True),
            FINAL,
            Hyperparameter("decay_fraction", 0.2, 0.0, 1.0, "part of the steps in which lr falls at the end"),
        ),
    ),
    Entry(
        "cosine_restarts",
        "Half a cosine, started again cycles times",
        "Loshchilov and Hutter, arXiv:1608.03983; torch CosineAnnealingWarmRestarts",
        (
            WARMUP,
            FINAL,
            Hyperparameter("cycles", 3, 1, 1000, "how many half cosines"),
            Hyperparameter(
                "cycle_growth", 1, 1, 10, "how many times longer each cycle is than the one before"
            ),
        ),
    ),
)
