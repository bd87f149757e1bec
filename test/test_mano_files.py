"""MANO files and buffers are read; anything else raises an error that says what to do."""

import os
import pickle
import sys

import numpy as np
import pytest
from scipy.sparse import csc_matrix
from synthetic_mano import numbers, write_pickle

from wildhands_ros.hand_model.mano_files import ManoFileError, load_mano, mano_from_buffers
from wildhands_ros.io.safe_numpy import read_pickle
from wildhands_ros.io.safe_pickle import UnsafePickleError
from wildhands_ros.types import Side

DATA = numbers(1)


@pytest.fixture
def folder(tmp_path):
    write_pickle(tmp_path / "MANO_RIGHT.pkl", DATA)
    write_pickle(tmp_path / "MANO_LEFT.pkl", numbers(2))
    return tmp_path


def check(asset, data, rtol=1e-6):
    np.testing.assert_allclose(asset.v_template, data["v_template"], rtol)
    np.testing.assert_allclose(asset.shapedirs, data["shapedirs"], rtol)
    np.testing.assert_allclose(asset.posedirs, data["posedirs"], rtol)
    np.testing.assert_allclose(asset.J_regressor, data["J_regressor"], rtol)
    np.testing.assert_allclose(asset.weights, data["weights"], rtol)
    np.testing.assert_allclose(asset.hands_mean, data["hands_mean"], rtol)
    np.testing.assert_array_equal(asset.faces, data["f"])
    assert list(asset.tip_vertices) == [744, 320, 443, 554, 671]


def test_chumpy_pickle_of_python_2_is_read_without_chumpy(folder):
    content = (folder / "MANO_RIGHT.pkl").read_bytes()
    for name in (b"chumpy.ch\nCh", b"chumpy.reordering\nSelect", b"scipy.sparse.csc\ncsc_matrix", b"__builtin__\nset"):
        assert name in content
    assert "chumpy" not in sys.modules
    check(load_mano(folder, Side.RIGHT), DATA)
    check(load_mano(folder, Side.LEFT), numbers(2))
    assert "chumpy" not in sys.modules


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("parent", [np.uint32(4294967295), -1])
def test_other_protocols_and_object_arrays(tmp_path, protocol, parent):
    table = DATA["kintree_table"].astype(object)
    table[0, 0] = parent
    content = pickle.dumps({**DATA, "kintree_table": table, "f": DATA["f"].astype(">u4")}, protocol)
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(content)
    check(load_mano(tmp_path, Side.RIGHT), DATA)


def test_npz_and_models_folder(tmp_path):
    (tmp_path / "models").mkdir()
    np.savez(tmp_path / "models/MANO_RIGHT.npz", **DATA)
    check(load_mano(tmp_path, Side.RIGHT), DATA)
    check(load_mano(str(tmp_path / "models"), Side.RIGHT), DATA)


def test_left_shapedirs_as_stored_or_with_x_negated(folder):
    stored = load_mano(folder, Side.LEFT).shapedirs
    negated = load_mano(folder, Side.LEFT, negate_left_shapedirs_x=True).shapedirs
    np.testing.assert_array_equal(negated[:, 0], -stored[:, 0])
    np.testing.assert_array_equal(negated[:, 1:], stored[:, 1:])
    right = load_mano(folder, Side.RIGHT, negate_left_shapedirs_x=True).shapedirs
    np.testing.assert_array_equal(right, load_mano(folder, Side.RIGHT).shapedirs)


def test_buffers_of_a_checkpoint(folder):
    buffers = {
        "v_template": DATA["v_template"],
        "faces_tensor": DATA["f"].astype(np.int64),
        "shapedirs": DATA["shapedirs"],
        "posedirs": DATA["posedirs"].reshape(-1, 135).T,
        "J_regressor": DATA["J_regressor"],
        "lbs_weights": DATA["weights"],
        "hand_mean": DATA["hands_mean"],
        "parents": np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]),
        "betas": np.zeros((1, 10)),
    }
    asset = mano_from_buffers(buffers, Side.LEFT)
    check(asset, DATA)
    assert asset.side is Side.LEFT
    with pytest.raises(ManoFileError, match="posedirs has shape"):
        mano_from_buffers({**buffers, "posedirs": DATA["posedirs"]}, Side.LEFT)
    with pytest.raises(ManoFileError, match="lacks lbs_weights"):
        mano_from_buffers({key: value for key, value in buffers.items() if key != "lbs_weights"}, Side.LEFT)


def test_errors_for_missing_files_say_where_to_get_them(tmp_path, folder):
    with pytest.raises(ManoFileError, match=r"not a folder.*mano\.is\.tue\.mpg\.de"):
        load_mano(tmp_path / "nowhere", Side.RIGHT)
    (folder / "MANO_LEFT.pkl").unlink()
    with pytest.raises(ManoFileError, match=r"no MANO_LEFT.pkl.*mano_v1_2\.zip"):
        load_mano(folder, Side.LEFT)


def test_malicious_pickle_is_rejected(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({**DATA, "J": Malicious()}, 2))
    with pytest.raises(UnsafePickleError, match=r"MANO_RIGHT.pkl.*mkdir"):
        load_mano(tmp_path, Side.RIGHT)
    assert not (tmp_path / "made").exists()


def test_sparse_matrix_with_indices_out_of_range_is_rejected(tmp_path):
    regressor = csc_matrix(DATA["J_regressor"])
    regressor.indices[5] = 1_000_000
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({**DATA, "J_regressor": regressor}, 2))
    with pytest.raises(ManoFileError, match="J_regressor cannot be read"):
        load_mano(tmp_path, Side.RIGHT)


def test_nested_lists_are_rejected(tmp_path):
    bomb = [0.0] * 10
    for _ in range(30):
        bomb = [bomb, bomb]
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({**DATA, "f": bomb}, 2))
    with pytest.raises(ManoFileError, match="f cannot be read.*lists of lists"):
        load_mano(tmp_path, Side.RIGHT)
    assert read_pickle(tmp_path / "MANO_RIGHT.pkl")["f"][0][1][0] is not None


@pytest.mark.parametrize("length", [0, 1, 50, 5000, -1])
def test_truncated_pickle_is_rejected(folder, length):
    path = folder / "MANO_RIGHT.pkl"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ManoFileError, match="damaged"):
        load_mano(folder, Side.RIGHT)


@pytest.mark.parametrize("length", [0, 100, -100])
def test_truncated_npz_is_rejected(tmp_path, length):
    path = tmp_path / "MANO_RIGHT.npz"
    np.savez(path, **DATA)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ManoFileError, match="damaged"):
        load_mano(tmp_path, Side.RIGHT)


def test_objects_in_npz_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "MANO_RIGHT.npz", **{**DATA, "J_regressor": np.array({"a": 1}, object)})
    with pytest.raises(ManoFileError, match="plain arrays"):
        load_mano(tmp_path, Side.RIGHT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v_template": DATA["v_template"][:700]}, r"v_template has shape \(700, 3\).*\(778, 3\)"),
        ({"weights": None}, r"weights has shape \(\)"),
        ({"hands_mean": "text"}, "hands_mean cannot be read"),
        ({"kintree_table": np.zeros((2, 24))}, "kintree_table has shape"),
        ({"kintree_table": np.zeros((2, 16))}, "kinematic tree"),
        ({"v_template": DATA["v_template"] * np.nan}, "not finite"),
    ],
)
def test_unexpected_contents_are_rejected(tmp_path, change, message):
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({**DATA, **change}, 2))
    with pytest.raises(ManoFileError, match=message):
        load_mano(tmp_path, Side.RIGHT)


def test_other_files_of_that_name_are_rejected(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    for content, message in (
        (pickle.dumps([1, 2]), "contains a list"),
        (pickle.dumps({"weights": 1}, 2), "lacks v_template"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "damaged or not a pickle"),
    ):
        path.write_bytes(content)
        with pytest.raises(ManoFileError, match=message):
            load_mano(tmp_path, Side.RIGHT)
