#include "http/response.h"

namespace http {

HeadWriter::HeadWriter(std::string& out, Status status) : out_(out) {
  out_ += "HTTP/1.1 ";
  out_ += std::to_string(static_cast<int>(status));
  out_ += ' ';
  out_ += reason(status);
  out_ += "\r\n";
}

HeadWriter& HeadWriter::field(std::string_view name, std::string_view value) {
  out_ += name;
  out_ += ": ";
  out_ += value;
  out_ += "\r\n";
  return *this;
}

void HeadWriter::end() { out_ += "\r\n"; }

std::string error_page(Status status) {
  const std::string title = std::to_string(static_cast<int>(status)) + " " + std::string(reason(status));
  return "<!DOCTYPE html>\n<title>" + title + "</title>\n<h1>" + title + "</h1>\n";
}

}  // namespace http
