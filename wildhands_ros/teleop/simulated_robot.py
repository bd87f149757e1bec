"""A robot arm with a robot hand in MuJoCo, which follows the commands of teleoperation. No display is needed.

The arm is ``robots/arm.xml``. The robot hand is the URDF of a retargeting configuration, attached to the arm's flange.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry.pose import Pose
from ..geometry.shapes import Shape
from .follower import limited
from .robot_hand_files import read_robot_hand

if TYPE_CHECKING:
    import mujoco

ARM = Path(__file__).parent / "robots" / "arm.xml"
FLANGE, HOME = "flange", "home"
HAND = "hand/"
"""Prefix of the names of the robot hand in the model."""
PALM = f"{HAND}palm"

IK_STEPS = 8
"""Steps of the inverse kinematics for each command; it begins at the joint positions of the previous command."""
IK_STRIDE, IK_TURN = 0.05, 0.3
"""Metres and radians that a step goes at most, within which the Jacobian is a fair approximation."""
DAMPING = 0.03
"""Keeps the steps small near singular positions, in the units of the Jacobian."""
HOMING = 0.02
"""Share of the way to the home position that each step goes where this does not move the hand."""

HAND_COLOUR = (0.93, 0.68, 0.28, 1.0)
FINGER_STIFFNESS = 4.0
"""N m / rad of the position controllers of the robot hand."""
FINGER_ARMATURE = 1e-3
"""Inertia of the motors of the robot hand in kg m^2."""


class SimulatedRobot:
    """The arm and its hand. Its end effector is the palm: x out of the palm, z along the fingers.

    Attributes:
        home: pose of the palm at the start.
        hand_joints: names of the motors of the robot hand.
    """

    def __init__(self, hand: Path):
        """Builds the robot in its home position.

        Args:
            hand: retargeting configuration of the robot hand (YAML), whose URDF has a link ``palm``.

        Raises:
            RobotHandError: the configuration or the URDF cannot be used.
            ImportError: MuJoCo is not installed.
        """
        try:
            import mujoco
        except ImportError as error:
            raise ImportError(
                f"the simulated robot needs MuJoCo (pip install 'wildhands_ros[simulation]'): {error}"
            ) from error
        self._mujoco = mujoco
        arm = mujoco.MjSpec.from_file(str(ARM))
        self._num_arm_joints = len(arm.joints)
        self.hand_joints = _attach_hand(arm, Path(read_robot_hand(hand).retargeting["urdf_path"]))
        self._model = arm.compile()
        self._data = mujoco.MjData(self._model)
        self._palm = self._model.body(PALM).id
        # The arm's own key frame lost its validity with the joints of the hand.
        self._home = np.zeros(self._model.nq)
        self._home[: self._num_arm_joints] = _home_position()
        self._target = self._home[: self._num_arm_joints].copy()
        """Joint positions of the arm that were commanded."""
        self._kinematics = mujoco.MjData(self._model)
        self._data.qpos[:] = self._home
        self._data.ctrl[: self._num_arm_joints] = self._target
        mujoco.mj_forward(self._model, self._data)
        self.home = self.pose

    @property
    def time(self) -> float:
        """Simulated seconds since the start."""
        return float(self._data.time)

    @property
    def pose(self) -> Pose:
        """Where the palm is."""
        return self._body_pose(self._data, PALM)

    @property
    def positions(self) -> np.ndarray:
        """Positions of all joints, for ``shapes``."""
        return self._data.qpos.copy()

    def distance(self, first: str, second: str) -> float:
        """Returns the metres between the origins of two links of the hand."""
        a, b = (self._body_pose(self._data, name).position for name in (HAND + first, HAND + second))
        return float(np.linalg.norm(a - b))

    def command(self, pose: Pose, joints: Mapping[str, float] = MappingProxyType({})) -> None:
        """Sets the goal of the position controllers.

        Args:
            pose: where the palm is to go.
            joints: positions of the joints of the robot hand by name; those that follow another joint have no motor and
                are ignored.
        """
        self._target = self._inverse_kinematics(pose, self._target)
        self._data.ctrl[: self._num_arm_joints] = self._target
        for name in joints.keys() & set(self.hand_joints):
            self._data.actuator(HAND + name).ctrl[0] = joints[name]

    def advance(self, seconds: float) -> None:
        """Simulates the robot for some time."""
        for _ in range(round(seconds / self._model.opt.timestep)):
            self._mujoco.mj_step(self._model, self._data)

    def shapes(self, positions: np.ndarray) -> list[Shape]:
        """Returns all parts of the robot at these joint positions, and the table."""
        data, model = self._kinematics, self._model
        data.qpos[:] = positions
        self._mujoco.mj_kinematics(model, data)
        kinds = {int(getattr(self._mujoco.mjtGeom, f"mjGEOM_{kind.upper()}")): kind for kind in
                 ("box", "cylinder", "capsule", "sphere")}  # fmt: skip
        return [
            Shape(
                kinds[int(model.geom_type[number])],
                tuple(model.geom_size[number].tolist()),
                tuple(model.geom_rgba[number, :3].tolist()),
                Pose(data.geom_xmat[number].reshape(3, 3).copy(), data.geom_xpos[number].copy()),
            )
            for number in range(model.ngeom)
        ]

    def _inverse_kinematics(self, pose: Pose, start: np.ndarray) -> np.ndarray:
        """Returns the arm's joint positions for a pose of the palm, by damped least squares; the nearest ones found if
        it cannot be reached."""
        mujoco, model, data = self._mujoco, self._model, self._kinematics
        count = self._num_arm_joints
        lower, upper = model.jnt_range[:count].T
        position, rotation = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        data.qpos[:], joints = self._home, start.copy()
        for _ in range(IK_STEPS):
            data.qpos[:count] = joints
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacBody(model, data, position, rotation, self._palm)
            now = self._body_pose(data, PALM)
            turn = Rotation.from_matrix(pose.rotation @ now.rotation.T).as_rotvec()
            # The Jacobian is that of the body's origin.
            way = limited(pose.position - now.position, IK_STRIDE)
            error = np.concatenate([way, limited(turn, IK_TURN)])
            jacobian = np.concatenate([position, rotation])[:, :count]
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING**2 * np.eye(6))
            home = HOMING * (np.eye(count) - inverse @ jacobian) @ (self._home[:count] - joints)
            joints = np.clip(joints + inverse @ error + home, lower, upper)
        return joints

    @staticmethod
    def _body_pose(data: mujoco.MjData, name: str) -> Pose:
        body = data.body(name)
        return Pose(body.xmat.reshape(3, 3).copy(), body.xpos.copy())


def _home_position() -> np.ndarray:
    """Returns the joint positions of the key frame of the arm."""
    key = ElementTree.parse(ARM).find(f"keyframe/key[@name='{HOME}']")
    if key is None:
        raise ValueError(f"{ARM}: there is no key frame {HOME!r}")
    return np.array(key.attrib["qpos"].split(), float)


def _attach_hand(arm: mujoco.MjSpec, urdf: Path) -> list[str]:
    """Attaches a robot hand to the flange of the arm, with a position controller for each of its motors.

    Returns:
        The names of the motors: the joints that do not follow another one (``mimic``).
    """
    import mujoco

    root = ElementTree.parse(urdf).getroot()
    # MuJoCo otherwise omits the shapes that are only visual, and merges links without a joint between them.
    options = {"discardvisual": "false", "fusestatic": "false", "boundmass": "0.005", "boundinertia": "1e-6"}
    ElementTree.SubElement(ElementTree.SubElement(root, "mujoco"), "compiler", options)
    hand = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    motors = [
        joint.attrib["name"] for joint in root.iter("joint")
        if joint.get("type") in ("revolute", "prismatic") and joint.find("mimic") is None
    ]  # fmt: skip
    for body in hand.bodies:
        body.gravcomp = 1
    for geom in hand.geoms:
        geom.rgba = HAND_COLOUR
    for joint in hand.joints:
        joint.armature = FINGER_ARMATURE
    arm.attach(hand, HAND, site=FLANGE)
    for name in motors:
        motor = arm.add_actuator(name=HAND + name, target=HAND + name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_position(kp=FINGER_STIFFNESS, dampratio=1.0)
    for key in list(arm.keys):
        arm.delete(key)
    return motors
