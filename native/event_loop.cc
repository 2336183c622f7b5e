#include "event_loop.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "thread.h"
#include "timer.h"

namespace memcoord {
namespace {

// Every error reaches JavaScript; libvirt's default is to print it to stderr as well.
void Silence(void*, virErrorPtr) {}

// Implements what virEventRegisterImpl requires. libvirt may call from any thread, with its own
// locks held. So callbacks, including those that free, run with none of our locks held, and only on
// the loop's thread.
class EventLoop {
 public:
  // Throws std::system_error if no descriptor is left.
  EventLoop()
      : epoll_(epoll_create1(EPOLL_CLOEXEC)), bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (epoll_ < 0 || bell_ < 0 || Control(EPOLL_CTL_ADD, bell_, kBell, EPOLLIN) < 0) {
      throw std::system_error(errno, std::generic_category());
    }
  }

  int AddHandle(int fd, int events, virEventHandleCallback callback, void* opaque,
                virFreeCallback free) {
    const std::lock_guard lock(mutex_);
    const int id = ++last_id_;
    Handle handle = {fd, 0, callback, {free, opaque}};
    if (!Watch(id, handle, events)) return -1;
    handles_.emplace(id, handle);
    return id;
  }

  // The kernel applies the change while the loop waits, so the loop is not woken. A call switches
  // its connection's handle off while it waits for the answer itself, then on again.
  void UpdateHandle(int id, int events) {
    const std::lock_guard lock(mutex_);
    const auto it = handles_.find(id);
    if (it != handles_.end()) Watch(id, it->second, events);
  }

  int RemoveHandle(int id) {
    const std::lock_guard lock(mutex_);
    const auto it = handles_.find(id);
    if (it == handles_.end()) return -1;
    Watch(id, it->second, 0);
    FreeLater(it->second.owned);
    handles_.erase(it);
    return 0;
  }

  int AddTimeout(int ms, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) {
    const std::lock_guard lock(mutex_);
    const int id = ++last_id_;
    Set(timeouts_[id] = {-1, {}, callback, {free, opaque}}, ms);
    return id;
  }

  void UpdateTimeout(int id, int ms) {
    const std::lock_guard lock(mutex_);
    const auto it = timeouts_.find(id);
    if (it != timeouts_.end()) Set(it->second, ms);
  }

  int RemoveTimeout(int id) {
    const std::lock_guard lock(mutex_);
    const auto it = timeouts_.find(id);
    if (it == timeouts_.end()) return -1;
    FreeLater(it->second.owned);
    timeouts_.erase(it);
    return 0;
  }

  void RunForEver() {
    for (;;) {
      std::array<epoll_event, 16> ready;
      const int count = epoll_wait(epoll_, ready.data(), ready.size(), MillisecondsToWait());
      for (int i = 0; i < count; ++i) Dispatch(ready[static_cast<size_t>(i)]);
      RunTimeouts();
      Free();
    }
  }

 private:
  // Not the id of any handle.
  static constexpr int kBell = 0;

  // The argument of a callback, and how to free it.
  struct Owned {
    virFreeCallback free;
    void* opaque;
  };
  struct Handle {
    int fd;
    int events;
    virEventHandleCallback callback;
    Owned owned;
  };
  struct Timeout {
    // Negative: off.
    int ms;
    Clock::time_point due;
    virEventTimeoutCallback callback;
    Owned owned;
  };

  int Control(int operation, int fd, int id, std::uint32_t events) const {
    epoll_event event = {};
    event.events = events;
    event.data.fd = id;
    return epoll_ctl(epoll_, operation, fd, &event);
  }

  // With mutex_ held, as all down to Wake. A handle that waits for nothing is removed: epoll would
  // still report that the other side has hung up.
  bool Watch(int id, Handle& handle, int events) const {
    if (handle.events == events) return true;
    const int operation = events == 0          ? EPOLL_CTL_DEL
                          : handle.events == 0 ? EPOLL_CTL_ADD
                                               : EPOLL_CTL_MOD;
    const std::uint32_t wanted = ((events & VIR_EVENT_HANDLE_READABLE) != 0 ? EPOLLIN : 0U) |
                                 ((events & VIR_EVENT_HANDLE_WRITABLE) != 0 ? EPOLLOUT : 0U);
    handle.events = events;
    return Control(operation, handle.fd, id, wanted) == 0;
  }

  // Keepalive postpones its timeout with every answer. The loop is woken only for what is due
  // before it wakes anyway.
  void Set(Timeout& timeout, int ms) {
    timeout.ms = ms;
    if (ms < 0) return;
    timeout.due = Clock::now() + std::chrono::milliseconds(ms);
    if (timeout.due < wakes_) Wake();
  }

  void FreeLater(const Owned& owned) {
    if (owned.free == nullptr) return;
    to_free_.push_back(owned);
    Wake();
  }

  void Wake() const {
    const std::uint64_t one = 1;
    // Fails only if a wake-up is pending already.
    [[maybe_unused]] const auto written = write(bell_, &one, sizeof one);
  }

  // For epoll_wait; -1 = until something happens.
  int MillisecondsToWait() {
    const std::lock_guard lock(mutex_);
    wakes_ = Clock::time_point::max();
    for (const auto& [id, timeout] : timeouts_) {
      if (timeout.ms >= 0) wakes_ = std::min(wakes_, timeout.due);
    }
    if (wakes_ == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(wakes_ - Clock::now());
    return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }

  void Dispatch(const epoll_event& ready) {
    const int id = ready.data.fd;
    if (id == kBell) {
      std::uint64_t rung = 0;
      [[maybe_unused]] const auto taken = read(bell_, &rung, sizeof rung);
      return;
    }
    Handle handle = {};
    {
      const std::lock_guard lock(mutex_);
      const auto it = handles_.find(id);
      // Removed or switched off meanwhile.
      if (it == handles_.end() || it->second.events == 0) return;
      handle = it->second;
    }
    const int events = ((ready.events & EPOLLIN) != 0 ? VIR_EVENT_HANDLE_READABLE : 0) |
                       ((ready.events & EPOLLOUT) != 0 ? VIR_EVENT_HANDLE_WRITABLE : 0) |
                       ((ready.events & EPOLLERR) != 0 ? VIR_EVENT_HANDLE_ERROR : 0) |
                       ((ready.events & EPOLLHUP) != 0 ? VIR_EVENT_HANDLE_HANGUP : 0);
    handle.callback(id, handle.fd, events, handle.owned.opaque);
  }

  void RunTimeouts() {
    const auto now = Clock::now();
    std::unique_lock lock(mutex_);
    // A callback may add and remove timeouts: look up the next one by its id.
    for (auto it = timeouts_.begin(); it != timeouts_.end();) {
      const int id = it->first;
      Timeout& timeout = it->second;
      if (timeout.ms >= 0 && timeout.due <= now) {
        timeout.due = now + std::chrono::milliseconds(timeout.ms);
        const Timeout due = timeout;
        lock.unlock();
        due.callback(id, due.owned.opaque);
        lock.lock();
      }
      it = timeouts_.upper_bound(id);
    }
  }

  void Free() {
    std::vector<Owned> freed;
    {
      const std::lock_guard lock(mutex_);
      freed.swap(to_free_);
    }
    for (const Owned& owned : freed) owned.free(owned.opaque);
  }

  const int epoll_;
  const int bell_;
  std::mutex mutex_;
  int last_id_ = kBell;
  std::map<int, Handle> handles_;
  std::map<int, Timeout> timeouts_;
  std::vector<Owned> to_free_;
  // When the loop wakes at the latest.
  Clock::time_point wakes_;
};

// Never freed: its thread, and threads that still call libvirt when the process ends, use it.
EventLoop& Loop() {
  static EventLoop& loop = *std::make_unique<EventLoop>().release();
  return loop;
}

std::optional<Error> Start() {
  if (virInitialize() < 0) return LastLibvirtError("cannot start libvirt");
  virSetErrorFunc(nullptr, Silence);
  try {
    Loop();
    StartThread("memcoord-events", [] { Loop().RunForEver(); });
  } catch (const std::system_error& error) {
    return OwnError(kNoThread, "cannot start libvirt's event loop", {}, error.what());
  }
  virEventRegisterImpl(
      [](int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free) {
        return Loop().AddHandle(fd, events, callback, opaque, free);
      },
      [](int id, int events) { Loop().UpdateHandle(id, events); },
      [](int id) { return Loop().RemoveHandle(id); },
      [](int ms, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) {
        return Loop().AddTimeout(ms, callback, opaque, free);
      },
      [](int id, int ms) { Loop().UpdateTimeout(id, ms); },
      [](int id) { return Loop().RemoveTimeout(id); });
  return std::nullopt;
}

}  // namespace

std::optional<Error> StartEventLoop() {
  // Never freed: a thread that still opens a connection when the process ends may read it.
  static const auto& failure = *std::make_unique<std::optional<Error>>(Start()).release();
  return failure;
}

}  // namespace memcoord
