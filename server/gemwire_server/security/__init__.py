"""Who may call: certificates, tokens and their quotas, each read again when its file changes."""
