"""Configuration of the synthetic world: hands, objects, surroundings, light and cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .objects import FAMILIES

SPLITS = ("train", "val", "test")
VERSION = 1
"""Version of the frozen benchmark.

Raise it when a change alters the image of an index: results on test splits of different versions are not comparable.
"""


@dataclass(frozen=True)
class WorldConfig:
    """Configuration of one world. Shares are probabilities; ranges are (low, high)."""

    name: str
    split: str = "train"
    seed: int = 0
    labels_3d: bool = True
    """Whether training may use joints, poses and shapes.

    False: only masks and grasps, although all labels are present.
    """

    two_hands: float = 0.5
    interacting: float = 0.25
    """Share of the images of two hands in which the hands interact."""
    betas_stddev: float = 1.0
    children: float = 0.1
    """Share of small hands, down to two thirds of the size."""
    skin_tones: tuple[float, float] = (0.0, 1.0)
    gloves: float = 0.0
    sleeves: float = 0.5

    grasps: tuple[float, ...] = (1, 1, 1.5, 1.5, 1.5, 1.5, 1, 1, 3)
    """Weights of the classes of ``Grasp``."""
    objects: str = "varied"
    """One of ``objects.FAMILIES``."""
    occluders: float = 0.2
    clutter: float = 0.3

    egocentric: float = 1.0
    """Share of images from the head of the person to whom the hands belong.

    The others show hands from any direction.
    """
    wearer_distances: tuple[float, float] = (0.22, 0.72)
    """Distances in metres of the wearer's hands, evenly distributed in the logarithm."""
    hand_shares: tuple[float, float] = (0.12, 0.75)
    """Sizes of hands in images that are not egocentric, over the shorter image side."""
    farthest: float = 2.5
    """Largest distance of a hand in metres."""
    least_share: float = 0.05
    """Size of the smallest hands, over the longer image side."""
    others: tuple[float, ...] = (1.0,)
    """Weights of zero, one, two, ... hands of other people, for images of ``frames.make_frame``."""
    hand_free: float = 0.0
    """Share of images of ``frames.make_frame`` without any hand."""
    bodies: float = 0.0
    """Share of images of ``frames.make_frame`` with heads, bare limbs or feet (``bodies.add_body``)."""
    tables: float = 0.3
    photos: bool = False
    """Whether to use installed photographs as backgrounds, if there are any. Images then depend on the machine."""
    plain_background: float = 0.0

    frame_sizes: tuple[tuple[int, int], ...] = ((640, 480), (960, 720), (1280, 720), (1024, 1024))
    fov_degrees: tuple[float, float] = (50.0, 110.0)
    """Horizontal field of view."""
    off_centre: float = 0.04
    """Standard deviation of the principal point, over the image width."""
    distorted: float = 0.0
    """Share of lenses with polynomial distortion."""
    fisheye: float = 0.0
    """Share of equidistant lenses."""

    harsh_light: float = 0.5
    """From 0 (soft and even light) to 1 (any light)."""
    blur: float = 0.4
    noise: float = 1.0
    """Strength of the sensor noise; 1 goes up to that of a dim room."""
    jpeg: float = 0.5

    def __post_init__(self):
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}; supported: {', '.join(SPLITS)}")
        if self.objects not in FAMILIES:
            raise ValueError(f"unknown family of objects {self.objects!r}; supported: {', '.join(FAMILIES)}")
        if len(self.grasps) != 9 or min(self.grasps) < 0 or not sum(self.grasps) > 0:
            raise ValueError(f"grasps needs nine weights >= 0 of which at least one is positive, not {self.grasps}")
        low, high = self.fov_degrees
        if not 10 <= low <= high <= 150:
            raise ValueError(f"fov_degrees must be a range within 10 to 150, not {self.fov_degrees}")


_LAB = WorldConfig(
    "lab",
    skin_tones=(0.05, 0.4),
    sleeves=0.3,
    objects="plain",
    occluders=0.0,
    clutter=0.1,
    tables=0.5,
    plain_background=1.0,
    frame_sizes=((640, 480),),
    fov_degrees=(66.0, 74.0),
    off_centre=0.01,
    harsh_light=0.1,
    blur=0.1,
    noise=0.3,
    jpeg=0.0,
)
_WILD = WorldConfig(
    "wild",
    labels_3d=False,
    gloves=0.15,
    skin_tones=(0.0, 1.0),
    distorted=0.2,
    clutter=0.5,
    harsh_light=1.0,
    photos=True,
)
_FRAMES = replace(
    _WILD,
    name="frames",
    gloves=0.25,
    sleeves=0.6,
    hand_shares=(0.04, 0.6),
    farthest=6.0,
    least_share=0.025,
    others=(0.45, 0.25, 0.2, 0.1),
    hand_free=0.12,
    clutter=0.6,
)

VIEWS = replace(
    _LAB,
    name="views",
    objects="varied",
    occluders=0.1,
    plain_background=0.5,
    skin_tones=(0.0, 0.8),
    egocentric=0.5,
    wearer_distances=(0.4, 1.2),
    hand_shares=(0.15, 0.45),
    farthest=1.2,
    frame_sizes=((1280, 720),),
    distorted=0.5,
)
"""World for several cameras around the hands (``views.make_views``); half of the first ones are on a person's head."""

PRESETS = {
    "lab": _LAB,
    "wild": _WILD,
    # Training data of the default weights: the wild world with all labels, and also hands seen from any direction.
    "open": replace(_WILD, name="open", labels_3d=True, egocentric=0.6, gloves=0.06, fisheye=0.05),
    # For the hand detector: hands of the wearer and of others, near and far, or none.
    "frames": _FRAMES,
    # For the second stage of the detector: more skin that is not a hand.
    "second_stage": replace(_FRAMES, name="second_stage", hand_free=0.2, bodies=0.6),
    # For depth cameras: hands within their range.
    "depth": replace(
        _LAB,
        name="depth",
        objects="varied",
        occluders=0.1,
        plain_background=0.5,
        skin_tones=(0.0, 0.8),
        wearer_distances=(0.3, 1.2),
        frame_sizes=((1280, 720),),
        distorted=0.5,
    ),
    "fisheye": replace(_LAB, name="fisheye", fisheye=1.0, fov_degrees=(110.0, 140.0)),
    # The lab world with one property changed.
    "lab_looks": replace(
        _LAB,
        name="lab_looks",
        skin_tones=(0.0, 1.0),
        gloves=0.2,
        sleeves=0.6,
        plain_background=0.0,
        harsh_light=1.0,
        noise=1.0,
        blur=0.4,
    ),
    "lab_cameras": replace(
        _LAB,
        name="lab_cameras",
        fov_degrees=(50.0, 110.0),
        off_centre=0.05,
        frame_sizes=((640, 480), (1280, 720), (800, 800)),
    ),
    "lab_objects": replace(_LAB, name="lab_objects", objects="varied", clutter=0.5, occluders=0.2),
    "lab_interacting": replace(_LAB, name="lab_interacting", two_hands=1.0, interacting=1.0),
}


def world_config(name: str, split: str = "train", seed: int = 0) -> WorldConfig:
    """Returns the configuration of a preset.

    Validation and test splits never use photographs, so they are the same on each machine.

    Raises:
        ValueError: There is no such preset or split.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown world {name!r}; supported: {', '.join(PRESETS)}")
    config = replace(PRESETS[name], split=split, seed=seed)
    return config if split == "train" else replace(config, photos=False)
