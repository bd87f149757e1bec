"""Writes a split of a world as images and annotations, for ``wildhands synth``."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..datasets.labels import LabelledHand
from ..geometry.camera import Camera, in_image
from ..io.files import OutputFile
from .config import VERSION, WorldConfig
from .world import World

ANNOTATIONS = "annotations.json"


def write_split(config: WorldConfig, count: int, folder: str | Path, workers: int = 1) -> Path:
    """Writes images 0 to ``count - 1`` of a world to a folder.

    Images are ``images/000000.png``, masks ``masks/000000_right.png`` and ``_left`` (255: visible hand). The
    annotations are COCO-style, as ``datasets.coco_hands`` reads them: keypoints in MediaPipe order with 2 visible, 1
    hidden, 0 outside the image, and ``joint_cam`` in millimetres. They also contain the parameters of the open hand,
    the grasp and the camera; pinhole cameras are repeated as ``cam_param``. The annotation file is written last.

    Args:
        config: The world and its split.
        count: Number of images.
        folder: Output folder, which is created if needed.
        workers: Number of processes.

    Returns:
        Path of the annotation file.

    Raises:
        ValueError: ``count`` or ``workers`` is not positive.
        OSError: A file cannot be written.
    """
    if count < 1 or workers < 1:
        raise ValueError(f"cannot write {count} images with {workers} workers: both must be at least 1")
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    write = partial(_write_image_and_masks, World(config), folder)
    if workers == 1:
        written = [write(index) for index in tqdm(range(count), unit="image")]
    else:
        with ProcessPoolExecutor(workers) as pool:
            written = list(tqdm(pool.map(write, range(count), chunksize=8), total=count, unit="image"))
    annotations = [annotation for _, of_image in written for annotation in of_image]
    content = {
        "info": {
            "description": "wildhands synthetic world",
            "version": VERSION,
            "world": config.name,
            "split": config.split,
            "seed": config.seed,
        },
        "images": [image for image, _ in written],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations)],
        "categories": [{"id": 1, "name": "hand"}],
    }
    path = folder / ANNOTATIONS
    with OutputFile(path) as partial_file:
        partial_file.write_text(json.dumps(content, allow_nan=False))
    return path


def _write_image_and_masks(world: World, folder: Path, index: int) -> tuple[dict, list[dict]]:
    """Writes one image and returns its entry and the annotations of its hands."""
    labelled = world.sample(index)
    name = f"images/{index:06d}.png"
    _write_png(folder / name, np.asarray(cv2.cvtColor(labelled.load_image(), cv2.COLOR_RGB2BGR)))
    camera = labelled.camera
    image = {
        "id": index,
        "file_name": name,
        "width": camera.width,
        "height": camera.height,
        "camera": {"k": camera.k.ravel().tolist(), "distortion_model": camera.distortion_model, "d": camera.d.tolist()},
    }
    if camera.is_pinhole:
        image["cam_param"] = {"focal": [camera.k[0, 0], camera.k[1, 1]], "princpt": [camera.k[0, 2], camera.k[1, 2]]}
    annotations = []
    for hand in labelled.hands:
        # All labels of the synthetic world are known.
        assert hand.side is not None and hand.load_mask is not None
        mask_name = f"masks/{index:06d}_{hand.side.value}.png"
        mask = hand.load_mask()
        _write_png(folder / mask_name, mask.astype(np.uint8) * 255)
        annotations.append({**_annotation(camera, hand, mask), "image_id": index, "mask_file": mask_name})
    return image, annotations


def _annotation(camera: Camera, hand: LabelledHand, mask: np.ndarray) -> dict:
    assert hand.side is not None and hand.keypoints is not None and hand.visible is not None
    assert hand.joints is not None and hand.grasp is not None
    inside = in_image(hand.keypoints, camera.width, camera.height)
    flags = np.where(hand.visible, 2, np.where(inside, 1, 0))
    x0, y0, x1, y1 = hand.box.tolist()
    return {
        "category_id": 1,
        "iscrowd": 0,
        "hand_type": hand.side.value,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": float(mask.sum()),
        # Joints that the lens does not see have no pixel, and flag 0.
        "keypoints": np.column_stack([np.nan_to_num(hand.keypoints), flags]).ravel().tolist(),
        "joint_cam": (1000 * hand.joints).tolist(),
        "grasp": int(hand.grasp),
        "gloved": hand.gloved,
        "open_hand": {name: value.tolist() for name, value in vars(hand.mano).items()},
    }


def _write_png(path: Path, image: np.ndarray) -> None:
    with OutputFile(path) as partial_file:
        partial_file.write_bytes(cv2.imencode(".png", image)[1].tobytes())
