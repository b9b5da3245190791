#include "cgi/environment.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <map>

#include "http/text.h"

namespace cgi {

namespace {

constexpr std::array<std::string_view, 8> kHidden{
    "authorization", "connection", "content-length",    "content-type",
    "proxy",         "keep-alive", "transfer-encoding", "proxy-authorization"};

bool is_passed(std::string_view name) {
  const bool is_hidden = std::any_of(kHidden.begin(), kHidden.end(),
                                     [&](std::string_view hidden) { return http::same_letters(name, hidden); });
  // With "_" a field could pass for another one, whose name has "-" in its place.
  return !is_hidden && name.find('_') == std::string_view::npos;
}

std::string variable(std::string_view field) {
  std::string name = "HTTP_";
  for (const char character : field)
    name.push_back(character == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(character))));
  return name;
}

/// Return the Host field without its port.
std::string server_name(const http::RequestParser& request) {
  const std::string_view host = request.field("host").value_or("");
  const std::size_t end = host.starts_with('[') ? host.find(']') + 1 : host.find(':');
  return std::string(host.substr(0, end));
}

}  // namespace

std::vector<std::string> environment(const http::RequestParser& request, const Target& target, std::string_view query,
                                     const std::string& client, int port) {
  std::map<std::string, std::string> all{
      {"GATEWAY_INTERFACE", "CGI/1.1"},
      {"PATH_INFO", target.path_info},
      {"QUERY_STRING", std::string(query)},
      {"REMOTE_ADDR", client},
      {"REQUEST_METHOD", std::string(request.method())},
      {"SCRIPT_NAME", "/" + target.script},
      {"SERVER_NAME", server_name(request)},
      {"SERVER_PORT", std::to_string(port)},
      {"SERVER_PROTOCOL", request.minor_version() == 0 ? "HTTP/1.0" : "HTTP/1.1"},
      {"SERVER_SOFTWARE", "cgi_server"},
  };
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nothing changes the environment
  all["PATH"] = path == nullptr ? "/usr/bin:/bin" : path;
  if (request.has_body()) all["CONTENT_LENGTH"] = std::to_string(request.content_length());
  if (const auto type = request.field("content-type")) all["CONTENT_TYPE"] = *type;
  for (std::size_t i = 0; i < request.field_count(); ++i) {
    const auto [name, value] = request.field_at(i);
    if (!is_passed(name)) continue;
    std::string& text = all[variable(name)];  // several fields of one name are one list
    text += text.empty() ? "" : http::same_letters(name, "cookie") ? "; " : ", ";
    text += value;
  }
  std::vector<std::string> found;
  found.reserve(all.size());
  for (const auto& [name, value] : all) {
    std::string& pair = found.emplace_back(name);
    pair.append("=").append(value);
  }
  return found;
}

}  // namespace cgi
