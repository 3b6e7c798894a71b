"""Reward models: the last token, losses on pairs, training, ensembles, files."""

import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F

from course_lib import weights
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.rlhf import pairwise, reward_model
from course_lib.rlhf.reward_model import Comparison, Config, Ensemble, RewardModel

SMALL = GPTConfig(vocab_size=20, layers=1, width=32, heads=4)
PROMPTS = [[1, 2], [3], [4, 5, 6], [7]]
REPLIES = [[8, 9, 10], [11], [12, 13], [14, 15, 16, 17, 18]]


def tensor(*numbers):
    return torch.tensor(numbers)


@pytest.fixture
def lm():
    torch.manual_seed(0)
    return GPT(SMALL)


@pytest.fixture
def model(lm):
    """With a head of a usual size, so that rewards differ."""
    model = RewardModel.from_lm(lm)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model


# --- The last token ----------------------------------------------------------------------------


def test_last_token_by_hand():
    values = torch.arange(1.0, 13).view(3, 4)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]).bool()
    assert reward_model.last_token(values, mask).tolist() == [2, 8, 0]
    holes = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    assert reward_model.last_token(values, holes).tolist() == [3, 5, 12]


def test_gradient_reaches_the_last_token_alone():
    values = torch.zeros(1, 4, requires_grad=True)
    reward_model.last_token(values, torch.tensor([[1, 1, 0, 0]])).sum().backward()
    assert values.grad.tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_reward_does_not_depend_on_padding(model, side):
    alone = [model(torch.tensor([p + r]), torch.ones(1, len(p + r))) for p, r in
             zip(PROMPTS, REPLIES, strict=True)]  # fmt: skip
    batch = reward_model.finetune.collate(
        [reward_model.finetune.Example(p, r) for p, r in zip(PROMPTS, REPLIES, strict=True)],
        pad=3,
        side=side,
    )
    together = model(batch.tokens, batch.valid_mask)
    assert together.shape == (4,)
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert together.std() > 0.1, "or this would show nothing"


# --- Losses ------------------------------------------------------------------------------------


def test_pairwise_loss_by_hand():
    loss, metrics = pairwise.pairwise_loss(tensor(2.0, 0.0), tensor(0.0, 1.0))
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)
    assert metrics["accuracy"] == 0.5 and metrics["margin"] == 1.5
    assert loss.item() == pytest.approx(-F.logsigmoid(tensor(2.0, -1.0)).mean().item())


def test_soft_labels_by_hand():
    nll = pairwise.pairwise_nll(tensor(2.0, 2.0, 2.0), tensor(0.0, 0.0, 0.0), tensor(1.0, 0.0, 0.5))
    win, lose = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert nll.tolist() == pytest.approx([win, lose, (win + lose) / 2], rel=1e-6)
    tied = pairwise.pairwise_nll(tensor(1.0), tensor(1.0), tensor(0.5))
    assert tied.item() == pytest.approx(math.log(2)), "a tie asks for equal rewards"


def test_large_differences_stay_finite():
    chosen = tensor(-1e4, 1e4).requires_grad_()
    loss, _ = pairwise.pairwise_loss(chosen, tensor(0.0, 0.0))
    loss.backward()
    assert loss.item() == pytest.approx(5e3) and torch.isfinite(chosen.grad).all()


def test_only_the_difference_counts():
    chosen, rejected, share = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    share = share.sigmoid()
    for shift in (-5.0, 3.0):
        assert torch.allclose(
            pairwise.pairwise_nll(chosen + shift, rejected + shift, share),
            pairwise.pairwise_nll(chosen, rejected, share),
            atol=1e-5,
        )


def test_noisy_nll_by_hand_and_without_noise():
    chosen, rejected = tensor(math.log(3.0), 0.0), tensor(0.0, 0.0)  # p = 3/4 and 1/2
    nll = pairwise.noisy_nll(chosen, rejected, tensor(1.0, 0.0), flip=0.2)
    assert nll.tolist() == pytest.approx([-math.log(0.65), -math.log(0.5)], rel=1e-6)
    turned = pairwise.noisy_nll(chosen, rejected, tensor(0.0, 0.0), flip=0.2)
    assert turned[0].item() == pytest.approx(-math.log(0.35), rel=1e-6)
    same = pairwise.noisy_nll(chosen, rejected, tensor(1.0, 0.5), flip=0.0)
    plain = pairwise.pairwise_nll(chosen, rejected, tensor(1.0, 0.5))
    assert same.tolist() == pytest.approx(plain.tolist(), rel=1e-6)
    extreme = pairwise.noisy_nll(tensor(1e4), tensor(0.0), tensor(0.0), flip=0.2)
    assert extreme.item() == pytest.approx(-math.log(0.2), rel=1e-5), "no label costs for ever"


def best_difference(nll, share):
    """The difference of rewards that fits labels of which ``share`` prefer the first."""
    d = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([d], max_iter=200)

    def closure():
        optimizer.zero_grad()
        loss = nll(d, torch.zeros(1), torch.tensor([share])).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return d.item()


def test_the_correction_recovers_the_true_difference():
    p, flip = 0.9, 0.2
    labelled = (1 - flip) * p + flip * (1 - p)
    true = math.log(p / (1 - p))
    assert best_difference(pairwise.pairwise_nll, labelled) < 0.6 * true
    corrected = best_difference(lambda c, r, s: pairwise.noisy_nll(c, r, s, flip), labelled)
    assert corrected == pytest.approx(true, abs=0.01)


def test_accuracy_counts_ties_half():
    chosen, rejected = tensor(1.0, 1.0, 0.0, 2.0, 5.0), tensor(0.0, 1.0, 1.0, 0.0, 1.0)
    share = tensor(1.0, 1.0, 1.0, 0.0, 0.5)
    each = [1, 0.5, 0, 0, 0.5]
    assert pairwise.accuracy(chosen, rejected, share).item() == pytest.approx(sum(each) / 5)
    constant = torch.zeros(7)
    assert pairwise.accuracy(constant, constant, torch.ones(7)) == 0.5


def test_calibration_by_hand():
    odds = tensor(0.81, 0.83, 0.89, 0.15, 1.0)
    found = pairwise.calibration(odds.logit(eps=1e-7), torch.zeros(5), tensor(1.0, 1, 0, 0, 1), 10)
    assert found.count.tolist() == [1, 3, 1]
    assert found.predicted.tolist() == pytest.approx([0.15, (0.81 + 0.83 + 0.89) / 3, 1.0])
    assert found.observed.tolist() == pytest.approx([0.0, 2 / 3, 1.0])
    error = (0.15 + 3 * (2.53 / 3 - 2 / 3)) / 5
    assert found.error == pytest.approx(error, abs=1e-6)


# --- The model ---------------------------------------------------------------------------------


def test_the_body_is_a_copy(lm):
    model = RewardModel.from_lm(lm)
    tokens = torch.tensor([[1, 2, 3]])
    before = lm(tokens)
    hidden = model.transformer(model.embedding(tokens))
    assert torch.equal(hidden, lm.hidden(tokens))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert torch.equal(lm(tokens), before)
    assert all(p.requires_grad and p.device.type == "cpu" for p in model.parameters())


def test_a_frozen_language_model_gives_a_body_that_learns(lm):
    lm.requires_grad_(False)
    assert all(p.requires_grad for p in RewardModel.from_lm(lm).parameters())


def test_rewards_start_near_zero_and_depend_on_the_seed(lm):
    first, again, other = (RewardModel.from_lm(lm, seed) for seed in (0, 0, 1))
    found = [reward_model.rewards(m, PROMPTS, REPLIES) for m in (first, again, other)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert found[0].abs().max() < 0.5


def test_center_moves_the_mean_to_zero_and_no_difference(model):
    before = reward_model.rewards(model, PROMPTS, REPLIES)
    for _ in range(2):
        reward_model.center(model, PROMPTS, REPLIES)
        after = reward_model.rewards(model, PROMPTS, REPLIES)
        assert after.mean().abs() < 1e-6
        assert torch.allclose(after - after[0], before - before[0], atol=1e-5)


def test_scorer_takes_token_lists_in_any_batch(model):
    score = reward_model.scorer(model)
    rewards = score(PROMPTS, REPLIES)
    assert rewards.shape == (4,) and rewards.dtype == torch.float32 and not rewards.requires_grad
    small = reward_model.rewards(model, PROMPTS, REPLIES, batch_size=3)
    assert torch.allclose(rewards, small, atol=1e-5)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        score(PROMPTS, REPLIES[:-1])


def test_an_ensemble_is_its_members(lm):
    members = [RewardModel.from_lm(lm, seed) for seed in range(3)]
    ensemble = Ensemble(members)
    each = torch.stack([reward_model.scorer(m)(PROMPTS, REPLIES) for m in members])
    rewards = reward_model.rewards(ensemble, PROMPTS, REPLIES, batch_size=3)
    assert torch.allclose(rewards, each, atol=1e-5)
    for pessimism in (0.0, 1.5):
        score = reward_model.scorer(ensemble, pessimism)(PROMPTS, REPLIES)
        assert torch.allclose(score, each.mean(0) - pessimism * each.std(0), atol=1e-5)
    reward_model.center(ensemble, PROMPTS, REPLIES)
    centred = reward_model.rewards(ensemble, PROMPTS, REPLIES)
    assert centred.mean(dim=1).abs().max() < 1e-6, "each member has its own zero"
    with pytest.raises(ValueError, match="at least 2 members, got 1"):
        Ensemble(members[:1])


# --- Training ----------------------------------------------------------------------------------


def counting(pairs, seed):
    """Replies of tokens 10 and 11; the one with more 10s is better."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    while len(found) < pairs:
        length = torch.randint(3, 8, (2,), generator=generator)
        a, b = (
            [*torch.randint(10, 12, (int(n),), generator=generator).tolist(), 1] for n in length
        )
        if a.count(10) != b.count(10):
            found.append(Comparison([2, 3], a, b, float(a.count(10) > b.count(10))))
    return found


def test_it_learns_what_the_labels_value(lm):
    model = RewardModel.from_lm(lm)
    config = Config(total_steps=60, learning_rate=5e-3)
    rows = list(reward_model.train(model, counting(300, 0), config, seed=0))
    assert [row["steps"] for row in rows] == list(range(1, 61))
    assert rows[-1]["pairs"] == 60 * 32
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=0.1)
    assert rows[-1]["loss"] < 0.35
    a, b, share = reward_model.pair_rewards(model, counting(200, 1))
    assert pairwise.accuracy(a, b, share) > 0.9


def test_training_repeats_with_its_seed(lm):
    def losses(seed):
        model = RewardModel.from_lm(lm)
        config = Config(total_steps=4, batch_size=8)
        return [row["loss"] for row in reward_model.train(model, counting(20, 0), config, seed)]

    assert losses(0) == losses(0) != losses(1)


def test_fewer_pairs_than_a_batch_are_taken_again(lm):
    config = Config(total_steps=2, batch_size=8)
    rows = list(reward_model.train(RewardModel.from_lm(lm), counting(3, 0), config))
    assert len(rows) == 2


def test_a_label_that_may_be_turned_is_never_certain(lm):
    """The probability of a label stays below 1 - flip, so its loss above -log (1 - flip)."""

    def final(flip):
        model = RewardModel.from_lm(lm)
        config = Config(total_steps=80, batch_size=8, learning_rate=5e-3, flip=flip)
        return list(reward_model.train(model, counting(8, 0), config))[-1]["loss"]

    assert final(0.0) < 0.1 < -math.log(1 - 0.2) < final(0.2) < 0.3


def test_errors_are_sentences(lm):
    model = RewardModel.from_lm(lm)
    with pytest.raises(ValueError, match="at least one comparison"):
        next(reward_model.train(model, [], Config()))
    with pytest.raises(ValueError, match="nothing would learn"):
        next(reward_model.train(model.requires_grad_(False), counting(1, 0), Config()))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Config(batch_size=0)
    with pytest.raises(ValueError, match=r"flip must lie in \[0, 0.5\), got 0.5"):
        Config(flip=0.5)


def test_a_saved_model_is_the_same(model, tmp_path):
    reward_model.center(model, PROMPTS, REPLIES)
    path = tmp_path / "reward.safetensors"
    reward_model.save(model, path)
    again = reward_model.load(path)
    expected = reward_model.rewards(model, PROMPTS, REPLIES)
    assert torch.equal(reward_model.rewards(again, PROMPTS, REPLIES), expected)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="holds no weights of the kind"):
        reward_model.load(path)


def test_a_language_model_is_no_reward_model(lm, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in lm.state_dict().items()}
    weights.save(path, tensors, "config", asdict(lm.config))
    with pytest.raises(ValueError, match="was not written by"):
        reward_model.load(path)
