"""Measurements on one GPU, with weights made on the spot: nothing is fetched."""
