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
  // libvirt's id, a new one for each start; -1 = not known.
  int id = -1;

  bool operator==(const Guest& other) const {
    return id == other.id && uuid == other.uuid && name == other.name;
  }
};

// In the order of their ids, which is that of their starts.
using Guests = std::vector<Guest>;

class Roster {
 public:
  // Enters the guests that a sweep has found. Returns the former list if nothing has changed, so
  // that callers can tell.
  std::shared_ptr<const Guests> Enter(Guests guests);

  // The guests that the last sweep found, updated by events; null before the first.
  std::shared_ptr<const Guests> Known() const;
  void Started(const Guest& guest);
  void Stopped(const std::string& uuid);

  // Without name and id if the guest is not known.
  Guest Find(const std::string& uuid) const;
  bool Has(const std::string& uuid) const;

  // Most memory that the domain may have, KiB; NaN if libvirt must be asked.
  //
  // For a running guest it changes only by hot-plug of memory, so it is not read at every sweep. An
  // event reports memory that is plugged in. A removal, or a change on a hypervisor that allows it,
  // is seen after kMaximumHolds.
  double MaximumOf(const Guest& guest);
  void SetMaximum(const Guest& guest, double kib);
  void ForgetMaximum(const std::string& uuid);

  // Whether libvirt may have a job on the guest (job.h), so that it must be asked. True for each
  // start of a guest until it was asked once: the job may be older than the connection.
  bool MayHaveJob(const std::string& uuid) const;
  void SuspectJob(const std::string& uuid);
  // An event has said that there is one. False if that was known.
  bool BeginJob(const std::string& uuid);
  bool JobBegun(const std::string& uuid) const;
  void ForgetJob(const std::string& uuid);

 private:
  static constexpr std::chrono::seconds kMaximumHolds{30};

  struct Entry {
    Guest guest;
    double maximum = kNotReported;
    Clock::time_point asked;
    bool may_have_job = true;
    bool job_begun = false;
  };
  // Null where this start of the guest is not there. With mutex_ held.
  Entry* EntryOf(const Guest& guest);

  mutable std::mutex mutex_;
  std::shared_ptr<const Guests> guests_;
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace memcoord

#endif  // MEMCOORD_ROSTER_H_
