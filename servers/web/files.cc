#include "web/files.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "http/target.h"

namespace web {

namespace {

using http::Status;

Status status_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return Status::kNotFound;
    case EACCES:
    case EPERM:
    case ELOOP:
    case EXDEV:  // out of the root, by a link
    case ENXIO:  // a socket
      return Status::kForbidden;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Status::kUnavailable;
    default:
      return Status::kInternalError;
  }
}

/// Return the path of a file relative to the root; nothing if it leads out of it.
std::optional<std::string> relative(const std::string& decoded) {
#if defined MUTANT_TRAVERSAL
  return decoded.substr(1);
#elif defined MUTANT_ENCODED_TRAVERSAL
  return decoded.substr(std::min(decoded.find_first_not_of('/'), decoded.size()));
#else
  return http::normalise(decoded);
#endif
}

Fd open_under(const http::Root& root, const std::string& path) {
#if defined MUTANT_TRAVERSAL || defined MUTANT_ENCODED_TRAVERSAL || defined MUTANT_FOLLOWS_LINKS
  return Fd(openat(root.fd(), path.empty() ? "." : path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
#else
  return root.open(path, O_RDONLY);
#endif
}

/// Open a file into `found`, or say there why it cannot be.
void open_file(const http::Root& root, Found& found) {
  found.file = open_under(root, found.path);
  const bool is_open = found.file && fstat(found.file.get(), &found.about) == 0;
  found.status = is_open ? Status::kOk : status_of(errno);
}

}  // namespace

Found find_file(const http::Root& root, std::string_view path) {
  Found found;
#ifdef MUTANT_ENCODED_TRAVERSAL
  // It is checked before it is decoded.
  if (!http::normalise(path)) return {Status::kForbidden, {}, {}, {}};
#endif
  const auto decoded = http::percent_decode(path);
  if (!decoded) return {Status::kBadRequest, {}, {}, {}};
  auto inside = relative(*decoded);
  if (!inside) return {Status::kForbidden, {}, {}, {}};
  found.path = std::move(*inside);
  open_file(root, found);
  if (found.status == Status::kOk && S_ISDIR(found.about.st_mode)) {
    if (!found.path.empty() && !found.path.ends_with('/')) {
#ifdef MUTANT_NO_REDIRECT
      found.path += '/';
#else
      found.status = Status::kMovedPermanently;
      return found;
#endif
    }
    found.path += "index.html";
    open_file(root, found);
    if (found.status == Status::kNotFound) found.status = Status::kForbidden;  // folders are not listed
  }
  if (found.status == Status::kOk && !S_ISREG(found.about.st_mode)) found.status = Status::kForbidden;
  return found;
}

}  // namespace web
