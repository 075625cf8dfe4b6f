#include "harness/page/live_server.h"

#include "harness/support/errors.h"

#ifdef SALEBENCH_HAS_HTTPLIB

#include <fmt/format.h>
#include <httplib.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <mutex>
#include <thread>

#include "harness/page/page.h"
#include "harness/support/interrupts.h"

namespace salebench {
namespace {

constexpr const char* kLoopback = "127.0.0.1";
constexpr auto kPoll = std::chrono::milliseconds(50);

/// Pages of other sites reach this server by names that they make point here; their requests carry those names.
bool is_for_this_machine(const httplib::Request& request) {
  std::string host = request.get_header_value("Host");
  host = host.substr(0, host.rfind(':'));
  return host == kLoopback || host == "localhost";
}

/// The data of the page, made anew when cells have ended, and then only if that takes a small share of the time.
class LiveData {
 public:
  LiveData(RunWatch& watch, const std::function<std::string(RunView&)>& make) : watch_(watch), make_(make) {}

  /// One at a time: HDF5 is not thread-safe.
  std::string now() {
    const std::lock_guard lock(mutex_);
    const auto start = std::chrono::steady_clock::now();
    if (!text_.empty() && (start < next_ || !watch_.has_changed())) return text_;
    RunView view = watch_.look();
    text_ = make_(view);
    const auto end = std::chrono::steady_clock::now();
    next_ = end + kRest * (end - start);
    return text_;
  }

 private:
  static constexpr int kRest = 20;

  RunWatch& watch_;
  const std::function<std::string(RunView&)>& make_;
  std::mutex mutex_;
  std::string text_;
  std::chrono::steady_clock::time_point next_;
};

/// Answers with what a function gives; that a run can't be read now, as its folder was taken away, is said so. The
/// browser keeps what has not changed.
httplib::Server::Handler answer(const std::function<std::string()>& content, const char* type) {
  return [content, type](const httplib::Request& request, httplib::Response& response) {
    response.set_header("Cache-Control", "no-cache");
    response.status = 403;
    if (!is_for_this_machine(request)) return;
    try {
      const std::string text = content();
      const std::string tag = fmt::format("\"{:x}-{}\"", std::hash<std::string>()(text), text.size());
      response.set_header("ETag", tag);
      response.status = request.get_header_value("If-None-Match") == tag ? 304 : 200;
      if (response.status == 200) response.set_content(text, type);
    } catch (const std::exception& error) {
      response.status = 500;
      response.set_content(error.what(), "text/plain");
    }
  };
}

}  // namespace

void serve_page(int wanted, RunWatch& watch, const std::function<std::string(RunView&)>& data) {
  LiveData live(watch, data);
  httplib::Server server;
  // Not the library's SO_REUSEPORT, by which two servers would share a port and readers get now one run, now the other.
  server.set_socket_options([](int socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.Get("/", answer([&] { return page_html(watch.title(), live.now()); }, "text/html; charset=utf-8"));
  server.Get("/data.json", answer([&] { return live.now(); }, "application/json"));
  const int port = wanted == 0                              ? server.bind_to_any_port(kLoopback)
                   : server.bind_to_port(kLoopback, wanted) ? wanted
                                                            : -1;
  if (port < 0) throw UsageError(fmt::format("port {} of {} is taken: choose another with --port", wanted, kLoopback));
  fmt::print(stderr, "serving on http://{}:{}/ until Ctrl-C\n", kLoopback, port);
  std::fflush(stderr);
  catch_interrupts();
  std::jthread ends([&](const std::stop_token& stop) {
    while (!interrupted && !stop.stop_requested()) std::this_thread::sleep_for(kPoll);
    server.stop();
  });
  server.listen_after_bind();
}

}  // namespace salebench

#else

namespace salebench {

void serve_page(int, RunWatch&, const std::function<std::string(RunView&)>&) {
  throw UsageError(
      "this build has no HTTP server: install cpp-httplib (libcpp-httplib-dev), configure and build again");
}

}  // namespace salebench

#endif
