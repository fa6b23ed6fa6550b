"""DICOM over HTTP, as user agent (PS3.18)."""
