"""The example of CONTRIBUTING.md is no part of the course: only its test may collect it."""

collect_ignore = ["lesson"]
