"""Every metric against a closed form, a definition written out, or data made to have a value."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import linalg, ndimage, stats

from actmax.evaluation import activations, distances, judge_metrics, pixels, synthetic
from actmax.evaluation.synthetic import train_on_synthetic
from actmax.evaluation.variations import NAMES, variations


def rng(seed=0):
    return np.random.default_rng(seed)


def noise_of_slope(slope, count=100, size=64, seed=0):
    """Gaussian pictures whose amplitude falls as `f^slope`."""
    white = np.fft.fft2(rng(seed).normal(size=(count, size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    frequency[0, 0] = 1.0
    return np.fft.ifft2(white * frequency**slope).real[..., None]


pictures = hnp.arrays(np.float64, (2, 9, 10, 1), elements=st.floats(0, 1, width=32))


@pytest.mark.parametrize("module", [pixels, distances, judge_metrics, activations])
def test_the_examples_run(module):
    failed, attempted = doctest.testmod(module)
    assert attempted and not failed


# Pictures alone


@pytest.mark.parametrize("slope", [0.0, -1.0, -1.5])
def test_the_slope_of_noise_is_the_one_it_was_made_with(slope):
    assert pixels.spectrum_slope(noise_of_slope(slope)).mean() == pytest.approx(slope, abs=0.06)


def test_a_constant_picture_has_slope_zero():
    assert pixels.spectrum_slope(np.full((1, 16, 16, 1), 0.3))[0] == pytest.approx(0.0, abs=1e-2)


def test_the_slope_does_not_depend_on_contrast():
    images = noise_of_slope(-1.0, count=3)
    assert pixels.spectrum_slope(images * 7) == pytest.approx(pixels.spectrum_slope(images))


def test_equal_spectra_are_at_distance_zero_and_twice_the_amplitude_at_log_two():
    images = noise_of_slope(-1.0, count=20)
    assert pixels.spectrum_distance(images, images) == 0.0
    assert pixels.spectrum_distance(2 * images, images) == pytest.approx(np.log(2))


def test_natural_images_have_a_high_frequency_ratio_of_one_and_blurred_ones_less():
    images = noise_of_slope(-1.0, count=50)
    assert pixels.high_frequency_ratio(images, images).mean() == pytest.approx(1.0)
    blurred = ndimage.gaussian_filter(images, (0, 1, 1, 0))
    assert pixels.high_frequency_ratio(blurred, images).mean() < 0.2
    assert pixels.high_frequency_ratio(noise_of_slope(0.0), images).mean() > 2


def test_saturation_counts_the_two_outer_levels_on_either_side():
    levels = np.array([0, 1, 2, 253, 254, 255]).reshape(1, 1, 6, 1) / 255
    assert pixels.saturation(levels)[0] == pytest.approx(4 / 6)


@given(pictures)
def test_total_variation_is_its_definition(images):
    expected = [
        (np.abs(x[1:] - x[:-1]).sum() + np.abs(x[:, 1:] - x[:, :-1]).sum()) / x.size for x in images
    ]
    assert pixels.total_variation(images) == pytest.approx(expected)


def test_repetition_is_one_for_a_tiling_and_small_for_noise():
    tile = rng().random((8, 8))
    tiling = np.tile(tile, (4, 4))[None, :, :, None]
    assert pixels.repetition(tiling)[0] == pytest.approx(1.0, abs=0.1)
    noise = pixels.repetition(rng().normal(size=(20, 64, 64, 1)))
    assert noise.max() < 0.2
    assert pixels.repetition(np.full((1, 16, 16, 1), 0.5))[0] == 0.0


@given(pictures)
def test_metrics_of_pictures_are_finite_and_in_range(images):
    for metric in (pixels.saturation, pixels.repetition):
        assert np.all((metric(images) >= 0) & (metric(images) <= 1))
    assert np.all(np.isfinite(pixels.spectrum_slope(images)))


def test_pictures_too_small_for_a_spectrum_are_refused():
    with pytest.raises(ValueError, match="at least 8 pixels"):
        pixels.spectrum_slope(np.zeros((1, 4, 4, 1)))


# Distances of features


def test_a_shift_has_its_squared_length_as_frechet_distance():
    x = rng().normal(size=(300, 8))
    assert distances.frechet_distance(x, x + 0.5) == pytest.approx(8 * 0.25)
    y = rng(1).normal(size=(20_000, 8)) + 0.5
    far = distances.frechet_distance(rng(2).normal(size=(20_000, 8)), y)
    assert far == pytest.approx(2.0, abs=0.1)


def test_frechet_distance_is_its_definition():
    x, y = rng().normal(size=(60, 4)), rng(1).normal(size=(50, 4)) @ rng(2).normal(size=(4, 4))
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(a @ b).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)
    assert distances.frechet_distance(x, y) == pytest.approx(expected)
    assert distances.frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)


def test_one_feature_is_enough():
    x = rng().normal(size=(50, 1))
    assert distances.frechet_distance(x, x + 3.0) == pytest.approx(9.0)


def test_kernel_distance_is_its_definition():
    x, y = rng().normal(size=(7, 3)), rng(1).normal(size=(5, 3))
    k = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    xx = np.mean([k(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    yy = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert distances.kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy)


def test_the_kernel_distance_of_one_distribution_is_zero_in_the_mean():
    draws = rng()
    found = [
        distances.kernel_distance(draws.normal(size=(50, 8)), draws.normal(size=(50, 8)))
        for _ in range(200)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    shifted = distances.kernel_distance(draws.normal(size=(50, 8)), draws.normal(size=(50, 8)) + 1)
    assert shifted > 5 * np.std(found)


def test_a_resample_has_the_kernel_distance_of_its_images_less_pairs_of_one_image_with_itself():
    x, y = rng().normal(size=(6, 3)), rng(1).normal(size=(5, 3))
    rows = np.array([[0, 1, 2, 3, 4, 5], [3, 1, 1, 0, 3, 3]])
    whole, drawn = distances.resampled_kernel_distance(x, y, rows)
    assert whole == pytest.approx(distances.kernel_distance(x, y))
    k = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    xx = np.mean([k(x[i], x[j]) for i in rows[1] for j in rows[1] if i != j])
    xy = np.mean([k(x[i], b) for i in rows[1] for b in y])
    yy = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    assert drawn == pytest.approx(xx + yy - 2 * xy)
    with pytest.raises(ValueError, match="two images or more"):
        distances.resampled_kernel_distance(x, y, [[2] * 6])


def test_the_second_set_of_a_resample_counts_as_often_as_it_is_told():
    x, y = rng().normal(size=(4, 3)), rng(1).normal(size=(5, 3))
    rows, counts = [[0, 1, 2, 3], [3, 3, 0, 1]], [[1, 1, 1, 1, 1], [2, 0, 0, 3, 1]]
    whole, drawn = distances.resampled_kernel_distance(x, y, rows, counts)
    assert whole == pytest.approx(distances.kernel_distance(x, y))
    k = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    others = np.repeat(np.arange(5), counts[1])
    xx = np.mean([k(x[i], x[j]) for i in rows[1] for j in rows[1] if i != j])
    xy = np.mean([k(x[i], y[j]) for i in rows[1] for j in others])
    yy = np.mean([k(y[i], y[j]) for i in others for j in others if i != j])
    assert drawn == pytest.approx(xx + yy - 2 * xy)
    for wrong in (counts[:1], [[1] * 4] * 2, [[1, 1, 1, 1, -1]] * 2):
        with pytest.raises(ValueError, match="second_counts"):
            distances.resampled_kernel_distance(x, y, rows, wrong)


def test_classes_drawn_twice_are_no_distance_if_the_second_set_has_them_twice_too():
    centres = 3 * rng().normal(size=(6, 8))
    classes = np.repeat(np.arange(6), 100)
    x, y = (centres[classes] + 0.1 * rng(seed).normal(size=(600, 8)) for seed in (1, 2))
    often = np.array([3, 0, 0, 2, 0, 1])
    rows = np.concatenate([np.tile(np.flatnonzero(classes == c), often[c]) for c in range(6)])
    (matched,) = distances.resampled_kernel_distance(x, y, [rows], [often[classes]])
    (unmatched,) = distances.resampled_kernel_distance(x, y, [rows])
    assert abs(matched) < 0.05 * unmatched


def test_held_out_images_are_as_plausible_as_natural_ones_and_noise_is_not():
    centres = rng().normal(size=(10, 16))
    natural = centres[rng(1).integers(0, 10, 2000)] + 0.1 * rng(2).normal(size=(2000, 16))
    bank, held, ours = natural[:1000], natural[1000:1500], natural[1500:]
    floor = np.median(distances.neighbour_distance(held, bank))
    assert np.median(distances.neighbour_distance(ours, bank)) / floor == pytest.approx(1, abs=0.1)
    noise = distances.neighbour_distance(rng(3).normal(size=(50, 16)), bank)
    assert np.median(noise) / floor > 3


@pytest.mark.parametrize("k", [1, 3])
def test_neighbour_distance_is_its_definition(k):
    x, bank = rng().normal(size=(4, 5)), rng(1).normal(size=(9, 5))
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    expected = np.sort(
        np.linalg.norm(unit(x)[:, None] - unit(bank)[None], axis=2), axis=1
    )[:, k - 1]  # fmt: skip
    assert distances.neighbour_distance(x, bank, k) == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 9 images"):
        distances.neighbour_distance(x, bank[:3], 9)


def test_mahalanobis_is_about_one_for_natural_images_and_more_for_the_wrong_class():
    classes = np.repeat([0, 1], 2000)
    natural = rng().normal(size=(4000, 6)) * [1, 2, 3, 1, 1, 1] + 4.0 * classes[:, None]
    found = distances.mahalanobis(natural[::2], classes[::2], natural[1::2], classes[1::2])
    assert found.mean() == pytest.approx(1.0, abs=0.15)
    wrong = distances.mahalanobis(natural[::2], 1 - classes[::2], natural[1::2], classes[1::2])
    assert wrong.mean() > 4
    with pytest.raises(ValueError, match="none of \\[5\\]"):
        distances.mahalanobis(natural[:1], [5], natural, classes)


def test_diversity_is_the_mean_of_one_minus_cosine_within_classes():
    features = np.array([[1.0, 0], [0, 1], [1, 0], [2, 0]])
    assert distances.diversity(features, [0, 0, 1, 1]) == pytest.approx(0.5)
    assert distances.diversity(features[2:], [1, 1]) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="two images of some class"):
        distances.diversity(features, [0, 1, 2, 3])


@given(st.integers(1, 6), st.integers(1, 4))
def test_the_vendi_score_counts_different_images(different, copies):
    features = np.repeat(np.eye(6)[:different], copies, axis=0)
    assert distances.vendi_score(features) == pytest.approx(different)


# What judges say


def test_a_perfect_judge_gives_one_and_one_that_sees_another_class_zero():
    classes = np.arange(5) % 3
    logits = np.eye(3)[classes] * 4
    assert judge_metrics.top1(logits, classes).tolist() == [1.0] * 5
    assert judge_metrics.top1(logits, (classes + 1) % 3).tolist() == [0.0] * 5


def test_a_judge_that_cannot_tell_has_chance_and_not_the_first_class():
    assert judge_metrics.top1(np.zeros((2, 4)), [0, 3]).tolist() == [0.25, 0.25]


def test_the_temperature_undoes_a_scale():
    draws = rng()
    logits = draws.normal(size=(4000, 5)) * 2
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    classes = (odds.cumsum(1) > draws.random((4000, 1))).argmax(1)
    assert judge_metrics.temperature(logits, classes) == pytest.approx(1.0, abs=0.08)
    ratio = judge_metrics.temperature(3 * logits, classes) / judge_metrics.temperature(
        logits, classes
    )
    assert ratio == pytest.approx(3.0, rel=1e-3)
    assert judge_metrics.probability(3 * logits, classes, 3.0) == pytest.approx(
        odds[np.arange(4000), classes]
    )


def test_natural_logits_are_standardized_to_zero_and_one_and_ranked_evenly():
    classes = rng().integers(0, 3, 900)
    logits = rng(1).normal(size=(900, 3)) * [1, 5, 9] + [3, 2, 1]
    z = judge_metrics.standardized(logits, classes, logits, classes)
    for c in range(3):
        assert z[classes == c].mean() == pytest.approx(0, abs=1e-9)
        assert z[classes == c].std(ddof=1) == pytest.approx(1)
    ranks = judge_metrics.percentile(logits, classes, logits, classes)
    assert ranks.mean() == pytest.approx(0.5)
    best = np.full((1, 3), 1e3)
    assert judge_metrics.percentile(best, [1], logits, classes)[0] == 1.0


@pytest.mark.parametrize(
    ("logits", "classes", "error", "text"),
    [
        (np.zeros((2, 3)), [0], ValueError, "a class for each"),
        (np.zeros((1, 3)), [3], ValueError, r"classes in 0\.\.2"),
        (np.zeros((1, 3)), [0.0], TypeError, "integers"),
    ],
)
def test_classes_that_do_not_fit_are_refused(logits, classes, error, text):
    with pytest.raises(error, match=text):
        judge_metrics.top1(logits, np.array(classes))


def test_too_few_natural_images_of_a_class_are_refused():
    with pytest.raises(ValueError, match=r"fewer of the classes \[1\]"):
        judge_metrics.standardized(np.zeros((1, 2)), [1], np.zeros((3, 2)), [0, 0, 1])


# What the subject says


def test_ratio_and_z_are_their_definitions():
    scores, natural = np.array([6.0, 2.0]), np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]])
    assert activations.activation_ratio(scores, natural).tolist() == [2.0, 0.5]
    expected = stats.zscore(np.array([[1.0, 2, 3], [1.0, 2, 4]]), axis=1, ddof=1)
    assert activations.activation_z(natural[:, 2], natural) == pytest.approx(expected[:, 2])
    with pytest.raises(ValueError, match="a positive largest natural score"):
        activations.activation_ratio(scores, -natural)


def test_a_violation_is_the_largest_distance_from_the_range():
    images = np.array([[0.0, 1.0], [-0.5, 1.2], [0.2, 3.0]])
    assert activations.range_violation(images, 0, 1) == pytest.approx([0.0, 0.5, 2.0])


@given(pictures, st.floats(0.01, 0.2))
def test_matched_images_have_the_contrast_unless_the_range_clips_them(images, deviation):
    found = activations.matched_contrast(images, deviation)
    inside = (found > 0).all(axis=(1, 2, 3)) & (found < 1).all(axis=(1, 2, 3))
    varied = images.std(axis=(1, 2, 3)) > 1e-3
    assert found.std(axis=(1, 2, 3))[inside & varied] == pytest.approx(deviation, rel=1e-3)
    assert found.min() >= 0 and found.max() <= 1


def test_what_no_change_touches_is_retained_and_what_every_change_removes_is_not():
    z = np.array([2.0, 4.0])
    assert activations.retention(np.stack([z, z], axis=1), z) == 1.0
    assert activations.retention(np.zeros((2, 3)), z) == 0.0
    with pytest.raises(ValueError, match="respond more than natural"):
        activations.retention(np.zeros((2, 3)), -z)


def test_natural_images_have_a_path_similarity_of_one_and_other_classes_zero():
    classes = np.repeat([0, 1, 2], 60)
    prototypes = rng().normal(size=(3, 80))
    draw = lambda seed, c: prototypes[c] + rng(seed).normal(size=(len(c), 80))  # noqa: E731
    natural = draw(1, classes)
    same = activations.path_similarity(draw(2, classes), classes, natural, classes)
    assert same == pytest.approx(1.0, abs=0.05)
    other = activations.path_similarity(draw(3, (classes + 1) % 3), classes, natural, classes)
    assert other == pytest.approx(0.0, abs=0.05)
    # Ranks alone count.
    monotone = activations.path_similarity(
        np.exp(draw(2, classes)), classes, np.exp(natural), classes
    )
    assert monotone == pytest.approx(same)


def test_path_similarity_needs_classes_that_differ():
    with pytest.raises(ValueError, match="natural pairs of one class and of several"):
        activations.path_similarity(np.eye(3), [0] * 3, np.eye(3), [0] * 3)


# The fixed list of changes


def test_there_are_thirty_two_changes_and_each_is_the_same_alone_and_in_a_batch():
    assert len(NAMES) == len(set(NAMES)) == 32
    images = rng().random((3, 12, 15, 3)).astype(np.float32)
    for (name, alone), (_, together) in zip(
        variations(images[1:2]), variations(images), strict=True
    ):
        np.testing.assert_array_equal(alone[0], together[1], err_msg=name)
        assert alone.min() >= 0 and alone.max() <= 1
        assert np.any(alone[0] != images[1]), name


def test_a_shift_of_whole_pixels_is_exact():
    images = rng().random((1, 25, 25, 1)).astype(np.float32)  # 4 % of 25 is a pixel
    moved = dict(variations(images))["shift +1 +0"]
    np.testing.assert_allclose(moved[:, 1:], images[:, :-1], atol=1e-6)


def test_turns_of_opposite_signs_mirror_each_other():
    images = rng().random((1, 16, 16, 1)).astype(np.float32)
    plus = dict(variations(images[:, :, ::-1]))["turn +5"]
    minus = dict(variations(images))["turn -5"]
    np.testing.assert_allclose(plus[:, :, ::-1], minus, atol=1e-5)


# Train on synthetic, test on real


def bars(count, seed):
    """Bright upper or bright lower halves, in noise."""
    draws = rng(seed)
    classes = np.arange(count) % 2
    images = 0.5 * draws.random((count, 8, 8, 1))
    images[classes == 0, :4] += 0.5
    images[classes == 1, 4:] += 0.5
    return images.astype(np.float32), classes


def test_what_the_network_sees_is_turned_scaled_and_shifted_each_image_by_itself():
    images = rng(0).random((3, 9, 12, 2)).astype(np.float32)
    found = synthetic.moved(images, rng(1)).numpy()
    draws = rng(1)
    angles = np.deg2rad(draws.uniform(-10, 10, 3))
    zooms = np.exp(draws.uniform(-np.log(1.15), np.log(1.15), 3))
    right, down = 9 * draws.uniform(-0.1, 0.1, (2, 3))
    centre = np.array([4, 5.5])
    for k, (angle, zoom) in enumerate(zip(angles, zooms, strict=True)):
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = np.array([[cos, sin], [-sin, cos]]) / zoom
        offset = centre - matrix @ centre + [down[k], right[k]]
        for c in range(2):
            expected = ndimage.affine_transform(
                images[k, ..., c], matrix, offset, order=1, mode="nearest"
            )
            np.testing.assert_allclose(found[k, ..., c], expected, atol=2e-6)
            assert np.abs(found[k, ..., c] - images[k, ..., c]).max() > 0.1


def test_a_network_learns_from_images_that_show_the_class_and_not_from_noise():
    test, truth = bars(200, seed=1)
    good, classes = bars(64, seed=0)
    found = train_on_synthetic(good, classes, test, truth, seeds=1)
    assert found.shape == (1,) and found[0] > 0.95
    # Of its seed alone.
    np.testing.assert_array_equal(train_on_synthetic(good, classes, test, truth, seeds=1), found)
    swapped = train_on_synthetic(good, 1 - classes, test, truth, seeds=1)
    assert swapped[0] < 0.05
    with pytest.raises(ValueError, match="at least two classes"):
        train_on_synthetic(good, np.zeros_like(classes), test, truth)
    with pytest.raises(ValueError, match="of the size of the generated"):
        train_on_synthetic(good[:, :4], classes, test, truth)
