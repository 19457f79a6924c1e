"""From bytes to values: formats, encodings, dialects."""
