/// The head of what a CGI program answers (RFC 3875 section 6).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cgi {

/// A head, ready to be sent.
struct ReplyHead {
  int status = 200;
  std::string text;  ///< status line, the program's fields, and the empty line
};

/// Return where the head ends in what the program has written so far: behind its empty line; 0 if that has not come.
std::size_t end_of_head(std::string_view written);

/// Turn the program's head into one of HTTP.
///
/// A "Status" field becomes the status line; "Location" alone means 302. Fields that are the server's business (Date,
/// Connection, Transfer-Encoding) are left out. Nothing if it is malformed, or has neither Status, Location nor
/// Content-Type, one of which every answer has.
std::optional<ReplyHead> reply_head(std::string_view head);

}  // namespace cgi
