"""The networks that are compared: the paper's tables 1 to 5, and what they leave open."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from ...network.config import MEDIAPIPE_HAND, CameraDecoding, Fusion, GraspInput, WildHandsConfig
from ...network.kpe import Encoding
from ...training.losses import LossWeights


class View(enum.Enum):
    """What the trunk sees."""

    CROP = "crop"
    IMAGE = "image"
    """The whole picture, for both hands."""


LOSSES = LossWeights(pose=10, beta=0.05, j2d=0.5, j3d=1000, cam=5, cam_init=1, cam_pair=1, grasp=0.5, mask=1)
"""Those of ``config/training/default.yaml``, whose joints, unlike the paper's, count for as much as rotations, but for three. The camera is
in metres here and counts for more. 2D joints are in the crop and not in the picture as the paper's: they count for about as much less as a
crop is smaller, or hands that are not yet in their place drown the pose. Masks, too: with 5 instead of 1 all figures get worse."""
NETWORK = replace(
    MEDIAPIPE_HAND,
    camera=CameraDecoding.FRAME,
    features=512,
    fusion=Fusion.MAPS,
    grasp_input=GraspInput.HAND,
    landmark_input=False,
)
"""Positions are relative to the picture, as in the paper: with ``CameraDecoding.CROP`` the crop's place in the view enters without KPE."""
OTHER_WORLDS = ("lab_looks", "lab_cameras", "lab_objects", "lab_interacting")
"""The lab with one thing changed."""


@dataclass(frozen=True)
class Variant:
    """One network and its training."""

    key: str
    name: str
    """What it is called in tables."""
    network: WildHandsConfig = NETWORK
    losses: LossWeights = LOSSES
    lab: tuple[str, ...] = ("lab",)
    """Worlds with 3D labels that it learns from."""
    wild: tuple[str, ...] = ("wild",)
    """Worlds with only masks and grasps."""
    tests: tuple[str, ...] = ("lab", "wild")
    """Worlds that it is tested on; the first is the one whose figures stand for it."""
    view: View = View.CROP
    pinhole_angles: bool = False
    """Whether the encoding takes all lenses for pinholes."""


VARIANTS: dict[str, Variant] = {
    variant.key: variant
    for variant in (
        Variant("sparse", "sparse KPE", tests=("lab", "wild", *OTHER_WORLDS)),
        Variant("no_kpe", "no KPE", replace(NETWORK, encoding=Encoding.NONE)),
        Variant("no_mask", "no mask loss", losses=replace(LOSSES, mask=0)),
        Variant("dense", "dense KPE", replace(NETWORK, encoding=Encoding.DENSE_LATENT)),
        Variant("no_intrinsics", "KPE without intrinsics", replace(NETWORK, fake_intrinsics=True)),
        Variant("no_grasp", "no grasp loss", losses=replace(LOSSES, grasp=0)),
        Variant("lab_only", "neither mask nor grasp loss", losses=replace(LOSSES, mask=0, grasp=0), wild=()),
        Variant("full_image", "full image, no crops", replace(NETWORK, encoding=Encoding.NONE), view=View.IMAGE),
        Variant("crop_camera", "camera relative to the crop", replace(NETWORK, camera=CameraDecoding.CROP)),
        Variant(
            "crop_camera_no_kpe",
            "camera relative to the crop, no KPE",
            replace(NETWORK, camera=CameraDecoding.CROP, encoding=Encoding.NONE),
        ),
        Variant(
            "crop_camera_no_mask",
            "camera relative to the crop, no mask loss",
            replace(NETWORK, camera=CameraDecoding.CROP),
            losses=replace(LOSSES, mask=0),
        ),
        Variant(
            "fisheye_rays", "fisheye: KPE from true rays", lab=("lab", "fisheye"), wild=(), tests=("fisheye", "lab")
        ),
        Variant(
            "fisheye_pinhole",
            "fisheye: KPE from pinhole angles",
            lab=("lab", "fisheye"),
            wild=(),
            tests=("fisheye", "lab"),
            pinhole_angles=True,
        ),
    )
}
"""By key, the most important ones first."""
