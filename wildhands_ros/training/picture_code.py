"""The files and folders of this package that training pictures depend on, for the names of what is kept of them (``io.digest``)."""

WORLD_CODE = ("training/world", "hand_model", "geometry", "fitting/anatomy.py", "fitting/kinematics.py")
"""Of a synthetic world's."""
PICTURES_CODE = (
    *WORLD_CODE,
    "training/datasets",
    *(f"training/{name}.py" for name in ("pictures", "sources", "truth", "randomness")),
    "detection/landmarks.py",
    "io/coco_hands.py",
    *(f"network/{name}.py" for name in ("kpe", "preprocessing", "trunks", "warp")),
)
"""Of any source's, cut out for the network."""
