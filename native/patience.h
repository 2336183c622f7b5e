// How long to wait for calls that usually come back soon.
#ifndef MEMCOORD_PATIENCE_H_
#define MEMCOORD_PATIENCE_H_

#include <algorithm>
#include <atomic>
#include <chrono>

#include "timer.h"

namespace memcoord {

// A call is late if it takes several times as long as usual. Safe on any thread.
class Patience {
 public:
  Clock::duration Late() const {
    return std::max<Clock::duration>(kLeastLate, kLateFactor * Clock::duration(usual_.load()));
  }

  // Notes how long a call took, unless it was held up.
  void Took(Clock::duration duration) {
    if (duration < kMostUsual) usual_ = duration.count();
  }

 private:
  static constexpr std::chrono::milliseconds kLeastLate{300};
  static constexpr int kLateFactor = 4;
  static constexpr std::chrono::seconds kMostUsual{1};

  std::atomic<Clock::rep> usual_{0};
};

// How long none of several parallel calls has returned. Its owner locks.
class Silence {
 public:
  explicit Silence(Patience& patience) : patience_(patience) {}

  void Begin() { since_ = Clock::now(); }

  // A call has returned.
  void Broken() {
    const auto now = Clock::now();
    longest_ = std::max(longest_, now - since_);
    since_ = now;
  }

  // When the calls in flight become late.
  Clock::time_point LateAt() const { return since_ + patience_.Late(); }

  // Calls have been given up, so their duration is not known. Another silence begins.
  void GivenUp() {
    punctual_ = false;
    Begin();
  }

  // No call is in flight any more.
  void Over() {
    if (punctual_) patience_.Took(longest_);
  }

 private:
  Patience& patience_;
  Clock::time_point since_;
  Clock::duration longest_{};
  bool punctual_ = true;
};

}  // namespace memcoord

#endif  // MEMCOORD_PATIENCE_H_
