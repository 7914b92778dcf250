"""Settings of the experiments on cross-lingual sentences."""

import pytest

from experiments.crosslingual import losses, tatoeba


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="data must be a folder with a/b"):
        losses.Config().file("a/b")
    with pytest.raises(ValueError, match="methods must be among bag, SMLM"):
        losses.Config(methods=("MLM",))
    with pytest.raises(ValueError, match=r"drop must be at least 0 and below 1, got 1"):
        tatoeba.Config(drop=1)
