// Connections to libvirt: opening, keepalive, close callback, events. Knows nothing of JavaScript.
#ifndef MEMCOORD_CONNECTION_H_
#define MEMCOORD_CONNECTION_H_

#include <libvirt/libvirt.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "error.h"
#include "virt_ptr.h"

namespace memcoord {

struct Event {
  enum class Kind { kLifecycle, kReboot, kBalloon, kDeviceAdded, kJob, kClosed };
  Kind kind = Kind::kClosed;
  std::string uuid;
  std::string name;
  // libvirt's id, -1 if the guest does not run.
  int id = -1;
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
  // kClosed has been emitted.
  bool Closed() const;

 private:
  mutable std::mutex mutex_;
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
  // Blocks as well: closing takes a call to the daemon, and one that hangs is waited for until
  // keepalive gives it up.
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  virConnectPtr get() const { return connect_.get(); }
  // libvirt's test driver inside this process: no network, and each connection to a test:///FILE is
  // a host of its own.
  bool InProcess() const;
  void WatchDomains();

  // The guest's handle, cached, since looking it up takes a call. `id` is that of the start that
  // the caller knows: a new start makes the cached handle out of date. `alone`: do not list all
  // guests, which might be held up. Null if the lookup fails; the reason is the thread's libvirt
  // error.
  DomainPtr Find(const std::string& uuid, int id, bool alone);

 private:
  // The cached handle; null if there is none, or if `id` is given and differs.
  DomainPtr Kept(const std::string& uuid, const int* id);
  // Caches all guests with one call: if one has started, others often have as well.
  void KeepAll();

  const ConnectPtr connect_;
  const std::shared_ptr<EventSink> sink_;
  bool watching_close_ = false;
  std::vector<int> watches_;
  // In-process, calls share the link.
  std::mutex mutex_;
  // Running guests by UUID, after connect_ since each holds a reference to it.
  std::unordered_map<std::string, DomainPtr> domains_;
};

// As many links as there are calls in flight, since a link is used by one call at a time.
//
// libvirt lets threads share a connection. But where keepalive gives a daemon up while two or more
// calls share one, only the first of them fails; the others hang, the close callback does not fire,
// and the process crashes once the daemon goes on or ends: a GSource on the context that they share
// keeps a pointer into the stack of the first (virNetClientIOEventLoop; seen with libvirt 9.0).
class Links {
 public:
  class Lease;

  // Both are open already, or null. `own` is closed with the Links and never lent, so that the
  // events that it watches arrive until then; but in-process all calls share it, since only it has
  // the host. `first` is the first to be lent: none can be opened while the daemon hangs.
  Links(const std::string& uri, bool read_only, const std::shared_ptr<EventSink>& sink,
        std::unique_ptr<Link> own, std::unique_ptr<Link> first);

  // A link for the caller until the lease ends. If none is free, opens one, which blocks for ever
  // if the daemon hangs; without `may_open`, waits for one that is in use.
  Result<Lease> Take(bool may_open = true);

  // Opens one if fewer than `count` are free.
  void Prepare(size_t count);

  // Whether its own link, which it must have, is alive. Does not call the daemon.
  bool Alive() const { return virConnectIsAlive(own_->get()) == 1; }

 private:
  const std::string uri_;
  const bool read_only_;
  const std::shared_ptr<EventSink> sink_;
  const std::unique_ptr<Link> own_;
  const bool in_process_;
  std::mutex mutex_;
  // Those used last come last and are taken first: a small host hardly needs a second one. No more
  // are kept than are in use while no guest hangs.
  static constexpr size_t kMostFree = 4;
  std::vector<std::unique_ptr<Link>> free_;
  std::condition_variable freed_;
};

// Must end before its Links does.
class Links::Lease {
 public:
  explicit Lease(Link* shared) : link_(shared) {}
  Lease(Links* owner, std::unique_ptr<Link> link)
      : owner_(owner), owned_(std::move(link)), link_(owned_.get()) {}
  Lease(Lease&&) = default;
  Lease& operator=(Lease&&) = delete;
  ~Lease();

  virConnectPtr get() const { return link_->get(); }
  DomainPtr Find(const std::string& uuid, int id, bool alone) const {
    return link_->Find(uuid, id, alone);
  }

 private:
  Links* owner_ = nullptr;
  std::unique_ptr<Link> owned_;
  Link* link_;
};

}  // namespace memcoord

#endif  // MEMCOORD_CONNECTION_H_
