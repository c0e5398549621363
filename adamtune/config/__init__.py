"""The study file: YAML to frozen models, every problem reported at once."""

from adamtune.config.differences import Difference, differences
from adamtune.config.distributions import Choice, Distribution, Fixed, Range, Value
from adamtune.config.durations import parse_duration
from adamtune.config.hyperparameters import as_trained
from adamtune.config.load import load_study, parse_study
from adamtune.config.schema import schema
from adamtune.config.space import Space
from adamtune.config.study import Objective, Search, Study, TaskChoice

__all__ = [
    "Choice",
    "Difference",
    "Distribution",
    "Fixed",
    "Objective",
    "Range",
    "Search",
    "Space",
    "Study",
    "TaskChoice",
    "Value",
    "as_trained",
    "differences",
    "load_study",
    "parse_duration",
    "parse_study",
    "schema",
]
