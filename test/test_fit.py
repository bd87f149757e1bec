"""The keypoint fit: derivatives, hands with known parameters, symmetries, uncertainty, and real hands."""

import dataclasses
import importlib
import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from one_fit import assert_same_solutions, fit_hand
from scipy.spatial.transform import Rotation

from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.evaluation.metrics import mpjpe, pa_mpjpe
from wildhands_ros.fitting import residuals
from wildhands_ros.fitting.anatomy import LIMITS
from wildhands_ros.fitting.detection_fit import FitRequest, fit_detections, reprojection_error
from wildhands_ros.fitting.hand_length import ADULTS
from wildhands_ros.fitting.initialisation import mean_pose
from wildhands_ros.fitting.keypoint_fit import FitResult, KeypointFit, keypoint_sigma
from wildhands_ros.fitting.kinematics import HandKinematics, HandPose
from wildhands_ros.fitting.levenberg_marquardt import Job
from wildhands_ros.fitting.residuals import Anchor, Evidence, evaluate
from wildhands_ros.fitting.solver import CompiledSolver, NumPySolver
from wildhands_ros.fitting.summary import CompiledSummariser, NumPySummariser
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.so3 import matrices_from_vectors
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE, MEDIAPIPE_BONES
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.types import Detection, ManoParameters, Side

RHD = Path(__file__).parents[2] / "shared/real_hands/rhd"
MIRROR = np.array([-1.0, 1, 1])


@pytest.fixture(scope="module")
def kinematics() -> HandKinematics:
    return HandKinematics(open_hand(Side.RIGHT))


@pytest.fixture(scope="module")
def fit() -> KeypointFit:
    return KeypointFit(open_hand(Side.RIGHT))


def random_pose(rng: np.random.Generator, kinematics: HandKinematics, spread: float = 0.6) -> HandPose:
    """Draws a right hand from the fit's priors, 0.35 to 0.8 m in front of the camera."""
    angles = np.clip(LIMITS.mean + spread * LIMITS.stddev * rng.normal(size=(15, 3)), LIMITS.low, LIMITS.high)
    position = np.array([rng.uniform(-0.25, 0.25), rng.uniform(-0.2, 0.2), rng.uniform(0.35, 0.8)])
    mean, _ = kinematics.length(np.zeros(kinematics.num_betas))
    while True:
        betas = rng.normal(size=kinematics.num_betas)
        deviation = (kinematics.length(betas)[0] / mean - 1) / 0.07
        if rng.random() < np.exp(-(deviation**2) / 2):
            return HandPose(Rotation.random(random_state=rng.integers(1 << 30)).as_matrix(), position, angles, betas)


def fit_one(fits, detection: Detection, camera: Camera) -> FitResult:
    (result,) = fit_detections(fits, [FitRequest(detection)], camera)
    assert result is not None
    return result


def rays_to(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def noisy_rays(joints: np.ndarray, rng: np.random.Generator, part_of_box: float) -> np.ndarray:
    """Returns rays to joints with errors perpendicular to each ray; ``part_of_box`` relates them to the hand's box."""
    rays = rays_to(joints)
    sigma = keypoint_sigma(rays) / 0.03 * part_of_box
    return rays_to(rays + rng.normal(size=rays.shape) * sigma)


def turn_to(ray: np.ndarray) -> Rotation:
    """Returns the smallest rotation from the optical axis to a ray."""
    axis = np.cross((0.0, 0, 1), ray)
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.arccos(ray[2]))


def world_landmarks(joints: np.ndarray) -> np.ndarray:
    """Returns ideal MediaPipe world landmarks: axes right, down, and forward along the ray to the hand."""
    return turn_to(rays_to(rays_to(joints).mean(0))).inv().apply(joints - joints.mean(0))


def numeric_jacobian(function, pose: HandPose, unknowns: int) -> np.ndarray:
    columns = []
    for i in range(unknowns):
        step = np.zeros(unknowns)
        step[i] = 1e-6
        columns.append((function(pose.moved(step)) - function(pose.moved(-step))) / 2e-6)
    return np.stack(columns, axis=-1)


class TestDerivatives:
    @pytest.fixture
    def case(self, kinematics):
        rng = np.random.default_rng(3)
        pose = random_pose(rng, kinematics, spread=1.5)
        joints = kinematics.joints(random_pose(rng, kinematics))
        rays = rays_to(joints + (0.02, 0, 0))
        evidence = Evidence(
            rays=rays,
            weights=rng.uniform(0, 1, 21),
            mean_ray=rays_to(rays.mean(0)),
            sigma=0.01,
            directions=rays_to(rng.normal(size=(20, 3))),
            length=0.19,
            length_stddev=0.01,
        )
        return pose, evidence

    def test_joints(self, kinematics, case):
        pose, _ = case
        numeric = numeric_jacobian(lambda p: kinematics.joints(p), pose, kinematics.num_unknowns)
        np.testing.assert_allclose(kinematics.joints_with_jacobian(pose)[1], numeric, atol=1e-8)

    def test_reprojection(self, kinematics, case):
        pose, evidence = case
        numeric = numeric_jacobian(
            lambda p: residuals.reprojection(kinematics.joints(p), evidence)[0], pose, kinematics.num_unknowns
        )
        joints, jacobian = kinematics.joints_with_jacobian(pose)
        np.testing.assert_allclose(residuals.reprojection(joints, evidence)[1] @ jacobian, numeric, atol=1e-4)

    def test_bone_directions_include_the_bones_lengths(self, kinematics, case):
        pose, evidence = case
        numeric = numeric_jacobian(
            lambda p: residuals.bone_directions(kinematics.joints(p), evidence.directions)[0],
            pose,
            kinematics.num_unknowns,
        )
        joints, jacobian = kinematics.joints_with_jacobian(pose)
        parents, children = np.array(MEDIAPIPE_BONES).T
        derivative = residuals.bone_directions(joints, evidence.directions)[1] @ (
            jacobian[children] - jacobian[parents]
        )
        np.testing.assert_allclose(derivative, numeric, atol=1e-6)

    def test_gradient_of_the_whole_cost(self, kinematics, case):
        pose, evidence = case
        numeric = numeric_jacobian(
            lambda p: np.array(residuals.evaluate(kinematics, p, evidence).normal.cost), pose, kinematics.num_unknowns
        )
        gradient = residuals.evaluate(kinematics, pose, evidence).normal.gradient
        np.testing.assert_allclose(2 * gradient, numeric, rtol=1e-4, atol=1e-3 * np.abs(numeric).max())

    def test_shape_and_length_have_one_prior_each(self, kinematics):
        _, longer = kinematics.length(np.zeros(kinematics.num_betas))
        betas = 2.5 * longer / np.linalg.norm(longer)
        pose = dataclasses.replace(mean_pose(kinematics), betas=betas)
        length, gradient = kinematics.length(betas)
        normal = residuals.NormalEquations.zero(kinematics.num_unknowns)
        residuals.add_hand_priors(kinematics, normal, pose, length, 0.012)
        # A hand of the expected length is not pulled towards the model's mean hand.
        np.testing.assert_allclose(normal.gradient, 0, atol=0.01)
        covariance = np.linalg.inv(normal.matrix[-len(betas) :, -len(betas) :])
        assert np.sqrt(gradient @ covariance @ gradient) == pytest.approx(0.012)

    def test_anchor(self, kinematics, case):
        pose, evidence = case
        # Exact at the anchor's rotation; everything else may be anywhere.
        step = np.random.default_rng(0).normal(size=kinematics.num_unknowns) * 0.1
        step[:3] = 0
        anchor = Anchor(pose.moved(step), rotation=0.1, lateral=0.03, depth=0.007, angles=0.2, betas=0.01)

        def cost(p: HandPose) -> np.ndarray:
            normal = residuals.NormalEquations.zero(kinematics.num_unknowns)
            residuals.add_anchor(normal, p, anchor, evidence.mean_ray)
            return np.array(normal.cost)

        normal = residuals.NormalEquations.zero(kinematics.num_unknowns)
        residuals.add_anchor(normal, pose, anchor, evidence.mean_ray)
        np.testing.assert_allclose(
            2 * normal.gradient, numeric_jacobian(cost, pose, kinematics.num_unknowns), rtol=1e-5, atol=1e-3
        )


def test_the_estimate_of_a_network_is_taken_to_be_as_large_as_expected(fit, kinematics):
    pose = dataclasses.replace(mean_pose(kinematics), position=np.array([0.05, 0, 0.6]))
    transl = pose.position - kinematics.wrist_at_rest(pose.betas)
    estimate = ManoParameters(transl, np.zeros(3), kinematics.hand_pose(pose.angles), pose.betas)
    model_length = float(kinematics.length(pose.betas)[0])
    rays = rays_to(kinematics.joints(pose))
    for length in (None, 0.16):
        anchor = fit.problem(rays, 0.01, Side.RIGHT, hand_length=length, initial=estimate).anchor
        expected = length or ADULTS.metres
        assert kinematics.length(anchor.pose.betas)[0] == pytest.approx(expected, rel=1e-3)
        np.testing.assert_allclose(anchor.pose.position, pose.position * expected / model_length)


class TestKinematics:
    def test_angles_round_trip_through_axis_angles(self, kinematics):
        pose = random_pose(np.random.default_rng(0), kinematics, spread=1.5)
        np.testing.assert_allclose(kinematics.angles(kinematics.hand_pose(pose.angles)), pose.angles, atol=1e-12)

    def test_flexion_bends_towards_the_palm_and_abduction_to_the_thumb(self, kinematics):
        def moved(joint: int, angle: int) -> np.ndarray:
            poses = [np.zeros((15, 3)), np.zeros((15, 3))]
            poses[1][joint, angle] = 0.3
            joints = [kinematics.joints(HandPose(np.eye(3), np.zeros(3), a, np.zeros(10))) for a in poses]
            return joints[1] - joints[0]

        for finger in range(1, 5):
            assert moved(3 * finger, 0)[4 * finger + 4, 1] < -0.01  # the palm faces -y
            assert moved(3 * finger, 1)[4 * finger + 4, 2] > 0.01  # the thumb is at +z
        across = moved(0, 0)[4]
        assert across[1] < 0 and across[2] < 0  # the thumb closes over the palm

    @pytest.mark.parametrize("side", list(Side))
    @pytest.mark.parametrize("wrist", [(0.0, 0, 0), (0.096, 0.006, 0.006)])
    def test_parameters_give_the_same_joints_in_the_hand_layer(self, kinematics, side, wrist):
        """Also for models such as MANO, whose wrist is not at the origin."""
        hand = open_hand(Side.RIGHT)
        hand = dataclasses.replace(hand, v_template=hand.v_template + np.array(wrist, np.float32))
        fit, layer = KeypointFit(hand), HandLayer(hand, hand.mirrored())
        joints = kinematics.joints(random_pose(np.random.default_rng(5), kinematics))
        result = fit_hand(fit, rays_to(joints), 0.005, side)
        mano = result.mano
        batch = [
            torch.tensor(a[None], dtype=torch.float32)
            for a in (mano.global_orient, mano.hand_pose, mano.betas, mano.transl)
        ]
        output = layer(*batch, is_right=torch.tensor([side is Side.RIGHT])).joints[0].numpy()[list(MANO_TO_MEDIAPIPE)]
        np.testing.assert_allclose(result.joints, output, atol=1e-6)
        np.testing.assert_allclose(result.wrist_position, output[0], atol=1e-6)
        np.testing.assert_allclose(
            result.wrist_rotation, Rotation.from_rotvec(mano.global_orient).as_matrix(), atol=1e-9
        )


class TestSolvers:
    """The compiled solver and the one in NumPy."""

    @pytest.fixture
    def jobs(self, kinematics) -> list[Job]:
        """All combinations of terms, with starts near the solution and far from it."""
        rng = np.random.default_rng(7)
        jobs = []
        for has_directions, has_anchor, has_prediction in itertools.product((False, True), repeat=3):
            for spread in (0.1, 0.5):
                pose = random_pose(rng, kinematics)
                joints = kinematics.joints(pose)
                rays = noisy_rays(joints, rng, 0.01)
                bones = np.array([joints[child] - joints[parent] for parent, child in MEDIAPIPE_BONES])
                evidence = Evidence(
                    rays=rays,
                    weights=rng.uniform(0, 1, 21),
                    mean_ray=rays_to(rays.mean(0)),
                    sigma=0.01,
                    directions=rays_to(bones + 0.005 * rng.normal(size=(20, 3))) if has_directions else None,
                    length=0.19,
                    length_stddev=0.01,
                )
                start, near = (pose.moved(spread * rng.normal(size=kinematics.num_unknowns)) for _ in range(2))
                anchor = Anchor(near, rotation=0.4, lateral=0.05, depth=0.1, angles=0.5, betas=2.0)
                lost = Anchor(near, rotation=np.inf, lateral=np.inf, depth=0.007, angles=np.inf, betas=0.01)
                jobs.append(Job(start, evidence, anchor if has_anchor else None, lost if has_prediction else None))
        return jobs

    def test_agree(self, kinematics, jobs):
        for iterations in (0, 4, 12):
            compiled = CompiledSolver(kinematics)(jobs, iterations)
            assert_same_solutions(compiled, NumPySolver(partial(evaluate, kinematics))(jobs, iterations))

    def test_summaries_agree(self, kinematics, jobs):
        compiled, in_numpy = CompiledSummariser(kinematics), NumPySummariser(kinematics)
        for job, found in zip(jobs, CompiledSolver(kinematics)(jobs, 4), strict=True):
            one, other = compiled(found, job.evidence), in_numpy(found, job.evidence)
            for name in one._fields:
                expected = getattr(other, name)
                np.testing.assert_allclose(
                    getattr(one, name), expected, atol=1e-8 * np.abs(expected).max(), err_msg=name
                )

    def test_half_a_turn_has_a_rotation_vector(self, kinematics, jobs):
        (found,) = CompiledSolver(kinematics)(jobs[:1], 0)
        for axis in np.eye(3):
            turned = found._replace(pose=replace(found.pose, rotation=matrices_from_vectors(np.pi * axis)))
            summary = CompiledSummariser(kinematics)(turned, jobs[0].evidence)
            np.testing.assert_allclose(np.abs(summary.orientation), np.pi * axis, atol=1e-7)

    def test_arrays_of_another_size_are_rejected(self):
        compiled = importlib.import_module("wildhands_ros._native")
        with pytest.raises(ValueError, match="expected sizes"):
            compiled.solve_hand(np.zeros(10), np.zeros(10), 10, 4, np.zeros(10))
        with pytest.raises(ValueError, match="expected sizes"):
            compiled.summarise_hand(*[np.zeros(10)] * 9)


class TestKnownHands:
    def test_recovered_from_keypoints_world_landmarks_and_length(self, fit, kinematics):
        rng = np.random.default_rng(0)
        errors, depths = [], []
        for _ in range(30):
            pose = random_pose(rng, kinematics)
            joints = kinematics.joints(pose)
            rays = noisy_rays(joints, rng, 0.003)
            length = kinematics.length(pose.betas)[0]
            result = fit_hand(
                fit, rays, keypoint_sigma(rays), Side.RIGHT, world=world_landmarks(joints), hand_length=length
            )
            errors.append(mpjpe(result.joints, joints))
            depths.append(abs(result.joints[0, 2] / joints[0, 2] - 1))
        assert np.mean(errors) < 0.005
        assert np.mean(depths) < 0.03

    def test_recovered_from_keypoints_alone(self, fit, kinematics):
        rng = np.random.default_rng(1)
        errors = []
        for _ in range(15):
            joints = kinematics.joints(random_pose(rng, kinematics))
            rays = noisy_rays(joints, rng, 0.005)
            errors.append(mpjpe(fit_hand(fit, rays, keypoint_sigma(rays), Side.RIGHT).joints, joints))
        assert np.median(errors) < 0.012

    def test_tracked_through_time(self, fit, kinematics):
        rng = np.random.default_rng(2)
        pose = random_pose(rng, kinematics)
        step = np.zeros(kinematics.num_unknowns)
        step[:3], step[3:6] = (0.02, 0.01, 0.03), (0.004, -0.002, 0.003)
        state, alone, followed = None, [], []
        for _ in range(30):
            pose = pose.moved(step)
            joints = kinematics.joints(pose)
            rays = noisy_rays(joints, rng, 0.01)
            sigma, world = keypoint_sigma(rays), world_landmarks(joints)
            result = fit_hand(fit, rays, sigma, Side.RIGHT, world=world, start=state)
            state = result.state
            followed.append(result.joints - joints)
            alone.append(fit_hand(fit, rays, sigma, Side.RIGHT, world=world).joints - joints)
        assert state.frames == 30
        jitter = [np.std(np.diff(errors[5:], axis=0)) for errors in (followed, alone)]
        assert jitter[0] < 0.5 * jitter[1]
        assert np.linalg.norm(followed[-1], axis=1).mean() < np.linalg.norm(alone, axis=2).mean() + 0.01

    def test_recovers_from_a_wrong_initialisation(self, fit, kinematics):
        rng = np.random.default_rng(4)
        poses = [random_pose(rng, kinematics) for _ in range(2)]
        wrong, right = (kinematics.joints(dataclasses.replace(pose, betas=poses[0].betas)) for pose in poses)
        wrong = wrong + np.array([0, 0, 0.2])
        state = None
        for _ in range(10):
            state = fit_hand(fit, rays_to(wrong), 0.005, Side.RIGHT, world=world_landmarks(wrong), start=state).state
        cold = fit_hand(fit, rays_to(right), 0.005, Side.RIGHT, world=world_landmarks(right))
        depths = [state.pose.position[2]]
        for _ in range(20):
            warm = fit_hand(fit, rays_to(right), 0.005, Side.RIGHT, world=world_landmarks(right), start=state)
            state = warm.state
            depths.append(warm.wrist_position[2])
        # The size that was taken for the hand's stays.
        assert pa_mpjpe(warm.joints, cold.joints) < 0.002
        assert abs(warm.wrist_position[2] / cold.wrist_position[2] - 1) < 0.06
        # Put right in steps: a jump of the hand towards the camera or away from it is bad for a robot.
        assert abs(depths[0] - depths[-1]) > 0.1
        assert np.abs(np.diff(depths)).max() < 0.04

    def test_state_of_the_other_side_or_after_a_gap_is_not_used(self, fit, kinematics):
        joints = kinematics.joints(random_pose(np.random.default_rng(6), kinematics))
        state = fit_hand(fit, rays_to(joints), 0.005, Side.RIGHT).state
        cold = fit_hand(fit, rays_to(joints), 0.005, Side.LEFT)
        np.testing.assert_array_equal(fit_hand(fit, rays_to(joints), 0.005, Side.LEFT, start=state).joints, cold.joints)
        assert fit_hand(fit, rays_to(joints), 0.005, Side.RIGHT, start=state, dt=2.0).state.frames == 1
        assert fit_hand(fit, rays_to(joints), 0.005, Side.RIGHT, start=state, dt=0.1).state.frames == 2

    def test_repeated_stamps_do_no_harm(self, fit, kinematics):
        """Repeated stamps must not turn noise into velocity."""
        rng = np.random.default_rng(6)
        joints = kinematics.joints(random_pose(rng, kinematics))
        state = None
        for dt in (0.0, 1e-6, 0.0, 1 / 30, 1 / 30):
            rays = noisy_rays(joints, rng, 0.02)
            result = fit_hand(
                fit, rays, keypoint_sigma(rays), Side.RIGHT, world=world_landmarks(joints), start=state, dt=dt
            )
            state = result.state
            assert mpjpe(result.joints, joints) < 0.02
        assert np.abs(state.velocity[3:6]).max() < 1.0

    def test_an_initial_estimate_is_refined_and_kept_near(self, fit, kinematics):
        joints = kinematics.joints(random_pose(np.random.default_rng(7), kinematics))
        true = fit_hand(fit, rays_to(joints), 0.002, Side.RIGHT, world=world_landmarks(joints))
        further = true.mano.transl * 1.1
        moved = type(true.mano)(further, true.mano.global_orient, true.mano.hand_pose, true.mano.betas)
        refined = fit_hand(fit, rays_to(joints), 0.002, Side.RIGHT, initial=moved)
        alone = fit_hand(fit, rays_to(joints), 0.002, Side.RIGHT)
        assert refined.reprojection < 0.004
        distance = lambda result: np.linalg.norm(result.wrist_position)  # noqa: E731
        assert distance(alone) < distance(refined) < np.linalg.norm(further) + 0.05
        assert refined.wrist_covariance[2, 2] < alone.wrist_covariance[2, 2]

    @pytest.mark.parametrize("factor", [0.3, 3.0])
    def test_an_initial_estimate_of_another_hand_is_not_trusted(self, fit, kinematics, factor):
        """As of one of two interlocked hands, whose keypoints are those of the other one."""
        joints = kinematics.joints(random_pose(np.random.default_rng(7), kinematics))
        alone = fit_hand(fit, rays_to(joints), 0.002, Side.RIGHT, world=world_landmarks(joints))
        mano = alone.mano
        other = type(mano)(mano.transl * factor, mano.global_orient, mano.hand_pose, mano.betas)
        result = fit_hand(fit, rays_to(joints), 0.002, Side.RIGHT, world=world_landmarks(joints), initial=other)
        distance, known = (np.linalg.norm(found.wrist_position) for found in (result, alone))
        assert distance == pytest.approx(known, rel=0.03)
        assert result.wrist_covariance[2, 2] > 0.8 * alone.wrist_covariance[2, 2]

    @pytest.mark.parametrize("length", [0.13, 0.18, 0.22])
    def test_hand_length_is_exact(self, fit, kinematics, length):
        joints = kinematics.joints(random_pose(np.random.default_rng(8), kinematics))
        result = fit_hand(
            fit, rays_to(joints), 0.005, Side.LEFT, world=world_landmarks(joints * MIRROR) * MIRROR, hand_length=length
        )
        assert kinematics.length(result.mano.betas)[0] == pytest.approx(length, abs=1e-4)
        assert np.abs(result.mano.betas).max() < 6

    def test_changed_hand_length_takes_effect_at_once(self, fit, kinematics):
        joints = kinematics.joints(random_pose(np.random.default_rng(8), kinematics))
        state = None
        for length in (None, None, 0.17, 0.17, 0.2):
            result = fit_hand(fit, rays_to(joints), 0.005, Side.RIGHT, start=state, hand_length=length)
            state = result.state
        assert kinematics.length(result.mano.betas)[0] == pytest.approx(0.2, abs=1e-4)

    def test_angles_stay_near_their_limits(self, fit, kinematics):
        """Uses keypoints of hands bent 40 degrees beyond the anatomical limits."""
        rng = np.random.default_rng(9)
        for _ in range(10):
            pose = random_pose(rng, kinematics)
            beyond = np.where(rng.random((15, 3)) < 0.5, LIMITS.low - np.radians(40), LIMITS.high + np.radians(40))
            joints = kinematics.joints(HandPose(pose.rotation, pose.position, beyond, pose.betas))
            rays = rays_to(joints)
            angles = fit_hand(fit, rays, keypoint_sigma(rays), Side.RIGHT).state.pose.angles
            assert (angles > LIMITS.low - np.radians(20)).all() and (angles < LIMITS.high + np.radians(20)).all()


class TestSymmetries:
    def test_left_hands_are_mirrored_right_hands(self, fit, kinematics):
        joints = kinematics.joints(random_pose(np.random.default_rng(10), kinematics))
        world = world_landmarks(joints)
        right = fit_hand(fit, rays_to(joints), 0.005, Side.RIGHT, world=world)
        left = fit_hand(fit, rays_to(joints) * MIRROR, 0.005, Side.LEFT, world=world * MIRROR)
        np.testing.assert_allclose(left.joints, right.joints * MIRROR, atol=1e-9)
        np.testing.assert_allclose(left.joints_stddev, right.joints_stddev, atol=1e-9)
        np.testing.assert_allclose(left.mano.transl, right.mano.transl * MIRROR, atol=1e-9)
        np.testing.assert_allclose(left.mano.global_orient, right.mano.global_orient * (1, -1, -1), atol=1e-8)
        np.testing.assert_allclose(
            left.mano.hand_pose.reshape(15, 3), right.mano.hand_pose.reshape(15, 3) * (1, -1, -1), atol=1e-8
        )
        signs = np.array([-1, 1, 1, 1, -1, -1])
        np.testing.assert_allclose(left.wrist_covariance, right.wrist_covariance * np.outer(signs, signs), atol=1e-9)

    def test_turning_all_rays_turns_the_result(self, fit, kinematics):
        joints = kinematics.joints(random_pose(np.random.default_rng(11), kinematics))
        here = fit_hand(fit, rays_to(joints), 0.005, Side.RIGHT, world=world_landmarks(joints))
        turn = Rotation.from_rotvec([0, 1.2, 0]).as_matrix()
        # Turned from the hand's own ray, so that the smallest turn from the optical axis stays free of roll.
        whole = turn @ turn_to(rays_to(rays_to(joints).mean(0))).inv().as_matrix()
        there = fit_hand(fit, rays_to(joints) @ whole.T, 0.005, Side.RIGHT, world=world_landmarks(joints))
        np.testing.assert_allclose(there.joints, here.joints @ whole.T, atol=1e-4)
        assert there.cost == pytest.approx(here.cost, rel=1e-3)

    def test_any_camera_gives_the_same_hand(self, fit, kinematics):
        joints = kinematics.joints(random_pose(np.random.default_rng(12), kinematics))
        cameras = (
            Camera.pinhole(500, 520, 320, 240, 640, 480),
            Camera.pinhole(1400, 1400, 900, 500, 1920, 1080),
            Camera([[400, 0, 320], [0, 400, 240], [0, 0, 1]], 640, 480, "equidistant", [0.05, -0.01, 0.002, 0]),
        )
        results = []
        for camera in cameras:
            keypoints = camera.project(joints)
            box = np.concatenate([keypoints.min(0), keypoints.max(0)])
            detection = Detection(box, Side.RIGHT, 0.9, 0.99, keypoints, world=world_landmarks(joints))
            results.append(
                fit_one(
                    dict.fromkeys(Side, fit), dataclasses.replace(detection, side=Side.RIGHT, side_score=0.99), camera
                )
            )
        for result in results[1:]:
            np.testing.assert_allclose(result.joints, results[0].joints, atol=2e-4)


class TestUncertainty:
    def test_standard_deviations_match_the_errors(self, fit, kinematics):
        rng = np.random.default_rng(13)
        z_scores, wrist_z_scores = [], []
        for _ in range(60):
            joints = kinematics.joints(random_pose(rng, kinematics, spread=0.8))
            rays = noisy_rays(joints, rng, 0.03)
            result = fit_hand(fit, rays, keypoint_sigma(rays), Side.RIGHT, world=world_landmarks(joints))
            z_scores.append((result.joints - joints) / result.joints_stddev)
            wrist_z_scores.append((result.wrist_position - joints[0]) / np.sqrt(np.diag(result.wrist_covariance)[:3]))
        within = [(np.abs(z_scores) < k).mean() for k in (1, 2)]
        assert 0.55 < within[0] < 0.8 and within[1] > 0.87
        np.testing.assert_allclose(wrist_z_scores, np.array(z_scores)[:, 0], rtol=1e-6)

    def test_unknown_size_increases_the_depth_uncertainty(self, fit, kinematics):
        joints = kinematics.joints(random_pose(np.random.default_rng(14), kinematics))
        rays, world = rays_to(joints), world_landmarks(joints)
        ray, distance = rays[0], np.linalg.norm(joints[0])

        def depth_stddev(**known) -> tuple[float, float]:
            covariance = fit_hand(fit, rays, 0.003, Side.RIGHT, world=world, **known).wrist_covariance[:3, :3]
            across = np.trace(covariance) - ray @ covariance @ ray
            return np.sqrt(ray @ covariance @ ray) / distance, np.sqrt(across / 2) / distance

        (unknown, across), (known, _) = depth_stddev(), depth_stddev(hand_length=0.18)
        assert 0.04 < unknown < 0.1
        assert across < 0.2 * unknown
        assert known < 0.6 * unknown

    def test_covariance_is_symmetric_and_positive(self, fit, kinematics):
        joints = kinematics.joints(random_pose(np.random.default_rng(15), kinematics))
        covariance = fit_hand(fit, rays_to(joints), 0.003, Side.LEFT).wrist_covariance
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
        assert (np.linalg.eigvalsh(covariance) > 0).all()


class TestBadInput:
    @pytest.fixture
    def joints(self, kinematics):
        return kinematics.joints(random_pose(np.random.default_rng(16), kinematics))

    @pytest.mark.parametrize("missing", [np.nan, 0.0])
    def test_missing_keypoints_are_left_out(self, fit, joints, missing):
        rays = rays_to(joints)
        rays[[4, 12, 16]] = missing
        weights = np.ones(21)
        weights[8] = 0
        rays[8] = rays_to(np.array([0.5, 0.5, 0.1]))
        result = fit_hand(fit, rays, 0.003, Side.RIGHT, world=world_landmarks(joints), weights=weights)
        assert mpjpe(result.joints, joints) < 0.02
        full = fit_hand(fit, rays_to(joints), 0.003, Side.RIGHT, world=world_landmarks(joints))
        assert (
            (result.joints_stddev[[4, 8, 12, 16], :2] > 1.1 * full.joints_stddev[[4, 8, 12, 16], :2]).any(axis=1).all()
        )

    def test_one_outlier_keypoint_has_little_influence(self, fit, joints):
        rays = rays_to(joints)
        good = fit_hand(fit, rays, 0.003, Side.RIGHT, world=world_landmarks(joints))
        rays[12] = rays_to(rays[12] + (0.1, 0.1, 0))
        bad = fit_hand(fit, rays, 0.003, Side.RIGHT, world=world_landmarks(joints))
        others = [i for i in range(21) if i not in (10, 11, 12)]
        assert (
            np.linalg.norm((bad.joints - bad.joints[0]) - (good.joints - good.joints[0]), axis=1)[others].max() < 0.012
        )

    def test_unusable_input_is_rejected(self, fit, joints):
        rays = rays_to(joints)
        with pytest.raises(ValueError, match="21 rays"):
            fit_hand(fit, rays[:20], 0.003, Side.RIGHT)
        with pytest.raises(ValueError, match="standard deviation"):
            fit_hand(fit, rays, float("nan"), Side.RIGHT)
        with pytest.raises(ValueError, match="at least 6 keypoints"):
            fit_hand(fit, np.full((21, 3), np.nan), 0.003, Side.RIGHT)
        with pytest.raises(ValueError, match="one place"):
            fit_hand(fit, np.tile([0.0, 0, 1], (21, 1)), 0.003, Side.RIGHT)
        with pytest.raises(ValueError, match="all around"):
            fit_hand(fit, rays_to(np.random.default_rng(0).normal(size=(21, 3))), 0.003, Side.RIGHT)
        with pytest.raises(ValueError, match="world"):
            fit_hand(fit, rays, 0.003, Side.RIGHT, world=np.zeros((20, 3)))
        with pytest.raises(ValueError, match="metres"):
            fit_hand(fit, rays, 0.003, Side.RIGHT, hand_length=180)
        with pytest.raises(ValueError, match="left"):
            KeypointFit(open_hand(Side.LEFT))

    def test_a_detection_without_keypoints_has_no_fit(self, fit):
        detection = Detection(np.array([0, 0, 9, 9]), Side.RIGHT, side_score=0.9)
        assert fit_detections(dict.fromkeys(Side, fit), [FitRequest(detection)], Camera.guess(640, 480)) == [None]


def test_hands_fitted_together_are_those_fitted_alone(fit, kinematics):
    """Hands of both sides, with and without last fit, world landmarks and initial parameters."""
    rng = np.random.default_rng(30)
    problems = []
    for i in range(6):
        pose = random_pose(rng, kinematics)
        joints = kinematics.joints(pose)
        side, mirror = (Side.LEFT, MIRROR) if i % 2 else (Side.RIGHT, np.ones(3))
        world = world_landmarks(joints * mirror) if i < 4 else None
        before = fit_hand(fit, noisy_rays(joints * mirror, rng, 0.02), 0.003, side, world)
        rays = noisy_rays((joints + (0.01, 0, 0)) * mirror, rng, 0.02)
        problems.append(
            fit.problem(
                rays,
                0.003,
                side,
                world,
                start=before.state if i % 3 else None,
                initial=before.mano if i in (0, 1, 4) else None,
            )
        )
    for problem, together in zip(problems, fit.solve(problems), strict=True):
        (alone,) = fit.solve([problem])
        assert together.side is alone.side and together.cost == pytest.approx(alone.cost, rel=1e-9)
        for name in ("joints", "joints_stddev", "wrist_rotation", "wrist_covariance"):
            np.testing.assert_allclose(getattr(together, name), getattr(alone, name), atol=1e-9, err_msg=name)
    assert fit.solve([]) == []


def test_an_unknown_keypoint_is_ignored(fit, kinematics):
    rng, camera = np.random.default_rng(18), Camera.guess(1280, 720)
    joints = kinematics.joints(random_pose(rng, kinematics))
    pixels, weights = camera.project(joints), np.ones(21)
    weights[6] = 0
    away = pixels.copy()
    away[6] = 0
    found, again = (
        fit_one({Side.RIGHT: fit}, Detection(np.array([0, 0, 9.0, 9]), Side.RIGHT, 0.9, 0.9, points, weights), camera)
        for points in (pixels, away)
    )
    np.testing.assert_allclose(found.joints, again.joints, atol=1e-9)


def test_joints_outside_the_field_of_view_do_not_affect_the_error():
    points = np.random.default_rng(0).uniform(100, 200, (21, 2))
    detection, moved = Detection(np.array([100.0, 100, 200, 200]), keypoints=points), points + (3, 4)
    moved[20] = np.nan
    assert reprojection_error(moved, detection) == pytest.approx(0.05)
    moved[5:] = np.nan
    assert np.isnan(reprojection_error(moved, detection))


def test_an_uncertain_side_is_decided_by_the_lower_cost(fit, kinematics):
    rng = np.random.default_rng(17)
    camera = Camera.guess(1280, 720)
    right = 0
    for i in range(20):
        side = (Side.RIGHT, Side.LEFT)[i % 2]
        mirror = MIRROR if side is Side.LEFT else np.ones(3)
        joints = kinematics.joints(random_pose(rng, kinematics)) * mirror
        detection = Detection(np.zeros(4), None, 0.9, keypoints=camera.project(joints), world=world_landmarks(joints))
        right += fit_one(dict.fromkeys(Side, fit), dataclasses.replace(detection, side=None), camera).side is side
        told = dataclasses.replace(detection, side=side.other, side_score=0.95)
        assert fit_one(dict.fromkeys(Side, fit), told, camera).side is side.other
    assert right >= 19


@pytest.mark.skipif(not RHD.exists(), reason="needs ../shared/real_hands")
def test_real_hands_with_3d_labels_are_recovered_from_2d_keypoints(fit):
    """The fit sees only the ground-truth 2D keypoints."""
    errors, depths = [], []
    for photo in read_coco_hands(RHD):
        (hand,) = photo.hands
        rays = photo.camera.rays(hand.keypoints)
        result = fit_hand(fit, rays, keypoint_sigma(rays), hand.side)
        errors.append(mpjpe(result.joints, hand.joints))
        depths.append(abs(result.joints[0, 2] / hand.joints[0, 2] - 1))
    assert np.mean(errors) < 0.014
    assert np.mean(depths) < 0.075


def test_a_left_hand_with_its_own_shape_directions_is_fitted():
    """MANO's left hand has its own shape directions: fit and hand layer must interpret its parameters alike."""
    right = open_hand(Side.RIGHT)
    stored = right.mirrored()
    left = dataclasses.replace(stored, shapedirs=stored.shapedirs * np.array([-1, 1, 1], np.float32)[:, None])
    layer = HandLayer(right, left)
    betas = torch.full((1, 10), 0.8)
    pose = torch.zeros(1, 45)
    true = layer(
        torch.tensor([[0.2, 1.4, 0.3]]), pose, betas, torch.tensor([[0.05, 0.02, 0.5]]), is_right=torch.tensor([False])
    )
    joints = true.joints[0, list(MANO_TO_MEDIAPIPE)].double().numpy()
    rays = joints / np.linalg.norm(joints, axis=1, keepdims=True)
    result = fit_hand(KeypointFit(left.mirrored()), rays, 0.005, Side.LEFT)
    mano = {
        name: torch.tensor(getattr(result.mano, name), dtype=torch.float32)[None]
        for name in ("global_orient", "hand_pose", "betas", "transl")
    }
    again = layer(**mano, is_right=torch.tensor([False])).joints[0, list(MANO_TO_MEDIAPIPE)].numpy()
    np.testing.assert_allclose(again, result.joints, atol=1e-4)
