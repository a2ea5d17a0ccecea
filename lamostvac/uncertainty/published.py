"""Published models of random errors (Wang et al. 2022, Table 2), and ours beside them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml
from lamostvac.core.paths import PUBLISHED_ERRORS_PATH
from lamostvac.uncertainty.model_files import _COVARIANCES, models_table
from lamostvac.uncertainty.snr_curve import TEFF_SCALE, RandomErrorModel


def load_published_errors(path: str | Path = PUBLISHED_ERRORS_PATH) -> dict[str, RandomErrorModel]:
    """Table 2 of Wang et al. (2022) by label, source `published`, without errors of coefficients.

    Raises
    ------
    UserError
        The file cannot be read, or a label lacks one of a, b, c, sigma_m, or one of them is not
        positive.
    """
    content = read_yaml(path, "the published errors", " with a mapping `errors:`")
    if not isinstance(content, dict) or "errors" not in content:
        raise UserError(f"the published errors {path} must be YAML with a mapping `errors:`")
    models = {}
    for label, numbers in content["errors"].items():
        if not isinstance(numbers, dict) or set(numbers) != {"a", "b", "c", "sigma_m"}:
            raise UserError(f"{path}: {label} must have exactly the keys a, b, c, sigma_m")
        for key, value in numbers.items():
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not 0 < value < np.inf
            ):
                raise UserError(f"{path}: {label}.{key} = {value!r} must be a positive number")
        models[str(label)] = RandomErrorModel(
            str(label),
            a=float(numbers["a"]),
            b=float(numbers["b"]),
            c=float(numbers["c"]),
            sigma_m=float(numbers["sigma_m"]),
            scale=TEFF_SCALE if str(label).startswith("teff") else 1.0,
            source="published",
        )
    return models


def beside_published(
    models: Iterable[RandomErrorModel],
    published: Mapping[str, RandomErrorModel],
    snr: Sequence[float] = (20.0, 50.0, 100.0),
) -> pd.DataFrame:
    """`models_table` beside Table 2, and both random errors at some S/N, in the labels' units.

    Adds `published_a published_b published_c published_sigma_m` and for each S/N `random_{snr}
    published_random_{snr}`; the paper prints these for 20, 50 and 100 in its Figure 5.
    """
    models = list(models)
    table = models_table(models).drop(columns=list(_COVARIANCES))
    paper = [published.get(model.label, RandomErrorModel(model.label)) for model in models]
    for name in ("a", "b", "c", "sigma_m"):
        table[f"published_{name}"] = [getattr(model, name) for model in paper]
    for level in snr:
        table[f"random_{level:g}"] = [float(model.evaluate(level)) for model in models]
        table[f"published_random_{level:g}"] = [float(model.evaluate(level)) for model in paper]
    return table
