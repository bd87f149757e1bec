"""Patterns in the metrics that point to the part of the method that fails."""

from __future__ import annotations

from .figures import Figures

LOW_MPJPE_MM, HIGH_MRRPE_MM, HIGH_MRRPE_RATIO = 50.0, 60.0, 2.5
"""In the paper's Table 1, MRRPE is 1.6 to 2.2 times MPJPE with positional encoding, 2.9 to 3.9 times without, and
larger still if crops are only warped. An MRRPE below 60 mm is explained by the unknown size of the hands."""
GOOD_POSE_MM, POOR_MASK_IOU = 30.0, 0.5
"""A mesh with the right pose and position reaches a mask IoU of two thirds or more, occlusion included."""
GOOD_MASK_IOU, POOR_GRASP_ACCURACY = 0.6, 0.5


def failure_signatures(figures: Figures) -> list[str]:
    """Return one sentence per pattern found; an empty list if the metrics are unremarkable or missing."""
    found = []
    pose, pairs, masks, grasps = figures.mpjpe_mm, figures.mrrpe_mm, figures.mask_iou, figures.grasp_accuracy
    if (
        pose is not None
        and pairs is not None
        and pose <= LOW_MPJPE_MM
        and pairs >= max(HIGH_MRRPE_MM, HIGH_MRRPE_RATIO * pose)
    ):
        found.append(
            f"MRRPE {pairs:.0f} mm with an MPJPE of only {pose:.0f} mm: poses are right but positions are wrong; "
            "check the intrinsics and the positional encoding (KPE)"
        )
    if pose is not None and masks is not None and pose <= GOOD_POSE_MM and masks <= POOR_MASK_IOU:
        found.append(
            f"mask IoU of {100 * masks:.0f} % with an MPJPE of only {pose:.0f} mm: the pose is right but the mesh "
            "misses the hand; check the alignment of crop, camera and image"
        )
    if masks is not None and grasps is not None and masks >= GOOD_MASK_IOU and grasps <= POOR_GRASP_ACCURACY:
        found.append(
            f"{100 * grasps:.0f} % of the grasps are correct with a mask IoU of {100 * masks:.0f} %: "
            "the hand is right but its class is wrong; the grasp head needs training"
        )
    return found
