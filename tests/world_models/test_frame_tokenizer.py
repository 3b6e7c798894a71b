"""Frames to tokens and back."""

import pytest
import torch

from course_lib.rl.envs import make
from course_lib.world_models.frame_tokenizer import FrameTokenizer, patches


def game_frames(steps: int = 30) -> torch.Tensor:
    envs = make("MinAtar/Breakout", 4, seed=1)
    frames = [envs.reset()]
    for t in range(steps):
        frames.append(envs.step([t % 3] * 4).obs)
    return torch.cat([torch.as_tensor(frame) for frame in frames])


@pytest.mark.parametrize("patch", [1, 2, 5, 10])
def test_known_frames_come_back_to_the_bit(patch):
    frames = game_frames()
    tokenizer = FrameTokenizer.fit(frames, patch)
    tokens = tokenizer.encode(frames)
    assert tokens.shape == (len(frames), (10 // patch) ** 2)
    assert tokens.shape[1] == tokenizer.tokens_per_frame
    assert tokens.max() < tokenizer.vocab_size
    decoded = tokenizer.decode(tokens)
    assert decoded.dtype == torch.uint8 and torch.equal(decoded, frames)


def test_patches_go_row_by_row():
    frame = torch.arange(16).view(1, 1, 4, 4)
    assert patches(frame, 2).tolist() == [
        [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    ]


def test_a_new_patch_becomes_the_nearest_known_one():
    known = torch.tensor([[[[1, 1], [1, 1]]], [[[0, 0], [0, 0]]]], dtype=torch.uint8)
    tokenizer = FrameTokenizer.fit(known, patch=2)
    assert tokenizer.vocab_size == 2
    nearly_full = torch.tensor([[[[1, 1], [1, 0]]]], dtype=torch.uint8)
    assert torch.equal(tokenizer.decode(tokenizer.encode(nearly_full)), known[:1])


def test_the_most_frequent_patch_is_number_0():
    tokenizer = FrameTokenizer.fit(game_frames(), patch=2)
    assert not tokenizer.codebook[0].any()  # most of the screen is empty


def test_patches_must_fill_the_frame():
    with pytest.raises(ValueError, match="patch must divide"):
        FrameTokenizer.fit(torch.zeros(1, 4, 10, 10), patch=3)
    tokenizer = FrameTokenizer.fit(torch.zeros(1, 4, 10, 10), patch=5)
    with pytest.raises(ValueError, match="a frame has 4 tokens"):
        tokenizer.decode(torch.zeros(2, 3, dtype=torch.int64))
