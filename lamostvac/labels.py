"""The labels that libraries have and the emulator gives: Teff (K), log g, [Fe/H], [alpha/Fe] (dex)."""

LABELS = ("teff", "logg", "feh", "alpha_fe")
