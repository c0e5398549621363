"""What a study file asks for that does not help the search, in lines for people. Free of torch and Optuna."""

from __future__ import annotations

from collections.abc import Iterator

from adamtune.config import Choice, Space, StudyConfig

MODELS = frozenset({"tpe", "gp", "cmaes"})
"""Samplers that learn from finished trials."""
STARTUP_TRIALS = 10
"""Samplers with a model begin when so many trials have ended; before, points are quasi-random."""
GENERATIONS = 4
"""A sampler with a model needs results at least so many times in a search."""


def notes(study: StudyConfig, slots: int) -> Iterator[str]:
    """Yields a line for each thing that the study cannot do as it was asked.

    Args:
        study: the study file.
        slots: members in training at once.
    """
    yield from _fewer_trials(study)
    sampler, together = study.search.sampler, slots // study.search.seeds
    if sampler not in MODELS or study.trials <= STARTUP_TRIALS:
        return
    # Trials in training together know nothing of each other's results.
    if together * GENERATIONS > study.trials:
        key = "population" if study.workers == "auto" else "workers"
        yield (
            f"{together} of {study.trials} trials are in training at once, so {sampler} learns little from"
            f" results: set {key} to {max(1, study.trials // GENERATIONS) * study.search.seeds} or less,"
            " or ask for more trials."
        )
    random = _drawn_at_random(sampler, study.space)
    if random:
        yield f"{sampler} draws these at random: {', '.join(random)}. The sampler tpe learns them."


def _fewer_trials(study: StudyConfig) -> Iterator[str]:
    asked = study.search.trials
    if not study.space.searched and asked > 1:
        yield f"Nothing is searched: 1 trial is trained, not {asked}. Search a hyperparameter under space."
    elif study.trials < asked:
        yield f"The space has {study.trials} combinations: {study.trials} trials are trained, not {asked}."


def _drawn_at_random(sampler: str, space: Space) -> list[str]:
    """The searched parameters that a sampler leaves out of its model.

    GP and CMA-ES model the parameters that all trials have, and CMA-ES numbers only.
    """
    if sampler == "tpe":
        return []
    # A parameter of one optimizer alone, such as momentum, is missing in the trials of the others.
    shared = [set.intersection(*map(set, each.values())) for each in (space.optimizers, space.schedules)]
    common = {"optimizer", "schedule", *space.training, *space.task, *shared[0], *shared[1]}
    return [
        name
        for name, each in space.searched.items()
        if name not in common or (sampler == "cmaes" and isinstance(each, Choice))
    ]
