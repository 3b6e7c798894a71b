"""The shape of a transformer: what `gpt`, its cache and its positions are built for."""

from dataclasses import dataclass

from course_lib import limits


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model. Sizes left at None follow from the others."""

    vocab_size: int  # tokens: 60 for letters, 49152 for SmolLM2
    context: int = 256  # positions it was or will be trained on: 64 to 8192
    layers: int = 4  # blocks, one after the other: 2 to 30
    width: int = 128  # channels C between blocks: 64 to 576
    heads: int = 4  # attention heads H: width / 64 to width / 32
    kv_heads: int | None = None  # heads K of keys and values; None: as many as heads
    head_size: int | None = None  # channels D of a head; None: width / heads
    hidden: int | None = None  # channels inside SwiGLU; None: about 8/3 of width
    rope_base: float = 10_000.0  # longest wavelength of the rotary positions, over 2 pi
    norm_eps: float = 1e-5  # added under RMSNorm's root
    tied: bool = True  # the head that reads tokens off is the embedding's matrix

    def __post_init__(self) -> None:
        limits.check(self, at_least_1="vocab_size context layers width heads")
        if self.head_size is None and self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, got {self.width} and {self.heads}"
            )
        derived = {
            "kv_heads": self.heads,
            "head_size": self.width // self.heads,
            # As many weights as in the classic 4 * width, in three matrices for two. Products with
            # a multiple of 16 columns are a tenth faster than with the exact number.
            "hidden": 16 * max(1, round(self.width / 6)),
        }
        for name, value in derived.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads must be a multiple of kv_heads, got {self.heads} and {self.kv_heads}"
            )
        if self.head_size % 2:
            raise ValueError(f"head_size must be even for rotary positions, got {self.head_size}")
