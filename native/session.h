// What the calls of one connection object share: links, threads, the gate. Knows nothing of
// JavaScript.
#ifndef MEMCOORD_SESSION_H_
#define MEMCOORD_SESSION_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "connection.h"
#include "error.h"
#include "guest_gate.h"
#include "lister.h"
#include "patience.h"
#include "roster.h"
#include "timer.h"
#include "worker_pool.h"

namespace memcoord {

// Reports when the last of a session's Links has been closed.
class ClosedLatch {
 public:
  explicit ClosedLatch(int links) : links_(links) {}
  // Calls back on a thread of the links, or at once if all are closed already.
  void OnClosed(std::function<void()> callback);
  void LinksClosed();

 private:
  std::mutex mutex_;
  int links_;
  std::vector<std::function<void()>> callbacks_;
};

// What all calls of a connection share. Each call in flight is an owner, and the last owner ends
// it. The links are closed on a thread of their pool, never on a caller's.
struct Session {
  bool read_only = false;
  std::shared_ptr<Timer> timer;
  std::shared_ptr<EventSink> events;
  std::shared_ptr<WorkerPool> read_pool;
  std::shared_ptr<WorkerPool> control_pool;
  std::shared_ptr<GuestGate> gate;
  std::shared_ptr<Roster> roster;
  std::shared_ptr<Lister> lister;
  std::shared_ptr<ClosedLatch> closed;
  // For calls on guests that read, and for those that set their memory.
  Patience reading;
  Patience setting;
  // For reading, and for changes, which must not wait behind a sweep. The same if read-only or
  // in-process.
  std::shared_ptr<Links> read;
  std::shared_ptr<Links> control;
  // Whether the hypervisor reports the states of all guests in one call, as far as is known.
  std::atomic<bool> states_in_bulk{true};

  // Passes events to `listener` after the session has handled them itself.
  void Listen(std::function<void(const Event&)> listener) const;
};

// Blocks. The first connection of the process also starts libvirt's event loop.
Result<std::shared_ptr<Session>> OpenSession(const std::string& uri, bool read_only,
                                             std::shared_ptr<Timer> timer);

}  // namespace memcoord

#endif  // MEMCOORD_SESSION_H_
