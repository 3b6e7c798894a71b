"""One file per lesson: each exercise with its reference, its cases and its named mistakes."""
