#include "timer.h"

#include <condition_variable>
#include <map>
#include <mutex>

#include "thread.h"

namespace memcoord {

struct Timer::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<Id, std::function<void()>> callbacks;
  std::uint64_t last_id = 0;
  bool ending = false;
};

Timer::Timer() : shared_(std::make_shared<Shared>()) {
  StartThread("memcoord-timer", [shared = shared_] { Run(shared); });
}

Timer::~Timer() {
  // Freed outside the lock: a callback may own anything.
  std::map<Id, std::function<void()>> never_run;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->ending = true;
    never_run.swap(shared_->callbacks);
  }
  shared_->changed.notify_one();
}

Timer::Id Timer::At(Clock::time_point when, std::function<void()> callback) {
  Id id;
  {
    const std::lock_guard lock(shared_->mutex);
    id = {when, ++shared_->last_id};
    shared_->callbacks.emplace(id, std::move(callback));
  }
  shared_->changed.notify_one();
  return id;
}

void Timer::Cancel(Id id) {
  std::map<Id, std::function<void()>>::node_type cancelled;
  const std::lock_guard lock(shared_->mutex);
  cancelled = shared_->callbacks.extract(id);
}

void Timer::Run(const std::shared_ptr<Shared>& shared) {
  std::unique_lock lock(shared->mutex);
  while (!shared->ending) {
    if (shared->callbacks.empty()) {
      shared->changed.wait(lock);
      continue;
    }
    const auto when = shared->callbacks.begin()->first.first;
    if (Clock::now() < when) {
      shared->changed.wait_until(lock, when);
      continue;
    }
    auto due = shared->callbacks.extract(shared->callbacks.begin());
    lock.unlock();
    due.mapped()();
    due = {};
    lock.lock();
  }
}

}  // namespace memcoord
