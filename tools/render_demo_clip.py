#!/usr/bin/env python3
"""Renders the demo clip: ``clip.mp4``, ``camera_info.yaml`` and the ground truth ``truth.json``.

``truth.json`` has the format of ``wildhands estimate --json``. Rendering takes five minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
from tqdm import tqdm

from wildhands_ros.cli.results import Results
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.io.camera_files import calibration_yaml
from wildhands_ros.io.images import encode_image
from wildhands_ros.io.video_writer import VideoWriter
from wildhands_ros.synthetic.demo_clip.clip import CAMERA, FPS, DemoClip
from wildhands_ros.synthetic.demo_clip.motion import DURATION


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for the files (default: demo)")
    parser.add_argument("--stills", type=int, metavar="N", help="write only every Nth frame, as PNG")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    clip = DemoClip()
    frames = range(0, round(DURATION * FPS), args.stills or 1)
    if args.stills:
        for number in tqdm(frames, unit="frame"):
            (args.output / f"frame_{number:03d}.png").write_bytes(encode_image(clip.frame(number / FPS), ".png"))
        return
    writer, ground_truth = VideoWriter(args.output / "clip.mp4", FPS), Results()
    for number in tqdm(frames, unit="frame"):
        writer.write(clip.frame(number / FPS))
        ground_truth.add(clip.ground_truth(number / FPS), "clip.mp4", number / FPS, IntrinsicsSource.CAMERA_INFO)
    writer.close()
    (args.output / "camera_info.yaml").write_text(calibration_yaml(CAMERA, "demo"), encoding="utf-8")
    ground_truth.write(args.output / "truth.json", problems=[])


if __name__ == "__main__":
    main()
