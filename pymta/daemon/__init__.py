"""daemon: what every daemon does, whatever it serves: readiness and watchdog, reload, background, memory given back."""
