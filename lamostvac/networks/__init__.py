"""Neural networks for labels (Wang et al. 2022): training, prediction, where they may be
believed.
"""

VERSION = 1
