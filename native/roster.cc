#include "roster.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace memcoord {
namespace {

Guests Without(const Guests& guests, const std::string& uuid) {
  Guests others;
  std::copy_if(guests.begin(), guests.end(), std::back_inserter(others),
               [&](const Guest& guest) { return guest.uuid != uuid; });
  return others;
}

}  // namespace

std::shared_ptr<const Guests> Roster::Enter(Guests guests) {
  const std::lock_guard lock(mutex_);
  const bool same = guests_ != nullptr && *guests_ == guests;
  // Stopped guests keep their entries, and so their names, until now.
  if (same && entries_.size() == guests.size()) return guests_;
  std::unordered_map<std::string, Entry> entries;
  for (const Guest& guest : guests) {
    const Entry* before = EntryOf(guest);
    Entry entry = before == nullptr ? Entry{} : *before;
    entry.guest = guest;
    entries.emplace(guest.uuid, std::move(entry));
  }
  entries_ = std::move(entries);
  if (!same) guests_ = std::make_shared<const Guests>(std::move(guests));
  return guests_;
}

std::shared_ptr<const Guests> Roster::Known() const {
  const std::lock_guard lock(mutex_);
  return guests_;
}

// Ignored before the first sweep: the few guests that events report are not all.
void Roster::Started(const Guest& guest) {
  const std::lock_guard lock(mutex_);
  if (guests_ == nullptr || guest.id < 0) return;
  // Not by its entry, which a stopped guest keeps: some drivers give an id again.
  const bool known = std::any_of(guests_->begin(), guests_->end(), [&](const Guest& other) {
    return other.id == guest.id && other.uuid == guest.uuid;
  });
  if (known) return;
  Guests guests = Without(*guests_, guest.uuid);
  guests.push_back(guest);
  entries_[guest.uuid] = Entry{guest, kNotReported, {}, true, false};
  guests_ = std::make_shared<const Guests>(std::move(guests));
}

void Roster::Stopped(const std::string& uuid) {
  const std::lock_guard lock(mutex_);
  if (guests_ == nullptr || entries_.count(uuid) == 0) return;
  guests_ = std::make_shared<const Guests>(Without(*guests_, uuid));
}

Guest Roster::Find(const std::string& uuid) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(uuid);
  return it == entries_.end() ? Guest{uuid, {}, -1} : it->second.guest;
}

bool Roster::Has(const std::string& uuid) const {
  const std::lock_guard lock(mutex_);
  return entries_.count(uuid) > 0;
}

double Roster::MaximumOf(const Guest& guest) {
  const std::lock_guard lock(mutex_);
  const Entry* entry = EntryOf(guest);
  const bool holds = entry != nullptr && Clock::now() - entry->asked < kMaximumHolds;
  return holds ? entry->maximum : kNotReported;
}

void Roster::SetMaximum(const Guest& guest, double kib) {
  const std::lock_guard lock(mutex_);
  Entry* entry = EntryOf(guest);
  if (entry == nullptr) return;
  entry->maximum = kib;
  entry->asked = Clock::now();
}

void Roster::ForgetMaximum(const std::string& uuid) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(uuid);
  if (it != entries_.end()) it->second.maximum = kNotReported;
}

bool Roster::MayHaveJob(const std::string& uuid) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(uuid);
  return it == entries_.end() || it->second.may_have_job;
}

void Roster::SuspectJob(const std::string& uuid) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(uuid);
  if (it != entries_.end()) it->second.may_have_job = true;
}

bool Roster::BeginJob(const std::string& uuid) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(uuid);
  if (it == entries_.end()) return false;
  it->second.may_have_job = true;
  return !std::exchange(it->second.job_begun, true);
}

bool Roster::JobBegun(const std::string& uuid) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(uuid);
  return it != entries_.end() && it->second.job_begun;
}

void Roster::ForgetJob(const std::string& uuid) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(uuid);
  if (it != entries_.end()) it->second.may_have_job = it->second.job_begun = false;
}

Roster::Entry* Roster::EntryOf(const Guest& guest) {
  const auto it = entries_.find(guest.uuid);
  return it != entries_.end() && it->second.guest.id == guest.id ? &it->second : nullptr;
}

}  // namespace memcoord
