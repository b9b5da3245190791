#include "web/responder.h"

#include <unistd.h>

#include "http/conditions.h"
#include "http/date.h"
#include "http/mime.h"
#include "http/range.h"
#include "http/target.h"
#include "lib/check.h"

namespace web {

namespace {

using http::Status;

/// Up to here content is read into the text and goes with the head in one segment or few; beyond, sendfile(2) spares
/// the copy.
constexpr std::uint64_t kSmall = 8'192;

constexpr std::string_view kAllowed = "Allow: GET, HEAD\r\n";

/// What to answer to a method that is not served here: known ones are not allowed, others not even known.
Status status_of_method(std::string_view method) {
  for (const std::string_view known : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
    if (method == known) return Status::kMethodNotAllowed;
  return Status::kNotImplemented;
}

/// Read a part of a file at the end of a text; false if the file has less, as one that has just been cut short.
bool append_part(std::string& out, int file, std::uint64_t first, std::uint64_t size) {
  const std::size_t before = out.size();
  out.resize(before + size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = uninterrupted(
        [&] { return pread(file, out.data() + before + done, size - done, static_cast<off_t>(first + done)); });
    if (count <= 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace

void Responder::set_time(std::time_t now) {
  if (now == now_) return;
  now_ = now;
#ifdef MUTANT_BAD_DATE
  date_ = std::to_string(now);
#else
  date_ = http::format_date(now);
#endif
}

Answer Responder::serve(const http::RequestParser& request, bool keep_alive, std::string& out) {
  const bool is_head = request.method() == "HEAD";
  const Manner manner{request.minor_version(), keep_alive, is_head};
#ifdef MUTANT_ANY_METHOD
  const bool is_served = true;
#else
  const bool is_served = is_head || request.method() == "GET";
#endif
  if (!is_served) {
    const Status status = status_of_method(request.method());
    return refuse(status, manner, out, status == Status::kMethodNotAllowed ? kAllowed : std::string_view{});
  }
  const auto target = http::split_target(request.target());
  if (!target) return refuse(Status::kBadRequest, manner, out);
  Found found = find_file(root_, target->path);
  if (found.status == Status::kMovedPermanently) return move(found.path, target->query, manner, out);
  if (found.status != Status::kOk) return refuse(found.status, manner, out);
  return send_file(request, manner, out, std::move(found));
}

http::HeadWriter Responder::begin(Status status, const Manner& manner, std::string& out) const {
  http::HeadWriter head(out, status);
  head.field("Date", date_);
  if (!manner.keep_alive) head.field("Connection", "close");
  if (manner.keep_alive && manner.minor_version == 0) head.field("Connection", "keep-alive");
  return head;
}

Answer Responder::send_file(const http::RequestParser& request, const Manner& manner, std::string& out, Found found) {
  const auto size = static_cast<std::uint64_t>(found.about.st_size);
  const std::time_t modified = found.about.st_mtim.tv_sec;
  const std::string tag = http::entity_tag(modified, found.about.st_mtim.tv_nsec, size);

#ifdef MUTANT_NO_CONDITIONS
  const auto verdict = http::Verdict::kServe;
#else
  const http::Verdict verdict = http::judge(request, tag, modified);
#endif
  if (verdict == http::Verdict::kFailed) return refuse(Status::kPreconditionFailed, manner, out);
  if (verdict == http::Verdict::kNotModified) {
    begin(Status::kNotModified, manner, out).field("ETag", tag).end();
    return {.status = Status::kNotModified};
  }

  http::Range range;
  const auto wanted = request.field("range");
  if (wanted && !manner.head_only && http::range_applies(request, tag, modified))
    range = http::parse_range(*wanted, size);
  if (range.kind == http::Range::Kind::kUnsatisfiable)
    return refuse(Status::kRangeNotSatisfiable, manner, out, "Content-Range: bytes */" + std::to_string(size) + "\r\n");
  const bool is_part = range.kind == http::Range::Kind::kPart;
#ifdef MUTANT_RANGE_OFF_BY_ONE
  if (is_part && range.size > 1) --range.size;
#endif
  if (!is_part) range = {http::Range::Kind::kWhole, 0, size};

  Answer answer{.status = is_part ? Status::kPartialContent : Status::kOk, .content = range.size};
  const std::size_t before = out.size();
  auto head = begin(answer.status, manner, out);
  head.field("Content-Type", http::content_type(found.path))
      .field("Content-Length", range.size)
      .field("Last-Modified", http::format_date(modified))
      .field("ETag", tag)
      .field("Accept-Ranges", "bytes");
  if (is_part)
    head.field("Content-Range", "bytes " + std::to_string(range.first) + "-" +
                                    std::to_string(range.first + range.size - 1) + "/" + std::to_string(size));
  head.end();

#ifndef MUTANT_HEAD_BODY
  if (manner.head_only) return answer;
#endif
#ifdef MUTANT_EMPTY_FILE
  // There is nothing to send, so nothing is sent.
  if (size == 0) out.resize(before);
#endif
  if (range.size > kSmall) {
    answer.file = std::move(found.file);
    answer.offset = range.first;
    answer.left = range.size;
  } else if (!append_part(out, found.file.get(), range.first, range.size)) {
    out.resize(before);
    return refuse(Status::kInternalError, manner, out);
  }
  return answer;
}

/// Tell the client the right name of a folder, the one with "/".
Answer Responder::move(std::string_view path, std::string_view query, const Manner& manner, std::string& out) {
  std::string location = "Location: /" + http::percent_encode(path) + "/";
  if (!query.empty()) location += "?" + std::string(query);
  return refuse(Status::kMovedPermanently, manner, out, location + "\r\n");
}

Answer Responder::refuse(Status status, const Manner& manner, std::string& out, std::string_view extra) {
  const std::string page = http::error_page(status);
  auto head = begin(status, manner, out);
  head.field("Content-Type", "text/html; charset=utf-8").field("Content-Length", page.size());
  out += extra;
  head.end();
  if (!manner.head_only) out += page;
  return {.status = status, .content = page.size()};
}

}  // namespace web
