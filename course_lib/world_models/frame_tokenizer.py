"""Frames as tokens and back: every distinct patch that was ever seen is a word.

A frame is cut into square patches, and each patch is replaced by the number of the stored patch
nearest to it. On frames of zeros and ones this loses nothing as long as no new patch turns up, and
it needs no training: a nearest-neighbour tokenizer (Dedieu et al., arXiv 2502.01591, section 4.3).
Left out: a learned codebook with an encoder and a decoder (VQ-VAE, van den Oord et al., arXiv
1711.00937), which pictures with shades need and which can merge two things that look alike.

Symbols: B frames of C channels, H by W cells; P side of a patch; K = (H/P)(W/P) tokens per frame;
V patches in the codebook.
"""

import torch
from torch import Tensor


def patches(frames: Tensor, patch: int) -> Tensor:
    """Cut frames (B, C, H, W) into squares, row by row: (B, K, C * P * P)."""
    batch, channels, height, width = frames.shape
    if height % patch or width % patch:
        raise ValueError(f"patch must divide height and width, got {patch} and {height}, {width}")
    rows = frames.unfold(2, patch, patch).unfold(3, patch, patch)  # (B, C, H/P, W/P, P, P)
    return rows.permute(0, 2, 3, 1, 4, 5).reshape(batch, -1, channels * patch * patch)


class FrameTokenizer:
    """A codebook of patches. Build it with ``fit``."""

    def __init__(self, codebook: Tensor, frame_shape: tuple[int, int, int], patch: int):
        """``codebook`` (V, C * P * P) of zeros and ones; ``frame_shape`` is (C, H, W)."""
        self.codebook = codebook
        self.frame_shape = frame_shape
        self.patch = patch

    @classmethod
    def fit(cls, frames: Tensor, patch: int = 2) -> "FrameTokenizer":
        """Collect the distinct patches of ``frames`` (B, C, H, W), the most frequent first."""
        cut = patches(frames, patch).flatten(0, 1)
        found, counts = cut.unique(dim=0, return_counts=True)
        order = counts.argsort(descending=True, stable=True)
        return cls(found[order].to(torch.uint8), tuple(frames.shape[1:]), patch)

    @property
    def vocab_size(self) -> int:
        """How many different patches are known, V."""
        return len(self.codebook)

    @property
    def tokens_per_frame(self) -> int:
        """How many tokens make a frame, K."""
        _, height, width = self.frame_shape
        return (height // self.patch) * (width // self.patch)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, C, H, W) to token numbers (B, K). A new patch gets the nearest known one."""
        cut = patches(frames, self.patch).float()
        book = self.codebook.float()
        # Cells that differ: |a - b| = a + b - 2ab for zeros and ones. The sum over a is the same
        # for every candidate.
        differ = book.sum(1) - 2 * cut @ book.T
        return differ.argmin(dim=-1)  # the more frequent patch where two are equally near

    def decode(self, tokens: Tensor) -> Tensor:
        """Token numbers (B, K) to frames (B, C, H, W) uint8."""
        channels, height, width = self.frame_shape
        rows, columns, side = height // self.patch, width // self.patch, self.patch
        if tokens.shape[1:] != (rows * columns,):
            raise ValueError(
                f"a frame has {rows * columns} tokens, got tokens of shape {tuple(tokens.shape)}"
            )
        cells = self.codebook[tokens].view(-1, rows, columns, channels, side, side)
        return cells.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, height, width)
