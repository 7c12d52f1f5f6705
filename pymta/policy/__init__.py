"""policy: what is asked of those who bring mail: rules, the door (gate), rates of strangers, limits of users, submission."""
