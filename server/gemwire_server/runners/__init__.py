"""The owners of devices, and what loads a model onto one."""
