#include "common/config/reader.h"

#include <filesystem>
#include <fstream>
#include <limits>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::config {
namespace {

using Need = Section::Need;
using std::chrono::milliseconds;
using std::chrono::seconds;

Document Parsed(std::string_view text) {
  absl::StatusOr<Document> document = Document::FromText(text, "f.yaml");
  INFO(document.status());
  REQUIRE(document.ok());
  return *std::move(document);
}

/// The message of an integer field "n" in 1 to 100, or "" where it is right.
std::string IntegerProblem(std::string_view value) {
  const Document document = Parsed("n: " + std::string(value) + "\n");
  int n = 7;
  document.Root().Integer("n", n, 1, 100);
  const absl::Status status = document.Finish();
  if (!status.ok()) CHECK(n == 7);
  return Message(status);
}

TEST_CASE("fields of every type are read") {
  const Document document = Parsed(R"(
name: "router one"
port: 8080
large: -9000000000
ratio: 2.5e-1
verbose: true
memory: 64MiB
pause: 250ms
mode: fast
tags: [a, "b c"]
)");
  const Section root = document.Root();
  std::string name, mode = "slow";
  int port = 0;
  std::int64_t large = 0;
  double ratio = 0;
  bool verbose = false;
  std::uint64_t memory = 0;
  Duration pause{};
  std::vector<std::string> tags;

  root.String("name", name);
  root.Integer("port", port, 0, 65535);
  root.Integer("large", large, std::numeric_limits<std::int64_t>::min(), 0);
  root.Number("ratio", ratio, 0, 1);
  root.Boolean("verbose", verbose);
  root.Bytes("memory", memory, 0, 1U << 30);
  root.Duration("pause", pause, Duration::zero(), seconds(1));
  root.Choice("mode", mode, {"slow", "fast"});
  root.StringList("tags", tags);

  CHECK(document.Finish().ok());
  CHECK(name == "router one");
  CHECK(port == 8080);
  CHECK(large == -9'000'000'000);
  CHECK(ratio == 0.25);
  CHECK(verbose);
  CHECK(memory == 64U << 20);
  CHECK(pause == milliseconds(250));
  CHECK(mode == "fast");
  CHECK(tags == std::vector<std::string>{"a", "b c"});
}

TEST_CASE("absent fields and sections keep their defaults") {
  const Document document = Parsed("# nothing\n");
  int port = 5;
  std::string name = "n";

  const Section sub = document.Root().Sub("server");
  sub.Integer("port", port, 0, 10, Need::kRequired);  // needed only where the section is there
  sub.Sub("deeper").String("name", name);

  CHECK(document.Finish().ok());
  CHECK(port == 5);
  CHECK(name == "n");
  CHECK(sub.SubList("list").empty());
  CHECK_FALSE(sub.Has("port"));
}

TEST_CASE("every error is reported at once, with its place, in the order of the file") {
  const Document document = Parsed(R"(server:
  port: 99999
  naem: x
  verbose: yes
workers:
  - {address: a}
  - {adress: b}
server_count: 010
)");
  const Section root = document.Root();
  int port = 1, count = 1;
  std::string name, address;
  bool verbose = false;

  const Section server = root.Sub("server");
  server.Integer("port", port, 1, 65535);
  server.String("name", name);
  server.Boolean("verbose", verbose);
  for (const Section& worker : root.SubList("workers")) worker.String("address", address, Need::kRequired);
  root.Integer("server_count", count, 1, 9);
  root.String("model", name, Need::kRequired);

  CHECK(Message(document.Finish()) ==
        "f.yaml:1:1: model: is missing; it has no default\n"
        "f.yaml:2:9: server.port: is \"99999\"; write a whole number from 1 to 65535, in plain digits\n"
        "f.yaml:3:3: server.naem: unknown key; did you mean \"name\"?\n"
        "f.yaml:4:12: server.verbose: is \"yes\"; write true or false\n"
        "f.yaml:7:5: workers[1].address: is missing; it has no default\n"
        "f.yaml:7:6: workers[1].adress: unknown key; did you mean \"address\"?\n"
        "f.yaml:8:15: server_count: is \"010\"; write a whole number from 1 to 9, in plain digits");
  CHECK(port == 1);
}

TEST_CASE("whole numbers are plain digits in their range") {
  CHECK(IntegerProblem("1").empty());
  CHECK(IntegerProblem("100").empty());
  for (const char* wrong : {"0", "101", "-1", "+5", "010", "0x10", "1.0", "1e1", "five", "\"5\"", "1_0",
                            "5 5", "~", "[5]", "{a: 5}", "99999999999999999999", ""}) {
    CAPTURE(wrong);
    CHECK_THAT(IntegerProblem(wrong), Catch::Contains("whole number from 1 to 100"));
  }
}

TEST_CASE("numbers, sizes, durations and choices that are wrong say what is allowed") {
  const Document document = Parsed("a: nan\nb: 12\nc: 2h\nd: fsat\ne: [x, [y]]\nf: 64MiB\ng: inf\n");
  const Section root = document.Root();
  double number = 0;
  std::uint64_t bytes = 0;
  Duration duration{};
  std::string choice;
  std::vector<std::string> list;

  root.Number("a", number, 0, 1);
  root.Bytes("b", bytes, 0, 1U << 20);
  root.Duration("c", duration, milliseconds(1), seconds(10));
  root.Choice("d", choice, {"slow", "fast"});
  root.StringList("e", list);
  root.Bytes("f", bytes, 0, 1U << 20);
  root.Number("g", number, 0, std::numeric_limits<double>::max());

  CHECK(Message(document.Finish()) ==
        "f.yaml:1:4: a: is \"nan\"; write a number from 0 to 1\n"
        "f.yaml:2:4: b: is \"12\"; write a size from 0 B to 1 MiB, as 64MiB\n"
        "f.yaml:3:4: c: is \"2h\"; write a duration from 1 ms to 10 s, as 250ms\n"
        "f.yaml:4:4: d: is \"fsat\"; write one of slow, fast\n"
        "f.yaml:5:4: e: is a list; write a list of texts, as [a, b]\n"
        "f.yaml:6:4: f: is \"64MiB\"; write a size from 0 B to 1 MiB, as 64MiB\n"
        "f.yaml:7:4: g: is \"inf\"; write a number of at least 0");
}

TEST_CASE("a key that is given twice is an error, and the first holds") {
  const Document document = Parsed("a: 1\nb:\n  c: 2\n  c: 3\na: 4\n");
  int a = 0, c = 0;
  document.Root().Integer("a", a, 0, 9);
  document.Root().Sub("b").Integer("c", c, 0, 9);

  CHECK(Message(document.Finish()) ==
        "f.yaml:4:3: b.c: is given twice, first in line 3; remove one\n"
        "f.yaml:5:1: a: is given twice, first in line 1; remove one");
  CHECK(a == 1);
  CHECK(c == 2);
}

TEST_CASE("anchors, aliases, tags and keys that are no names are refused") {
  const Document document = Parsed("a: &x 1\nb: *x\nc: !!str 5\n? [d, e]\n: 6\n");
  int a = 0;
  std::string b, c;
  document.Root().Integer("a", a, 0, 9);
  document.Root().String("b", b);
  document.Root().String("c", c);
  document.Root().String("", c);

  const std::string message = Message(document.Finish());

  CHECK_THAT(message, Catch::Contains("f.yaml:1:7: a: an anchor (&name) is not supported") ||
                          Catch::Contains("f.yaml:1:4: a: an anchor (&name) is not supported"));
  CHECK_THAT(message, Catch::Contains("f.yaml:2:4: b: an alias (*name) is not supported"));
  CHECK_THAT(message, Catch::Contains("c: a tag (!name) is not supported"));
  CHECK_THAT(message, Catch::Contains("f.yaml:4:3: a key must be a name"));
}

TEST_CASE("an unknown key without a near name lists the known ones") {
  const Document document = Parsed("zzzzzzzz: 1\n");
  int a = 0;
  document.Root().Integer("alpha", a, 0, 9);
  document.Root().Integer("beta", a, 0, 9);

  CHECK(Message(document.Finish()) == "f.yaml:1:1: zzzzzzzz: unknown key; known here: alpha, beta");
}

TEST_CASE("a section whose lines are all comments is empty, one of another kind is an error") {
  const Document empty = Parsed("server:\n  # port: 1\n");
  const Document scalar = Parsed("server: 5\nlist: 6\n");
  int port = 3;

  empty.Root().Sub("server").Integer("port", port, 0, 9);
  scalar.Root().Sub("server").Integer("port", port, 0, 9);
  CHECK(scalar.Root().SubList("list").empty());

  CHECK(empty.Finish().ok());
  CHECK(Message(scalar.Finish()) ==
        "f.yaml:1:9: server: is \"5\"; write a mapping (key: value)\n"
        "f.yaml:2:7: list: is \"6\"; write a list of mappings, each begun with \"- \"");
}

TEST_CASE("a problem that only the caller sees is reported at its field") {
  const Document document = Parsed("low: 5\nhigh: 3\n");
  int low = 0, high = 0;
  document.Root().Integer("low", low, 0, 9);
  document.Root().Integer("high", high, 0, 9);
  document.Root().Problem("high", "is below low");

  CHECK(Message(document.Finish()) == "f.yaml:2:7: high: is below low");
}

TEST_CASE("a required section that is missing is reported once") {
  const Document document = Parsed("a: 1\n");
  int a = 0;
  document.Root().Integer("a", a, 0, 9);
  document.Root().Sub("server", Need::kRequired).Integer("port", a, 0, 9, Need::kRequired);

  CHECK(Message(document.Finish()) == "f.yaml:1:1: server: is missing; it has no default");
}

TEST_CASE("what is no YAML, no mapping or too much is refused with its place") {
  for (const char* text :
       {"a: [1", "a: b: c", "\"unclosed", "a:\n\t- b", "{a: 1", "&", "*unknown", "a: 1\n---\nb: 2"}) {
    CAPTURE(text);
    const auto document = Document::FromText(text, "f.yaml");
    REQUIRE_FALSE(document.ok());
    CHECK(document.status().code() == kInvalidArgument);
    CHECK_THAT(Message(document.status()), Catch::StartsWith("f.yaml:"));
  }
  CHECK_THAT(Message(Document::FromText("- a\n", "f.yaml").status()),
             Catch::Contains("f.yaml:1:1: the file must be"));
  CHECK_FALSE(Document::FromText("word", "f.yaml").ok());
  CHECK_FALSE(Document::FromText(std::string(100'000, '['), "f.yaml").ok());
  CHECK_FALSE(Document::FromText(std::string((1U << 20) + 1, '#'), "f.yaml").ok());
}

TEST_CASE("a file that is not there, or is a folder, says so") {
  CHECK(Document::Open("/nonexistent/f.yaml").status().code() == kNotFound);
  CHECK(Document::Open("/").status().code() == kInvalidArgument);
}

TEST_CASE("a file is read") {
  const auto path = std::filesystem::temp_directory_path() / "baton_reader_test.yaml";
  std::ofstream(path) << "port: 5\n";

  const auto document = Document::Open(path.string());
  std::filesystem::remove(path);

  REQUIRE(document.ok());
  int port = 0;
  document->Root().Integer("port", port, 0, 9);
  CHECK(port == 5);
}

}  // namespace
}  // namespace baton::config
