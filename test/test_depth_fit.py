"""Depth images and the depth fit: derivatives, hands with known depth, and damaged depth images."""

from dataclasses import replace

import numpy as np
import pytest
from one_fit import fit_hand
from scipy.spatial.transform import Rotation

from wildhands_ros.fitting import depth_fit as module
from wildhands_ros.fitting.anatomy import LIMITS
from wildhands_ros.fitting.depth_fit import DepthFit
from wildhands_ros.fitting.hand_length import hand_length
from wildhands_ros.fitting.keypoint_fit import FitResult, KeypointFit, keypoint_sigma
from wildhands_ros.fitting.kinematics import HandKinematics, HandPose
from wildhands_ros.fitting.surface import CompiledSurface, HandSurface
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.depth_image import DepthImage, DepthNoise
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.hand_model.asset import open_hand, open_hands
from wildhands_ros.hand_model.posing import HandPoser
from wildhands_ros.synthetic.raster import rasterise
from wildhands_ros.types import DepthStatus, HandLength, ManoParameters, Side

ALIGNED = Camera.from_fov(640, 480, np.radians(70))
WIDE = Camera(
    np.array([[310.0, 0, 318], [0, 311, 242], [0, 0, 1]]), 640, 480, "plumb_bob", np.array([-0.1, 0.02, 0.001, 0, 0])
)
BESIDE = Pose(Rotation.from_rotvec([0.05, -0.02, 0.01]).as_matrix(), np.array([0.05, 0.0, 0.01]))
WALL = 1.5


@pytest.fixture(scope="module")
def depth_fit() -> DepthFit:
    return DepthFit(open_hands())


@pytest.fixture(scope="module")
def keypoint_fit() -> KeypointFit:
    return KeypointFit(open_hand(Side.RIGHT))


def make_hand(rng: np.random.Generator, kinematics: HandKinematics) -> HandPose:
    """Draws an open right hand of unusual size, whose palm faces the camera more or less."""
    angles = np.clip(LIMITS.mean + 0.4 * LIMITS.stddev * rng.normal(size=(15, 3)), LIMITS.low, LIMITS.high)
    facing = Rotation.from_euler("xyz", [np.pi / 2, 0, 0]) * Rotation.from_rotvec(rng.normal(0, 0.3, 3))
    position = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(0.4, 0.7)])
    betas = np.concatenate([[rng.choice([-2.0, 2.0])], rng.normal(0, 0.5, 9)])
    return HandPose(facing.as_matrix(), position, angles, betas)


def fitted(
    fit: KeypointFit, side: Side, rng: np.random.Generator, noise: float = 0.01
) -> tuple[FitResult, np.ndarray, np.ndarray]:
    """Returns a fit to noisy keypoints of a hand, its true joints, and its true mesh in the camera frame."""
    asset = open_hand(Side.RIGHT)
    kinematics = HandKinematics(asset)
    pose = make_hand(rng, kinematics)
    mirror = np.array([-1.0 if side is Side.LEFT else 1.0, 1, 1])
    joints = kinematics.joints(pose) * mirror
    rays = joints / np.linalg.norm(joints, axis=1, keepdims=True)
    sigma = keypoint_sigma(rays)
    result = fit_hand(fit, rays + rng.normal(size=rays.shape) * sigma / 0.03 * noise, sigma, side)
    mano = replace(
        result.mano,
        transl=pose.position - kinematics.wrist_at_rest(pose.betas),
        global_orient=Rotation.from_matrix(pose.rotation).as_rotvec(),
        hand_pose=kinematics.hand_pose(pose.angles),
        betas=pose.betas,
    )
    return result, joints, HandPoser({Side.RIGHT: asset}).vertices(mano, Side.RIGHT) * mirror


def depth_of(vertices: np.ndarray, side: Side, camera: Camera, pose: Pose, rng: np.random.Generator) -> DepthImage:
    """Draws a hand before a wall, with the noise of a stereo camera."""
    points = pose.inverse().apply(vertices.astype(np.float64))
    faces = open_hand(side).faces
    _, nearest = rasterise(camera.project(points), 1 / points[:, 2], faces, camera.width, camera.height)
    depth = np.where(nearest > 0, 1 / np.where(nearest > 0, nearest, 1), WALL)
    noise = DepthNoise.stereo()
    depth += rng.normal(size=depth.shape) * noise.stddev(depth)
    return DepthImage(depth.astype(np.float32), camera, pose, noise)


@pytest.mark.parametrize("has_blend_shapes", [True, False])
def test_compiled_surface_agrees_with_numpy(has_blend_shapes) -> None:
    pytest.importorskip("wildhands_ros._native", reason="compiled only where there is a C compiler")
    asset, rng = open_hand(Side.RIGHT), np.random.default_rng(3)
    posedirs = rng.normal(0, 0.001, (*asset.v_template.shape, 135)).astype(np.float32) if has_blend_shapes else None
    asset = replace(asset, posedirs=posedirs)
    kinematics = HandKinematics(asset)
    numpy, compiled = (kind(asset, kinematics, 60) for kind in (HandSurface, CompiledSurface))
    for _ in range(3):
        pose, chosen = make_hand(rng, kinematics), rng.permutation(60)[:25]
        expected, found = numpy.pose(pose), compiled.pose(pose)
        for name in ("points", "normals", "spheres", "rest", "transforms", "axes", "positions", "shape_dirs"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6, err_msg=name)
        rows = compiled.along_normals(found, chosen)
        np.testing.assert_allclose(rows, numpy.along_normals(expected, chosen), atol=1e-6)
    with pytest.raises(ValueError, match="expected sizes"):
        compiled.along_normals(found, np.array([60]))


def test_derivatives_of_the_surface() -> None:
    kinematics = HandKinematics(open_hand(Side.RIGHT))
    surface = HandSurface(open_hand(Side.RIGHT), kinematics, num_points=60)
    pose = make_hand(np.random.default_rng(0), kinematics)
    posed, chosen = surface.pose(pose), np.arange(0, 60, 2)
    derivatives = surface.along_normals(posed, chosen)
    for unknown in range(kinematics.num_unknowns):
        step = np.zeros(kinematics.num_unknowns)
        step[unknown] = 1e-5
        moved = surface.pose(pose.moved(step)).points - surface.pose(pose.moved(-step)).points
        numeric = (moved[chosen] / 2e-5 * posed.normals[chosen]).sum(1)
        # Pose blend shapes, which the derivatives leave out, move the surface by up to 2 mm per radian.
        np.testing.assert_allclose(derivatives[:, unknown], numeric, atol=0.003)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("camera", "pose"), [(ALIGNED, Pose.identity()), (WIDE, BESIDE)], ids=["aligned", "beside"])
def test_depth_corrects_the_distance(
    depth_fit: DepthFit, keypoint_fit: KeypointFit, side: Side, camera: Camera, pose: Pose
) -> None:
    before, after, relative = [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        fit, joints, vertices = fitted(keypoint_fit, side, rng)
        refined, status = depth_fit.refine(fit, depth_of(vertices, side, camera, pose, rng))
        if status is not DepthStatus.USED:  # the keypoint fit has another pose, such as a hand turned around
            assert refined is fit
            continue
        before.append(np.linalg.norm(fit.joints[0] - joints[0]))
        after.append(np.linalg.norm(refined.joints[0] - joints[0]))
        errors = [
            np.linalg.norm((r.joints - r.joints[0]) - (joints - joints[0]), axis=1).mean() for r in (fit, refined)
        ]
        relative.append(errors[1] / errors[0])
        assert refined.wrist_position == pytest.approx(refined.joints[0])
        assert np.linalg.eigvalsh(refined.wrist_covariance).min() > 0
    assert len(after) >= 6
    assert np.median(before) > 0.02
    assert np.median(after) < 0.005
    assert np.median(relative) < 0.75


def test_the_measured_length_does_not_contain_what_was_expected(depth_fit, keypoint_fit, monkeypatch) -> None:
    rng, lengths = np.random.default_rng(3), []
    fit, _, vertices = fitted(keypoint_fit, Side.RIGHT, rng)
    depth = depth_of(vertices, Side.RIGHT, ALIGNED, Pose.identity(), rng)
    for expected in (0.175, 0.2):
        monkeypatch.setattr(module, "ADULTS", HandLength(expected, 0.012))
        result = depth_fit.refine(fit, depth)
        assert result.status is DepthStatus.USED and result.fit.length is not None
        lengths.append((result.fit.length.metres, hand_length(open_hand(Side.RIGHT), result.fit.mano.betas)))
    measured, posed = np.ptp(lengths, axis=0)
    assert measured < 0.4 * posed


def test_a_hand_whose_tilt_is_reversed_is_tilted_back(depth_fit, keypoint_fit) -> None:
    kinematics, rng = HandKinematics(open_hand(Side.RIGHT)), np.random.default_rng(0)
    facing = Rotation.from_euler("x", np.pi / 2 + 1).as_matrix()
    reversed_facing = Rotation.from_euler("x", np.pi / 2 - 1).as_matrix()
    pose = HandPose(facing, np.array([0.05, 0.05, 0.5]), LIMITS.mean, np.zeros(10))
    joints = kinematics.joints(pose)
    mano = ManoParameters(
        transl=pose.position - kinematics.wrist_at_rest(pose.betas),
        global_orient=Rotation.from_matrix(pose.rotation).as_rotvec(),
        hand_pose=kinematics.hand_pose(pose.angles),
        betas=pose.betas,
    )
    vertices = HandPoser(open_hands()).vertices(mano, Side.RIGHT)
    depth = depth_of(vertices, Side.RIGHT, ALIGNED, Pose.identity(), rng)
    rays = joints / np.linalg.norm(joints, axis=1, keepdims=True)
    fit = fit_hand(keypoint_fit, rays, keypoint_sigma(rays), Side.RIGHT)
    tilted = replace(fit.state.pose, rotation=reversed_facing)
    new, followed = (replace(fit, state=replace(fit.state, pose=tilted, frames=frames)) for frames in (1, 2))
    refined, status = depth_fit.refine(new, depth)
    assert status is DepthStatus.USED
    np.testing.assert_allclose(refined.joints, joints, atol=0.005)
    # That would take too long for every image of a stream.
    assert depth_fit.refine(followed, depth).status is not DepthStatus.USED


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda depth: np.zeros_like(depth), DepthStatus.EMPTY),
        (lambda depth: np.full_like(depth, np.nan), DepthStatus.EMPTY),
        (lambda depth: np.full_like(depth, np.inf), DepthStatus.EMPTY),
        (lambda depth: np.full_like(depth, -1), DepthStatus.EMPTY),
        (lambda depth: np.full_like(depth, 65.535), DepthStatus.EMPTY),
        (lambda depth: depth * 1000, DepthStatus.EMPTY),
        (lambda depth: np.full_like(depth, WALL), DepthStatus.CONTRADICTS),
        (lambda depth: np.minimum(depth, np.float32(0.12)), DepthStatus.OCCLUDED),
    ],
    ids=["zero", "NaN", "infinite", "negative", "65.535", "millimetres", "only the wall", "object in front"],
)
def test_damaged_depth_leaves_the_fit_as_it_is(depth_fit, keypoint_fit, damage, expected) -> None:
    rng = np.random.default_rng(1)
    fit, _, vertices = fitted(keypoint_fit, Side.RIGHT, rng)
    depth = depth_of(vertices, Side.RIGHT, ALIGNED, Pose.identity(), rng)
    with np.errstate(all="raise"):
        result = depth_fit.refine(fit, replace(depth, depth=damage(depth.depth)))
    assert result.status is expected
    assert result.fit is fit


def test_a_hand_outside_the_depth_image_is_fitted_to_its_keypoints(depth_fit, keypoint_fit) -> None:
    fit, _, vertices = fitted(keypoint_fit, Side.RIGHT, np.random.default_rng(1))
    away = Pose(Rotation.from_rotvec([0, np.pi, 0]).as_matrix(), np.zeros(3))
    depth = DepthImage(np.full((480, 640), 0.5, np.float32), ALIGNED, away)
    assert depth_fit.refine(fit, depth) == (fit, DepthStatus.EMPTY)


def test_depth_images_are_checked() -> None:
    with pytest.raises(ValueError, match="from_millimetres"):
        DepthImage(np.zeros((480, 640), np.uint16), ALIGNED)
    with pytest.raises(ValueError, match="is 320x240, but its camera 640x480"):
        DepthImage(np.zeros((240, 320), np.float32), ALIGNED)
    with pytest.raises(ValueError, match="not finite"):
        DepthImage(np.zeros((480, 640), np.float32), ALIGNED, Pose(np.eye(3), np.array([0, np.nan, 0])))
    with pytest.raises(ValueError, match="must not be negative"):
        DepthNoise(constant=-0.1)
    with pytest.raises(ValueError, match="without noise"):
        DepthNoise()


def test_noise_of_the_sensors_grows_as_physics_says() -> None:
    stereo, flight = DepthNoise.stereo(640, 0.05, 0.1), DepthNoise.time_of_flight(0.001, 0.002)
    assert stereo.stddev(2.0) - stereo.constant == pytest.approx(4 * (stereo.stddev(1.0) - stereo.constant))
    assert flight.stddev(2.0) == pytest.approx(0.005)
