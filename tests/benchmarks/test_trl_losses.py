"""Our losses, gradients and advantages against those of TRL, on the same tensors."""

import pytest

from benchmarks.dpo_grpo import trl_losses

pytest.importorskip("trl", reason="the extra `peers` is not installed")


@pytest.mark.parametrize("seed", [0, 1])
def test_all_losses_agree_with_trl(seed):
    runs = trl_losses.compare(seed)
    assert {run["loss"] for run in runs} == {"dpo", "ipo", "reward", *trl_losses.GRPO}
    for run in runs:
        for part in ("loss_apart", "gradients_apart", "advantages_apart"):
            assert run[part] <= 1e-5, (run["loss"], part)
        assert run["ours"] != 0
