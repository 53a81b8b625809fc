// Pictures, by Graphviz's program.
//
// It is started directly, without a shell, with names of files as plain arguments; the drawing goes to it in a file,
// and what it says comes back in another, so that nothing can block. The picture takes its place only when it is whole.
#include <ebb/engine/dump/dump.h>
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

namespace ebb {
namespace {

[[noreturn]] void fail(std::string_view what, std::string_view advice, const Location& where) {
  throw IoError(fmt::format("write_svg: {}. {} ({})", what, advice, to_string(where)));
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

// The exit status, or a negative errno where the program could not be started.
int run_dot(const std::string& input, const std::string& output, const std::string& messages) {
  std::array<std::string, 5> words{"dot", "-Tsvg", "-o", output, input};
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

void write_svg(const Tape& tape, const std::string& path, const DumpOptions& options, Location where) {
  DumpOptions drawing = options;
  drawing.format = DumpFormat::dot;
  const std::string text = dump(tape, drawing);
  const Workspace workspace(where);
  const std::string input = workspace.file("graph.dot");
  const std::string output = workspace.file("graph.svg");
  const std::string messages = workspace.file("messages");
  {
    std::ofstream file(input, std::ios::binary);
    file << text;
    if (!file.flush()) fail(fmt::format("cannot write {}", input), "Is the disk full?", where);
  }
  const int status = run_dot(input, output, messages);
  if (status == -ENOENT || status == 127) {
    fail("Graphviz draws the graph, and its program dot was not found",
         "Install it with `apt install graphviz`, or write the drawing's text with dump(tape, {.format = "
         "DumpFormat::dot}).",
         where);
  }
  if (status < 0) fail(fmt::format("cannot run dot, {}", std::strerror(-status)), "Is it executable?", where);
  if (status != 0) {
    std::ostringstream said;
    said << std::ifstream(messages, std::ios::binary).rdbuf();
    std::string first = said.str().substr(0, said.str().find('\n'));
    fail(fmt::format("dot ended with status {}; it said: {}", status, first),
         "Write the drawing's text with dump(tape, {.format = DumpFormat::dot}) and look at it.", where);
  }
  // A copy beside the target, then a rename: whoever reads the target never sees half a picture.
  std::error_code error;
  const std::string beside = fmt::format("{}.{}.tmp", path, getpid());
  std::filesystem::copy_file(output, beside, std::filesystem::copy_options::overwrite_existing, error);
  if (!error) std::filesystem::rename(beside, path, error);
  if (error) {
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    fail(fmt::format("cannot write {}, {}", path, error.message()), "Does the folder exist, and may it be written?",
         where);
  }
}

}  // namespace ebb
