// Responses as a server may send them: whole or byte by byte, the load generator must come to the same result.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "load_generator/response_parser.h"

namespace {

void demand(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ResponseParser whole;
  const std::size_t used = whole.feed(text);
  demand(used == size || whole.complete() || whole.malformed());

  ResponseParser pieces;
  std::size_t fed = 0;
  while (fed < size && !pieces.complete() && !pieces.malformed()) {
    demand(pieces.feed(text.substr(fed, 1)) == 1);
    ++fed;
  }
  whole.end();
  pieces.end();
  demand(whole.complete() == pieces.complete() && whole.malformed() == pieces.malformed());
  if (!whole.complete()) return 0;
  demand(used == fed && whole.status() >= 200 && whole.status() <= 999);
  demand(whole.status() == pieces.status() && whole.keeps_alive() == pieces.keeps_alive());
  return 0;
}
