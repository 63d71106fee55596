"""What couples images on purpose says so, and is refused where images are cut into batches."""

import keras
import pytest

import actmax
from actmax.problem import Problem


def normalized():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1), name="pixels"),
            keras.layers.Conv2D(3, 3, name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.GlobalAveragePooling2D(name="mean"),
            keras.layers.Dense(2, name="head"),
        ]
    )


COUPLED = {
    "prior": actmax.Logit() - 0.1 * actmax.BatchNormPrior("batch"),
    "diversity": actmax.Logit() + 0.1 * actmax.Diversity("conv"),
}
every_coupled = pytest.mark.parametrize("coupled", COUPLED.values(), ids=COUPLED)


def problem(**settings) -> Problem:
    arguments = {"input_range": (0, 1), "regularizers": [], **settings}
    objective = arguments.pop("objective", None)
    return actmax.Maximizer(normalized(), objective, **arguments).problem


def test_every_kind_of_part_is_asked():
    assert not problem().couples_images
    assert not problem(objective=actmax.Logit() - actmax.BatchNormPrior()).couples_images
    assert all(problem(objective=each).couples_images for each in COUPLED.values())
    shared = actmax.LowResolutionSum(shared=True)
    assert problem(parameterization=shared).couples_images
    other = actmax.BatchNormPenalty(0.1, model=normalized(), scope="batch")
    assert problem(regularizers=[other]).couples_images


@every_coupled
def test_a_sweep_refuses_it(coupled):
    maximizer = actmax.Maximizer(normalized(), coupled, input_range=(0, 1), regularizers=[])
    with pytest.raises(ValueError, match="points of a sweep are compared"):
        maximizer.sweep([0, 1], steps=1)


@every_coupled
def test_a_catalog_refuses_it(coupled, tmp_path):
    with pytest.raises(ValueError, match="cuts its images into batches"):
        actmax.catalog(
            normalized(), [coupled], out=tmp_path, input_range=(0, 1), regularizers=[], steps=1
        )
    assert not list(tmp_path.rglob("*.parquet"))
