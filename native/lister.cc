#include "lister.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <utility>
#include <variant>

#include "session.h"
#include "virt_ptr.h"

namespace memcoord {
namespace {

Found FoundAs(virDomainPtr domain, double state) {
  return {{UuidOf(domain), NameOf(domain), static_cast<int>(virDomainGetID(domain))}, state};
}

// Uses no guest's monitor and takes no job, so a guest that hangs does not hold it up. But calls on
// such guests can hold all the workers of libvirtd that would answer this.
Result<std::vector<Found>> ListWithStates(virConnectPtr connect) {
  virDomainStatsRecordPtr* records = nullptr;
  const int count = virConnectGetAllDomainStats(connect, VIR_DOMAIN_STATS_STATE, &records,
                                                VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE);
  if (count < 0) return LastLibvirtError(kReading);
  const StatsRecordsPtr owned(records);
  std::vector<Found> found;
  found.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    int state = 0;
    const bool told =
        virTypedParamsGetInt(records[i]->params, records[i]->nparams, "state.state", &state) == 1;
    found.push_back(FoundAs(records[i]->dom, told ? state : kNotReported));
  }
  return found;
}

// Answered by workers that libvirtd keeps for such calls, whatever holds the others.
Result<std::vector<Found>> ListWithoutStates(virConnectPtr connect) {
  virDomainPtr* domains = nullptr;
  const int count = virConnectListAllDomains(connect, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  if (count < 0) return LastLibvirtError(kReading);
  std::vector<Found> found;
  found.reserve(static_cast<size_t>(count));
  for (const auto& domain : TakeDomains(domains, count)) {
    found.push_back(FoundAs(domain.get(), kNotReported));
  }
  return found;
}

Result<std::vector<Found>> ListGuests(Session& session) {
  const auto link = session.read->Take();
  if (const auto* error = std::get_if<Error>(&link)) return *error;
  const virConnectPtr connect = std::get<Links::Lease>(link).get();
  if (!session.states_in_bulk || session.gate->HasSuspects()) return ListWithoutStates(connect);
  auto with = ListWithStates(connect);
  if (std::holds_alternative<std::vector<Found>>(with)) return with;
  // Not every hypervisor has that call, and with thousands of guests its answer is too large. But
  // most often the connection is lost, and the first error says why. Other failures may be over the
  // next time.
  auto without = ListWithoutStates(connect);
  if (std::holds_alternative<Error>(without)) return with;
  const int code = std::get<Error>(with).libvirt_code;
  if (code == VIR_ERR_NO_SUPPORT || code == VIR_ERR_RPC) session.states_in_bulk = false;
  return without;
}

}  // namespace

void Lister::List(const std::shared_ptr<Session>& session, Callback<std::vector<Found>> done) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(done));
    if (std::exchange(pending_, true)) return;
    asked_ = Clock::now();
  }
  session->read_pool->Submit([self = shared_from_this(), session] { self->Run(*session); });
}

Clock::time_point Lister::LateAt() {
  const std::lock_guard lock(mutex_);
  return LateAtLocked();
}

Clock::time_point Lister::LateAtLocked() const { return asked_ + patience_.Late(); }

bool Lister::Late() {
  const std::lock_guard lock(mutex_);
  return pending_ && Clock::now() >= LateAtLocked();
}

bool Lister::Pending() {
  const std::lock_guard lock(mutex_);
  return pending_;
}

void Lister::Run(Session& session) {
  const Clock::time_point begun = Clock::now();
  const auto found = ListGuests(session);
  // The next list may hold its link for long, at a time when none can be opened.
  if (std::holds_alternative<std::vector<Found>>(found) && !std::exchange(prepared_, true))
    session.read->Prepare(2);
  std::vector<Callback<std::vector<Found>>> waiting;
  {
    const std::lock_guard lock(mutex_);
    patience_.Took(Clock::now() - begun);
    pending_ = false;
    waiting.swap(waiting_);
  }
  for (const auto& done : waiting) done(found);
}

}  // namespace memcoord
