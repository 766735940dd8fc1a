"""What recorded answers say: statistics, maps and figures; neither torch nor TRL is needed."""
