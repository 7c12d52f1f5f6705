"""pymta: a complete mail system of small programs that share only directories.  pymta(7) is the map."""
__version__ = "0.1.0"
