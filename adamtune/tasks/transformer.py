"""Next-character prediction with a small Transformer. Torch-free to import."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from adamtune.tasks.base import Count, Width
from adamtune.tasks.own_data import OwnData

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adamtune.tasks.text import Text


class Transformer(OwnData):
    """Next-character prediction with a small Transformer: the Python reference, or a text of your own.

    It is causal and has its norms before the layers.
    """

    data_settings = ("data", "dataset")
    directions = {"bpc": "minimize"}

    dataset: Literal["python-reference"] = Field("python-reference", description="which text to learn")
    d_model: Width = Field(32, description="width of the residual stream, a multiple of heads")
    layers: Annotated[int, Field(ge=1, le=48)] = Field(2, description="blocks of attention and feedforward")
    heads: Annotated[int, Field(ge=1, le=64)] = Field(
        2, validate_default=True, description="attention heads of each layer"
    )
    context: Annotated[int, Field(ge=2, le=1024)] = Field(32, description="characters seen at once")
    batch_size: Count = Field(32, description="stretches of text in every batch")
    steps: Count = 300

    def data(self) -> Text:
        """Windows of the text ``[rows, context + 1]``."""
        from adamtune.tasks.text import python_reference, read_text

        file = self.existing_file()
        return read_text(file, self.context) if file else python_reference(self.context)

    def model(self) -> nn.Module:
        """Characters ``[batch, context]`` to logits ``[batch, context, vocabulary]``."""
        from adamtune.tasks.decoder import Decoder

        data: Any = self.loaded_data
        return Decoder(data.vocabulary, self.context, self.d_model, self.layers, self.heads)

    def loss(self, model: Any, batch: Any) -> Tensor:
        """Mean cross-entropy of a character, in nats."""
        from torch.nn.functional import cross_entropy

        (windows,) = batch
        logits = model(windows[:, :-1])
        return cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())

    def metrics(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        """The loss in nats, and in bits per character."""
        loss = self.loss(model, batch)
        return {"loss": loss, "bpc": loss / log(2)}

    @field_validator("heads")
    @classmethod
    def _heads_divide_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("d_model", heads)
        if width % heads:
            divisors = ", ".join(str(each) for each in range(1, min(width, 64) + 1) if width % each == 0)
            raise ValueError(
                f"{heads} heads do not divide d_model {width}: use heads {divisors}, "
                f"or d_model {(width // heads + 1) * heads}"
            )
        return heads

    def step_bytes(self) -> int | None:
        """In each block 17 results and 3 of attention; the logits; and the parameters' gradients.

        None of a file, whose characters are not known.
        """
        if self.file is not None:
            return None
        characters, tokens = 104, self.batch_size * self.context
        block = 17 * tokens * self.d_model + 3 * tokens * self.heads * self.context + 12 * self.d_model**2
        return 4 * (self.layers * block + 2 * characters * (tokens + self.d_model))
