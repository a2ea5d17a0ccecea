"""The colour of a star without reddening, against which temperatures are drawn."""

import numpy as np
import pandas as pd

# A(BP) - A(RP) over E(B-V), as in config/training_sets.yaml (Chen et al. 2018).
BP_RP_EXTINCTION = 3.24 - 1.91


def dereddened_bp_rp(table: pd.DataFrame) -> pd.Series:
    """BP - RP without reddening (n,) in mag, as Liang et al. (2024, section 4.6.2) correct it.

    `table` has `mag_bp mag_rp ebv`; NaN where one of these is missing, also as a column.
    """
    if not {"mag_bp", "mag_rp", "ebv"} <= set(table):
        return pd.Series(np.nan, table.index)
    colour = table["mag_bp"] - table["mag_rp"] - BP_RP_EXTINCTION * table["ebv"]
    return colour.astype(np.float64)
