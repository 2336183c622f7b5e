#include "sampler.h"

#include <libvirt/libvirt.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>
#include <utility>

#include "guest_gate.h"
#include "virt_ptr.h"

namespace memcoord {
namespace {

// From setting the stats period to the new figures: some 30 ms, measured with QEMU 7.2 on guests
// under emulation.
constexpr std::chrono::milliseconds kFiguresArrive{40};

constexpr const char* kDoing = "cannot read the guests";

Row EmptyRow() {
  Row row;
  row.fill(std::numeric_limits<double>::quiet_NaN());
  return row;
}

// Field of a virDomainMemoryStatTags; kStride for those that are of no use here.
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

Result<std::vector<Guest>> ListGuests(Links& links) {
  auto link = links.Take();
  if (auto* error = std::get_if<Error>(&link)) return std::move(*error);
  virDomainPtr* found = nullptr;
  const int count = virConnectListAllDomains(std::get<Links::Lease>(link).get(), &found,
                                             VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  if (count < 0) return LastLibvirtError(kDoing);
  std::vector<Guest> guests;
  guests.reserve(static_cast<size_t>(count));
  for (const auto& domain : TakeDomains(found, count)) {
    char uuid[VIR_UUID_STRING_BUFLEN] = "";
    virDomainGetUUIDString(domain.get(), uuid);
    const char* name = virDomainGetName(domain.get());
    guests.push_back(
        {uuid, name == nullptr ? "" : name, static_cast<int>(virDomainGetID(domain.get()))});
  }
  std::sort(guests.begin(), guests.end(),
            [](const Guest& a, const Guest& b) { return a.id < b.id; });
  return guests;
}

Row Failure(const Error& error) {
  Row row = EmptyRow();
  row[kStatus] = kFailed;
  row[kError] = error.libvirt_code;
  return row;
}

Row ReadGuest(Links& links, const std::string& uuid) {
  const auto link = links.Take();
  if (const auto* error = std::get_if<Error>(&link)) return Failure(*error);
  const virConnectPtr connect = std::get<Links::Lease>(link).get();
  const DomainPtr domain(virDomainLookupByUUIDString(connect, uuid.c_str()));
  if (domain == nullptr) return Failure(LastLibvirtError(kDoing));
  virDomainInfo info;
  if (virDomainGetInfo(domain.get(), &info) < 0) return Failure(LastLibvirtError(kDoing));
  std::array<virDomainMemoryStatStruct, VIR_DOMAIN_MEMORY_STAT_NR> stats;
  const int count = virDomainMemoryStats(domain.get(), stats.data(), stats.size(), 0);
  if (count < 0) return Failure(LastLibvirtError(kDoing));
  Row row = EmptyRow();
  row[kStatus] = kRead;
  row[kState] = info.state;
  row[kMaximum] = static_cast<double>(info.maxMem);
  for (int i = 0; i < count; ++i) {
    const Field field = FieldOf(stats[static_cast<size_t>(i)].tag);
    if (field != kStride) row[field] = static_cast<double>(stats[static_cast<size_t>(i)].val);
  }
  row[kReadAt] = std::chrono::duration<double, std::milli>(Clock::now().time_since_epoch()).count();
  return row;
}

// Has the guest asked for new figures at once: QEMU asks when the period changes from 0, and not
// otherwise before the period is over. Where this fails the reading is as old as it is.
void Refresh(Links& links, const std::string& uuid, int seconds) {
  const auto link = links.Take();
  if (std::holds_alternative<Error>(link)) return;
  const virConnectPtr connect = std::get<Links::Lease>(link).get();
  const DomainPtr domain(virDomainLookupByUUIDString(connect, uuid.c_str()));
  if (domain == nullptr) return;
  const auto set = [&](int period) {
    return virDomainSetMemoryStatsPeriod(domain.get(), period, VIR_DOMAIN_AFFECT_LIVE) == 0;
  };
  // Never leave the figures switched off for want of a second try.
  if (set(0) && !set(seconds)) set(seconds);
}

class Sampling : public std::enable_shared_from_this<Sampling> {
 public:
  Sampling(std::shared_ptr<Session> session, SampleRequest request, Callback<Sweep> done)
      : session_(std::move(session)), request_(std::move(request)), done_(std::move(done)) {}

  void Start() {
    const std::lock_guard lock(mutex_);
    deadline_ =
        session_->timer->At(request_.deadline, [self = shared_from_this()] { self->GiveUp(); });
    session_->read_pool->Submit([self = shared_from_this()] { self->List(); });
  }

 private:
  // What is known of a guest while the sweep is under way.
  struct Progress {
    // Of the call that it waits for; null between two calls.
    GuestGate::TicketPtr ticket;
    bool settled = false;
  };

  void List() {
    {
      const std::lock_guard lock(mutex_);
      if (done_ == nullptr) return;
    }
    auto guests = ListGuests(*session_->read);
    std::unique_lock lock(mutex_);
    if (auto* error = std::get_if<Error>(&guests)) return Finish(lock, std::move(*error));
    if (done_ == nullptr) return;
    listed_ = true;
    Take(std::move(std::get<std::vector<Guest>>(guests)));
    for (size_t i = 0; i < progress_.size(); ++i) Ask(i);
    FinishIfDone(lock);
  }

  void Take(std::vector<Guest> guests) {
    std::unordered_map<std::string, std::string> names;
    std::unordered_set<std::string> uuids;
    for (const auto& guest : guests) {
      names[guest.uuid] = guest.name;
      uuids.insert(guest.uuid);
    }
    session_->Name(std::move(names));
    session_->gate->Keep(uuids);
    progress_.resize(guests.size());
    outstanding_ = guests.size();
    sweep_.rows.assign(guests.size(), EmptyRow());
    sweep_.guests = std::move(guests);
  }

  void Ask(size_t i) {
    const std::string& uuid = sweep_.guests[i].uuid;
    if (request_.only && request_.only->count(uuid) == 0) return Settle(i, kNotAsked);
    const auto refresh = request_.refresh.find(uuid);
    if (refresh == request_.refresh.end() || session_->read_only) return Read(i);
    Enter(
        i, GuestGate::Lane::kControl,
        [self = shared_from_this(), uuid, seconds = refresh->second] {
          Refresh(*self->session_->control, uuid, seconds);
        },
        [self = shared_from_this(), i] { self->AwaitFigures(i); });
  }

  // The wait holds no thread.
  void AwaitFigures(size_t i) {
    const std::lock_guard lock(mutex_);
    if (done_ == nullptr) return;
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
    Enter(
        i, GuestGate::Lane::kRead,
        [self = shared_from_this(), uuid = sweep_.guests[i].uuid, row] {
          *row = ReadGuest(*self->session_->read, uuid);
        },
        [self = shared_from_this(), i, row] { self->Returned(i, *row); });
  }

  void Enter(size_t i, GuestGate::Lane lane, std::function<void()> call,
             std::function<void()> returned) {
    progress_[i].ticket =
        session_->gate->Enter(lane, sweep_.guests[i].uuid, std::move(call), std::move(returned));
    if (progress_[i].ticket == nullptr) Settle(i, kSetAside);
  }

  void Returned(size_t i, const Row& row) {
    std::unique_lock lock(mutex_);
    if (done_ == nullptr) return;
    sweep_.rows[i] = row;
    Settled(i);
    FinishIfDone(lock);
  }

  void Settle(size_t i, Status status) {
    sweep_.rows[i][kStatus] = status;
    Settled(i);
  }

  void Settled(size_t i) {
    progress_[i].settled = true;
    --outstanding_;
  }

  void GiveUp() {
    std::unique_lock lock(mutex_);
    if (done_ == nullptr) return;
    if (!listed_) {
      Finish(lock, OwnError(kDeadline, kDoing, {}, "no answer in time"));
      return;
    }
    for (size_t i = 0; i < progress_.size(); ++i) {
      if (progress_[i].settled) continue;
      const auto& ticket = progress_[i].ticket;
      const bool waiting =
          ticket != nullptr && session_->gate->GiveUp(ticket) == GuestGate::Fate::kWaiting;
      Settle(i, waiting ? kSetAside : kMissed);
    }
    FinishIfDone(lock);
  }

  void FinishIfDone(std::unique_lock<std::mutex>& lock) {
    if (outstanding_ == 0) Finish(lock, std::move(sweep_));
  }

  // `done_` is null from here on: what still comes back is not heard.
  void Finish(std::unique_lock<std::mutex>& lock, Result<Sweep> result) {
    if (done_ == nullptr) return;
    const auto done = std::exchange(done_, nullptr);
    session_->timer->Cancel(deadline_);
    lock.unlock();
    done(std::move(result));
  }

  const std::shared_ptr<Session> session_;
  const SampleRequest request_;
  std::mutex mutex_;
  Callback<Sweep> done_;
  Timer::Id deadline_;
  bool listed_ = false;
  Sweep sweep_;
  std::vector<Progress> progress_;
  size_t outstanding_ = 0;
};

}  // namespace

void Sample(const std::shared_ptr<Session>& session, SampleRequest request, Callback<Sweep> done) {
  std::make_shared<Sampling>(session, std::move(request), std::move(done))->Start();
}

}  // namespace memcoord
