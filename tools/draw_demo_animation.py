"""Draws docs/demo.gif, the animation of the README: the hands of the demo clip with mesh, skeleton and labels.

    .venv/bin/python tools/draw_demo_animation.py

Run it again when demo/clip.mp4 or the estimates change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from wildhands_ros import Estimator, HandSmoother, draw_frame, load_calibration, open_source

ROOT = Path(__file__).resolve().parent.parent
COLOURS = 96


def overlays(step: int) -> list[np.ndarray]:
    """Every ``step``-th frame of the clip with its smoothed hands drawn over it."""
    estimator, calibration = Estimator(), load_calibration(ROOT / "demo/camera_info.yaml")
    smoother, drawn = HandSmoother(estimator.hand_model), []
    for number, frame in enumerate(open_source(str(ROOT / "demo/clip.mp4"))):
        stamp = frame.stamp or 0.0
        estimate = estimator(frame.image, calibration.for_image(frame.image), stamp)
        smoothed = smoother(estimate, stamp)
        if number % step == 0:
            drawn.append(draw_frame(frame.image, smoothed, estimator.faces))
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the README's animation from the demo clip.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/demo.gif")
    parser.add_argument("--width", type=int, default=480, help="pixels (default: %(default)s)")
    parser.add_argument("--step", type=int, default=3, help="clip frames per animation frame (default: %(default)s)")
    args = parser.parse_args()

    images = [Image.fromarray(image) for image in overlays(args.step)]
    size = args.width, round(args.width * images[0].height / images[0].width)
    images = [image.resize(size, Image.Resampling.LANCZOS) for image in images]
    # One palette for all frames: colours of their own would flicker.
    sample = Image.fromarray(np.concatenate([np.asarray(image) for image in images[:: max(len(images) // 8, 1)]]))
    palette = sample.quantize(COLOURS)
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    duration = round(1000 * args.step / 30)
    frames[0].save(args.output, save_all=True, append_images=frames[1:], duration=duration, loop=0, optimize=True)
    print(f"wrote {args.output}: {len(frames)} frames, {args.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
