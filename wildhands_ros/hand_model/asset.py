"""The data of a hand model (template, blend shapes, skinning weights), and the open hand of this package."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from ..types import Side
from .joints import MANO_PARENTS

NUM_JOINTS = 16
"""Number of kinematic joints, MANO order."""

POSE_FEATURES = 9 * (NUM_JOINTS - 1)
"""Length of the pose feature of MANO: the elements of R - I of the 15 finger joints, row by row."""


@dataclass(frozen=True, eq=False)
class HandAsset:
    """A hand model in MANO format with V vertices, F triangles and B shape directions, in metres.

    In its rest pose the right hand is flat: the fingers point to -x, the palm to -y, the thumb side to +z. The left
        hand is
    the mirror image in x.
    """

    side: Side
    v_template: np.ndarray
    """(V, 3) float32 vertices at rest for betas = 0."""
    faces: np.ndarray
    """(F, 3) int32, counter-clockwise as seen from outside."""
    shapedirs: np.ndarray
    """(V, 3, B) float32 vertex displacement per unit of each beta."""
    posedirs: np.ndarray | None
    """(V, 3, 135) float32 vertex displacement per unit of the pose feature. None: no such term."""
    J_regressor: np.ndarray
    """(16, V) float32: ``joints = J_regressor @ vertices`` at rest."""
    weights: np.ndarray
    """(V, 16) float32 skinning weights; each row sums to 1."""
    hands_mean: np.ndarray
    """(45,) float32 mean pose, axis-angle."""
    tip_vertices: np.ndarray
    """(5,) int32 vertices that represent the fingertips: thumb, index, middle, ring, pinky."""
    name: str
    license: str

    def __post_init__(self):
        vertices, betas = self.v_template.shape[0], self.shapedirs.shape[-1]
        expected = {
            "v_template": (vertices, 3),
            "faces": (self.faces.shape[0], 3),
            "shapedirs": (vertices, 3, betas),
            "posedirs": (vertices, 3, POSE_FEATURES),
            "J_regressor": (NUM_JOINTS, vertices),
            "weights": (vertices, NUM_JOINTS),
            "hands_mean": (3 * (NUM_JOINTS - 1),),
            "tip_vertices": (5,),
        }
        for field, shape in expected.items():
            value = getattr(self, field)
            if value is not None and value.shape != shape:
                raise ValueError(f"{self.name}: {field} has shape {value.shape}, expected {shape}")
        for field in ("faces", "tip_vertices"):
            value = getattr(self, field)
            if value.min() < 0 or value.max() >= vertices:
                raise ValueError(f"{self.name}: {field} refers to vertices outside of 0..{vertices - 1}")

    @property
    def num_betas(self) -> int:
        """Number of shape parameters."""
        return self.shapedirs.shape[-1]

    def mirrored(self) -> HandAsset:
        """Returns the other hand, the mirror image in x.

        The betas have the same meaning. The axis-angle (x, y, z) of this hand corresponds to (x, -y, -z) of the other.
        """
        x = np.array([-1, 1, 1], np.float32)
        posedirs = None
        if self.posedirs is not None:
            # The mirrored rotation is M R M with M = diag(-1, 1, 1): elements with exactly one x index change their
            # sign.
            posedirs = self.posedirs * x[:, None] * np.tile(np.outer(x, x).ravel(), NUM_JOINTS - 1)
        return dataclasses.replace(
            self,
            side=self.side.other,
            v_template=self.v_template * x,
            faces=np.ascontiguousarray(self.faces[:, ::-1]),
            shapedirs=self.shapedirs * x[:, None],
            posedirs=posedirs,
            hands_mean=self.hands_mean * np.tile(-x, NUM_JOINTS - 1),
        )

    def right_handed(self) -> HandAsset:
        """Returns this hand if it is a right one, else its mirror image; left hands are fitted mirrored."""
        return self if self.side is Side.RIGHT else self.mirrored()


def joints_linear(asset: HandAsset) -> tuple[np.ndarray, np.ndarray]:
    """Expresses the joints at rest as a linear function of the betas: ``joints = template + dirs @ betas``.

    Returns:
        ``template`` (21, 3) and ``dirs`` (21, 3, B), float64 metres: the 16 joints in MANO order, then the
        fingertips, thumb to
            pinky.
    """
    regressor = asset.J_regressor.astype(np.float64)
    template, dirs = asset.v_template.astype(np.float64), asset.shapedirs.astype(np.float64)
    tips = asset.tip_vertices
    return (
        np.concatenate([regressor @ template, template[tips]]),
        np.concatenate([np.einsum("jv,vcb->jcb", regressor, dirs), dirs[tips]]),
    )


def open_hands() -> dict[Side, HandAsset]:
    """Returns the open hand of both sides, see ``open_hand``."""
    return {side: open_hand(side) for side in Side}


@cache
def open_hand(side: Side) -> HandAsset:
    """Returns the hand that ships with this package (Apache-2.0 and CC0, see ``open_hand/README.md``)."""
    if side is Side.LEFT:
        return open_hand(Side.RIGHT).mirrored()
    with (
        resources.files(__package__).joinpath("open_hand/right.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as data,
    ):
        parents = tuple(int(parent) for parent in data["kintree_table"][0, 1:])
        if parents != MANO_PARENTS[1:]:
            raise ValueError(
                f"open_hand/right.npz has an unexpected kinematic tree {parents}: the package is damaged, reinstall it"
            )
        return HandAsset(
            side=Side.RIGHT,
            v_template=data["v_template"].astype(np.float32),
            faces=data["f"].astype(np.int32),
            shapedirs=data["shapedirs"].astype(np.float32),
            posedirs=data["posedirs"].astype(np.float32),
            J_regressor=data["J_regressor"].astype(np.float32),
            weights=data["weights"].astype(np.float32),
            hands_mean=data["hands_mean"].astype(np.float32),
            tip_vertices=data["tip_vertices"].astype(np.int32),
            name="open_hand",
            license="Apache-2.0 AND CC0-1.0",
        )
