"""The compared networks: those of the paper's Tables 1 to 5, and some that the paper leaves out."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from ...network.config import MEDIAPIPE_HAND, CameraDecoding, Fusion, GraspInput, WildHandsConfig
from ...network.kpe import Encoding
from ...training.losses import LossWeights


class View(enum.Enum):
    """What the trunk sees: the crop of a hand, or the whole image."""

    CROP = "crop"
    IMAGE = "image"
    """The whole image, for both hands."""


LOSSES = LossWeights(pose=10, beta=0.05, j2d=0.5, j3d=1000, cam=5, cam_init=1, cam_pair=1, grasp=0.5, mask=1)
"""The weights of ``config/training/default.yaml`` (in which, unlike in the paper, joints weigh as much as rotations)
with three changes. The camera is in metres here and weighs more. 2D joints are in pixels of the crop, not of the image
as in the paper, and weigh less by about the ratio of their sizes; otherwise misplaced hands dominate the loss. Masks
also weigh less: with 5 instead of 1, all figures get worse."""
NETWORK = replace(
    MEDIAPIPE_HAND,
    camera=CameraDecoding.FRAME,
    features=512,
    fusion=Fusion.MAPS,
    grasp_input=GraspInput.HAND,
    landmark_input=False,
)
"""Positions are relative to the image, as in the paper: with ``CameraDecoding.CROP`` the crop's location would be known
even without KPE."""
OTHER_WORLDS = ("lab_looks", "lab_cameras", "lab_objects", "lab_interacting")
"""The lab with one property changed each."""


@dataclass(frozen=True)
class Variant:
    """A network and how it is trained and tested."""

    key: str
    name: str
    """Its name in tables."""
    network: WildHandsConfig = NETWORK
    losses: LossWeights = LOSSES
    lab: tuple[str, ...] = ("lab",)
    """Training worlds with 3D labels."""
    wild: tuple[str, ...] = ("wild",)
    """Training worlds with masks and grasps only."""
    tests: tuple[str, ...] = ("lab", "wild")
    """Test worlds; the first one provides the variant's main figures."""
    view: View = View.CROP
    pinhole_angles: bool = False
    """Whether KPE treats all lenses as pinholes."""


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
"""The variants by key, the most important ones first."""
