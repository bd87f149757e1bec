"""MANO's parameters for hands of the open model, with a synthetic model in MANO's format."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")
pytest.importorskip("torch")

from bag_samples import altered
from synthetic_mano import numbers, write_pickle

from wildhands_ros.cli.main import main
from wildhands_ros.hand_model.asset import HandAsset, joints_linear, open_hands
from wildhands_ros.hand_model.mano_files import NUM_FACES, NUM_VERTICES, TIP_VERTICES, load_hands
from wildhands_ros.hand_model.posing import HandPoser
from wildhands_ros.recording.bags import Bag
from wildhands_ros.types import ManoParameters, Side

SCALE = 1.05


def larger_hand(asset: HandAsset) -> dict[str, np.ndarray]:
    """Returns the content of a MANO file: 778 vertices of the open hand, which is 5 % larger."""
    rest = [number for number in range(len(asset.v_template)) if number not in set(asset.tip_vertices.tolist())]
    spread = np.linspace(0, len(rest) - 1, NUM_VERTICES).round().astype(int)
    chosen = np.array(rest)[spread]
    chosen[list(TIP_VERTICES)] = asset.tip_vertices
    template, dirs = joints_linear(asset)
    vertices, shapedirs = (
        SCALE * asset.v_template[chosen].astype(np.float64),
        asset.shapedirs[chosen].astype(np.float64),
    )
    # Weights that give the joints of the rest pose and their change with the shape.
    points = np.column_stack([vertices, shapedirs.reshape(NUM_VERTICES, -1)])
    joints = np.column_stack([SCALE * template[:16], dirs[:16].reshape(16, -1)])
    return {
        **numbers(1),
        "v_template": vertices,
        "shapedirs": shapedirs,
        "posedirs": asset.posedirs[chosen].astype(np.float64),
        "J_regressor": joints @ np.linalg.pinv(points),
        "weights": asset.weights[chosen].astype(np.float64),
        "f": np.arange(3 * NUM_FACES).reshape(-1, 3) % NUM_VERTICES,
    }


@pytest.fixture
def mano_folder(tmp_path):
    for side, asset in open_hands().items():
        write_pickle(tmp_path / f"MANO_{side.name}.pkl", larger_hand(asset))
    return tmp_path


def test_mano_lies_on_the_surface_of_the_recorded_hands(mano_folder, annotated_bag, capfd):
    output = mano_folder / "hands.npz"
    assert main(["export", "mano", str(annotated_bag), "--mano", str(mano_folder), "--output", str(output)]) == 0
    assert "mm from the open hand's surface" in capfd.readouterr().out
    data = np.load(output)
    assert data["vertex_error"].mean() < 1e-4 and data["vertex_error"].max() < 3e-4
    with Bag(annotated_bag) as bag:
        arrays = [bag.read(topic, data) for topic, _, data in bag.messages() if topic.topic == "/hands"]
    messages = [hand for message in arrays for hand in message.hands]
    assert len(messages) == len(data["stamp"]) > 0
    poser = HandPoser(load_hands(str(mano_folder)))
    for row, message in enumerate(messages):
        assert data["track"][row] == message.id and bool(data["usable"][row]) is bool(message.usable)
        mano = ManoParameters(*(data[name][row] for name in ("transl", "global_orient", "hand_pose", "betas")))
        joints = poser.joints(mano, Side(str(data["side"][row]))).joints
        assert np.linalg.norm(joints - np.reshape(message.joints, (21, 3)), axis=1).mean() < 1e-3
    for track in set(data["track"]):
        assert np.ptp(data["betas"][data["track"] == track], axis=0).max() == 0, "a track has one shape"


def test_a_bag_without_hands_is_refused(mano_folder, annotated_bag, capfd):
    arguments = ["--mano", str(mano_folder), "--hands", "/none", "--output", str(mano_folder / "hands.npz")]
    assert main(["export", "mano", str(annotated_bag), *arguments]) != 0
    assert "no hands on /none" in capfd.readouterr().err
    assert not (mano_folder / "hands.npz").exists()


def test_hands_of_unknown_side_are_left_out(mano_folder, annotated_bag, capfd):
    def change(topic, message):
        for hand in message.hands if topic == "/hands" else ():
            hand.side = 7

    bag, output = altered(annotated_bag, mano_folder / "bag.mcap", change), mano_folder / "hands.npz"
    assert main(["export", "mano", str(bag), "--mano", str(mano_folder), "--output", str(output)]) != 0
    assert "no hands on /hands" in capfd.readouterr().err
