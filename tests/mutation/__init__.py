"""Changes of sources, one at a time, that the tests ought to notice."""
