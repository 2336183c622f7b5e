#include "sampler.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <mutex>
#include <utility>
#include <vector>

#include "guest_gate.h"
#include "job.h"
#include "lister.h"
#include "virt_ptr.h"

namespace memcoord {
namespace {

// Time from setting the stats period to the new figures. With QEMU 7.2 and emulated guests: 1 to
// 3 ms if the guest was idle or the only one allocating, and 14 ms at most with four allocating on
// two busy cores. Only guests that ran out of memory took longer, up to 80 ms. Later figures are
// seen at the next sample.
constexpr std::chrono::milliseconds kFiguresArrive{20};

// Field of a virDomainMemoryStatTags; kStride for those that are not used.
Field FieldOf(int tag) {
  switch (tag) {
    case VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON:
      return kActual;
    case VIR_DOMAIN_MEMORY_STAT_UNUSED:
      return kUnused;
    case VIR_DOMAIN_MEMORY_STAT_AVAILABLE:
      return kAvailable;
    case VIR_DOMAIN_MEMORY_STAT_USABLE:
      return kUsable;
    case VIR_DOMAIN_MEMORY_STAT_DISK_CACHES:
      return kDiskCaches;
    case VIR_DOMAIN_MEMORY_STAT_SWAP_IN:
      return kSwapIn;
    case VIR_DOMAIN_MEMORY_STAT_SWAP_OUT:
      return kSwapOut;
    case VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT:
      return kMajorFault;
    case VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT:
      return kMinorFault;
    case VIR_DOMAIN_MEMORY_STAT_RSS:
      return kRss;
    case VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE:
      return kLastUpdate;
    default:
      return kStride;
  }
}

// virErrorNumber, never 0.
double NumberOf(const Error& error) {
  return error.libvirt_code == 0 ? VIR_ERR_INTERNAL_ERROR : error.libvirt_code;
}

Row Failure(const Error& error) {
  Row row = EmptyRow();
  row[kStatus] = kFailed;
  row[kError] = NumberOf(error);
  return row;
}

// kReads; -1 if it is not reported, for whatever reason. QEMU's driver gives the sum over the disks
// that the guest has now, counted since it was started, resets included: 0 without disks, or with
// only an empty CD-ROM, and less than before once a disk was detached [M: libvirt 9.0, QEMU 7.2].
// Other drivers may refuse the empty path, as the test driver does.
double ReadsOf(virDomainPtr domain) {
  virDomainBlockStatsStruct stats;
  if (virDomainBlockStats(domain, "", &stats, sizeof stats) < 0) {
    virResetLastError();
    return -1;
  }
  if (stats.rd_bytes < 0) return -1;
  return static_cast<double>(stats.rd_bytes) / 1024;
}

// kReadAt.
double Now() {
  return std::chrono::duration<double, std::milli>(Clock::now().time_since_epoch()).count();
}

// `state` as in Found; `reads`: whether kReads is wanted, which takes another call.
Row ReadGuest(const Session& session, const Guest& guest, double state, bool reads) {
  const auto link = session.read->Take(!session.lister->Late());
  if (const auto* error = std::get_if<Error>(&link)) return Failure(*error);
  const DomainPtr domain =
      std::get<Links::Lease>(link).Find(guest.uuid, guest.id, session.lister->Pending());
  if (domain == nullptr) return Failure(LastLibvirtError(kReading));
  double maximum = session.roster->MaximumOf(guest);
  if (std::isnan(state) || std::isnan(maximum)) {
    virDomainInfo info;
    if (virDomainGetInfo(domain.get(), &info) < 0) return Failure(LastLibvirtError(kReading));
    state = info.state;
    maximum = static_cast<double>(info.maxMem);
    session.roster->SetMaximum(guest, maximum);
  }
  Row row = EmptyRow();
  row[kStatus] = kRead;
  row[kState] = state;
  row[kMaximum] = maximum;
  row[kJob] = JobOn(*session.roster, guest.uuid, domain.get());
  if (row[kJob] == VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN) {
    row[kReadAt] = Now();
    return row;
  }
  std::array<virDomainMemoryStatStruct, VIR_DOMAIN_MEMORY_STAT_NR> stats;
  const int count = virDomainMemoryStats(domain.get(), stats.data(), stats.size(), 0);
  if (count < 0) return Failure(LastLibvirtError(kReading));
  for (int i = 0; i < count; ++i) {
    const Field field = FieldOf(stats[static_cast<size_t>(i)].tag);
    if (field != kStride) row[field] = static_cast<double>(stats[static_cast<size_t>(i)].val);
  }
  row[kReadAt] = Now();
  if (reads) row[kReads] = ReadsOf(domain.get());
  return row;
}

// Makes QEMU ask the guest for new figures at once: it asks when the period changes from 0, and
// otherwise only when the period is over. Returns kRefreshed.
double Refresh(const Session& session, const Guest& guest, int seconds) {
  const auto link = session.control->Take(!session.lister->Late());
  if (const auto* error = std::get_if<Error>(&link)) return NumberOf(*error);
  const DomainPtr domain =
      std::get<Links::Lease>(link).Find(guest.uuid, guest.id, session.lister->Pending());
  if (domain == nullptr) return NumberOf(LastLibvirtError(kReading));
  // What libvirt would say too, after half a minute.
  if (!std::isnan(JobOn(*session.roster, guest.uuid, domain.get())))
    return VIR_ERR_OPERATION_TIMEOUT;
  const auto set = [&](int period) {
    return virDomainSetMemoryStatsPeriod(domain.get(), period, VIR_DOMAIN_AFFECT_LIVE) == 0;
  };
  // Never leave the figures switched off for want of a second try.
  if (set(0) && (set(seconds) || set(seconds))) return 0;
  return NumberOf(LastLibvirtError(kReading));
}

class Sampling : public std::enable_shared_from_this<Sampling> {
 public:
  Sampling(std::shared_ptr<Session> session, SampleRequest request, Callback<Sweep> done)
      : session_(std::move(session)),
        request_(std::move(request)),
        done_(std::move(done)),
        silence_(session_->reading) {}

  void Start() {
    session_->lister->List(session_, [self = shared_from_this()](Result<std::vector<Found>> found) {
      self->Listed(std::move(found));
    });
    const std::lock_guard lock(mutex_);
    if (done_ == nullptr) return;
    deadline_ =
        session_->timer->At(request_.deadline, [self = shared_from_this()] { self->GiveUp(); });
    if (listed_) return;
    late_ = session_->timer->At(session_->lister->LateAt(),
                                [self = shared_from_this()] { self->GoOn(); });
  }

 private:
  // What is known of a guest while the sweep is under way.
  struct Progress {
    // For the call it waits for; null between calls.
    GuestGate::TicketPtr ticket;
    // As in Found.
    double state = kNotReported;
    // kRefreshed.
    double refreshed = kNotReported;
    bool settled = false;
  };

  void Listed(Result<std::vector<Found>> found) {
    std::unique_lock lock(mutex_);
    if (done_ == nullptr) return;
    // No guest has been read either: the daemon itself does not answer.
    auto* error = std::get_if<Error>(&found);
    if (error != nullptr && read_ == 0) return Finish(lock, std::move(*error));
    if (!listed_) return Read(lock, std::move(std::get<std::vector<Found>>(found)));
    late_list_ = false;
    FinishIfDone(lock);
  }

  // The list is late: read the known guests. A new one joins when its event or the list reports it.
  void GoOn() {
    const auto known = session_->roster->Known();
    std::unique_lock lock(mutex_);
    if (done_ == nullptr || listed_ || known == nullptr) return;
    std::vector<Found> found;
    found.reserve(known->size());
    for (const Guest& guest : *known) found.push_back({guest});
    late_list_ = true;
    Read(lock, std::move(found));
  }

  void Read(std::unique_lock<std::mutex>& lock, std::vector<Found> found) {
    listed_ = true;
    session_->timer->Cancel(late_);
    Take(std::move(found));
    silence_.Begin();
    for (size_t i = 0; i < progress_.size(); ++i) Ask(i);
    Watch();
    FinishIfDone(lock);
  }

  // A late guest must not keep the others waiting.
  void Watch() {
    late_ =
        session_->timer->At(silence_.LateAt(), [self = shared_from_this()] { self->GiveUpLate(); });
  }

  void GiveUpLate() {
    std::unique_lock lock(mutex_);
    if (done_ == nullptr) return;
    if (Clock::now() >= silence_.LateAt()) {
      std::vector<size_t> asked;
      const auto late = session_->gate->GiveUpInFlight(TicketsOf(asked));
      for (size_t at = 0; at < asked.size(); ++at) {
        if (late[at]) Miss(asked[at]);
      }
      silence_.GivenUp();
    }
    Watch();
    FinishIfDone(lock);
  }

  // Tickets of the calls that have not returned; `asked` gets their rows.
  std::vector<GuestGate::TicketPtr> TicketsOf(std::vector<size_t>& asked) const {
    std::vector<GuestGate::TicketPtr> tickets;
    for (size_t i = 0; i < progress_.size(); ++i) {
      if (progress_[i].settled || progress_[i].ticket == nullptr) continue;
      asked.push_back(i);
      tickets.push_back(progress_[i].ticket);
    }
    return tickets;
  }

  void Take(std::vector<Found> found) {
    std::sort(found.begin(), found.end(),
              [](const Found& a, const Found& b) { return a.guest.id < b.guest.id; });
    progress_.resize(found.size());
    outstanding_ = found.size();
    sweep_.rows.assign(found.size(), EmptyRow());
    Guests guests;
    guests.reserve(found.size());
    for (size_t i = 0; i < found.size(); ++i) {
      progress_[i].state = found[i].state;
      guests.push_back(std::move(found[i].guest));
    }
    sweep_.guests = session_->roster->Enter(std::move(guests));
    session_->gate->Keep(*session_->roster);
  }

  const Guest& GuestOf(size_t i) const { return (*sweep_.guests)[i]; }

  void Ask(size_t i) {
    const std::string& uuid = GuestOf(i).uuid;
    if (request_.only && request_.only->count(uuid) == 0) return Settle(i, kNotAsked);
    ++asked_;
    const auto refresh = request_.refresh.find(uuid);
    if (refresh == request_.refresh.end() || session_->read_only) return Read(i);
    const auto refreshed = std::make_shared<double>();
    Enter(
        i, GuestGate::Lane::kControl,
        [self = shared_from_this(), guests = sweep_.guests, i, seconds = refresh->second,
         refreshed] { *refreshed = Refresh(*self->session_, (*guests)[i], seconds); },
        [self = shared_from_this(), i, refreshed] { self->Refreshed(i, *refreshed); });
  }

  void Refreshed(size_t i, double refreshed) {
    std::unique_lock lock(mutex_);
    if (done_ == nullptr) return;
    silence_.Broken();
    progress_[i].refreshed = refreshed;
    if (refreshed == 0) return AwaitFigures(i);
    Read(i);
    FinishIfDone(lock);
  }

  // Waits without a thread.
  void AwaitFigures(size_t i) {
    progress_[i].ticket = nullptr;
    session_->timer->At(Clock::now() + kFiguresArrive, [self = shared_from_this(), i] {
      std::unique_lock again(self->mutex_);
      if (self->done_ == nullptr) return;
      self->Read(i);
      self->FinishIfDone(again);
    });
  }

  void Read(size_t i) {
    const auto row = std::make_shared<Row>();
    const bool reads = request_.reads.count(GuestOf(i).uuid) != 0;
    Enter(
        i, GuestGate::Lane::kRead,
        [self = shared_from_this(), guests = sweep_.guests, i, state = progress_[i].state, reads,
         row] { *row = ReadGuest(*self->session_, (*guests)[i], state, reads); },
        [self = shared_from_this(), i, row] { self->Returned(i, *row); });
  }

  void Enter(size_t i, GuestGate::Lane lane, std::function<void()> call,
             std::function<void()> returned) {
    const std::string& uuid = GuestOf(i).uuid;
    const bool has_job = session_->roster->JobBegun(uuid);
    progress_[i].ticket = session_->gate->Enter(lane, uuid, request_.deadline, std::move(call),
                                                std::move(returned), has_job);
    if (progress_[i].ticket != nullptr) return;
    // A guest that cannot be refreshed for a job of libvirt's can be read.
    has_job&& lane == GuestGate::Lane::kControl ? Read(i) : Settle(i, kSetAside);
  }

  void Returned(size_t i, const Row& row) {
    std::unique_lock lock(mutex_);
    if (done_ == nullptr) return;
    silence_.Broken();
    sweep_.rows[i] = row;
    if (row[kStatus] == kRead) ++read_;
    Settled(i);
    FinishIfDone(lock);
  }

  // A job of libvirt's may be what the call waits for.
  void Miss(size_t i) {
    session_->roster->SuspectJob(GuestOf(i).uuid);
    Settle(i, kMissed);
  }

  void Settle(size_t i, Status status) {
    sweep_.rows[i][kStatus] = status;
    Settled(i);
  }

  void Settled(size_t i) {
    progress_[i].settled = true;
    sweep_.rows[i][kRefreshed] = progress_[i].refreshed;
    --outstanding_;
  }

  void GiveUp() {
    std::unique_lock lock(mutex_);
    if (done_ == nullptr) return;
    for (size_t i = 0; i < progress_.size(); ++i) {
      if (!progress_[i].settled && progress_[i].ticket == nullptr) Settle(i, kMissed);
    }
    std::vector<size_t> asked;
    const auto fates = session_->gate->GiveUp(TicketsOf(asked));
    for (size_t at = 0; at < asked.size(); ++at) {
      if (fates[at] == GuestGate::Fate::kWaiting) {
        Settle(asked[at], kSetAside);
      } else {
        Miss(asked[at]);
      }
    }
    silence_.GivenUp();
    if (IsUnanswered()) return Finish(lock, OwnError(kDeadline, kReading, {}, "no answer in time"));
    FinishIfDone(lock);
  }

  // Neither the list nor an answer of any guest has come.
  bool IsUnanswered() const { return !listed_ || (late_list_ && asked_ > 0 && read_ == 0); }

  void FinishIfDone(std::unique_lock<std::mutex>& lock) {
    if (outstanding_ == 0 && !IsUnanswered()) Finish(lock, std::move(sweep_));
  }

  // `done_` is null from here on: later answers are ignored.
  void Finish(std::unique_lock<std::mutex>& lock, Result<Sweep> result) {
    if (done_ == nullptr) return;
    const auto done = std::exchange(done_, nullptr);
    if (read_ > 0) silence_.Over();
    session_->timer->Cancel(deadline_);
    session_->timer->Cancel(late_);
    lock.unlock();
    done(std::move(result));
  }

  const std::shared_ptr<Session> session_;
  const SampleRequest request_;
  std::mutex mutex_;
  Callback<Sweep> done_;
  Timer::Id deadline_;
  // Fires when the list, then a guest, is late.
  Timer::Id late_;
  Silence silence_;
  // The guests to read are known: by the list, or without it, while it is late.
  bool listed_ = false;
  bool late_list_ = false;
  size_t asked_ = 0;
  size_t read_ = 0;
  Sweep sweep_;
  std::vector<Progress> progress_;
  size_t outstanding_ = 0;
};

}  // namespace

void Sample(const std::shared_ptr<Session>& session, SampleRequest request, Callback<Sweep> done) {
  std::make_shared<Sampling>(session, std::move(request), std::move(done))->Start();
}

}  // namespace memcoord
