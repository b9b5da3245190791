/// The small words of HTTP's grammar (RFC 9110 section 5.6).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace http {

/// Whether a character may stand in a token: a method, the name of a field.
bool is_token_character(char character);

/// Whether `text` is a token, and not empty.
bool is_token(std::string_view text);

/// Whether two texts are the same but for the case of ASCII letters.
bool same_letters(std::string_view left, std::string_view right);

/// Return `text` without the spaces and tabs at its ends.
std::string_view trim(std::string_view text);

/// Return the text before the next comma, trimmed, and take it and the comma off `list`; nothing when `list` is used
/// up.
std::optional<std::string_view> next_in_list(std::string_view& list);

/// Whether a comma-separated list has an element, in whatever case: "close" in "Keep-Alive, Close".
bool list_has(std::string_view list, std::string_view element);

/// Return a number of decimal digits and nothing else; nothing if it is none or does not fit.
std::optional<std::uint64_t> decimal(std::string_view text);

}  // namespace http
