"""Files in the formats and sizes of MANO with random numbers, for tests: MANO itself may not be shipped."""

import pickle
import sys
import types

import numpy as np
import scipy.sparse

from wildhands_ros.hand_model.joints import MANO_PARENTS


def numbers(seed: int) -> dict[str, np.ndarray]:
    """Returns random data with the keys and shapes of MANO, in plausible magnitudes (metres)."""
    random = np.random.default_rng(seed)
    vertices = random.normal(size=(778, 3)) * [0.05, 0.02, 0.04]
    regressor = random.random((16, 778)) * (random.random((16, 778)) < 0.02)
    regressor[:, 0] += 0.01
    weights = random.random((778, 16)) ** 8
    parents = np.array(MANO_PARENTS)
    return {
        "v_template": vertices,
        "shapedirs": random.normal(size=(778, 3, 10)) * 0.004,
        "posedirs": random.normal(size=(778, 3, 135)) * 0.0005,
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.stack([parents.astype(np.uint32), np.arange(16, dtype=np.uint32)]),
        "f": random.integers(0, 778, (1538, 3)).astype(np.uint32),
        "hands_mean": random.normal(size=45) * 0.2,
        "hands_components": np.eye(45),
    }


def write_pickle(path, data: dict[str, np.ndarray]) -> None:
    """Writes a pickle like that of MANO from Python 2: protocol 2, chumpy objects, old module paths, byte strings."""
    chumpy = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}

    def fake_class(module: str, name: str) -> type:
        cls = type(name, (), {"__module__": module})
        setattr(chumpy[module], name, cls)
        return cls

    ch, select = fake_class("chumpy.ch", "Ch"), fake_class("chumpy.reordering", "Select")

    def array(value: np.ndarray):
        wrapped = ch()
        wrapped.__dict__.update(x=value, _dirty_vars=set(), _itr=None, _depends_on_deps={}, _status="new")
        return wrapped

    def selection(value: np.ndarray):
        """Stores the value as a selection from a larger array, like the ten shape directions of MANO."""
        larger = np.concatenate([value, np.full((*value.shape[:2], 5), 7.0)], axis=2)
        index = np.arange(larger.size).reshape(larger.shape)[..., : value.shape[2]].ravel()
        wrapped = select()
        wrapped.__dict__.update(
            a=array(larger), idxs=index, preferred_shape=value.shape, _dirty_vars={"a"}, _itr=None, _status="new"
        )
        return wrapped

    stored = {
        **data,
        "shapedirs": selection(data["shapedirs"]),
        "posedirs": array(np.asfortranarray(data["posedirs"])),
        "J_regressor": scipy.sparse.csc_matrix(data["J_regressor"]),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    sys.modules.update(chumpy)
    try:
        # Python 2 uses protocol 2; fix_imports writes the module names of Python 2.
        content = pickle.dumps(stored, protocol=2, fix_imports=True)
    finally:
        for name in chumpy:
            del sys.modules[name]
    path.write_bytes(
        content.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n").replace(b"cnumpy._core.", b"cnumpy.core.")
    )


def write_plain_pickle(path, data: dict[str, np.ndarray]) -> None:
    """Writes a pickle that smplx reads without chumpy."""
    path.write_bytes(pickle.dumps({**data, "J_regressor": scipy.sparse.csc_matrix(data["J_regressor"])}, protocol=2))
