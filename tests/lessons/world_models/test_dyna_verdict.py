"""Right values in a table that was changed in place: the verdict says so, and nothing else."""

from course_lib.classroom.check import check
from course_lib.classroom.exercise import find


def test_right_values_in_a_changed_table_are_told_as_such():
    task = find("world_models.dyna_update")

    def in_place(q, *rest):
        q[...] = task.reference(q, *rest)
        return q

    verdict = check(in_place, task)
    assert verdict.status == "wrong"
    assert verdict.reason.startswith("The values are right, but it changed its inputs")
