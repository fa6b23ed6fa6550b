"""vb-node: a DICOM-native clinical integration node for the Virtual Biopsy pipeline. Investigational software."""

__version__ = "0.1.0"
