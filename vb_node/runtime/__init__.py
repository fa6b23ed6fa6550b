"""The stations receive, assemble, work and deliver, which meet only on the shelves, and the node that keeps them."""
