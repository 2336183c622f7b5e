#include "guest_gate.h"

#include <algorithm>
#include <utility>

namespace memcoord {

class GuestGate::Ticket {
 private:
  friend class GuestGate;
  enum class State { kWaiting, kQueued, kInFlight, kReturned, kGivenUp };

  Lane lane = Lane::kRead;
  std::string uuid;
  Clock::time_point deadline;
  std::function<void()> call;
  std::function<void()> returned;
  State state = State::kWaiting;
  // Counts among the suspects of its lane.
  bool suspect = false;
  // Made beside another call on the guest.
  bool beside = false;

  // Breaks a cycle: their captures may own the ticket.
  void Drop() {
    call = nullptr;
    returned = nullptr;
  }
};

GuestGate::GuestGate(std::shared_ptr<WorkerPool> read, std::shared_ptr<WorkerPool> control)
    : pools_{std::move(read), std::move(control)} {}

GuestGate::TicketPtr GuestGate::Enter(Lane lane, const std::string& uuid,
                                      Clock::time_point deadline, std::function<void()> call,
                                      std::function<void()> returned, bool has_job) {
  auto ticket = std::make_shared<Ticket>();
  ticket->lane = lane;
  ticket->uuid = uuid;
  ticket->deadline = deadline;
  ticket->call = std::move(call);
  ticket->returned = std::move(returned);

  const std::lock_guard lock(mutex_);
  Guest& guest = guests_[uuid];
  if (guest.suspect) {
    const bool changing = guest.busy && guest.lane == Lane::kControl;
    ticket->beside = has_job && lane == Lane::kRead && changing && !guest.beside;
    if (guest.busy && !ticket->beside) return nullptr;
    if (suspects_[static_cast<size_t>(lane)] >= kSuspectsPerLane) return nullptr;
    SetSuspect(*ticket, true);
  }
  if (ticket->beside) {
    guest.beside = true;
    Queue(ticket);
  } else if (guest.busy) {
    guest.waiting.push_back(ticket);
  } else {
    guest.busy = true;
    guest.lane = lane;
    Queue(ticket);
  }
  return ticket;
}

std::vector<GuestGate::Fate> GuestGate::GiveUp(const std::vector<TicketPtr>& tickets) {
  const std::lock_guard lock(mutex_);
  std::vector<Fate> fates;
  fates.reserve(tickets.size());
  for (const auto& ticket : tickets) fates.push_back(GiveUpOne(ticket));
  return fates;
}

std::vector<bool> GuestGate::GiveUpInFlight(const std::vector<TicketPtr>& tickets) {
  const std::lock_guard lock(mutex_);
  std::vector<bool> were;
  were.reserve(tickets.size());
  for (const auto& ticket : tickets) {
    were.push_back(ticket->state == Ticket::State::kInFlight);
    if (were.back()) GiveUpOne(ticket);
  }
  return were;
}

GuestGate::Fate GuestGate::GiveUpOne(const TicketPtr& ticket) {
  const auto before = std::exchange(ticket->state, Ticket::State::kGivenUp);
  switch (before) {
    case Ticket::State::kWaiting: {
      auto& waiting = guests_[ticket->uuid].waiting;
      waiting.erase(std::find(waiting.begin(), waiting.end(), ticket));
      ticket->Drop();
      return Fate::kWaiting;
    }
    case Ticket::State::kQueued:
      // Its pool still has it, and will find that it was given up.
      Leave(*ticket);
      ticket->Drop();
      return Fate::kQueued;
    case Ticket::State::kInFlight:
      guests_[ticket->uuid].suspect = true;
      SetSuspect(*ticket, true);
      return Fate::kInFlight;
    case Ticket::State::kReturned:
    case Ticket::State::kGivenUp:
      break;
  }
  ticket->state = before;
  return Fate::kReturned;
}

bool GuestGate::HasSuspects() {
  const std::lock_guard lock(mutex_);
  return std::any_of(guests_.begin(), guests_.end(),
                     [](const auto& entry) { return entry.second.suspect; });
}

void GuestGate::Keep(const Roster& there) {
  const std::lock_guard lock(mutex_);
  for (auto it = guests_.begin(); it != guests_.end();) {
    const bool gone = !it->second.busy && !it->second.beside && !there.Has(it->first);
    it = gone ? guests_.erase(it) : std::next(it);
  }
}

void GuestGate::SetSuspect(Ticket& ticket, bool suspect) {
  if (ticket.suspect == suspect) return;
  ticket.suspect = suspect;
  const auto lane = static_cast<size_t>(ticket.lane);
  size_t& held = suspects_[lane];
  suspect ? ++held : --held;
  const size_t beyond = held > kSuspectsPerLane ? held - kSuspectsPerLane : 0;
  pools_[lane]->SetLimit(std::min(WorkerPool::kThreads + beyond, kMostThreads));
}

void GuestGate::Queue(const TicketPtr& ticket) {
  ticket->state = Ticket::State::kQueued;
  pools_[static_cast<size_t>(ticket->lane)]->Submit(
      [gate = shared_from_this(), ticket] { gate->Run(ticket); });
}

// The guest's next call may go.
void GuestGate::Leave(Ticket& ticket) {
  SetSuspect(ticket, false);
  const auto it = guests_.find(ticket.uuid);
  Guest& guest = it->second;
  if (ticket.beside) {
    guest.beside = false;
    if (!guest.busy && !guest.suspect) guests_.erase(it);
    return;
  }
  if (guest.waiting.empty()) {
    guest.busy = false;
    if (!guest.suspect && !guest.beside) guests_.erase(it);
    return;
  }
  const TicketPtr next = std::move(guest.waiting.front());
  guest.waiting.pop_front();
  guest.lane = next->lane;
  SetSuspect(*next, guest.suspect);
  Queue(next);
}

void GuestGate::Run(const TicketPtr& ticket) {
  std::function<void()> call;
  std::function<void()> returned;
  {
    const std::lock_guard lock(mutex_);
    if (ticket->state != Ticket::State::kQueued) return;
    ticket->state = Ticket::State::kInFlight;
    call = std::move(ticket->call);
    returned = std::move(ticket->returned);
    ticket->Drop();
  }
  call();
  bool wanted = false;
  {
    const std::lock_guard lock(mutex_);
    wanted = ticket->state == Ticket::State::kInFlight;
    if (wanted) ticket->state = Ticket::State::kReturned;
    // A guest that is busy stays suspect: nobody is to wait behind its call.
    const bool busy = ticket->beside && guests_[ticket->uuid].busy;
    if (!busy && (wanted || Clock::now() < ticket->deadline)) guests_[ticket->uuid].suspect = false;
    Leave(*ticket);
  }
  if (wanted) returned();
}

}  // namespace memcoord
