"""Measures the fits to depth images and to several cameras, on synthetic images, in one process.

Times are processor times of the thread that fits, which other work on the machine affects less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any

import numpy as np

from ..config import EstimatorConfig, SearchWindows
from ..estimator import Estimator
from ..fitting.depth_fit import DepthFit
from ..fitting.detection_fit import FitRequest, fit_detections
from ..fitting.hand_fusion import HandFusion, ObservedHand, observe
from ..fitting.keypoint_fit import FitState, KeypointFit
from ..hand_model.asset import open_hands
from ..synthetic.demo_clip.clip import DemoClip
from ..synthetic.depth import STEREO, depth_image
from ..synthetic.egocentric import FPS
from ..synthetic.render import render
from ..synthetic.rigs import RigRecording
from ..types import DepthStatus, Detection, HandEstimate, Side
from .clip import RATE, Clip
from .figures import percentiles
from .stages import WARM_UP

_CAMERAS = 3
_MOMENTS = 10
"""Number of moments that are fused."""
_REPEATS = 5
"""How often they are fused."""


def measure_depth_fit(clip: Clip, frames: int) -> dict[str, Any]:
    """Measures the fits of hands that are followed in the clip, to keypoints and then to a stereo camera's depth.

    Args:
        clip: The clip of the demo.
        frames: Number of images.

    Returns:
        Processor time of all hands of an image ("keypoints", "depth"), that of one hand's depth ("depth_per_hand"), and
        the share of hands whose depth was used.
    """
    world, assets = DemoClip(), open_hands()
    keypoint_fit, depth_fit = KeypointFit(assets[Side.RIGHT]), DepthFit(assets)
    fits = dict.fromkeys(Side, keypoint_fit)
    states: dict[Side, FitState] = {}
    seconds: dict[str, list[float]] = {"keypoints": [], "depth": [], "depth_per_hand": []}
    used: list[bool] = []
    last = len(clip.frames) - 1
    with closing(Estimator(EstimatorConfig(search=SearchWindows()))) as estimator:
        for number, image in enumerate(islice(clip.endless(), WARM_UP + frames)):
            shown = last - abs(last - number % (2 * last))
            depth = depth_image(world.scene(shown / RATE), STEREO, np.random.default_rng(shown))
            requests = [
                FitRequest(_detection(hand), states.get(hand.side), 1 / RATE, {hand.side: hand.mano})
                for hand in estimator(image, clip.camera, number / RATE).hands
            ]
            times = [time.thread_time()]
            fitted = [fit for fit in fit_detections(fits, requests, clip.camera) if fit is not None]
            times.append(time.thread_time())
            results = [depth_fit.refine(fit, depth) for fit in fitted]
            times.append(time.thread_time())
            states = {result.fit.side: result.fit.state for result in results}
            if number >= WARM_UP and results:
                of_keypoints, of_depth = np.diff(times).tolist()
                seconds["keypoints"].append(of_keypoints)
                seconds["depth"].append(of_depth)
                seconds["depth_per_hand"].append(of_depth / len(results))
                used += [result.status is DepthStatus.USED for result in results]
    if not used:
        raise RuntimeError("no hand was found in the clip, so that the depth fit cannot be measured")
    return {
        **{name: percentiles(values) for name, values in seconds.items()},
        "hands": round(len(used) / len(seconds["depth"]), 2),
        "depth_used_percent": round(100 * float(np.mean(used)), 1),
    }


def _detection(hand: HandEstimate) -> Detection:
    return Detection(
        hand.box, hand.side, hand.score, side_score=1.0, keypoints=hand.keypoints, keypoint_weights=np.ones(21)
    )


def measure_fusion(moments: int = _MOMENTS) -> dict[str, Any]:
    """Measures the fusion of three cameras at rest that see hands at work.

    Args:
        moments: Number of images of each camera.

    Returns:
        Processor time of each hand that all cameras see ("per_hand").
    """
    recording = RigRecording(0, moments / FPS, _CAMERAS, "val")
    names = [f"camera_{number + 1}" for number in range(_CAMERAS)]
    seen: list[tuple[float, dict[str, list[ObservedHand]]]] = []
    with ExitStack() as stack:
        config = EstimatorConfig(search=SearchWindows())
        estimators = {name: stack.enter_context(closing(Estimator(config))) for name in names}
        for number in range(moments):
            stamp, observed = number / FPS, {}
            for name, at, scene in zip(names, recording.cameras, recording.scenes(number), strict=True):
                hands = estimators[name](render(scene).image, scene.camera, stamp).hands
                found = [observe(hand, at.camera, at.pose, stamp) for hand in hands]
                observed[name] = [hand for hand in found if hand is not None]
            seen.append((stamp, observed))
    return fusion_figures(seen)


def fusion_figures(seen: Sequence[tuple[float, dict[str, list[ObservedHand]]]]) -> dict[str, Any]:
    """Returns the times of fusing hands, without the first moment, in which their tracks begin.

    Args:
        seen: Stamps, and the hands of each camera.

    Raises:
        RuntimeError: No hand is seen by all cameras.
    """
    seconds = []
    assets = open_hands()
    for _ in range(_REPEATS):
        fusion = HandFusion(assets)
        for number, (stamp, observed) in enumerate(seen):
            start = time.thread_time()
            hands = fusion.update(stamp, observed).hands
            spent = time.thread_time() - start
            if number and hands and all(len(hand.views) == len(observed) for hand in hands):
                seconds.append(spent / len(hands))
    if not seconds:
        raise RuntimeError("no hand was seen by all cameras, so that the fusion cannot be measured")
    return {"cameras": len(seen[0][1]), "per_hand": percentiles(seconds)}
