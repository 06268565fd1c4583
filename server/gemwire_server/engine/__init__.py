"""The engine: chooses the texts of each step, and runs the steps in threads."""
