"""Variables: interpolation of texts, files of variables."""
