"""Applications: one folder each. Others join by the entry-point group ``vb_node.applications``."""
