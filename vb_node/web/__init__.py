"""HTTP: instances in by STOW-RS, and whether the node is well."""
