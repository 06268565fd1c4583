// Ranks four documents for a query, at the server of the address given: rank 127.0.0.1:50051
#include <gemwire/client.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

int main(int count, char** arguments) try {
  if (count != 2) return std::fprintf(stderr, "usage: %s ADDRESS\n", arguments[0]), 2;
  gemwire::Client client(arguments[1]);
  const std::string query = "Which planet is known as the Red Planet?";
  const std::vector<std::string> documents = {
      "Venus is often called Earth's twin because of its similar size and proximity.",
      "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
      "Jupiter, the largest planet in our solar system, has a prominent red spot.",
      "Saturn, famous for its rings, is sometimes mistaken for the Red Planet."};

  const auto asked = client.embed_query(query);
  const auto vectors = client.embed_documents({documents.begin(), documents.end()});
  std::vector<std::pair<float, std::string>> ranked;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const float score = std::inner_product(asked.begin(), asked.end(), vectors[i].begin(), 0.0f);
    ranked.emplace_back(score, documents[i]);
  }
  std::sort(ranked.rbegin(), ranked.rend());
  std::printf("%s\n", query.c_str());
  for (const auto& [score, document] : ranked) std::printf("  %.4f  %s\n", score, document.c_str());
} catch (const gemwire::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
