"""Who may do what, and who did: accounts and the audit."""
