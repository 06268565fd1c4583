#include "leaks.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>

namespace fs = std::filesystem;

Held held_now() {
  Held held{0, 0};
  for ([[maybe_unused]] const auto& thread : fs::directory_iterator("/proc/self/task")) {
    ++held.threads;
  }
  for (const auto& file : fs::directory_iterator("/proc/self/fd")) {
    std::error_code closed_meanwhile;
    const std::string target = fs::read_symlink(file, closed_meanwhile).string();
    held.sockets += target.starts_with("socket:");
  }
  return held;
}

Held held_at_last(const Held& most) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  while (true) {
    const Held held = held_now();
    const bool settled = held.threads <= most.threads && held.sockets <= most.sockets;
    if (settled || std::chrono::steady_clock::now() > until) return held;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}
