"""What an estimator is made of; apart from the estimator, so that reading parameters does not import torch."""

from dataclasses import dataclass

AUTO, NONE, OPEN = "auto", "none", "open"


@dataclass(frozen=True)
class EstimatorConfig:
    """Choices of the user's; the same for the node and for the command line."""

    checkpoint: str = AUTO
    """The network: "default" for the weights in the box, "released" for the imported published ones, the path of a checkpoint, "none" for
    the keypoint fit alone, or "auto": the default weights, unless ``hand_model`` is a folder."""
    hand_model: str = AUTO
    """"auto": the checkpoint's own hand, or the open one where it has none; "open"; or a folder with MANO's files."""
    detector: str = AUTO
    """One of ``DETECTORS``."""
    search_time: float = 0.02
    """Seconds that "auto" may look further in an image of a stream in which it has found nothing; the rest comes in the next images."""
    search_windows: int | None = None
    """In place of ``search_time`` where what is found must not depend on the machine: so many places, the whole image or a part of it."""
    max_hands: int = 2
    """Hands to look for in an image, of either side."""
    min_score: float = 0.5
    """Detection confidence in (0, 1) below which a hand is not reported."""
    hand_length: float = 0.0
    """Metres from wrist to middle fingertip of the user's stretched hand: halves the depth's uncertainty; 0 where unknown."""
    refine: bool = True
    """Fit the network's estimate to the detector's keypoints."""
    device: str = "auto"
    """Torch device of the network; "auto" for a GPU where there is one."""
    runtime: str = AUTO
    """What runs the network: "torch", "openvino" (CPU), or "auto": OpenVINO on a CPU where it is installed."""
    precision: str = AUTO
    """Of the network: "float32", "bfloat16", "int8" (after ``wildhands quantize``), or "auto": the fastest that costs no accuracy."""
