// The list of running guests, which is never waited for where guests are known already.
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

// A running guest and its virDomainState, NaN where that is to be asked for.
struct Found {
  Guest guest;
  double state = kNotReported;
};

// libvirtd answers no list while it holds the lock of one guest, as it does for as long as a hook
// runs that starts it, or for a minute while one with passed-through devices is torn down [M: a
// prepare hook of 30 s held up each list, and no call on another guest]. So there is one list at a
// time, on one thread and one link, and whoever is in a hurry reads the guests that are known.
class Lister : public std::enable_shared_from_this<Lister> {
 public:
  // Asks for a list, or waits for the one that is on its way. `done` is called once, on a thread
  // of the read pool.
  void List(const std::shared_ptr<Session>& session, Callback<std::vector<Found>> done);

  // When the list that is on its way is late: it has taken several times as long as the last one.
  Clock::time_point LateAt();

  // A list is on its way. Another one might wait for as long as that.
  bool Pending();
  // And it is late: it may be the daemon itself that hangs.
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
  // Links for the reading are open; touched by the one list that is on its way.
  bool prepared_ = false;
};

}  // namespace memcoord

#endif  // MEMCOORD_LISTER_H_
