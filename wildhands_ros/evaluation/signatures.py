"""Which part of the method fails, by the pattern that its failure leaves in the figures."""

from __future__ import annotations

from .figures import Figures

LOW_MPJPE_MM, HIGH_MRRPE_MM, HIGH_MRRPE_RATIO = 50.0, 60.0, 2.5
"""In the paper's table 1 (spec 3.6) MRRPE is 1.6 to 2.2 times MPJPE with positional encoding, 2.9 to 3.9 times without, and more where
crops are only warped. Below 60 mm both hands are where they belong, give or take the size that nobody knows."""
GOOD_POSE_MM, POOR_MASK_IOU = 30.0, 0.5
"""A mesh of the right pose in the right place covers two thirds of its mask or more, hidden parts included."""
GOOD_MASK_IOU, POOR_GRASP_ACCURACY = 0.6, 0.5


def failure_signatures(figures: Figures) -> list[str]:
    """What the figures point to, a sentence each; none where they are unremarkable or not there."""
    found = []
    pose, pairs, masks, grasps = figures.mpjpe_mm, figures.mrrpe_mm, figures.mask_iou, figures.grasp_accuracy
    if (
        pose is not None
        and pairs is not None
        and pose <= LOW_MPJPE_MM
        and pairs >= max(HIGH_MRRPE_MM, HIGH_MRRPE_RATIO * pose)
    ):
        found.append(
            f"MRRPE {pairs:.0f} mm with an MPJPE of only {pose:.0f} mm: hands are right but not where they belong; check the intrinsics "
            "and the positional encoding (KPE)"
        )
    if pose is not None and masks is not None and pose <= GOOD_POSE_MM and masks <= POOR_MASK_IOU:
        found.append(
            f"silhouettes overlap the masks by {100 * masks:.0f} % with an MPJPE of only {pose:.0f} mm: the pose is right but the mesh "
            "lies beside the hand; check the alignment of crops, camera and image"
        )
    if masks is not None and grasps is not None and masks >= GOOD_MASK_IOU and grasps <= POOR_GRASP_ACCURACY:
        found.append(
            f"{100 * grasps:.0f} % of the grasps are right with silhouettes that overlap the masks by {100 * masks:.0f} %: "
            "the hand is right but not its class; the grasp head needs training"
        )
    return found
