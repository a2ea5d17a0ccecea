"""The papers' own figures of the catalogue."""

import importlib.util
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from lamostvac.catalog.registry import NetworkLabel, load_registry

TEFF = NetworkLabel("teff_pastel", "K", "phys.temperature.effective", "Teff", "pastel")
REGISTRY = load_registry([TEFF])


@pytest.fixture
def script(project):
    spec = importlib.util.spec_from_file_location(
        "figures_papers_script", project / "workflow_scripts/figures_papers.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_repeats_of_each_system_differ_in_snr_as_its_paper_allows(tmp_path, script):
    # 40 stars whose two spectra differ by 5 % in S/N, and 60 by 15 %.
    rng, n = np.random.default_rng(1), 100
    rows = REGISTRY.empty(2 * n)
    star = np.repeat(np.arange(n), 2)
    rows["spectrum_id"] = [f"s{i:03d}" for i in range(2 * n)]
    rows["ra"], rows["dec"], rows["lmjd"] = 0.1 * star, 20.0, np.tile([58000, 58001], n)
    rows["snrr"] = rows["snrg"] = np.where(
        np.arange(2 * n) % 2, np.where(star < 40, 95.0, 85.0), 100.0
    )
    for name in ("teff", "teff_pastel"):
        rows[name] = 5500 + rng.normal(0, 50, 2 * n)
        rows[f"{name}_err_random"] = 50
    pq.write_table(REGISTRY.to_arrow(rows), tmp_path / "c.parquet")
    params = SimpleNamespace(
        snr_band="snrr",
        tolerances={"emulator": 0.2, "networks": 0.1},
        network_labels=[vars(TEFF)],
    )
    figure = script.figure_of_repeats(
        tmp_path / "c.parquet", params, pd.DataFrame(columns=["label"])
    )
    (page,) = figure.axes
    texts = {text.get_text(): text.get_position()[0] for text in page.texts}
    middles = sorted(place for text, place in texts.items() if "rm eff" in text)
    assert len(middles) == 2
    # Panels are 2.6 inches wide.
    points = np.concatenate([
        np.asarray(drawn.get_offsets()) for drawn in page.collections
        if isinstance(drawn, PathCollection) and to_hex(drawn.get_facecolor()[0]) == "#ced4da"
    ])  # fmt: skip
    drawn = [int((abs(points[:, 0] - middle) <= 1.3).sum()) for middle in middles]
    # Of the largest twentieth some are above the panel's edge.
    assert 95 <= drawn[0] <= 100
    assert 38 <= drawn[1] <= 40
    assert any("100 and 40 pairs" in text for text in texts)
    plt.close(figure)
