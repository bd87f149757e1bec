"""Which world: who, what, where, in what light, through which camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .objects import FAMILIES

SPLITS = ("train", "val", "test")
VERSION = 1
"""Raised when a change gives the same number another sample: figures on test splits of different versions cannot be compared."""


@dataclass(frozen=True)
class WorldConfig:
    """One world. Shares are probabilities; ranges are (low, high)."""

    name: str
    split: str = "train"
    seed: int = 0
    labels_3d: bool = True
    """Whether training may use joints, poses and shapes; False: only masks and grasps. Samples hold the truth all the same."""

    two_hands: float = 0.5
    interacting: float = 0.25
    """Share of the pictures of two hands in which they are at one another."""
    betas_stddev: float = 1.0
    children: float = 0.1
    """Share of small hands, down to two thirds."""
    skin_tones: tuple[float, float] = (0.0, 1.0)
    gloves: float = 0.0
    sleeves: float = 0.5

    grasps: tuple[float, ...] = (1, 1, 1.5, 1.5, 1.5, 1.5, 1, 1, 3)
    """Weights of the classes of ``Grasp``."""
    things: str = "varied"
    """One of ``things.FAMILIES``."""
    occluders: float = 0.2
    clutter: float = 0.3

    egocentric: float = 1.0
    """Share of pictures from the head of the hands' owner; the others see hands from anywhere."""
    hand_shares: tuple[float, float] = (0.12, 0.75)
    """Sizes of hands that are seen from anywhere, over the picture's shorter side."""
    farthest: float = 2.5
    """Metres; no hand is farther."""
    least_share: float = 0.05
    """Size of the smallest hands, over the picture's longer side."""
    others: tuple[float, ...] = (1.0,)
    """Weights of none, one, two, ... hands of other people, for whole frames (``frames.make_frame``)."""
    hand_free: float = 0.0
    """Share of whole frames without any hand."""
    bodies: float = 0.0
    """Share of whole frames with heads, bare limbs or feet (``bodies.add_body``)."""
    tables: float = 0.3
    photos: bool = False
    """Backgrounds from installed photographs, where there are any: pictures then depend on the machine."""
    plain_background: float = 0.0

    frame_sizes: tuple[tuple[int, int], ...] = ((640, 480), (960, 720), (1280, 720), (1024, 1024))
    fov_degrees: tuple[float, float] = (50.0, 110.0)
    """Horizontal."""
    off_centre: float = 0.04
    """Standard deviation of the principal point, over the picture's width."""
    distorted: float = 0.0
    """Share of lenses with polynomial distortion."""
    fisheye: float = 0.0
    """Share of equidistant lenses."""

    harsh_light: float = 0.5
    """From 0, soft and even, to 1, anything."""
    blur: float = 0.4
    noise: float = 1.0
    """Strength of the sensor's noise; 1 goes up to that of a dim room."""
    jpeg: float = 0.5

    def __post_init__(self):
        if self.split not in SPLITS:
            raise ValueError(f"a world has no split {self.split!r}; it has {', '.join(SPLITS)}")
        if self.things not in FAMILIES:
            raise ValueError(f"unknown family of things {self.things!r}; known: {', '.join(FAMILIES)}")
        if len(self.grasps) != 9 or min(self.grasps) < 0 or not sum(self.grasps) > 0:
            raise ValueError(f"grasps needs nine weights of which one is above 0, not {self.grasps}")
        low, high = self.fov_degrees
        if not 10 <= low <= high <= 150:
            raise ValueError(f"fov_degrees lies between 10 and 150, not {self.fov_degrees}")


_LAB = WorldConfig(
    "lab",
    skin_tones=(0.05, 0.4),
    sleeves=0.3,
    things="plain",
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

PRESETS = {
    "lab": _LAB,
    "wild": _WILD,
    # What the default weights learn from: the wild, labelled, and hands seen from anywhere too.
    "open": replace(_WILD, name="open", labels_3d=True, egocentric=0.6, gloves=0.06, fisheye=0.05),
    # Whole frames for the hand detector: the wearer's hands, others', near and far, or none.
    "frames": _FRAMES,
    # The same with more that is no hand: for a network that looks at what the detector took for one.
    "second_stage": replace(_FRAMES, name="second_stage", hand_free=0.2, bodies=0.6),
    "fisheye": replace(_LAB, name="fisheye", fisheye=1.0, fov_degrees=(110.0, 140.0)),
    # The lab with one thing changed.
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
    "lab_objects": replace(_LAB, name="lab_objects", things="varied", clutter=0.5, occluders=0.2),
    "lab_interacting": replace(_LAB, name="lab_interacting", two_hands=1.0, interacting=1.0),
}


def world_config(name: str, split: str = "train", seed: int = 0) -> WorldConfig:
    """A preset's world. Validation and test are the same on each machine: their backgrounds are made up.

    :raises ValueError: no such preset or split.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown world {name!r}; known: {', '.join(PRESETS)}")
    config = replace(PRESETS[name], split=split, seed=seed)
    return config if split == "train" else replace(config, photos=False)
