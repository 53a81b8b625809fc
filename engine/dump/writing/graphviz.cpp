// It is started directly, without a shell, with names of files as plain arguments; the drawing goes to it in a file,
// and what it says comes back in another, so that nothing can block.
#include <ebb/engine/dump/writing/graphviz.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

extern char** environ;

namespace ebb::detail {
namespace {

[[noreturn]] void fail(std::string_view what, std::string_view advice, const Location& where) {
  throw IoError(fmt::format("dump: {}. {} ({})", what, advice, to_string(where)));
}

// A folder of its own, gone at the end.
class Workspace {
 public:
  explicit Workspace(const Location& where) {
    std::error_code error;
    std::string pattern = (std::filesystem::temp_directory_path(error) / "ebb-XXXXXX").string();
    if (error || !mkdtemp(pattern.data())) {
      fail(fmt::format("cannot make a temporary folder, {}", std::strerror(errno)), "Set TMPDIR to a writable folder.",
           where);
    }
    path_ = pattern;
  }
  ~Workspace() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string contents(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(out).str();
}

// The exit status, or a negative errno where the program could not be started.
int run_dot(const char* language, const std::string& input, const std::string& output, const std::string& messages) {
  std::array<std::string, 5> words{"dot", fmt::format("-T{}", language), "-o", output, input};
  std::array<char*, 6> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  const int error = posix_spawnp(&child, "dot", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return -error;
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -errno;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

std::string graphviz(std::string_view drawing, const char* language, const Location& where) {
  const Workspace workspace(where);
  const std::string input = workspace.file("graph.dot");
  const std::string output = workspace.file("graph.out");
  const std::string messages = workspace.file("messages");
  {
    std::ofstream file(input, std::ios::binary);
    file << drawing;
    if (!file.flush()) fail(fmt::format("cannot write {}", input), "Is the disk full?", where);
  }
  const int status = run_dot(language, input, output, messages);
  if (status == -ENOENT || status == 127) {
    fail("Graphviz places and draws the nodes, and its program dot was not found",
         "Install it with `apt install graphviz`, or take a format that needs none, such as DumpFormat::dot.", where);
  }
  if (status < 0) fail(fmt::format("cannot run dot, {}", std::strerror(-status)), "Is it executable?", where);
  if (status != 0) {
    const std::string said = contents(messages);
    fail(fmt::format("dot ended with status {}; it said: {}", status, said.substr(0, said.find('\n'))),
         "Write the drawing's text with DumpFormat::dot and look at it.", where);
  }
  return contents(output);
}

}  // namespace ebb::detail
