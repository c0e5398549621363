"""The base class of tasks: its fields are settings, its methods give data, model and loss. Torch-free."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adamtune.tasks.data import Data

Rows = Any
"""A tensor, or nested tuples, lists and dicts of them, ``[rows, ...]`` with equally many rows: row i of each
belongs to example i."""

Model = Callable[..., Any]
"""An ``nn.Module``."""

Direction = Literal["minimize", "maximize"]
MOST = 1_000_000
Count = Annotated[int, Field(ge=1, le=MOST)]
Width = Annotated[int, Field(ge=1, le=8192)]

LENGTH = {
    "batch_size": "rows of every batch",
    "epochs": "passes over the training rows",
    "steps": "optimizer steps of one training",
}
"""The settings that say how long a training is, and what they mean. They come last, in this order."""

METHODS = ("data", "model", "loss")
"""The methods that a task must have."""


class Task(BaseModel):
    """A model, its data and its loss. The fields of a subclass are its settings.

    A setting has a type and, unless every study file must give it, a default. ``batch_size`` and ``epochs``
    may be defined again with other defaults; a field ``steps``, the optimizer steps of one training, replaces
    ``epochs``.

    Attributes:
        directions: says for each metric that ``metrics`` may return whether less or more of it is better.
        data_settings: names of the settings that choose the data. They cannot be searched, because values on
            different data do not compare. If None, a searched setting is refused when its values lead to
            different data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    directions: ClassVar[Mapping[str, Direction]] = {}
    data_settings: ClassVar[Collection[str] | None] = None
    source_file: ClassVar[str | None] = None

    batch_size: Count = 32
    epochs: Count = 10

    _loaded_data: Data | None = PrivateAttr(None)

    def data(self) -> Data:
        """The training, validation and test rows."""
        raise NotImplementedError

    def model(self) -> nn.Module:
        """A new model, whose weights are drawn from torch's global generator.

        ``loaded_data`` has the rows, for sizes that follow from them.
        """
        raise NotImplementedError

    def loss(self, model: Any, batch: Any) -> Tensor:
        """The loss of a batch, a scalar to be minimized.

        Args:
            model: the ``nn.Module`` that ``model`` returned.
            batch: rows ``[batch, ...]`` in the structure that ``data`` gave them.
        """
        raise NotImplementedError

    def metrics(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        """Metrics of the rows of a split, each a scalar, by name; optional.

        ``val_`` is put before each name. ``val_loss`` is always a metric: it is ``loss`` over the validation
        rows, unless the result has ``loss``, which saves a second call of the model.

        Args:
            model: the ``nn.Module`` that ``model`` returned, in evaluation mode.
            batch: all rows of the split.
        """
        return {}

    def metric_directions(self) -> Mapping[str, Direction]:
        """The ``directions`` of the metrics that the task may return with its settings: by default all."""
        return self.directions

    @property
    def loaded_data(self) -> Data:
        """The result of ``data``, which a study loads once."""
        if self._loaded_data is None:
            self._loaded_data = self.data()
        return self._loaded_data

    def keep_data(self, data: Data) -> None:
        """Makes ``data`` the ``loaded_data``."""
        self._loaded_data = data

    def path(self, name: str) -> Path:
        """The path of a file that lies beside the file of this class."""
        return (Path(self.source_file).parent if self.source_file else Path()).resolve() / name

    @property
    def training_steps(self) -> int | None:
        """Optimizer steps of one full training; None if they are known only with the data."""
        return getattr(self, "steps", None)

    def step_bytes(self) -> int | None:
        """The approximate working set in bytes of one training's step: results and gradients, in float32.

        A task may give it, within a quarter of what the population engine measures, so that ``validate`` need
        not load torch. If None, it is measured.
        """
        return None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Checks the names of the settings, puts those of the length last, and notes the file of the class.

        Raises:
            TypeError: a setting has the name of a method, or one of ``LENGTH`` is no integer.
        """
        fields = cls.model_fields
        for name in (fields.keys() - Task.model_fields.keys()) & set(dir(Task)):
            is_option = name in ("directions", "data_settings")
            advice = "write it without a type" if is_option else "use another name"
            raise TypeError(f"{name} cannot be a setting, because every task has a {name}: {advice}")
        if "steps" in fields:
            fields.pop("epochs", None)
        for name, meaning in LENGTH.items():
            if name in fields:
                fields[name] = field = fields.pop(name)
                if field.annotation is not int:
                    raise TypeError(f"{name} must have the type int")
                field.metadata = field.metadata or [Ge(1), Le(MOST)]
                field.description = field.description or meaning
        cls.model_rebuild(force=True, raise_errors=False)
        # Not when it is asked for: another task's module of the same name may have taken its place by then.
        cls.source_file = getattr(sys.modules.get(cls.__module__), "__file__", None)


EVALUATIONS = 10
"""Evaluations in one training: one after each tenth of its steps."""


def training_rows(rows: int) -> int:
    """The number of training rows among ``rows``: 64 %, beside validation and test."""
    return rows * 4 // 5 * 4 // 5


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """The number of full batches in one pass over ``rows``.

    Rows that do not fill a batch are left out of that pass; each pass has another order. So every batch has
    the same shape, without which members could not be trained in lockstep.

    Raises:
        ValueError: there are fewer rows than a batch has.
    """
    if batch_size > rows:
        raise ValueError(f"batch_size {batch_size} is more than the {rows} training rows: use at most {rows}")
    return rows // batch_size


def evaluation_interval(steps: int) -> int:
    """Steps between two evaluations of a training of ``steps`` steps: at most ``EVALUATIONS`` evaluations."""
    return ceil(steps / EVALUATIONS)
