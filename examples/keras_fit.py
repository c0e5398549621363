"""Keras: ``fit`` with a callback as a function; the optimizer gets the settings by name."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or jax, or tensorflow, where they are installed

import keras
from sklearn.datasets import load_digits

import adamtune


class Report(keras.callbacks.Callback):
    """Reports each epoch; the report ends the training of a trial that is pruned."""

    def __init__(self, run: adamtune.Run) -> None:
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs):
        self.run.report(int(self.model.optimizer.iterations), val_loss=logs["val_loss"])


@adamtune.trainable(metrics={"val_loss": "minimize"})
def train(run: adamtune.Run) -> None:
    """Handwritten digits with Keras."""
    keras.utils.set_random_seed(run.seed)
    images, digits = load_digits(return_X_y=True)
    model = keras.Sequential([keras.layers.Dense(64, "relu"), keras.layers.Dense(10)])
    optimizer = keras.optimizers.AdamW(
        run.settings["lr"],
        beta_1=run.settings["beta1"],
        beta_2=run.settings["beta2"],
        epsilon=run.settings["eps"],
        weight_decay=run.settings["weight_decay"],
    )
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(
        images / 16,
        digits,
        epochs=run.settings["epochs"],
        validation_split=0.2,
        callbacks=[Report(run)],
        verbose=0,
    )
