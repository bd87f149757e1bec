"""Reads the formats in which calibrations are stored into the fields of sensor_msgs/CameraInfo."""

from __future__ import annotations

import re
from pathlib import Path

from ..geometry.calibration import MAX_SIDE, Calibration, CalibrationError
from ..geometry.lens import LENS_MODELS
from .yaml_files import YamlFileError, load_yaml

_WIDTH, _HEIGHT = ("image_width", "width"), ("image_height", "height")
_MATRIX, _PROJECTION = ("camera_matrix", "k", "K"), ("projection_matrix", "p", "P")
_COEFFICIENTS = ("distortion_coefficients", "d", "D", "dist_coeffs", "dist_coeff", "distortion_coeffs")
_MODEL = ("distortion_model", "camera_model")
"""Names of the same value in ROS and OpenCV, in messages of ROS 2 and ROS 1, and in scripts; ROS's name first."""


def read_calibration(path: Path) -> Calibration:
    """Reads a calibration file of any supported format.

    Supported: the YAML of camera_calibration, camera_info_manager and OpenCV, the output of ``ros2 topic echo``,
    the camera chain of Kalibr with one camera, the files of VINS (camodocal) and ORB-SLAM, and the INI format of
    camera_calibration_parsers.

    Raises:
        CalibrationError: it is none of these, or a value is missing or wrong.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head.lstrip().startswith((b"<?xml", b"<opencv_storage")):
        raise CalibrationError("an XML file: only YAML is read; OpenCV writes YAML if the file's name ends in .yml")
    if re.search(rb"^\s*\[image\]\s*$", head, re.MULTILINE):
        return _from_keys(_ini_values(head.decode(errors="replace")))
    try:
        data = load_yaml(path, unique_keys=True)
    except YamlFileError as error:
        raise CalibrationError(str(error)) from error
    if not isinstance(data, dict):
        raise CalibrationError("not a calibration file: expected keys such as image_width and camera_matrix")
    kalibr = [
        key for key, value in data.items() if isinstance(value, dict) and {"camera_model", "intrinsics"} <= set(value)
    ]
    if len(kalibr) > 1:
        raise CalibrationError(
            f"the file holds {len(kalibr)} cameras ({', '.join(kalibr[:8])}): copy the one of the images to a file "
            "of its own"
        )
    if kalibr or {"intrinsics", "resolution"} <= set(data):
        return _from_kalibr(data[kalibr[0]] if kalibr else data)
    if "model_type" in data:
        return _from_parameters(data, str(data["model_type"]), "VINS or camodocal")
    if "Camera.fx" in data or "Camera1.fx" in data:
        prefix = "Camera1" if "Camera1.fx" in data else "Camera"
        values = {str(key).partition(".")[2]: value for key, value in data.items() if str(key).startswith(f"{prefix}.")}
        sizes = {f"image_{side}": data.get(f"Camera.{side}") for side in ("width", "height")}
        return _from_parameters({"parameters": values} | sizes, str(data.get("Camera.type", "PINHOLE")), "ORB-SLAM")
    return _from_keys(data)


_PARAMETERS = {
    "pinhole": (("fx", "fy", "cx", "cy"), ("k1", "k2", "p1", "p2", "k3"), "plumb_bob"),
    "kannala_brandt": (("mu", "mv", "u0", "v0"), ("k2", "k3", "k4", "k5"), "equidistant"),
    "kannalabrandt8": (("fx", "fy", "cx", "cy"), ("k1", "k2", "k3", "k4"), "equidistant"),
}
"""Names of focal lengths and principal point, names of the distortion coefficients, and ROS's name of the model."""


def _from_parameters(data: dict, model: str, program: str) -> Calibration:
    """Reads a file in which each parameter has a key of its own."""
    if model.lower() not in _PARAMETERS:
        raise CalibrationError(
            f"a calibration of {program} with the camera model {_short(model)}: only "
            f"{', '.join(name.upper() for name in _PARAMETERS)} are supported"
        )
    values: dict = {}
    for part in data.values():
        values |= part if isinstance(part, dict) else {}
    names, coefficients, distortion_model = _PARAMETERS[model.lower()]
    if missing := [name for name in (*names, *coefficients[:4]) if name not in values]:
        raise CalibrationError(f"a calibration of {program} without {', '.join(missing)}")
    numbers = {
        name: [values[name] for name in each if name in values] for name, each in (("k", names), ("d", coefficients))
    }
    fx, fy, cx, cy = _numbers(numbers, ("k",), 4)
    return Calibration(
        width=_whole_number(data, _WIDTH),
        height=_whole_number(data, _HEIGHT),
        k=(fx, 0, cx, 0, fy, cy, 0, 0, 1),
        d=_numbers(numbers, ("d",), None),
        distortion_model=distortion_model,
    )


def _from_keys(data: dict) -> Calibration:
    """Reads the formats that have one key for each field: those of ROS and OpenCV, and dumped messages."""
    coefficients = _numbers(data, _COEFFICIENTS, None, optional=True)
    if _find(data, _COEFFICIENTS)[1] is None:
        for key in data:
            if "dist" in str(key).lower() and key not in _MODEL:
                raise CalibrationError(
                    f"unknown key {_short(key)}: it may be meant for {_COEFFICIENTS[0]}, which is missing"
                )
    model = _find(data, _MODEL)[1]
    if not isinstance(model, str | None):
        raise CalibrationError(f"{_MODEL[0]} must be a name such as plumb_bob, not {_short(model)}")
    if data.get("fisheye_model") == 1:  # OpenCV's calibration sample
        model = "equidistant"
    roi = data.get("roi")
    roi = roi if isinstance(roi, dict) else {}
    return Calibration(
        width=_whole_number(data, _WIDTH),
        height=_whole_number(data, _HEIGHT),
        k=_numbers(data, _MATRIX, 9),
        d=coefficients,
        # ROS takes plumb_bob if the file names no model.
        distortion_model=model or ("plumb_bob" if len(coefficients) <= 5 else "rational_polynomial"),
        p=_numbers(data, _PROJECTION, 12, optional=True) or Calibration.p,
        binning_x=_whole_number(data, ("binning_x",), default=0),
        binning_y=_whole_number(data, ("binning_y",), default=0),
        roi=(
            _whole_number(roi, ("x_offset",), default=0),
            _whole_number(roi, ("y_offset",), default=0),
            _whole_number(roi, ("width",), default=0),
            _whole_number(roi, ("height",), default=0),
        ),
    )


def _from_kalibr(camera: object) -> Calibration:
    """Reads a camera of Kalibr's camera chain: pinhole with radtan, equidistant or no distortion."""
    if not isinstance(camera, dict) or camera.get("camera_model") != "pinhole":
        model = camera.get("camera_model") if isinstance(camera, dict) else camera
        raise CalibrationError(
            f"a Kalibr file with the camera model {_short(model)}: only pinhole (with radtan or equi) is supported"
        )
    width, height = _numbers(camera, ("resolution",), 2)
    fx, fy, cx, cy = _numbers(camera, ("intrinsics",), 4)
    sizes = {"width": width, "height": height}
    return Calibration(
        width=_whole_number(sizes, ("width",)),
        height=_whole_number(sizes, ("height",)),
        k=(fx, 0, cx, 0, fy, cy, 0, 0, 1),
        d=_numbers(camera, ("distortion_coeffs",), None, optional=True),
        distortion_model=str(camera.get("distortion_model") or "none"),
    )


def _ini_values(text: str) -> dict:
    """Reads the INI format of camera_calibration_parsers, in which each name is followed by lines of numbers."""
    values: dict[str, list[float]] = {}
    name = ""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            name = " ".join(words)
        else:
            values.setdefault(name, []).extend(numbers)
    data: dict[str, object] = {
        key: values.get(name)
        for key, name in (
            ("camera_matrix", "camera matrix"),
            ("distortion_coefficients", "distortion"),
            ("projection_matrix", "projection"),
        )
    }
    for side in ("width", "height"):
        number = values.get(side, [])
        data[f"image_{side}"] = int(number[0]) if len(number) == 1 and abs(number[0]) <= MAX_SIDE else None
    return data


def _missing(name: str) -> CalibrationError:
    return CalibrationError(f"{name} is missing: expected a calibration file of ROS, or `ros2 topic echo camera_info`")


def _find(data: dict, names: tuple[str, ...]) -> tuple[str, object]:
    """Returns the first of the names that the file has, and its value; the first name and None without any."""
    return next(((name, data[name]) for name in names if data.get(name) is not None), (names[0], None))


def _whole_number(data: dict, names: tuple[str, ...], default: int | None = None) -> int:
    name, value = _find(data, names)
    if value is None and default is not None:
        return default
    value = _unquoted(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None:
        raise _missing(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CalibrationError(f"{name} must be a whole number, not {_short(value)}")
    if not 0 <= value < 2**32:
        raise CalibrationError(f"{name} must be a number of pixels, not {_short(value)}")
    return value


def _numbers(data: dict, names: tuple[str, ...], count: int | None, optional: bool = False) -> tuple[float, ...]:
    """Returns the numbers of a matrix: a list, a list of rows, or their ``data``. Nothing if optional and absent."""
    name, entry = _find(data, names)
    if optional and entry is None:
        return ()
    if entry is None:
        raise _missing(name)
    label = name
    rows, columns = None, None
    if isinstance(entry, dict):
        rows, columns = entry.get("rows"), entry.get("cols")
        label, entry = f"{name}.data", entry.get("data")
    if isinstance(entry, list) and entry and all(isinstance(row, list) for row in entry):
        entry = [value for row in entry for value in row]
    entry = [_unquoted(value) for value in entry] if isinstance(entry, list) else entry
    if not isinstance(entry, list) or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in entry):
        raise CalibrationError(f"{label} must be a list of numbers; the file has {_short(entry)}")
    if count is not None and len(entry) != count:
        raise CalibrationError(f"{label} must have {count} numbers, not {len(entry)}")
    stated = rows * columns if isinstance(rows, int) and isinstance(columns, int) else len(entry)
    if count is None and stated != len(entry) and not any(len(entry) in counts for counts in LENS_MODELS.values()):
        raise CalibrationError(
            f"{label} has {len(entry)} numbers, but rows: {rows} and cols: {columns} make {stated}: is one missing, or "
            "written with a decimal comma?"
        )
    try:
        return tuple(map(float, entry))
    except OverflowError as error:
        raise CalibrationError(f"{label} has a number that is larger than a float can be") from error


def _unquoted(value: object) -> object:
    """Returns the number that a text stands for, which ROS's reader takes as well; anything else unchanged."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value.strip()):
        return float(value)
    return value


def _short(value: object) -> str:
    """Describes a value of the file for a message, however large it is."""
    if isinstance(value, dict | list):
        texts = [_short(item) for item in value] if len(value) <= 14 and isinstance(value, list) else []
        text = f"[{', '.join(texts)}]"
        return text if texts and len(text) < 300 else f"a {type(value).__name__} of {len(value)} values"
    if isinstance(value, int) and abs(value) >= 2**64:
        return "an integer beyond 64 bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
