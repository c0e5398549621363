"""The study file: YAML to frozen models, with all problems of a file reported at once."""

from adamtune.catalog import as_trained
from adamtune.config.differences import Difference, differences
from adamtune.config.duration import parse_duration
from adamtune.config.keys import Search
from adamtune.config.schema import schema
from adamtune.config.space import Choice, Distribution, Fixed, Range, Space, Value
from adamtune.config.study import Objective, StudyConfig
from adamtune.config.study_file import load_study, override_search, parse_study
from adamtune.config.task_choice import TaskChoice

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
    "override_search",
    "parse_duration",
    "parse_study",
    "schema",
]
