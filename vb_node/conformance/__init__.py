"""The DICOM Conformance Statement, printed from the tables that the node itself works with."""
