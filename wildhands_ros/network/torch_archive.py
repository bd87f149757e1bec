"""Reads the tensors of a ``torch.save`` file without importing or running anything that the file names.

The file is a zip of one pickle (``data.pkl``) and one uncompressed member per tensor storage. Only names in the table
below are ever called, and they create descriptions of tensors. Any other name becomes an inert placeholder that can be
created and filled, but not called: trainers store options, callbacks and loggers of their own classes in checkpoints.
"""

from __future__ import annotations

import io
import math
import sys
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..io.errors import InputError, reason
from ..io.file_kinds import Group, file_kind
from ..io.safe_pickle import RestrictedUnpickler, UnsafePickleError

_MAX_EXPANDED = 10**8
"""Elements of a tensor that repeats those of a smaller storage. One of a small file could fill the memory."""


class ArchiveError(InputError):
    """The file was not written by ``torch.save``, is damaged, or asks to run something."""


class StorageRef(NamedTuple):
    """A storage in the archive."""

    key: str
    dtype: torch.dtype
    length: int
    """Number of elements."""


class TensorRef(NamedTuple):
    """A tensor in the archive, not read yet."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class TorchArchive:
    """An open file; ``root`` is the object that was saved, with a ``TensorRef`` for every tensor.

    Raises:
        FileNotFoundError: there is no such file.
        ArchiveError: the file is not usable; reading a tensor may raise it, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            _check_format(path, file.read(512))
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ArchiveError(f"{path} is incomplete: the end is missing. Download it again") from error
        except Exception as error:  # the table of contents can hold anything
            raise ArchiveError(f"{path} is damaged: its table of contents cannot be read ({reason(error)})") from error
        try:
            pickles = [name for name in self._zip.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ArchiveError(f"{path} is a zip file, but was not written by PyTorch: it has no data.pkl")
            self._folder = pickles[0].removesuffix("data.pkl")
            if (
                f"{self._folder}byteorder" in self._zip.namelist()
                and self._member(f"{self._folder}byteorder") != sys.byteorder.encode()
            ):
                raise ArchiveError(f"{path} was written on a machine with another byte order")
            self.root = self._unpickle(self._member(pickles[0]))
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> TorchArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def read(self, ref: TensorRef) -> Tensor:
        """Returns the tensor, contiguous and on the CPU. Only its storage is read."""
        storage, offset, shape, stride = ref
        elements = math.prod(shape)
        last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        if min((offset, *shape, *stride)) < 0 or (elements and last >= storage.length):
            raise ArchiveError(f"{self._path} is damaged: a tensor of shape {shape} reaches outside of its storage")
        if elements > max(storage.length, _MAX_EXPANDED):
            raise ArchiveError(
                f"{self._path} is refused: a tensor of shape {shape} repeats the {storage.length} elements of its "
                "storage without end"
            )
        data = self._member(f"{self._folder}data/{storage.key}")
        if len(data) != storage.length * storage.dtype.itemsize:
            raise ArchiveError(
                f"{self._path} is damaged: storage {storage.key} holds {len(data)} bytes, not {storage.length} elements"
            )
        if not elements:
            return torch.empty(shape, dtype=storage.dtype)
        return (
            torch.frombuffer(bytearray(data), dtype=storage.dtype)
            .as_strided(shape, stride, offset)
            .clone(memory_format=torch.contiguous_format)
        )

    def _member(self, name: str) -> bytes:
        try:
            # PyTorch does not compress, so a member larger than the file is meant to fill the memory.
            if self._zip.getinfo(name).file_size > self._path.stat().st_size:
                raise ArchiveError(
                    f"{self._path} is refused: its member {name} is compressed, which PyTorch never does"
                )
            return self._zip.read(name)
        except ArchiveError:
            raise
        except Exception as error:  # the headers of the member can hold anything, which zipfile reports in many ways
            raise ArchiveError(
                f"{self._path} is damaged: {name} in it cannot be read ({reason(error)}). Download it again"
            ) from error

    def _unpickle(self, data: bytes) -> Any:
        try:
            return RestrictedUnpickler(io.BytesIO(data), _Globals(self), persistent_load=self._storage).load()
        except UnsafePickleError as error:
            raise ArchiveError(f"{self._path}: {error}") from error
        except Exception as error:  # a damaged pickle can raise anything
            raise ArchiveError(
                f"{self._path} is damaged: its data.pkl cannot be read ({reason(error)}). Download it again"
            ) from error

    # The unpickler calls the following with arguments of the file's choosing. They are bound methods because a pickle
    # could set attributes of a plain function.

    def _storage(self, pid: Any) -> StorageRef:
        kind, dtype, key, _location, length = pid
        if (
            kind != "storage"
            or not isinstance(dtype, torch.dtype)
            or not isinstance(key, str)
            or not isinstance(length, int)
        ):
            raise ValueError(f"unknown persistent object {pid!r}")
        return StorageRef(key, dtype, length)

    def _tensor(
        self, storage: StorageRef, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_unused: Any
    ) -> TensorRef:
        numbers = (offset, *shape, *stride)
        if (
            not isinstance(storage, StorageRef)
            or len(shape) != len(stride)
            or not all(isinstance(n, int) for n in numbers)
        ):
            raise ValueError("ill-formed tensor")
        return TensorRef(storage, offset, tuple(shape), tuple(stride))

    def _parameter(self, tensor: TensorRef, *_unused: Any) -> TensorRef:
        return tensor

    def _nothing(self, *_unused: Any) -> _Placeholder:
        return _Placeholder.__new__(_Placeholder)


class _Items(dict):
    """Placeholder for dict-like classes of the standard library."""

    def __setstate__(self, state: Any) -> None:
        pass


class _PlaceholderType(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise UnsafePickleError(
            f"refused: the file asks to call {cls.__module__}.{cls.__qualname__}, which no checkpoint needs; it could "
            "run foreign code. Nothing in it was executed. Get the file from its original source."
        )


class _Placeholder(metaclass=_PlaceholderType):
    """Accepts whatever a pickle stores in an object, and ignores it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Placeholder:
        return object.__new__(cls)

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = update = _ignore


class _Globals(dict):
    """The table of callable names, falling back to placeholder classes."""

    def __init__(self, archive: TorchArchive) -> None:
        nothing = archive._nothing
        super().__init__(
            {
                ("torch._utils", "_rebuild_tensor"): archive._tensor,
                ("torch._utils", "_rebuild_tensor_v2"): archive._tensor,
                ("torch._utils", "_rebuild_parameter"): archive._parameter,
                ("torch", "FloatStorage"): torch.float32,
                ("torch", "DoubleStorage"): torch.float64,
                ("torch", "HalfStorage"): torch.float16,
                ("torch", "BFloat16Storage"): torch.bfloat16,
                ("torch", "LongStorage"): torch.int64,
                ("torch", "IntStorage"): torch.int32,
                ("torch", "ShortStorage"): torch.int16,
                ("torch", "CharStorage"): torch.int8,
                ("torch", "ByteStorage"): torch.uint8,
                ("torch", "BoolStorage"): torch.bool,
                ("torch", "Size"): tuple,
                ("collections", "OrderedDict"): _Items,
                ("collections", "Counter"): _Items,
            }
        )
        # Values that trainers store beside the weights; none of them is needed here.
        for module in ("builtins", "__builtin__"):
            for name in ("set", "frozenset", "list", "dict", "tuple", "complex", "slice", "bytearray"):
                self[module, name] = nothing
        for module, name in (
            ("collections", "defaultdict"),
            ("collections", "deque"),
            ("_codecs", "encode"),
            ("datetime", "datetime"),
            ("datetime", "timedelta"),
            ("pathlib", "PosixPath"),
            ("pathlib", "WindowsPath"),
            ("torch", "device"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        ):
            self[module, name] = nothing

    def __missing__(self, key: tuple[str, str]) -> type:
        module, name = key
        self[key] = _PlaceholderType(name, (_Placeholder,), {"__module__": module})
        return self[key]


def _check_format(path: Path, head: bytes) -> None:
    if head.startswith(b"PK\x03\x04"):
        return
    if head.lstrip()[:1] == b"<":
        raise ArchiveError(
            f"{path} is a web page, not a checkpoint: the download was refused or needs confirmation in a browser"
        )
    # torch.save before 1.6 wrote this number as the first of several pickles.
    if b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19" in head:
        raise ArchiveError(
            f"{path} has the format of PyTorch before 1.6, which is not supported: load and save it with a newer one"
        )
    kind = file_kind(head)
    found = f": it is {kind.name}; {kind.advice}" if kind is not None and kind.group is Group.OTHER else ""
    raise ArchiveError(f"{path} is not a PyTorch checkpoint{found}")
