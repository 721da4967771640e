"""Fuzz targets: properties of octets from outside, for atheris; tests run them too, on what is kept in corpus/."""
