#include "worker_pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <utility>

#include "thread.h"

namespace memcoord {

struct WorkerPool::Shared {
  explicit Shared(size_t most) : limit(most) {}

  const size_t limit;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> tasks;
  size_t threads = 1;
  size_t idle = 0;
  bool ending = false;
};

// The first thread is started here, so that a pool that exists can always run its tasks.
WorkerPool::WorkerPool(const char* name, size_t limit)
    : name_(name), shared_(std::make_shared<Shared>(limit)) {
  StartThread(name_, [shared = shared_] { Work(shared); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->ending = true;
  }
  shared_->changed.notify_all();
}

void WorkerPool::Submit(std::function<void()> task) {
  bool grow = false;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->tasks.push_back(std::move(task));
    grow = shared_->tasks.size() > shared_->idle && shared_->threads < shared_->limit;
    if (grow) ++shared_->threads;
  }
  if (grow) {
    try {
      StartThread(name_, [shared = shared_] { Work(shared); });
    } catch (const std::system_error&) {
      // Fewer threads are only slower.
      const std::lock_guard lock(shared_->mutex);
      --shared_->threads;
    }
  }
  shared_->changed.notify_one();
}

void WorkerPool::Work(const std::shared_ptr<Shared>& shared) {
  std::unique_lock lock(shared->mutex);
  for (;;) {
    ++shared->idle;
    shared->changed.wait(lock, [&] { return !shared->tasks.empty() || shared->ending; });
    --shared->idle;
    if (shared->tasks.empty()) return;
    std::function<void()> task = std::move(shared->tasks.front());
    shared->tasks.pop_front();
    lock.unlock();
    task();
    // What the task owns goes before the lock is taken: it may be this pool.
    task = nullptr;
    lock.lock();
  }
}

}  // namespace memcoord
