"""``python -m vb_node`` is ``vb-node``."""

from vb_node.runtime.fate import die_with_supervisor

die_with_supervisor()

from vb_node.cli import run  # noqa: E402  it takes a second or more

run()
