"""Tokens and back: round trips, unknown characters, files."""

import pytest
import tokenizers
import torch

from course_lib.lm.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer

TEXT = "the cat sat on the mat; the cat sat.\nthe end\n"


def test_characters_are_numbered_in_alphabetical_order():
    tokenizer = CharTokenizer.train("banana")
    assert tokenizer.characters == "abn" and tokenizer.vocab_size == 3
    assert tokenizer.encode("nab") == [2, 0, 1]
    assert [tokenizer.token(i) for i in range(3)] == ["a", "b", "n"]


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_decode_undoes_encode(kind, as_tensor):
    tokenizer = CharTokenizer.train(TEXT) if kind == "characters" else BPETokenizer.train(TEXT, 280)
    numbers = tokenizer.encode(TEXT)
    assert max(numbers) < tokenizer.vocab_size
    assert tokenizer.decode(torch.tensor(numbers) if as_tensor else numbers) == TEXT
    assert tokenizer.decode([]) == "" and tokenizer.encode("") == []


def test_decode_gives_special_tokens_back():
    inner = BPETokenizer.train(TEXT, 280).inner
    inner.add_special_tokens(["<|end|>"])
    tokenizer = BPETokenizer(inner)
    text = "the cat<|end|>"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.token(tokenizer.vocab_size - 1) == "<|end|>"
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", tokenizer.vocab_size - 1)]
    )
    assert tokenizer.decode(tokenizer.encode(text)) == text, "nothing is put before the text"


def test_an_unknown_character_is_a_sentence():
    with pytest.raises(ValueError, match=r"'z' was not in the training text.*'abn'"):
        CharTokenizer.train("banana").encode("zan")


@pytest.mark.parametrize("characters", ["", "aa"])
def test_a_wrong_list_of_characters_is_refused(characters):
    with pytest.raises(ValueError, match="some and all different"):
        CharTokenizer(characters)


@pytest.mark.parametrize("number", [-1, 3])
def test_a_number_outside_the_vocabulary_is_refused(number):
    with pytest.raises(ValueError, match=f"token {number} lies outside the vocabulary of 3"):
        CharTokenizer.train("banana").decode([number])
    tokenizer = BPETokenizer.train(TEXT, 256)
    with pytest.raises(ValueError, match="outside the vocabulary of 256"):
        tokenizer.decode([-1 if number < 0 else 256])


def test_bpe_first_joins_the_most_frequent_pair():
    tokenizer = BPETokenizer.train("abababab cd cd", 257)
    assert tokenizer.vocab_size == 257 and tokenizer.token(256) == "ab"
    assert [tokenizer.token(i) for i in tokenizer.encode("abc")] == ["ab", "c"]


def test_bpe_knows_any_text():
    tokenizer = BPETokenizer.train(TEXT, 270)
    text = "naïve Ω 🐱 \x00\t  two  blanks"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bpe_needs_fewer_tokens_than_characters_and_more_pieces_need_fewer_still():
    few, many = BPETokenizer.train(TEXT, 260), BPETokenizer.train(TEXT, 275)
    assert len(many.encode(TEXT)) < len(few.encode(TEXT)) < len(TEXT)


def test_bpe_training_takes_several_texts_and_repeats_itself():
    one = BPETokenizer.train([TEXT, "the dog sat"], 275)
    two = BPETokenizer.train(iter([TEXT, "the dog sat"]), 275)
    assert one.inner.to_str() == two.inner.to_str()


def test_bpe_needs_a_token_per_byte():
    with pytest.raises(ValueError, match="at least 256, one per byte, got 100"):
        BPETokenizer.train(TEXT, 100)


@pytest.mark.parametrize("kind", [CharTokenizer, BPETokenizer])
def test_save_and_load(kind, tmp_path):
    tokenizer = (
        CharTokenizer.train(TEXT) if kind is CharTokenizer else BPETokenizer.train(TEXT, 270)
    )
    tokenizer.save(tmp_path / "tokenizer.json")
    again = kind.load(tmp_path / "tokenizer.json")
    assert again.vocab_size == tokenizer.vocab_size
    assert again.encode(TEXT) == tokenizer.encode(TEXT)
    assert again.decode(again.encode(TEXT)) == TEXT


def test_the_file_of_bpe_is_the_packages_own(tmp_path):
    tokenizer = BPETokenizer.train(TEXT, 260)
    tokenizer.save(tmp_path / "tokenizer.json")
    read = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert read.get_vocab_size() == 260 and read.encode(TEXT).ids == tokenizer.encode(TEXT)


@pytest.mark.parametrize("kind", [CharTokenizer, BPETokenizer])
@pytest.mark.parametrize("text", ["not json", "{}", "[]"])
def test_a_foreign_file_is_a_sentence(kind, text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json was not written by"):
        kind.load(tmp_path / "x.json")


def test_words_are_numbered_as_they_are_given():
    tokenizer = WordTokenizer(["<end>", "the", "cat", "."])
    assert tokenizer.vocab_size == 4 and tokenizer.words == ("<end>", "the", "cat", ".")
    assert tokenizer.encode("the cat . <end>") == [1, 2, 3, 0]
    assert tokenizer.encode("  the   cat\n") == [1, 2] and tokenizer.encode("") == []
    assert tokenizer.decode([1, 2, 3, 0]) == "the cat . <end>"
    assert tokenizer.decode(torch.tensor([2, 3])) == "cat ." and tokenizer.decode([]) == ""
    assert [tokenizer.token(i) for i in range(4)] == list(tokenizer.words)


def test_an_unknown_word_is_a_sentence():
    tokenizer = WordTokenizer(["the", "cat"])
    with pytest.raises(ValueError, match="the word 'dog' is none of the 2 words"):
        tokenizer.encode("the dog")
    for number in (-1, 2):
        with pytest.raises(ValueError, match=f"token {number} lies outside the vocabulary of 2"):
            tokenizer.decode([number])


@pytest.mark.parametrize("words", [[], ["the", "the"]])
def test_a_wrong_list_of_words_is_refused(words):
    with pytest.raises(ValueError, match="words must be some and all different"):
        WordTokenizer(words)
