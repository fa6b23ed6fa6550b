"""The `vlm` slice detector: a vision-language model is shown slices and answers where it sees something (block 1)."""
