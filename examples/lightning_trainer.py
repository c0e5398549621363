"""A Lightning Trainer as a function: it has its loop, callbacks and loggers, and adamtune its settings."""

import lightning
import torch.nn.functional as F
from lightning_task import Classifier, Digits
from torch.utils.data import DataLoader, TensorDataset

import adamtune


class Tuned(Classifier):
    """The module with the optimizer and the schedule of a trial."""

    def __init__(self, run: adamtune.Run) -> None:
        super().__init__(run.settings["hidden"])
        self.run = run

    def configure_optimizers(self):
        steps = self.trainer.estimated_stepping_batches
        optimizer, scheduler = self.run.optimizer(self.parameters(), steps)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def validation_step(self, batch, batch_idx):
        images, digits = batch
        self.log("val_loss", F.cross_entropy(self(images), digits))


class Report(lightning.Callback):
    """Reports each validation; the report ends the training of a trial that is pruned."""

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            module.run.report(trainer.global_step, val_loss=trainer.callback_metrics["val_loss"])


@adamtune.trainable(metrics={"val_loss": "minimize"})
def train(run: adamtune.Run) -> None:
    """Handwritten digits with a Lightning Trainer."""
    lightning.seed_everything(run.seed)
    data = Digits().data()
    trainer = lightning.Trainer(
        max_epochs=run.settings["epochs"],
        accelerator="cpu",
        callbacks=[Report()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(
        Tuned(run),
        DataLoader(TensorDataset(*data.train), batch_size=32, shuffle=True),
        DataLoader(TensorDataset(*data.validation), batch_size=512),
    )
