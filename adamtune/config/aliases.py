"""Names that other tools use, and messages that lead from a wrong name to the right one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import SequenceMatcher
from typing import NamedTuple

from adamtune.catalog import TRAINING
from adamtune.config.keys import ObjectiveSection, Search, StudyFile
from adamtune.config.problems import show
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.registry import TASKS


class Alias(NamedTuple):
    """Names that people know from elsewhere for one name of the study file.

    Attributes:
        words: those names, separated by spaces; case, ``_`` and other separators do not matter.
        name: the name in the study file.
        advice: what to write, if it is not just ``name``.
    """

    words: str
    name: str
    advice: str = ""


ALIASES = (
    # keys of the file
    Alias("optimizers optim", "optimizer"),
    Alias("model tasks problem", "task"),
    Alias("params parameters hyperparameters hyperparams search_space", "space"),
    Alias("study study_name experiment title", "name"),
    Alias("database db storage_url", "storage"),
    Alias("population_size parallel", "population"),
    Alias("n_jobs num_workers jobs max_workers", "workers"),
    Alias("backend", "engine"),
    Alias("gradient_accumulation_steps accumulate_grad_batches accumulation_steps grad_accum", "accumulate"),
    Alias("dtype amp mixed_precision autocast", "precision", "precision: bfloat16 or float16"),
    Alias("decay_on no_decay exclude_bias_from_decay", "weight_decay_on"),
    # keys of search and objective
    Alias("n_trials num_trials max_trials number_of_trials", "trials"),
    Alias("time_limit max_time time_budget timeout_seconds", "timeout"),
    Alias("algorithm method strategy search_algorithm search_alg", "sampler"),
    Alias("scheduler early_stopping stopper", "pruner"),
    Alias("random_seed random_state", "seed"),
    Alias("n_seeds num_seeds replicates repeats repetitions", "seeds"),
    Alias("goal mode", "direction"),
    Alias("target monitor", "metric"),
    # hyperparameters of optimizers
    Alias("learning_rate learningrate eta step_size", "lr"),
    Alias("wd l2 l2_penalty decay weight_decay_rate", "weight_decay"),
    Alias("epsilon", "eps"),
    Alias("betas", "beta1", "beta1 and beta2 (or one_minus_beta1 and one_minus_beta2)"),
    Alias("b1 momentum mu", "beta1"),
    Alias("b2 alpha rho", "beta2"),
    Alias("beta1 mu", "momentum"),
    Alias("beta2 rho smoothing", "alpha"),
    Alias("gamma", "bound_gamma"),
    Alias("max_grad_norm max_norm grad_clip gradient_clip gradient_clip_val clipnorm clip", "clip_norm"),
    # the schedule and its hyperparameters
    Alias("scheduler lr_scheduler lr_schedule learning_rate_schedule schedules lr_decay", "schedule"),
    Alias("warmup warmup_ratio warmup_proportion", "warmup_fraction"),
    Alias(
        "warmup_steps num_warmup_steps warmup_epochs warmup_iters",
        "warmup_fraction",
        "warmup_fraction (a fraction of the training's steps)",
    ),
    Alias("min_lr lr_min eta_min end_lr", "final_fraction", "final_fraction (a fraction of lr)"),
    Alias("end_factor final_factor min_lr_ratio alpha", "final_fraction"),
    Alias("t_0 restarts num_cycles", "cycles"),
    Alias("t_mult", "cycle_growth"),
    Alias("pct_start", "peak_fraction"),
    Alias("div_factor start_factor", "initial_fraction"),
    Alias("gamma factor", "drop_factor"),
    Alias("step_size milestones num_drops", "drops", "drops (how many times lr drops)"),
    Alias("type kind model", "name"),
    # settings of tasks
    Alias("data data_set", "dataset"),
    Alias("n_epochs num_epochs max_epochs", "epochs"),
    Alias("max_steps num_steps n_steps iterations", "steps"),
    Alias("bs batch", "batch_size"),
    Alias("hidden_size hidden_sizes hidden_layers width units", "hidden"),
    Alias("n_layers num_layers depth", "layers"),
    Alias("n_heads num_heads", "heads"),
    Alias("seq_len sequence_length context_length block_size", "context"),
    # keys of a range
    Alias("min minimum lower start from", "low"),
    Alias("max maximum upper stop end to", "high"),
    Alias("log_scale logscale logarithmic log10", "log"),
    Alias("type distribution dist scale", "log", "log: true for a logarithmic range"),
    Alias("choices values options grid", "low", "the list itself instead of a mapping: [1e-3, 1e-2]"),
    Alias("value default", "low", "the value itself instead of a mapping"),
    Alias("step q num n", "low", "a list of values instead: a range has no steps"),
    # values
    Alias("16 half fp16 f16 16-mixed", "float16"),
    Alias("bf16 bf16-mixed brain", "bfloat16"),
    Alias("32 single fp32 f32 full", "float32"),
    Alias("64 double fp64 f64", "float64"),
    Alias("yes on y", "true"),
    Alias("no off n", "false"),
    Alias("off no null false disabled nop", "none"),
    Alias("none off no null false fixed constant_lr", "constant"),
    Alias("cosine_annealing cosine_annealing_lr cosine_decay cos", "cosine"),
    Alias("cosine_annealing_warm_restarts cosine_with_restarts sgdr", "cosine_restarts"),
    Alias("step_lr multi_step multi_step_lr", "step"),
    Alias("exponential_lr exp", "exponential"),
    Alias("linear_lr linear_decay", "linear"),
    Alias("polynomial_lr poly", "polynomial"),
    Alias("one_cycle_lr 1cycle", "one_cycle"),
    Alias("inverse_square_root rsqrt noam", "inverse_sqrt"),
    Alias("warmup_stable_decay trapezoidal", "wsd"),
    Alias("rms", "rmsprop"),
    Alias("bayesian bayes bayesopt tpe_sampler", "tpe"),
    Alias("gaussian_process gp_sampler", "gp"),
    Alias("cma cma_es_sampler", "cmaes"),
    Alias("sobol quasi_random qmc_sampler", "qmc"),
    Alias("random_search random_sampler", "random"),
    Alias("grid_search grid_sampler", "grid"),
    Alias("successive_halving sha", "asha"),
    Alias("median_pruner median_stopping", "median"),
    Alias("hyperband_pruner", "hyperband"),
    Alias("gpu cuda:0 nvidia", "cuda"),
    Alias("metal", "mps"),
    Alias("serial", "sequential"),
    Alias("vmap parallel", "population"),
    Alias("min minimise lower", "minimize"),
    Alias("max maximise higher", "maximize"),
    Alias("acc accuracy", "val_accuracy"),
)

TOP = "the top level"
SECTIONS: Mapping[str, str] = {
    **{name: "task" for task in TASKS.values() for name in task.fields},
    **{name: "space.schedule" for entry in SCHEDULES.values() for name in entry.forms},
    **{name: "space" for entry in OPTIMIZERS.values() for name in (*entry.forms, "schedule")},
    **dict.fromkeys(TRAINING.forms, "space"),
    **dict.fromkeys(ObjectiveSection.model_fields, "objective"),
    **dict.fromkeys(Search.model_fields, "search"),
    **dict.fromkeys(StudyFile.model_fields, TOP),
}
"""The section of the file that each key belongs to."""

LEAST_LIKENESS = 0.6
"""How alike two names must be for the one to be suggested for the other, from 0 to 1."""


def unknown_name(what: str, name: str, names: Collection[str]) -> str:
    """The message for a name that is not among ``names``: the name to write, or the nearest name."""
    if alias := find_alias(name, names):
        return f"found {name!r}; write {alias.advice}"
    return f"unknown {what} {name!r}; {_suggestion(name, names)}allowed: {', '.join(names)}"


def unknown_key(what: str, key: str, keys: Collection[str], here: str | None = None) -> str:
    """The message for a key that does not belong to its section: what to write, and where.

    Args:
        what: what the keys of the section are, such as ``hyperparameter``.
        key: the wrong key.
        keys: the section's keys; the first of them belongs to no other section, unless ``here`` is given.
        here: the section.
    """
    here = here or SECTIONS.get(next(iter(keys)))
    elsewhere = [each for each, section in SECTIONS.items() if section != here]
    if key in elsewhere:
        return f"unknown here; move it to {SECTIONS[key]}"
    if not find_alias(key, keys) and (alias := find_alias(key, elsewhere)):
        section = SECTIONS[alias.name]
        place = f"at {section}" if section == TOP else f"under {section}"
        return f"found {key!r}; write {alias.advice} {place}"
    return unknown_name(what, key, keys)


def illegal_value(value: object, allowed: str, names: Collection[str] = ()) -> str:
    """The message for an illegal value: what to write, or what is allowed and the nearest legal name.

    Args:
        value: the value found.
        allowed: the legal values.
        names: the legal values that are names.
    """
    word = value if isinstance(value, str) else "null" if value is None else show(value)
    if alias := find_alias(word, names):
        return f"found {show(value)}; write {alias.advice}"
    hint = _suggestion(value, names) if isinstance(value, str) else ""
    return f"found {show(value)}; {hint}allowed: {allowed}"


def find_alias(word: str, names: Collection[str]) -> Alias | None:
    """The legal name that differs from ``word`` in case alone, or else the one that other tools call so."""
    squashed = _squash(word)
    for name in names:
        if squashed and _squash(name) == squashed:
            return Alias(word, name, f"{name} without quotes" if name == word else name)
    found = (each for each in ALIASES if each.name in names and squashed in map(_squash, each.words.split()))
    return next((each._replace(advice=each.advice or each.name) for each in found), None)


def _squash(name: str) -> str:
    """A name without case and separators: names that differ in these alone are one."""
    return re.sub("[^a-z0-9]", "", name.lower())


def _suggestion(name: str, names: Collection[str]) -> str:
    """``did you mean 'adamw'? `` for a name like one of ``names``, or an empty text."""
    likeness = {each: SequenceMatcher(None, each, name.lower()).ratio() for each in names}
    best = max(likeness.values(), default=0.0)
    if best < LEAST_LIKENESS:
        return ""
    # Of near equals, the likeliest is as long and starts alike: for adamv adamw, not adam or radam.
    near = [each for each in names if likeness[each] > best - 0.1]
    return f"did you mean {min(near, key=lambda each: (abs(len(each) - len(name)), each[0] != name[0]))!r}? "
