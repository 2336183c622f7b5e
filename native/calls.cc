#include "calls.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include "job.h"
#include "virt_ptr.h"

namespace memcoord {
namespace {

// A call about one guest that changes something. `doing` as for LastLibvirtError.
struct GuestCall {
  std::string uuid;
  const char* doing;
  // Negative where it failed.
  std::function<int(virDomainPtr)> call;
};

// Guest calls with one deadline, made in parallel. With `patience`, calls that are late are given
// up, so that the others need not wait; null = wait until the deadline.
class Batch : public std::enable_shared_from_this<Batch> {
 public:
  Batch(std::shared_ptr<Session> session, std::vector<GuestCall> calls,
        Callback<std::vector<Outcome>> done, Patience* patience = nullptr)
      : session_(std::move(session)),
        calls_(std::move(calls)),
        done_(std::move(done)),
        tickets_(calls_.size()),
        settled_(calls_.size()),
        outcomes_(calls_.size()),
        outstanding_(calls_.size()) {
    if (patience != nullptr) silence_.emplace(*patience);
  }

  void Start(Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    timer_ = session_->timer->At(deadline, [self = shared_from_this()] { self->GiveUp(); });
    for (size_t i = 0; i < calls_.size(); ++i) {
      const auto outcome = std::make_shared<Outcome>();
      tickets_[i] = session_->gate->Enter(
          GuestGate::Lane::kControl, calls_[i].uuid, deadline,
          [self = shared_from_this(), i, outcome] { *outcome = self->Make(self->calls_[i]); },
          [self = shared_from_this(), i, outcome] { self->Returned(i, std::move(*outcome)); });
      if (tickets_[i] == nullptr) Settle(i, Busy(calls_[i]));
    }
    if (silence_) {
      silence_->Begin();
      Watch();
    }
    FinishIfDone(lock);
  }

 private:
  void Watch() {
    late_ = session_->timer->At(silence_->LateAt(),
                                [self = shared_from_this()] { self->GiveUpLate(); });
  }

  void GiveUpLate() {
    std::unique_lock lock(mutex_);
    if (done_ == nullptr) return;
    if (Clock::now() >= silence_->LateAt()) {
      const auto open = Open();
      const auto late = session_->gate->GiveUpInFlight(TicketsOf(open));
      for (size_t at = 0; at < open.size(); ++at) {
        if (late[at]) GiveUpOn(open[at]);
      }
      silence_->GivenUp();
    }
    Watch();
    FinishIfDone(lock);
  }

  // Calls that are not settled.
  std::vector<size_t> Open() const {
    std::vector<size_t> open;
    for (size_t i = 0; i < calls_.size(); ++i) {
      if (!settled_[i]) open.push_back(i);
    }
    return open;
  }

  std::vector<GuestGate::TicketPtr> TicketsOf(const std::vector<size_t>& calls) const {
    std::vector<GuestGate::TicketPtr> tickets;
    tickets.reserve(calls.size());
    for (const size_t i : calls) tickets.push_back(tickets_[i]);
    return tickets;
  }

  Outcome Make(const GuestCall& call) const {
    auto link = session_->control->Take();
    if (auto* error = std::get_if<Error>(&link)) return std::move(*error);
    const Guest guest = session_->roster->Find(call.uuid);
    const DomainPtr domain =
        std::get<Links::Lease>(link).Find(guest.uuid, guest.id, session_->lister->Pending());
    if (domain == nullptr) return LastLibvirtError(call.doing, guest.name);
    const std::string name = NameOf(domain.get());
    // It may have begun since the guest was read. The call would only wait.
    if (!std::isnan(JobOn(*session_->roster, call.uuid, domain.get()))) {
      return OwnError(
          kBusy, call.doing, name,
          "not tried, since a job of libvirt's holds it: migration, save, dump or snapshot");
    }
    if (call.call(domain.get()) == 0) return std::nullopt;
    Error error = LastLibvirtError(call.doing, name);
    if (error.libvirt_code == VIR_ERR_OPERATION_TIMEOUT) session_->roster->SuspectJob(call.uuid);
    return error;
  }

  Error Busy(const GuestCall& call) const {
    return OwnError(kBusy, call.doing, session_->roster->Find(call.uuid).name,
                    "not tried, since earlier calls on guests have not come back");
  }

  Error Unknown(const GuestCall& call) const {
    return OwnError(kDeadline, call.doing, session_->roster->Find(call.uuid).name,
                    "no answer in time, so the outcome is not known");
  }

  void Returned(size_t i, Outcome outcome) {
    std::unique_lock lock(mutex_);
    if (silence_) silence_->Broken();
    Settle(i, std::move(outcome));
    FinishIfDone(lock);
  }

  void GiveUp() {
    std::unique_lock lock(mutex_);
    if (silence_) silence_->GivenUp();
    const auto open = Open();
    const auto fates = session_->gate->GiveUp(TicketsOf(open));
    for (size_t at = 0; at < open.size(); ++at) {
      const size_t i = open[at];
      const auto fate = fates[at];
      if (fate == GuestGate::Fate::kWaiting || fate == GuestGate::Fate::kQueued) {
        Settle(i, Busy(calls_[i]));
      } else {
        GiveUpOn(i);
      }
    }
    FinishIfDone(lock);
  }

  // A job of libvirt's may be what the call waits for.
  void GiveUpOn(size_t i) {
    session_->roster->SuspectJob(calls_[i].uuid);
    Settle(i, Unknown(calls_[i]));
  }

  void Settle(size_t i, Outcome outcome) {
    if (settled_[i]) return;
    settled_[i] = true;
    outcomes_[i] = std::move(outcome);
    --outstanding_;
  }

  void FinishIfDone(std::unique_lock<std::mutex>& lock) {
    if (outstanding_ > 0 || done_ == nullptr) return;
    const auto done = std::exchange(done_, nullptr);
    session_->timer->Cancel(timer_);
    if (silence_) {
      session_->timer->Cancel(late_);
      silence_->Over();
    }
    lock.unlock();
    done(std::move(outcomes_));
  }

  // First, so that it outlives all other members.
  const std::shared_ptr<Session> session_;
  const std::vector<GuestCall> calls_;
  std::mutex mutex_;
  Callback<std::vector<Outcome>> done_;
  std::vector<GuestGate::TicketPtr> tickets_;
  std::vector<bool> settled_;
  std::vector<Outcome> outcomes_;
  size_t outstanding_;
  Timer::Id timer_;
  std::optional<Silence> silence_;
  Timer::Id late_;
};

// A call that reads, and does not use a guest's monitor.
template <typename T>
void Call(const std::shared_ptr<Session>& session, const std::string& doing,
          Clock::time_point deadline, Callback<T> done,
          std::function<Result<T>(const Links::Lease&)> call) {
  const auto answer = Once(std::move(done));
  const auto timer = session->timer->At(
      deadline, [answer, doing] { answer(OwnError(kDeadline, doing, {}, "no answer in time")); });
  session->read_pool->Submit([session, timer, answer, deadline, call = std::move(call)] {
    // Nobody waits for it any more.
    if (Clock::now() >= deadline) return;
    auto link = session->read->Take();
    auto result = std::holds_alternative<Error>(link) ? Result<T>(std::get<Error>(std::move(link)))
                                                      : call(std::get<Links::Lease>(link));
    session->timer->Cancel(timer);
    answer(std::move(result));
  });
}

Result<Description> ReadDescription(const Links::Lease& link, const Session& session,
                                    const std::string& uuid, const std::string& metadata_uri) {
  const std::string doing = "cannot read the description";
  const Guest guest = session.roster->Find(uuid);
  const DomainPtr domain = link.Find(guest.uuid, guest.id, session.lister->Pending());
  if (domain == nullptr) return LastLibvirtError(doing, guest.name);
  const std::string name = NameOf(domain.get());
  const CharPtr xml(virDomainGetXMLDesc(domain.get(), 0));
  if (xml == nullptr) return LastLibvirtError(doing, name);
  Description description;
  description.xml = xml.get();
  const CharPtr metadata(virDomainGetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT,
                                              metadata_uri.c_str(), VIR_DOMAIN_AFFECT_CURRENT));
  if (metadata != nullptr) {
    description.metadata = metadata.get();
  } else if (Error error = LastLibvirtError(doing, name);
             error.libvirt_code != VIR_ERR_NO_DOMAIN_METADATA) {
    return error;
  }
  return description;
}

Result<NodeMemory> ReadMemoryOfNode(const Links::Lease& link) {
  const virConnectPtr connect = link.get();
  const std::string doing = "cannot read the host's memory";
  constexpr int kAll = VIR_NODE_MEMORY_STATS_ALL_CELLS;
  int count = 0;
  if (virNodeGetMemoryStats(connect, kAll, nullptr, &count, 0) < 0) {
    return LastLibvirtError(doing);
  }
  std::vector<virNodeMemoryStats> stats(static_cast<size_t>(count));
  if (count > 0 && virNodeGetMemoryStats(connect, kAll, stats.data(), &count, 0) < 0) {
    return LastLibvirtError(doing);
  }
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  NodeMemory memory = {kNone, kNone, kNone, kNone};
  for (const auto& stat : stats) {
    const std::string field = stat.field;
    const auto value = static_cast<double>(stat.value);
    if (field == VIR_NODE_MEMORY_STATS_TOTAL) memory.total = value;
    if (field == VIR_NODE_MEMORY_STATS_FREE) memory.free = value;
    if (field == VIR_NODE_MEMORY_STATS_BUFFERS) memory.buffers = value;
    if (field == VIR_NODE_MEMORY_STATS_CACHED) memory.cached = value;
  }
  return memory;
}

}  // namespace

void SetMemory(const std::shared_ptr<Session>& session, const std::vector<MemoryTarget>& targets,
               Clock::time_point deadline, Callback<std::vector<Outcome>> done) {
  std::vector<GuestCall> calls;
  calls.reserve(targets.size());
  for (const auto& [uuid, kib] : targets) {
    calls.push_back({uuid, "cannot set the memory", [kib = kib](virDomainPtr domain) {
                       return virDomainSetMemoryFlags(domain, kib, VIR_DOMAIN_AFFECT_LIVE);
                     }});
  }
  std::make_shared<Batch>(session, std::move(calls), std::move(done), &session->setting)
      ->Start(deadline);
}

void SetStatsPeriod(const std::shared_ptr<Session>& session, const std::string& uuid, int seconds,
                    Clock::time_point deadline, Callback<Done> done) {
  std::vector<GuestCall> calls = {
      {uuid, "cannot set the stats period", [seconds](virDomainPtr domain) {
         return virDomainSetMemoryStatsPeriod(domain, seconds, VIR_DOMAIN_AFFECT_LIVE);
       }}};
  const auto one = [done = std::move(done)](Result<std::vector<Outcome>> result) {
    auto& outcome = std::get<std::vector<Outcome>>(result).front();
    if (outcome) {
      done(std::move(*outcome));
    } else {
      done(Done{});
    }
  };
  std::make_shared<Batch>(session, std::move(calls), one)->Start(deadline);
}

void Describe(const std::shared_ptr<Session>& session, const std::string& uuid,
              const std::string& metadata_uri, Clock::time_point deadline,
              Callback<Description> done) {
  Call<Description>(session, "cannot read the description of " + uuid, deadline, std::move(done),
                    [session, uuid, metadata_uri](const Links::Lease& link) {
                      return ReadDescription(link, *session, uuid, metadata_uri);
                    });
}

void ReadNodeMemory(const std::shared_ptr<Session>& session, Clock::time_point deadline,
                    Callback<NodeMemory> done) {
  Call<NodeMemory>(session, "cannot read the host's memory", deadline, std::move(done),
                   ReadMemoryOfNode);
}

void ReadCapabilities(const std::shared_ptr<Session>& session, Clock::time_point deadline,
                      Callback<std::string> done) {
  Call<std::string>(session, "cannot read the host's capabilities", deadline, std::move(done),
                    [](const Links::Lease& link) -> Result<std::string> {
                      const CharPtr xml(virConnectGetCapabilities(link.get()));
                      if (xml == nullptr) {
                        return LastLibvirtError("cannot read the host's capabilities");
                      }
                      return std::string(xml.get());
                    });
}

}  // namespace memcoord
