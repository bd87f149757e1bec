"""Scenes that several synchronised cameras see, and the evaluation of the fusion on them."""

from dataclasses import replace

import numpy as np
from several_cameras import estimate_of_label

from wildhands_ros.evaluation.multiview import describe_multiview, evaluate_multiview
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.hand_model.posing import HandPoser
from wildhands_ros.synthetic.config import VIEWS
from wildhands_ros.synthetic.views import ANGLES, make_views
from wildhands_ros.synthetic.world import World
from wildhands_ros.types import FrameEstimate


def test_labels_of_all_views_are_those_of_one_scene():
    world = World(replace(VIEWS, split="val"))
    views = make_views(world.config, world.scene(2), 3)
    assert len(views) == 3
    poser = HandPoser(open_hands())
    first = views[0].scene.hands
    centre = np.concatenate([hand.joints for hand in first]).mean(0)
    directions = [(view.pose.position - centre) / np.linalg.norm(view.pose.position - centre) for view in views]
    for direction in directions[1:]:
        assert ANGLES[0] - 1 < np.degrees(np.arccos(direction @ directions[0])) < ANGLES[1] + 1
    for view in views:
        image = world.window(view.scene)
        for hand, reference in zip(image.hands, first, strict=True):
            np.testing.assert_allclose(view.pose.apply(hand.joints), reference.joints, atol=1e-6)
            np.testing.assert_allclose(image.camera.project(hand.joints), hand.keypoints, atol=0.01)
            np.testing.assert_allclose(poser.joints(hand.mano, hand.side).joints, hand.joints, atol=1e-4)
            # The mask is where the joints are.
            rows, columns = np.nonzero(hand.load_mask())
            seen = hand.keypoints[hand.visible]
            assert len(seen) and np.abs(np.median(columns) - np.median(seen[:, 0])) < np.ptp(hand.box[::2])


def test_the_evaluation_measures_the_fusion():
    world = World(replace(VIEWS, split="val"))
    labels = {}
    for index in (1, 2):
        for view in make_views(world.config, world.scene(index), 2):
            labels[view.scene.camera.k.tobytes()] = view.scene.hands

    class Perfect:
        """Sees each hand where it is, but 10 % too far away."""

        hand_model = open_hands()

        def __call__(self, image, camera):
            hands = labels[camera.k.tobytes()]
            return FrameEstimate(tuple(estimate_of_label(hand, camera) for hand in hands), camera)

    figures = evaluate_multiview(Perfect(), (1, 2), split="val")
    assert figures["views"] == 2
    assert figures["hands"] > 0
    assert figures["wrist_mm"]["median"] < 8
    assert figures["joints_mm"]["median"] < figures["colour_only"]["joints_mm"]["median"]
    assert figures["correct_sides_percent"] == 100
    assert {"coverage_68", "coverage_95"} <= set(figures)
    assert "2 cameras" in describe_multiview(figures)
