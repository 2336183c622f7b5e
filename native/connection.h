// Connections to libvirt: opening, keepalive, events, closing. Knows nothing of JavaScript.
#ifndef MEMCOORD_CONNECTION_H_
#define MEMCOORD_CONNECTION_H_

#include <libvirt/libvirt.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "error.h"
#include "guest_gate.h"
#include "timer.h"
#include "virt_ptr.h"
#include "worker_pool.h"

namespace memcoord {

struct Event {
  enum class Kind { kLifecycle, kReboot, kBalloon, kDeviceAdded, kClosed };
  Kind kind = Kind::kClosed;
  std::string uuid;
  std::string name;
  // virDomainEventType and its detail (kLifecycle); virConnectCloseReason in `code` (kClosed).
  int code = 0;
  int detail = 0;
  // KiB (kBalloon).
  unsigned long long actual = 0;
  // kDeviceAdded.
  std::string alias;
};

// Where events go; called on the thread of libvirt's event loop. Outlives the connection for as
// long as libvirt may still call back.
class EventSink {
 public:
  void Listen(std::function<void(const Event&)> listener);
  void Emit(const Event& event);

 private:
  std::mutex mutex_;
  std::function<void(const Event&)> listener_;
  bool closed_ = false;
};

// One virConnect with the callbacks registered on it.
class Link {
 public:
  // Blocks, for as long as it takes the daemon to answer.
  static Result<std::unique_ptr<Link>> Open(const std::string& uri, bool read_only,
                                            const std::shared_ptr<EventSink>& sink);
  Link(ConnectPtr connect, const std::shared_ptr<EventSink>& sink);
  // Blocks as well: a daemon is told goodbye, and one that hangs is waited for until keepalive
  // gives it up.
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  virConnectPtr get() const { return connect_.get(); }
  // libvirt's test driver inside this process: each connection to a test:///FILE is a host of its
  // own.
  bool InProcess() const;
  void WatchDomains();

 private:
  const ConnectPtr connect_;
  const std::shared_ptr<EventSink> sink_;
  bool watching_close_ = false;
  std::vector<int> watches_;
};

// Tells when the last link of a session has been closed.
class ClosedLatch {
 public:
  explicit ClosedLatch(int links) : links_(links) {}
  // Called on a thread of the link, or at once where all are closed already.
  void OnClosed(std::function<void()> callback);
  void LinkClosed();

 private:
  std::mutex mutex_;
  int links_;
  std::vector<std::function<void()>> callbacks_;
};

// What all calls of a connection share. Each call in flight is one of its owners; whoever is the
// last ends it, and the links are closed on a thread of theirs, never on the thread of a caller.
struct Session {
  bool read_only = false;
  std::shared_ptr<Timer> timer;
  std::shared_ptr<EventSink> events;
  std::shared_ptr<WorkerPool> read_pool;
  std::shared_ptr<WorkerPool> control_pool;
  std::shared_ptr<GuestGate> gate;
  std::shared_ptr<ClosedLatch> closed;
  // For reading, and for what changes something: a setMemory must not wait behind a sweep. The same
  // one where read-only or in-process.
  std::shared_ptr<Link> read;
  std::shared_ptr<Link> control;

  // Names by UUID, as of the last sweep: for errors about guests that do not answer.
  std::string NameOf(const std::string& uuid) const;
  void Name(std::unordered_map<std::string, std::string> names);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::string> names_;
};

// Blocks. The first connection of the process also starts libvirt's event loop.
Result<std::shared_ptr<Session>> OpenSession(const std::string& uri, bool read_only,
                                             std::shared_ptr<Timer> timer);

}  // namespace memcoord

#endif  // MEMCOORD_CONNECTION_H_
