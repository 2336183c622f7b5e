#include "roster.h"

#include <utility>

namespace memcoord {

std::shared_ptr<const Guests> Roster::Enter(Guests guests) {
  const std::lock_guard lock(mutex_);
  if (guests_ != nullptr && *guests_ == guests) return guests_;
  std::unordered_map<std::string, Entry> entries;
  for (const Guest& guest : guests) {
    const Entry* before = EntryOf(guest);
    Entry entry = before == nullptr ? Entry{} : *before;
    entry.guest = guest;
    entries.emplace(guest.uuid, std::move(entry));
  }
  entries_ = std::move(entries);
  guests_ = std::make_shared<const Guests>(std::move(guests));
  return guests_;
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

Roster::Entry* Roster::EntryOf(const Guest& guest) {
  const auto it = entries_.find(guest.uuid);
  return it != entries_.end() && it->second.guest.id == guest.id ? &it->second : nullptr;
}

}  // namespace memcoord
