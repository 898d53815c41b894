"""Readers of trained models, one module or folder a kind of file; each turns one into a FloatModel or says why not."""
