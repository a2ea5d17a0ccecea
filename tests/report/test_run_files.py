"""What the report's first page reads from a run's files."""

import pyarrow.parquet as pq

from lamostvac.catalog.registry import load_registry
from lamostvac.report.run_files import catalogue_versions


def test_versions_are_what_the_header_says_of_the_run_and_not_of_columns(tmp_path):
    registry = load_registry()
    cards = {"creator": "lamost-vac 1", "confhash": "a" * 64}
    pq.write_table(registry.to_arrow(registry.empty(2), cards), tmp_path / "catalogue.parquet")
    assert catalogue_versions(str(tmp_path / "catalogue.parquet")) == cards
