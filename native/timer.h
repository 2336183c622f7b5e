#ifndef MEMCOORD_TIMER_H_
#define MEMCOORD_TIMER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace memcoord {

// CLOCK_MONOTONIC, the clock of process.hrtime.
using Clock = std::chrono::steady_clock;

// Keeps deadlines, on a thread of its own, so that they hold whatever libvirt does. Callbacks run
// there one after the other: they must be short and not call libvirt.
class Timer {
 public:
  using Id = std::pair<Clock::time_point, std::uint64_t>;

  // Throws std::system_error if no thread can be started.
  Timer();
  // Pending callbacks never run.
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  Id At(Clock::time_point when, std::function<void()> callback);
  // Does nothing if the callback has started; it may still be running.
  void Cancel(Id id);

 private:
  struct Shared;
  static void Run(const std::shared_ptr<Shared>& shared);

  // Also owned by the thread.
  const std::shared_ptr<Shared> shared_;
};

}  // namespace memcoord

#endif  // MEMCOORD_TIMER_H_
