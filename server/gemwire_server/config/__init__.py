"""Every option of a server, and where its value comes from."""
