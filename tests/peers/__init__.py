"""Mail servers of others, from Debian, that relay to us and we to them.  Only by `make test-peers`: see tests/peers/conftest.py."""
