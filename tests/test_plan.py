"""The plan of a whole release, from the configuration that is shipped for it."""

from benchmarks.plan import plan


def test_every_chunk_adds_three_jobs_and_nothing_else_grows(project, tmp_path):
    """prepare, fit and predict are per chunk; the rest is per type, training set, label or run."""
    small, large = (plan(project, tmp_path / str(n), n) for n in (200_000, 400_000))
    assert large[3] > small[3] > 6
    assert large[2] - small[2] == 3 * (large[3] - small[3])
