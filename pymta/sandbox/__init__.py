"""sandbox: the parts of pymta-sandbox: options, identity, tree, certificate, supervise, daemon, watch."""
