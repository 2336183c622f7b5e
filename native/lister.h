// The list of running guests. Nobody waits for it if guests are known already.
#ifndef MEMCOORD_LISTER_H_
#define MEMCOORD_LISTER_H_

#include <memory>
#include <mutex>
#include <vector>

#include "once.h"
#include "patience.h"
#include "roster.h"
#include "timer.h"

namespace memcoord {

struct Session;

// What a sweep was doing when it failed.
inline constexpr const char* kReading = "cannot read the guests";

// A running guest and its virDomainState; NaN if that must be read with a call of its own.
struct Found {
  Guest guest;
  double state = kNotReported;
};

// libvirtd answers no list while it holds the lock of a guest: while a hook runs that starts it, or
// for a minute while a guest with passed-through devices is torn down [M: a prepare hook of 30 s
// held up each list, but no call on another guest]. So there is one list at a time, on one thread
// and one link, and a sweep that cannot wait reads the known guests.
class Lister : public std::enable_shared_from_this<Lister> {
 public:
  // Requests a list, or waits for the one under way. `done` is called once, on a thread of the read
  // pool.
  void List(const std::shared_ptr<Session>& session, Callback<std::vector<Found>> done);

  // When the list under way becomes late: it has taken several times as long as the last one.
  Clock::time_point LateAt();

  // A list is under way. Another one might take just as long.
  bool Pending();
  // It is also late: the daemon itself may hang.
  bool Late();

 private:
  void Run(Session& session);
  // With mutex_ held.
  Clock::time_point LateAtLocked() const;

  std::mutex mutex_;
  std::vector<Callback<std::vector<Found>>> waiting_;
  bool pending_ = false;
  Clock::time_point asked_;
  Patience patience_;
  // Links for reading are open; used only by the list under way.
  bool prepared_ = false;
};

}  // namespace memcoord

#endif  // MEMCOORD_LISTER_H_
