"""A model of Hugging Face's transformers, made from its configuration, on padded sequences."""

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from adamtune import Data, Task

PAD, OPEN, CLOSE = range(3)


class Brackets(Task):
    """Whether no bracket of a sequence closes before it was opened."""

    directions = {"accuracy": "maximize"}

    hidden: int = 32
    layers: int = 2
    dropout: float = 0.1

    def data(self) -> Data:
        lengths = 2 * torch.randint(1, 5, (2000, 1))
        mask = torch.arange(8) < lengths
        tokens = torch.randint(OPEN, CLOSE + 1, (2000, 8)).where(mask, PAD)
        depth = ((tokens == OPEN).long() - (tokens == CLOSE).long()).cumsum(1)
        ordered = depth.amin(1) >= 0
        # A batch has the names of the model's arguments.
        rows = {"input_ids": tokens, "attention_mask": mask.long(), "labels": ordered.long()}
        return Data.split(rows, validation=0.2, stratify=ordered)

    def model(self) -> nn.Module:
        return BertForSequenceClassification(
            BertConfig(
                vocab_size=3,
                hidden_size=self.hidden,
                num_hidden_layers=self.layers,
                num_attention_heads=2,
                intermediate_size=2 * self.hidden,
                max_position_embeddings=8,
                hidden_dropout_prob=self.dropout,
            )
        )

    def loss(self, model, batch):
        return model(**batch).loss

    def metrics(self, model, batch):
        found = model(**batch)
        right = found.logits.argmax(-1) == batch["labels"]
        return {"loss": found.loss, "accuracy": right.float().mean()}
