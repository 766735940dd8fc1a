"""What the notebooks need: tiers, exercise checks, widgets, the doctor."""
