"""The checks here are run by hand: they need a browser and packages that the course does not."""

collect_ignore_glob = ["*.py"]
