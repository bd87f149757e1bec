"""The overlay covers exactly the pixels of the meshes, nearer hands hide others, and labels stay readable."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.types import EstimateSource, FrameEstimate, HandEstimate, ManoParameters, Side
from wildhands_ros.visualization import overlay

CAMERA = Camera.pinhole(700, 700, 640, 360, 1280, 720)
FACES = {side: open_hand(side).faces for side in Side}


def posed(side, transl, camera=CAMERA):
    """Returns a hand in the camera frame: fingers up, palm away from the camera."""
    layer = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT))
    x = np.array([0, 1.0, 0]) * (1 if side is Side.RIGHT else -1)
    rotation = np.stack([x, [0, 0, -1.0], np.cross(x, [0, 0, -1.0])], axis=-1)
    orient = cv2.Rodrigues(rotation)[0].ravel()
    mano = ManoParameters(np.array(transl), orient, np.zeros(45), np.zeros(layer.num_betas))
    tensors = (
        torch.tensor(v, dtype=torch.float32)[None]
        for v in (mano.global_orient, mano.hand_pose, mano.betas, mano.transl)
    )
    output = layer(*tensors, is_right=torch.tensor([side is Side.RIGHT]))
    joints = output.joints[0].numpy()[list(MANO_TO_MEDIAPIPE)].astype(float)
    pixels = camera.project(joints)
    box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    return HandEstimate(
        side,
        0.9,
        0.9,
        box,
        joints,
        pixels,
        joints[0],
        rotation,
        mano,
        lambda *_: output.vertices[0].numpy(),
        EstimateSource.KEYPOINT_FIT,
    )


def mesh_only(monkeypatch):
    monkeypatch.setattr(overlay, "_draw_skeleton", lambda *_: None)
    monkeypatch.setattr(overlay, "_draw_label", lambda *_: (0, 0, 0, 0))


def changed(drawn, image):
    return (drawn != image).any(axis=-1)


def silhouette(hand, camera):
    """Fills every projected triangle, whichever way it faces."""
    mask = np.zeros((camera.height, camera.width), np.uint8)
    for triangle in np.round(camera.project(hand.vertices)[FACES[hand.side]] * 16).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1, cv2.LINE_8, 4)
    return mask.astype(bool)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    "camera",
    [
        CAMERA,
        Camera(CAMERA.k, 1280, 720, "plumb_bob", np.array([-0.25, 0.08, 0.001, -0.001, 0])),
        Camera(
            np.array([[400, 0, 640], [0, 400, 360], [0, 0, 1]]),
            1280,
            720,
            "equidistant",
            np.array([0.02, -0.01, 0.0, 0.0]),
        ),
    ],
    ids=["pinhole", "plumb_bob", "equidistant"],
)
def test_mesh_covers_the_projected_silhouette(side, camera, monkeypatch):
    mesh_only(monkeypatch)
    hand = posed(side, (0.18, 0.12, 0.5), camera)
    image = np.full((720, 1280, 3), 100, np.uint8)
    covered = changed(overlay.draw_frame(image, FrameEstimate((hand,), camera), FACES), image)
    expected = silhouette(hand, camera)
    assert expected.sum() > 5000
    # Back faces are not drawn: at the outline a pixel row may differ.
    assert (covered & ~expected).sum() == 0
    assert (expected & ~covered).sum() < 0.02 * expected.sum()


def test_an_image_without_hands_is_copied_unchanged():
    image = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    drawn = overlay.draw_frame(image, FrameEstimate((), CAMERA), FACES)
    assert (drawn == image).all() and drawn is not image


@pytest.mark.parametrize(
    "transl", [(0, 0, -0.5), (3.0, 0, 0.5), (0, 0, 0.02)], ids=["behind", "outside", "around the camera"]
)
def test_hands_outside_the_view_do_not_raise(transl, monkeypatch):
    mesh_only(monkeypatch)
    image = np.full((720, 1280, 3), 100, np.uint8)
    drawn = overlay.draw_frame(image, FrameEstimate((posed(Side.RIGHT, transl),), CAMERA), FACES)
    if transl != (0, 0, 0.02):
        assert (drawn == image).all()
    overlay_with_marks = overlay.draw_frame(image, FrameEstimate((posed(Side.RIGHT, transl),), CAMERA), FACES)
    assert overlay_with_marks.shape == image.shape


@pytest.mark.parametrize("near_side", Side)
def test_the_nearer_hand_hides_the_other(near_side, monkeypatch):
    mesh_only(monkeypatch)
    near, far = posed(near_side, (0, 0.1, 0.45)), posed(near_side.other, (0, 0.1, 0.7))
    image = np.full((720, 1280, 3), 100, np.uint8)
    both = overlay.draw_frame(image, FrameEstimate((near, far), CAMERA), FACES)
    swapped = overlay.draw_frame(image, FrameEstimate((far, near), CAMERA), FACES)
    alone = overlay.draw_frame(image, FrameEstimate((near,), CAMERA), FACES)
    assert (both == swapped).all()
    # The far hand is not visible within the outline of the near one.
    inner = cv2.erode(changed(alone, image).astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert inner.sum() > 5000
    assert (both[inner] == alone[inner]).all(axis=-1).mean() > 0.999


def test_each_side_has_its_colour(monkeypatch):
    mesh_only(monkeypatch)
    image = np.full((720, 1280, 3), 100, np.uint8)
    for side, stronger, weaker in ((Side.RIGHT, 0, 2), (Side.LEFT, 2, 0)):
        drawn = overlay.draw_frame(image, FrameEstimate((posed(side, (0, 0.1, 0.5)),), CAMERA), FACES)
        colour = drawn[changed(drawn, image)].mean(axis=0)
        assert colour[stronger] > colour[weaker] + 40


def test_shading_is_smooth(monkeypatch):
    """Neighbouring pixels of the back of the hand differ by less than facets would."""
    mesh_only(monkeypatch)
    image = np.zeros((720, 1280, 3), np.uint8)
    hand = posed(Side.RIGHT, (0, 0.05, 0.25))
    drawn = overlay.draw_frame(image, FrameEstimate((hand,), CAMERA), FACES).astype(int)
    x, y = CAMERA.project(hand.joints[[0, 9]].mean(axis=0)).astype(int)
    patch = drawn[y - 25 : y + 25, x - 25 : x + 25].sum(axis=-1)
    assert patch.min() > 50
    assert np.abs(np.diff(patch, axis=1)).max() <= 12


@pytest.mark.parametrize(
    ("place", "others", "shift"),
    [
        ((10, 100, 200, 120), [], 0),
        ((10, 100, 200, 120), [(300, 90, 400, 110)], 0),
        ((10, 100, 200, 120), [(150, 110, 300, 130)], -11),
        ((10, 100, 200, 120), [(150, 90, 300, 110)], 11),
        ((10, 0, 200, 20), [(150, 10, 300, 30)], 31),
        ((10, 100, 200, 120), [(150, 110, 300, 130), (0, 80, 100, 105)], 31),
        ((10, 0, 200, 20), [(0, 0, 300, 479)], 0),
    ],
    ids=["alone", "beside", "up", "down", "top of the image", "between two", "no room"],
)
def test_labels_do_not_overlap(place, others, shift):
    assert overlay._shift_off(place, others, 480) == shift


def test_nan_score_and_joints_do_not_prevent_drawing():
    hand = posed(Side.LEFT, (0, 0.1, 0.5))
    hand.joints_2d[3] = np.nan
    object.__setattr__(hand, "score", float("nan"))
    image = np.zeros((720, 1280, 3), np.uint8)
    assert overlay.draw_frame(image, FrameEstimate((hand,), CAMERA), FACES).any()


def test_labels_name_the_grasp_if_it_is_known():
    hand = posed(Side.RIGHT, (0.0, 0.0, 0.5))
    assert overlay.label_text(hand).endswith("90 %") and "0.50 m" in overlay.label_text(hand)
    probabilities = np.array([0, 0, 0.7, 0.3, 0, 0, 0, 0, 0])
    assert overlay.label_text(replace(hand, grasp_probabilities=probabilities)).endswith("power prismatic 70 %")
    assert overlay.label_text(replace(hand, grasp_probabilities=probabilities * 0.7)).endswith("grasp unknown")


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.5])
def test_skeletons_do_not_hide_small_hands(distance, monkeypatch):
    """Most of the hand stays visible at any distance."""
    monkeypatch.setattr(overlay, "_draw_label", lambda *_: (0, 0, 0, 0))
    monkeypatch.setattr(overlay, "_draw_meshes", lambda *_: None)
    hand = posed(Side.RIGHT, (0.0, 0.0, distance))
    image = np.full((720, 1280, 3), 100, np.uint8)
    skeleton = changed(overlay.draw_frame(image, FrameEstimate((hand,), CAMERA), FACES), image)
    assert 0 < skeleton.sum() < 0.6 * silhouette(hand, CAMERA).sum()
