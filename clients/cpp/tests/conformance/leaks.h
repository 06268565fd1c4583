#pragma once

#include <cstddef>

/// What this process holds, by /proc.
struct Held {
  std::size_t threads;
  std::size_t sockets;
};

Held held_now();

/// Waits some seconds until the process holds no more than that; gRPC ends its threads in the
/// background.
Held held_at_last(const Held& most);
