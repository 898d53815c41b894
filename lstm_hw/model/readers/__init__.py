"""Readers of trained models, one module a kind of file; each turns a file into a FloatModel or says why not."""
