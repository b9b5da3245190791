// A server that tells the time of day. Book 5.12, 9.8; RFC 867.
//
// Whoever connects is told the date and time as a line of text for people, and that is all: what the client sends is
// thrown away. No syntax is prescribed; this is the one that the RFC suggests.
//
// Limits: TCP only, and UTC only.
#include <array>
#include <csignal>
#include <ctime>

#include "lib/check.h"
#include "lib/conversations.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

/// Say what time it is when the client is there: a conversation may be made long before.
class TimeOfDay final : public Conversation {
 public:
  [[nodiscard]] std::uint32_t events() const override { return EPOLLOUT; }

  Next proceed(int socket) override {
    if (!speech_) speech_ = std::make_unique<Speech>(time_of_day());
    return speech_->proceed(socket);
  }

 private:
  /// "Monday, November 23, 2026 18:22:27-UTC\r\n"
  static std::string time_of_day() {
#ifdef MUTANT_ONE_TIME
    static const std::time_t now = std::time(nullptr);
#else
    const std::time_t now = std::time(nullptr);
#endif
    std::tm parts{};
    gmtime_r(&now, &parts);
    std::array<char, 64> text{};
    const std::size_t size = std::strftime(text.data(), text.size(), "%A, %B %d, %Y %H:%M:%S-UTC\r\n", &parts);
    return {text.data(), size};
  }

  std::unique_ptr<Speech> speech_;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "tells the time of day (RFC 867)", options);
  const SignalPipe signals{SIGTERM, SIGINT};
  converse(signals, listen_on(options.address(), options.backlog, SOCK_NONBLOCK), options.idle_timeout,
           [] { return std::make_unique<TimeOfDay>(); });
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
