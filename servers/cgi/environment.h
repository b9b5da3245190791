/// The environment of a CGI program (RFC 3875 section 4.1).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cgi/script.h"
#include "http/request_parser.h"

namespace cgi {

/// Return "NAME=value" for all that the program is told: the request's variables, its fields as HTTP_..., and PATH.
///
/// Left out are fields that are the server's own business or the client's secret (Connection, Authorization), and
/// Proxy, which as HTTP_PROXY would redirect what the program itself fetches (CVE-2016-5385).
std::vector<std::string> environment(const http::RequestParser& request, const Target& target, std::string_view query,
                                     const std::string& client, int port);

}  // namespace cgi
