"""Reads a user's images and their classes: arrays, or a folder with a folder of images for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adamtune.errors import UsageError
from adamtune.tasks.data import Data
from adamtune.tasks.datasets import shuffle_split, standardise
from adamtune.tasks.tables import LEAST_ROWS, class_numbers, listed, read_arrays

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
CHANNELS = (1, 3, 4)
GREY, COLOUR = ("1", "L"), ("LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
"""Pillow's names for images of 8 bits or less."""


def read_images(path: Path, side: int | None) -> Data:
    """Rows ``(images [rows, channels, height, width], classes [rows])``.

    Each channel is standardised by the training rows. Classes are in the order of their names.

    Args:
        path: an ``.npz`` file with the arrays ``X`` (``[rows, height, width]``, or with channels last or
            second) and ``y`` (``[rows]``); or a folder of class folders.
        side: height and width to which the images of a folder are scaled; if None, they have one size.

    Raises:
        UsageError: the file or folder is not as above; the message names it.
    """
    if path.is_dir():
        images, labels = _folder(path, side)
    elif path.suffix == ".npz" and side is None:
        found, labels = read_arrays(path, ["X", "y"])
        images = _with_channels(path, found)
    else:
        what = "side is for folders of images" if path.suffix == ".npz" else "not read"
        raise UsageError(f"{path}: {what}: give an .npz file, or a folder with a folder for each class")
    if len(images) < LEAST_ROWS:
        raise UsageError(f"{path}: has {len(images)} images: give at least {LEAST_ROWS}")
    classes = class_numbers(path, "y" if path.suffix == ".npz" else "the class", labels)
    x, y = shuffle_split(images, classes, stratify=classes)
    return Data(*zip(standardise(x, axis=(0, 2, 3)), y, strict=True))


def _with_channels(path: Path, images: NDArray[Any]) -> NDArray[Any]:
    """Images of an array as ``[rows, channels, height, width]``."""
    if images.dtype.kind not in "fiub" or not np.isfinite(images).all():
        raise UsageError(
            f"{path}: X has the type {images.dtype}, or NaN or infinite numbers: give real numbers"
        )
    if images.dtype.kind == "b":
        images = images.astype(np.uint8)
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in CHANNELS:
        return images.transpose(0, 3, 1, 2)
    if images.ndim == 4 and images.shape[1] in CHANNELS:
        return images
    raise UsageError(
        f"{path}: X has the shape {images.shape}: give [rows, height, width], or 1, 3 or 4 channels as the"
        " last or second dimension"
    )


def _folder(path: Path, side: int | None) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """The images of all class folders ``[rows, channels, height, width]``, and the folders' names."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError(f"{path}: images need Pillow: pip install pillow") from error
    files = [
        file
        for folder in sorted(each for each in path.iterdir() if each.is_dir())
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise UsageError(f"{path}: has no folders with images ({', '.join(SUFFIXES)}), one for each class")
    images = []
    for file in files:
        try:
            with Image.open(file) as image:
                images.append(_sized(file, image, side))
        except OSError as error:
            raise UsageError(f"{file}: cannot be read as an image: {error}") from error
    mode = "L" if all(each.mode == "L" for each in images) else "RGB"
    arrays = [np.asarray(each.convert(mode)) for each in images]
    _check_sizes(path, arrays)
    stacked = np.stack(arrays).reshape(len(arrays), *arrays[0].shape[:2], -1)
    return stacked.transpose(0, 3, 1, 2), np.array([file.parent.name for file in files])


def _sized(file: Path, image: Image, side: int | None) -> Image:
    """The image in grey or colour, in the asked size."""
    if image.mode not in (*GREY, *COLOUR):
        raise UsageError(f"{file}: has the mode {image.mode}: make an image of 8 bits a channel of it")
    plain = image.convert("L" if image.mode in GREY else "RGB")
    return plain if side is None else plain.resize((side, side))


def _check_sizes(path: Path, images: Sequence[NDArray[Any]]) -> None:
    sizes = sorted({"x".join(map(str, each.shape[:2])) for each in images})
    if len(sizes) > 1:
        raise UsageError(
            f"{path}: the images have {len(sizes)} sizes ({listed(sizes)}): give task.side, the height and"
            " width to which all are scaled"
        )
