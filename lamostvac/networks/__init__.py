"""Neural networks for labels (Wang et al. 2022): training, prediction, range of validity."""

VERSION = 6
