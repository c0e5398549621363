"""The Trainer of Hugging Face's transformers as a function."""

import tempfile

from bert import Brackets
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

import adamtune


class Rows(Dataset):
    """The rows of a split, each a dict of tensors."""

    def __init__(self, rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows["labels"])

    def __getitem__(self, index):
        return {name: each[index] for name, each in self.rows.items()}


class Report(TrainerCallback):
    """Reports each evaluation; the report ends the training of a trial that is pruned."""

    def __init__(self, run: adamtune.Run) -> None:
        self.run = run

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        self.run.report(state.global_step, val_loss=metrics["eval_loss"])


@adamtune.trainable(metrics={"val_loss": "minimize"})
def train(run: adamtune.Run) -> None:
    """The order of brackets, with Hugging Face's Trainer."""
    set_seed(run.seed)
    task, steps = Brackets(), run.settings["steps"]
    data, model = task.data(), task.model()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=32,
            eval_strategy="steps",
            eval_steps=max(1, steps // 10),
            save_strategy="no",
            report_to="none",
            seed=run.seed,
            use_cpu=True,
        )
        Trainer(
            model,
            arguments,
            train_dataset=Rows(data.train),
            eval_dataset=Rows(data.validation),
            optimizers=run.optimizer(model.parameters(), steps),
            callbacks=[Report(run)],
        ).train()
