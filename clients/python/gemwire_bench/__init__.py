"""An open-loop load generator: calls go out by a schedule made beforehand, whatever the server does.

A call's latency counts from when it was to be sent, so that neither a slow server nor a slow client can
hide a wait. A run that its own client spoilt says so.
"""
