"""A small ResNet, with batch normalization, on images."""

import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from adamtune import Data, Task


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(inplace=True),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        )
        same = inner == outer and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inner, outer, 1, stride, bias=False)

    def forward(self, images):
        return F.relu(self.body(images) + self.shortcut(images))


class ResNet(Task):
    """Handwritten digits with residual blocks."""

    directions = {"accuracy": "maximize"}

    width: int = 8
    blocks: int = 2
    batch_size: int = 64

    def data(self) -> Data:
        images, digits = load_digits(return_X_y=True)
        return Data.split(images.reshape(-1, 1, 8, 8) / 16, digits, validation=0.2, test=0.2)

    def model(self) -> nn.Module:
        widths = [self.width * 2**each for each in range(self.blocks)]
        return nn.Sequential(
            nn.Conv2d(1, self.width, 3, padding=1),
            Block(self.width, self.width, 1),
            *(Block(width // 2, width, 2) for width in widths[1:]),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(widths[-1], 10),
        )

    def loss(self, model, batch):
        images, digits = batch
        return F.cross_entropy(model(images), digits)

    def metrics(self, model, batch):
        images, digits = batch
        return {"accuracy": (model(images).argmax(-1) == digits).float().mean()}
