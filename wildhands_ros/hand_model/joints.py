"""Joint orders and names, and the conversion between them.

The hand models use MANO order: 16 kinematic joints (wrist, then index, middle, pinky, ring and thumb, each from base
    to tip),
followed by the five fingertips (thumb, index, middle, ring, pinky). All published joints are in MediaPipe (OpenPose)
order.
"""

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
"""Order of the fingers in MediaPipe order, and of the fingertips in both orders."""

MEDIAPIPE_JOINT_NAMES = (
    "wrist",
    "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    "index_mcp", "index_pip", "index_dip", "index_tip",
    "middle_mcp", "middle_pip", "middle_dip", "middle_tip",
    "ring_mcp", "ring_pip", "ring_dip", "ring_tip",
    "pinky_mcp", "pinky_pip", "pinky_dip", "pinky_tip",
)  # fmt: skip

MANO_TO_MEDIAPIPE = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""``mediapipe_joints = mano_joints[..., MANO_TO_MEDIAPIPE, :]`` (21 joints each)."""

MEDIAPIPE_TO_MANO = tuple(MANO_TO_MEDIAPIPE.index(i) for i in range(21))

MANO_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
"""Parent of each of the 16 kinematic joints, MANO order."""

MEDIAPIPE_BONES = tuple((0 if i % 4 == 1 else i - 1, i) for i in range(1, 21))
"""(parent, child) of the 20 bones, MediaPipe order."""
