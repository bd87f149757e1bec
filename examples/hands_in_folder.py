"""Prints where the wrists are in a folder of images.

    python examples/hands_in_folder.py FOLDER --fov 70
    python examples/hands_in_folder.py FOLDER --calibration camera.yaml

Positions are metres in the camera's frame: x right, y down, z forward.
"""

import argparse

from wildhands_ros import Camera, Estimator, load_calibration, open_source


def main() -> None:
    parser = argparse.ArgumentParser(description="Print where the wrists are in a folder of images.")
    parser.add_argument("folder", help="folder of images (an image or a video works, too)")
    parser.add_argument(
        "--fov", type=float, help="horizontal field of view in degrees; without it distances are a guess"
    )
    parser.add_argument("--calibration", help="calibration file of ROS's camera_calibration, instead of --fov")
    args = parser.parse_args()

    calibration = load_calibration(args.calibration) if args.calibration else None
    estimator = Estimator()
    for frame in open_source(args.folder):
        camera = calibration.for_image(frame.image) if calibration else Camera.for_image(frame.image, args.fov)
        for hand in estimator(frame.image, camera).hands:
            x, y, z = hand.wrist_position
            print(f"{frame.name}  {hand.side.value:5}  x {x:+.3f}  y {y:+.3f}  z {z:+.3f} m  score {hand.score:.2f}")


if __name__ == "__main__":
    main()
