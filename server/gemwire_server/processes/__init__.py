"""The server as several processes: a supervisor, fronts that speak gRPC, and an engine for each device.

    supervisor ── spawns, watches, restarts; owns signals, the port's number and the admin ports
      ├── front 0..N    grpc.aio on one port; `pool` chooses an engine, `remote` speaks to it
      └── engine 0..M   `host` passes to a ThreadEngine what fronts send

Fronts and engines exchange `messages` over a `link`: payloads in shared memory, a record on a socket as the
doorbell. The supervisor and its children exchange lines of JSON (`control`).
"""
