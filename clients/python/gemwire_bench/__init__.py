"""An open-loop load generator: calls go out by a schedule made beforehand, however slow the server is.

A call's latency counts from the time the call was due, so that neither a slow server nor a slow client can
hide a wait. A result reports where the client itself spoilt the run.
"""
