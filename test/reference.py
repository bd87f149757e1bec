"""An independent, plain implementation of the inference of the released WildHands, as a reference for tests.

The steps a to j are those of its preprocessing, in order.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def cubic_window(image, cx, cy, side, size):
    """Resamples the square window around (cx, cy) to size x size, by three corresponding points."""
    source = np.float32([[cx, cy], [cx, cy + side / 2], [cx + side / 2, cy]])
    target = np.float32([[size / 2, size / 2], [size / 2, size], [size, size / 2]])
    return cv2.warpAffine(image, cv2.getAffineTransform(source, target), (size, size), flags=cv2.INTER_CUBIC)


def reference_frame(image):
    """Returns the (224, 224, 3) frame in 0..1 (steps a and d)."""
    height, width = image.shape[:2]
    render = np.clip(
        cubic_window(image.astype(np.float32), width / 2, height / 2, max(width, height), 840), 0, 255
    ).astype(np.uint8)
    blurred = cv2.GaussianBlur(render, (5, 5), 8)
    return np.clip(cubic_window(blurred.astype(np.float32), 420, 420, 840, 224), 0, 255) / 255


def reference_hand(frame, k, shape, box):
    """Returns the crop in 0..1 and the ten angles of centre and corners (steps b, e to g, i)."""
    height, width = shape
    longer = max(height, width)
    to_840 = lambda value, extent: (value - extent / 2) * 840 / longer + 420  # noqa: E731
    to_224 = lambda value: min(max(int(224 / 840 * (value - 420) + 112) + 1, 0), 223)  # noqa: E731
    x0, y0, x1, y1 = (
        to_224(to_840(value, extent)) for value, extent in zip(box, (width, height, width, height), strict=True)
    )
    xm, ym, side = (x0 + x1) // 2, (y0 + y1) // 2, max(x1 - x0, y1 - y0) * 1.75
    crop = np.clip(cubic_window(frame.astype(np.float32), xm, ym, side, 224), 0, 1)
    h = int(side // 2)
    x0, y0, x1, y1 = (min(max(v, 0), 223) for v in (xm - h, ym - h, xm + h, ym + h))
    fx, fy, cx, cy = reference_intrinsics(k, shape)
    points = [((x0 + x1) / 2, (y0 + y1) / 2), (x0, y0), (x0, y1), (x1, y0), (x1, y1)]
    return crop, np.array([angle for x, y in points for angle in (np.arctan2(x - cx, fx), np.arctan2(y - cy, fy))])


def reference_intrinsics(k, shape):
    """Returns fx, fy, cx, cy of the 224-pixel frame."""
    height, width = shape
    longer = max(height, width)
    return [
        v * 224 / longer for v in (k[0, 0], k[1, 1], k[0, 2] - (width - longer) / 2, k[1, 2] - (height - longer) / 2)
    ]


def resnet50(state, prefix, x):
    def norm(name, x):
        p = f"{prefix}{name}."
        return F.batch_norm(
            x, state[p + "running_mean"], state[p + "running_var"], state[p + "weight"], state[p + "bias"]
        )

    def conv(name, x, **options):
        return F.conv2d(x, state[f"{prefix}{name}.weight"], **options)

    x = F.max_pool2d(norm("bn1", conv("conv1", x, stride=2, padding=3)).relu(), 3, stride=2, padding=1)
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for i in range(blocks):
            name, stride = f"layer{layer}.{i}.", 2 if layer > 1 and i == 0 else 1
            y = norm(name + "bn1", conv(name + "conv1", x)).relu()
            y = norm(name + "bn2", conv(name + "conv2", y, stride=stride, padding=1)).relu()
            y = norm(name + "bn3", conv(name + "conv3", y))
            if i == 0:
                x = norm(name + "downsample.1", conv(name + "downsample.0", x, stride=stride))
            x = (x + y).relu()
    return x


def rotation_vectors(matrices):
    """Converts matrices to axis-angle by quaternions whose largest component is positive.

    The real part may be negative, and the angle larger than pi.
    """
    quaternions = Rotation.from_matrix(matrices).as_quat()
    largest = np.abs(quaternions).argmax(axis=1)[:, None]
    quaternions *= np.sign(np.take_along_axis(quaternions, largest, axis=1))
    sines = np.linalg.norm(quaternions[:, :3], axis=1, keepdims=True)
    return quaternions[:, :3] / sines * 2 * np.arctan2(sines, quaternions[:, 3:])


def reference_prediction(state, image, k, box, side):
    """Runs the released model with the state dict of the published checkpoint on one hand; side is "r" or "l".

    Returns rotations (16, 3, 3), full MANO pose (48,) with the mean added, betas (10,) and translation (3,).
    """
    linear = lambda name, x: F.linear(x, state[name + ".weight"], state[name + ".bias"])  # noqa: E731
    frame = reference_frame(image)
    crop, angles = reference_hand(frame, k, image.shape[:2], box)
    image_features, features = (
        resnet50(state, prefix, ((torch.from_numpy(np.float32(x)) - MEAN) / STD).permute(2, 0, 1)[None])
        for prefix, x in (("model.backbone.", frame), ("model.hand_backbone.", crop))
    )
    encoded = [
        f(2**level * angle)
        for part in (angles[:2], angles[2:])
        for level in range(4)
        for angle in part
        for f in (np.sin, np.cos)
    ]
    encoded = torch.tensor(np.float32(encoded))[None, :, None, None].expand(1, 80, 7, 7)
    x = torch.cat([features + image_features, encoded], dim=1)
    for i in (0, 2, 4):
        x = F.conv2d(x, state[f"model.feature_conv.{i}.weight"]).relu()
    x = linear("model.feature_conv.7", x.reshape(1, 2304)).relu()

    head = f"model.head_{side}."
    camera = linear(head + "cam_init.4", linear(head + "cam_init.2", linear(head + "cam_init.0", x).relu()).relu())
    pose, betas = torch.tensor([[1.0, 0, 0, 0, 1, 0] * 16]), torch.zeros(1, 10)
    for _ in range(3):
        v = torch.cat([x, pose, betas, camera], dim=1)
        v = linear(head + "hmr_layer.refine.3", linear(head + "hmr_layer.refine.0", v).relu()).relu()
        pose = pose + linear(head + "hmr_layer.decoders.pose_6d", v)
        camera = camera + linear(head + "hmr_layer.decoders.cam_t/wp", v)
        betas = betas + linear(head + "hmr_layer.decoders.shape", v)

    rotations = []
    for first, second in pose.reshape(16, 2, 3).double().numpy():
        b1 = first / np.linalg.norm(first)
        b2 = second - (b1 @ second) * b1
        b2 = b2 / np.linalg.norm(b2)
        rotations.append([b1, b2, np.cross(b1, b2)])
    rotations = np.array(rotations)
    full_pose = rotation_vectors(rotations).reshape(48)
    full_pose[3:] += state[f"mano_{side}.hand_mean"].double().numpy()

    fx, fy, _, _ = reference_intrinsics(k, image.shape[:2])
    s, tx, ty = camera[0].tolist()
    return rotations, full_pose, betas[0].numpy(), np.array([tx, ty, 2 * (fx + fy) / 2 / (224 * max(s, 0.1) + 1e-9)])
