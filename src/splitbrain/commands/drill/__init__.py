"""``splitbrain drill FILE.toml``: a matrix of tests, and whether each came out as expected.

The way of a drill, one module a step:

    form      the file as it is written, each key with its line       (lines, values, problems)
    matrix    its scenarios: the cross product, each a spec that resolves
    plan      which runs, in which order: shard, seeds that failed before, expected times
    runner    the runs, one after the other; the record of what they came to
    verdicts  what a run, a scenario and the whole drill came to       (figures)
    seeds     seeds that failed, remembered beside the file
    archive   the evidence of what was not as expected, in one file

form, matrix and plan start nothing, so that a mistake in the file is told before anything runs; plan
and verdicts are pure functions of plain data.
"""
