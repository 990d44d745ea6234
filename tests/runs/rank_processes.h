// The processes of one run, told apart from everything else on the machine by the folder that they work in.
#pragma once

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <system_error>

namespace toller {

/// The text of a file below /proc, whose parts end with zeros; empty where the process is gone.
inline std::string proc_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Process numbers, by rank, of the `toller train` that works in `folder` on the run `out` (--out or
/// --resume).
inline std::map<int, pid_t> rank_processes(const std::filesystem::path& folder, const std::string& out) {
  namespace fs = std::filesystem;
  std::map<int, pid_t> found;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (fs::read_symlink(entry.path() / "cwd", gone) != fs::canonical(folder)) continue;
    const std::string command = proc_text(entry.path() / "cmdline"),
                      wanted = std::string(1, '\0') + out + std::string(1, '\0');
    if (command.find(std::string("\0train\0", 7)) == std::string::npos) continue;
    if (command.starts_with("mpirun") || command.find(wanted) == std::string::npos) continue;
    const std::string environment = proc_text(entry.path() / "environ"), key = "OMPI_COMM_WORLD_RANK=";
    const std::size_t at = environment.find(key);
    if (at == std::string::npos) continue;
    found[std::atoi(environment.c_str() + at + key.size())] = static_cast<pid_t>(std::stoi(name));
  }
  return found;
}

/// Sends a signal to a rank; false where the run has ended.
inline bool signal_rank(const std::filesystem::path& folder, const std::string& out, int rank, int signal) {
  const auto processes = rank_processes(folder, out);
  const auto process = processes.find(rank);
  return process != processes.end() && kill(process->second, signal) == 0;
}

}  // namespace toller
