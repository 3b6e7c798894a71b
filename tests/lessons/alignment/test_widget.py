"""The widget of lesson 10: what it says, what it hides, what it refuses."""

import pytest

from course_lib.lessons.alignment.widget import GoodhartExplorer

VIEW = "application/vnd.jupyter.widget-view+json"
RUN = {
    "proxy": [0.0, 1.0, 2.0, 3.0],
    "kl": [0.0, 1.0, 4.0, 9.0],
    "true": [1.0, 3.0, 2.0, -4.0],
    "replies": [["where ?", f"reply {i} <b>"] for i in range(4)],
}


def test_it_shows_the_proxy_and_hides_the_truth_until_it_is_asked_for():
    explorer = GoodhartExplorer(RUN)
    words = explorer.set(update=3)
    assert "Update 3: proxy +1.00, 1.7 nats" in words and "reply 2" in words  # means of three
    assert "true" not in words
    words = explorer.set(truth=True)
    assert "true reward +2.00. The best you could have kept was update 2 with +2.00" in words


def test_the_controls_call_the_same_functions():
    explorer = GoodhartExplorer(RUN)
    slider, truth, image, page = explorer.widget().children
    before = image.value
    slider.value = 4
    assert explorer.update == 4 and "Update 4" in page.value and image.value != before
    truth.value = True
    assert explorer.truth and "true reward" in page.value
    assert "&lt;b&gt;" in page.value, "a reply is text, not HTML"


def test_updates_that_are_not_there_and_torn_runs_get_a_sentence():
    with pytest.raises(ValueError, match=r"update must lie in \[1, 4\], got 5"):
        GoodhartExplorer(RUN).set(update=5)
    with pytest.raises(ValueError, match="all columns of a run must be of one length"):
        GoodhartExplorer(RUN | {"kl": [1.0]})


def test_the_stored_output_reads_well_without_a_kernel():
    stored = GoodhartExplorer(RUN)._repr_mimebundle_()
    assert stored[VIEW]["model_id"] and stored["image/png"]
    assert stored["text/plain"].startswith("Update 1: proxy +0.00")
