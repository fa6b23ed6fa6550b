"""Data sets, the phantom, and the training of every network the project ships."""
