"""Virtual Biopsy (arXiv 2602.21613): MRI-Processor, Tumor-Localizer, Adaptive-Diagnoser, and their report."""

from vb_node.applications.virtual_biopsy.application import VirtualBiopsy

application = VirtualBiopsy()
