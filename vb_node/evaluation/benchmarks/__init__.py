"""Benchmarks A, B and C of the pipeline, on generated cases: what must hold before anything is measured on patients."""
