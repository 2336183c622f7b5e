#include "threads.h"

#include <libvirt/virterror.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "../thread.h"

namespace memcoord {
namespace {

struct Threads {
  std::mutex mutex;
  std::condition_variable given;
  std::condition_variable ended;
  std::deque<std::function<void()>> bodies;
  // Of the bodies, those waiting included.
  size_t running = 0;
  size_t kept = 0;
  size_t threads = 0;
};

// Never freed: nobody joins the threads.
Threads& All() {
  static Threads& all = *std::make_unique<Threads>().release();
  return all;
}

void Work() {
  Threads& all = All();
  std::unique_lock lock(all.mutex);
  for (;;) {
    all.given.wait(lock, [&] { return !all.bodies.empty(); });
    std::function<void()> body = std::move(all.bodies.front());
    all.bodies.pop_front();
    lock.unlock();
    body();
    body = nullptr;
    // A new thread has none.
    virResetLastError();
    lock.lock();
    if (--all.running == all.kept) all.ended.notify_all();
  }
}

}  // namespace

void StartThread(const char*, std::function<void()> body) {
  Threads& all = All();
  {
    const std::lock_guard lock(all.mutex);
    all.bodies.push_back(std::move(body));
    if (++all.running > all.threads) {
      ++all.threads;
      std::thread(Work).detach();
    }
  }
  all.given.notify_one();
}

void KeepThreads() {
  Threads& all = All();
  const std::lock_guard lock(all.mutex);
  all.kept = all.running;
}

void AwaitThreads() {
  Threads& all = All();
  std::unique_lock lock(all.mutex);
  all.ended.wait(lock, [&] { return all.running == all.kept; });
}

}  // namespace memcoord
