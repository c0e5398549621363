"""Study files that are wrong, each with every problem it has: line, key path and part of the message."""

from __future__ import annotations

from typing import NamedTuple


class Broken(NamedTuple):
    name: str
    text: str
    problems: tuple[tuple[int, str, str], ...]


def broken(name: str, text: str, *problems: tuple[int, str, str]) -> Broken:
    return Broken(name, text, problems)


def in_space(name: str, lines: str, *problems: tuple[int, str, str], optimizer: str = "adamw") -> Broken:
    """Lines under ``space:``, the first of them on line 5 of the file."""
    head = f"name: x\ntask: mlp\noptimizer: {optimizer}\nspace:\n"
    return Broken(name, head + "".join(f"  {line}\n" for line in lines.splitlines()), problems)


GOOD = "name: x\ntask: mlp\n"

BROKEN = [
    # YAML itself
    broken("empty", "", (1, "", "found nothing; allowed: a mapping of name, ")),
    broken("only-comments", "# name: x\n", (1, "", "found nothing")),
    broken("a-list", "- name: x\n", (1, "", "found [{name: 'x'}]; allowed: a mapping")),
    broken("a-word", "\nadamw\n", (2, "", "found 'adamw'; allowed: a mapping")),
    broken("tab", "name: x\ntask:\n\tname: mlp\n", (3, "", "not YAML: found character '\\t'")),
    broken("open-bracket", "name: x\nspace: {lr: [1\n", (3, "", "not YAML: ")),
    broken("open-quote", 'name: "x\n', (2, "", "not YAML: found unexpected end of stream")),
    broken(
        "control-character", "name: x\ntask: \x00\n", (2, "", "not YAML: character '\\x00' is not allowed")
    ),
    broken("two-documents", "name: x\n---\nname: y\n", (2, "", "not YAML: but found another document")),
    broken("unknown-alias", "name: *x\n", (1, "", "not YAML: found undefined alias 'x'")),
    broken(
        "self-alias", "name: x\ntask: &t {name: mlp, x: *t}\n", (2, "", "not YAML: an alias holds itself")
    ),
    broken(
        "unknown-tag",
        "name: !!python/name:os.system x\ntask: mlp\n",
        (1, "name", "found the YAML tag tag:yaml.org,2002:p"),
    ),
    broken("date-tag", GOOD + "storage: !!timestamp 2024-01-01\n", (3, "storage", "found the YAML tag")),
    broken("number-key", GOOD + "3: x\n", (3, "", "found the key 3; allowed: text")),
    broken("list-key", GOOD + "? [a, b]\n: x\n", (3, "", "found the key a list or mapping; allowed: text")),
    broken("twice", "name: x\ntask: mlp\nname: y\n", (3, "name", "given twice, first on line 1; keep one")),
    broken(
        "median-without-curves",
        GOOD + "search: {pruner: median, keep_curves: 100}\n",
        (3, "search.keep_curves", "found 100, but pruner: median compares trials with the curves of all"),
    ),
    broken(
        "journal-without-curves",
        GOOD + "storage: journal:///shared/study.log\nsearch: {keep_curves: 100}\n",
        (4, "search.keep_curves", "found 100, but a journal only grows"),
    ),
    broken(
        "no-curves",
        GOOD + "search: {keep_curves: 0}\n",
        (3, "search.keep_curves", "found 0; allowed: all or integer in [1, 1000000]"),
    ),
    in_space("twice-in-space", "lr: 1e-3\neps: 1e-8\nlr: 1e-4", (7, "space.lr", "first on line 5; keep one")),
    broken("odd-key", GOOD + '"a\\nb": 1\n', (3, r"a\nb", r"unknown key 'a\nb'; allowed: name, ")),
    broken(
        "hexadecimal", GOOD + "search: {trials: 0x_}\n", (3, "search.trials", "found '0x_'; allowed: int")
    ),
    in_space("clip-zero", "clip_norm: 0", (5, "space.clip_norm", "found 0; allowed: (0, inf), or none")),
    in_space("clip-off", "clip_norm: off", (5, "space.clip_norm", "found 'off'; allowed: (0, inf), or none")),
    in_space("clip-null", "clip_norm: null", (5, "space.clip_norm", "found nothing; write none")),
    in_space("clip-twice", "clip_norm: [none, none]", (5, "space.clip_norm[1]", "twice; keep one")),
    in_space("clip-range", "clip_norm: {low: none, high: 1}", (5, "space.clip_norm.low", "found 'none'")),
    in_space("clip-alias", "max_grad_norm: 1.0", (5, "space.max_grad_norm", "write clip_norm")),
    broken("clip-top", GOOD + "clip_norm: 1\n", (3, "clip_norm", "move it to space")),
    broken(
        "clip-schedule",
        GOOD + "space: {schedule: {name: cosine, clip_norm: 1}}\n",
        (3, "space.schedule.clip_norm", "move it to space"),
    ),
    # the top level
    broken("decay-on", GOOD + "weight_decay_on: biases\n", (3, "weight_decay_on", "allowed: all, matrices")),
    broken("accumulate-0", GOOD + "accumulate: 0\n", (3, "accumulate", "found 0; allowed: integer in [1,")),
    broken(
        "accumulate-alias",
        GOOD + "gradient_accumulation_steps: 4\n",
        (3, "gradient_accumulation_steps", "write accumulate"),
    ),
    broken(
        "accumulate-space",
        GOOD + "space: {accumulate: [1, 2]}\n",
        (3, "space.accumulate", "move it to the top level"),
    ),
    broken("precision-fp16", GOOD + "precision: fp16\n", (3, "precision", "found 'fp16'; write float16")),
    broken("precision-amp", GOOD + "amp: true\n", (3, "amp", "write precision: bfloat16 or float16")),
    broken("precision-8", GOOD + "precision: float8\n", (3, "precision", "allowed: float32, bfloat16,")),
    broken("precision-mps", GOOD + "device: mps\nprecision: float64\n", (4, "precision", "does not have")),
    broken("no-name", "task: mlp\n", (1, "name", "is missing; allowed: up to 100 letters")),
    broken("no-task", "name: x\n", (1, "task", "is missing; allowed: a task's name")),
    broken(
        "number-name",
        "name: 2024\ntask: mlp\n",
        (1, "name", "found 2024, which is not text; write '2024' in quotes"),
    ),
    broken("path-name", "name: ../x\ntask: mlp\n", (1, "name", "found '../x'; allowed: up to 100 letters")),
    broken(
        "newline-name", 'name: "x\\n"\ntask: mlp\n', (1, "name", "found 'x\\n'; allowed: up to 100 letters")
    ),
    broken(
        "unknown-key",
        GOOD + "sarch:\n  trials: 3\n",
        (3, "sarch", "unknown key 'sarch'; did you mean 'search'?"),
    ),
    broken(
        "no-storage",
        GOOD + "storage:\n",
        (3, "storage", "found nothing; allowed: a file, a journal, or a database URL"),
    ),
    broken(
        "engine",
        GOOD + "engine: populaton\n",
        (3, "engine", "found 'populaton'; did you mean 'population'? "),
    ),
    broken(
        "population", GOOD + "population: 0\n", (3, "population", "found 0; allowed: auto or integer in [1, ")
    ),
    broken(
        "population-word", GOOD + "population: all\n", (3, "population", "found 'all'; allowed: auto or int")
    ),
    broken(
        "device",
        GOOD + "device: cpuu\n",
        (3, "device", "found 'cpuu'; did you mean 'cpu'? allowed: auto, cpu"),
    ),
    broken("misplaced-trials", GOOD + "trials: 3\n", (3, "trials", "unknown here; move it to search")),
    broken("misplaced-momentum", GOOD + "momentum: 0\n", (3, "momentum", "unknown here; move it to space")),
    broken("misplaced-warmup", GOOD + "warmup: 0\n", (3, "warmup", "write warmup_fraction under space.sch")),
    broken(
        "misplaced-optim", GOOD + "space: {optim: sgd}\n", (3, "space.optim", "optimizer at the top level")
    ),
    broken("switched-off", GOOD + "name: off\n", (3, "name", "given twice")),
    broken(
        "lone-surrogate", GOOD + 'storage: "\\ud800"\n', (3, "storage", "found '\\ud800', which is not UTF-8")
    ),
    broken("surrogate-key", GOOD + '"\\ud800": 1\n', (3, "", r"found the key \ud800; allowed: text")),
    # the task
    broken(
        "task-name",
        "name: x\ntask: mpl\n",
        (2, "task", "unknown task 'mpl'; did you mean 'mlp'? allowed: mlp,"),
    ),
    broken(
        "task-number", "name: x\ntask: 3\n", (2, "task", "found 3; allowed: mlp, cnn, transformer, a file")
    ),
    broken(
        "task-list", "name: x\ntask: [mlp]\n", (2, "task", "found ['mlp']; allowed: mlp, cnn, transformer")
    ),
    broken(
        "task-nameless", "name: x\ntask:\n  epochs: 3\n", (2, "task", "is missing 'name'; allowed: mlp, cnn")
    ),
    broken(
        "setting-unknown",
        "name: x\ntask:\n  name: mlp\n  epoch: 3\n",
        (4, "task.epoch", "unknown key 'epoch'; did you mean 'epochs'? allowed: data, dataset, "),
    ),
    broken(
        "setting-low",
        "name: x\ntask: {name: mlp, epochs: 0}\n",
        (2, "task.epochs", "found 0; allowed: integer in [1,"),
    ),
    broken(
        "setting-text",
        'name: x\ntask: {name: mlp, epochs: "3"}\n',
        (2, "task.epochs", "found '3', which is text; write 3 without quotes"),
    ),
    broken(
        "setting-bool",
        "name: x\ntask: {name: mlp, epochs: true}\n",
        (2, "task.epochs", "found true; allowed: int"),
    ),
    broken(
        "setting-in-list",
        "name: x\ntask:\n  name: mlp\n  hidden:\n  - 64\n  - 0\n",
        (6, "task.hidden[1]", "found 0; allowed: integer in [1, 8192]"),
    ),
    broken(
        "setting-list-length",
        "name: x\ntask: {name: cnn, channels: []}\n",
        (2, "task.channels", "found []; allowed: a list, each integer in [1, 8192], 1 to 3 of them"),
    ),
    broken(
        "settings-of-a-task-in-capitals",
        "name: x\ntask: {name: CNN, epochs: 0}\n",
        (2, "task.name", "found 'CNN'; write cnn"),
        (2, "task.epochs", "found 0"),
    ),
    broken(
        "hyperparameters-of-an-optimizer-in-capitals",
        GOOD + "optimizer: [SGD]\nspace: {momentum: 2, beta1: 0}\n",
        (3, "optimizer[0]", "found 'SGD'; write sgd"),
        (4, "space.momentum", "found 2; allowed: [0, 1)"),
        (4, "space.beta1", "can never apply: sgd does not have beta1;"),
    ),
    broken(
        "dataset",
        "name: x\ntask: {name: mlp, dataset: diabetis}\n",
        (2, "task.dataset", "found 'diabetis'; did you mean 'diabetes'? allowed: friedman1, diabetes"),
    ),
    broken(
        "settings-together",
        "name: x\ntask:\n  name: transformer\n  heads: 3\n",
        (4, "task.heads", "3 heads do not divide d_model 32"),
    ),
    # the optimizer
    broken(
        "optimizer",
        GOOD + "optimizer: adamv\n",
        (3, "optimizer", "unknown optimizer 'adamv'; did you mean 'adamw'? allowed: adabound, adam"),
    ),
    broken("optimizer-case", GOOD + "optimizer: AdamW\n", (3, "optimizer", "found 'AdamW'; write adamw")),
    broken("optimizer-number", GOOD + "optimizer: 3\n", (3, "optimizer", "found 3; allowed: adabound, adam")),
    broken(
        "optimizer-none",
        GOOD + "optimizer: []\n",
        (3, "optimizer", "found an empty list; allowed: adabound, "),
    ),
    broken(
        "optimizer-twice",
        GOOD + "optimizer: [sgd, sgd]\n",
        (3, "optimizer[1]", "found 'sgd' twice; keep one"),
    ),
    # the space
    broken("space-list", GOOD + "space: [lr]\n", (3, "space", "found ['lr']; allowed: a mapping")),
    broken("space-nothing", GOOD + "space:\n", (3, "space", "found nothing; allowed: a mapping")),
    in_space(
        "unknown",
        "lrr: 1e-3",
        (5, "space.lrr", "unknown hyperparameter 'lrr'; did you mean 'lr'? allowed: lr,"),
    ),
    in_space(
        "never-applies",
        "momentum: 0.9",
        (
            5,
            "space.momentum",
            "adamw does not have momentum; these have it: rmsprop, sgd; for adamw write beta1",
        ),
    ),
    in_space("no-complement", "one_minus_eps: 0.9", (5, "space.one_minus_eps", "unknown hyperparameter")),
    in_space(
        "misplaced-up", "warmup_fraction: 0.1", (5, "space.warmup_fraction", "move it to space.schedule")
    ),
    in_space(
        "misplaced-task", "batch_size: [32, 64]", (5, "space.batch_size", "a searched one to space.task")
    ),
    in_space("text", "lr: fast", (5, "space.lr", "found 'fast'; allowed: (0, inf)")),
    in_space("nothing", "lr:", (5, "space.lr", "found nothing; allowed: a value")),
    in_space("infinity", "lr: .inf", (5, "space.lr", "found .inf, which is beyond float32")),
    in_space("nan", "lr: .nan", (5, "space.lr", "found .nan; allowed: (0, inf)")),
    in_space("huge", f"lr: 1{'0' * 400}", (5, "space.lr", "000..., which is beyond float32")),
    in_space("zero-lr", "lr: 0", (5, "space.lr", "found 0; allowed: (0, inf)")),
    in_space("beta-one", "beta1: 1.0", (5, "space.beta1", "found 1.0; allowed: [0, 1)")),
    in_space(
        "complement-zero", "one_minus_beta2: 0", (5, "space.one_minus_beta2", "found 0; allowed: [1e-12, 1]")
    ),
    in_space("bool-number", "lr: true", (5, "space.lr", "found true; allowed: (0, inf)")),
    in_space("number-bool", "amsgrad: 1", (5, "space.amsgrad", "found 1; allowed: true or false")),
    in_space(
        "bool-range",
        "amsgrad: {low: 0, high: 1}",
        (5, "space.amsgrad", "allowed: a list of values; only num"),
    ),
    in_space("low-illegal", "lr:\n  low: -1\n  high: 1", (6, "space.lr.low", "found -1; allowed: (0, inf)")),
    in_space("high-illegal", "beta1: {low: 0, high: 1}", (5, "space.beta1.high", "found 1; allowed: [0, 1)")),
    in_space(
        "low-high",
        "lr: {low: 1e-1, high: 1e-3}",
        (5, "space.lr.low", "found 1e-1; allowed: less than high, which is 1e-3"),
    ),
    in_space(
        "low-is-high",
        "lr: {low: 1, high: 1}",
        (5, "space.lr.low", "found 1; allowed: less than high, which is 1"),
    ),
    in_space(
        "log-zero",
        "eps: {low: 0, high: 1, log: true}",
        (5, "space.eps.low", "found 0; allowed: above 0, because"),
    ),
    in_space(
        "log-word",
        "eps: {low: 1, high: 2, log: 10}",
        (5, "space.eps.log", "found 10; allowed: true or false"),
    ),
    in_space("no-high", "lr: {low: 1}", (5, "space.lr", "is missing 'high'; a range is {low: ")),
    in_space(
        "min-max",
        "lr: {min: 1, max: 2}",
        (5, "space.lr.min", "found 'min'; write low"),
        (5, "space.lr.max", "found 'max'; write high"),
    ),
    in_space("no-choice", "lr: []", (5, "space.lr", "found an empty list; allowed: one value or more")),
    in_space("choice-illegal", "lr:\n- 1e-3\n- -1e-3", (7, "space.lr[1]", "found -1e-3; allowed: (0, inf)")),
    in_space("choice-twice", "lr: [1, 1e-3, 1.0]", (5, "space.lr[2]", "found 1.0 twice; keep one")),
    in_space("choice-nothing", "lr: [1, null]", (5, "space.lr[1]", "found nothing; allowed: a value")),
    in_space(
        "both-forms",
        "one_minus_beta1: 0.1\nbeta1: 0.9",
        (5, "space.one_minus_beta1", "found with beta1, which says the same; keep one"),
    ),
    in_space(
        "nesterov",
        "lr: 0.1\nnesterov: true",
        (6, "space.nesterov", "needs momentum above 0"),
        optimizer="sgd",
    ),
    in_space(
        "nesterov-choice",
        "nesterov: [false, true]\nmomentum: [0.0, 0.9]",
        (5, "space.nesterov", "sgd with nesterov needs momentum above 0 and dampening 0, got momentum=0"),
        optimizer="[adam, sgd]",
    ),
    *(
        in_space(f"number-{text}", f"eps: {text}", (5, "space.eps", message))
        for text, message in {
            "010": "found '010', which YAML 1.1 reads as 8; write 8 or 10",
            "-010": "found '-010', which YAML 1.1 reads as -8; write -8 or -10",
            "1:30": "found '1:30', which YAML 1.1 reads as 90; write 90",
            "1:30.5": "found '1:30.5', which YAML 1.1 reads as 90.5; write 90.5",
            "0x1f": "found '0x1f', which YAML 1.1 reads as 31; write 31",
            "0b11": "found '0b11', which YAML 1.1 reads as 3; write 3",
            "1_000": "found '1_000', which YAML 1.1 reads as 1000; write 1000",
            "1_0.5": "found '1_0.5', which YAML 1.1 reads as 10.5; write 10.5",
            "0o17": "found '0o17', which YAML 1.2 reads as 15; write 15",
            "08": "found '08', which is text; write 8",
            f"0x{'f' * 5000}": "found '0xfff",
            f"0o{'7' * 5000}": "found '0o777",
            "!!int 010": "found '010', which YAML 1.1 reads as 8; write 8 or 10",
            "!!float 1:30": "found '1:30', which YAML 1.1 reads as 90; write 90",
            "!!bool often": "found the YAML tag tag:yaml.org,2002:bool; allowed: text, numbers, true",
            "!!timestamp soon": "found the YAML tag tag:yaml.org,2002:timestamp",
            "!colour red": "found the YAML tag !colour",
            "01e-3": "found '01e-3', which is text; write 1e-3",
            "'1e-3'": "found '1e-3', which is text; write 1e-3 without quotes",
            "1e39": "found 1e39, which is beyond float32, the precision of all training; write at most 3",
            "3.5e38": "found 3.5e38, which is beyond float32",
            "1e400": "found 1e400, which is beyond float32",
            "1" * 6000: "111..., which is beyond float32",
            "-.inf": "found -.inf; allowed: [0, inf)",
            "yes": "found 'yes'; allowed: [0, inf)",
        }.items()
    ),
    in_space("zero-in-float32", "lr: 1e-46", (5, "space.lr", "found 1e-46, which is 0 in float32, the pre")),
    in_space("zero-in-float64", "lr: 1e-400", (5, "space.lr", "found 1e-400; allowed: (0, inf)")),
    in_space(
        "zero-low", "lr: {low: 1e-60, high: 1}", (5, "space.lr.low", "found 1e-60, which is 0 in float32")
    ),
    in_space("beyond-in-list", "lr: [1, 1e39]", (5, "space.lr[1]", "found 1e39, which is beyond float32")),
    in_space("beyond-one", "beta1: 1e400", (5, "space.beta1", "found 1e400; allowed: [0, 1)")),
    broken(
        "many-digits",
        GOOD + f"search: {{trials: {'1' * 6000}, timeout: 1e999, seed: 1:30}}\n",
        (3, "search.trials", "111...; allowed: integer in [1, 1000000]"),
        (3, "search.timeout", "found 1e999; allowed: (0, inf)"),
        (3, "search.seed", "found '1:30', which YAML 1.1 reads as 90; write 90"),
    ),
    *(
        in_space(f"boolean-{text}", f"amsgrad: {text}", (5, "space.amsgrad", message))
        for text, message in {
            "yes": "found 'yes'; write true",
            "On": "found 'On'; write true",
            "no": "found 'no'; write false",
            "OFF": "found 'OFF'; write false",
            "'true'": "found 'true'; write true without quotes",
        }.items()
    ),
    in_space("log-yes", "lr: {low: 1, high: 2, log: yes}", (5, "space.lr.log", "found 'yes'; write true")),
    *(
        in_space(f"range-{key}", f"lr: {{{key}: 1}}", (5, f"space.lr.{key}", message))
        for key, message in {
            "step": "found 'step'; write a list of values instead: a range has no steps",
            "choices": "found 'choices'; write the list itself instead of a mapping: [1e-3, 1e-2]",
            "values": "found 'values'; write the list itself",
            "type": "found 'type'; write log: true for a logarithmic range",
            "log_scale": "found 'log_scale'; write log",
            "hihg": "unknown key 'hihg'; did you mean 'high'?",
        }.items()
    ),
    # the schedule
    in_space(
        "schedule",
        "schedule: cosin",
        (5, "space.schedule", "unknown schedule 'cosin'; did you mean 'cosine'?"),
    ),
    in_space(
        "schedule-in-list",
        "schedule:\n  name:\n  - cosine\n  - liner",
        (8, "space.schedule.name[1]", "unknown schedule 'liner'; did you mean 'linear'?"),
    ),
    in_space("schedule-number", "schedule: 3", (5, "space.schedule", "found 3; allowed: constant, cosine")),
    in_space(
        "schedule-never",
        "schedule: {name: cosine, drops: 3}",
        (5, "space.schedule.drops", "can never apply: cosine does not have drops; these have it: step"),
    ),
    in_space("misplaced-down", "schedule: {lr: 1}", (5, "space.schedule.lr", "move it to space")),
    in_space(
        "integer",
        "schedule: {name: step, drops: {low: 1, high: 2.5}}",
        (5, "space.schedule.drops.high", "found 2.5; allowed: integer in [1, 1000]"),
    ),
    in_space(
        "ranges-differ",
        "schedule: {name: [cosine, exponential], final_fraction: 0}",
        (5, "space.schedule.final_fraction", "found 0; allowed: (0, 1] for exponential"),
    ),
    # searched settings of the task
    in_space(
        "task-settings-list",
        "task: [hidden]",
        (5, "space.task", "found ['hidden']; allowed: a mapping of the task's"),
    ),
    in_space(
        "task-unknown",
        "task: {hiden: [[1], [2]]}",
        (5, "space.task.hiden", "did you mean 'hidden'? allowed: "),
    ),
    in_space(
        "task-fixed",
        "task: {epochs: 3}",
        (5, "space.task.epochs", "found 3; allowed: a list or a range; a fix"),
    ),
    in_space(
        "task-illegal",
        "task: {batch_size: [32, 0]}",
        (5, "space.task.batch_size[1]", "found 0; allowed: integ"),
    ),
    in_space(
        "task-range",
        "task: {hidden: {low: 1, high: 2}}",
        (5, "space.task.hidden", "only numbers have ranges"),
    ),
    in_space(
        "task-fit",
        "task: {batch_size: [32, 9999]}",
        (5, "space.task.batch_size", "more than the 6400 training"),
    ),
    in_space(
        "task-null",
        "task: {batch_size: [null, 99]}",
        (5, "space.task.batch_size[0]", "found nothing; allowed: a val"),
    ),
    in_space(
        "task-data",
        "task: {dataset: [diabetes, friedman1], samples: {low: 100, high: 900}}",
        (5, "space.task.dataset", "changes the data, so its trials cannot be compared: move it to the task"),
        (5, "space.task.samples", "with one value, and make a study for each"),
    ),
    broken(
        "task-both",
        "name: x\ntask: {name: mlp, epochs: 3}\nspace:\n  task: {epochs: [1, 2]}\n",
        (4, "space.task.epochs", "found with task.epochs; keep one"),
    ),
    broken(
        "task-together",
        "name: x\ntask: transformer\nspace:\n  task:\n    d_model: [30, 32]\n    heads: [2, 4]\n",
        (6, "space.task.heads", "4 heads do not divide d_model 30"),
    ),
    # the search and the objective
    broken(
        "search-number",
        GOOD + "search: 64\n",
        (3, "search", "found 64; allowed: a mapping of trials, timeout, "),
    ),
    broken(
        "search-unknown",
        GOOD + "search: {n_trials: 3}\n",
        (3, "search.n_trials", "found 'n_trials'; write trials"),
    ),
    broken(
        "trials",
        GOOD + "search: {trials: 0}\n",
        (3, "search.trials", "found 0; allowed: integer in [1, 1000000]"),
    ),
    broken(
        "trials-fraction",
        GOOD + "search: {trials: 1.5}\n",
        (3, "search.trials", "found 1.5; allowed: integer"),
    ),
    broken(
        "timeout",
        GOOD + "search: {timeout: 30 parsecs}\n",
        (3, "search.timeout", "such as 90s, 30m or 1h30m"),
    ),
    broken(
        "timeout-zero",
        GOOD + "search: {timeout: 0}\n",
        (3, "search.timeout", "found 0; allowed: (0, inf) or a dur"),
    ),
    broken(
        "sampler",
        GOOD + "search: {sampler: tp}\n",
        (3, "search.sampler", "found 'tp'; did you mean 'tpe'? allowed"),
    ),
    broken(
        "pruner",
        GOOD + "search: {pruner: false}\n",
        (3, "search.pruner", "found false; write none"),
    ),
    broken(
        "seed",
        GOOD + "search: {seed: -1}\n",
        (3, "search.seed", "found -1; allowed: integer in [0, 4294967295]"),
    ),
    broken(
        "seeds", GOOD + "search: {seeds: 0}\n", (3, "search.seeds", "found 0; allowed: integer in [1, 1000]")
    ),
    broken(
        "metric",
        GOOD + "objective: {metric: val_acc}\n",
        (3, "objective.metric", "unknown metric of mlp 'val_acc'"),
    ),
    broken(
        "direction",
        GOOD + "objective: {direction: min}\n",
        (3, "objective.direction", "found 'min'; write minimize"),
    ),
    broken(
        "grid",
        """\
name: x
task: mlp
search: {sampler: grid}
space:
  lr: {low: 1, high: 2}
  beta1: [0.8, 0.9]
  schedule:
    warmup_fraction: {low: 0, high: 0.1}
  task:
    batch_size: {low: 8, high: 16}
""",
        (
            5,
            "space.lr",
            "found {low: 1.0, high: 2.0, log: false}; allowed: a value or a list of values, for ",
        ),
        (8, "space.schedule.warmup_fraction", "for the grid sampler"),
        (10, "space.task.batch_size", "for the grid sampler"),
    ),
    broken("grid-default", GOOD + "search: {sampler: grid}\n", (1, "space.lr", "for the grid sampler")),
    # many at once
    broken(
        "everything",
        """\
name: a b
task:
  name: cnn
  epochs: 0
  hidden: [1]
  hidden: x
optimizer: [adamw, sdg]
space:
  lr: {low: -1, high: 1e-1, log: 3}
  beta1: 1.0
  momentumm: 3
  schedule:
    name: cosin
    lr: 3
  task: {batch_size: [32, 0], channels: [[16], [8, 0]]}
search:
  timeout: soon
  trials: 1.5
objective:
  metric: loss
population: 0
stroage: runs/adamtune.db
7: 8
""",
        (1, "name", "found 'a b'"),
        (4, "task.epochs", "found 0"),
        (6, "task.hidden", "given twice, first on line 5"),
        (6, "task.hidden", "found 'x'"),
        (7, "optimizer[1]", "unknown optimizer 'sdg'; did you mean 'sgd'?"),
        (9, "space.lr.log", "found 3"),
        (9, "space.lr.low", "found -1"),
        (10, "space.beta1", "found 1.0"),
        (11, "space.momentumm", "did you mean 'momentum'?"),
        (13, "space.schedule.name", "did you mean 'cosine'?"),
        (14, "space.schedule.lr", "move it to space"),
        (15, "space.task.batch_size[1]", "found 0"),
        (15, "space.task.channels[1][1]", "found 0"),
        (17, "search.timeout", "found 'soon'"),
        (18, "search.trials", "found 1.5"),
        (20, "objective.metric", "unknown metric of cnn 'loss'; did you mean 'val_loss'?"),
        (21, "population", "found 0"),
        (22, "stroage", "did you mean 'storage'?"),
        (23, "", "found the key 7"),
    ),
]
