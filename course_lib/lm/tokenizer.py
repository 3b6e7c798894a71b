"""Text to token numbers and back: one token per character, byte-level BPE, or one per word.

A model reads numbers. Characters need a list of a hundred and give long sequences. Byte pair
encoding (Sennrich, Haddow and Birch, arXiv 1508.07909) starts from the 256 bytes and joins, again
and again, the pair of neighbours that occurs most often: frequent words become one token, rare ones
a few, and no text is ever unknown, since any text is bytes (Radford et al. 2019, section 2.2).
Merging is done by the package ``tokenizers``. Whole words suit small made-up worlds, whose list of
words is known and short.

All classes: ``encode``, ``decode``, ``vocab_size``, ``token``; the first two can be trained on a
text, saved and loaded.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor


class CharTokenizer:
    """Every character of the training text has a number, in alphabetical order."""

    def __init__(self, characters: str):
        if len(set(characters)) != len(characters) or not characters:
            raise ValueError(f"characters must be some and all different, got {characters!r}")
        self.characters = characters
        self._number = {character: i for i, character in enumerate(characters)}

    @classmethod
    def train(cls, text: str) -> "CharTokenizer":
        """Give a number to each character of ``text``."""
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> list[int]:
        """One number per character of ``text``."""
        try:
            return [self._number[character] for character in text]
        except KeyError as error:
            raise ValueError(
                f"the character {error.args[0]!r} was not in the training text, so it has no "
                f"number: these have one: {self.characters!r}"
            ) from None

    def decode(self, tokens: Sequence[int] | Tensor) -> str:
        """The text behind ``tokens``."""
        return "".join(self.token(number) for number in _numbers(tokens))

    def token(self, number: int) -> str:
        """The character with this number."""
        _check(number, self.vocab_size)
        return self.characters[number]

    def save(self, path: Path | str) -> None:
        """Write a JSON file that ``load`` reads."""
        record = {"kind": "characters", "characters": self.characters}
        Path(path).write_text(json.dumps(record) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> "CharTokenizer":
        """Read what ``save`` wrote."""
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(record["characters"])
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} was not written by `CharTokenizer.save`: {error}") from error


class BPETokenizer:
    """Byte-level BPE: words and pieces of words, each with the blank before it."""

    def __init__(self, inner: tokenizers.Tokenizer):
        self.inner = inner

    @classmethod
    def train(cls, texts: Iterable[str] | str, vocab_size: int) -> "BPETokenizer":
        """Learn ``vocab_size`` tokens: the 256 bytes, and pairs joined until there are so many.

        Small texts may hold fewer pairs that occur twice; the vocabulary is then smaller.
        """
        if vocab_size < 256:
            raise ValueError(f"vocab_size must be at least 256, one per byte, got {vocab_size}")
        inner = tokenizers.Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        inner.train_from_iterator([texts] if isinstance(texts, str) else texts, trainer)
        return cls(inner)

    @property
    def vocab_size(self) -> int:
        return self.inner.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The numbers of the pieces of ``text``."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int] | Tensor) -> str:
        """The text behind ``tokens``, special ones too; "�" for bytes that form no character."""
        numbers = _numbers(tokens)
        for number in numbers:
            _check(number, self.vocab_size)
        return self.inner.decode(numbers, skip_special_tokens=False)

    def token(self, number: int) -> str:
        """The piece of text with this number."""
        return self.decode([number])

    def save(self, path: Path | str) -> None:
        """Write a JSON file that ``load``, and the package ``tokenizers``, can read."""
        self.inner.save(str(path))

    @classmethod
    def load(cls, path: Path | str) -> "BPETokenizer":
        """Read what ``save`` wrote."""
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except Exception as error:  # the package raises nothing more specific
            raise ValueError(f"{path} was not written by `BPETokenizer.save`: {error}") from error


class WordTokenizer:
    """Every word of a fixed list has a number. Words, and signs like ".", are parted by blanks."""

    def __init__(self, words: Sequence[str]):
        if len(set(words)) != len(words) or not words:
            raise ValueError(f"words must be some and all different, got {list(words)}")
        self.words = tuple(words)
        self._number = {word: i for i, word in enumerate(words)}

    @property
    def vocab_size(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """One number per word of ``text``."""
        try:
            return [self._number[word] for word in text.split()]
        except KeyError as error:
            raise ValueError(
                f"the word {error.args[0]!r} is none of the {self.vocab_size} words that have a "
                "number: `words` holds them"
            ) from None

    def decode(self, tokens: Sequence[int] | Tensor) -> str:
        """The words behind ``tokens``, with a blank between any two."""
        return " ".join(self.token(number) for number in _numbers(tokens))

    def token(self, number: int) -> str:
        """The word with this number."""
        _check(number, self.vocab_size)
        return self.words[number]


def _numbers(tokens: Sequence[int] | Tensor) -> list[int]:
    return tokens.tolist() if isinstance(tokens, Tensor) else [int(number) for number in tokens]


def _check(number: int, vocab_size: int) -> None:
    if not 0 <= number < vocab_size:
        raise ValueError(f"token {number} lies outside the vocabulary of {vocab_size}: 0 to size-1")
