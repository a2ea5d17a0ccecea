"""The run itself: plan, progress, resources, Slurm, paths, records of jobs."""

VERSION = 10
