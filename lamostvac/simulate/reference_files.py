"""Names of the simulated comparison catalogues, below the folder of catalogues."""

GAIA_ESO = "gaia_eso/ges.fits"
SEISMIC = "kepler/seismic.tsv"
VMP_LOW, VMP_HIGH = "vmp/li2018.tsv", "vmp/highres.csv"
LASP, LASPM = "lasp/lrs_afgk.csv", "laspm/lrs_m.csv"
HOTPAYNE = "hotpayne/hotpayne.fits"
CLUSTERS = "clusters/open_cluster_members.csv"
NAMES = (GAIA_ESO, SEISMIC, VMP_LOW, VMP_HIGH, LASP, LASPM, HOTPAYNE, CLUSTERS)
