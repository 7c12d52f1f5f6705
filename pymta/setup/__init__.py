"""setup: what pymta-setup is made of: the questions, the edit of pymta.conf, the plan, accounts and places, and what to tell at the end."""
