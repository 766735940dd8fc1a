"""What is measured: speed, and the experiments that chapters quote."""
