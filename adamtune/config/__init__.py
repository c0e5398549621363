"""The study file: YAML to frozen models, every problem reported at once."""

from adamtune.config.hyperparameters import as_trained
from adamtune.config.read import load_study, parse_study
from adamtune.config.schema import schema
from adamtune.config.space import Choice, Distribution, Fixed, Range, Space, Value
from adamtune.config.study import (
    Difference,
    Objective,
    Search,
    StudyConfig,
    TaskChoice,
    differences,
    parse_duration,
)

__all__ = [
    "Choice",
    "Difference",
    "Distribution",
    "Fixed",
    "Objective",
    "Range",
    "Search",
    "Space",
    "StudyConfig",
    "TaskChoice",
    "Value",
    "as_trained",
    "differences",
    "load_study",
    "parse_duration",
    "parse_study",
    "schema",
]
