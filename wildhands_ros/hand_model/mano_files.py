"""Reads MANO from the files of mano_v1_2 or from the buffers of a checkpoint. This package ships no MANO data.

The files are Python 2 pickles of NumPy, SciPy and chumpy objects. They are read by ``RestrictedUnpickler`` with inert
stubs in place of these classes, so neither chumpy nor an old NumPy is needed, and nothing in a file is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..config import OPEN
from ..io.errors import InputError, foreign_bytes
from ..io.safe_numpy import NpzFile, PickledArray, Stub, numpy_globals
from ..io.safe_pickle import RestrictedUnpickler, UnsafePickleError
from ..types import Side
from .asset import NUM_JOINTS, POSE_FEATURES, HandAsset, open_hands
from .joints import MANO_PARENTS

NUM_VERTICES, NUM_FACES, NUM_BETAS = 778, 1538, 10

TIP_VERTICES = (744, 320, 443, 554, 671)
"""Thumb, index, middle, ring, pinky. The same in both hands, as in the released WildHands."""

LICENSE = "MANO licence (MPI, non-commercial research, no redistribution)"

HOW_TO_GET = (
    "Register at https://mano.is.tue.mpg.de, accept the licence (non-commercial research), download and unpack "
    "mano_v1_2.zip, and pass the folder mano_v1_2 or mano_v1_2/models, which contains MANO_RIGHT.pkl and MANO_LEFT.pkl."
)

_REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f", "hands_mean")


class ManoFileError(InputError):
    """A MANO file is missing, damaged or has unexpected contents."""


def load_hands(name: str) -> dict[Side, HandAsset]:
    """Returns the hand model of each side.

    Args:
        name: ``open`` for the open hand, or a folder with MANO files.

    Raises:
        ManoFileError, UnsafePickleError: As in ``load_mano``.
    """
    return open_hands() if name == OPEN else {side: load_mano(name, side) for side in Side}


def load_mano(folder: str | Path, side: Side, *, negate_left_shapedirs_x: bool = False) -> HandAsset:
    """Reads a MANO hand from a file.

    Args:
        folder: Folder that contains ``MANO_RIGHT`` and ``MANO_LEFT``, or whose subfolder ``models`` does. A .pkl takes
            precedence over a .npz.
        side: Which hand to read.
        negate_left_shapedirs_x: Corrects the shape directions of the left hand, whose x has the sign of the right
            hand in the original file (smplx issue 48). The released WildHands and ARCTIC use them as stored, hence
            the default.

    Returns:
        The hand model.

    Raises:
        ManoFileError: There is no such file, or it is not a MANO file (a ``ValueError``).
        UnsafePickleError: The file tries to execute code.
    """
    path = _find(Path(folder).expanduser(), side)
    data = _read_npz(path) if path.suffix == ".npz" else _read_pickle(path)
    missing = [key for key in _REQUIRED if key not in data]
    if missing:
        raise ManoFileError(f"{path} is not a MANO hand: it lacks {', '.join(missing)}. {HOW_TO_GET}")
    # Row 0 holds the parents. That of the root is -1, which the files store as an unsigned number.
    parents = (-1, *_array(data["kintree_table"], path, "kintree_table", (2, NUM_JOINTS))[0, 1:].astype(int))
    shapedirs = _array(data["shapedirs"], path, "shapedirs")
    if shapedirs.ndim == 3:
        shapedirs = shapedirs[..., :NUM_BETAS]
    return _asset(
        path,
        side,
        negate_left_shapedirs_x,
        parents=parents,
        v_template=_array(data["v_template"], path, "v_template"),
        faces=_array(data["f"], path, "f"),
        shapedirs=shapedirs,
        posedirs=_array(data["posedirs"], path, "posedirs"),
        J_regressor=_array(data["J_regressor"], path, "J_regressor"),
        weights=_array(data["weights"], path, "weights"),
        hands_mean=_array(data["hands_mean"], path, "hands_mean"),
    )


def mano_from_buffers(buffers: Mapping[str, Any], side: Side, *, negate_left_shapedirs_x: bool = False) -> HandAsset:
    """Reads a MANO hand from the buffers of a checkpoint.

    Args:
        buffers: NumPy arrays or CPU tensors under the buffer names of ``smplx.MANO``, without prefix.
        side: Which hand the buffers describe.
        negate_left_shapedirs_x: As in ``load_mano``.

    Returns:
        The hand model.

    Raises:
        ManoFileError: Buffers are missing or have unexpected shapes.
    """
    required = (
        "v_template",
        "faces_tensor",
        "shapedirs",
        "posedirs",
        "J_regressor",
        "lbs_weights",
        "hand_mean",
        "parents",
    )
    missing = [key for key in required if key not in buffers]
    if missing:
        raise ManoFileError(
            f"the {side.value} MANO block of the checkpoint lacks {', '.join(missing)}; import the published file again"
        )
    source = f"checkpoint, MANO {side.value}"
    arrays = {key: np.asarray(buffers[key]) for key in required}
    posedirs = arrays["posedirs"]
    if posedirs.shape != (POSE_FEATURES, 3 * NUM_VERTICES):
        raise ManoFileError(
            f"{source}: posedirs has shape {posedirs.shape}, expected {(POSE_FEATURES, 3 * NUM_VERTICES)}"
        )
    return _asset(
        source,
        side,
        negate_left_shapedirs_x,
        parents=(-1, *arrays["parents"].ravel()[1:].astype(int)),
        v_template=arrays["v_template"],
        faces=arrays["faces_tensor"],
        shapedirs=arrays["shapedirs"],
        posedirs=posedirs.T.reshape(NUM_VERTICES, 3, POSE_FEATURES),
        J_regressor=arrays["J_regressor"],
        weights=arrays["lbs_weights"],
        hands_mean=arrays["hand_mean"],
    )


def _asset(
    source: str | Path, side: Side, negate_left_shapedirs_x: bool, parents: tuple[int, ...], **arrays: np.ndarray
) -> HandAsset:
    expected = {
        "v_template": (NUM_VERTICES, 3),
        "faces": (NUM_FACES, 3),
        "shapedirs": (NUM_VERTICES, 3, NUM_BETAS),
        "posedirs": (NUM_VERTICES, 3, POSE_FEATURES),
        "J_regressor": (NUM_JOINTS, NUM_VERTICES),
        "weights": (NUM_VERTICES, NUM_JOINTS),
        "hands_mean": (3 * (NUM_JOINTS - 1),),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise ManoFileError(f"{source}: {key} has shape {arrays[key].shape}, expected {shape}. {HOW_TO_GET}")
        if not np.isfinite(arrays[key]).all():
            raise ManoFileError(f"{source}: {key} has values that are not finite; the file is damaged. {HOW_TO_GET}")
    if parents != MANO_PARENTS:
        raise ManoFileError(f"{source}: the kinematic tree is {parents}, expected {MANO_PARENTS}. {HOW_TO_GET}")
    integers = {"faces": arrays.pop("faces").astype(np.int32), "tip_vertices": np.array(TIP_VERTICES, np.int32)}
    floats = {key: np.ascontiguousarray(value, np.float32) for key, value in arrays.items()}
    if side is Side.LEFT and negate_left_shapedirs_x:
        floats["shapedirs"] = floats["shapedirs"] * np.array([-1, 1, 1], np.float32)[:, None]
    with foreign_bytes(source, "a MANO hand", ManoFileError, HOW_TO_GET):
        return HandAsset(side=side, name="mano", license=LICENSE, **integers, **floats)


def _find(folder: Path, side: Side) -> Path:
    if not folder.is_dir():
        raise ManoFileError(f"{folder} is not a folder. {HOW_TO_GET}")
    stem = f"MANO_{side.name}"
    for parent in (folder, folder / "models"):
        for suffix in (".pkl", ".npz"):
            if (parent / (stem + suffix)).is_file():
                return parent / (stem + suffix)
    raise ManoFileError(f"there is no {stem}.pkl or {stem}.npz in {folder} or {folder / 'models'}. {HOW_TO_GET}")


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    advice = f"Save plain arrays or use the pkl. {HOW_TO_GET}"
    with foreign_bytes(path, "an npz of plain arrays", ManoFileError, advice), NpzFile(path) as data:
        return data.read(key for key in _REQUIRED if key in data.names)


def _read_pickle(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        if file.read(20).startswith(b"version https://git-"):
            raise ManoFileError(f"{path} is only a Git LFS pointer, not the file itself. {HOW_TO_GET}")
        file.seek(0)
        with foreign_bytes(path, "a pickle", ManoFileError, HOW_TO_GET):
            data = RestrictedUnpickler(file, numpy_globals(file) | _ALLOWED, encoding="latin1").load()
    if not isinstance(data, dict):
        raise ManoFileError(
            f"{path} is not a MANO hand: it contains a {type(data).__name__}, not a dictionary. {HOW_TO_GET}"
        )
    return data


def _array(value: Any, path: Path, key: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Converts an entry of the file to a numeric array."""
    with foreign_bytes(path, f"a MANO hand: {key} cannot be read", ManoFileError, HOW_TO_GET):
        array = _resolve(value)
    if shape is not None and array.shape != shape:
        raise ManoFileError(f"{path}: {key} has shape {array.shape}, expected {shape}. {HOW_TO_GET}")
    return array


def _resolve(value: Any) -> np.ndarray:
    if isinstance(value, (PickledArray, _Sparse, _Chumpy)):
        value = value.resolve()
    if isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple)) for item in value):
        raise ValueError("it contains lists of lists")  # which may expand to any size in memory
    array = np.asarray(value)
    if array.dtype.kind == "O":
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"it contains {array.dtype}, not numbers")
    return array


class _Sparse(Stub):
    """A compressed matrix of scipy.sparse. The state is the ``__dict__`` of the object."""

    layout = "csc_matrix"

    def resolve(self) -> np.ndarray:
        shape = tuple(int(size) for size in self.state["_shape"])
        if shape != (NUM_JOINTS, NUM_VERTICES):
            raise ValueError(f"the sparse matrix has shape {shape}, expected {(NUM_JOINTS, NUM_VERTICES)}")
        import scipy.sparse  # only needed for MANO's own files, and slow to import

        parts = tuple(_resolve(self.state[key]) for key in ("data", "indices", "indptr"))
        matrix = getattr(scipy.sparse, self.layout)(parts, shape=shape)
        matrix.check_format(full_check=True)  # toarray() does not check the indices that it writes to
        return matrix.toarray()


class _SparseRows(_Sparse):
    layout = "csr_matrix"


class _Chumpy(Stub):
    """A chumpy array (``x``), or a selection from one (``a`` at the flat indices ``idxs``, in ``preferred_shape``)."""

    _resolved: np.ndarray | None = None

    def resolve(self) -> np.ndarray:
        # Once: each of a chain of selections may refer to the next one several times.
        if self._resolved is None:
            self._resolved = self._selected()
        return self._resolved

    def _selected(self) -> np.ndarray:
        if "x" in self.state:
            return _resolve(self.state["x"])
        chosen = _resolve(self.state["a"]).ravel()[_resolve(self.state["idxs"]).astype(np.int64)]
        shape = self.state.get("preferred_shape")
        return chosen if shape is None else chosen.reshape([int(size) for size in _resolve(shape)])


def _reconstruct_object(cls: Any, *_args: Any) -> Stub:
    if not (isinstance(cls, type) and issubclass(cls, Stub)):
        raise UnsafePickleError("refused: the pickle creates an object of a type that does not occur in MANO files.")
    return cls()


_ALLOWED = {
    **{(f"scipy.sparse.{module}", "csc_matrix"): _Sparse for module in ("csc", "_csc")},
    **{(f"scipy.sparse.{module}", "csr_matrix"): _SparseRows for module in ("csr", "_csr")},
    ("chumpy.ch", "Ch"): _Chumpy,
    # The arrays of MANO are selections. The other types occur only in entries that are not read; they are allowed as
    # stubs.
    **{("chumpy.reordering", name): _Chumpy for name in ("Select", "Reshape", "transpose", "Concatenate")},
    **{(module, "_reconstructor"): _reconstruct_object for module in ("copy_reg", "copyreg")},
    **{(module, "object"): object for module in ("__builtin__", "builtins")},
    **{(module, "set"): set for module in ("__builtin__", "builtins")},
}
"""All globals that a MANO pickle refers to, besides NumPy's."""
