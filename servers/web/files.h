/// Which file a request's path means.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "http/root.h"
#include "http/status.h"
#include "lib/fd.h"

namespace web {

/// A file that may be served, or why there is none.
struct Found {
  http::Status status = http::Status::kOk;  ///< kOk, kMovedPermanently for a folder without "/", or an error
  std::string path;                         ///< relative to the root, decoded
  Fd file;
  struct stat about {};
};

/// Find what a target's path, not decoded, means; a folder means its index.html.
Found find_file(const http::Root& root, std::string_view path);

}  // namespace web
