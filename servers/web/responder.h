/// From a request to its answer: which file, which part of it, under which status.
#pragma once

#include <ctime>
#include <string>

#include "http/request_parser.h"
#include "http/response.h"
#include "http/root.h"
#include "lib/fd.h"
#include "web/files.h"

namespace web {

/// What is to be sent: text, written by the responder, and behind it a part of a file, if it is large.
struct Answer {
  http::Status status = http::Status::kOk;
  std::uint64_t content = 0;  ///< bytes of content, whether they stand in the text or in the file
  Fd file{};
  std::uint64_t offset = 0;
  std::uint64_t left = 0;  ///< bytes of the file that are to be sent
};

/// How the answer is to be sent.
struct Manner {
  int minor_version = 1;    ///< the client's
  bool keep_alive = false;  ///< what to tell the client
  bool head_only = false;   ///< the request was HEAD
};

/// Answers requests for files under a root. One per worker; it keeps the date's text for as long as it is true.
class Responder {
 public:
  explicit Responder(const http::Root& root) : root_(root) {}

  /// Set the time; answers bear it.
  void set_time(std::time_t now);
  [[nodiscard]] std::time_t time() const { return now_; }

  /// Answer a request, with the answer's text at the end of `out`.
  Answer serve(const http::RequestParser& request, bool keep_alive, std::string& out);

  /// Answer with an error and its small page.
  ///
  /// @param extra further fields of the head, whole lines
  Answer refuse(http::Status status, const Manner& manner, std::string& out, std::string_view extra = {});

 private:
  Answer send_file(const http::RequestParser& request, const Manner& manner, std::string& out, Found found);
  [[nodiscard]] http::HeadWriter begin(http::Status status, const Manner& manner, std::string& out) const;
  Answer move(std::string_view path, std::string_view query, const Manner& manner, std::string& out);

  const http::Root& root_;
  std::time_t now_ = -1;
  std::string date_;
};

}  // namespace web
