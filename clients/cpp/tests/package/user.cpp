// Exits with 0 if the client of the installed package works: no server is there.
#include <gemwire/client.h>

int main() {
  gemwire::Client client("127.0.0.1:1", {.timeout = std::chrono::milliseconds(300)});
  try {
    client.embed_query("Which planet is red?");
  } catch (const gemwire::Unavailable&) {
    return 0;
  } catch (const gemwire::DeadlineExceeded&) {
    return 0;
  }
  return 1;
}
