"""The servers that every client library is tested against: one that plays scripts, and real ones."""
