"""Configuration of a WildHands network, stored as JSON in every checkpoint."""

from __future__ import annotations

import dataclasses
import enum
import json
import typing

from ..io.errors import reason
from .kpe import Encoding
from .trunk_kinds import TRUNKS

IMAGE_SIZE = 224
"""Side in pixels of both network inputs: the whole image and a hand's crop."""
RELEASED_CROP_SCALE = 1.75
"""The published model's ``WildHandsConfig.crop_scale``."""
LANDMARK_CROP_SCALE = 1.5
"""Side of the crops on which MediaPipe's landmark network was trained, relative to the longer side of the hand's box
along the axes of the turned crop."""

_ADDED_FIELDS = {
    "features": 2048,
    "crop_scale": RELEASED_CROP_SCALE,
    "upright": False,
    "landmark_input": False,
    "fusion": "maps",
}
"""Fields that earlier checkpoints lack, with their values for these checkpoints."""


class Fusion(enum.Enum):
    """How features and encoded position are combined into one vector."""

    MAPS = "maps"
    """Convolutions over the feature map, as in the released model. They are not normalised. On a pretrained trunk and
    at a high learning rate, all their ReLUs may die: there is then no gradient to recover, and the decoders see no
    image."""
    POOLED = "pooled"
    """Spatial average, standardisation and two linear layers. MediaPipe's own heads use the averages, too."""


class GraspInput(enum.Enum):
    """Inputs of the grasp head."""

    NONE = "none"
    """No grasp head."""
    HAND = "hand"
    """Shape and rotations."""
    HAND_AND_CROP = "hand+crop"
    """Shape, rotations and the mean of the crop's features, which show what the hand holds."""
    HAND_AND_IMAGE = "hand+image"
    """Shape, rotations and the full-image trunk's features."""


class CameraDecoding(enum.Enum):
    """Reference of the camera output (s, tx, ty); see ``WildHands.forward``."""

    FRAME = "frame"
    """tx, ty are metres from the optical axis and s is relative to the 224-pixel image, as in the released model."""
    CROP = "crop"
    """tx, ty are metres from the ray through the crop's centre and s is relative to the crop, so that neither depends
    on the hand's place and size in the image (as in CLIFF, Li et al., ECCV 2022)."""
    RAY = "ray"
    """As ``CROP``, and the global orientation is relative to that ray, too: hands that look the same are decoded to the
    same values, wherever in the field of view they are."""

    @property
    def usual_scale(self) -> float:
        """Typical s: two, divided by the metres that the image (at half a metre, 90 degrees) or a hand's crop spans."""
        return 2.0 if self is CameraDecoding.FRAME else 7.0


class Preprocessing(enum.Enum):
    """How an image becomes network inputs; see ``wildhands_ros.network.preprocessing``."""

    RELEASED = "released"
    """Exactly as in the authors' demo, including its blur and integer boxes."""
    FULL_RESOLUTION = "full_resolution"
    """Crops are resampled from the full-resolution image, antialiased and at sub-pixel positions."""


@dataclasses.dataclass(frozen=True)
class WildHandsConfig:
    """Architecture of a ``WildHands`` network. The defaults are this project's; ``RELEASED`` is the published model."""

    trunk: str = "resnet50"
    """A name in ``trunk_kinds.TRUNKS``, for both trunks."""
    full_image_trunk: bool = True
    """Whether a second trunk sees the whole image; its features are added to those of every crop."""
    encoding: Encoding = Encoding.CENTER_CORNER_LATENT
    n_freq: int = 4
    """Number of frequencies of the encoding's sines and cosines."""
    fake_intrinsics: bool = False
    """Whether the encoding uses a fixed artificial camera instead of the true one, which the geometry always uses:
    ``no_intrx`` in the authors' code."""
    features: int = 2048
    """Size of a hand's feature vector; hidden layers have a half, a quarter and an eighth of it."""
    fusion: Fusion = Fusion.MAPS
    grasp_input: GraspInput = GraspInput.NONE
    camera: CameraDecoding = CameraDecoding.RAY
    preprocessing: Preprocessing = Preprocessing.FULL_RESOLUTION
    crop_scale: float = RELEASED_CROP_SCALE
    """Side of a crop, relative to the longer side of the hand's box."""
    upright: bool = False
    """Whether crops are turned so that the hand points up, from the wrist to the middle finger's base."""
    landmark_input: bool = False
    """Whether the decoders also see the outputs of the trunk's landmark head. The relation between landmarks and hand
    is the same on renders and on photographs, while the features differ slightly."""

    def __post_init__(self) -> None:
        if self.trunk not in TRUNKS:
            raise ValueError(f"unknown trunk {self.trunk!r}; known: {', '.join(TRUNKS)}")
        if self.n_freq < 1:
            raise ValueError(f"n_freq must be at least 1, got {self.n_freq}")
        if self.features < 8 or self.features % 8:
            raise ValueError(f"features must be a multiple of 8, got {self.features}")
        if self.grasp_input is GraspInput.HAND_AND_IMAGE and not self.full_image_trunk:
            raise ValueError(f"grasp_input={self.grasp_input.value!r} needs full_image_trunk=True")
        if self.landmark_input and not TRUNKS[self.trunk].has_landmarks:
            raise ValueError(f"landmark_input=True needs a trunk with landmarks, not {self.trunk!r}")
        if not 1 <= self.crop_scale <= 10:
            raise ValueError(f"crop_scale must lie between 1 and 10, got {self.crop_scale}")
        if self.preprocessing is Preprocessing.RELEASED and (self.upright or self.crop_scale != RELEASED_CROP_SCALE):
            raise ValueError(f"released preprocessing needs upright=False and crop_scale={RELEASED_CROP_SCALE}")

    @property
    def feature_size(self) -> int:
        """Side of the trunks' feature maps."""
        return IMAGE_SIZE // TRUNKS[self.trunk].stride

    @property
    def kpe_map_size(self) -> int:
        """Side of the map at which dense encodings (``Encoding.is_map``) are added."""
        return IMAGE_SIZE if self.encoding.at_input else self.feature_size

    def to_json(self) -> str:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return json.dumps({name: v.value if isinstance(v, enum.Enum) else v for name, v in values.items()})

    @classmethod
    def from_json(cls, text: str) -> WildHandsConfig:
        """Reads a configuration.

        Raises:
            ValueError: a field is unknown, missing or has a value that this version does not know; the message names
                it.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the configuration is not JSON: {reason(error)}") from error
        if not isinstance(values, dict):
            raise ValueError("the configuration is not a JSON object")
        values = _ADDED_FIELDS | values
        kinds = typing.get_type_hints(cls)
        if unknown := sorted(values.keys() - kinds.keys()):
            raise ValueError(f"unknown configuration field(s) {', '.join(unknown)}: was this saved by a newer version?")
        if missing := sorted(kinds.keys() - values.keys()):
            raise ValueError(f"configuration field(s) {', '.join(missing)} missing")
        parsed: dict[str, typing.Any] = {name: _parse(name, kinds[name], value) for name, value in values.items()}
        return cls(**parsed)


def _parse(name: str, kind: type, value: object) -> object:
    if issubclass(kind, enum.Enum):
        for member in kind:
            if member.value == value:
                return member
        known = ", ".join(member.value for member in kind)
        raise ValueError(f"configuration field {name} is {value!r}; known: {known}")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"configuration field {name} must be of type {kind.__name__}, got {value!r}")
    return value


RELEASED = WildHandsConfig(camera=CameraDecoding.FRAME, preprocessing=Preprocessing.RELEASED)
"""The authors' published model (commit f99dfea of their demo)."""
MEDIAPIPE_HAND = WildHandsConfig(
    trunk="mediapipe_hand",
    full_image_trunk=False,
    features=1024,
    fusion=Fusion.POOLED,
    grasp_input=GraspInput.HAND_AND_CROP,
    crop_scale=LANDMARK_CROP_SCALE,
    upright=True,
    landmark_input=True,
)
"""A network on MediaPipe's landmark network, with its landmark head; see ``WildHands.start_from``."""
