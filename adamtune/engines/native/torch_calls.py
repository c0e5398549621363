"""Calls of torch's operators through libtorch's stable C interface, which needs torch 2.13 or newer.

``program.h`` makes the calls. It needs no header of torch and is not linked with libtorch: it gets the
addresses of libtorch's functions from here.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamtune.engines.torch_private import OpOverload, arguments, return_types

FUNCTIONS = (
    "aoti_torch_call_dispatcher",
    "aoti_torch_new_tensor_handle",
    "aoti_torch_delete_tensor_object",
    "aoti_torch_is_defined",
    "torch_new_list_reserve_size",
    "torch_list_push_back",
    "torch_list_size",
    "torch_list_get_item",
    "torch_delete_list",
    "torch_new_stable_ivalue",
    "torch_new_string_handle",
)
"""The functions that ``program.h`` calls, in the order of ``struct torch``."""
VALUE, TENSOR, STRING, LIST, OPTIONAL = range(5)
"""The kinds of values, numbered as in ``program.h``."""
CODES = {"ScalarTypeType": "dtype", "LayoutType": "layout", "MemoryFormatType": "memory_format"}
"""The types whose values are numbers in the C interface, by the word for each in its functions' names."""

TEXT = torch.__version__ >= "2.14"  # as versions, not as texts
"""Whether a program can make calls with a text."""


class CannotEncode(Exception):
    """The C interface has no such values, or a tensor is of a kind that it does not describe."""


class _Interface(NamedTuple):
    """libtorch, and the addresses of the functions that ``program.h`` calls, as ``struct torch``."""

    library: ctypes.CDLL
    functions: ctypes.Array[ctypes.c_void_p]


@cache
def torch_interface() -> _Interface | None:
    """libtorch's C interface; None where torch is too old to have it."""
    name = "libtorch_cpu.dylib" if sys.platform == "darwin" else "libtorch_cpu.so"
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name))
        functions = [ctypes.cast(library[each], ctypes.c_void_p) for each in FUNCTIONS]
        library.torch_exception_get_what_without_backtrace.restype = ctypes.c_char_p
    except (OSError, AttributeError):
        return None
    return _Interface(library, (ctypes.c_void_p * len(functions))(*functions))


def last_error() -> str:
    """The message of the last error of a function of libtorch in this thread."""
    interface = torch_interface()
    assert interface is not None
    return str(interface.library.torch_exception_get_what_without_backtrace().decode(errors="replace"))


class _Argument(ctypes.Structure):
    """``struct argument`` in ``program.h``."""

    _fields_ = [("kind", ctypes.c_int64), ("content", ctypes.c_uint64), ("count", ctypes.c_int64)]


class _Call(ctypes.Structure):
    """``struct call`` in ``program.h``."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("overload", ctypes.c_char_p),
        ("arguments", ctypes.c_void_p),
        ("argument_count", ctypes.c_int64),
        ("returns", ctypes.c_void_p),
        ("return_count", ctypes.c_int64),
        ("targets", ctypes.c_void_p),
        ("target_count", ctypes.c_int64),
    ]


class TorchCall(NamedTuple):
    """A call of an operator.

    Attributes:
        call: the call as ``program.h`` reads it.
        kept: what it points to; it lives as long as the call.
    """

    call: _Call
    kept: object


class Encoder:
    """Makes calls of operators for programs. Calls with a tensor in common share its handle."""

    def __init__(self) -> None:
        self._tensors: dict[Any, _TensorHandle] = {}

    def call(
        self, kernel: OpOverload, values: Mapping[str, Any], targets: Sequence[Tensor] = ()
    ) -> TorchCall:
        """The call of an overload.

        Args:
            kernel: the overload.
            values: the values of all its arguments, by name.
            targets: the tensors that the returned ones are copied into.

        Raises:
            CannotEncode: the C interface cannot make the call.
        """
        if torch_interface() is None:
            raise CannotEncode(kernel)
        kept: list[Any] = []
        returns = [_return_kind(each) for each in return_types(kernel)]
        made = [self._argument(each.real_type, values[each.name], kept) for each in arguments(kernel)]
        parts = (
            (_Argument * len(made))(*made),
            (ctypes.c_int64 * len(returns))(*returns),
            (ctypes.c_void_p * len(targets))(*(self._handle(each, kept) for each in targets)),
        )
        lists = [item for each in parts for item in (ctypes.addressof(each), len(each))]
        name, _, overload = kernel.name().partition(".")
        return TorchCall(_Call(name.encode(), overload.encode(), *lists), (kept, parts))

    def _argument(self, type_: Any, value: Any, kept: list[Any]) -> _Argument:
        """What an argument is made from; ``kept`` gets what it points to."""
        kind = type_.kind()
        if kind == "OptionalType":
            if value is None:
                return _Argument(VALUE, 0, 0)
            return self._items(OPTIONAL, type_.getElementType(), [value], kept)
        if kind == "ListType" and isinstance(value, list | tuple):
            return self._items(LIST, type_.getElementType(), value, kept)
        if kind == "TensorType" and isinstance(value, Tensor):
            return _Argument(TENSOR, self._handle(value, kept), 0)
        # torch 2.13 copies a text and never frees the copy.
        if kind == "StringType" and TEXT:
            text = value.encode()
            kept.append(text)
            return _Argument(STRING, ctypes.cast(text, ctypes.c_void_p).value, len(text))
        return _Argument(VALUE, _word(kind, value), 0)

    def _items(self, kind: int, type_: Any, values: Sequence[Any], kept: list[Any]) -> _Argument:
        items = (_Argument * len(values))(*(self._argument(type_, each, kept) for each in values))
        kept.append(items)
        return _Argument(kind, ctypes.addressof(items), len(values))

    def _handle(self, tensor: Tensor, kept: list[Any]) -> int:
        if not is_plain(tensor):
            raise CannotEncode(tensor)
        # One handle for equal views, because torch asks whether two arguments are the same tensor.
        key = tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
        if key not in self._tensors:
            self._tensors[key] = _TensorHandle(tensor)
        kept.append(self._tensors[key])
        return self._tensors[key].address


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is numbers in the CPU's memory, and nothing else."""
    strided = tensor.device.type == "cpu" and tensor.layout == torch.strided
    if not strided or tensor.is_conj() or tensor.is_neg():
        return False
    return tensor.data_ptr() != 0 or not tensor.numel()


class _TensorHandle:
    """libtorch's handle of a tensor on the memory of another one, without its history and count of changes.

    Attributes:
        address: the handle.
    """

    def __init__(self, tensor: Tensor) -> None:
        interface = torch_interface()
        assert interface is not None
        handle = ctypes.c_void_p()
        dims = ctypes.c_int64 * tensor.dim()
        failed = interface.library.aoti_torch_create_tensor_from_blob(
            ctypes.c_void_p(tensor.data_ptr()),
            ctypes.c_int64(tensor.dim()),
            dims(*tensor.shape),
            dims(*tensor.stride()),
            ctypes.c_int64(0),
            _code("dtype", tensor.dtype),
            _code("device_type", "cpu"),
            0,
            ctypes.byref(handle),
        )
        if failed or handle.value is None:
            raise CannotEncode(last_error())
        self.address = handle.value
        self._tensor = tensor  # keeps the memory
        free = weakref.finalize(self, interface.library.aoti_torch_delete_tensor_object, handle)
        free.atexit = False


def _return_kind(type_: Any) -> int:
    """The kind of value that an overload returns. Raises CannotEncode."""
    kind = type_.kind()
    if kind == "ListType" and type_.getElementType().kind() == "TensorType":
        return LIST
    if kind not in ("TensorType", "IntType", "SymIntType", "FloatType", "BoolType"):
        raise CannotEncode(type_)
    return TENSOR if kind == "TensorType" else VALUE


def _word(kind: str, value: Any) -> int:
    """The 64 bits of a value that is no object. Raises CannotEncode."""
    if kind in ("IntType", "SymIntType", "BoolType") and isinstance(value, int):
        return value & (1 << 64) - 1
    if kind == "FloatType" and isinstance(value, int | float):
        return int.from_bytes(struct.pack("=d", value), sys.byteorder)
    if kind in CODES:
        return _code(CODES[kind], value)
    if kind == "DeviceObjType" and torch.device(value).type == "cpu":
        index = -1 if (device := torch.device(value)).index is None else device.index
        return _code("device_type", device.type) << 32 | index & (1 << 32) - 1
    raise CannotEncode(f"{value} as {kind}")


def _code(what: str, value: Any) -> int:
    """The number of a dtype, layout, memory format or type of device. Raises CannotEncode."""
    interface = torch_interface()
    assert interface is not None
    try:
        return int(interface.library[f"aoti_torch_{what}_{str(value).removeprefix('torch.')}"]())
    except AttributeError as error:
        raise CannotEncode(value) from error
