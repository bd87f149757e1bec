"""The pool of training examples: the same images as without it, each once per epoch, created once."""

import dataclasses

import numpy as np
import pytest
import torch

from wildhands_ros.datasets.labels import Supervision
from wildhands_ros.io.images import encode_image
from wildhands_ros.network.config import MEDIAPIPE_HAND, Encoding, Fusion
from wildhands_ros.training import pool as pool_module
from wildhands_ros.training.batch_files import load_joined, save_batch, select_hands
from wildhands_ros.training.batches import Batches
from wildhands_ros.training.config import DistillationConfig, GroupConfig, OptimizerConfig, SourceConfig, TrainingConfig
from wildhands_ros.training.initialisation import hand_assets, initial_network
from wildhands_ros.training.objective import Objective
from wildhands_ros.training.optimization import Optimization
from wildhands_ros.training.pool import Pool, frozen_stages, single_source_runs

pytestmark = pytest.mark.slow

IMAGES = 8
CONFIG = TrainingConfig(
    network=dataclasses.replace(MEDIAPIPE_HAND, features=64),
    sources=(SourceConfig("world/lab"), SourceConfig("world/wild")),
    steps=10,
    batch_size=IMAGES,
    pool=IMAGES,
    start="mediapipe",
    distillation=DistillationConfig(landmarks=1, world=1, presence=1, side=1),
    optimizer=OptimizerConfig(
        groups=(GroupConfig(("hand_trunk.stem", *(f"hand_trunk.blocks.{i}" for i in (0, 1, 2, 3, 4, 6))), lr_factor=0),)
    ),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def pool(cache) -> Pool:
    return Pool(CONFIG, hand_assets(CONFIG))


def test_only_stages_at_the_beginning_count_as_frozen():
    assert frozen_stages(CONFIG) == 6
    assert frozen_stages(dataclasses.replace(CONFIG, optimizer=OptimizerConfig())) == 0
    with pytest.raises(ValueError, match="a latent encoding"):
        frozen_stages(
            dataclasses.replace(CONFIG, network=dataclasses.replace(MEDIAPIPE_HAND, encoding=Encoding.CENTER_CORNER))
        )


def test_frozen_stages_end_at_the_first_trained_one():
    def frozen(*groups: GroupConfig) -> int:
        return frozen_stages(dataclasses.replace(CONFIG, optimizer=OptimizerConfig(groups=groups)))

    trunk = GroupConfig(("hand_trunk",), lr_factor=0)
    assert frozen(trunk) == 17
    assert frozen(trunk, GroupConfig(("hand_trunk.blocks.4",))) == 5
    assert frozen(trunk, GroupConfig(("hand_trunk.blocks.4.layers.0",))) == 5
    assert (
        frozen(GroupConfig(("hand_trunk",)), GroupConfig(("hand_trunk.stem", "hand_trunk.blocks.0"), lr_factor=0)) == 2
    )


def losses_of(config: TrainingConfig) -> list[dict[str, float]]:
    """Returns the losses of the first batch, from the pool and without it, with a source that has all labels."""
    losses = []
    kept = dataclasses.replace(config, sources=(SourceConfig("world/lab", labels=tuple(Supervision)),))
    direct = dataclasses.replace(kept, pool=0)
    for config, batches in ((kept, Pool(kept, hand_assets(kept))), (direct, Batches(kept, hand_assets(kept)))):
        objective = Objective(initial_network(config), hand_assets(config), config)
        Optimization(objective.model, config.optimizer, config.steps).prepare(1)
        losses.append({name: float(value.detach()) for name, value in objective.eval()(batches[1]).items()})
    return losses


def test_losses_from_the_pool_equal_those_without_it(cache):
    kept, direct = losses_of(CONFIG)
    assert kept.keys() == direct.keys() and "mask" in kept and "distill_landmarks" in kept
    held = [name for name in kept if name.startswith("distill_")]
    assert all(kept[name] < 0.05 for name in held)  # the teacher's own weights, but for rounding
    assert all(kept[name] == pytest.approx(direct[name], rel=0.06) for name in kept if name not in held)


def test_only_averages_of_a_frozen_trunk_are_stored_if_no_maps_are_needed(cache):
    config = dataclasses.replace(
        CONFIG, optimizer=OptimizerConfig(groups=(GroupConfig(("hand_trunk", "landmark_head"), lr_factor=0),))
    )
    pool = Pool(config, hand_assets(config))
    assert pool[1].features.shape[1:] == (1152, 1, 1)
    kept, direct = losses_of(config)
    assert kept.keys() == direct.keys() and all(kept[name] == pytest.approx(direct[name], rel=0.06) for name in kept)
    mapped = dataclasses.replace(
        config, pool=1, batch_size=1, network=dataclasses.replace(config.network, fusion=Fusion.MAPS)
    )
    assert Pool(mapped, hand_assets(mapped))[1].features.shape[1:] == (1152, 7, 7)


def test_each_epoch_uses_every_image_once_in_another_order(pool):
    epochs = [pool[step] for step in (1, 2)]
    names = [[str(name) for name in batch.targets.names] for batch in epochs]
    assert sorted(names[0]) == sorted(names[1]) and names[0] != names[1]
    halves = Pool(dataclasses.replace(CONFIG, batch_size=IMAGES // 2), hand_assets(CONFIG))
    assert [*halves[1].targets.names, *halves[2].targets.names] == names[0]
    shares = [Pool(CONFIG, hand_assets(CONFIG), rank, 2)[1] for rank in (0, 1)]
    assert [*shares[0].targets.names, *shares[1].targets.names] == names[0]
    assert shares[1].targets.num_images == IMAGES // 2
    np.testing.assert_array_equal(np.unique(shares[1].targets.image_index), np.arange(IMAGES // 2))


def test_labels_that_no_hand_has_are_omitted(pool):
    with_3d = pool[1].targets.has_pose
    rows = (~with_3d).nonzero().flatten()[:1]
    lone = select_hands(pool[1], rows, torch.tensor([0]), 1).targets
    assert lone.rotations is None and lone.mask is not None and lone.has_mask.all()


def test_unusable_images_are_reported_once(tmp_path, cache):
    for name in ("good.png", "bad.png"):
        (tmp_path / name).write_bytes(
            encode_image(np.full((80, 80, 3), 99, np.uint8), ".png") if name == "good.png" else b"not an image"
        )
    config = dataclasses.replace(CONFIG, sources=(SourceConfig("photographs", root=str(tmp_path)),))
    direct = Batches(config, hand_assets(config))[1]
    first, second = (Pool(config, hand_assets(config), 0, 2)[step] for step in (1, 2))
    assert first.skipped == direct.skipped and first.skipped["photographs: image that cannot be read"] > 0
    assert first.details == direct.details
    assert not second.skipped and not second.details and not Pool(config, hand_assets(config), 1, 2)[1].skipped


def test_the_pool_is_created_once(pool, monkeypatch):
    monkeypatch.setattr(pool_module, "in_processes", lambda *_: pytest.fail("made again"))
    Pool(CONFIG, hand_assets(CONFIG))
    for change in ({"seed": 2}, {"distillation": DistillationConfig()}):
        with pytest.raises(pytest.fail.Exception, match="made again"):
            Pool(dataclasses.replace(CONFIG, **change), hand_assets(CONFIG))


def test_sources_have_images_of_their_own(pool, monkeypatch):
    """Shares are those of the configuration, and another source is created without the others being created again."""
    grasps = pool[1].targets.has_grasp
    assert grasps.any() and not grasps.all()
    folders = {pool_module._folder(run) for run in single_source_runs(CONFIG, CONFIG.sources, [0.5, 0.5])}
    more = (*CONFIG.sources, SourceConfig("world/open"))
    made = []
    monkeypatch.setattr(pool_module, "_make", lambda config, folder, *_: made.append((config.pool, folder)) or [])
    monkeypatch.setattr(pool_module, "load_joined", lambda paths: pool[1])
    Pool(dataclasses.replace(CONFIG, sources=more, pool=12), hand_assets(CONFIG))
    assert [count for count, _ in made] == [4, 4, 4] and folders < {folder for _, folder in made}


def test_each_machine_creates_a_whole_pool(cache, monkeypatch):
    def made(_, chunks, *__):
        raise InterruptedError(str(chunks))

    monkeypatch.setattr(pool_module, "in_processes", made)
    config = dataclasses.replace(CONFIG, pool=256, seed=3)
    for rank, local, chunks in ((2, "0", "0, 2"), (3, "1", "1, 3")):
        monkeypatch.setenv("LOCAL_RANK", local)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        with pytest.raises(InterruptedError, match=chunks):
            Pool(config, hand_assets(config), rank, 4)


def test_other_photographs_give_another_pool(cache, tmp_path):
    folders = []
    config = dataclasses.replace(CONFIG, sources=(SourceConfig("photographs", root=str(tmp_path)),))
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
        folders.append(pool_module._folder(config))
    for text in ("{}", "[]"):
        (tmp_path / "labels.json").write_text(text)
        folders.append(pool_module._folder(config))
    assert len(set(folders)) == 4


def test_a_pool_with_only_part_of_the_teachers_output_is_rejected(pool, tmp_path):
    paths = [tmp_path / "0.pt", tmp_path / "1.pt"]
    for path, taught in zip(paths, (pool[1].taught, None), strict=True):
        save_batch(dataclasses.replace(pool[1], taught=taught), path)
    with pytest.raises(ValueError, match="only some of the files"):
        load_joined(paths)
