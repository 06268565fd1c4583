"""The protocols that callers speak. Each front translates and calls `service`; none knows another."""
