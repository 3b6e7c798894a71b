"""Grading a folder of submitted notebooks: strangers' code, in a process without rights.

A submission is *read* here (`notebook`, `source`, `program`), *run* in a confined process
(`sandbox` starts `worker`), and *judged* here again by the cases and mistakes of the notebook's own
checks (`submission`).
The process that runs a student's code never decides whether it is right: it sends back values, and
nothing that it sends is executed (`codec`). `state` keeps what was graded, `reports` writes tables
and pages.
"""
