// One call at a time for each guest, and a bound on what guests that hang can hold.
#ifndef MEMCOORD_GUEST_GATE_H_
#define MEMCOORD_GUEST_GATE_H_

#include <array>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "roster.h"
#include "timer.h"
#include "worker_pool.h"

namespace memcoord {

// A monitor call on a guest has no time-out of its own, and a second one on the same guest only
// waits behind the first (a job wait: 30 s). So a guest has one call in flight at most, over both
// connections; further ones wait here, where they can still be given up.
//
// A guest whose last call was given up while in flight is suspect, until a call on it comes back in
// time, be it that one: it may only have been late. A suspect is refused while its call is in
// flight, and else unless fewer than kSuspectsPerLane threads of the lane are held by suspects: the
// others stay free for healthy guests.
//
// A call that changes a guest also waits while a job of libvirt's holds the guest (job.h), and the
// guest can be read all the same. So a suspect that is known to have such a job may be read beside
// a call that changes it.
class GuestGate : public std::enable_shared_from_this<GuestGate> {
 public:
  // Whose threads make the call: those of the reading or of the controlling connection.
  enum class Lane : size_t { kRead, kControl };
  static constexpr size_t kSuspectsPerLane = 2;
  // However many hang: each call in flight holds one of libvirtd's 20 workers (max_workers in
  // libvirtd.conf), and others need some too.
  static constexpr size_t kMostThreads = 12;

  class Ticket;
  using TicketPtr = std::shared_ptr<Ticket>;

  GuestGate(std::shared_ptr<WorkerPool> read, std::shared_ptr<WorkerPool> control);

  // Runs `call` on a thread of `lane`, and then `returned` there unless the ticket was given up
  // meanwhile. A call that returns before `deadline` is in time. Null if the guest is refused: then
  // neither is run.
  TicketPtr Enter(Lane lane, const std::string& uuid, Clock::time_point deadline,
                  std::function<void()> call, std::function<void()> returned, bool has_job = false);

  // Where a ticket was when it was given up.
  enum class Fate {
    kWaiting,   // behind another call on the guest; will never be made
    kQueued,    // no thread was free; will never be made
    kInFlight,  // may still do what it was meant to do
    kReturned,  // `returned` has been run or is about to be
  };
  // All at once: a new suspect makes room for another thread, which must not start a call that is
  // about to be given up. That would make a suspect of a healthy guest.
  std::vector<Fate> GiveUp(const std::vector<TicketPtr>& tickets);

  // The same for those in flight; returns which were.
  std::vector<bool> GiveUpInFlight(const std::vector<TicketPtr>& tickets);

  bool HasSuspects();

  // Forgets suspects that are no longer there.
  void Keep(const Roster& there);

 private:
  struct Guest {
    bool busy = false;
    // Of the call that it is busy with.
    Lane lane = Lane::kRead;
    // Is read beside that call.
    bool beside = false;
    bool suspect = false;
    std::deque<TicketPtr> waiting;
  };
  using Guests = std::unordered_map<std::string, Guest>;

  // All but Run: with mutex_ held.
  Fate GiveUpOne(const TicketPtr& ticket);
  void SetSuspect(Ticket& ticket, bool suspect);
  void Queue(const TicketPtr& ticket);
  void Leave(Ticket& ticket);
  void Run(const TicketPtr& ticket);

  const std::array<std::shared_ptr<WorkerPool>, 2> pools_;
  std::mutex mutex_;
  // Threads held by suspects, by lane.
  std::array<size_t, 2> suspects_ = {0, 0};
  // Guests that are busy or suspect.
  Guests guests_;
};

}  // namespace memcoord

#endif  // MEMCOORD_GUEST_GATE_H_
