"""The comparison of network variants, at the smallest size."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from wildhands_ros.cli.main import main
from wildhands_ros.evaluation.ablation.features import FeatureRequest, load_features, make_features
from wildhands_ros.evaluation.ablation.inputs import batch_targets, mask_camera, variant_inputs
from wildhands_ros.evaluation.ablation.main import AblationSize
from wildhands_ros.evaluation.ablation.results import markdown, rows_of
from wildhands_ros.evaluation.ablation.training import TrainingSet, measure, train
from wildhands_ros.evaluation.ablation.variants import LOSSES, NETWORK, VARIANTS, Variant
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.network.config import CameraDecoding
from wildhands_ros.network.preprocessing import preprocess
from wildhands_ros.synthetic.world import World

pytestmark = pytest.mark.slow

REQUEST = FeatureRequest("lab", "test", 4, augmented=False, images=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def features(cache):
    return load_features(make_features(REQUEST, cache, workers=1), images=True)


def test_features_are_reproducible(features, tmp_path):
    again = load_features(make_features(REQUEST, tmp_path, workers=1), images=True)
    assert again.arrays.keys() == features.arrays.keys()
    for name, values in features.arrays.items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)


def test_cache_key_depends_on_the_request():
    others = [
        dataclasses.replace(REQUEST, **change)
        for change in ({"split": "val"}, {"augmented": True}, {"seed": 1}, {"world": "wild"})
    ]
    assert len({request.key for request in (REQUEST, *others)}) == 5


def test_labels_match_the_crops(features):
    joints, k = features["joints_3d"], features["k"]
    rays = joints @ k.transpose(0, 2, 1)
    np.testing.assert_allclose(rays[..., :2] / rays[..., 2:], features["joints_2d"], atol=0.05)
    assert features["mask"].reshape(len(features), -1).mean(axis=1).min() > 0.02 * 255
    small = np.array(mask_camera(torch.from_numpy(k)))
    rays = joints @ small.transpose(0, 2, 1)
    np.testing.assert_allclose(rays[..., :2] / rays[..., 2:], (features["joints_2d"] + 0.5) / 2 - 0.5, atol=0.05)


@pytest.mark.parametrize("camera", CameraDecoding)
@pytest.mark.parametrize("key", ["sparse", "no_intrinsics", "dense"])
def test_inputs_equal_those_of_the_estimators_preprocessing(camera, key, tmp_path):
    variant = VARIANTS[key]
    network = dataclasses.replace(variant.network, camera=camera)
    features = load_features(
        make_features(dataclasses.replace(REQUEST, num_images=1, images=False), tmp_path, workers=1)
    )
    ours = variant_inputs(features, dataclasses.replace(variant, network=network))
    frame = features.camera(0)
    side = np.linalg.norm(features["corners"][0, 2] - features["corners"][0, 0]) / network.crop_scale
    centre = features["corners"][0].mean(axis=0)
    box = np.concatenate([centre - side / 2, centre + side / 2])
    image = np.zeros((frame.height, frame.width, 3), np.uint8)
    theirs = preprocess(image, frame, box[None], network, network.preprocessing, features["turn"][:1])
    for name in ("kpe", "focal", "anchor", "turn"):
        np.testing.assert_allclose(getattr(ours, name)[0], getattr(theirs, name)[0], rtol=1e-4, atol=1e-5, err_msg=name)


def test_fisheye_angles_differ_from_pinhole_angles(tmp_path):
    features = load_features(
        make_features(FeatureRequest("fisheye", "test", 2, augmented=False, images=False), tmp_path, workers=1)
    )
    rays, pinhole = (variant_inputs(features, VARIANTS[key]).kpe for key in ("fisheye_rays", "fisheye_pinhole"))
    assert (rays - pinhole).abs().max() > 0.05


def test_wild_images_are_supervised_by_masks_and_grasps(features):
    rows = np.arange(len(features))
    targets = batch_targets(features, variant_inputs(features, VARIANTS["sparse"]), rows, rows == 0)
    assert targets.has_j3d.tolist() == targets.has_cam.tolist() == (rows == 0).tolist()
    assert targets.has_mask.tolist() == targets.has_grasp.tolist() == (rows != 0).tolist()


def test_training_reduces_the_errors_on_the_training_images(features):
    variant = Variant("test", "test", dataclasses.replace(NETWORK, features=256), dataclasses.replace(LOSSES, mask=0))
    data = TrainingSet.of([features], [])
    before = measure(variant, train(variant, data, 1, 0), features)
    after = measure(variant, train(variant, data, 80, 0), features)
    assert after.samples == len(features)
    assert after.mpjpe_mm < 0.5 * before.mpjpe_mm
    assert after.root_mm < 0.5 * before.root_mm
    assert after.grasp_accuracy is not None


def test_the_full_image_variant_trains(features):
    variant = VARIANTS["full_image"]
    assert len(features["image_features"]) == features.num_images < len(features)
    heads = train(variant, TrainingSet.of([features], []), 2, 0)
    assert np.isfinite(measure(variant, heads, features).mpjpe_mm)
    assert not variant_inputs(features, variant).turn.any()


def test_ground_truth_has_zero_error(features):
    """Estimates are measured in the frame and joint order of the labels."""

    class GroundTruth(torch.nn.Module):
        def forward(self, _, kpe, targets):
            class Output:
                grasp_logits = torch.zeros(len(kpe), 9)

            return Output, None, targets.joints_3d

    figures = measure(VARIANTS["sparse"], GroundTruth(), features)
    assert figures.mpjpe_mm == figures.root_mm == figures.l2_px == 0
    assert len(MANO_TO_MEDIAPIPE) == 21


def test_command_line_writes_results_and_repeats_only_missing_runs(tmp_path, capsys):
    command = ["ablate", "--minutes", "0.01", "--seeds", "2", "--workers", "1", "--rows", "sparse", "no_kpe"]
    command += ["--cache", str(tmp_path), "--json", str(tmp_path / "a.json"), "--table", str(tmp_path / "a.md")]
    assert main(command) == 0
    data = json.loads((tmp_path / "a.json").read_text())
    assert [row["key"] for row in data["rows"][:2]] == ["sparse", "no_kpe"]
    for row in data["rows"]:
        assert row["name"]
        for metric in ("mpjpe_mm", "root_mm"):
            assert row[metric]["mean"] > 0
            assert row[metric]["std"] > 0
        assert set(row["mrrpe_mm"]) == {"mean", "std"}
    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert len(runs) == 4
    # Finished runs are not repeated.
    first = (tmp_path / "a.md").read_text()
    next(iter(runs)).unlink()
    assert main(command) == 0
    assert (tmp_path / "a.md").read_text() == first
    assert sum(path.stat().st_mtime_ns != runs[path] for path in runs) == 1
    assert "sparse KPE" in capsys.readouterr().out


def test_invalid_options_are_rejected(tmp_path, capsys):
    assert main(["ablate", "--rows", "nonsense", "--cache", str(tmp_path)]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert main(["ablate", "--minutes", "0", "--cache", str(tmp_path)]) == 2
    assert "minutes" in capsys.readouterr().err
    assert main(["ablate", "--seeds", "0", "--cache", str(tmp_path)]) == 2
    assert AblationSize.for_minutes(60).steps > AblationSize.for_minutes(6).steps


def test_table_shows_missing_values_as_dashes():
    nothing = dict.fromkeys(("mpjpe_mm", "pa_mpjpe_corrected_mm", "mrrpe_mm", "root_mm", "l2_px_224", "grasp_accuracy"))
    runs = {
        "fisheye_rays": [
            {world: {**nothing, "mpjpe_mm": value} for world in ("fisheye", "lab")} for value in (10.0, 14.0)
        ]
    }
    rows = rows_of(runs)
    assert rows[0]["mpjpe_mm"] == {"mean": 12.0, "std": pytest.approx(8**0.5)}
    assert rows[0]["mrrpe_mm"] == {"mean": None, "std": None}
    assert "| 12.0 ± 2.8 | - | - |" in markdown(rows, "a test")


def test_worlds_of_all_variants_exist():
    for variant in VARIANTS.values():
        for name in (*variant.lab, *variant.wild, *variant.tests):
            World(name, "test")
