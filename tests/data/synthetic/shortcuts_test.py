import numpy as np

from jcollab import data


def images(seed, classes, n=40):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n).astype(np.int32)
    # the first pixel is the class, the second the number of the image
    x = np.zeros((n, 2, 3, 1), np.float32)
    x[:, 0, 0, 0], x[:, 0, 1, 0] = y, np.arange(n)
    return data.Dataset(x, y)


def test_dominoes_pair_classes_and_shuffled_tops_tell_nothing():
    top, bottom, rng = images(0, 3), images(1, 4), np.random.default_rng(2)
    made = data.synthetic.dominoes(top, bottom, [(0, 3), (2, 1)], rng)
    n = [min((top.y == a).sum(), (bottom.y == b).sum()) for a, b in [(0, 3), (2, 1)]]
    np.testing.assert_array_equal(np.bincount(made.y), n)
    assert made.x.shape[1:] == (4, 3, 1)
    np.testing.assert_array_equal(made.x[:, 0, 0, 0], np.array([0, 2])[made.y])
    np.testing.assert_array_equal(made.x[:, 2, 0, 0], np.array([3, 1])[made.y])
    assert len(np.unique(made.x[:, 0, 1, 0])) == len(made.y)  # nobody twice

    moved = data.synthetic.permute_half(made.x, rng)
    np.testing.assert_array_equal(moved[:, 2:], made.x[:, 2:])
    tops = [np.sort(x[:, :2].reshape(len(x), -1), 0) for x in (moved, made.x)]
    np.testing.assert_array_equal(*tops)
    matching = (moved[:, 0, 0, 0] == made.x[:, 0, 0, 0]).mean()
    assert 0.2 < matching < 0.8  # what an oracle of tops scores; one of bottoms has 1
    down = data.synthetic.permute_half(made.x, rng, "bottom")
    np.testing.assert_array_equal(down[:, :2], made.x[:, :2])
    for height in (1, 3):  # the least and the most that leave two parts
        moved = data.synthetic.permute_half(made.x, rng, height=height)
        np.testing.assert_array_equal(moved[:, height:], made.x[:, height:])
        assert (moved[:, :height] != made.x[:, :height]).any()


def test_unlabeled_dominoes_repeat_the_smaller_set():
    top, bottom, rng = images(0, 3), images(1, 4), np.random.default_rng(2)
    x = data.synthetic.unlabeled_dominoes(top, bottom, ([0], [0, 1, 2]), rng)
    assert len(x) == (bottom.y < 3).sum() and not x[:, 0, 0, 0].any()
    used = np.unique(x[:, 0, 1, 0], return_counts=True)[1]
    assert len(used) == (top.y == 0).sum() and used.max() - used.min() <= 1
    np.testing.assert_array_equal(np.sort(x[:, 2, 1, 0]), np.flatnonzero(bottom.y < 3))


def test_colors_change_ink_only_and_nine_is_white():
    x = np.array([0.05, 0.1, 0.5, 1.0], np.float32).reshape(1, 2, 2, 1)
    red = data.synthetic.colored(np.repeat(x, 2, 0), np.array([5, 9]))
    np.testing.assert_allclose(red[0].reshape(4, 3)[:2], [[0.05] * 3, [0.1] * 3])
    np.testing.assert_allclose(red[0].reshape(4, 3)[2:], [[0.5, 0.3, 0], [1, 0.6, 0]], rtol=1e-6)
    np.testing.assert_array_equal(red[1], np.repeat(x[0], 3, -1))


def test_slabs_are_separated_by_either_coordinate():
    points = data.synthetic.slabs(500, np.random.default_rng(0))
    x, y = points.x.T
    np.testing.assert_array_equal(x > 0, points.y == 1)
    np.testing.assert_array_equal(np.round(np.abs(y)) % 2 == 0, points.y == 1)
    assert np.abs(np.abs(x) - 1).max() <= 0.8 and np.abs(y - np.round(y)).max() <= 0.2 + 1e-6


def test_cells():
    cells = data.synthetic.theorem_cells()
    np.testing.assert_array_equal(cells.x, np.repeat(cells.y[:, None], 2, 1))
    assert {tuple(c) for c in np.concatenate([cells.x, cells.unlabeled])} == {
        tuple(c) for c in cells.all
    }
