import numpy as np
import pytest

from tools_scorer.training.calibration import fit_isotonic, fit_line


def sample(scale: float, shift: float, n: int = 20_000):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=n) * 2
    labels = (rng.random(n) < 1 / (1 + np.exp(-(scale * logits + shift)))).astype(float)
    return logits, labels


@pytest.mark.parametrize(("scale", "shift"), [(0.25, 0.0), (1.0, -1.5), (3.0, 2.0)])
def test_scale_and_shift_are_found(scale, shift):
    a, b = fit_line(*sample(scale, shift), np.ones(20_000))
    assert (a, b) == (pytest.approx(scale, rel=0.06), pytest.approx(shift, abs=0.15))


def test_perfect_separation_stays_finite_and_the_order_is_never_turned():
    a, _ = fit_line(np.array([-1.0, -2.0, 1.0, 2.0]), np.array([0.0, 0, 1, 1]), np.ones(4))
    assert 0 < a < 1e3
    a, _ = fit_line(np.array([-1.0, -2.0, 1.0, 2.0]), np.array([1.0, 1, 0, 0]), np.ones(4))
    assert a > 0


def test_isotonic_rises_and_follows_the_shares():
    logits, labels = sample(1.0, 0.0)
    x, y = fit_isotonic(logits, labels, np.ones(len(labels)))
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert np.abs(np.interp([-2.0, 0.0, 2.0], x, y) - 1 / (1 + np.exp([2.0, 0.0, -2.0]))).max() < 0.05


def test_isotonic_of_one_block_is_constant():
    x, y = fit_isotonic(np.array([1.0, 2.0]), np.array([1.0, 0.0]), np.ones(2))
    assert len(x) == 2
    assert y[0] == y[1] == 0.5


def test_isotonic_is_never_so_steep_that_rounding_shows():
    rng = np.random.default_rng(0)
    logits = np.sort(rng.normal(size=5000))
    x, _ = fit_isotonic(logits, (rng.random(5000) < np.linspace(0, 1, 5000) ** 3).astype(float), np.ones(5000))
    assert len(x) > 5
    assert np.diff(x).min() > np.ptp(logits) / 32
