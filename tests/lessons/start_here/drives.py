"""What the right answers of this lesson drive."""

from course_lib.lessons.start_here.widget import DiscountExplorer


def horizon():
    """How far ahead a discount looks, as the lesson's widget says it."""
    return {"letters": [ord(letter) for letter in repr(DiscountExplorer(0.9))]}


RUNS = {"discounted_return": (horizon, "discounts the first reward")}
CALLED = {"success_rate"}
