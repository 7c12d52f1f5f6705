"""tls: certificates: found and handed down (files), chosen by name (certificates), made (make), looked over (check), read (der)."""
