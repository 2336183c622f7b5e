// One reading of all guests, in parallel, with a deadline. Knows nothing of JavaScript.
#ifndef MEMCOORD_SAMPLER_H_
#define MEMCOORD_SAMPLER_H_

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "once.h"
#include "session.h"
#include "timer.h"

namespace memcoord {

// The numbers of a row and what they mean: lib/sweep.ts.
enum Field : size_t {
  kStatus,
  kError,
  kState,
  kMaximum,
  kActual,
  kUnused,
  kAvailable,
  kUsable,
  kDiskCaches,
  kSwapIn,
  kSwapOut,
  kMajorFault,
  kMinorFault,
  kRss,
  kLastUpdate,
  kReadAt,
  kStride,
};

// Names of the fields in lib/sweep.ts, in order.
inline constexpr std::array<const char*, kStride> kFieldNames = {
    "STATUS",      "ERROR",  "STATE",       "MAXIMUM", "ACTUAL",   "UNUSED",
    "AVAILABLE",   "USABLE", "DISK_CACHES", "SWAP_IN", "SWAP_OUT", "MAJOR_FAULT",
    "MINOR_FAULT", "RSS",    "LAST_UPDATE", "READ_AT",
};

// Values of kStatus.
enum Status { kRead = 0, kFailed = 1, kMissed = 2, kSetAside = 3, kNotAsked = 4 };

using Row = std::array<double, kStride>;

struct Guest {
  std::string uuid;
  std::string name;
  int id;
};

struct Sweep {
  // In the order of the rows: by id, that is by when they were started.
  std::vector<Guest> guests;
  std::vector<Row> rows;
};

struct SampleRequest {
  Clock::time_point deadline;
  // UUIDs; nullopt = all.
  std::optional<std::unordered_set<std::string>> only;
  // Stats periods, seconds, of the guests (by UUID) that are to take new figures first.
  std::unordered_map<std::string, int> refresh;
};

// Answers with what there is at the deadline, or with ERR_MEMCOORD_DEADLINE where not even the list
// of guests was back by then.
void Sample(const std::shared_ptr<Session>& session, SampleRequest request, Callback<Sweep> done);

}  // namespace memcoord

#endif  // MEMCOORD_SAMPLER_H_
