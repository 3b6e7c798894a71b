"""The pages that grading writes, on a telephone and on a laptop."""

import pytest

from course_lib.classroom.grade import reports
from course_lib.classroom.grade.reports import Student
from course_lib.classroom.grade.submission import Grade
from tests.browser import lab

NAMES = [
    f"transformer_world_model.{n}"
    for n in ("tokens_of", "cached_attention", "a", "b", "play_in_it")
]
WRONG = Grade(
    NAMES[1],
    "wrong",
    mistake="attends to the keys that come after the query",
    note="The values are off (expected 5, got 7.5).",
    case="by hand: logits=" + "[[0.1234 0.5678 0.9012] [0.1 0.2 0.3]]" * 6 + "x" * 120,
    expected="5",
    got="7.5",
)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("reports")
    students = [
        Student(
            name,
            {n: Grade(n, "passed") for n in NAMES}
            | {NAMES[1]: WRONG, NAMES[2]: Grade(NAMES[2], "not attempted")},
        )
        for name in ("Ada Lovelace", "Wolfeschlegelsteinhausenbergerdorff " * 2, "é/ü #1 ?")
    ]
    students.append(Student("nobody", {}, ["nobody/essay.pdf: It is no notebook but a .pdf."]))
    reports.write(students, out)
    return out


@pytest.mark.parametrize("width", [390, 1024])
def test_every_page_fits_and_the_summary_leads_to_all_of_them(chromium_path, out, width):
    with lab.window(chromium_path) as page:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto((out / "summary.html").as_uri())
        links = page.locator("table a")
        assert links.count() == 4
        assert _overflow(page) <= 0
        lab.SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=lab.SHOTS / f"summary_{width}.png", full_page=True)
        names = links.all_inner_texts()
        for i, name in enumerate(names):
            links.nth(i).click()
            page.wait_for_url("**/feedback/*.html")
            assert " ".join(name.split()) in " ".join(page.locator("h1").inner_text().split())
            assert _overflow(page) <= 0
            if i == 1:
                page.screenshot(path=lab.SHOTS / f"feedback_{width}.png", full_page=True)
            page.go_back()


def _overflow(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")
