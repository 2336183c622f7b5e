#include "worker_pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <utility>

#include "thread.h"

namespace memcoord {

struct WorkerPool::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> tasks;
  size_t limit = kThreads;
  size_t threads = 1;
  size_t idle = 0;
  bool ending = false;
};

// The first thread is started here, so that a pool that exists can always run its tasks.
WorkerPool::WorkerPool(const char* name) : name_(name), shared_(std::make_shared<Shared>()) {
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
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->tasks.push_back(std::move(task));
  }
  shared_->changed.notify_one();
  Grow();
}

void WorkerPool::SetLimit(size_t limit) {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->limit = limit;
  }
  shared_->changed.notify_all();
  Grow();
}

void WorkerPool::Grow() {
  std::unique_lock lock(shared_->mutex);
  while (shared_->tasks.size() > shared_->idle && shared_->threads < shared_->limit) {
    // Counted as idle until it has taken a task.
    ++shared_->threads;
    ++shared_->idle;
    lock.unlock();
    try {
      StartThread(name_, [shared = shared_] {
        {
          const std::lock_guard started(shared->mutex);
          --shared->idle;
        }
        Work(shared);
      });
    } catch (const std::system_error&) {
      // Fewer threads are only slower.
      lock.lock();
      --shared_->threads;
      --shared_->idle;
      return;
    }
    lock.lock();
  }
}

void WorkerPool::Work(const std::shared_ptr<Shared>& shared) {
  std::unique_lock lock(shared->mutex);
  const auto excess = [&] { return shared->threads > shared->limit; };
  for (;;) {
    ++shared->idle;
    shared->changed.wait(lock,
                         [&] { return !shared->tasks.empty() || shared->ending || excess(); });
    --shared->idle;
    if (excess() || shared->tasks.empty()) break;
    std::function<void()> task = std::move(shared->tasks.front());
    shared->tasks.pop_front();
    lock.unlock();
    task();
    // Free what the task owns before taking the lock: it may be this pool.
    task = nullptr;
    lock.lock();
  }
  --shared->threads;
}

}  // namespace memcoord
