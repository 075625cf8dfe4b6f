#include "harness/page/live_server.h"

#include "harness/support/errors.h"

#ifdef SALEBENCH_HAS_HTTPLIB

#include <fmt/format.h>
#include <httplib.h>

#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>

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

/// Answers with what a function gives; a run that can't be read now, as its folder was taken away, is said so.
httplib::Server::Handler answer(const std::function<std::string()>& content, const char* type,
                                std::mutex& one_at_a_time) {
  return [content, type, &one_at_a_time](const httplib::Request& request, httplib::Response& response) {
    response.set_header("Cache-Control", "no-store");
    if (!is_for_this_machine(request)) {
      response.status = 403;
      return;
    }
    const std::lock_guard lock(one_at_a_time);  // HDF5 is not thread-safe
    try {
      response.set_content(content(), type);
    } catch (const std::exception& error) {
      response.status = 500;
      response.set_content(error.what(), "text/plain");
    }
  };
}

}  // namespace

void serve_page(const LivePage& live) {
  httplib::Server server;
  std::mutex one_at_a_time;
  server.Get("/", answer(live.page, "text/html; charset=utf-8", one_at_a_time));
  server.Get("/data.json", answer(live.data, "application/json", one_at_a_time));
  const int port = live.port == 0                              ? server.bind_to_any_port(kLoopback)
                   : server.bind_to_port(kLoopback, live.port) ? live.port
                                                               : -1;
  if (port < 0)
    throw UsageError(fmt::format("port {} of {} is taken: choose another with --port", live.port, kLoopback));
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

void serve_page(const LivePage&) {
  throw UsageError(
      "this build has no HTTP server: install cpp-httplib (libcpp-httplib-dev), configure and build again");
}

}  // namespace salebench

#endif
