"""``python -m vb_node`` is ``vb-node``."""

from vb_node.cli import run

run()
