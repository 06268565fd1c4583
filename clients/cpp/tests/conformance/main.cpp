// Runs every case of clients/conformance/cases, each as a test of its own, at the servers that the
// file of the variable CONFORMANCE names. Then it checks that nothing was left open.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <random>
#include <set>
#include <vector>

#include "caller.h"
#include "expectation.h"
#include "leaks.h"

namespace {

Json read(const std::filesystem::path& path) { return Json::parse(std::ifstream(path)); }

/// A name that no other run of a case has.
std::string new_run() {
  static std::random_device device;
  std::string run;
  for (int i = 0; i < 4; ++i) run += std::to_string(device());
  return run;
}

class Conformance : public testing::Test {
 public:
  Conformance(const Json& servers, const Json& reference, Json said)
      : servers_(servers), reference_(reference), said_(std::move(said)) {}

  void TestBody() override {
    const std::string server = said_.value("server", "scripted");
    const std::string run = said_["name"].get<std::string>() + "." + new_run();
    const bool scripted = server == "scripted";
    const Json timeout = said_.contains("timeout") ? said_["timeout"] : Json(20);
    gemwire::Client client =
        dial(servers_[server], scripted ? run : said_.value("token", ""), timeout);
    std::vector<std::future<Json>> calls;
    for (int i = 0; i < said_["call"].value("calls", 1); ++i) {
      calls.push_back(std::async(std::launch::async, [&] { return call(client, said_["call"]); }));
    }
    for (auto& got : calls) {
      EXPECT_EQ(difference(said_["expect"], got.get(), reference_), "");
    }
    if (!scripted) return;
    gemwire::Client judge = dial(servers_[server], "verdict." + run, 20);
    try {
      judge.model();
    } catch (const gemwire::Error& fault) {
      ADD_FAILURE() << fault.what();
    }
  }

 private:
  const Json& servers_;
  const Json& reference_;
  const Json said_;
};

/// The output of the program of examples/ at this address.
std::string output_of_example(const std::string& address) {
  FILE* pipe = popen((RANK " " + address).c_str(), "r");
  std::string output;
  for (int c; (c = std::fgetc(pipe)) != EOF;) output += static_cast<char>(c);
  return pclose(pipe) == 0 ? output : "it failed";
}

class Example : public testing::Test {
 public:
  explicit Example(const Json& servers) : servers_(servers) {}

  void TestBody() override {
    const std::string output = output_of_example(servers_["plain"]["address"]);
    const auto first = output.find("Mars"), second = output.find("Venus");
    EXPECT_LT(first, second) << output;
    EXPECT_NE(second, std::string::npos) << output;
  }

 private:
  const Json& servers_;
};

class NothingIsLeft : public testing::Test {
 public:
  NothingIsLeft(const Json& servers, const Held& before) : servers_(servers), before_(before) {}

  void TestBody() override {
    EXPECT_NO_THROW(dial(servers_["scripted"], "verdict.connections", 20).model());
    const Held held = held_at_last(before_);
    EXPECT_LE(held.threads, before_.threads) << "threads";
    EXPECT_LE(held.sockets, before_.sockets) << "sockets";
  }

 private:
  const Json& servers_;
  const Held before_;
};

}  // namespace

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  const char* path = std::getenv("CONFORMANCE");
  if (path == nullptr) {
    std::cout << "skipped: the cases need their servers, make clients LANGS=cpp starts them\n";
    return 77;
  }
  const Json conformance = read(path);
  const Json& servers = conformance["servers"];
  const Json& reference = conformance["reference"];
  std::set<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(conformance["cases"].get<std::string>())) {
    files.insert(entry.path());
  }
  for (const auto& file : files) {
    const Json content = read(file);
    for (const Json& said : content["cases"]) {
      const std::string name = said["name"];
      testing::RegisterTest("Conformance", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                            [&servers, &reference, said]() -> testing::Test* {
                              return new Conformance(servers, reference, said);
                            });
    }
  }
  testing::RegisterTest("Example", "ranks_documents", nullptr, nullptr, __FILE__, __LINE__,
                        [&servers]() -> testing::Test* { return new Example(servers); });
  testing::RegisterTest("NothingIsLeft", "after_all_cases", nullptr, nullptr, __FILE__, __LINE__,
                        [&servers, before = held_now()]() -> testing::Test* {
                          return new NothingIsLeft(servers, before);
                        });
  return RUN_ALL_TESTS();
}
