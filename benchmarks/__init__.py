"""What Teola costs: each file measures one thing, prints it and writes benchmarks/results/."""
