"""Hearing a sentence: FiLM and whitening by hand, what the network may know, and that PPO listens.

Ground truth: numbers worked out by hand, numpy's eigenvectors, and a world of one step in which
the right action is a matter of the sentence alone.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.agents import instructions
from course_lib.agents.instructions import Config, InstructionAgent, InstructionNet
from course_lib.rl import ppo
from course_lib.rl.envs import Step
from course_lib.worlds import grid, sentences
from course_lib.worlds.commands import ACTIONS, Commands

TRAINING = [command.sentence for command in sentences.training()]
TINY = Config(listening=8, channels=6, squeezed=3, hidden=10)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- FiLM ---------------------------------------------------------------------------------------


def test_film_scales_about_one_and_shifts():
    features = torch.tensor([[1.0, -2.0, 3.0], [1.0, -2.0, 3.0]])
    scale = torch.tensor([[0.0, 0.5, -1.0], [1.0, 0.0, 0.0]])
    shift = torch.tensor([[10.0, 0.0, 7.0], [0.0, 0.0, -3.0]])
    found = instructions.film(features, scale, shift)
    assert found.tolist() == [[11.0, -3.0, 7.0], [2.0, -2.0, 0.0]]
    assert (instructions.film(features, scale * 0, shift * 0) == features).all()


def test_all_places_of_a_row_share_one_scale_and_shift():
    features = torch.arange(12.0).reshape(2, 3, 2)  # two rows, three places, two channels
    scale, shift = torch.tensor([[1.0, 0.0], [0.0, -2.0]]), torch.tensor([[0.0, 5.0], [1.0, 0.0]])
    assert instructions.film(features, scale, shift).tolist() == [
        [[0, 6], [4, 8], [8, 10]],
        [[7, -7], [9, -9], [11, -11]],
    ]
    # As many places as rows and channels: no axis can be taken for another.
    features, scale, shift = random(4, 4, 4), random(4, 4, seed=1), random(4, 4, seed=2)
    found = instructions.film(features, scale, shift)
    for b in range(4):
        for p in range(4):
            assert torch.allclose(found[b, p], features[b, p] * (1 + scale[b]) + shift[b])


# --- whitening ----------------------------------------------------------------------------------


def correlated(rows=200, seed=0):
    """Vectors (S, 6) with a mean, and directions of very different lengths."""
    lengths = torch.tensor([9.0, 4.0, 1.0, 0.5, 0.1, 0.02], dtype=torch.float64)
    return random(rows, 6, seed=seed) * lengths @ random(6, 6, seed=1) + 5


@pytest.mark.parametrize("components", [1, 3, 6])
def test_whitened_vectors_have_no_mean_and_the_identity_as_covariance(components):
    vectors = correlated()
    mean, transform = instructions.whitening(vectors, components, shrink=0.0)
    assert mean.shape == (6,) and transform.shape == (6, components)
    white = ((vectors - mean) @ transform).numpy()
    assert np.allclose(white.mean(0), 0, atol=1e-9)
    assert np.allclose(white.T @ white / 200, np.eye(components), atol=1e-8)


@pytest.mark.parametrize("shrink", [0.0, 0.1, 2.0])
def test_directions_and_spreads_are_those_of_the_covariance(shrink):
    vectors = correlated()
    mean, transform = instructions.whitening(vectors, 4, shrink)
    x = vectors.numpy()
    values, directions = np.linalg.eigh(np.cov(x.T, bias=True))  # the smallest first
    values, directions = values[::-1][:4], directions[:, ::-1][:, :4]
    expected = directions / np.sqrt(values + shrink * values.mean())
    signs = np.sign(expected[np.abs(expected).argmax(0), range(4)])
    assert np.allclose(mean, x.mean(0)) and np.allclose(transform, expected * signs)


def test_two_points_worked_out_by_hand():
    """They lie 10 apart along (3, -4) / 5: variance 25, and its larger entry becomes positive."""
    vectors = torch.tensor([[1.0, 2.0], [7.0, -6.0]])
    mean, transform = instructions.whitening(vectors, 1, shrink=0.0)
    assert mean.tolist() == [4, -2]
    assert transform.flatten().tolist() == pytest.approx([-0.6 / 5, 0.8 / 5])
    _, shrunk = instructions.whitening(vectors, 1, shrink=0.44)  # 25 + 0.44 * 25 = 36
    assert shrunk.flatten().tolist() == pytest.approx([-0.6 / 6, 0.8 / 6])


def test_a_directions_largest_entry_is_positive_whatever_the_order():
    vectors = correlated()
    mean, transform = instructions.whitening(vectors, 6, 0.0)
    assert (transform.gather(0, transform.abs().argmax(0, keepdim=True)) > 0).all()
    flipped, other = instructions.whitening(vectors.flip(0), 6, 0.0)
    assert torch.allclose(mean, flipped) and torch.allclose(transform, other)
    _, mirrored = instructions.whitening(-vectors, 6, 0.0)
    assert torch.allclose(transform, mirrored)


def test_shrinking_keeps_noise_small():
    vectors = correlated()
    mean, transform = instructions.whitening(vectors, 6)
    spread = ((vectors - mean) @ transform).std(0)
    assert spread[0] > 0.7 and spread[-1] < 0.05
    assert (spread.diff() < 0).all()


@pytest.mark.parametrize("components", [0, -1, 7, 201])
def test_directions_that_are_not_there_are_refused(components):
    sentence = rf"components must lie between 1 and 6, .* vectors \(200, 6\), got {components}"
    with pytest.raises(ValueError, match=sentence):
        instructions.whitening(correlated(), components)
    with pytest.raises(ValueError, match="between 1 and 3"):
        instructions.whitening(correlated(3), 4)


# --- encoders -----------------------------------------------------------------------------------


def test_whitened_vectors_of_training_have_the_length_on_average():
    bag = instructions.BagOfWords(TRAINING)
    for components, kept in ((16, 16), (5, 5), (100, len(bag.vocabulary))):
        encoder = instructions.whitened(bag, TRAINING, components)
        vectors = encoder(TRAINING)
        assert vectors.shape == (180, kept)
        assert vectors.norm(dim=1).mean().item() == pytest.approx(3.5, rel=1e-5)
    # But for that length it is the whitening, with its own shrinkage.
    mean, transform = instructions.whitening(bag(TRAINING), 16)
    plain = (bag(TRAINING) - mean) @ transform
    found = instructions.whitened(bag, TRAINING)(TRAINING)
    assert torch.allclose(found / found.norm(), plain / plain.norm(), atol=1e-6)


def test_whitening_is_fitted_on_the_sentences_of_training_alone():
    asked = []

    def spy(texts):
        asked.append(list(texts))
        return torch.tensor([[len(t), t.count("e"), t.count("o")] for t in texts]).float()

    encoder = instructions.whitened(spy, TRAINING, 2)
    assert {text for call in asked for text in call} == set(TRAINING)
    test = [command.sentence for command in sentences.rows()["both synonyms"]]
    together = encoder(test)
    apart = torch.cat([encoder([sentence]) for sentence in test])
    assert torch.allclose(together, apart, atol=1e-5), "no sentence changes another's vector"


def test_words_are_small_and_without_marks():
    said = "Robot, could you take THE key?"
    assert instructions.words(said) == ["robot", "could", "you", "take", "the", "key"]
    assert instructions.words("a well-lit room: 2 keys!") == ["a", "well-lit", "room", "2", "keys"]
    assert instructions.words(" ?! ") == []


def test_a_bag_counts_the_words_of_training_and_no_others():
    bag = instructions.BagOfWords(["go to the key", "take the key, the red one"])
    assert bag.vocabulary == ["go", "key", "one", "red", "take", "the", "to"]
    counts = bag(["Take the red sphere!", "the key to the key", "grab it", ""])
    assert counts.tolist() == [
        [0, 0, 0, 1, 1, 1, 0],
        [0, 2, 0, 0, 0, 2, 1],
        [0] * 7,
        [0] * 7,
    ]
    assert len(instructions.BagOfWords(TRAINING).vocabulary) == 24


def test_a_bag_does_not_hear_the_order_of_words():
    bag = instructions.BagOfWords(TRAINING)
    assert (bag(["go to the red key"]) == bag(["key red the to go"])).all()


def test_the_nearest_sentence_has_the_largest_cosine_and_not_the_largest_product():
    vectors = {"long": [10.0, 0.0], "across": [0.0, 1.0], "slant": [1.0, 1.0]}
    vectors |= {"a": [3.0, 1.0], "b": [2.0, 2.5], "c": [0.1, 4.0], "d": [1.0, -2.0]}
    look_up = instructions.nearest(
        lambda texts: torch.tensor([vectors[text] for text in texts]), ["long", "across", "slant"]
    )
    assert look_up(["a", "b", "c", "d"]) == ["long", "slant", "across", "long"]
    assert look_up(["slant"]) == ["slant"]


# --- the network --------------------------------------------------------------------------------


def network(config=TINY, inputs=5, seed=0, vectors=None):
    torch.manual_seed(seed)
    net = InstructionNet(grid.FEATURES, 49, inputs, len(ACTIONS), config)
    net.vectors = random(4, inputs, seed=seed).float() if vectors is None else vectors
    return net


def observations(rows=12, heard=4, seed=0):
    rng = np.random.default_rng(seed)
    seen = rng.integers(grid.NUM_CODES, size=(rows, 49))
    return torch.as_tensor(np.hstack([seen, rng.integers(heard, size=(rows, 1))]))


def telling(net, obs):
    """Logits that differ: at first the policy's last layer says next to nothing."""
    with torch.no_grad():
        net.policy_head.weight.normal_(generator=torch.Generator().manual_seed(1))
        return net(obs)[0].logits, net(obs)[1]


@pytest.mark.parametrize("config", [TINY, replace(TINY, word_vector=3), Config()])
def test_a_policy_and_a_value_for_each_observation(config):
    net, obs = network(config), observations()
    policy, values = net(obs)
    assert policy.logits.shape == (12, 6) and values.shape == (12,)
    assert torch.equal(net.policy(obs).logits, policy.logits)
    assert torch.equal(net.value(obs), values)
    assert policy.entropy().min() > 0.99 * math.log(6), "at first all actions are as likely"


def test_the_network_is_the_formula_of_its_layers():
    net, obs = network(), observations(3)
    logits, values = telling(net, obs)
    w = {name: value.detach().double() for name, value in net.state_dict().items()}

    def layer(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    heard = layer("listen", net.vectors.double()[obs[:, 49]])
    numbers = layer("steer", heard)  # scales and shifts of 6 channels, then of 10 features
    assert numbers.shape == (3, 6 + 6 + 10 + 10)
    for i in range(3):
        scale1, shift1, scale2, shift2 = numbers[i].split([6, 6, 10, 10])
        cells = layer("cell", torch.as_tensor(grid.FEATURES).double()[obs[i, :49]])  # (49, 6)
        places = (cells * (1 + scale1) + shift1).clamp(min=0)
        view = layer("view", layer("squeeze", places).clamp(min=0).flatten())
        features = (view * (1 + scale2) + shift2).clamp(min=0)
        said = layer("policy_head", features).log_softmax(-1)
        assert torch.allclose(said, logits[i].double(), atol=1e-4)
        assert torch.allclose(layer("value_head", features)[0], values[i].double(), atol=1e-4)


@pytest.mark.parametrize("word_vector", [0, 3])
def test_sentences_with_equal_vectors_are_the_same_to_it_and_others_are_not(word_vector):
    vectors = random(3, 5).float()
    vectors[2] = vectors[0]
    net = network(replace(TINY, word_vector=word_vector), vectors=vectors)
    obs = observations().repeat(3, 1)
    obs[:, 49] = torch.arange(3).repeat_interleave(12)
    logits, values = (x.unflatten(0, (3, 12)) for x in telling(net, obs))
    assert torch.allclose(logits[0], logits[2], atol=1e-6)
    assert torch.allclose(values[0], values[2], atol=1e-6)
    assert (logits[0] - logits[1]).abs().max(1).values.min() > 1e-3
    assert (values[0] != values[1]).all()


def test_rows_do_not_touch_each_other():
    net, obs = network(), observations()
    logits, values = telling(net, obs)
    alone = [net(row[None]) for row in obs]
    assert torch.allclose(torch.cat([policy.logits for policy, _ in alone]), logits, atol=1e-5)
    assert torch.allclose(torch.cat([value for _, value in alone]), values, atol=1e-5)


def test_every_place_is_seen():
    net, obs = network(), observations(1)
    telling(net, obs)
    wall, ball = grid.WALL, grid.code("ball", "blue")
    for place in range(49):
        values = []
        for there in (wall, ball):
            obs[0, place] = there
            values.append(net.value(obs).item())
        assert values[0] != values[1], place


@pytest.mark.parametrize("word_vector", [0, 3])
def test_gradients_reach_every_parameter_and_nothing_else(word_vector):
    net = network(replace(TINY, word_vector=word_vector))
    policy, values = net(observations(64))
    (policy.logp(torch.arange(64) % 6).sum() + values.square().sum()).backward()
    names = dict(net.named_parameters())
    assert len(names) == 2 * 7 + (word_vector > 0)
    for name, parameter in names.items():
        assert parameter.grad is not None and (parameter.grad != 0).any(), name
    assert not net.vectors.requires_grad and not net.cell_features.requires_grad
    assert "vectors" not in net.state_dict(), "sentences are no weights"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"film_gain": 0.0}, "film_gain must be above 0, got 0.0"),
        ({"word_vector": -1}, "word_vector must not be negative, got -1"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**wrong)


# --- the agent ----------------------------------------------------------------------------------


def one_hot(texts):
    """Each colour and each kind a number of its own."""
    words = [*sentences.COLOURS, *sentences.KINDS]
    return torch.tensor([[float(word in text.split()) for word in words] for text in texts])


def agent(heard=TRAINING, seed=0, config=TINY, encoder=one_hot):
    return InstructionAgent(encoder, heard, grid.FEATURES, 49, len(ACTIONS), config, seed)


def test_hearing_changes_what_numbers_mean():
    heard = ["go to the red key", "open the blue box", "go to the grey ball"]
    one, obs = agent(heard), observations(12, 3)
    before = telling(one.network, obs)
    one.hear([heard[1], heard[0], heard[2]])
    assert one.sentences == [heard[1], heard[0], heard[2]]
    swapped = obs.clone()
    swapped[:, 49] = torch.tensor([1, 0, 2])[obs[:, 49]]
    after = one.network(swapped)
    assert torch.equal(after[0].logits, before[0]) and torch.equal(after[1], before[1])
    changed = (one.network(obs)[1] != before[1]).tolist()
    assert changed == (obs[:, 49] < 2).tolist(), "the third still means what it did"
    one.hear(TRAINING)
    assert one.network.vectors.shape == (180, 10) and one.sentences == TRAINING


def test_an_encoder_is_asked_once_and_its_vectors_are_copied():
    asked, known = [], one_hot(TRAINING)

    def encoder(texts):
        asked.append(len(texts))
        return known[: len(texts)]

    one = agent(encoder=encoder)
    assert asked == [1, 180]
    known.zero_()
    assert one.network.vectors.any(), "what the encoder does later does not matter"
    one.act(observations(heard=180).numpy())
    assert asked == [1, 180]


def test_actions_are_drawn_or_the_most_probable():
    one, obs = agent(), observations(200, 180)
    logits, _ = telling(one.network, obs)
    assert (one.act(obs.numpy(), greedy=True) == logits.argmax(1).numpy()).all()
    drawn = [one.act(obs.numpy(), generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    assert drawn[0].shape == (200,) and set(drawn[0].tolist()) <= set(range(6))


def test_first_weights_come_from_the_seed_alone():
    torch.manual_seed(5)
    first, state = agent(seed=3), torch.random.get_rng_state()
    torch.manual_seed(6)
    second, other = agent(seed=3), agent(seed=4)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert (first.network.view.weight != other.network.view.weight).any()
    torch.manual_seed(5)
    assert torch.equal(state, torch.random.get_rng_state()), "and none is taken from elsewhere"


# --- training -----------------------------------------------------------------------------------


def trained(seed, frames=4096):
    asked = sentences.training(("go to",), ("key", "ball", "box"))
    texts = [command.sentence for command in asked]
    one, envs = agent(texts, seed), Commands(asked, 64, seed, "GoToLocal")
    config = replace(instructions.PPO, total_steps=frames, minibatch_size=512)
    return one, list(ppo.train(one, envs, config, seed))


def test_training_runs_and_the_same_seed_gives_the_same_weights():
    (first, rows), (second, again), (other, _) = (trained(seed) for seed in (0, 0, 1))
    assert [row["steps"] for row in rows] == [2048, 4096] and rows == again
    assert all(math.isfinite(value) for row in rows for value in row.values())
    begun = agent(first.sentences).network.state_dict()
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
        if name != "cell_features":
            assert (value != begun[name]).any(), name
            assert (value != other.network.state_dict()[name]).any(), name


class Orders:
    """One step to an episode: the sentence says which action is right; nothing is to be seen."""

    action_size, obs_shape, num_actions, num_envs = None, (50,), 6, 64

    def __init__(self, orders, seed):
        self.orders, self.rng = orders, np.random.default_rng(seed)

    def reset(self):
        self.numbers, self.ended = self.rng.integers(6, size=64), np.zeros(64, bool)
        return self._observe()

    def step(self, actions):
        valid, rewards = ~self.ended, (actions == self.orders[self.numbers]) * ~self.ended
        self.numbers = np.where(valid, self.numbers, self.rng.integers(6, size=64))
        self.ended = valid
        never = np.zeros(64, bool)
        return Step(self._observe(), rewards.astype(np.float32), valid, never, valid)

    def _observe(self):
        return np.hstack([np.full((64, 49), grid.EMPTY), self.numbers[:, None]])


def test_an_agent_learns_to_do_what_it_is_told():
    heard = [f"go to the {colour} key" for colour in sentences.COLOURS]
    orders = np.array([3, 0, 5, 1, 4, 2])
    encoder = instructions.whitened(one_hot, heard)
    one, envs = agent(heard, config=Config(), encoder=encoder), Orders(orders, 0)
    config = replace(instructions.PPO, total_steps=20_480)
    *_, last = ppo.train(one, envs, config)
    obs = np.hstack([np.full((6, 49), grid.EMPTY), np.arange(6)[:, None]])
    assert last["return"] > 0.9 and one.act(obs, greedy=True).tolist() == orders.tolist()
    one.hear(heard[::-1])
    assert one.act(obs, greedy=True).tolist() == orders[::-1].tolist(), "words count, not numbers"
