// What is known of the running guests from one sweep to the next.
#ifndef MEMCOORD_ROSTER_H_
#define MEMCOORD_ROSTER_H_

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "row.h"
#include "timer.h"

namespace memcoord {

struct Guest {
  std::string uuid;
  std::string name;
  // libvirt's, a new one for each start; -1 where not known.
  int id = -1;

  bool operator==(const Guest& other) const {
    return id == other.id && uuid == other.uuid && name == other.name;
  }
};

// In the order of their ids, that is of when they were started.
using Guests = std::vector<Guest>;

class Roster {
 public:
  // Enters the guests that a sweep has found. Gives back the former list where nothing is new, so
  // that who has seen it knows.
  std::shared_ptr<const Guests> Enter(Guests guests);

  // Those that the last sweep found, and what events have told since; null before the first.
  std::shared_ptr<const Guests> Known() const;
  void Started(const Guest& guest);
  void Stopped(const std::string& uuid);

  // Without name and id where the last sweep did not find it.
  Guest Find(const std::string& uuid) const;
  bool Has(const std::string& uuid) const;

  // Most memory that the domain may have, KiB; NaN where libvirt is to be asked.
  //
  // A running guest's changes by hot-plug of memory only, so it is not asked for at every sweep.
  // What is plugged in is told by an event; what is taken out, or set on a hypervisor that can do
  // so, is seen after kMaximumHolds.
  double MaximumOf(const Guest& guest);
  void SetMaximum(const Guest& guest, double kib);
  void ForgetMaximum(const std::string& uuid);

 private:
  static constexpr std::chrono::seconds kMaximumHolds{30};

  struct Entry {
    Guest guest;
    double maximum = kNotReported;
    Clock::time_point asked;
  };
  // Null where this start of the guest is not there. With mutex_ held.
  Entry* EntryOf(const Guest& guest);

  mutable std::mutex mutex_;
  std::shared_ptr<const Guests> guests_;
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace memcoord

#endif  // MEMCOORD_ROSTER_H_
