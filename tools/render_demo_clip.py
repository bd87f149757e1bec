#!/usr/bin/env python3
"""Renders the demo clip from the open hand: ``clip.mp4``, its ``camera_info.yaml`` and ``truth.json`` (as ``wildhands estimate --json``).

Everything follows from the seed. Takes some minutes: ``OMP_NUM_THREADS=1 python tools/render_demo_clip.py [--output demo] [--stills N]``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.demo_clip.motion import DURATION
from tools.demo_clip.scene import Scene
from wildhands_ros.cli.results import Results
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.io.camera_files import calibration_yaml
from wildhands_ros.io.images import encode_image
from wildhands_ros.io.video_writer import VideoWriter

CAMERA = Camera(
    np.array([[692.4, 0, 466.3], [0, 690.9, 283.1], [0, 0, 1]]),
    960,
    540,
    "plumb_bob",
    np.array([-0.062, 0.021, 0.0007, -0.0005, 0.0]),
)
FPS = 30
SHUTTER = 0.5
"""Part of the frame's time for which the shutter is open."""
SUBFRAMES = 3
NOISE = 0.0015


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for the three files; default: demo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stills", type=int, metavar="N", help="only write every Nth frame, as PNG")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    scene = Scene(CAMERA, args.seed)
    rng = np.random.default_rng(args.seed)
    frames = range(0, round(DURATION * FPS), args.stills or 1)
    if args.stills:
        for number in tqdm(frames):
            picture = _expose(scene, number / FPS, rng)
            (args.output / f"frame_{number:03d}.png").write_bytes(encode_image(picture, ".png"))
        return
    writer = VideoWriter(args.output / "clip.mp4", FPS)
    truth = Results()
    for number in tqdm(frames):
        writer.write(_expose(scene, number / FPS, rng))
        truth.add(scene.truth(number / FPS), "clip.mp4", number / FPS, IntrinsicsSource.CAMERA_INFO)
    writer.close()
    (args.output / "camera_info.yaml").write_text(calibration_yaml(CAMERA, "demo"), encoding="utf-8")
    truth.write(args.output / "truth.json", problems=[])


def _expose(scene: Scene, time: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the mean over the open shutter, whose middle is ``time``, with sensor noise."""
    times = time + (np.arange(SUBFRAMES) - (SUBFRAMES - 1) / 2) / SUBFRAMES * SHUTTER / FPS
    picture = scene.photograph(times)
    vignette = _vignette(*picture.shape[:2])
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * (0.4 + 0.6 * np.sqrt(picture.clip(0, 1)))
    picture = np.clip(picture * vignette + NOISE * grain, 0, 1)
    return (picture * 255 + 0.5).astype(np.uint8)


def _vignette(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1 - 0.16 * (x**2 + y**2) / 2)[..., None].astype(np.float32)


if __name__ == "__main__":
    main()
