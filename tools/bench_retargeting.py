"""Measures retargeting: the hands of the demo clip to the two bundled robot hands, on one core.

.venv/bin/python tools/bench_retargeting.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from wildhands_ros.teleop.retargeting import ROBOTS, Retargeting
from wildhands_ros.types import Side

TRUTH = Path(__file__).resolve().parent.parent / "demo" / "truth.json"


def main() -> None:
    torch.set_num_threads(1)
    hands = [
        hand for frame in json.loads(TRUTH.read_text())["frames"] for hand in frame["hands"] if hand["side"] == "right"
    ]
    frames = [np.array(hand["joints"]) - hand["joints"][0] for hand in hands]
    local = [
        Rotation.from_rotvec(hand["mano"]["global_orient"]).inv().apply(frame)
        for hand, frame in zip(hands, frames, strict=True)
    ]
    for name in ("gripper", "five_finger_hand"):
        retargeting = Retargeting(ROBOTS / f"{name}.yaml", Side.RIGHT)
        times = []
        for joints in local:
            start = time.process_time()
            retargeting(joints)
            times.append(1000 * (time.process_time() - start))
        p50, p95 = np.percentile(times, (50, 95))
        print(f"{name}: median {p50:.1f} ms, 95th percentile {p95:.1f} ms, {len(times)} hands, {1000 / p50:.0f} Hz")


if __name__ == "__main__":
    main()
